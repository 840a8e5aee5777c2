use crate::support::{binary, results, run, scratch, small_experiment, small_spec};
use cl_experiments::run::folder::RunFolder;
use cl_experiments::spec::RunSpec;
use std::sync::atomic::AtomicBool;

#[test]
fn a_complete_run_is_reused_and_said_so() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let arguments = ["train", experiment.to_str().unwrap(), "--no-tui"];
    assert!(binary(folder.path(), &arguments).status.success());
    let spec = RunSpec::new(small_spec());
    let run = RunFolder::new(&folder.path().join("runs"), "small", "masked", &spec, 1);
    // The manifest holds the run's duration to the nanosecond: a run made again would differ in it.
    let contents = || {
        ["weights.safetensors", "manifest.json", "metrics.jsonl"].map(|f| std::fs::read(run.path().join(f)).unwrap())
    };
    let written = contents();
    let again = binary(folder.path(), &arguments);
    assert!(String::from_utf8_lossy(&again.stdout).contains("is complete; it is reused"));
    assert!(contents() == written);
}

#[test]
fn every_scientific_value_changes_the_digest_and_the_seed_the_folder() {
    let spec = small_spec();
    let digest = |spec: &cl_experiments::tasks::sparse_coding::spec::TrainingSpec| RunSpec::new(spec.clone()).digest();
    let mut other = spec.clone();
    other.optimization.optimizer = cl_model::OptimizerConfig::plain(0.02);
    assert_ne!(digest(&spec), digest(&other));
    let mut other = spec.clone();
    other.data.noise_std = Some(0.2);
    assert_ne!(digest(&spec), digest(&other));
    let folder = |seed| RunFolder::new("runs".as_ref(), "c", "p", &RunSpec::new(spec.clone()), seed);
    assert_ne!(folder(1), folder(2));
}

#[test]
fn a_folder_of_another_run_is_left_alone() {
    let scratch = scratch();
    let folder = RunFolder::at(scratch.path().join("run"));
    let never = AtomicBool::new(false);
    run(&small_spec(), 1, &folder, &never, &mut |_| {}).unwrap();
    std::fs::remove_file(folder.path().join("COMPLETE")).unwrap();
    let before = std::fs::read(folder.path().join("weights.safetensors")).unwrap();
    let error = run(&small_spec(), 2, &folder, &never, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("spec.json: this folder holds a run of another specification"), "{error}");
    assert_eq!(std::fs::read(folder.path().join("weights.safetensors")).unwrap(), before);
}

#[test]
fn two_processes_do_not_fraction_a_folder() {
    let scratch = scratch();
    let folder = RunFolder::at(scratch.path().join("run"));
    let spec = RunSpec::new(small_spec());
    let _lock = folder.open(&spec, 1).unwrap();
    let error = folder.open(&spec, 1).unwrap_err().to_string();
    assert!(error.contains("another process is working in this run folder"), "{error}");
}

#[test]
fn truncated_weights_are_named() {
    let scratch = scratch();
    let folder = RunFolder::at(scratch.path().join("run"));
    run(&small_spec(), 1, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let path = folder.path().join("weights.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(folder.weights().unwrap().len(), 10);
    for cut in [0, 4, 40, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let error = folder.weights().unwrap_err().to_string();
        assert!(error.contains("weights.safetensors: it is not a whole safetensors file"), "{error}");
    }
}

#[test]
fn a_loss_that_overflows_stops_the_run_with_the_state_saved() {
    let scratch = scratch();
    let folder = RunFolder::at(scratch.path().join("run"));
    let mut spec = small_spec();
    spec.optimization.learning_rate = cl_model::LearningRate::Constant { rate: 1e30 };
    let error = run(&spec, 1, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("no longer finite at step 1;") && error.contains("at step 0"), "{error}");
    assert!(folder.path().join("non-finite.bpk").is_file());
    assert!(!folder.is_complete());
}

#[test]
fn under_the_learner_a_loss_that_overflows_stops_the_run_and_is_not_logged() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("first = 0.5", "first = 1e30"));
    let output = binary(folder.path(), &["train", experiment.to_str().unwrap(), "--no-tui"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("the loss is no longer finite at step 1;"), "{error}");
    let metrics = std::fs::read_dir(folder.path().join("runs/small")).unwrap().next().unwrap().unwrap().path();
    let metrics = std::fs::read_to_string(metrics.join("seed-1/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 1);
    assert!(!metrics.contains("\"loss\":null"), "{metrics}");
}

/// A limit on file sizes stands in for a full disk: writes beyond it fail. The limit grows, so that each file in turn
/// is the one that does not fit.
#[test]
#[cfg(unix)]
fn what_does_not_fit_on_the_disk_is_said_and_nothing_finished_is_lost() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let spec = RunSpec::new(small_spec());
    let at = |runs: &str| RunFolder::new(&folder.path().join(runs), "small", "masked", &spec, 1);
    let arguments = |runs| ["train", experiment.to_str().unwrap(), "--no-tui", "--runs", runs];
    assert!(binary(folder.path(), &arguments("whole")).status.success());

    let mut failures = Vec::new();
    for blocks in [1, 2, 4, 8] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let output = std::process::Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_cl-experiments")])
            .args(arguments("limited"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{blocks} blocks: {text}");
        assert!(text.contains("cannot be") && !text.contains("panicked"), "{blocks} blocks: {text}");
        assert!(!at("limited").is_complete());
        failures.push(text);
    }
    failures.dedup();
    assert!(failures.len() > 1, "different files were the one that did not fit: {failures:?}");
    let output = binary(folder.path(), &arguments("limited"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(results(&at("limited")), results(&at("whole")));
}
