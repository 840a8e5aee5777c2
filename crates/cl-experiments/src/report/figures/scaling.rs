//! C8: both arms and the gap between them over the number of features.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Entry, FIGURE_WIDTH, Figure, PANEL, Panel, Plot, Swatch};
use super::super::palette::{Style, styles_of};
use super::super::series::mean;
use crate::judge::measures::ClaimResult;
use crate::judge::{FAMILY_LEVEL, Interval};
use std::collections::BTreeMap;

/// Values by d and seed.
type BySize = BTreeMap<u32, BTreeMap<u64, f64>>;

const METRICS: [(&str, &str); 2] = [
    ("probe_r_squared_over_oracle", "R² of the probe over the oracle's"),
    ("coverage_corrected", "Coverage corrected for chance"),
];

/// Per measure: both arms, and the gap.
pub fn figure(result: &ClaimResult) -> Option<Figure> {
    let gap_style = Style::nth(2);
    let arms = styles_of(["masked", "none"]);
    let mut panels = Vec::new();
    for (metric, title) in METRICS {
        let by_arm: Vec<(Style, BySize)> =
            arms.iter().map(|(arm, style)| (*style, over_d(result, arm, metric))).collect();
        let curves: Vec<Curve> = by_arm.iter().map(|(style, values)| curve(*style, &single(values))).collect();
        let gap = curve(gap_style, &gaps(&by_arm[0].1, &by_arm[1].1));
        if curves.iter().all(|c| c.line.is_empty()) {
            continue;
        }
        panels.push(panel(title.into(), curves));
        if !gap.line.is_empty() {
            panels.push(panel(format!("{title}: gap"), vec![gap]));
        }
    }
    if panels.is_empty() {
        return None;
    }
    let mut legend: Vec<Entry> =
        arms.iter().map(|(name, style)| Entry::new(&super::in_words(name), *style, Swatch::Line)).collect();
    legend.push(Entry::new("gap, seed by seed", gap_style, Swatch::Line));
    Some(Figure {
        name: format!("{}-scaling", result.experiment.claim),
        caption: format!(
            "What masks are worth as the number of features d grows. Lines join means over seeds, whiskers are Student \
             intervals at {:.0} %, dots single seeds.",
            100.0 * (1.0 - FAMILY_LEVEL)
        ),
        width: FIGURE_WIDTH,
        panels,
        legend,
    })
}

/// A metric of an arm by d and seed; points are named `<arm>-d<number>`.
fn over_d(result: &ClaimResult, arm: &str, metric: &str) -> BySize {
    let by_point = result.metrics.iter().filter_map(|(point, seeds)| {
        let d = point.strip_prefix(arm)?.strip_prefix("-d")?.parse().ok()?;
        let values = seeds.iter().filter_map(|(seed, m)| Some((*seed, *m.get(metric)?)));
        Some((d, values.filter(|(_, v)| v.is_finite()).collect()))
    });
    by_point.collect()
}

fn single(values: &BySize) -> BTreeMap<u32, Vec<f64>> {
    values.iter().map(|(d, seeds)| (*d, seeds.values().copied().collect())).collect()
}

/// Differences seed by seed, where both arms have the seed.
fn gaps(a: &BySize, b: &BySize) -> BTreeMap<u32, Vec<f64>> {
    let at = |d: &u32, seeds: &BTreeMap<u64, f64>| -> Option<Vec<f64>> {
        let other = b.get(d)?;
        Some(seeds.iter().filter_map(|(seed, v)| Some(v - other.get(seed)?)).collect())
    };
    a.iter()
        .filter_map(|(d, seeds)| Some((*d, at(d, seeds)?)))
        .filter(|(_, v): &(u32, Vec<f64>)| !v.is_empty())
        .collect()
}

fn curve(style: Style, values: &BTreeMap<u32, Vec<f64>>) -> Curve {
    let at = |d: &u32| f64::from(*d);
    let known = || values.iter().filter(|(_, v)| !v.is_empty());
    let whiskers = known().filter(|(_, v)| v.len() > 1).map(|(d, v)| {
        let i = Interval::student(v, 1.0 - FAMILY_LEVEL);
        (at(d), i.low, i.high)
    });
    Curve {
        whiskers: whiskers.collect(),
        // Next to the whisker, not underneath it.
        dots: known().flat_map(|(d, v)| v.iter().map(|v| (at(d) * 1.04, *v))).collect(),
        ..Curve::line(style, known().map(|(d, v)| (at(d), mean(v))).collect())
    }
}

fn panel(title: String, curves: Vec<Curve>) -> Panel {
    let mut sizes: Vec<f64> = curves.iter().flat_map(|c| c.line.iter().map(|(d, _)| *d)).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let (low, high) = (sizes.first().copied().unwrap_or(1.0), sizes.last().copied().unwrap_or(2.0));
    let x = Axis::log("number of features d", [low / 1.1, high * 1.1]).with_ticks(sizes);
    let y = Axis::around("", curves.iter().flat_map(Curve::heights).chain([0.0, 1.0]));
    Panel { title, size: PANEL, chart: Chart::Plot(Plot { x, y, boxes: Vec::new(), curves, rules: Vec::new() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_taken_seed_by_seed() {
        let arm = |values: &[(u64, f64)]| BTreeMap::from([(16, values.iter().copied().collect::<BTreeMap<_, _>>())]);
        let gaps = gaps(&arm(&[(1, 0.9), (2, 0.8), (3, 0.7)]), &arm(&[(1, 0.4), (3, 0.5)]));
        assert_eq!(gaps[&16].len(), 2);
        assert!((gaps[&16][0] - 0.5).abs() < 1e-12 && (gaps[&16][1] - 0.2).abs() < 1e-12);
    }
}
