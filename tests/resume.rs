use crate::support::{results, run, scratch, small_spec, with_labels};
use cl_experiments::run::checkpoint;
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::Outcome;
use cl_experiments::tasks::sparse_coding::spec::{ClassesSpec, TrainingSpec};
use std::sync::atomic::{AtomicBool, Ordering};

const SEED: u64 = 3;

fn uninterrupted(spec: &TrainingSpec) -> Vec<(String, Vec<u8>)> {
    let runs = scratch();
    let folder = RunFolder::at(runs.path().join("whole"));
    assert_eq!(run(spec, SEED, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap(), Outcome::Finished);
    results(&folder)
}

/// Stops after `at` steps, then carries on to the end.
fn stopped_and_resumed(spec: &TrainingSpec, at: u64, damage: impl Fn(&RunFolder)) -> Vec<(String, Vec<u8>)> {
    let runs = scratch();
    let folder = RunFolder::at(runs.path().join("stopped"));
    let stop = AtomicBool::new(false);
    let outcome = run(spec, SEED, &folder, &stop, &mut |done| stop.store(done >= at, Ordering::Relaxed)).unwrap();
    assert_eq!(outcome, Outcome::Stopped { step: at, resumes_at: at });
    assert!(!folder.is_complete());
    damage(&folder);
    let mut first = None;
    let outcome = run(spec, SEED, &folder, &AtomicBool::new(false), &mut |done| {
        first.get_or_insert(done);
    });
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    results(&folder)
}

#[test]
fn a_stopped_run_goes_on_bit_by_bit() {
    let spec = small_spec();
    let whole = uninterrupted(&spec);
    // Before thresholds begin, right when they do, and while the learning rate decays.
    for at in [10, 20, 40] {
        assert_eq!(stopped_and_resumed(&spec, at, |_| {}), whole, "stopped at step {at}");
    }
}

#[test]
fn a_supervised_run_goes_on_bit_by_bit() {
    let mut spec = small_spec();
    with_labels(&mut spec, ClassesSpec { count: 3, shuffled: false });
    assert_eq!(stopped_and_resumed(&spec, 30, |_| {}), uninterrupted(&spec));
}

#[test]
fn a_cut_line_and_later_lines_of_the_metrics_are_dropped() {
    let spec = small_spec();
    let cut = |folder: &RunFolder| {
        let path = folder.path().join("metrics.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let last = text.lines().last().unwrap();
        std::fs::write(&path, format!("{text}{}", &last[..last.len() / 2])).unwrap();
    };
    assert_eq!(stopped_and_resumed(&spec, 30, cut), uninterrupted(&spec));
}

#[test]
fn a_truncated_checkpoint_is_passed_over() {
    let spec = small_spec();
    let truncate = |folder: &RunFolder| {
        let path = folder.checkpoints().join("model-3.bpk");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    };
    assert_eq!(stopped_and_resumed(&spec, 30, truncate), uninterrupted(&spec));
}

#[test]
fn an_epoch_counts_when_its_three_files_are_there() {
    let folder = scratch();
    for name in ["model-1", "optim-1", "scheduler-1", "model-2", "optim-2", "staged-scheduler-2"] {
        std::fs::write(folder.path().join(format!("{name}.bpk")), b"").unwrap();
    }
    assert_eq!(checkpoint::epochs(folder.path()), [1]);
}

/// One thread and two give the same bits for these sizes: no sum is split between threads. Not promised in general.
#[test]
fn the_same_number_of_threads_gives_the_same_bits() {
    let folder = scratch();
    let experiment = crate::support::small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let with_threads = |threads: &str, runs: &str| {
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_cl-experiments"))
            .args(["train", experiment.to_str().unwrap(), "--no-tui", "--runs", runs])
            .env("RAYON_NUM_THREADS", threads)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
        let spec = cl_experiments::spec::RunSpec::new(small_spec());
        results(&RunFolder::new(&folder.path().join(runs), "small", "masked", &spec, 1))
    };
    assert_eq!(with_threads("2", "first"), with_threads("2", "second"));
    assert_eq!(with_threads("1", "third"), with_threads("1", "fourth"));
}
