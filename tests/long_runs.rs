//! 200,000 steps: memory, open files, threads and the log stay small.

use crate::support::{scratch, small_experiment};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The resources that a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    memory_kib: u64,
    files: usize,
    threads: u64,
}

fn held(process: u32) -> Option<Held> {
    let folder = format!("/proc/{process}");
    let status = std::fs::read_to_string(format!("{folder}/status")).ok()?;
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    Some(Held {
        memory_kib: number("VmRSS:")?,
        files: std::fs::read_dir(format!("{folder}/fd")).ok()?.count(),
        threads: number("Threads:")?,
    })
}

/// The child of a process.
fn child_of(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Memory over time as a picture for a browser.
fn draw(path: &Path, title: &str, held: &[Held]) {
    let most = held.iter().map(|h| h.memory_kib).max().unwrap_or(1) as f64 * 1.1;
    let place = |(i, h): (usize, &Held)| {
        format!("{:.1},{:.1}", 60.0 + 520.0 * i as f64 / held.len() as f64, 270.0 - 240.0 * h.memory_kib as f64 / most)
    };
    let line: Vec<String> = held.iter().enumerate().map(place).collect();
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 600 300' font-family='sans-serif' font-size='13'><rect width='600' height='300' \
         fill='white'/><text x='60' y='20'>{title}: resident memory, MiB, from the first to the last of 200,000 steps</text><path \
         d='M60 30V270H580' fill='none' stroke='black'/><text x='10' y='40'>{:.0}</text><text x='40' y='275'>0</text><polyline points='{}' \
         fill='none' stroke='#0072b2' stroke-width='2'/></svg>",
        most / 1024.0,
        line.join(" ")
    );
    std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    std::fs::write(path, svg).unwrap();
}

fn stays_small(name: &str, arguments: &[&str], trains_in_a_child: bool) {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("steps = 60\n", "steps = 200000\n"));
    let text = std::fs::read_to_string(experiment.join("experiment.toml")).unwrap();
    std::fs::write(experiment.join("experiment.toml"), text.replace("snapshot_every = 10", "snapshot_every = 500"))
        .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cl-experiments"))
        .args(arguments)
        .env("RAYON_NUM_THREADS", "1")
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    while child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(200));
        let trainer = if trains_in_a_child { child_of(child.id()) } else { Some(child.id()) };
        seen.extend(trainer.and_then(held));
    }
    assert!(child.wait().unwrap().success());
    assert!(seen.len() > 40, "{} looks are too few", seen.len());
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("memory-{name}.svg"));
    draw(&picture, name, &seen);
    // The last samples may fall into the evaluation at the end, which fits probes.
    let training = &seen[seen.len() / 10..seen.len() * 9 / 10];
    let largest = |part: &[Held]| part.iter().map(|h| h.memory_kib).max().unwrap_or(0);
    let (early, late) = (largest(&training[..training.len() / 3]), largest(&training[training.len() * 2 / 3..]));
    println!("{name}: {early} KiB in the first third, {late} KiB in the last; {}", picture.display());
    assert!(late < early + early / 20 + 1024, "memory grows from {early} to {late} KiB");
    // The learner saves in threads that come and go, so the numbers vary; they do not grow.
    let third = training.len() / 3;
    for (what, count) in [("files", (|h| h.files as u64) as fn(&Held) -> u64), ("threads", |h| h.threads)] {
        let most = |part: &[Held]| part.iter().map(count).max().unwrap_or(0);
        let (early, late) = (most(&training[..third]), most(&training[2 * third..]));
        println!("{name}: at most {early} {what} in the first third, {late} in the last");
        assert!(late <= early + 3 && late < 64, "{early} and then {late} {what}");
    }
    let mut log = 0;
    for point in std::fs::read_dir(folder.path().join("runs/small")).unwrap().flatten() {
        log += std::fs::metadata(point.path().join("seed-1/metrics.jsonl")).unwrap().len();
    }
    assert!(log < 400 * 1024, "400 snapshots take {log} bytes");
}

#[test]
#[ignore = "half a minute"]
fn two_hundred_thousand_steps_of_the_light_loop() {
    stays_small("light-loop", &["sweep", "small", "--jobs", "1"], true);
}

#[test]
#[ignore = "half a minute"]
fn two_hundred_thousand_steps_under_the_learner() {
    stays_small("learner", &["train", "small", "--no-tui"], false);
}
