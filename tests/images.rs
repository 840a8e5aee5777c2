use crate::support::{binary, scratch};
use cl_experiments::drive::{Outcome, Session, execute};
use cl_experiments::images::dataset;
use cl_experiments::images::evaluation::ImageEvaluation;
use cl_experiments::images::spec::ImageSpec;
use cl_experiments::record::RunFolder;
use cl_experiments::spec::RunSpec;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// An experiment on generated images that takes a few seconds.
pub const SMALL: &str = r#"
claim = "pictures"
on_request = true
title = "A small experiment on images"
statement = "It is small."
seeds = [1]

[points.views.images]
dataset = { shapes = { train = 96, test = 48, seed = 7 } }

[points.views.augmentation]
random_resized_crop = { scale = [0.5, 1.0], ratio = [0.75, 1.3] }
horizontal_flip = { probability = 0.5 }
color_jitter = { probability = 0.8, brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 }
grayscale = { probability = 0.2 }
gaussian_blur = { probability = 0.5, kernel_size = 3, sigma = [0.1, 2.0] }

[points.views.network.encoder.small_conv_net]
channels = [4, 8]
strides = [2, 2]

[points.views.network.projector]
hidden_dim = 8
output_dim = 4

[points.views.objective.nt_xent]
temperature = 0.5

[points.views.optimization]
epochs = 4
batch_size = 32
optimizer = { adamw = { beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8, weight_decay = 1e-4 } }
peak_step_size = 0.01
warmup_epochs = 1.0

[points.views.evaluation]
neighbors = 5
temperature = 0.1
epochs_per_snapshot = 1
snapshot_train = 96
snapshot_test = 48
baselines = true
anatomy = true
"#;

fn experiment(folder: &Path, replace: (&str, &str)) -> PathBuf {
    assert!(SMALL.contains(replace.0), "{:?} is not in the small experiment", replace.0);
    let experiment = folder.join("pictures");
    std::fs::create_dir_all(&experiment).unwrap();
    std::fs::write(experiment.join("experiment.toml"), SMALL.replace(replace.0, replace.1)).unwrap();
    experiment
}

fn spec(replace: (&str, &str)) -> ImageSpec {
    let file: toml::Table = toml::from_str(&SMALL.replace(replace.0, replace.1)).unwrap();
    let point = file["points"]["views"].as_table().unwrap().clone();
    let RunSpec::Images(mut spec) = RunSpec::from_table(point).unwrap() else { unreachable!("it is on images") };
    dataset::pin(&mut spec, None).unwrap();
    *spec
}

fn run(spec: &ImageSpec, folder: &RunFolder, on_progress: &mut dyn FnMut(u64) -> bool) -> Outcome {
    let device = cl_experiments::device::open("flex").unwrap();
    let stop = AtomicBool::new(false);
    let session = Session {
        device_name: "flex",
        device: &device,
        data_dir: None,
        checkpoint_every: std::time::Duration::from_secs(5),
        stop: &stop,
        progress: &mut |done, _| stop.store(on_progress(done), Ordering::Relaxed),
        warn: &mut |text| panic!("{text}"),
    };
    execute(&RunSpec::Images(Box::new(spec.clone())), 1, folder, session).unwrap()
}

/// Everything that must not depend on how a run was carried out is the same, byte by byte.
fn assert_same(a: &RunFolder, b: &RunFolder) {
    let files =
        ["metrics.jsonl", "weights.safetensors", "weights-best.safetensors", "anatomy.safetensors", "evaluation.json"];
    for name in files {
        let read = |folder: &RunFolder| std::fs::read(folder.path().join(name)).expect(name);
        assert!(read(a) == read(b), "{name} differs between {} and {}", a.path().display(), b.path().display());
    }
}

/// Optimizers with state, labels, and the paper's loss with the symmetrised ReLU.
const VARIANTS: [(&str, &str); 4] = [
    ("[points.views.objective.nt_xent]\ntemperature = 0.5", "[points.views]\nobjective = \"supervised\""),
    ("weight_decay = 1e-4", "weight_decay = 0.01"),
    (
        "adamw = { beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8, weight_decay = 1e-4 }",
        "lars = { momentum = 0.9, trust_coefficient = 0.001, weight_decay = 1e-6 }",
    ),
    (
        "[points.views.objective.nt_xent]\n",
        "[points.views.objective.info_nce]\nsimilarity = \"cosine\"\nkey_gradient = \"stopped\"\nscale = \"one\"\n",
    ),
];

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
fn the_dashboards_learner_and_the_light_loop_give_the_same_bits_on_images() {
    let folder = scratch();
    let experiment = experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let output = binary(folder.path(), &["train", experiment.to_str().unwrap(), "--no-tui"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("kNN accuracy ") && text.contains("linear probe "), "{text}");
    let spec = spec(("seeds = [1]", "seeds = [1]"));
    let point = RunSpec::Images(Box::new(spec.clone()));
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
        assert_eq!(evaluation.anatomy.unwrap().map.len(), 48);
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
    none.augmentation = cl_data::images::augmentation::ImageAugmentation::none();
    let (strong, none) = (correlation(&strong, "strong"), correlation(&none, "none"));
    for name in ["brightness", "red − green", "yellow − blue"] {
        assert!((none[name] - 1.0).abs() < 1e-6, "{name}: {}", none[name]);
        // 384 pairs of views: a correlation of 0.5 has a standard error of 0.04.
        assert!(strong[name] < 0.7, "{name}: {}", strong[name]);
    }
}

/// The moments between the last file of a run and its mark, and between the mark and the removal of checkpoints.
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
    // As if it had been killed after its files were written and before the mark was.
    std::fs::remove_file(killed.path().join("COMPLETE")).unwrap();
    copy(&saved.join("checkpoint"), &killed.checkpoints());
    copy(&saved.join("best.bpk"), &killed.best());
    run(&spec, &killed, &mut |_| false);
    assert_same(&whole, &killed);
    assert!(!killed.checkpoints().exists() && !killed.best().exists());
    // And after the mark.
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
    other.images.content = spec(("seed = 7", "seed = 7")).images.content;
    let error = dataset::pin(&mut other, None).unwrap_err().to_string();
    assert!(error.contains("images.content.fingerprint") && error.contains("that of the images found"), "{error}");
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
