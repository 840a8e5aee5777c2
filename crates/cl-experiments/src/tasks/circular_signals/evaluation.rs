//! What encoder and projector have done to signals by the end of a run.

use super::spec::SignalSpec;
use crate::tasks::spread::is_finite;
use burn::tensor::{Device, Tensor, TensorData};
use cl_data::{CircularSignals, Matrix, Part, Purpose, SignalViews, Stream, standard_normal};
use cl_model::decoders::{Decoder, decoded_r_squared};
use cl_model::geometry::{directional_derivative, mean_squared_gain, view_distance};
use cl_model::probe::ProbeError;
use cl_model::representation::{effective_rank, singular_values};
use cl_model::{Encoder, Siamese};
use serde::{Deserialize, Serialize};

/// Codes whose whole orbit is drawn, and phases on it.
pub const ORBITS: usize = 6;
/// Phases of an orbit, evenly spaced.
pub const PHASES: usize = 48;

/// `evaluation.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalEvaluation {
    /// Of the signals themselves, `I_x`: see [`view_distance`].
    pub input_view_distance: Option<f64>,
    /// Of features h.
    pub features: StageEvaluation,
    /// Of outputs g(h); the features themselves without a projector.
    pub outputs: StageEvaluation,
    /// `I_g / I_h`.
    pub outputs_over_features: Option<f64>,
    /// `1 − I_h / I_x`: how much of the way from the signals to invariance the encoder goes.
    pub encoder_invariance: Option<f64>,
    /// Effective rank of outputs over that of features.
    pub rank_ratio: Option<f64>,
    /// How much the encoder, at a signal, stretches tangents of its input.
    pub encoder_gain: Gains,
    /// How much the projector stretches what the encoder makes of the same tangents; 1 without a projector.
    pub projector_gain: Gains,
}

/// What is measured of features and of outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageEvaluation {
    /// See [`view_distance`]; `None` where all are alike.
    pub view_distance: Option<f64>,
    /// See [`effective_rank`], of the first views.
    pub effective_rank: f64,
    /// `R²` of (cos θ, sin θ) read off by a linear [`Decoder`]; `None` where phases do not vary.
    pub phase_r_squared: Option<f64>,
    /// The same by a Gaussian one.
    pub phase_kernel_r_squared: Option<f64>,
    /// `R²` of the code read off by a linear one.
    pub code_r_squared: Option<f64>,
    /// Singular values of the first views over their sum, from the largest on.
    pub spectrum: Vec<f64>,
}

/// Mean of `‖J u‖²/‖u‖²` over signals and tangents u; `None` where no tangent is left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gains {
    /// Along `∂x/∂z_j`, for each signal one j.
    pub code: Option<f64>,
    /// Along `∂x/∂θ`.
    pub phase: Option<f64>,
    /// Along random directions of the input.
    pub random: Option<f64>,
    /// The first over the second.
    pub code_over_phase: Option<f64>,
}

impl Gains {
    fn of(directions: &Tangents<Tensor<2>>, derivatives: &Tangents<Tensor<2>>) -> Self {
        let gain = |u: &Tensor<2>, ju: &Tensor<2>| mean_squared_gain(u.clone(), ju.clone());
        let (code, phase) = (gain(&directions.code, &derivatives.code), gain(&directions.phase, &derivatives.phase));
        let random = gain(&directions.random, &derivatives.random);
        Self { code, phase, random, code_over_phase: ratio(code, phase) }
    }
}

/// What measures were taken on.
pub type NamedTensors = Vec<(&'static str, TensorData)>;

/// What is asked of each kind of direction.
pub struct Tangents<T> {
    /// A direction in which the code changes.
    pub code: T,
    /// The direction in which the phase changes.
    pub phase: T,
    /// Any direction.
    pub random: T,
}

impl<T> Tangents<T> {
    fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Tangents<U> {
        Tangents { code: f(&self.code), phase: f(&self.phase), random: f(&self.random) }
    }
}

/// `a / b`, if both are there and b is not 0.
fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    let (a, b) = (a?, b?);
    (b != 0.0).then(|| a / b)
}

/// Tangents at the first views, `[n, d1]` each; code entries take turns.
pub fn tangents(signals: &CircularSignals, pair: &SignalViews, stream: Stream) -> Tangents<Matrix> {
    let (n, d1) = (pair.codes.rows, signals.config().input_dim);
    let rows = |tangent: &dyn Fn(usize) -> Vec<f64>| {
        let values = (0..n).flat_map(|i| tangent(i).into_iter().map(|v| v as f32)).collect();
        Matrix::from_values(n, d1, values)
    };
    let phases = &pair.phases[0];
    Tangents {
        code: rows(&|i| signals.code_tangent(i % signals.config().code_dim, phases[i])),
        phase: rows(&|i| signals.phase_tangent(pair.codes.row(i), phases[i])),
        random: Matrix::from_values(n, d1, standard_normal(&mut stream.rng(Part::Whole, 0), n * d1)),
    }
}

/// The orbits of the first codes under all phases, without noise, `[ORBITS · PHASES, d1]`.
fn orbits(signals: &CircularSignals, codes: &Matrix) -> Matrix {
    let phases = (0..PHASES).map(|k| std::f64::consts::TAU * k as f64 / PHASES as f64);
    let all = (0..ORBITS.min(codes.rows)).flat_map(|i| phases.clone().map(move |phase| (i, phase)));
    let values: Vec<f32> =
        all.flat_map(|(i, phase)| signals.signal(codes.row(i), phase).into_iter().map(|v| v as f32)).collect();
    let d1 = signals.config().input_dim;
    Matrix::from_values(values.len() / d1, d1, values)
}

/// Measures a model outside autodiff; also returns what the measures were taken on, as tensors by name.
///
/// # Errors
/// [`ProbeError`] when features are not finite.
pub fn evaluate<E: Encoder<Input = Tensor<2>>>(
    (signals, spec, seed): (&CircularSignals, &SignalSpec, u64),
    model: &Siamese<E>,
    device: &Device,
) -> Result<(SignalEvaluation, NamedTensors), ProbeError> {
    let draw = |purpose, count| signals.sample(count, spec.views.shift, Stream::new(seed, purpose), 0);
    let pair = draw(Purpose::Evaluation, spec.evaluation.samples);
    let fitted = draw(Purpose::ProbeTraining, spec.evaluation.decoder_samples);
    let scored = draw(Purpose::ProbeTest, spec.evaluation.decoder_samples);
    let encode = |x: Tensor<2>| model.encoder.forward(x);
    let project = |h: Tensor<2>| model.project(h);

    let views = pair.views.each_ref().map(|view| view.to_tensor(device));
    let features = views.clone().map(encode);
    let outputs = features.clone().map(project);
    let decoded = [&fitted, &scored].map(|views| encode(views.views[0].to_tensor(device)));
    let input_view_distance = view_distance(views[0].clone(), views[1].clone());
    let targets = [&fitted, &scored].map(Targets::of);
    let of_features = stage(features.clone(), decoded.clone(), &targets)?;
    let of_outputs = stage(outputs, decoded.map(project), &targets)?;

    let tangents = tangents(signals, &pair, Stream::new(seed, Purpose::Tuning));
    let inputs = tangents.map(|u| u.to_tensor(device));
    let through_encoder = inputs.map(|u| directional_derivative(&encode, views[0].clone(), u.clone()));
    let through_projector = through_encoder.map(|u| directional_derivative(&project, features[0].clone(), u.clone()));

    let orbits = orbits(signals, &pair.codes);
    let on_orbits = encode(orbits.to_tensor(device));
    let frequencies = signals.config().frequencies;
    let rows_of = |values: &[f64], columns: usize| {
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        Matrix::from_values(values.len() / columns, columns, values).into_tensor(device)
    };
    let tensors = [
        ("mean_coefficients", rows_of(signals.mean_coefficients(), 2 * frequencies)),
        ("coefficient_directions", rows_of(signals.coefficient_directions(), 2 * frequencies)),
        ("codes", pair.codes.to_tensor(device)),
        ("first_phases", rows_of(&pair.phases[0], 1)),
        ("second_phases", rows_of(&pair.phases[1], 1)),
        ("first_views", views[0].clone()),
        ("second_views", views[1].clone()),
        ("code_tangents", inputs.code.clone()),
        ("phase_tangents", inputs.phase.clone()),
        ("random_directions", inputs.random.clone()),
        ("decoder_views_fitted", fitted.views[0].to_tensor(device)),
        ("decoder_views_scored", scored.views[0].to_tensor(device)),
        ("decoder_codes_fitted", fitted.codes.to_tensor(device)),
        ("decoder_codes_scored", scored.codes.to_tensor(device)),
        ("decoder_phases_fitted", rows_of(&fitted.phases[0], 1)),
        ("decoder_phases_scored", rows_of(&scored.phases[0], 1)),
        ("orbit_outputs", project(on_orbits.clone())),
        ("orbit_features", on_orbits),
    ];
    let evaluation = SignalEvaluation {
        outputs_over_features: ratio(of_outputs.view_distance, of_features.view_distance),
        encoder_invariance: ratio(of_features.view_distance, input_view_distance).map(|left| 1.0 - left),
        rank_ratio: ratio(Some(of_outputs.effective_rank), Some(of_features.effective_rank)),
        encoder_gain: Gains::of(&inputs, &through_encoder),
        projector_gain: Gains::of(&through_encoder, &through_projector),
        input_view_distance,
        features: of_features,
        outputs: of_outputs,
    };
    Ok((evaluation, tensors.map(|(name, tensor)| (name, tensor.into_data())).into()))
}

/// What is read off signals.
struct Targets {
    /// (cos θ, sin θ) per signal.
    phases: Vec<Vec<f64>>,
    codes: Vec<Vec<f64>>,
}

impl Targets {
    fn of(views: &SignalViews) -> Self {
        let codes = views.codes.iter_rows().map(|z| z.iter().map(|v| f64::from(*v)).collect());
        Self { phases: views.phases[0].iter().map(|p| vec![p.cos(), p.sin()]).collect(), codes: codes.collect() }
    }
}

fn stage(
    [first, second]: [Tensor<2>; 2],
    [fitted, scored]: [Tensor<2>; 2],
    [targets, truth]: &[Targets; 2],
) -> Result<StageEvaluation, ProbeError> {
    if !(is_finite(&first) && is_finite(&second)) {
        return Err(ProbeError::NotFinite);
    }
    let read = |decoder: Decoder, y: &[Vec<f64>], truth: &[Vec<f64>]| {
        decoded_r_squared(decoder, fitted.clone(), y, scored.clone(), truth)
    };
    let singular = singular_values(first.clone());
    let total: f64 = singular.iter().sum();
    Ok(StageEvaluation {
        view_distance: view_distance(first.clone(), second),
        effective_rank: effective_rank(first),
        phase_r_squared: read(Decoder::Linear, &targets.phases, &truth.phases)?,
        phase_kernel_r_squared: read(Decoder::Gaussian, &targets.phases, &truth.phases)?,
        code_r_squared: read(Decoder::Linear, &targets.codes, &truth.codes)?,
        spectrum: singular.iter().map(|s| if total > 0.0 { s / total } else { 0.0 }).collect(),
    })
}
