use cl_experiments::io::error::UserError;
use cl_experiments::run::catalog::Catalog;
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::{Outcome, Session};
use cl_experiments::spec::{RunSpec, Specification};
use cl_experiments::tasks::sparse_coding::spec::{ClassesSpec, TrainingSpec};
use cl_model::{InfoNce, SymmetricReluConfig};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

/// An experiment that takes less than a second: thresholds begin at step 20 of 60, snapshots every 10.
pub const SMALL: &str = r#"
claim = "small"
title = "A small experiment"
statement = "It is small."
seeds = [1]

[points.masked.data.sparse_coding]
code_dim = 6
input_dim = 24
negatives = { fresh = { count = 24 } }

[points.masked.views]
transform = [{ complementary_mask = { keep_probability = 0.5, masked_fraction = 1.0, rescaling = "unbiased" } }]

[points.masked.model.encoder.symmetric_relu]
num_neurons = 10
initial_scale = 0.3
normalization = "none"
bias = { scheduled = { start_step = 20, initial_ratio = 0.3, growth = 0.1, cap_ratio = 0.6 } }

[points.masked.objective.info_nce]
similarity = "inner_product"
key_gradient = "stopped"
temperature = 1.0
scale = "temperature"

[points.masked.optimization]
steps = 60
batch_size = 32
optimizer = { sgd = { weight_decay = 0.01 } }
snapshot_every = 10
learning_rate = { exponential_decay = { first = 0.5, decay_from = 30, decay_to = 60, last = 0.1 } }

[points.masked.evaluation]
samples = 64
probe_samples = 64
baselines = true
"#;

/// The small experiment, or what a test made of it, with labels of three classes instead of two views.
pub fn labelled(text: &str) -> String {
    let (before, after) =
        text.split_once("[points.masked.objective.info_nce]").expect("the small experiment is contrastive");
    let rest = &after[after.find("[points.masked.optimization]").expect("it trains")..];
    let before = before.replace("code_dim = 6", "code_dim = 6\nclasses = { count = 3 }");
    format!("{before}[points.masked]\nobjective = \"supervised\"\n\n{rest}")
}

/// A folder that is removed with the test.
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

/// What the standard laboratory runs.
pub fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(Catalog::standard)
}

/// Reads a specification of the standard laboratory.
pub fn read_spec<S: Specification>(table: toml::Table) -> S {
    let spec = RunSpec::from_table(table, catalog().parts()).unwrap_or_else(|error| panic!("{error}"));
    spec.get::<S>().expect("a specification of this kind").clone()
}

/// The specification of [`SMALL`].
pub fn small_spec() -> TrainingSpec {
    let file: toml::Table = toml::from_str(SMALL).unwrap();
    read_spec(file["points"]["masked"].as_table().unwrap().clone())
}

/// Changes the paper's encoder in a specification.
pub fn change_encoder(spec: &mut TrainingSpec, change: impl FnOnce(&mut SymmetricReluConfig)) {
    let mut encoder = *spec.symmetric_relu().expect("the paper's encoder");
    change(&mut encoder);
    spec.model.encoder = catalog().parts().vector_encoders.part("symmetric_relu", &encoder);
}

/// Changes the paper's loss in a specification.
pub fn change_loss(spec: &mut TrainingSpec, change: impl FnOnce(&mut InfoNce)) {
    let mut loss = *spec.objective.config::<InfoNce>().expect("the paper's loss");
    change(&mut loss);
    spec.objective = catalog().parts().objectives.part("info_nce", &loss);
}

/// Uses labels instead of two views.
pub fn with_labels(spec: &mut TrainingSpec, classes: ClassesSpec) {
    let mut table = toml::Table::try_from(&*spec).unwrap();
    table.insert("objective".into(), "supervised".into());
    let data = table["data"]["sparse_coding"].as_table_mut().unwrap();
    data.insert("classes".into(), toml::Value::try_from(classes).unwrap());
    *spec = read_spec(table);
}

/// Executes a run in this process; `on_progress` is called with the steps done.
pub fn run(
    spec: &TrainingSpec,
    seed: u64,
    folder: &RunFolder,
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Outcome, UserError> {
    run_spec(&RunSpec::new(spec.clone()), seed, folder, stop, on_progress)
}

/// The same for any kind of data.
pub fn run_spec(
    spec: &RunSpec,
    seed: u64,
    folder: &RunFolder,
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Outcome, UserError> {
    run_spec_on((spec, None), seed, folder, stop, on_progress)
}

/// The same with data from a folder.
pub fn run_spec_on(
    (spec, data_dir): (&RunSpec, Option<&Path>),
    seed: u64,
    folder: &RunFolder,
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Outcome, UserError> {
    let device = cl_experiments::io::device::open("flex").unwrap();
    let session = Session {
        device_name: "flex",
        device: &device,
        data_dir,
        checkpoint_every: std::time::Duration::from_secs(5),
        pictures: false,
        stop,
        progress: &mut |done, _| on_progress(done),
        warn: &mut |_| {},
    };
    catalog().execute(spec, seed, folder, session)
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

/// The root folder of the project.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The results of a finished run that must not depend on how it was executed.
pub fn results(folder: &RunFolder) -> Vec<(String, Vec<u8>)> {
    ["metrics.jsonl", "weights.safetensors", "evaluation.json"]
        .map(|name| (name.to_string(), std::fs::read(folder.path().join(name)).expect(name)))
        .into()
}
