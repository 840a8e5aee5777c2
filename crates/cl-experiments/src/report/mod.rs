//! From judged claims to figures and one self-contained page.
//!
//! `figures` decides what is drawn for each claim, as data (`chart`, `axis`); `draw` draws it on any backend; `figure`
//! writes it to files; `page` assembles the report.

pub mod axis;
pub mod chart;
mod draw;
mod figure;
mod figures;
mod number;
mod page;
pub mod palette;
pub mod series;
mod svg_canvas;

use crate::io::error::UserError;
use crate::io::files::{remove_staged_by_the_dead, write_whole};
use crate::judge::certify::Certificate;
use crate::judge::measures::ClaimResult;
use crate::judge::mutations::MutationResult;
use crate::run::bench::Growth;
use chart::Figure;
use page::PageFigure;
use std::path::{Path, PathBuf};

/// What the page says about how it was made.
#[derive(Debug, Clone)]
pub struct ReportContext<'a> {
    /// The command as a user would type it.
    pub command: &'a str,
    /// Wall-clock seconds, if runs were executed.
    pub duration_s: Option<f64>,
    /// Peak memory of the largest process in bytes; 0 if the system does not report it.
    pub peak_memory_byte: u64,
    /// Whether it is the full set.
    pub full: bool,
}

pub use figures::Figures;

/// Draws the cost of a step over a quantity into an existing folder, as SVG and PNG.
///
/// # Errors
/// [`UserError`] when a file cannot be written.
pub fn write_growth(growth: &Growth, folder: &Path) -> Result<(), UserError> {
    figure::write(&figures::cost::figure(growth), folder)
}

/// Draws how far backends diverge into an existing folder, as SVG and PNG.
///
/// # Errors
/// [`UserError`] when a file cannot be written.
pub fn write_divergence(certificate: &Certificate, folder: &Path) -> Result<(), UserError> {
    figure::write(&figures::divergence::figure(certificate), folder)
}

/// Figures alone, as a page that runs nothing and loads nothing.
///
/// # Errors
/// [`UserError`] when one cannot be drawn.
pub fn figures_page(figures: &[Figure]) -> Result<String, UserError> {
    let drawn = figures.iter().map(|figure| {
        PageFigure::new(figure).map_err(|e| UserError::Run(format!("figure {} cannot be drawn: {e}", figure.name)))
    });
    page::figures_alone(&drawn.collect::<Result<Vec<_>, _>>()?)
        .map_err(|e| UserError::Run(format!("the figures cannot be rendered: {e}")))
}

/// Writes `report.html`, `figures/*.svg` and `figures/*.png` below `output`; returns the page's path.
///
/// # Errors
/// [`UserError`] when a run cannot be read or a file cannot be written.
pub fn write(
    results: &[ClaimResult],
    mutations: &[MutationResult],
    figures: &Figures,
    output: &Path,
    context: &ReportContext,
) -> Result<PathBuf, UserError> {
    let folder = output.join("figures");
    std::fs::create_dir_all(&folder)
        .map_err(|e| UserError::file(&folder, format!("the folder cannot be made: {e}")))?;
    remove_staged_by_the_dead(output)?;
    remove_staged_by_the_dead(&folder)?;
    let save = |figure: &Figure| -> Result<PageFigure, UserError> {
        figure::write(figure, &folder)?;
        PageFigure::new(figure).map_err(|e| UserError::Run(format!("figure {} cannot be drawn: {e}", figure.name)))
    };
    let main = figures::overview(results)?.as_ref().map(save).transpose()?;
    let mut of_claims = Vec::new();
    for result in results {
        of_claims.push(figures.of_claim(result)?.iter().map(save).collect::<Result<Vec<_>, _>>()?);
    }
    let text = page::render(results, mutations, main, of_claims, context)
        .map_err(|e| UserError::Run(format!("the page cannot be rendered: {e}")))?;
    let path = output.join("report.html");
    write_whole(&path, text.as_bytes())?;
    Ok(path)
}
