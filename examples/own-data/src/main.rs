//! Data of one's own: points on a circle, seen through a random matrix with noise. Two views of a point differ in noise alone.

use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor};
use cl_data::{Matrix, Part as StreamPart, Purpose, Stream, standard_normal};
use cl_experiments::io::error::{SpecError, UserError};
use cl_experiments::spec::under_name::{self, UnderName};
use cl_experiments::spec::{ChosenPart, Optimization, Part, Parts, Schedule, Specification};
use cl_experiments::tasks::initial_model::{self, Behind};
use cl_experiments::tasks::task::{Evaluated, Measured, Place, Shown, Task};
use cl_model::objectives::normalized;
use cl_model::probe::ridge_r_squared;
use cl_model::{Encoder, Mlp, MlpConfig, Objective, Outputs, Siamese, VectorShape};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Circle {
    /// Coordinates of an observation.
    input_dim: usize,
    /// Standard deviation of the noise on each coordinate of a view.
    noise_std: f64,
}

impl UnderName for Circle {
    const NAME: &'static str = "circle";
}

/// A run: `[data.circle]`, an objective, how it is optimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[serde(with = "under_name")]
    data: Circle,
    objective: Part<dyn Objective>,
    optimization: Optimization,
}

impl Specification for Spec {
    fn check(&mut self, parts: &Parts) -> Result<(), SpecError> {
        cl_config::at_least("data.circle.input_dim", self.data.input_dim as u64, 2)?;
        cl_config::not_negative("data.circle.noise_std", self.data.noise_std)?;
        self.objective.check("objective", &parts.objectives)?;
        self.optimization.check()?;
        self.optimization.check_in_steps()
    }

    fn runner(&self) -> String {
        "circle".into()
    }

    fn steps(&self) -> u64 {
        self.optimization.schedule(1).steps
    }

    fn cost(&self) -> f64 {
        self.steps() as f64 * 1e6
    }

    fn chosen(&self) -> Vec<ChosenPart> {
        vec![ChosenPart::new("objective", &self.objective)]
    }
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Snapshot {
    step: u64,
    loss: f64,
    /// How well the place on the circle is read off the features linearly.
    place_r_squared: f64,
}

impl Measured for Snapshot {
    fn step(&self) -> u64 {
        self.step
    }

    fn loss(&self) -> f64 {
        self.loss
    }

    fn shown() -> Vec<Shown<Self>> {
        vec![
            Shown { name: "Held-out loss", read: |s| s.loss, higher_is_better: false },
            Shown { name: "Place R²", read: |s| s.place_r_squared, higher_is_better: true },
        ]
    }
}

#[derive(Debug)]
struct OnCircle {
    spec: Spec,
    seed: u64,
    device: Device,
    /// `[2, input_dim]`.
    seen_through: Tensor<2>,
}

impl OnCircle {
    /// Points on the circle, `[count, 2]`, and two views of each, `[count, input_dim]`: a pure function of the step.
    fn draw(&self, purpose: Purpose, step: u64, count: usize) -> (Tensor<2>, [Tensor<2>; 2]) {
        let mut rng = Stream::new(self.seed, purpose).rng(StreamPart::Whole, step);
        let mut normals = |columns| {
            Matrix::from_values(count, columns, standard_normal(&mut rng, count * columns)).into_tensor(&self.device)
        };
        let place = normalized(normals(2));
        let mut view = || {
            let noise = normals(self.spec.data.input_dim) * self.spec.data.noise_std;
            place.clone().matmul(self.seen_through.clone()) + noise
        };
        let views = [view(), view()];
        (place, views)
    }

    fn place_r_squared(&self, model: &Siamese<Mlp>) -> Result<f64, String> {
        let [train, test] = [0, 1].map(|step| {
            let (place, [view, _]) = self.draw(Purpose::Evaluation, step, 2048);
            (model.encoder.forward(view), place.narrow(1, 0, 1).into_data().iter::<f64>().collect::<Vec<_>>())
        });
        let r_squared = ridge_r_squared(train.0, &train.1, test.0, &test.1);
        Ok(r_squared.map_err(|e| e.to_string())?.unwrap_or(0.0))
    }
}

impl Task for OnCircle {
    type Spec = Spec;
    type Model = Siamese<Mlp>;
    type Batch = [Tensor<2>; 2];
    type Snapshot = Snapshot;

    fn new(spec: &Spec, seed: u64, place: Place) -> Result<Self, UserError> {
        let (device, d1) = (place.device.clone().inner(), spec.data.input_dim);
        let mut rng = Stream::new(seed, Purpose::Dictionary).rng(StreamPart::Whole, 0);
        let seen_through = Matrix::from_values(2, d1, standard_normal(&mut rng, 2 * d1)).into_tensor(&device);
        Ok(Self { spec: spec.clone(), seed, device, seen_through })
    }

    fn schedule(&self) -> Schedule {
        self.spec.optimization.schedule(1)
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn init(&self, device: &Device) -> Siamese<Mlp> {
        let shape = VectorShape { dim: self.spec.data.input_dim, code_dim: 2 };
        initial_model::init(&MlpConfig { layer_dims: vec![64, 16] }, shape, Behind::Nothing, self.seed, device)
    }

    fn optimizer(&self) -> ModuleOptimizer {
        self.spec.optimization.optimizer.init()
    }

    fn batch(&self, step: u64) -> [Tensor<2>; 2] {
        self.draw(Purpose::TrainingPairs, step, self.spec.optimization.batch_size).1
    }

    fn loss(&self, model: &Siamese<Mlp>, views: [Tensor<2>; 2]) -> Tensor<1> {
        let [first, second] = views.map(|x| model.output(x));
        self.spec.objective.get().loss(Outputs::of_views(first, second))
    }

    fn snapshot(&self, model: &Siamese<Mlp>, step: u64) -> Snapshot {
        let held_out = self.draw(Purpose::HeldOutPairs, step, self.spec.optimization.batch_size).1;
        let loss = self.loss(model, held_out).into_scalar();
        Snapshot { step, loss, place_r_squared: self.place_r_squared(model).unwrap_or(f64::NAN) }
    }

    fn evaluate(&self, last: &Siamese<Mlp>, _: Option<(&Siamese<Mlp>, u64)>) -> Result<Evaluated, String> {
        let [trained, untrained] = [self.place_r_squared(last)?, self.place_r_squared(&self.untrained())?];
        let evaluation = format!(r#"{{"place_r_squared":{trained},"untrained":{{"place_r_squared":{untrained}}}}}"#);
        let summary = format!("place R² {trained:.3}");
        Ok(Evaluated { files: vec![("evaluation.json", evaluation.into_bytes())], summary })
    }
}

fn main() -> std::process::ExitCode {
    let laboratory = cl_experiments::Laboratory::standard().built_from(env!("CARGO_MANIFEST_DIR"));
    laboratory.task::<OnCircle>("circle").main()
}
