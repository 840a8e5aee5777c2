//! Pictures on request: sheets of views, the figures of a run, reports of claims, predicted curves.

use crate::io::error::UserError;
use crate::judge::measures::linear_stage;
use crate::judge::measures::{Judge, single_run};
use crate::lab::settings::Chosen;
use crate::lab::{Contents, Places};
use crate::report;
use crate::run::folder::RunFolder;
use crate::run::queue;
use crate::tasks::images::preview;
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use crate::tasks::task::Place;
use serde::Serialize;
use std::path::Path;

/// Images on a sheet.
const IMAGES: usize = 8;

/// Most coordinates and neurons for which curves are predicted: the eigenvalues of a d1 × d1 matrix have to be found.
const MAX_DIM: usize = 512;
const MAX_NEURONS: usize = 1024;

/// Most steps that are predicted, and most multiplications, one for each step and pair of coordinates.
const MAX_STEPS: u64 = 2000;
const MAX_COST: u64 = 250_000_000;

/// A PNG of some images, each with pairs of views.
///
/// # Errors
/// [`UserError`] when the point does not train on images, or they cannot be read.
pub fn views(chosen: &Chosen, data_dir: Option<&Path>) -> Result<Vec<u8>, UserError> {
    let Some(spec) = chosen.spec.get::<ImageSpec>() else {
        return Err(UserError::Argument(format!("{}, {}: it does not train on images", chosen.claim, chosen.point)));
    };
    let device = crate::io::device::open("flex")?;
    let place = Place { device_name: "flex", device: &device, data_dir };
    Ok(preview::sheet(spec, chosen.seed, IMAGES, place)?.0)
}

/// What the linear stage predicts, over steps.
#[derive(Debug, Default, Serialize)]
pub struct Predicted {
    steps: Vec<u64>,
    in_span: Vec<f64>,
    complement: Vec<f64>,
}

/// The norms that are predicted for a run, gradient noise included; empty where nothing is predicted.
pub fn predicted(chosen: &Chosen) -> Predicted {
    let spec = chosen.spec.get::<TrainingSpec>().filter(|spec| linear_stage::is_predicted(spec));
    let is_small = |spec: &&TrainingSpec| {
        let neurons = spec.symmetric_relu().map_or(usize::MAX, |encoder| encoder.num_neurons);
        spec.data.input_dim <= MAX_DIM && neurons <= MAX_NEURONS
    };
    let Some(spec) = spec.filter(is_small) else { return Predicted::default() };
    let steps = spec.schedule().steps.min(MAX_STEPS).min(MAX_COST / (spec.data.input_dim as u64).pow(2));
    let every = (steps / 60).max(1) as usize;
    let curve = linear_stage::predict(spec, chosen.seed, steps).with_noise;
    let shown = || curve.iter().enumerate().step_by(every);
    Predicted {
        steps: shown().map(|(step, _)| step as u64).collect(),
        in_span: shown().map(|(_, norms)| norms.in_span).collect(),
        complement: shown().map(|(_, norms)| norms.complement).collect(),
    }
}

/// The figures of a complete run, as a page.
///
/// # Errors
/// [`UserError`] when the run cannot be read.
pub fn figures_of_run(folder: &RunFolder, contents: &Contents) -> Result<String, UserError> {
    if !folder.is_complete() {
        return Err(UserError::Argument("this run is not complete; its figures are drawn at its end".into()));
    }
    let parts = contents.catalog.parts();
    let (spec, seed) = folder.spec(parts)?;
    let judge = Judge { parts, measures: &contents.measures, full: false, family: 1 };
    let result = single_run(&judge, spec, seed, folder)?;
    report::figures_page(&contents.figures.of_claim(&result)?)
}

/// The report of a claim from the runs there are, as the command `report` makes it in a process of its own.
///
/// # Errors
/// [`UserError`] with the command's message.
pub fn report_of_claim(claim: &str, places: &Places, scratch: &Path) -> Result<String, UserError> {
    // A claim is the name of a folder; what is no name would be taken for an option or a path.
    if claim.is_empty() || claim.starts_with(['-', '.']) || claim.contains(['/', '\\']) {
        return Err(UserError::Argument(format!("{claim:?} is no claim")));
    }
    let output = tempfile::Builder::new().prefix("report-").tempdir_in(scratch);
    let output = output.map_err(|e| UserError::file(scratch, format!("it cannot be written: {e}")))?;
    let ended = queue::child("report", 1).and_then(|mut command| {
        let command = command.arg(claim).arg("--experiments").arg(&places.experiments).arg("--runs").arg(&places.runs);
        if let Some(data_dir) = &places.data_dir {
            command.arg("--data-dir").arg(data_dir);
        }
        command
            .arg("--output")
            .arg(output.path())
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .output()
    });
    let ended = ended.map_err(|e| UserError::Run(format!("the report cannot be made: {e}")))?;
    // Claims that do not hold have reports as well.
    std::fs::read_to_string(output.path().join("report.html"))
        .map_err(|_| UserError::Run(String::from_utf8_lossy(&ended.stderr).trim().to_string()))
}
