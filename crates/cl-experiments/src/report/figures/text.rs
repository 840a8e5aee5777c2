//! Sentences: what is read off features, accuracies over the number of labels, nearest sentences.

use super::super::axis::Axis;
use super::super::chart::{
    Chart, Curve, Entry, FIGURE_WIDTH, Figure, Mark, PANEL, Panel, Plot, Row, Rows, Swatch, TextLine, height_of_rows,
};
use super::super::number::significant;
use super::super::palette::{MUTED, Style, styles_of};
use super::super::series::{mean, mean_and_band};
use super::{BAND, in_words, values};
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::run::folder::RunFolder;
use crate::spec::experiment::Point;
use crate::tasks::text::evaluation::{LabelScores, TextEvaluation};
use crate::tasks::text::neighbors::Neighbors;
use crate::tasks::text::spec::TextSpec;

/// Letters of a sentence that are shown.
const LETTERS: usize = 88;

/// A point with the evaluations of its seeds.
type Evaluated<'a> = (&'a Point, Vec<TextEvaluation>);

/// All figures of an experiment on sentences; none where there are no such runs.
///
/// # Errors
/// [`UserError`] when a complete run folder cannot be read.
pub fn figures(result: &ClaimResult) -> Result<Vec<Figure>, UserError> {
    let mut points: Vec<Evaluated> = Vec::new();
    for point in result.experiment.points.iter().filter(|p| p.spec.get::<TextSpec>().is_some()) {
        let evaluations: Vec<TextEvaluation> =
            folders(result, point).map(|folder| folder.evaluation()).collect::<Result<_, _>>()?;
        if !evaluations.is_empty() {
            points.push((point, evaluations));
        }
    }
    let mut figures: Vec<Figure> = [language(result, &points), labels(result, &points)].into_iter().flatten().collect();
    figures.extend(neighbors(result, &points)?);
    Ok(figures)
}

fn folders<'a>(result: &'a ClaimResult, point: &'a Point) -> impl Iterator<Item = &'a RunFolder> {
    let folder = |seed: &u64| result.folders.get(&(point.name.clone(), *seed)).filter(|folder| folder.is_complete());
    point.seeds.iter().filter_map(folder)
}

/// `R²` of topics and of style.
fn language(result: &ClaimResult, points: &[Evaluated]) -> Option<Figure> {
    let known: Vec<&Evaluated> = points.iter().filter(|(_, e)| e.iter().any(|e| e.language.is_some())).collect();
    let mark = |style: Style, dots: Vec<f64>| Mark { style, bar: Some(mean(&dots)), interval: None, dots, tick: None };
    let row = |label: String, [topics, style]: [Vec<f64>; 2]| Row {
        label,
        note: [&topics, &style].map(|values| significant(mean(values), 2)).join(" · "),
        marks: vec![mark(Style::nth(0), topics), mark(Style::nth(1), style)],
    };
    let of = |point: &str, prefix: &str| {
        ["topics", "style"].map(|name| values(result, point, &format!("language.{prefix}{name}")))
    };
    let mut rows: Vec<Row> = known.iter().map(|(p, _)| row(in_words(&p.name), of(&p.name, ""))).collect();
    let (first, _) = known.first()?;
    rows.push(row("untrained".into(), of(&first.name, "untrained_")));
    let lowest = rows.iter().flat_map(|r| r.marks.iter().flat_map(|m| m.dots.clone())).fold(0.0, f64::min).max(-0.5);
    Some(Figure {
        name: format!("{}-language", result.experiment.claim),
        caption: "How much of the topics of a sentence and of its style a linear function of the features tells. Bars are means over seeds, dots single seeds.".into(),
        width: FIGURE_WIDTH,
        panels: vec![Panel {
            title: "Topics and style read off the features".into(),
            size: (FIGURE_WIDTH, height_of_rows(&rows)),
            chart: Chart::Rows(Rows { x: Axis::linear("R²", lowest, 1.0), rows, rules: Vec::new() }),
        }],
        legend: vec![
            Entry::new("topics", Style::nth(0), Swatch::Dot),
            Entry::new("style", Style::nth(1), Swatch::Dot),
        ],
    })
}

/// Accuracies over the number of labels: what is trained at each point, and, once, what is not.
fn labels(result: &ClaimResult, points: &[Evaluated]) -> Option<Figure> {
    let styles = styles_of(points.iter().map(|(p, _)| p.name.as_str()));
    let curve = |style: Style, evaluations: &[TextEvaluation], read: &dyn Fn(&LabelScores) -> Option<f64>| {
        let of_run = |e: &TextEvaluation| -> Vec<(f64, f64)> {
            e.labels.iter().filter_map(|(n, score)| Some((*n as f64, read(score)?))).collect()
        };
        let rows: Vec<_> = evaluations.iter().map(of_run).collect();
        let (line, band) = mean_and_band(&rows);
        Curve { band, has_markers: true, ..Curve::line(style, line) }
    };
    let (_, first) = points.first()?;
    // The first two styles are those of masks and of none, which no point here is named after.
    let (scratch, bag, tf_idf) = (Style::plain(MUTED), Style::nth(0), Style::nth(1));
    let trained = |read: fn(&LabelScores) -> f64| -> Vec<Curve> {
        points.iter().zip(&styles).map(|((_, e), (_, style))| curve(*style, e, &|s| Some(read(s)))).collect()
    };
    let mut tuned = trained(|s| s.fine_tuned);
    tuned.push(curve(scratch, first, &|s| Some(s.scratch)));
    let mut probed = trained(|s| s.probe);
    probed.push(curve(scratch, first, &|s| Some(s.untrained_probe)));
    let with_baselines =
        points.iter().find(|(_, e)| e.iter().any(|e| e.labels.values().any(|s| s.bag_of_words.is_some())));
    let mut legend: Vec<Entry> =
        styles.iter().map(|(name, style)| Entry::new(&in_words(name), *style, Swatch::Line)).collect();
    legend.push(Entry::new("untrained, or from scratch", scratch, Swatch::Line));
    if let Some((_, evaluations)) = with_baselines {
        probed.push(curve(bag, evaluations, &|s| s.bag_of_words));
        probed.push(curve(tf_idf, evaluations, &|s| s.tf_idf));
        legend.push(Entry::new("bag of words", bag, Swatch::Line));
        legend.push(Entry::new("TF-IDF", tf_idf, Swatch::Line));
    }
    let panel = |title: &str, curves: Vec<Curve>| {
        let across: Vec<f64> = curves.iter().flat_map(|c| c.line.iter().map(|(x, _)| *x)).collect();
        Panel {
            title: title.into(),
            size: PANEL,
            chart: Chart::Plot(Plot {
                x: Axis::log("labels", across),
                y: Axis::linear("accuracy", 0.0, 1.0),
                boxes: Vec::new(),
                curves,
                rules: Vec::new(),
            }),
        }
    };
    Some(Figure {
        name: format!("{}-labels", result.experiment.claim),
        caption: format!("Accuracy on test sentences over the number of labels. {BAND}"),
        width: FIGURE_WIDTH,
        panels: vec![panel("Fine-tuned", tuned), panel("A linear probe", probed)],
        legend,
    })
}

/// The nearest sentences before and after training, at the first point and seed.
fn neighbors(result: &ClaimResult, points: &[Evaluated]) -> Result<Option<Figure>, UserError> {
    let Some((point, _)) = points.first() else { return Ok(None) };
    let Some(folder) = folders(result, point).next() else { return Ok(None) };
    let found: Vec<Neighbors> = folder.neighbors()?;
    let block = |n: &Neighbors| {
        let near = |when: &str, [sentence, class]: &[String; 2]| {
            let is_same = if *class == n.class { "same class" } else { class };
            TextLine::new(&format!("{when} ({is_same}): {sentence}"), 1, *class != n.class, LETTERS)
        };
        [
            TextLine::new(&format!("{} ({})", n.sentence, n.class), 0, false, LETTERS),
            near("before", &n.before),
            near("after", &n.after),
        ]
    };
    let lines: Vec<TextLine> = found.iter().flat_map(block).collect();
    Ok(Some(Figure {
        name: format!("{}-neighbors", result.experiment.claim),
        caption: format!(
            "Test sentences with the nearest other one by the cosine of features, before and after training ({}); grey where its class is another.",
            in_words(&point.name)
        ),
        width: FIGURE_WIDTH,
        panels: vec![Panel {
            title: "Nearest sentences".into(),
            size: (FIGURE_WIDTH, 60 + TextLine::HEIGHT * lines.len() as u32),
            chart: Chart::Text(lines),
        }],
        legend: Vec::new(),
    }))
}
