//! One child process for a page, in a scratch folder that goes with it.
//!
//! A page has one try: a new one ends and removes the one before. Pages together have one child per core but one, which is left
//! to the server and the browser, and four at most; the newest try takes the place of the oldest one that is under way. A try that is pinned is
//! moved into the folder of runs once it is complete.
//!
//! The table of tries is locked for moments only: children are waited for, and folders removed, on threads of their own.

use crate::io::error::UserError;
use crate::lab::settings::Chosen;
use crate::run::folder::RunFolder;
use crate::run::headless::CHECKPOINT_EVERY_S;
use crate::run::queue::{self, Job, Message};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// The claim under which pinned runs are kept.
pub const PINNED: &str = "lab";

/// The beginning of the name of the scratch folder, which lists of runs leave out.
const SCRATCH: &str = ".lab-";

/// Most children, however many cores there are: a browser keeps six connections to a server, and a try takes one.
const MOST_CHILDREN: usize = 4;

/// Most tries that are remembered; the oldest ones that are over go first.
const MOST: usize = 64;

/// The tries of all pages.
#[derive(Debug, Clone)]
pub struct Tries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    scratch: TempDir,
    /// Locked as long as the server lives.
    _alive: File,
    runs: PathBuf,
    device: String,
    data_dir: Option<PathBuf>,
    at_once: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    started: u64,
    is_closed: bool,
    by_page: BTreeMap<String, Try>,
    /// The latest turn of each page: requests may overtake one another.
    turns: BTreeMap<String, u64>,
}

/// One try.
#[derive(Debug)]
struct Try {
    number: u64,
    folder: PathBuf,
    kept_at: PathBuf,
    is_pinned: bool,
    child: Option<Child>,
    progress: Progress,
    warnings: Vec<String>,
}

/// How a try goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Its child is at work.
    UnderWay,
    /// It is complete.
    Complete,
    /// It ended with this message.
    Failed(String),
    /// A newer try, of this page or another one, has taken its place.
    Displaced,
}

/// Where a pinned run is kept.
#[derive(Debug, Serialize)]
pub struct Pinned {
    folder: String,
    /// Whether it is there already.
    is_kept: bool,
}

impl Tries {
    /// No tries yet.
    ///
    /// # Errors
    /// [`UserError`] when the folder of runs cannot be written.
    pub fn new(runs: &Path, device: &str, data_dir: Option<&Path>) -> Result<Self, UserError> {
        let wrong = |e: std::io::Error| UserError::file(runs, format!("the folder of runs cannot be written: {e}"));
        std::fs::create_dir_all(runs).map_err(wrong)?;
        remove_scratch_of_the_dead(runs);
        // On the same file system as the runs, so that a pinned one is moved in one piece.
        let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(runs).map_err(wrong)?;
        let alive = File::create(scratch.path().join("lock")).map_err(wrong)?;
        alive.lock().map_err(wrong)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            scratch,
            _alive: alive,
            runs: runs.to_path_buf(),
            device: device.to_string(),
            data_dir: data_dir.map(Path::to_path_buf),
            at_once: (cores - 1).clamp(1, MOST_CHILDREN),
            table: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A folder for files that go with the server.
    pub fn scratch(&self) -> &Path {
        self.shared.scratch.path()
    }

    /// Starts a run for a page; the page's run before ends. The page counts its turns.
    ///
    /// # Errors
    /// [`UserError`] when the child cannot be started, or the page has asked for another run since.
    pub fn start(&self, page: &str, turn: u64, chosen: &Chosen) -> Result<Watched, UserError> {
        let shared = &self.shared;
        let mut table = shared.table();
        if table.is_closed || table.turns.get(page).is_some_and(|latest| *latest > turn) {
            return Err(UserError::Run("a newer run of this page has taken the place of this one".into()));
        }
        table.turns.insert(page.to_string(), turn);
        if let Some(before) = table.by_page.remove(page) {
            before.end_and_remove();
        }
        table.make_room(shared.at_once);
        table.started += 1;
        let number = table.started;
        let folder = shared.scratch.path().join(number.to_string());
        let job = Job {
            spec: chosen.spec.clone(),
            seed: chosen.seed,
            folder: folder.clone(),
            device: shared.device.clone(),
            data_dir: shared.data_dir.clone(),
            checkpoint_every_s: CHECKPOINT_EVERY_S,
            pictures: true,
        };
        let (listening, of_page) = (shared.clone(), page.to_string());
        let child = queue::start(&job, move |message| listening.hear(&of_page, number, message))
            .map_err(|e| UserError::Run(format!("the run cannot be started: {e}")))?;
        let kept_at = RunFolder::new(&shared.runs, PINNED, &chosen.point, &chosen.spec, chosen.seed);
        let entry = Try {
            number,
            folder: folder.clone(),
            kept_at: kept_at.path().to_path_buf(),
            is_pinned: false,
            child: Some(child),
            progress: Progress::UnderWay,
            warnings: Vec::new(),
        };
        table.by_page.insert(page.to_string(), entry);
        Ok(Watched { tries: self.clone(), page: page.to_string(), number, folder: RunFolder::at(folder) })
    }

    /// Keeps the page's run: now if it is complete, otherwise as soon as it is.
    ///
    /// # Errors
    /// [`UserError`] when the page has no such run any more, or it cannot be moved.
    pub fn pin(&self, page: &str, number: u64) -> Result<Pinned, UserError> {
        let mut table = self.shared.table();
        let found = table.by_page.get_mut(page).filter(|t| t.number == number);
        let Some(found) = found.filter(|t| matches!(t.progress, Progress::UnderWay | Progress::Complete)) else {
            return Err(UserError::Argument("this run is not there any more, so that only its curves are kept".into()));
        };
        found.is_pinned = true;
        found.keep_if_complete()?;
        Ok(Pinned { folder: found.kept_at.display().to_string(), is_kept: found.progress == Progress::Complete })
    }

    /// Ends and removes the page's run: the page has gone.
    pub fn leave(&self, page: &str) {
        let mut table = self.shared.table();
        table.turns.remove(page);
        if let Some(left) = table.by_page.remove(page) {
            left.end_and_remove();
        }
    }

    /// Ends all runs, and removes everything that is not kept; none can be started any more.
    pub fn close(&self) {
        let mut table = self.shared.table();
        table.is_closed = true;
        for (_, mut left) in std::mem::take(&mut table.by_page) {
            if let Some(mut child) = left.end(Progress::Displaced) {
                // Nothing of it is left to wait for once it has been killed.
                let _ = child.wait();
            }
        }
        // What cannot be removed is removed by the next server.
        let _ = std::fs::remove_dir_all(self.shared.scratch.path());
    }
}

/// Removes the scratch folders of servers that were killed: nobody holds their locks.
fn remove_scratch_of_the_dead(runs: &Path) {
    for entry in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(SCRATCH.as_bytes()) {
            let lock = File::options().append(true).open(entry.path().join("lock"));
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                // What cannot be removed stays.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Table {
    /// Ends the oldest tries so that another one may be under way, and forgets the oldest ones that are over.
    fn make_room(&mut self, at_once: usize) {
        let under_way = |t: &&mut Try| t.progress == Progress::UnderWay;
        while self.by_page.values_mut().filter(under_way).count() >= at_once {
            let oldest = self.by_page.values_mut().filter(under_way).min_by_key(|t| t.number);
            if let Some(child) = oldest.and_then(|t| t.end(Progress::Displaced)) {
                wait_apart(child, None);
            }
        }
        while self.by_page.len() >= MOST {
            let over = self.by_page.iter().filter(|(_, t)| t.progress != Progress::UnderWay);
            let Some(oldest) = over.min_by_key(|(_, t)| t.number).map(|(page, _)| page.clone()) else { break };
            if let Some(oldest) = self.by_page.remove(&oldest) {
                oldest.end_and_remove();
            }
        }
    }
}

/// Waits for a child that has been killed, then removes its folder.
fn wait_apart(mut child: Child, folder: Option<PathBuf>) {
    std::thread::spawn(move || {
        // It has ended, one way or the other; what cannot be removed goes with the scratch folder.
        let _ = child.wait();
        folder.map(std::fs::remove_dir_all)
    });
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a child says.
    fn hear(&self, page: &str, number: u64, message: Option<Message>) {
        let mut table = self.table();
        let Some(found) = table.by_page.get_mut(page).filter(|t| t.number == number) else { return };
        if found.progress != Progress::UnderWay {
            return;
        }
        let progress = match message {
            Some(Message::Progress(..)) => return,
            Some(Message::Warning(text)) => return found.warnings.push(text),
            Some(Message::Finished) => Progress::Complete,
            Some(Message::Failed(text)) => Progress::Failed(text),
            Some(Message::Stopped(_)) => Progress::Failed("the run was stopped".into()),
            None => Progress::Failed("the run's process ended before its run did (killed, or out of memory)".into()),
        };
        found.progress = progress;
        if let Err(error) = found.keep_if_complete() {
            found.warnings.push(error.to_string());
        }
        // It is about to end by itself.
        if let Some(child) = found.child.take() {
            wait_apart(child, None);
        }
    }
}

impl Try {
    fn keep_if_complete(&mut self) -> Result<(), UserError> {
        let is_due = self.is_pinned && self.progress == Progress::Complete && self.folder != self.kept_at;
        if !is_due || self.kept_at.exists() {
            return Ok(());
        }
        let wrong = |e: std::io::Error| UserError::file(&self.kept_at, format!("the run cannot be kept here: {e}"));
        std::fs::create_dir_all(self.kept_at.parent().expect("a run has a point's folder")).map_err(wrong)?;
        std::fs::rename(&self.folder, &self.kept_at).map_err(wrong)?;
        self.folder = self.kept_at.clone();
        Ok(())
    }

    /// Kills its child, which is still to be waited for.
    fn end(&mut self, progress: Progress) -> Option<Child> {
        if self.progress == Progress::UnderWay {
            self.progress = progress;
        }
        let mut child = self.child.take()?;
        // It may have ended by itself.
        let _ = child.kill();
        Some(child)
    }

    fn end_and_remove(mut self) {
        let child = self.end(Progress::Displaced);
        let folder = (self.folder != self.kept_at).then_some(self.folder);
        match (child, folder) {
            (Some(child), folder) => wait_apart(child, folder),
            // What cannot be removed goes with the scratch folder.
            (None, Some(folder)) => drop(std::thread::spawn(move || std::fs::remove_dir_all(folder))),
            (None, None) => {}
        }
    }
}

/// A try that a page watches: it ends when nobody does any more.
#[derive(Debug)]
pub struct Watched {
    tries: Tries,
    page: String,
    /// Its number, by which the page can pin it.
    pub number: u64,
    /// Its folder while it is under way.
    pub folder: RunFolder,
}

impl Watched {
    /// How it goes, and what has been said about it since the last call.
    pub fn progress(&self) -> (Progress, Vec<String>) {
        let mut table = self.tries.shared.table();
        match table.by_page.get_mut(&self.page).filter(|t| t.number == self.number) {
            Some(found) => (found.progress.clone(), std::mem::take(&mut found.warnings)),
            None => (Progress::Displaced, Vec::new()),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut table = self.tries.shared.table();
        let under_way = |t: &Try| t.number == self.number && t.progress == Progress::UnderWay;
        if table.by_page.get(&self.page).is_some_and(under_way)
            && let Some(left) = table.by_page.remove(&self.page)
        {
            left.end_and_remove();
        }
    }
}
