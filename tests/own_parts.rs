//! What a program built on this one adds: found by name, part of a run's identity, never judged on the runs of another build.

use crate::support::{SMALL, scratch};
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, positive};
use cl_experiments::io::error::UserError;
use cl_experiments::io::manifest::Manifest;
use cl_experiments::judge::Metrics;
use cl_experiments::judge::measures::measure::{self, CompleteRun, Measure, Measures};
use cl_experiments::judge::measures::{self, ClaimResult, Judge};
use cl_experiments::report::Figures;
use cl_experiments::report::axis::Axis;
use cl_experiments::report::chart::{Chart, Curve, Figure, PANEL, Panel, Plot};
use cl_experiments::report::palette::Style;
use cl_experiments::run::catalog::Catalog;
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::Session;
use cl_experiments::run::plan::{Conditions, Plan};
use cl_experiments::spec::experiment::{Experiment, Extent};
use cl_model::{
    Encoder, EncoderConfig, Mlp, MlpConfig, Objective, Outputs, StandardNormals, VectorEncoder, VectorShape,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// `−scale · mean ⟨f(x⁺), f(x⁺⁺)⟩`, as it was and as it became.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attraction<const VERSION: u32> {
    scale: f64,
}

impl<const VERSION: u32> Component for Attraction<VERSION> {
    const VERSION: u32 = VERSION;

    fn checked(self) -> Result<Self, ConfigError> {
        positive("scale", self.scale)?;
        Ok(self)
    }
}

impl<const VERSION: u32> Objective for Attraction<VERSION> {
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        (outputs.first * outputs.second).sum_dim(1).mean() * -self.scale
    }
}

/// A perceptron with Burn's own initialisers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OwnNet {}

impl Component for OwnNet {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        Ok(self)
    }
}

impl EncoderConfig for OwnNet {
    type Encoder = Mlp;

    fn init(&self, shape: VectorShape, _: &mut StandardNormals<'_>, device: &burn::tensor::Device) -> Mlp {
        Mlp { layers: vec![burn::nn::LinearConfig::new(shape.dim, 8).init(device)] }
    }
}

fn with_attraction<const VERSION: u32>() -> Catalog {
    Catalog::standard().objective::<Attraction<VERSION>>("attraction").vector_encoder::<OwnNet>("own_net")
}

/// The small experiment with parts of its own.
fn experiment(folder: &Path, catalog: &Catalog) -> Experiment {
    let experiment = folder.join("small");
    std::fs::create_dir_all(&experiment).unwrap();
    let (before, after) = SMALL.split_once("[points.masked.objective.info_nce]").unwrap();
    let rest = &after[after.find("[points.masked.optimization]").unwrap()..];
    let text = format!("{before}[points.masked.objective.attraction]\nscale = 0.01\n\n{rest}");
    std::fs::write(experiment.join("experiment.toml"), text).unwrap();
    let expected =
        "[[expect]]\nmetric = 'coverage_mean'\npoint = 'masked'\nover = 'mean'\njudged = false\nsource = 's'\n";
    std::fs::write(experiment.join("expected.toml"), expected).unwrap();
    Experiment::load(&experiment, Extent::Full, catalog.parts()).unwrap()
}

fn conditions(folder: &Path) -> Conditions {
    Conditions {
        runs: folder.join("runs"),
        also: Vec::new(),
        device: "flex".into(),
        data_dir: None,
        checkpoint_every_s: 5.0,
        side_by_side: 1,
    }
}

fn execute(catalog: &Catalog, experiment: &Experiment, folder: &RunFolder) -> Result<(), String> {
    let session = Session {
        device_name: "flex",
        device: &cl_experiments::io::device::open("flex").unwrap(),
        data_dir: None,
        checkpoint_every: std::time::Duration::from_secs(5),
        pictures: false,
        stop: &AtomicBool::new(false),
        progress: &mut |_, _| {},
        warn: &mut |_| {},
    };
    catalog.execute(&experiment.points[0].spec, 1, folder, session).map(drop).map_err(|e| e.to_string())
}

fn judged(
    experiment: &Experiment,
    plan: &Plan,
    catalog: &Catalog,
    measures: &Measures,
) -> Result<ClaimResult, UserError> {
    let judge = Judge { parts: catalog.parts(), measures, full: true, family: 1 };
    judge.judge(experiment.clone(), plan.planned[0].folders.clone())
}

#[test]
fn runs_of_another_build_with_parts_of_its_own_are_refused_and_not_judged() {
    let (folder, catalog) = (scratch(), with_attraction::<1>());
    let experiment = experiment(folder.path(), &catalog);
    let plan = Plan::new(vec![experiment.clone()], &conditions(folder.path()));
    let folders = plan.planned[0].folders.clone();
    let run = &folders[&("masked".to_string(), 1)];
    execute(&catalog, &experiment, run).unwrap();
    let judge = || judged(&experiment, &plan, &catalog, &measures::standard());
    assert!(plan.missing().unwrap().is_empty() && judge().is_ok(), "this build's own run is taken");

    let manifest = run.manifest().unwrap();
    let own = manifest.own.clone().expect("a part of its own is written down");
    assert_eq!(own.parts, [("objective.attraction".to_string(), 1)]);
    let another = cl_experiments::io::manifest::OwnProgram { executable_sha256: "0".repeat(64), ..own };
    run.write_json("manifest.json", &Manifest { own: Some(another), ..manifest }).unwrap();
    let refusals = [
        plan.missing().map(drop).unwrap_err().to_string(),
        judge().map(drop).unwrap_err().to_string(),
        execute(&catalog, &experiment, run).unwrap_err(),
    ];
    for refusal in refusals {
        let words = ["seed-1", "made by another build", "objective.attraction", "--runs"];
        assert!(words.iter().all(|word| refusal.contains(word)), "{refusal}");
    }
}

#[test]
fn a_new_version_of_a_part_makes_other_runs() {
    let folder = scratch();
    let [one, two, again] = [with_attraction::<1>(), with_attraction::<2>(), with_attraction::<1>()]
        .map(|catalog| experiment(folder.path(), &catalog).points[0].spec.digest());
    assert_eq!(one, again);
    assert_ne!(one, two);
}

#[test]
fn names_that_are_not_there_are_answered_with_those_that_are() {
    let folder = scratch();
    let catalog = with_attraction::<1>();
    experiment(folder.path(), &catalog);
    let path = folder.path().join("small/experiment.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, names) in [
        (
            "objective.attraction",
            "objective.attractor",
            "alignment_uniformity, attraction, balanced_nt_xent, barlow_twins, decoupled_nt_xent, info_nce, masked_reconstruction, masked_tokens, negative_cosine",
        ),
        ("encoder.symmetric_relu", "encoder.ownnet", "mlp, own_net, symmetric_relu"),
    ] {
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let error = Experiment::load(&folder.path().join("small"), Extent::Full, catalog.parts()).unwrap_err();
        assert!(error.to_string().contains(names), "{error}");
    }
}

/// Any encoder, not only the paper's: any initialiser, any projector, the same bytes for the same seed.
#[test]
fn an_encoder_of_ones_own_trains_measures_and_comes_to_the_same_bytes() {
    let (folder, catalog) = (scratch(), with_attraction::<1>());
    experiment(folder.path(), &catalog);
    let path = folder.path().join("small/experiment.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("[points.masked.model.encoder.symmetric_relu]").unwrap();
    let rest = &after[after.find("[points.masked.objective").unwrap()..];
    for projector in
        ["", "projector = { hidden_dims = [6, 5], output_dim = 4, normalization = \"batch\", frozen = true }"]
    {
        let model = format!("[points.masked.model]\nencoder = \"own_net\"\n{projector}\n\n");
        std::fs::write(&path, format!("{before}{model}{rest}")).unwrap();
        let experiment = Experiment::load(&folder.path().join("small"), Extent::Full, catalog.parts()).unwrap();
        let runs = ["one", "two"].map(|name| RunFolder::at(folder.path().join(name).join(projector.len().to_string())));
        for run in &runs {
            execute(&catalog, &experiment, run).unwrap();
        }
        for name in ["metrics.jsonl", "evaluation.json", "weights.safetensors", "model.safetensors"] {
            let [a, b] = runs.each_ref().map(|run| std::fs::read(run.path().join(name)).expect(name));
            assert!(a == b, "{name} differs between two runs of one seed");
        }
        assert_eq!(runs[0].weights().unwrap().len(), 8);
    }
}

/// For the paper's encoder without thresholds the mean gradient of an output is the weights of its neuron.
#[test]
fn mean_gradients_stand_for_weights() {
    let device = cl_experiments::io::device::open("flex").unwrap();
    let mut table: toml::Table = toml::from_str(SMALL).unwrap();
    let point = table["points"]["masked"].as_table_mut().unwrap();
    point["model"] = toml::from_str("encoder = { mlp = { layer_dims = [10] } }").unwrap();
    let spec = crate::support::read_spec(point.clone());
    let task = cl_experiments::tasks::sparse_coding::training::SparseCoding::<MlpConfig>::on(&spec, 1, &device);
    // A bias that keeps every unit on: the perceptron is linear there.
    let mut model = cl_experiments::tasks::task::Task::untrained(&task);
    let layer = &mut model.encoder.layers[0];
    layer.bias = Some(burn::module::Param::from_tensor(Tensor::full([10], 100.0, &device)));
    let weights = layer.weight.val().transpose();
    assert!(model.encoder.neuron_weights().is_none());
    let off: f64 = (task.neuron_weights(&model.encoder) - weights).abs().max().into_scalar();
    // Differences of numbers of about 100 in single precision, over 0.02 and averaged: 2⁻²⁴ · 100 / 0.02.
    assert!(off < 1e-3, "{off}");
    assert_eq!(model.encoder.feature_dim(), 10);
}

/// Steps at which snapshots of a loss below a bound were taken, and what fraction of all seeds had any.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LowLoss {
    below: f64,
}

impl Component for LowLoss {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        cl_config::finite("below", self.below)?;
        Ok(self)
    }
}

impl Measure for LowLoss {
    fn of_run(&self, run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
        let snapshots = run.folder.snapshots::<cl_experiments::tasks::sparse_coding::snapshot::Snapshot>()?;
        let low = snapshots.iter().filter(|snapshot| snapshot.loss < self.below).count();
        Ok([("low_loss".to_string(), low as f64), ("snapshots".to_string(), snapshots.len() as f64)].into())
    }

    fn across_runs(&self, metrics: &mut Metrics) {
        let runs = metrics.values().map(BTreeMap::len).sum::<usize>() as f64;
        for values in metrics.values_mut().flat_map(BTreeMap::values_mut) {
            values.insert("runs".into(), runs);
        }
    }
}

#[test]
fn measures_and_figures_of_ones_own_stand_beside_the_others() {
    let (folder, catalog) = (scratch(), with_attraction::<1>());
    experiment(folder.path(), &catalog);
    let path = folder.path().join("small/experiment.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let named = "measures = [\"stages\", { low_loss = { below = 1e9 } }]\nfigures = [\"low_loss\"]\nseeds = [1]";
    std::fs::write(&path, text.replace("seeds = [1]", named)).unwrap();
    let experiment = Experiment::load(&folder.path().join("small"), Extent::Full, catalog.parts()).unwrap();
    let plan = Plan::new(vec![experiment.clone()], &conditions(folder.path()));
    execute(&catalog, &experiment, &plan.planned[0].folders[&("masked".to_string(), 1)]).unwrap();

    let unknown = judged(&experiment, &plan, &catalog, &measures::standard()).unwrap_err().to_string();
    assert!(unknown.contains("measures = \"low_loss\": there are no measures of this name"), "{unknown}");
    let mut measures = measures::standard();
    measure::add::<LowLoss>(&mut measures, "low_loss", true);
    let result = judged(&experiment, &plan, &catalog, &measures).unwrap();
    let values = &result.metrics["masked"][&1];
    assert!(values["snapshots"] > 1.0 && values["low_loss"] == values["snapshots"], "{values:?}");
    assert_eq!(values["runs"], 1.0);
    assert!(values.contains_key("decoupling_step"), "{values:?}");
    assert_eq!(result.measure::<LowLoss>().unwrap().below, 1e9);

    let figures = Figures::standard();
    let error = figures.check(&experiment).unwrap_err().to_string();
    assert!(error.contains("there is no \"low_loss\"; choose among images"), "{error}");
    let figures = figures.with("low_loss", |result, _| {
        let line: Vec<(f64, f64)> = result.metrics["masked"].iter().map(|(s, m)| (*s as f64, m["low_loss"])).collect();
        let y = Axis::from_zero("snapshots", line.iter().map(|(_, y)| *y));
        let curves = vec![Curve::line(Style::nth(0), line)];
        let chart =
            Chart::Plot(Plot { x: Axis::linear("seed", 0.0, 2.0), y, boxes: Vec::new(), curves, rules: Vec::new() });
        let panel = Panel { title: "Low loss".into(), size: PANEL, chart };
        let name = format!("{}-low-loss", result.experiment.claim);
        Ok(vec![Figure { name, caption: "c".into(), width: PANEL.0, panels: vec![panel], legend: Vec::new() }])
    });
    figures.check(&experiment).unwrap();
    let drawn = figures.of_claim(&result).unwrap();
    assert_eq!(drawn.iter().map(|figure| figure.name.as_str()).collect::<Vec<_>>(), ["small-low-loss"]);
}
