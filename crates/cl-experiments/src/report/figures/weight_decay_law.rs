//! C10 as a law: coverage against what it is predicted from.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Entry, FIGURE_WIDTH, Figure, PANEL, Panel, Plot, Rule, Swatch};
use super::super::palette::Style;
use super::super::series::{Runs, mean};
use super::values;
use crate::judge::measures::ClaimResult;
use crate::judge::measures::weight_decay_law::WeightDecayLaw;
use std::collections::BTreeSet;

/// Coverage over `Σηλ q/(q + σ²)` alone, and measured against predicted coverage; a colour per d.
pub fn figure(result: &ClaimResult, runs: &[Runs]) -> Option<Figure> {
    let law = result.measure::<WeightDecayLaw>()?;
    let sizes: BTreeSet<usize> = runs.iter().map(|r| r.spec.data.code_dim).collect();
    let styles: Vec<(usize, Style)> =
        sizes.iter().enumerate().map(|(i, d)| (*d, Style::ordered(i, sizes.len()))).collect();
    let dots = |at: &str| -> Vec<Curve> {
        let of_size = |(d, style): &(usize, Style)| {
            let here = runs.iter().filter(|r| r.spec.data.code_dim == *d);
            let dots = here
                .flat_map(|r| values(result, &r.point, at).into_iter().zip(values(result, &r.point, "coverage_mean")));
            Curve { width: 0, dots: dots.collect(), ..Curve::line(*style, Vec::new()) }
        };
        styles.iter().map(of_size).collect()
    };
    let plot = |title: &str, x: Axis, curves: Vec<Curve>, rules: Vec<Rule>| Panel {
        title: title.into(),
        size: PANEL,
        chart: Chart::Plot(Plot { x, y: Axis::linear("", 0.0, 1.0), boxes: Vec::new(), curves, rules }),
    };
    let by_decay = dots("decay_number");
    let by_takeover = dots("takeover_number");
    let across = |curves: &[Curve], label: &str| {
        Axis::from_zero(label, curves.iter().flat_map(|c| c.dots.iter().map(|(x, _)| *x)))
    };
    let x = across(&by_takeover, "y, with the share of a feature in a dense neuron");
    let plateau = mean(&runs.iter().map(|r| law.predict(&r.spec).plateau).collect::<Vec<_>>());
    let (_, end) = x.ends();
    let grid = (0..=80).map(|k| f64::from(k) / 80.0 * end);
    let predicted =
        Curve::line(Style::plain(super::super::palette::MUTED), grid.map(|y| (y, law.coverage(plateau, y))).collect());
    let mut legend = vec![Entry::new("the law, at the mean plateau", predicted.style, Swatch::Line)];
    legend.extend(styles.iter().map(|(d, style)| {
        let fitted = if *d == law.fitted_at { ", fitted" } else { "" };
        Entry::new(&format!("d = {d}{fitted}"), *style, Swatch::Dot)
    }));
    let decay = across(&by_decay, "Σηλ q/(q + σ²)");
    (!runs.is_empty()).then(|| Figure {
        name: format!("{}-law", result.experiment.claim),
        caption: format!(
            "Mean coverage of the features at the end, every run. Left: over the decay of the complement alone, noise levels do not collapse onto one curve. Right: over y \
             they do; {:.0} steps before decay counts.",
            law.delay
        ),
        width: FIGURE_WIDTH,
        panels: vec![
            plot("Coverage over the decay of the complement", decay, by_decay, Vec::new()),
            plot("Coverage over y", x, std::iter::once(predicted).chain(by_takeover).collect(), Vec::new()),
        ],
        legend,
    })
}
