use crate::support::{binary, results, run, scratch, small_experiment, small_spec};
use cl_experiments::run::folder::RunFolder;
use cl_experiments::spec::RunSpec;
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What has not come by now never will: no machine is that slow.
const NEVER: Duration = Duration::from_secs(600);

#[test]
fn the_dashboards_learner_and_the_headless_trainer_give_the_same_bits() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let output = binary(folder.path(), &["train", experiment.to_str().unwrap(), "--no-tui"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let spec = small_spec();
    let by_learner = RunFolder::new(&folder.path().join("runs"), "small", "masked", &RunSpec::new(spec.clone()), 1);
    let by_loop = RunFolder::at(folder.path().join("loop"));
    run(&spec, 1, &by_loop, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(results(&by_learner), results(&by_loop));
}

#[test]
fn on_a_pipe_training_prints_short_lines_and_no_debug_dump() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let output = binary(folder.path(), &["train", experiment.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("step     60/60  Held-out loss ") && text.contains("Probe R² "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 200), "{text}");
    assert!(!text.contains("TrainingProgress") && !text.contains('{'), "{text}");
}

#[test]
fn training_under_the_learner_goes_on_bit_by_bit_after_a_signal() {
    let longer = ("steps = 60\n", "steps = 20000\n");
    let folder = scratch();
    let experiment = small_experiment(folder.path(), longer);
    let arguments = ["train", experiment.to_str().unwrap(), "--no-tui"];
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cl-experiments"))
        .args(arguments)
        .env("RAYON_NUM_THREADS", "1")
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let again = binary(folder.path(), &arguments);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));

    let mut spec = small_spec();
    spec.optimization.steps = Some(20000);
    let resumed = RunFolder::new(&folder.path().join("runs"), "small", "masked", &RunSpec::new(spec.clone()), 1);
    assert!(resumed.manifest().unwrap().steps_done < 20000, "it was resumed");
    let whole = RunFolder::at(folder.path().join("loop"));
    run(&spec, 1, &whole, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(results(&resumed), results(&whole));
}

/// A long training run in its own terminal.
struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    writer: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    _master: Box<dyn portable_pty::MasterPty + Send>,
    _folder: tempfile::TempDir,
}

impl Terminal {
    fn start() -> Self {
        let folder = scratch();
        let experiment = small_experiment(folder.path(), ("steps = 60", "steps = 2000000"));
        let pty =
            native_pty_system().openpty(PtySize { rows: 40, cols: 140, pixel_width: 0, pixel_height: 0 }).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_cl-experiments"));
        command.args(["train", experiment.to_str().unwrap()]);
        command.env("TERM", "xterm-256color");
        command.cwd(folder.path());
        let child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(40, 140, 0)));
        let mut reader = pty.master.try_clone_reader().unwrap();
        let parser = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n) = reader.read(&mut buffer) {
                if n == 0 {
                    break;
                }
                parser.lock().unwrap().process(&buffer[..n]);
            }
        });
        let writer = pty.master.take_writer().unwrap();
        Self { child, writer, screen, _master: pty.master, _folder: folder }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn wait_for(&self, what: &str) {
        let begun = Instant::now();
        while !self.text().contains(what) {
            assert!(begun.elapsed() < NEVER, "{what:?} did not appear:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_for_end(&mut self) -> u32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The last output still has to be read.
                std::thread::sleep(Duration::from_millis(300));
                return status.exit_code();
            }
            assert!(begun.elapsed() < NEVER, "it does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_restored(&self) -> bool {
        let screen = self.screen.lock().unwrap();
        !screen.screen().alternate_screen() && !screen.screen().hide_cursor()
    }
}

#[test]
#[cfg(feature = "tui")]
fn the_dashboard_shows_the_measures_and_a_signal_ends_it_cleanly() {
    let mut terminal = Terminal::start();
    terminal.wait_for("Energy in span(M)");
    terminal.wait_for("Probe R²");
    assert!(terminal.screen.lock().unwrap().screen().alternate_screen());
    let pid = nix::unistd::Pid::from_raw(terminal.child.process_id().unwrap() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(terminal.wait_for_end(), 130, "{}", terminal.text());
    assert!(terminal.is_restored());
    assert!(terminal.text().contains("The same command goes on from step"), "{}", terminal.text());
}

#[test]
#[cfg(feature = "tui")]
fn the_dashboard_can_be_left_by_its_keys() {
    let mut terminal = Terminal::start();
    terminal.wait_for("Energy in span(M)");
    terminal.writer.write_all(b"q").unwrap();
    terminal.wait_for("Stop the training");
    terminal.writer.write_all(b"s").unwrap();
    assert_eq!(terminal.wait_for_end(), 130, "{}", terminal.text());
    assert!(terminal.is_restored());
}
