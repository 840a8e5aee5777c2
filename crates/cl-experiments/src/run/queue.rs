//! Runs side by side: one child process and one core each.
//!
//! Child processes isolate what is global to a process: the backend's seed, peak memory, panics. Within a small matrix
//! product, threads cost more than they gain, so each child has only one.

use crate::io::error::UserError;
use crate::io::os_path;
use crate::run::catalog::Catalog;
use crate::run::folder::RunFolder;
use crate::run::headless::{Outcome, Session};
use crate::spec::RunSpec;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// A run to be executed.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// What to run.
    pub spec: RunSpec,
    /// Its seed.
    pub seed: u64,
    /// Its folder.
    #[serde(with = "os_path")]
    pub folder: PathBuf,
    /// Name of the device.
    pub device: String,
    /// The image folder, if given.
    #[serde(with = "os_path::option")]
    pub data_dir: Option<PathBuf>,
    /// Minimum time between two checkpoints, in seconds.
    pub checkpoint_every_s: f64,
    /// Whether pictures of the model are kept as it learns, see [`crate::run::pictures`].
    pub pictures: bool,
}

/// A job in the form in which a child reads it.
#[derive(Deserialize)]
struct JobInWriting {
    spec: toml::Table,
    seed: u64,
    #[serde(with = "os_path")]
    folder: PathBuf,
    device: String,
    #[serde(with = "os_path::option")]
    data_dir: Option<PathBuf>,
    checkpoint_every_s: f64,
    pictures: bool,
}

/// What a child tells its parent, one JSON line per message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Steps done, and the total.
    Progress(u64, u64),
    /// A message for the user.
    Warning(String),
    /// The run is complete.
    Finished,
    /// The run was stopped; a resumed one starts from this step.
    Stopped(u64),
    /// The run failed.
    Failed(String),
}

/// How a set of jobs ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Jobs that are complete.
    pub finished: usize,
    /// Jobs that were stopped or never begun.
    pub stopped: usize,
    /// What went wrong.
    pub failures: Vec<String>,
}

/// What is reported about jobs while they run.
#[derive(Debug)]
pub enum Event<'a> {
    /// The fraction of all work that is done.
    Progress(f64),
    /// A message for the user.
    Note(String),
    /// A run is complete.
    Finished(&'a Job),
}

/// A run that costs more than the mean load per slot divided by this is started before the others.
const LONG: f64 = 16.0;

/// Runs jobs in order, `side_by_side` at a time; long ones go first, so that none is still running alone at the end.
pub fn run_all(mut jobs: Vec<Job>, side_by_side: usize, stop: &AtomicBool, hear: &mut dyn FnMut(Event)) -> Ended {
    let total: f64 = jobs.iter().map(|j| j.spec.cost()).sum();
    let long = total / side_by_side as f64 / LONG;
    let cost_if_long = |job: &Job| if job.spec.cost() > long { job.spec.cost() } else { 0.0 };
    jobs.sort_by(|a, b| cost_if_long(b).total_cmp(&cost_if_long(a)));
    let mut waiting: VecDeque<usize> = (0..jobs.len()).collect();
    let (sender, receiver) = mpsc::channel();
    let mut running: Vec<(usize, Child)> = Vec::new();
    let mut tally = Tally { done: vec![0.0; jobs.len()], jobs: &jobs, total, ended: Ended::default() };
    let mut told_to_stop = false;
    loop {
        while running.len() < side_by_side && !stop.load(Ordering::Relaxed) {
            let Some(index) = waiting.pop_front() else { break };
            let job = &jobs[index];
            let sender = sender.clone();
            // This thread listens until it has received every final message.
            match start(job, move |message| drop(sender.send((index, message)))) {
                Ok(child) => running.push((index, child)),
                Err(e) => {
                    tally.ended.failures.push(format!("{}: the run cannot be started: {e}", job.folder.display()));
                }
            }
        }
        if running.is_empty() {
            break;
        }
        if stop.load(Ordering::Relaxed) && !told_to_stop {
            told_to_stop = true;
            running.iter().for_each(|(_, child)| ask_to_stop(child));
        }
        let Ok((index, message)) = receiver.recv_timeout(Duration::from_millis(200)) else { continue };
        let is_over = tally.hear(index, message, stop, hear);
        if let Some(place) = running.iter().position(|(i, _)| *i == index).filter(|_| is_over) {
            let (_, mut child) = running.swap_remove(place);
            // Its last message has arrived; its exit status adds nothing.
            let _ = child.wait();
        }
    }
    tally.ended.stopped += waiting.len();
    tally.ended
}

/// The outcome of the jobs so far.
struct Tally<'a> {
    jobs: &'a [Job],
    /// The fraction of each job that is done.
    done: Vec<f64>,
    /// The total cost of all jobs.
    total: f64,
    ended: Ended,
}

impl Tally<'_> {
    /// Handles a message, or `None` when a process has ended without a final one; returns whether the job is over.
    fn hear(&mut self, index: usize, message: Option<Message>, stop: &AtomicBool, hear: &mut dyn FnMut(Event)) -> bool {
        match message {
            Some(Message::Progress(done, of)) => {
                self.done[index] = done as f64 / of as f64;
                let cost: f64 = self.done.iter().zip(self.jobs).map(|(done, job)| done * job.spec.cost()).sum();
                hear(Event::Progress(cost / self.total));
                return false;
            }
            Some(Message::Warning(text)) => {
                hear(Event::Note(text));
                return false;
            }
            Some(Message::Finished) => {
                self.done[index] = 1.0;
                self.ended.finished += 1;
                hear(Event::Finished(&self.jobs[index]));
            }
            Some(Message::Stopped(_)) => self.ended.stopped += 1,
            Some(Message::Failed(text)) => self.ended.failures.push(text),
            None => {
                if !stop.load(Ordering::Relaxed) {
                    let text = "a run's process ended before its run did (killed, or out of memory)";
                    self.ended.failures.push(text.into());
                }
                self.ended.stopped += 1;
            }
        }
        true
    }
}

/// This program as a child process with this many threads. It keeps freed memory for its next step: returning it to the
/// system would cost a tenth of a step.
pub(crate) fn child(command: &str, threads: usize) -> std::io::Result<Command> {
    let mut child = Command::new(std::env::current_exe()?);
    child
        .arg(command)
        .env("RAYON_NUM_THREADS", threads.to_string())
        .env("MIMALLOC_PURGE_DELAY", "1000000")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Ok(child)
}

/// Starts a job as a child process with one thread. `hear` is called with each of its messages, and with `None` when it has ended
/// without a final one.
///
/// # Errors
/// When the process cannot be started.
pub fn start(job: &Job, mut hear: impl FnMut(Option<Message>) + Send + 'static) -> std::io::Result<Child> {
    let mut child = child("run-one", 1)?.spawn()?;
    let text = serde_json::to_string(job).expect("a job is plain data");
    let told = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
    if let Err(error) = told {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut last_word = false;
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(message) = serde_json::from_str::<Message>(&line) {
                    last_word |= matches!(message, Message::Finished | Message::Stopped(_) | Message::Failed(_));
                    hear(Some(message));
                }
            }
            if !last_word {
                hear(None);
            }
        });
    }
    Ok(child)
}

#[cfg(unix)]
fn ask_to_stop(child: &Child) {
    use nix::sys::signal::{Signal, kill};
    // It may already have ended by itself.
    let _ = kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM);
}

#[cfg(not(unix))]
fn ask_to_stop(_child: &Child) {}

/// The child's side: reads a job from standard input, executes it, and reports in JSON lines.
///
/// # Errors
/// [`UserError`] when the job cannot be read or the device cannot be opened.
pub fn run_one(catalog: &Catalog, stop: &AtomicBool) -> Result<(), UserError> {
    let wrong = |e: &dyn std::fmt::Display| {
        UserError::Argument(format!("run-one reads a job from its parent on standard input: {e}"))
    };
    let job: JobInWriting = serde_json::from_reader(std::io::stdin()).map_err(|e| wrong(&e))?;
    let spec = RunSpec::from_table(job.spec, catalog.parts()).map_err(|e| wrong(&e))?;
    let say = |message: &Message| {
        let line = serde_json::to_string(message).expect("a message is plain data");
        // Nobody is listening any more: the parent is gone, so the run ends as if it had been told to stop.
        if writeln!(std::io::stdout(), "{line}").is_err() {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let outcome = crate::io::device::open(&job.device).and_then(|device| {
        let session = Session {
            device_name: &job.device,
            device: &device,
            data_dir: job.data_dir.as_deref(),
            checkpoint_every: Duration::from_secs_f64(job.checkpoint_every_s),
            pictures: job.pictures,
            stop,
            progress: &mut |done, of| say(&Message::Progress(done, of)),
            warn: &mut |text| say(&Message::Warning(text)),
        };
        catalog.execute(&spec, job.seed, &RunFolder::at(&job.folder), session)
    });
    say(&match outcome {
        Ok(Outcome::Finished) => Message::Finished,
        Ok(Outcome::Stopped { resumes_at, .. }) => Message::Stopped(resumes_at),
        Err(e) => Message::Failed(e.to_string()),
    });
    Ok(())
}
