//! Burn's metrics in files, in its own logger's layout: `<folder>/<split>/epoch-<n>/<Metric>.log`, a line per step.
//!
//! When Burn's own logger cannot write, it panics in a separate thread and takes the process down with it.

use crate::io::error::UserError;
use crate::run::dashboard::Sink;
use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, MetricName, NumericEntry};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes metrics below a folder; the first failure ends the training through a [`Sink`] and stops all writing.
pub struct MetricFiles {
    folder: PathBuf,
    names: HashMap<MetricId, MetricName>,
    /// Files of the current epoch.
    files: HashMap<PathBuf, BufWriter<File>>,
    epoch: usize,
    sink: Arc<Sink>,
    has_failed: bool,
}

impl MetricFiles {
    /// Files below `folder`, which is created when needed.
    pub fn new(folder: PathBuf, sink: Arc<Sink>) -> Self {
        Self { folder, names: HashMap::new(), files: HashMap::new(), epoch: 0, sink, has_failed: false }
    }

    fn path(&self, name: &str, epoch: usize, split: &Split) -> PathBuf {
        let folder = self.folder.join(split.to_string()).join(format!("epoch-{epoch}"));
        folder.join(format!("{}.log", name.replace(' ', "_")))
    }

    /// Flushes and closes the files.
    fn close(&mut self) {
        for (path, mut file) in std::mem::take(&mut self.files) {
            let flushed = file.flush();
            self.told(&path, flushed);
        }
    }

    fn line(&mut self, path: PathBuf, text: &str) {
        let written = match self.files.entry(path.clone()) {
            Entry::Occupied(open) => writeln!(open.into_mut(), "{text}"),
            Entry::Vacant(place) => create(&path).and_then(|file| writeln!(place.insert(file), "{text}")),
        };
        self.told(&path, written);
    }

    fn told(&mut self, path: &Path, result: io::Result<()>) {
        if let Err(e) = result
            && !std::mem::replace(&mut self.has_failed, true)
        {
            self.sink.fail(UserError::file(path, format!("it cannot be written: {e}")));
        }
    }
}

fn create(path: &Path) -> io::Result<BufWriter<File>> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create(path).map(BufWriter::new)
}

impl MetricLogger for MetricFiles {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        if self.epoch != epoch {
            self.close();
            self.epoch = epoch;
        }
        let numeric = update.entries_numeric.iter().map(|update| &update.entry);
        for entry in update.entries.iter().chain(numeric) {
            // Metrics that are only known at the end of an epoch have no line for a step.
            let Some(name) = self.names.get(&entry.metric_id).filter(|_| !entry.serialized_entry.is_not_available())
            else {
                continue;
            };
            if !self.has_failed {
                self.line(self.path(name, epoch, split), &entry.serialized_entry.serialized);
            }
        }
    }

    fn read_numeric(&mut self, name: &str, epoch: usize, split: &Split) -> Result<Vec<NumericEntry>, String> {
        let path = self.path(name, epoch, split);
        if let Some(file) = self.files.get_mut(&path) {
            let flushed = file.flush();
            self.told(&path, flushed);
        }
        // Without a file there is nothing to show.
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(NumericEntry::deserialize).collect()
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name);
    }

    fn log_epoch_summary(&mut self, _: EpochSummary) {
        self.close();
    }
}

impl Drop for MetricFiles {
    fn drop(&mut self) {
        self.close();
    }
}
