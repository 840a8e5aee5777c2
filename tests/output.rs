//! What is printed, where, and what happens when nobody reads it or it cannot be written.

use crate::support::{binary, scratch, small_experiment};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a line of shell in `folder`, with the program as `$P`.
fn shell(folder: &Path, line: &str) -> Output {
    Command::new("bash")
        .args(["-c", line])
        .env("P", env!("CARGO_BIN_EXE_cl-experiments"))
        .env("RAYON_NUM_THREADS", "1")
        .current_dir(folder)
        .output()
        .expect("a shell starts")
}

fn small(folder: &Path) {
    let experiment = small_experiment(folder, ("seeds = [1]", "seeds = [1, 2, 3, 4, 5, 6, 7, 8]"));
    let expected =
        "[[expect]]\nmetric = 'coverage_mean'\npoint = 'masked'\nover = 'mean'\njudged = false\nsource = 's'\n";
    std::fs::write(experiment.join("expected.toml"), expected).unwrap();
}

fn complete(folder: &Path) -> usize {
    let runs = std::fs::read_dir(folder.join("runs/small")).into_iter().flatten().flatten();
    let seeds = runs.flat_map(|point| std::fs::read_dir(point.path()).into_iter().flatten().flatten());
    seeds.filter(|seed| seed.path().join("COMPLETE").is_file()).count()
}

/// The reader of each is gone before the first line is written.
#[test]
fn a_reader_that_has_left_ends_neither_a_run_nor_what_only_prints() {
    let folder = scratch();
    small(folder.path());
    let unread = |arguments: &str| {
        let line = format!("set -o pipefail; $P {arguments} | exec 0<&- sleep 0; echo status $?");
        let output = shell(folder.path(), &line);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!errors.contains("panicked") && !errors.contains("error"), "{arguments}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    for arguments in ["devices", "completions bash", "sweep small --dry-run", "bench small --threads 1 --json"] {
        assert_eq!(unread(arguments), "status 0", "{arguments}");
    }
    assert_eq!(unread("train small --no-tui"), "status 0");
    assert_eq!(complete(folder.path()), 1);
    // Nothing is judged, so nothing holds.
    assert_eq!(unread("reproduce small --experiments ."), "status 1");
    assert_eq!(complete(folder.path()), 8);
    assert!(folder.path().join("report/report.html").is_file());
    std::fs::remove_dir_all(folder.path().join("runs")).unwrap();
    assert_eq!(unread("sweep small"), "status 0");
    assert_eq!(complete(folder.path()), 8);
    // Nor does a reader of errors that has left.
    assert_eq!(unread("train nowhere 2>&1"), "status 2");
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_told() {
    let folder = scratch();
    let output = shell(folder.path(), "$P devices > /dev/full");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(errors, "error: standard output cannot be written: No space left on device (os error 28)\n");
}

/// Burn's own logger panics there, in a thread of its own.
#[test]
fn a_training_that_cannot_write_its_logs_says_which_and_why_in_a_line() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("steps = 60\n", "steps = 4000\n"));
    let path = experiment.join("experiment.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("snapshot_every = 10", "snapshot_every = 2000")).unwrap();
    // Files of more than 8 KiB cannot be written: those of the losses of an epoch, and no other.
    let output = shell(folder.path(), "trap '' XFSZ; ulimit -f 8; exec $P train small --no-tui");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let [line] = errors.lines().collect::<Vec<_>>()[..] else { panic!("{errors}") };
    assert!(line.contains("/dashboard/train/epoch-1/Loss.log: it cannot be written: File too large"), "{line}");
}

#[test]
fn a_run_that_cannot_write_a_file_names_it_in_a_line() {
    let folder = scratch();
    small(folder.path());
    for command in ["reproduce small --experiments . --jobs 1", "train small --no-tui", "sweep small --jobs 1"] {
        let output = shell(folder.path(), &format!("trap '' XFSZ; ulimit -f 0; exec $P {command}"));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.lines().all(|l| l.contains("spec.json: it cannot be written: File too large")), "{errors}");
    }
}

#[test]
fn without_a_terminal_to_read_keys_from_there_are_lines_and_no_dashboard() {
    let folder = scratch();
    small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let pty = native_pty_system().openpty(PtySize { rows: 40, cols: 200, pixel_width: 0, pixel_height: 0 }).unwrap();
    let mut command = CommandBuilder::new("sh");
    command.args(["-c", "exec \"$P\" train small < /dev/null"]);
    command.env("P", env!("CARGO_BIN_EXE_cl-experiments"));
    command.env("TERM", "xterm-256color");
    command.cwd(folder.path());
    command.set_controlling_tty(false);
    let mut child = pty.slave.spawn_command(command).unwrap();
    drop(pty.slave);
    let mut reader = pty.master.try_clone_reader().unwrap();
    let mut text = Vec::new();
    // Linux reports that the other end is gone as an error.
    let _ = reader.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    assert_eq!(child.wait().unwrap().exit_code(), 0, "{text}");
    assert!(text.contains("step     60/60  Held-out loss ") && !text.contains('\u{1b}'), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn the_command_in_the_report_can_be_pasted() {
    let folder = scratch();
    small(folder.path());
    let arguments =
        ["reproduce", "small", "--experiments", ".", "--runs", "mes essais", "--output", "mon rapport", "--jobs", "2"];
    binary(folder.path(), &arguments);
    let page = std::fs::read_to_string(folder.path().join("mon rapport/report.html")).unwrap();
    let page = page.replace("&#x27;", "'");
    assert!(page.contains("--runs 'mes essais' --output 'mon rapport'"), "the command is quoted");
    assert!(!page.contains("--runs mes essais"));
}

/// `café` in Latin-1.
#[test]
#[cfg(unix)]
fn folders_whose_names_are_not_text_are_used_like_others() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = scratch();
    small(folder.path());
    let latin = OsStr::from_bytes(b"caf\xe9");
    let run = |arguments: &[&str], more: &[&OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cl-experiments"));
        command.args(arguments).args(more).env("RAYON_NUM_THREADS", "1").current_dir(folder.path());
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!errors.contains("panicked") && !errors.contains("error"), "{arguments:?}: {errors}");
        output.status.code().unwrap()
    };
    let [runs, output] = ["--runs", "--output"].map(OsStr::new);
    let report = OsStr::from_bytes(b"rapport-\xe9");
    assert_eq!(run(&["train", "small", "--no-tui"], &[runs, latin]), 0);
    assert_eq!(run(&["sweep", "small"], &[runs, latin]), 0);
    assert_eq!(run(&["reproduce", "small", "--experiments", "."], &[runs, latin, output, report]), 1);
    assert_eq!(run(&["report", "small", "--experiments", "."], &[runs, latin, output, report]), 1);
    assert_eq!(std::fs::read_dir(folder.path().join(latin).join("small")).unwrap().count(), 1);
    let page = std::fs::read_to_string(folder.path().join(report).join("report.html")).unwrap();
    assert!(page.replace("&#x27;", "'").contains(r"--runs $'caf\xe9' --output $'rapport-\xe9'"));
    // The experiments themselves, and a batch of them.
    let moved = OsStr::from_bytes(b"essais-\xe9");
    std::fs::create_dir(folder.path().join(moved)).unwrap();
    std::fs::rename(folder.path().join("small"), folder.path().join(moved).join("small")).unwrap();
    assert_eq!(run(&["reproduce", "small", "--experiments"], &[moved, runs, latin, output, report]), 1);
    let batch = OsStr::from_bytes(b"lot-\xe9.safetensors");
    let experiment = Path::new(moved).join("small");
    assert_eq!(run(&["data", "export"], &[experiment.as_os_str(), output, batch]), 0);
    assert!(folder.path().join(batch).is_file());
}
