//! SIGKILL at random moments: a resumed run ends with the same bytes as an undisturbed one.

use crate::support::{SMALL, labelled, scratch};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is killed: its name, the experiment files it needs, the arguments.
struct Kind {
    experiments: Vec<(&'static str, String, &'static str)>,
    arguments: Vec<&'static str>,
}

const EXPECTED: &str =
    "[[expect]]\nmetric = 'coverage_mean'\npoint = '*'\nover = 'mean'\njudged = false\nsource = 's'\n";

const EXPECTED_OF_IMAGES: &str =
    "[[expect]]\nmetric = 'knn_accuracy'\npoint = '*'\nover = 'mean'\njudged = false\nsource = 's'\n";

/// The small experiment, longer, so that there is something to kill, and checkpointed at each epoch.
fn longer() -> String {
    SMALL.replace("steps = 60\n", "steps = 400\n").replace("snapshot_every = 10", "snapshot_every = 20")
}

fn supervised() -> String {
    labelled(&longer().replace("claim = \"small\"", "claim = \"labels\""))
}

impl Kind {
    /// Under the headless trainer, with verdicts and report.
    fn reproduced() -> Self {
        let experiments = vec![("small", longer(), EXPECTED), ("labels", supervised(), EXPECTED)];
        let arguments = vec!["reproduce", "--experiments", "experiments", "--checkpoint-every", "0", "--jobs", "2"];
        Self { experiments, arguments }
    }

    /// Labels under burn-train's learner, which saves each epoch.
    fn trained() -> Self {
        let arguments = vec!["train", "experiments/labels", "--no-tui"];
        Self { experiments: vec![("labels", supervised(), EXPECTED)], arguments }
    }

    /// Convolutional encoders with views, best snapshot and evaluation.
    fn images() -> Self {
        let experiments = vec![("pictures", crate::images::SMALL.to_string(), EXPECTED_OF_IMAGES)];
        let arguments =
            vec!["reproduce", "pictures", "--experiments", "experiments", "--checkpoint-every", "0", "--jobs", "1"];
        Self { experiments, arguments }
    }

    /// A sweep over seeds.
    fn swept() -> Self {
        let text = longer().replace("seeds = [1]", "seeds = [1, 2, 3]");
        let arguments = vec!["sweep", "experiments/small", "--checkpoint-every", "0", "--jobs", "2"];
        Self { experiments: vec![("small", text, EXPECTED)], arguments }
    }

    fn write(&self, folder: &Path) {
        for (name, text, expected) in &self.experiments {
            let experiment = folder.join("experiments").join(name);
            std::fs::create_dir_all(&experiment).unwrap();
            std::fs::write(experiment.join("experiment.toml"), text).unwrap();
            std::fs::write(experiment.join("expected.toml"), expected).unwrap();
        }
    }

    /// The program with its children in their own process group.
    fn start(&self, folder: &Path) -> Child {
        Command::new(env!("CARGO_BIN_EXE_cl-experiments"))
            .args(&self.arguments)
            .env("RAYON_NUM_THREADS", "1")
            .current_dir(folder)
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the binary starts")
    }

    /// Nothing is judged here, so 1 is the exit status of a complete `reproduce`.
    fn to_the_end(&self, folder: &Path) {
        let status = self.start(folder).wait().unwrap();
        assert!(matches!(status.code(), Some(0 | 1)), "{:?}: {status}", self.arguments);
    }
}

/// All files of finished work by path, except manifests (they hold durations), locks and dashboard logs.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.join("runs"), folder.join("report/figures")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            match name.to_str() {
                Some("manifest.json" | "lock" | "dashboard") => {}
                _ if path.is_dir() => folders.push(path),
                _ => {
                    drop(found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), std::fs::read(&path).unwrap()))
                }
            }
        }
    }
    found
}

fn assert_same(whole: &BTreeMap<PathBuf, Vec<u8>>, found: &BTreeMap<PathBuf, Vec<u8>>, when: &str) {
    assert_eq!(whole.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "{when}");
    let other: Vec<_> = whole.iter().filter(|(path, bytes)| found[*path] != **bytes).map(|(path, _)| path).collect();
    assert!(other.is_empty(), "{when}: {other:?} differ");
}

/// Waits until no process of a group is left: one killed while waiting for the disk holds its locks for a moment.
fn wait_for_the_dead(group: nix::unistd::Pid) {
    let begun = Instant::now();
    while nix::sys::signal::killpg(group, None).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(600), "processes of group {group} do not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kills the program and its children this many times, at moments drawn from `seed`.
fn killed(kind: &Kind, kills: u32, mut seed: u64) {
    let (undisturbed, disturbed) = (scratch(), scratch());
    kind.write(undisturbed.path());
    kind.write(disturbed.path());
    let begun = Instant::now();
    kind.to_the_end(undisturbed.path());
    let lasts = begun.elapsed().as_secs_f64();
    let whole = files(undisturbed.path());
    assert!(whole.keys().any(|path| path.ends_with("weights.safetensors")), "{whole:?}");

    let (mut done, mut ends) = (0, 0);
    while done < kills {
        let mut child = kind.start(disturbed.path());
        // Knuth's multiplier; the high bits are as good as random here.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let fraction = (seed >> 40) as f64 / (1u64 << 24) as f64;
        std::thread::sleep(Duration::from_secs_f64(fraction * lasts));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(matches!(status.code(), Some(0 | 1)), "{:?}: {status}", kind.arguments);
            assert_same(&whole, &files(disturbed.path()), &format!("after {done} kills"));
            ends += 1;
            for name in ["runs", "report"] {
                let _ = std::fs::remove_dir_all(disturbed.path().join(name));
            }
            continue;
        }
        let group = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        wait_for_the_dead(group);
        done += 1;
    }
    kind.to_the_end(disturbed.path());
    assert_same(&whole, &files(disturbed.path()), &format!("after {kills} kills"));
    println!("{:?}: {kills} kills, {} ends, {lasts:.1} s undisturbed", kind.arguments, ends + 1);
}

#[test]
fn what_was_killed_goes_on_and_ends_with_the_same_bytes() {
    killed(&Kind::reproduced(), 4, 1);
    killed(&Kind::trained(), 4, 2);
    killed(&Kind::images(), 3, 3);
    killed(&Kind::swept(), 4, 4);
}

#[test]
#[ignore = "2 minutes"]
fn fifty_kills_of_what_is_reproduced() {
    killed(&Kind::reproduced(), 50, 11);
}

#[test]
#[ignore = "2 minutes"]
fn fifty_kills_of_what_is_trained_under_the_learner() {
    killed(&Kind::trained(), 50, 12);
}

#[test]
#[ignore = "2 minutes"]
fn fifty_kills_of_training_on_images() {
    killed(&Kind::images(), 50, 13);
}

#[test]
#[ignore = "2 minutes"]
fn fifty_kills_of_a_sweep() {
    killed(&Kind::swept(), 50, 14);
}
