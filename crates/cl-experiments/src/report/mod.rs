//! From judged claims to figures and one page that stands alone.

mod chart;
mod figures;
mod render;
mod runs;

use crate::claims::ClaimResult;
use crate::error::UserError;
use crate::judge::{Judgement, Over, Verdict};
use crate::record::write_whole;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, context};
use render::Figure;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What the page says about how it was made.
#[derive(Debug, Clone)]
pub struct ReportContext<'a> {
    /// The command as a user would type it.
    pub command: &'a str,
    /// Wall-clock seconds, where runs were made.
    pub duration_s: Option<f64>,
    /// Peak memory of the largest process in bytes.
    pub peak_memory_byte: u64,
    /// Whether it is the full set.
    pub full: bool,
}

#[derive(Serialize)]
struct PageFigure {
    svg: String,
    caption: String,
}

#[derive(Serialize)]
struct PageClaim {
    name: String,
    title: String,
    statement: String,
    verdict: String,
    symbol: &'static str,
    judgements: Vec<PageJudgement>,
    sources: Vec<String>,
    figures: Vec<PageFigure>,
    point: String,
    parameters: String,
    folders: Vec<String>,
}

#[derive(Serialize)]
struct PageJudgement {
    metric: String,
    subject: String,
    bound: String,
    over: &'static str,
    source: String,
    mean: String,
    interval: String,
    values: String,
    verdict: String,
}

/// Writes `report.html`, `figures/*.svg` and `figures/*.png` below `output`; returns the page's path.
///
/// # Errors
/// [`UserError`] when a run cannot be read or a file not written.
pub fn write(results: &[ClaimResult], output: &Path, context: &ReportContext) -> Result<PathBuf, UserError> {
    let folder = output.join("figures");
    std::fs::create_dir_all(&folder)
        .map_err(|e| UserError::file(&folder, format!("the folder cannot be made: {e}")))?;
    let claims = results.iter().map(|r| page_claim(r, &folder)).collect::<Result<Vec<_>, _>>()?;
    let main = figures::main_result(results, &folder)?.map(page_figure);
    let first_run = results.iter().flat_map(|r| r.folders.values()).find_map(|f| f.manifest().ok());
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let text = environment
        .render_str(
            include_str!("template.html"),
            context! {
                claims => Value::from(Serde(&claims)),
                main => Value::from(Serde(&main)),
                command => context.command,
                duration => context.duration_s.map(|s| format!("{:.0} min {:.0} s", (s / 60.0).floor(), s % 60.0)),
                memory => format!("{:.0} MiB", context.peak_memory_byte as f64 / 1_048_576.0),
                extent => if context.full { "the full set" } else { "the default set" },
                commit => first_run.as_ref().map_or("unknown", |m| m.commit.as_str()),
                device => first_run.as_ref().map_or("unknown", |m| m.device.as_str()),
                data_version => cl_data::DATA_VERSION,
                algorithm_version => cl_model::ALGORITHM_VERSION,
            },
        )
        .map_err(|e| UserError::Run(format!("the page cannot be rendered: {e}")))?;
    let page = output.join("report.html");
    write_whole(&page, text.as_bytes())?;
    Ok(page)
}

fn page_claim(result: &ClaimResult, folder: &Path) -> Result<PageClaim, UserError> {
    let mut sources: Vec<String> =
        result.judgements.iter().map(|j| format!("{}, {}: {}", j.metric, j.subject, j.source)).collect();
    sources.dedup();
    let first = &result.experiment.points[0];
    Ok(PageClaim {
        name: result.experiment.claim.clone(),
        title: result.experiment.title.clone(),
        statement: result.experiment.statement.trim().to_string(),
        verdict: result.verdict.to_string(),
        symbol: match result.verdict {
            Verdict::Holds => "✓",
            Verdict::Undecided => "?",
            Verdict::Fails => "✗",
        },
        judgements: result.judgements.iter().map(page_judgement).collect(),
        sources,
        figures: figures::of_claim(result, folder)?.into_iter().map(page_figure).collect(),
        point: first.name.clone(),
        parameters: crate::record::pretty(&first.spec),
        folders: result.folders.values().map(|f| f.path().display().to_string()).collect(),
    })
}

fn page_figure(figure: Figure) -> PageFigure {
    PageFigure { svg: figure.svg, caption: figure.caption }
}

fn page_judgement(j: &Judgement) -> PageJudgement {
    let mut values: Vec<f64> = j.values.iter().map(|(_, v)| *v).collect();
    values.sort_by(f64::total_cmp);
    let judged = j.verdict.is_some();
    PageJudgement {
        metric: j.metric.replace('_', " "),
        subject: j.subject.clone(),
        bound: if judged { j.bound.clone() } else { "–".into() },
        over: match (judged, j.over) {
            (false, _) => "",
            (true, Over::EverySeed) => "every seed",
            (true, Over::Mean) => "mean",
        },
        source: j.source.clone(),
        mean: number(j.summary.mean),
        interval: if values.len() > 1 {
            format!("{} … {} ({:.1} %)", number(j.summary.low), number(j.summary.high), 100.0 * j.summary.level)
        } else {
            "–".into()
        },
        values: values.iter().map(|v| number(*v)).collect::<Vec<_>>().join("  "),
        verdict: j.verdict.map_or("reported".to_string(), |v| v.to_string()),
    }
}

/// Four digits that matter, no more.
fn number(value: f64) -> String {
    if value == 0.0 || (0.001..10_000.0).contains(&value.abs()) {
        let digits = (3 - value.abs().max(1e-3).log10().floor() as i32).clamp(0, 4) as usize;
        format!("{value:.digits$}")
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_keep_the_digits_that_matter() {
        let shown = [0.0, 0.98765, 12.345, 450.0, 1e-5, -0.2844].map(super::number);
        assert_eq!(shown, ["0.0000", "0.9877", "12.35", "450.0", "1.00e-5", "-0.2844"]);
    }
}
