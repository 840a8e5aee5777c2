use cl_experiments::io::error::UserError;
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::{Outcome, Session, execute};
use cl_experiments::spec::{RunSpec, TrainingSpec};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;

/// An experiment that takes less than a second: thresholds begin at step 20 of 60, snapshots every 10.
pub const SMALL: &str = r#"
claim = "small"
title = "A small experiment"
statement = "It is small."
seeds = [1]

[points.masked.data]
code_dim = 6
input_dim = 24
augmentation = { complementary_mask = { keep_probability = 0.5, masked_share = 1.0, rescaling = "unbiased" } }

[points.masked.encoder]
num_neurons = 10
initial_scale = 0.3
normalization = "none"
bias = { scheduled = { start_step = 20, initial_ratio = 0.3, growth = 0.1, cap_ratio = 0.6 } }

[points.masked.objective.contrastive]
similarity = "inner_product"
key_gradient = "stopped"
temperature = 1.0
scale = "temperature"
negatives = { fresh = { count = 24 } }

[points.masked.training]
steps = 60
batch_size = 32
weight_decay = 0.01
steps_per_epoch = 10
step_size = { exponential_decay = { eta = 0.5, decay_from = 30, end_step = 60, final_eta = 0.1 } }

[points.masked.measurement]
evaluation_samples = 64
probe_samples = 64
baselines = true
"#;

/// A folder that goes with the test.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Writes [`SMALL`], with one piece of text replaced, as an experiment below `folder`.
pub fn small_experiment(folder: &Path, replace: (&str, &str)) -> PathBuf {
    assert!(SMALL.contains(replace.0), "{:?} is not in the small experiment", replace.0);
    let experiment = folder.join("small");
    std::fs::create_dir_all(&experiment).unwrap();
    std::fs::write(experiment.join("experiment.toml"), SMALL.replace(replace.0, replace.1)).unwrap();
    experiment
}

/// The specification of [`SMALL`].
pub fn small_spec() -> TrainingSpec {
    let file: toml::Table = toml::from_str(SMALL).unwrap();
    let point = file["points"]["masked"].as_table().unwrap().clone();
    match RunSpec::from_table(point).unwrap() {
        RunSpec::Training(spec) => spec,
        _ => unreachable!("the small experiment trains"),
    }
}

/// Carries a run out in this process; `on_progress` hears the steps done.
pub fn run(
    spec: &TrainingSpec,
    seed: u64,
    folder: &RunFolder,
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Outcome, UserError> {
    let device = cl_experiments::io::device::open("flex").unwrap();
    let session = Session {
        device_name: "flex",
        device: &device,
        data_dir: None,
        checkpoint_every: std::time::Duration::from_secs(5),
        stop,
        progress: &mut |done, _| on_progress(done),
        warn: &mut |_| {},
    };
    execute(&RunSpec::Training(spec.clone()), seed, folder, session)
}

/// Runs the binary with one thread inside products, in `folder`.
pub fn binary(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cl-experiments"))
        .args(arguments)
        .env("RAYON_NUM_THREADS", "1")
        .current_dir(folder)
        .output()
        .expect("the binary starts")
}

/// The top of the project.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a finished run left behind that must not depend on how it was carried out.
pub fn results(folder: &RunFolder) -> Vec<(String, Vec<u8>)> {
    ["metrics.jsonl", "weights.safetensors", "evaluation.json"]
        .map(|name| (name.to_string(), std::fs::read(folder.path().join(name)).expect(name)))
        .into()
}
