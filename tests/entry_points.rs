//! One function for each kind of file from outside: the bytes reach the program as a user's file does, in a temporary
//! folder. Whatever the bytes are, the function returns; what must hold then is asserted in it.
//!
//! `bad_bytes.rs` calls these with the corpus, the targets below `fuzz/` with arbitrary bytes.

use burn::optim::ModuleOptimizer;
use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::tensor::{Device, Tensor};
use burn::train::TrainStep;
use burn::train::checkpoint::{Checkpointer, CheckpointerError};
use cl_data::images::{Cifar100Labels, ImageFolderOptions, OtherSizes, read_cifar10, read_cifar100, read_image_folder};
use cl_experiments::io::error::UserError;
use cl_experiments::io::fetch::{Archive, Digest as PublishedDigest, Fetched, Origin, fetch};
use cl_experiments::judge::{Expected, Metrics, overall};
use cl_experiments::run::catalog::Catalog;
use cl_experiments::run::checkpoint::{AtomicCheckpointer, restore_latest, save};
use cl_experiments::run::folder::{MetricsLog, RunFolder};
use cl_experiments::run::learning_rates::LearningRateScheduler;
use cl_experiments::spec::RunSpec;
use cl_experiments::spec::experiment::{Experiment, Extent};
use cl_experiments::tasks::images::evaluation::ImageEvaluation;
use cl_experiments::tasks::images::spec::ImageSpec;
use cl_experiments::tasks::learner::{Learner, LearnerOf};
use cl_experiments::tasks::sparse_coding::evaluation::Evaluation;
use cl_experiments::tasks::sparse_coding::snapshot::Snapshot;
use cl_experiments::tasks::sparse_coding::spec::TrainingSpec;
use cl_experiments::tasks::sparse_coding::training::SparseCoding;
use cl_experiments::tasks::task::{Measured, Task, is_finite};
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use std::collections::HashSet;
use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Everything below a folder. Links are listed but not followed.
fn below(folder: &Path) -> Vec<PathBuf> {
    let (mut paths, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            paths.push(entry.path());
        }
    }
    paths
}

/// The same as paths relative to the folder, in order.
pub fn listing(folder: &Path) -> Vec<String> {
    let paths = below(folder);
    let shown = |path: &PathBuf| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
    let mut paths: Vec<String> = paths.iter().map(shown).collect();
    paths.sort();
    paths
}

/// What was read, or `None` after an error that names `file` and says something about it.
fn checked<T, E: Display>(result: Result<T, E>, file: &Path) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let (text, name) = (error.to_string(), file.to_string_lossy());
            assert!(text.contains(&*name) && text.len() > name.len() + 4, "{name} is not named in {text:?}");
            None
        }
    }
}

fn folder_with(parent: &Path, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let folder = parent.join(name);
    for (file, bytes) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// What experiments in the corpus build on.
const BASES: [(&str, &str); 2] = [
    ("recipe-d32.toml", include_str!("../experiments/recipe-d32.toml")),
    ("images-small.toml", include_str!("../experiments/images-small.toml")),
];

/// `experiment.toml` and `expected.toml` of an experiment called `fuzzed`.
pub fn experiment_file(bytes: &[u8]) {
    let scratch = scratch();
    for (name, text) in BASES {
        fs::write(scratch.path().join(name), text).unwrap();
    }
    let folder = folder_with(scratch.path(), "fuzzed", &[("experiment.toml", bytes), ("expected.toml", bytes)]);
    let before = listing(scratch.path());
    for extent in [Extent::Default, Extent::Full] {
        if let Some(experiment) =
            checked(Experiment::load(&folder, extent, catalog().parts()), &folder.join("experiment.toml"))
        {
            look_at(&experiment, scratch.path());
        }
    }
    if let Some(expected) = checked(Expected::load(&folder), &folder.join("expected.toml")) {
        let mut metrics = Metrics::new();
        for expectation in &expected.expect {
            for point in expectation.point.iter().chain(expectation.terms.keys()) {
                let seeds = metrics.entry(point.clone()).or_default();
                for seed in 0..6 {
                    seeds.entry(seed).or_default().insert(expectation.metric.clone(), seed as f64);
                }
            }
        }
        let points: Vec<String> = metrics.keys().cloned().collect();
        overall(&expected.judge(&points, &metrics, true, expected.intervals(&points, true)));
    }
    assert_eq!(listing(scratch.path()), before);
}

/// Checks that points have their own names, costs and run folders below `runs`, and that grids consist of points.
fn look_at(experiment: &Experiment, runs: &Path) {
    assert!(!experiment.points.is_empty());
    assert_eq!(experiment.chosen(&[]).unwrap().len(), experiment.points.len());
    let names: HashSet<&String> = experiment.points.iter().map(|point| &point.name).collect();
    assert!(experiment.grids.iter().flat_map(|grid| &grid.points).all(|name| names.contains(name)));
    for point in &experiment.points {
        let run = RunFolder::new(runs, &experiment.claim, &point.name, &point.spec, 1);
        let from_claim = run.path().strip_prefix(runs.join(&experiment.claim));
        let parts: Option<Vec<Component>> = from_claim.ok().map(|path| path.components().collect());
        let is_below = matches!(parts.as_deref(), Some([Component::Normal(_), Component::Normal(_)]));
        assert!(is_below, "the run of point {:?} would be in {}", point.name, run.path().display());
        if point.spec.get::<ImageSpec>().is_none() {
            assert!(point.spec.cost() >= 0.0 && point.spec.steps() < u64::MAX);
        }
    }
}

/// Files of records, and a list of class names.
pub fn cifar(bytes: &[u8]) {
    let scratch = scratch();
    let record = vec![0u8; 3073];
    let ten = folder_with(scratch.path(), "ten", &[("data_batch_1.bin", bytes), ("test_batch.bin", bytes)]);
    let hundred = folder_with(scratch.path(), "hundred", &[("train.bin", bytes), ("test.bin", bytes)]);
    let files = [("data_batch_1.bin", &record[..]), ("test_batch.bin", &record[..]), ("batches.meta.txt", bytes)];
    let named = folder_with(scratch.path(), "named", &files);
    let before = listing(scratch.path());
    if let Some(splits) = checked(read_cifar10(&ten), &ten.join("data_batch_1.bin")) {
        assert_eq!(splits.train.len() * 3073, bytes.len());
        assert_eq!(splits.test, splits.train);
    }
    for labels in [Cifar100Labels::Fine, Cifar100Labels::Coarse] {
        if let Some(splits) = checked(read_cifar100(&hundred, labels), &hundred.join("train.bin")) {
            assert_eq!(splits.train.len() * 3074, bytes.len());
            assert_eq!(splits.test, splits.train);
        }
    }
    if let Some(splits) = checked(read_cifar10(&named), &named.join("batches.meta.txt")) {
        assert_eq!((splits.train.len(), splits.train.num_classes()), (1, 10));
    }
    assert_eq!(listing(scratch.path()), before);
}

/// A training image called `x.png` and the same as a test image called `x.jpg`: the content decides the format.
pub fn image_folder(bytes: &[u8]) {
    let scratch = scratch();
    let folder = folder_with(scratch.path(), "images", &[("train/a/x.png", bytes), ("test/a/x.jpg", bytes)]);
    let before = listing(scratch.path());
    let options = ImageFolderOptions { size: 8, other_sizes: OtherSizes::Resize };
    if let Some(splits) = checked(read_image_folder(&folder, options), &folder.join("train/a/x.png")) {
        assert_eq!((splits.train.len(), splits.train.height(), splits.train.width()), (1, 8, 8));
        assert_eq!(splits.test, splits.train);
    }
    assert_eq!(listing(scratch.path()), before);
}

/// A training run of four epochs of one step each.
const TINY: &str = r#"
[data.sparse_coding]
code_dim = 2
input_dim = 4
negatives = { fresh = { count = 4 } }

[views]
transform = [{ complementary_mask = { keep_probability = 0.5, masked_fraction = 1.0, rescaling = "unbiased" } }]

[model.encoder.symmetric_relu]
num_neurons = 2
initial_scale = 0.3
normalization = "none"
bias = "zero"

[objective.info_nce]
similarity = "inner_product"
key_gradient = "stopped"
temperature = 1.0
scale = "temperature"

[optimization]
steps = 4
batch_size = 4
optimizer = { sgd = { weight_decay = 0.01 } }
snapshot_every = 1
learning_rate = { constant = { rate = 0.1 } }

[evaluation]
samples = 8
probe_samples = 8
baselines = false
"#;

/// The files of an epoch.
const CHECKPOINT: [&str; 3] = ["model", "optim", "scheduler"];

/// What the standard laboratory runs.
fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(Catalog::standard)
}

fn task() -> &'static Arc<SparseCoding> {
    static TASK: OnceLock<Arc<SparseCoding>> = OnceLock::new();
    TASK.get_or_init(|| {
        let spec = RunSpec::from_table(toml::from_str(TINY).unwrap(), catalog().parts()).unwrap();
        let spec = spec.get::<TrainingSpec>().expect("it trains");
        Arc::new(SparseCoding::on(spec, 1, &cl_experiments::io::device::open("flex").unwrap()))
    })
}

/// The learner one step later.
fn step(learner: LearnerOf<SparseCoding>, optimizer: &mut ModuleOptimizer) -> LearnerOf<SparseCoding> {
    let rate = task().schedule().learning_rate.at(learner.steps_done());
    let (output, _) = learner.step_and_draw(None);
    learner.optimize(optimizer, rate.into(), output.grads)
}

/// The files of an epoch that the program wrote.
fn good_checkpoint() -> &'static [Vec<u8>; 3] {
    static GOOD: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
    GOOD.get_or_init(|| {
        let scratch = scratch();
        let mut optimizer = task().optimizer();
        let learner = step(Learner::start(task()), &mut optimizer);
        let rates = LearningRateScheduler::new(task().schedule().learning_rate, 1);
        save(scratch.path(), 1, &learner, &optimizer, &rates).unwrap();
        CHECKPOINT.map(|name| fs::read(scratch.path().join(format!("{name}-1.bpk"))).unwrap())
    })
}

/// The second of two epochs of a run: all its files, then all but the weights. Either it is used, or the first one is
/// used and the second one is reported by name; training resumes from there.
pub fn checkpoint(bytes: &[u8]) {
    for damaged in [&CHECKPOINT[..], &CHECKPOINT[1..]] {
        let scratch = scratch();
        let folder = RunFolder::at(scratch.path());
        let directory = folder.checkpoints();
        fs::create_dir(&directory).unwrap();
        for (name, good) in CHECKPOINT.iter().zip(good_checkpoint()) {
            let second: &[u8] = if damaged.contains(name) { bytes } else { good };
            fs::write(directory.join(format!("{name}-1.bpk")), good).unwrap();
            fs::write(directory.join(format!("{name}-2.bpk")), second).unwrap();
        }
        let before = listing(scratch.path());
        let mut warnings: Vec<String> = Vec::new();
        let (learner, mut optimizer, epoch) = restore_latest(task(), &folder, &mut |text| warnings.push(text));
        match epoch {
            Some(2) => assert!(warnings.is_empty(), "{warnings:?}"),
            Some(1) => {
                assert_eq!(warnings.len(), 1, "{warnings:?}");
                let named = damaged.iter().any(|name| {
                    let path = directory.join(format!("{name}-2.bpk"));
                    warnings[0].contains(&*path.to_string_lossy())
                });
                assert!(named, "{warnings:?}");
            }
            _ => panic!("the first epoch is whole: {warnings:?}"),
        }
        assert_eq!(Some(learner.steps_done() as usize), epoch);
        assert!(is_finite(&learner));
        let next = step(learner, &mut optimizer);
        assert_eq!(Some(next.steps_done() as usize), epoch.map(|epoch| epoch + 1));

        let [_, _, rates] = AtomicCheckpointer::all(&directory).unwrap();
        let record: Result<LrSchedulerRecord, CheckpointerError> = rates.restore(2);
        if let Ok(record) = record {
            LearningRateScheduler::new(task().schedule().learning_rate, 0).load_record(record);
        }
        assert_eq!(listing(scratch.path()), before);
        // Burn forgets dropped parameters during a backward pass; the few steps in closed form here make none.
        drop(Tensor::<1>::zeros([1], &Device::flex().autodiff()).require_grad().sum().backward());
    }
}

/// `weights.safetensors` of a run.
pub fn safetensors(bytes: &[u8]) {
    const NAME: &str = "weights.safetensors";
    let scratch = scratch();
    let file = scratch.path().join(NAME);
    fs::write(&file, bytes).unwrap();
    let folder = RunFolder::at(scratch.path());
    if let Some((shape, values)) = checked(folder.tensor(NAME, "weights"), &file) {
        assert_eq!(shape.iter().try_fold(1, |product: usize, size| product.checked_mul(*size)), Some(values.len()));
        assert!(4 * values.len() < bytes.len());
    }
    if let Some(rows) = checked(folder.weights(), &file) {
        assert!(rows.iter().all(|row| row.len() == rows[0].len()));
        assert!(4 * rows.iter().map(Vec::len).sum::<usize>() < bytes.len());
    }
    assert_eq!(listing(scratch.path()), [NAME]);
}

/// The files of a run folder in the order in which bytes 0xFF separate them.
const RUN_FILES: [&str; 5] = ["spec.json", "metrics.jsonl", "evaluation.json", "manifest.json", "moments.json"];

/// Steps of the checkpoint that the run resumes from.
const STEPS_DONE: u64 = 20;

/// The text files of a run.
pub fn run_folder(bytes: &[u8]) {
    let scratch = scratch();
    let mut parts = bytes.split(|byte| *byte == 0xff);
    for name in RUN_FILES {
        fs::write(scratch.path().join(name), parts.next().unwrap_or_default()).unwrap();
    }
    let before = listing(scratch.path());
    let folder = RunFolder::at(scratch.path());
    let [spec, metrics, evaluation, manifest, moments] = RUN_FILES.map(|name| scratch.path().join(name));
    if let Some((spec, _)) = checked(folder.spec(catalog().parts()), &spec) {
        // A value out of range is an error that names the key.
        assert_eq!(spec.digest().len(), 12);
    }
    checked(folder.evaluation::<Evaluation>(), &evaluation);
    checked(folder.evaluation::<ImageEvaluation>(), &evaluation);
    checked(folder.manifest(), &manifest);
    if let Some(report) = checked(folder.moments(), &moments) {
        let _: f64 = report.directions().map(|direction| direction.deviation()).sum();
    }
    if let Some(snapshots) = checked(folder.snapshots::<Snapshot>(), &metrics) {
        assert!(snapshots.iter().all(|snapshot| !snapshot.line().is_empty()));
    }
    drop(MetricsLog::resume::<Snapshot>(&folder, STEPS_DONE).unwrap());
    let kept = folder.snapshots::<Snapshot>().unwrap_or_else(|e| panic!("the run could not be read at its end: {e}"));
    assert!(kept.iter().all(|snapshot| snapshot.step <= STEPS_DONE));
    assert_eq!(listing(scratch.path()), before);
}

/// The data files of [`fetched`].
const DATA_FILES: [(&str, u64); 2] = [("one.bin", 4), ("two.bin", 2)];

/// `data fetch` below `home`, with the archive already placed there.
///
/// # Errors
/// The program's message.
pub fn fetched(home: &Path, bytes: &[u8]) -> Result<Fetched, UserError> {
    let md5 = hex::encode(Md5::digest(bytes));
    let archive = Archive {
        name: "small",
        url: "http://home.invalid/small.tar.gz",
        digest: PublishedDigest::Md5(&md5),
        is_packed: true,
        top_folder: "small-bin",
        files: &DATA_FILES,
        instead: None,
    };
    let cache = folder_with(home, "cache", &[("small.tar.gz", bytes)]);
    // Nothing listens at this address, and nothing connects to it.
    let origin = Origin { attempts: 1, ..Origin::new("http://127.0.0.1:1/small.tar.gz") };
    fetch(&archive, &cache, &origin, &mut |_| {})
}

/// The bytes as a `.tar.gz`, and compressed as if they were a `.tar`.
pub fn archive(bytes: &[u8]) {
    unpack(bytes);
    let mut compressed = GzEncoder::new(Vec::new(), Compression::none());
    compressed.write_all(bytes).unwrap();
    unpack(&compressed.finish().unwrap());
}

/// A whole folder of plain files and nothing else, or nothing. What is next to it stays as it is.
fn unpack(bytes: &[u8]) {
    let home = scratch();
    let outside = folder_with(home.path(), "outside", &[("kept", &b"kept"[..])]);
    let cache = home.path().join("cache");
    let result = checked(fetched(home.path(), bytes), &cache);
    assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept");
    let unpacked = cache.join("small-bin");
    let mut expected = vec!["cache", "cache/small.tar.gz.lock", "outside", "outside/kept"];
    expected.push(if result.is_some() { "cache/small-bin" } else { "cache/small.tar.gz" });
    expected.sort_unstable();
    let is_unpacked = |path: &String| path.starts_with("cache/small-bin/");
    let found = listing(home.path());
    assert_eq!(found.iter().filter(|path| !is_unpacked(path)).collect::<Vec<_>>(), expected);
    assert_eq!(result, unpacked.exists().then(|| Fetched::Unpacked(unpacked.clone())));
    if result.is_none() {
        return;
    }
    for (name, size) in DATA_FILES {
        assert_eq!(fs::metadata(unpacked.join(name)).unwrap().len(), size);
    }
    let mut total = 0;
    for path in below(&unpacked) {
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.is_file() || metadata.is_dir(), "{}", path.display());
        total += if metadata.is_file() { metadata.len() } else { 0 };
    }
    assert!(total <= 6 + (1 << 20), "{total} bytes");
}
