//! Pictures of a model as it learns, for those who watch: `pictures.jsonl` in a run folder.
//!
//! They are no results: nothing is judged by them, and a run without them is the same run.

use crate::io::error::UserError;
use crate::run::folder::RunFolder;
use crate::tasks::learner::LearnerOf;
use crate::tasks::task::Task;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn::module::Module;
use std::fs::File;
use std::io::Write;

/// The file of pictures in a run folder, a JSON object per line.
pub const PICTURES: &str = "pictures.jsonl";

/// Adds a line with the present picture, if this kind of training has one: a byte per value, 255 for 1.
///
/// # Errors
/// [`UserError::File`] naming the file that cannot be written.
pub fn keep<T: Task>(learner: &LearnerOf<T>, folder: &RunFolder) -> Result<(), UserError> {
    let Some(picture) = learner.task().picture(&learner.model.valid()) else { return Ok(()) };
    let bytes: Vec<u8> = picture.values.iter().flatten().map(|v| (255.0 * v.clamp(0.0, 1.0)).round() as u8).collect();
    let line = serde_json::json!({
        "step": learner.steps_done(),
        "title": picture.title,
        "sides": picture.sides,
        "shape": [picture.values.len(), picture.values.first().map_or(0, Vec::len)],
        "bytes": STANDARD.encode(bytes),
    });
    let path = folder.path().join(PICTURES);
    let written = File::options().create(true).append(true).open(&path).and_then(|mut file| writeln!(file, "{line}"));
    written.map_err(|e| UserError::file(&path, format!("it cannot be written: {e}")))
}
