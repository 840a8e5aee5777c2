use crate::support::{binary, catalog, read_spec, scratch};
use cl_data::images::ImageSet;
use cl_experiments::io::device;
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::{Outcome, Session};
use cl_experiments::run::recording::{finish, keep_if_best};
use cl_experiments::spec::RunSpec;
use cl_experiments::spec::Specification;
use cl_experiments::tasks::images::evaluation::ImageEvaluation;
use cl_experiments::tasks::images::spec::{ImageSpec, ImageViewsSpec};
use cl_experiments::tasks::images::training::ImageSnapshot;
use cl_experiments::tasks::learner::Learner;
use cl_experiments::tasks::task::{Place, Task};
use cl_experiments::tasks::weights;
use cl_model::conv::SmallConvNetConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An experiment on generated images that takes a few seconds.
pub const SMALL: &str = r#"
claim = "pictures"
on_request = true
title = "A small experiment on images"
statement = "It is small."
seeds = [1]

[points.views.data.images]
dataset = { shapes = { train = 96, test = 48, seed = 7 } }

[points.views.views]
transform = [
  { random_resized_crop = { scale = [0.5, 1.0], ratio = [0.75, 1.3] } },
  { horizontal_flip = { probability = 0.5 } },
  { color_jitter = { probability = 0.8, brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 } },
  { grayscale = { probability = 0.2 } },
  { gaussian_blur = { probability = 0.5, kernel_size = 3, sigma = [0.1, 2.0] } },
]

[points.views.model.encoder.small_conv_net]
channels = [4, 8]
strides = [2, 2]

[points.views.model.projector]
hidden_dims = [8]
output_dim = 4

[points.views.objective.nt_xent]
temperature = 0.5

[points.views.optimization]
epochs = 4
batch_size = 32
optimizer = { adamw = { beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8, weight_decay = 1e-4 } }
learning_rate = { warmup_cosine = { peak = 0.01, warmup = 1.0 } }
snapshot_every = 1

[points.views.evaluation]
neighbors = 5
temperature = 0.1
snapshot_train = 96
snapshot_test = 48
baselines = true
analysis = true
"#;

fn experiment(folder: &Path, replace: (&str, &str)) -> PathBuf {
    assert!(SMALL.contains(replace.0), "{:?} is not in the small experiment", replace.0);
    let experiment = folder.join("pictures");
    std::fs::create_dir_all(&experiment).unwrap();
    std::fs::write(experiment.join("experiment.toml"), SMALL.replace(replace.0, replace.1)).unwrap();
    experiment
}

pub fn spec(replace: (&str, &str)) -> ImageSpec {
    let file: toml::Table = toml::from_str(&SMALL.replace(replace.0, replace.1)).unwrap();
    let point = file["points"]["views"].as_table().unwrap().clone();
    let mut spec: ImageSpec = read_spec(point);
    spec.pin(None).unwrap();
    spec
}

fn run(spec: &ImageSpec, folder: &RunFolder, on_progress: &mut dyn FnMut(u64) -> bool) -> Outcome {
    run_under(spec, 1, folder, on_progress)
}

fn run_under(spec: &ImageSpec, seed: u64, folder: &RunFolder, on_progress: &mut dyn FnMut(u64) -> bool) -> Outcome {
    let device = cl_experiments::io::device::open("flex").unwrap();
    let stop = AtomicBool::new(false);
    let session = Session {
        device_name: "flex",
        device: &device,
        data_dir: None,
        checkpoint_every: std::time::Duration::from_secs(5),
        pictures: false,
        stop: &stop,
        progress: &mut |done, _| stop.store(on_progress(done), Ordering::Relaxed),
        warn: &mut |text| panic!("{text}"),
    };
    catalog().execute(&RunSpec::new(spec.clone()), seed, folder, session).unwrap()
}

/// Everything that must not depend on how a run was executed is the same, byte by byte.
fn assert_same(a: &RunFolder, b: &RunFolder) {
    let files =
        ["metrics.jsonl", "weights.safetensors", "weights-best.safetensors", "analysis.safetensors", "evaluation.json"];
    for name in files {
        let read = |folder: &RunFolder| std::fs::read(folder.path().join(name)).expect(name);
        assert!(read(a) == read(b), "{name} differs between {} and {}", a.path().display(), b.path().display());
    }
}

/// Optimizers with state, labels, a predictor with a momentum copy, a queue of keys, and the paper's loss with the symmetrised ReLU.
const VARIANTS: [(&str, &str); 6] = [
    ("[points.views.objective.nt_xent]\ntemperature = 0.5", "[points.views]\nobjective = \"supervised\""),
    ("weight_decay = 1e-4", "weight_decay = 0.01"),
    (
        "[points.views.objective.nt_xent]\ntemperature = 0.5",
        "[points.views.model.predictor.network.mlp]\nhidden_dims = [4]\nnormalization = \"batch\"\n\n\
         [points.views.model.momentum_copy]\nmomentum = 0.9\n\n[points.views]\nobjective = \"negative_cosine\"",
    ),
    (
        "adamw = { beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8, weight_decay = 1e-4 }",
        "lars = { momentum = 0.9, trust_coefficient = 0.001, weight_decay = 1e-6 }",
    ),
    (
        "[points.views.objective.nt_xent]\n",
        "[points.views.objective.info_nce]\nsimilarity = \"cosine\"\nkey_gradient = \"stopped\"\nscale = \"one\"\n",
    ),
    QUEUE,
];

/// MoCo: keys of a momentum copy, and a queue of them.
const QUEUE: (&str, &str) = (
    "[points.views.objective.nt_xent]\n",
    "[points.views.model]\nmomentum_copy = { momentum = 0.9 }\nqueue = { size = 64 }\n\n\
     [points.views.objective.info_nce]\nsimilarity = \"cosine\"\nkey_gradient = \"stopped\"\nscale = \"one\"\n",
);

/// After μ = 0.9 over 12 steps the copy has made some of the way of the model and is behind it; every key in the queue is one that it made.
#[test]
fn copies_follow_and_queues_are_filled_on_images() {
    let (spec, runs) = (spec(QUEUE), scratch());
    let folder = RunFolder::at(runs.path().join("run"));
    assert_eq!(run(&spec, &folder, &mut |_| false), Outcome::Finished);
    let tensor = |name: &str| folder.tensor("weights.safetensors", name).unwrap().1;
    let untrained = training(&spec, 1).untrained();
    let start = untrained.projector.as_ref().unwrap().output.weight.val().into_data().try_to_vec::<f32>().unwrap();
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    let [own, copy] = ["projector.output.weight", "momentum_copy.projector.output.weight"].map(tensor);
    let made = distance(&own, &start);
    assert!(distance(&copy, &start) > 0.1 * made && distance(&copy, &own) > 0.1 * made, "of {made}");
    let queue = tensor("queue.keys");
    let initial = untrained.queue.as_ref().unwrap().keys.val().into_data().try_to_vec::<f32>().unwrap();
    let kept = queue.chunks_exact(4).zip(initial.chunks_exact(4)).filter(|(a, b)| a == b).count();
    assert!(queue.len() == 64 * 4 && kept == 0, "{kept} keys are those of the start");
}

#[test]
fn a_stopped_image_run_goes_on_bit_by_bit() {
    for variant in VARIANTS {
        println!("{variant:?}");
        let (spec, runs) = (spec(variant), scratch());
        let whole = RunFolder::at(runs.path().join("whole"));
        assert_eq!(run(&spec, &whole, &mut |_| false), Outcome::Finished);
        let stopped = RunFolder::at(runs.path().join("stopped"));
        let half = spec.steps() / 2;
        let outcome = run(&spec, &stopped, &mut |done| done >= half);
        assert_eq!(outcome, Outcome::Stopped { step: half, resumes_at: half }, "{variant:?}");
        assert_eq!(run(&spec, &stopped, &mut |_| false), Outcome::Finished);
        assert_same(&stopped, &whole);
    }
}

#[test]
fn the_dashboards_learner_and_the_headless_trainer_give_the_same_bits_on_images() {
    let folder = scratch();
    let experiment = experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let output = binary(folder.path(), &["train", experiment.to_str().unwrap(), "--no-tui"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("kNN accuracy ") && text.contains("linear probe "), "{text}");
    let spec = spec(("seeds = [1]", "seeds = [1]"));
    let point = RunSpec::new(spec.clone());
    let by_learner = RunFolder::new(&folder.path().join("runs"), "pictures", "views", &point, 1);
    let by_loop = RunFolder::at(folder.path().join("loop"));
    run(&spec, &by_loop, &mut |_| false);
    assert_same(&by_learner, &by_loop);
}

#[test]
fn augmentation_decouples_colour_and_without_it_both_views_are_one() {
    let runs = scratch();
    let correlation = |spec: &ImageSpec, name: &str| {
        let folder = RunFolder::at(runs.path().join(name));
        run(spec, &folder, &mut |_| false);
        let evaluation: ImageEvaluation = folder.evaluation().unwrap();
        assert_eq!(evaluation.last.knn.confusion.iter().flatten().sum::<usize>(), 48);
        assert_eq!(evaluation.analysis.unwrap().map.len(), 48);
        let directions = evaluation.directions.unwrap();
        directions
            .into_iter()
            .map(|d| (d.name, d.view_correlation.unwrap()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let strong = spec((
        "brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1",
        "brightness = 0.8, contrast = 0.8, saturation = 0.8, hue = 0.5",
    ));
    let mut none = strong.clone();
    none.views = ImageViewsSpec::default();
    let (strong, none) = (correlation(&strong, "strong"), correlation(&none, "none"));
    for name in ["brightness", "red − green", "yellow − blue"] {
        assert!((none[name] - 1.0).abs() < 1e-6, "{name}: {}", none[name]);
        // 384 pairs of views: a correlation of 0.5 has a standard error of 0.04.
        assert!(strong[name] < 0.7, "{name}: {}", strong[name]);
    }
}

/// The moments between the last file of a run and its marker, and between the marker and the removal of checkpoints.
#[test]
fn a_run_killed_right_before_or_after_its_end_is_finished_and_tidied() {
    let folder = scratch();
    let spec = spec(("seed = 7", "seed = 7"));
    let [whole, killed] = ["whole", "killed"].map(|name| RunFolder::at(folder.path().join(name)));
    run(&spec, &whole, &mut |_| false);
    // Stopped at its last epoch but one, so that there is a checkpoint.
    run(&spec, &killed, &mut |done| done >= 9);
    let saved = folder.path().join("saved");
    let copy = |from: &Path, to: &Path| {
        assert!(std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap().success())
    };
    copy(killed.path(), &saved);
    run(&spec, &killed, &mut |_| false);
    assert_same(&whole, &killed);
    // As if it had been killed after its files were written and before the marker was.
    std::fs::remove_file(killed.path().join("COMPLETE")).unwrap();
    copy(&saved.join("checkpoint"), &killed.checkpoints());
    copy(&saved.join("best.bpk"), &killed.best());
    run(&spec, &killed, &mut |_| false);
    assert_same(&whole, &killed);
    assert!(!killed.checkpoints().exists() && !killed.best().exists());
    // And after the marker.
    copy(&saved.join("checkpoint"), &killed.checkpoints());
    copy(&saved.join("best.bpk"), &killed.best());
    run(&spec, &killed, &mut |_| false);
    assert_same(&whole, &killed);
    assert!(!killed.checkpoints().exists() && !killed.best().exists());
}

#[test]
fn images_that_are_not_here_are_asked_for() {
    let folder = scratch();
    let experiment = experiment(folder.path(), ("{ shapes = { train = 96, test = 48, seed = 7 } }", "\"cifar10\""));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cl-experiments"))
        .args(["train", experiment.to_str().unwrap(), "--no-tui"])
        .env_remove("CL_CIFAR10_DIR")
        .env("XDG_CACHE_HOME", folder.path())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(["data fetch cifar10", "--data-dir", "CL_CIFAR10_DIR"].iter().all(|way| text.contains(way)), "{text}");
}

#[test]
fn other_images_than_those_that_are_pinned_are_refused() {
    let mut other = spec(("seed = 7", "seed = 8"));
    other.data.content = spec(("seed = 7", "seed = 7")).data.content;
    let error = other.pin(None).unwrap_err().to_string();
    assert!(error.contains("data.images.content.fingerprint") && error.contains("that of the images found"), "{error}");
}

#[test]
fn a_preview_shows_images_and_pairs_of_views() {
    let folder = scratch();
    let experiment = experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let arguments = ["images", "preview", experiment.to_str().unwrap(), "--images", "3", "--output", "sheet.png"];
    let output = binary(folder.path(), &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sheet = image::open(folder.path().join("sheet.png")).unwrap();
    // Nine columns and three rows of 32 pixels, three times as large.
    assert!(sheet.width() > 9 * 96 && sheet.height() > 3 * 96 && sheet.height() < 4 * 100, "{sheet:?}");
    let again = binary(folder.path(), &arguments);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not overwritten"));
}

/// Folders of noise images, `classes` of them with the given numbers of training and test images each.
fn noise(folder: &Path, classes: usize, [train, test]: [usize; 2], pixel: impl Fn(usize) -> [u8; 3]) -> PathBuf {
    let images = folder.join("noise");
    for (split, count) in [("train", train), ("test", test)] {
        for class in 0..classes {
            let path = images.join(split).join(format!("class-{class}"));
            std::fs::create_dir_all(&path).unwrap();
            for i in 0..count {
                let seed = ((class * 2 + usize::from(split == "test")) * 10_000 + i) * 64;
                let picture = image::RgbImage::from_fn(8, 8, |x, y| image::Rgb(pixel(seed + (x + 8 * y) as usize)));
                picture.save(path.join(format!("{i:04}.png"))).unwrap();
            }
        }
    }
    images
}

/// A hash of a number, as a byte.
fn byte(i: usize) -> u8 {
    ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
}

fn colourful(i: usize) -> [u8; 3] {
    [3 * i, 3 * i + 1, 3 * i + 2].map(byte)
}

/// The small experiment on a folder of 8 × 8 images; `replace` changes the rest.
fn on_folder(folder: &Path, replace: &[(&str, &str)]) -> PathBuf {
    let experiment =
        experiment(folder, ("{ shapes = { train = 96, test = 48, seed = 7 } }", "{ folder = { size = 8 } }"));
    let path = experiment.join("experiment.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in replace {
        assert!(text.contains(from), "{from:?} is not in the small experiment");
        text = text.replace(from, to);
    }
    std::fs::write(path, text).unwrap();
    experiment
}

fn train(folder: &Path, images: &Path) -> std::process::Output {
    let experiment = folder.join("pictures");
    binary(folder, &["train", experiment.to_str().unwrap(), "--no-tui", "--data-dir", images.to_str().unwrap()])
}

/// The one run below `folder`.
fn only_run(folder: &Path) -> RunFolder {
    let point = std::fs::read_dir(folder.join("runs/pictures")).unwrap().flatten().next().expect("a run").path();
    RunFolder::at(point.join("seed-1"))
}

fn device() -> burn::tensor::Device {
    device::open("flex").unwrap()
}

/// The encoder of the small experiment on its images.
type ImageTraining = cl_experiments::tasks::images::training::ImageTraining<SmallConvNetConfig>;

fn training(spec: &ImageSpec, seed: u64) -> Arc<ImageTraining> {
    training_on(spec, seed, None)
}

fn training_on(spec: &ImageSpec, seed: u64, data_dir: Option<&Path>) -> Arc<ImageTraining> {
    Arc::new(ImageTraining::new(spec, seed, Place { device_name: "flex", device: &device(), data_dir }).unwrap())
}

/// The final state is scored and exported with its own running statistics, even if another one was the best.
#[test]
fn the_last_state_is_scored_exported_and_logged_with_its_own_statistics() {
    let spec = spec(("seeds = [1]", "seeds = [1]"));
    let mut with_another_best = 0;
    for seed in [1, 2, 3] {
        let runs = scratch();
        let folder = RunFolder::at(runs.path().join("run"));
        run_under(&spec, seed, &folder, &mut |_| false);
        let snapshots: Vec<ImageSnapshot> = folder.snapshots().unwrap();
        let evaluation: ImageEvaluation = folder.evaluation().unwrap();
        let last = snapshots.last().unwrap();
        // All images take part in both.
        assert_eq!(Some(evaluation.last.knn.accuracy), last.knn_accuracy, "seed {seed}");
        let best = snapshots.iter().find(|s| s.step == evaluation.best_step).unwrap();
        assert_eq!(Some(evaluation.best.knn.accuracy), best.knn_accuracy, "seed {seed}");

        let training = training(&spec, seed);
        let exported = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        for (name, snapshot) in [("weights.safetensors", last), ("weights-best.safetensors", best)] {
            let loaded = weights::from_safetensors(training.untrained(), exported(name)).unwrap();
            let again = training.snapshot(&loaded, snapshot.step);
            let again = ImageSnapshot { images_per_second: 0.0, ..again };
            assert_eq!(again, *snapshot, "{name} reproduces its line of metrics.jsonl, seed {seed}");
        }
        let differs = exported("weights.safetensors") != exported("weights-best.safetensors");
        assert_eq!(differs, evaluation.best_step != last.step);
        if differs {
            with_another_best += 1;
            let statistics = |name: &str| {
                let (_, mean) = folder.tensor(name, "encoder.layers.0.norm.running_mean").unwrap();
                let (_, variance) = folder.tensor(name, "encoder.layers.0.norm.running_var").unwrap();
                (mean, variance)
            };
            assert_ne!(statistics("weights.safetensors"), statistics("weights-best.safetensors"));
        }
    }
    assert!(with_another_best > 0, "no seed puts this to the test");
}

/// Whatever is measured of a network, all of its numbers stay the same, and so do those of the one in training.
#[test]
fn measuring_a_network_leaves_it_as_it_was() {
    use burn::module::Module;
    use burn::train::TrainStep;
    let runs = scratch();
    let spec = spec(("seeds = [1]", "seeds = [1]"));
    let training = training(&spec, 1);
    let in_training = Learner::start(&training);
    let output = TrainStep::step(&in_training, training.batch(0));
    let in_training = in_training.optimize(&mut training.optimizer(), 0.01.into(), output.grads);
    let hash = |model: &_| weights::sha256(model).unwrap();
    let before = (hash(&in_training.model.valid()), hash(&training.untrained()));
    let folder = RunFolder::at(runs.path().join("run"));
    let _lock = folder.open(&RunSpec::new(spec.clone()), 1).unwrap();
    let mut log = cl_experiments::run::folder::MetricsLog::resume::<ImageSnapshot>(&folder, 0).unwrap().0;
    let (untrained, learner) = (Learner::untrained(&training), in_training.valid());
    // The first state is the best, so that both states are available at the end.
    for learner in [&untrained, &learner] {
        let mut snapshot = learner.snapshot();
        snapshot.knn_accuracy = Some(if snapshot.step == 0 { 1.0 } else { 0.0 });
        log.append(&snapshot).unwrap();
        keep_if_best::<ImageTraining>(&learner.model, &snapshot, &folder).unwrap();
    }
    finish(&learner, &folder).unwrap();
    let evaluation: ImageEvaluation = folder.evaluation().unwrap();
    assert_eq!((&evaluation.last_sha256, &evaluation.best_sha256), (&before.0, &before.1));
    let after = (hash(&in_training.model.valid()), hash(&learner.model), hash(&untrained.model));
    assert_eq!(after, (before.0.clone(), before.0, before.1));
}

/// Ordered by class, the first images are one class, which kNN always gets right.
#[test]
fn parts_of_a_set_keep_the_proportions_of_its_classes() {
    let folder = scratch();
    let images = noise(folder.path(), 4, [64, 64], colourful);
    on_folder(
        folder.path(),
        &[
            ("snapshot_train = 96", "snapshot_train = 64"),
            ("snapshot_test = 48", "snapshot_test = 64"),
            ("epochs = 4", "epochs = 2"),
            ("analysis = true", "analysis = false"),
        ],
    );
    let output = train(folder.path(), &images);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = only_run(folder.path());
    let snapshots: Vec<ImageSnapshot> = folder.snapshots().unwrap();
    for snapshot in &snapshots {
        // Noise is not informative: 16 of 64 with a standard deviation of 3.5; five of them.
        let accuracy = snapshot.knn_accuracy.unwrap();
        assert!((0.0..0.53).contains(&accuracy), "{accuracy} at step {}", snapshot.step);
    }
    let spec = folder.spec(catalog().parts()).unwrap().0.get::<ImageSpec>().unwrap().clone();
    let training = training_on(&spec, 1, Some(&images));
    let count = |set: &ImageSet, part: &[usize]| {
        let mut counts = [0; 4];
        part.iter().for_each(|i| counts[set.labels()[*i]] += 1);
        counts
    };
    let (train, test) = (&training.data().splits().train, &training.data().splits().test);
    assert_eq!(count(train, training.data().part_of_train(64)), [16; 4]);
    assert_eq!(count(test, training.data().part_of_test(32)), [8; 4]);
    assert_eq!(count(test, training.data().part_of_test(10_000)), [64; 4]);
    let again = training_on(&spec, 1, Some(&images));
    assert_eq!(training.data().part_of_test(32), again.data().part_of_test(32));
    let other = training_on(&spec, 2, Some(&images));
    assert_ne!(training.data().part_of_test(32), other.data().part_of_test(32));
}

/// Blue is 0 everywhere, and so is its standard deviation. In grey images no colour varies, so nothing can be measured.
#[test]
fn channels_and_directions_that_do_not_vary_are_no_obstacle() {
    type Case = (&'static str, fn(usize) -> [u8; 3]);
    let cases: [Case; 3] =
        [("yellow", |i| [byte(2 * i), byte(2 * i + 1), 0]), ("grey", |i| [byte(i); 3]), ("black", |_| [0; 3])];
    for (name, pixel) in cases {
        let folder = scratch();
        let images = noise(folder.path(), 2, [32, 8], pixel);
        on_folder(folder.path(), &[("epochs = 4", "epochs = 2"), ("hue = 0.1", "hue = 0.0")]);
        let output = train(folder.path(), &images);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let folder = only_run(folder.path());
        let snapshots: Vec<ImageSnapshot> = folder.snapshots().unwrap();
        assert!(snapshots.iter().all(|s| s.loss.is_finite()), "{name}");
        let evaluation: ImageEvaluation = folder.evaluation().unwrap();
        let directions = evaluation.directions.unwrap();
        let colour = directions.iter().find(|d| d.name == "red − green").unwrap();
        let varies = name == "yellow";
        assert_eq!((colour.kept_r_squared.is_some(), colour.view_correlation.is_some()), (varies, varies), "{name}");
        let text = std::fs::read_to_string(folder.path().join("evaluation.json")).unwrap();
        assert!(!text.contains("NaN") && !text.contains("inf"), "{name}");
    }
}

#[test]
fn what_does_not_fit_the_images_is_refused_by_key_before_anything_is_run() {
    let blur = ("kernel_size = 3", "kernel_size = 23");
    let supervised =
        ("[points.views.objective.nt_xent]\ntemperature = 0.5", "[points.views]\nobjective = \"supervised\"");
    /// Classes, images of each, what is changed, what the error says.
    type Case = (usize, [usize; 2], (&'static str, &'static str), &'static [&'static str]);
    let cases: [Case; 5] = [
        (2, [32, 4], blur, &["views.transform[4].gaussian_blur.kernel_size = 23", "at most 15", "8 pixels"]),
        (2, [3, 4], ("batch_size = 32", "batch_size = 4"), &["training images = 6", "at least 8"]),
        (2, [8, 4], ("seeds = [1]", "seeds = [1]"), &["optimization.batch_size = 32", "at most", "16"]),
        (1, [40, 4], supervised, &["number of classes = 1", "at least 2"]),
        (2, [32, 4], ("kernel_size = 3", "kernel_size = 17"), &["kernel_size = 17", "at most 15"]),
    ];
    for (classes, counts, replace, words) in cases {
        let folder = scratch();
        let images = noise(folder.path(), classes, counts, colourful);
        let experiment = on_folder(folder.path(), &[replace]);
        std::fs::write(experiment.join("expected.toml"), "expect = []\n").unwrap();
        let data = ["--data-dir", images.to_str().unwrap()];
        let commands: [&[&str]; 4] = [
            &["train", "pictures", "--no-tui"],
            &["reproduce", "pictures", "--experiments", "."],
            &["sweep", "pictures", "--dry-run"],
            &["images", "preview", "pictures", "--output", "sheet.png"],
        ];
        for command in commands {
            let output = binary(folder.path(), &[command, &data].concat());
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command:?}: {text}");
            assert!(
                words.iter().chain(&["pictures/experiment.toml", "point views"]).all(|w| text.contains(w)),
                "{text}"
            );
            assert!(!folder.path().join("runs").exists() && !text.contains("panicked"), "{command:?}: {text}");
        }
    }
    for (train, test, words) in
        [(7, 16, "data.images.dataset.shapes.train = 7"), (96, 0, "data.images.dataset.shapes.test = 0")]
    {
        let shapes = format!("{{ shapes = {{ train = {train}, test = {test}, seed = 7 }} }}");
        let file = SMALL.replace("{ shapes = { train = 96, test = 48, seed = 7 } }", &shapes);
        let table: toml::Table = toml::from_str(&file).unwrap();
        let error = RunSpec::from_table(table["points"]["views"].as_table().unwrap().clone(), catalog().parts())
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// Test images need no minimum: one has no negative pair, three have no map.
#[test]
fn a_handful_of_test_images_is_enough() {
    for test in [1, 2, 3, 4, 5] {
        let shapes = format!("{{ shapes = {{ train = 64, test = {test}, seed = 7 }} }}");
        let spec = spec(("{ shapes = { train = 96, test = 48, seed = 7 } }", &shapes));
        let runs = scratch();
        let folder = RunFolder::at(runs.path().join("run"));
        run(&spec, &folder, &mut |_| false);
        let evaluation: ImageEvaluation = folder.evaluation().unwrap();
        assert_eq!(evaluation.analysis.unwrap().map.len(), if test < 4 { 0 } else { test });
        let snapshots: Vec<ImageSnapshot> = folder.snapshots().unwrap();
        assert!(snapshots.iter().all(|s| s.negative_similarity.is_some() == (test > 1)));
    }
}

/// Killed in the middle under either driver, resumed by the other.
#[test]
fn an_image_run_goes_on_bit_by_bit_under_the_other_driver() {
    let folder = scratch();
    let experiment = experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let spec = spec(("seeds = [1]", "seeds = [1]"));
    let whole = RunFolder::at(folder.path().join("whole"));
    run(&spec, &whole, &mut |_| false);
    let point = RunSpec::new(spec.clone());
    let begun = RunFolder::new(&folder.path().join("runs"), "pictures", "views", &point, 1);
    let half = spec.steps() / 2;
    assert_eq!(run(&spec, &begun, &mut |done| done >= half), Outcome::Stopped { step: half, resumes_at: half });
    let output = binary(folder.path(), &["train", experiment.to_str().unwrap(), "--no-tui"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(begun.manifest().unwrap().steps_done, spec.steps() - half, "it was resumed");
    assert_same(&begun, &whole);

    // The other way round: burn-train's checkpoints of a run that its learner has begun.
    let learner_runs = folder.path().join("learner");
    let by_learner = RunFolder::new(&learner_runs, "pictures", "views", &point, 1);
    let runs = learner_runs.to_str().unwrap().to_string();
    let arguments = ["train", experiment.to_str().unwrap(), "--no-tui", "--runs", &runs];
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cl-experiments"))
        .args(arguments)
        .env("RAYON_NUM_THREADS", "1")
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while cl_experiments::run::checkpoint::epochs(&by_learner.checkpoints()).is_empty()
        && child.try_wait().unwrap().is_none()
    {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    run(&spec, &by_learner, &mut |_| false);
    assert_same(&by_learner, &whole);
}
