use crate::support::{binary, results, scratch, small_experiment};
use cl_experiments::run::folder::RunFolder;
use cl_experiments::tasks::sparse_coding::evaluation::Evaluation;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The small experiment under seven seeds, in a scratch folder. Written once: children may be reading it.
fn experiment(folder: &Path) -> String {
    let path = folder.join("small");
    if !path.exists() {
        small_experiment(folder, ("seeds = [1]", "seeds = [1, 2, 3, 4, 5, 6, 7]"));
    }
    path.to_str().unwrap().to_string()
}

fn sweep(folder: &Path, arguments: &[&str]) -> String {
    let experiment = experiment(folder);
    let output = binary(folder, &[&["sweep", &experiment, "--jobs", "1"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn start(folder: &Path, arguments: &[&str]) -> Child {
    let experiment = experiment(folder);
    Command::new(env!("CARGO_BIN_EXE_cl-experiments"))
        .args(["sweep", &experiment])
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

fn folders(runs: &Path) -> Vec<PathBuf> {
    let points = std::fs::read_dir(runs.join("small")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        points.flat_map(|p| std::fs::read_dir(p.path()).into_iter().flatten().flatten()).map(|e| e.path()).collect();
    found.sort();
    found
}

fn complete(runs: &Path) -> usize {
    folders(runs).iter().filter(|f| f.join("COMPLETE").is_file()).count()
}

#[test]
fn shares_are_disjoint_and_together_the_whole_also_when_written_to_one_folder_at_once() {
    let folder = scratch();
    let mut seen = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let text = sweep(folder.path(), &["--shard", shard, "--dry-run"]);
        let runs: Vec<String> = text.lines().filter(|l| l.contains("seed-")).map(str::to_string).collect();
        assert!((2..=3).contains(&runs.len()), "{text}");
        assert!(text.contains("runs to make"), "{text}");
        seen.extend(runs);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
    assert_eq!(complete(&folder.path().join("runs")), 0, "a dry run runs nothing");

    let children: Vec<Child> =
        ["1/3", "2/3", "3/3"].map(|s| start(folder.path(), &["--jobs", "1", "--shard", s])).into();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(complete(&folder.path().join("runs")), 7);
    assert!(sweep(folder.path(), &[]).contains("All 7 runs are complete"));
}

#[test]
fn a_sweep_killed_at_any_moment_goes_on_and_ends_with_the_same_bytes() {
    let (whole, killed) = (scratch(), scratch());
    sweep(whole.path(), &[]);
    for attempt in 0..6 {
        let mut child = start(killed.path(), &["--jobs", "2"]);
        std::thread::sleep(std::time::Duration::from_millis(60 + 110 * attempt));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // Children of the killed parent end their run by themselves, so wait for the folders' locks.
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < 600 {
        let experiment = experiment(killed.path());
        if binary(killed.path(), &["sweep", &experiment]).status.success() {
            break;
        }
    }
    let (whole, killed) = (folders(&whole.path().join("runs")), folders(&killed.path().join("runs")));
    assert_eq!((whole.len(), killed.len()), (7, 7));
    for (a, b) in whole.into_iter().zip(killed) {
        assert!(results(&RunFolder::at(&a)) == results(&RunFolder::at(&b)), "{} {}", a.display(), b.display());
    }
}

/// 60 steps of a few hundred products each: rounding leaves three digits.
#[test]
fn replicas_end_where_the_same_runs_end_alone() {
    let (alone, together) = (scratch(), scratch());
    sweep(alone.path(), &[]);
    let text = sweep(together.path(), &["--replicas", "4"]);
    assert!(text.contains("group 1 of 2, 4 replicas") && text.contains("group 2 of 2, 3 replicas"), "{text}");
    let (alone, together) = (folders(&alone.path().join("runs")), folders(&together.path().join("runs")));
    assert_eq!((alone.len(), together.len()), (7, 7));
    for (a, b) in alone.iter().zip(&together) {
        let [a, b] = [a, b].map(RunFolder::at);
        assert!(
            b.is_complete()
                && a.snapshots::<cl_experiments::tasks::sparse_coding::snapshot::Snapshot>().unwrap().len() == 7
        );
        let [x, y] = [&a, &b].map(|folder| folder.weights().unwrap().concat());
        let size = x.iter().fold(0f64, |s, v| s.max(v.abs()));
        assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() < 1e-3 * size), "{}", b.path().display());
        let [x, y] = [&a, &b].map(|folder| folder.evaluation::<Evaluation>().unwrap().features);
        assert!((x.energy_in_span - y.energy_in_span).abs() < 1e-3);
        assert_eq!((a.manifest().unwrap().replicas, b.manifest().unwrap().replicas > 1), (1, true));
    }
}

#[test]
fn shares_that_make_no_sense_are_refused() {
    let folder = scratch();
    let experiment = experiment(folder.path());
    for (arguments, wanted) in [(["--shard", "5/4"], "i from 1 to n"), (["--point", "maskd"], "has masked")] {
        let output = binary(folder.path(), &[&["sweep", experiment.as_str()], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(wanted), "{output:?}");
    }
}

#[test]
fn bench_times_the_points_of_an_experiment_and_says_what_they_came_to() {
    let folder = scratch();
    let experiment = experiment(folder.path());
    let arguments = ["bench", experiment.as_str(), "--threads", "1", "--json", "--output", "bench"];
    for more in [&[][..], &["--replicas", "1,2,3"], &["--replicas", "2", "--sample-on-device"]] {
        let output = binary(folder.path(), &[&arguments[..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let timings: Vec<cl_experiments::run::bench::Timing> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(timings.len(), if more.len() == 2 { 3 } else { 1 });
        for t in timings {
            assert_eq!((t.shape, t.threads), ([6, 24, 10, 32, 24], 1));
            assert!(t.steps_per_second > 10.0 && t.peak_flop_per_second > 1e8);
            // 2·10·24·(3·32 + 24) for products with the weights, 4·32·24·10 for similarities.
            assert_eq!(t.flop_per_step, 57_600.0 + 30_720.0);
            assert!((0.0..=1.0).contains(&t.state.energy_in_span) && t.state.loss.is_finite());
        }
    }
    assert!(folder.path().join("bench/bench.json").is_file());
    assert!(folder.path().join("bench/growth-replicas.svg").is_file());
}
