use crate::support::{catalog, run_spec, scratch};
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::Outcome;
use cl_experiments::spec::RunSpec;
use cl_experiments::tasks::circular_signals::evaluation::SignalEvaluation;
use cl_experiments::tasks::two_views::TwoViewSnapshot;
use std::sync::atomic::{AtomicBool, Ordering};

const SIGNALS: &str = r#"
objective.nt_xent = { temperature = 0.5 }

[data.circular_signals]
input_dim = 12
frequencies = 2
code_dim = 3
noise_std = 0.1

[views]
shift = 1.0

[model]
encoder.mlp = { layer_dims = [10, 8] }
projector = { hidden_dims = [8], output_dim = 5 }

[optimization]
steps = 60
batch_size = 16
optimizer = { adamw = { beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8, weight_decay = 0.0 } }
learning_rate = { constant = { rate = 0.01 } }
snapshot_every = 10

[evaluation]
samples = 32
decoder_samples = 48
"#;

const CLASSES: &str = r#"
objective.nt_xent = { temperature = 0.5 }

[data.class_features]
code_dim = 8
input_dim = 16
classes = 3
class_amplitude = 0.9
nuisance_probability = 0.2
noise_std = 0.1

[views]
transform = [{ complementary_mask = { keep_probability = 0.5, masked_fraction = 1.0, rescaling = "unbiased" } }]
positives.same_class = 0.5

[model]
encoder.mlp = { layer_dims = [8] }
projector = { hidden_dims = [], output_dim = 5 }

[optimization]
steps = 60
batch_size = 16
optimizer = { adamw = { beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8, weight_decay = 0.0 } }
learning_rate = { constant = { rate = 0.01 } }
snapshot_every = 10

[evaluation]
samples = 32
draws = 2
prototype_samples_per_class = 5
temperature = 0.5
probe_samples_per_class = 12
"#;

/// A small run with some text replaced.
fn read_from(text: &str, replace: (&str, &str)) -> Result<RunSpec, String> {
    assert!(text.contains(replace.0), "{replace:?}");
    let table = toml::from_str(&text.replace(replace.0, replace.1)).unwrap();
    RunSpec::from_table(table, catalog().parts()).map_err(|e| e.to_string())
}

fn read(replace: (&str, &str)) -> Result<RunSpec, String> {
    read_from(SIGNALS, replace)
}

fn finished(spec: &RunSpec, tensors: &str, stop_at: Option<u64>) -> Vec<Vec<u8>> {
    let runs = scratch();
    let folder = RunFolder::at(runs.path().join("run"));
    if let Some(at) = stop_at {
        let stop = AtomicBool::new(false);
        let outcome = run_spec(spec, 3, &folder, &stop, &mut |done| stop.store(done >= at, Ordering::Relaxed));
        assert_eq!(outcome.unwrap(), Outcome::Stopped { step: at, resumes_at: at });
    }
    assert_eq!(run_spec(spec, 3, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap(), Outcome::Finished);
    let files = ["metrics.jsonl", "evaluation.json", "model.safetensors", tensors];
    files.map(|name| std::fs::read(folder.path().join(name)).expect(name)).into()
}

#[test]
fn a_stopped_run_on_signals_goes_on_bit_by_bit() {
    for with in [
        ("", ""),
        ("output_dim = 5 }", "output_dim = 5, frozen = true }"),
        ("projector = { hidden_dims = [8], output_dim = 5 }", ""),
        (
            "output_dim = 5 }",
            "output_dim = 5 }\nmomentum_copy = { momentum = 0.9 }\npredictor = { network = \"linear\" }",
        ),
    ] {
        let with_copy = with.1.contains("momentum");
        let mut spec = read(with);
        if with_copy {
            // Only this objective compares predictions.
            let text = SIGNALS.replace("objective.nt_xent = { temperature = 0.5 }", "objective = \"negative_cosine\"");
            let table = toml::from_str(&text.replace(with.0, with.1)).unwrap();
            spec = RunSpec::from_table(table, catalog().parts()).map_err(|e| e.to_string());
        }
        let spec = spec.unwrap();
        let files = |stop_at| finished(&spec, "geometry.safetensors", stop_at);
        assert!(files(Some(30)) == files(None), "{with:?}");
    }
}

#[test]
fn a_stopped_run_on_classes_goes_on_bit_by_bit() {
    for with in [
        ("", ""),
        ("same_class = 0.5", "any_class = 1.0"),
        ("positives.same_class = 0.5", ""),
        (
            "objective.nt_xent = { temperature = 0.5 }",
            "objective.balanced_nt_xent = { temperature = 0.5, repulsion = 2.0 }",
        ),
    ] {
        let spec = read_from(CLASSES, with).unwrap();
        let files = |stop_at| finished(&spec, "classes.safetensors", stop_at);
        assert!(files(Some(30)) == files(None), "{with:?}");
    }
}

/// Prototypes are measured at every snapshot, with both bounds.
#[test]
fn bounds_are_measured_at_every_snapshot() {
    let runs = scratch();
    let folder = RunFolder::at(runs.path().join("run"));
    run_spec(&read_from(CLASSES, ("", "")).unwrap(), 3, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let snapshots: Vec<TwoViewSnapshot> = folder.snapshots().unwrap();
    assert_eq!(snapshots.len(), 7);
    for snapshot in snapshots {
        let found = snapshot.prototypes.unwrap();
        assert!(found.jensen_gap >= 0.0 && found.supervised_difference <= found.supervised_bound, "{found:?}");
    }
}

/// Without a projector outputs are features, and without shifts there is no phase to read.
#[test]
fn what_is_not_there_is_measured_as_such() {
    let evaluation = |replace: (&str, &str)| -> SignalEvaluation {
        let runs = scratch();
        let folder = RunFolder::at(runs.path().join("run"));
        run_spec(&read(replace).unwrap(), 3, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap();
        folder.evaluation().unwrap()
    };
    let alone = evaluation(("projector = { hidden_dims = [8], output_dim = 5 }", ""));
    assert_eq!(alone.features, alone.outputs);
    assert_eq!((alone.outputs_over_features, alone.rank_ratio), (Some(1.0), Some(1.0)));
    // The derivative of the identity, by differences in single precision.
    for gain in [alone.projector_gain.code, alone.projector_gain.phase, alone.projector_gain.random] {
        assert!((gain.unwrap() - 1.0).abs() < 1e-3);
    }
    let still = evaluation(("shift = 1.0", "shift = 0.0"));
    assert_eq!(still.features.phase_r_squared, None);
    assert!(still.features.code_r_squared.is_some());
    // Views differ in noise alone.
    assert!(still.input_view_distance.unwrap() < 0.1);
}

#[test]
fn wrong_values_of_classes_are_refused_by_key() {
    for (replace, expected) in [
        (
            ("classes = 3", "classes = 9"),
            "data.class_features.code_dim = 8 is out of range; it has to be at least classes = 9",
        ),
        (("same_class = 0.5", "same_class = 1.5"), "views.positives = 1.5 is out of range"),
        (("draws = 2", "draws = 0"), "evaluation.draws = 0 is out of range"),
        (
            ("prototype_samples_per_class = 5", "prototype_samples_per_class = 0"),
            "evaluation.prototype_samples_per_class = 0 is out of range",
        ),
        (("\ntemperature = 0.5\nprobe", "\ntemperature = 0.0\nprobe"), "evaluation.temperature = 0 is out of range"),
        (
            ("probe_samples_per_class = 12", "probe_samples_per_class = 3"),
            "evaluation.probe_samples_per_class = 3 is out of range",
        ),
        (
            ("keep_probability = 0.5", "keep_probability = 1.0"),
            "views.transform[0].complementary_mask.keep_probability = 1 is out of range",
        ),
        (
            ("nt_xent = { temperature = 0.5 }", "balanced_nt_xent = { temperature = 0.5, repulsion = -1.0 }"),
            "objective.balanced_nt_xent.repulsion = -1 is out of range",
        ),
    ] {
        let found = read_from(CLASSES, replace).unwrap_err();
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn wrong_values_of_signals_are_refused_by_key() {
    let message = |replace| read(replace).unwrap_err();
    for (replace, expected) in [
        (
            ("input_dim = 12", "input_dim = 4"),
            "data.circular_signals.input_dim = 4 is out of range; it has to be more than 2 · frequencies = 4",
        ),
        (("noise_std = 0.1", "noise_std = -1.0"), "data.circular_signals.noise_std = -1 is out of range"),
        (("shift = 1.0", "shift = 1.5"), "views.shift = 1.5 is out of range; it has to be from 0 to 1"),
        (("shift = 1.0", "shift = nan"), "views.shift = NaN is out of range"),
        (("batch_size = 16", "batch_size = 1"), "optimization.batch_size = 1 is out of range; it has to be at least 2"),
        (
            ("decoder_samples = 48", "decoder_samples = 15"),
            "evaluation.decoder_samples = 15 is out of range; it has to be at least 16",
        ),
        (("samples = 32", "samples = 7"), "evaluation.samples = 7 is out of range"),
        (("steps = 60", "epochs = 60"), "optimization.epochs = 60 is out of range; it has to be left out"),
        (("nt_xent = { temperature = 0.5 }", "masked_reconstruction = { scale = 1.0 }"), "an objective of outputs"),
        (
            ("output_dim = 5 }", "output_dim = 5 }\npredictor = { network = \"linear\" }"),
            "model.predictor: the objective nt_xent makes no predictions",
        ),
        (("code_dim = 3", "code_dim = 3\ncolour = 1"), "colour"),
    ] {
        let found = message(replace);
        assert!(found.contains(expected), "{found}");
    }
}
