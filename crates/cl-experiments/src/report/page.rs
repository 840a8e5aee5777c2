//! The page: a template filled with results.

use super::ReportContext;
use super::chart::Figure;
use super::figure::{inline_svg, inline_swatch};
use super::number::{bytes, duration, number};
use crate::io::shell;
use crate::judge::measures::ClaimResult;
use crate::judge::mutations::MutationResult;
use crate::judge::{Judgement, Over, Verdict};
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

/// Width that panels in a row have on a wide screen.
const PAGE_WIDTH: u32 = 1020;

/// A figure in the page: panels that flow as wide as there is room.
#[derive(Debug, Serialize)]
pub struct PageFigure {
    name: String,
    caption: String,
    panels: Vec<PagePanel>,
    legend: Vec<PageEntry>,
}

#[derive(Debug, Serialize)]
struct PagePanel {
    svg: String,
    width: u32,
    most: u32,
}

#[derive(Debug, Serialize)]
struct PageEntry {
    svg: String,
    label: String,
}

#[derive(Debug, Serialize)]
struct PageClaim<'a> {
    name: &'a str,
    title: &'a str,
    statement: &'a str,
    verdict: PageVerdict,
    command: String,
    judgements: Vec<PageJudgement>,
    figures: Vec<PageFigure>,
    point: &'a str,
    parameters: String,
    folders: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PageMutation<'a> {
    title: &'a str,
    why: &'a str,
    cells: Vec<PageCell<'a>>,
    as_expected: bool,
}

#[derive(Debug, Serialize)]
struct PageCell<'a> {
    claim: &'a str,
    verdict: PageVerdict,
    must_break: bool,
    by: String,
}

#[derive(Debug, Serialize)]
struct PageVerdict {
    word: String,
    symbol: &'static str,
}

#[derive(Debug, Serialize)]
struct PageJudgement {
    metric: String,
    subject: String,
    bound: String,
    over: &'static str,
    source: String,
    mean: String,
    interval: String,
    values: String,
    verdict: PageVerdict,
}

impl PageFigure {
    /// Draws every panel and swatch.
    ///
    /// # Errors
    /// The backend's message.
    pub fn new(figure: &Figure) -> Result<Self, String> {
        // A figure made for more than the page's width shrinks before its panels wrap.
        let width = |w: u32| w * PAGE_WIDTH.min(figure.width) / figure.width;
        let panel = |p: &super::chart::Panel| {
            Ok(PagePanel { svg: inline_svg(p)?, width: width(p.size.0), most: p.size.0 * 5 / 4 })
        };
        let entry = |e: &super::chart::Entry| Ok(PageEntry { svg: inline_swatch(e)?, label: e.label.clone() });
        Ok(Self {
            name: figure.name.clone(),
            caption: figure.caption.clone(),
            panels: figure.panels.iter().map(panel).collect::<Result<_, String>>()?,
            legend: figure.legend.iter().map(entry).collect::<Result<_, String>>()?,
        })
    }
}

/// The whole page.
///
/// # Errors
/// What is wrong with the template.
pub fn render(
    results: &[ClaimResult],
    mutations: &[MutationResult],
    main: Option<PageFigure>,
    figures: Vec<Vec<PageFigure>>,
    context: &ReportContext,
) -> Result<String, minijinja::Error> {
    let claims: Vec<PageClaim> = results.iter().zip(figures).map(|(r, f)| claim(r, f, context.full)).collect();
    let manifest = results.iter().flat_map(|r| r.folders.values()).find_map(|f| f.manifest().ok());
    environment().render_str(
        include_str!("template.html"),
        context! {
            claims => Value::from(Serde(&claims)),
            main => Value::from(Serde(&main)),
            mutations => Value::from(Serde(&mutations.iter().map(mutation).collect::<Vec<_>>())),
            command => context.command,
            duration => context.duration_s.map(duration),
            memory => (context.peak_memory_byte > 0).then(|| bytes(context.peak_memory_byte)),
            extent => if context.full { "the full set" } else { "the default set" },
            commit => manifest.as_ref().map_or("unknown", |m| m.commit.as_str()),
            is_dirty => manifest.as_ref().is_some_and(|m| m.dirty == Some(true)),
            device => manifest.as_ref().map_or("unknown", |m| m.device.as_str()),
            platform => manifest.as_ref().map_or("unknown", |m| m.platform.as_str()),
            version => manifest.as_ref().map_or("unknown", |m| m.version.as_str()),
            data_version => cl_data::DATA_VERSION,
            algorithm_version => cl_model::ALGORITHM_VERSION,
        },
    )
}

/// Figures without a report around them.
///
/// # Errors
/// What is wrong with the template.
pub fn figures_alone(figures: &[PageFigure]) -> Result<String, minijinja::Error> {
    environment().render_str(include_str!("figures.html"), context! { figures => Value::from(Serde(figures)) })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
}

fn claim(result: &ClaimResult, figures: Vec<PageFigure>, full: bool) -> PageClaim<'_> {
    let experiment = &result.experiment;
    let first = experiment.points.first();
    let full = if full { " --full" } else { "" };
    PageClaim {
        name: &experiment.claim,
        title: &experiment.title,
        statement: experiment.statement.trim(),
        verdict: verdict(Some(result.verdict)),
        command: format!("cargo run --release -- reproduce{full} {}", shell::join([&experiment.claim])),
        judgements: result.judgements.iter().map(judgement).collect(),
        figures,
        point: first.map_or("", |p| p.name.as_str()),
        parameters: first.map_or_else(String::new, |p| crate::io::files::pretty(&p.spec)),
        folders: result.folders.values().map(|f| f.path().display().to_string()).collect(),
    }
}

fn mutation(result: &MutationResult) -> PageMutation<'_> {
    PageMutation {
        title: &result.mutation.title,
        why: &result.mutation.why,
        cells: result
            .claims
            .iter()
            .map(|c| PageCell {
                claim: &c.claim,
                verdict: verdict(Some(c.with)),
                must_break: result.mutation.breaks.contains(&c.claim),
                by: c.by.join("; "),
            })
            .collect(),
        as_expected: result.as_expected,
    }
}

fn verdict(verdict: Option<Verdict>) -> PageVerdict {
    let symbol = match verdict {
        Some(Verdict::Holds) => "✓",
        Some(Verdict::Undecided) => "?",
        Some(Verdict::Fails) => "✗",
        None => "·",
    };
    PageVerdict { word: verdict.map_or("reported".into(), |v| v.to_string()), symbol }
}

fn judgement(j: &Judgement) -> PageJudgement {
    let values = j.values.iter().map(|(seed, v)| format!("{seed}:\u{a0}{}", number(*v)));
    PageJudgement {
        metric: j.metric.replace('_', " "),
        subject: j.subject.clone(),
        bound: if j.verdict.is_some() { j.bound.clone() } else { "–".into() },
        over: match j.over {
            Over::EverySeed => "every seed",
            Over::Mean => "mean",
        },
        source: j.source.clone(),
        mean: if j.values.is_empty() { "not run".into() } else { number(j.summary.mean) },
        interval: if j.values.len() > 1 {
            let level = number(100.0 * j.summary.level);
            format!("{} … {} at {level} %", number(j.summary.low), number(j.summary.high))
        } else {
            "–".into()
        },
        values: values.collect::<Vec<_>>().join("; "),
        verdict: verdict(j.verdict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Interval;

    #[test]
    fn a_single_seed_has_no_interval_and_nothing_is_judged_without_a_bound() {
        let j = Judgement {
            metric: "coverage_mean".into(),
            subject: "masked".into(),
            bound: "reported".into(),
            over: Over::Mean,
            source: "s".into(),
            values: vec![(7, 0.5)],
            summary: Interval::student(&[0.5], 0.95),
            verdict: None,
        };
        let page = judgement(&j);
        assert_eq!([page.interval.as_str(), page.bound.as_str(), page.verdict.word.as_str()], ["–", "–", "reported"]);
        assert_eq!(page.values, "7:\u{a0}0.5");
    }

    #[test]
    fn a_page_without_results_is_whole_and_escapes_what_it_is_given() {
        let context = ReportContext { command: "reproduce <x>", duration_s: None, peak_memory_byte: 0, full: false };
        let text = render(&[], &[], None, Vec::new(), &context).unwrap();
        assert!(text.contains("reproduce &lt;x&gt;") && text.trim_end().ends_with("</html>"));
        assert!(!text.contains("http"));
    }
}
