//! Coverage over one parameter of an objective, one line per augmentation.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Entry, FIGURE_WIDTH, Figure, PANEL, Panel, Plot, Swatch};
use super::super::palette::{Style, styles_of};
use super::super::series::mean;
use super::in_words;
use crate::judge::measures::ClaimResult;
use std::collections::BTreeMap;

/// What a point is about: `<objective>-<parameter><value>-<augmentation>`.
#[derive(Debug, PartialEq)]
struct Place<'a> {
    objective: &'a str,
    parameter: &'a str,
    value: f64,
    augmentation: &'a str,
}

impl<'a> Place<'a> {
    fn of(point: &'a str) -> Option<Self> {
        let (rest, augmentation) = point.rsplit_once('-')?;
        let (objective, parameter) = rest.rsplit_once('-')?;
        let digits = parameter.find(|c: char| c.is_ascii_digit()).filter(|at| *at > 0)?;
        let (parameter, value) = parameter.split_at(digits);
        Some(Self { objective, parameter, value: value.parse().ok()?, augmentation })
    }
}

/// A panel per objective.
pub fn figure(result: &ClaimResult) -> Option<Figure> {
    let places: Vec<(Place, Vec<f64>)> = result
        .experiment
        .points
        .iter()
        .filter_map(|point| Some((Place::of(&point.name)?, super::values(result, &point.name, "coverage_mean"))))
        .filter(|(_, values)| !values.is_empty())
        .collect();
    let mut objectives: Vec<(&str, &str)> = places.iter().map(|(p, _)| (p.objective, p.parameter)).collect();
    objectives.dedup();
    let mut augmentations: Vec<&str> = places.iter().map(|(p, _)| p.augmentation).collect();
    augmentations.sort_unstable_by_key(|a| (*a != "masked", *a));
    augmentations.dedup();
    let styles = styles_of(augmentations.iter().copied());
    let panels = objectives.iter().map(|(objective, parameter)| {
        let curves = styles.iter().map(|(augmentation, style)| {
            let is_here =
                |p: &Place| (p.objective, p.parameter, p.augmentation) == (*objective, *parameter, *augmentation);
            let here = places.iter().filter(|(p, _)| is_here(p));
            // By bits: those of positive numbers sort like the numbers.
            curve(*style, &here.map(|(p, values)| (p.value.to_bits(), values.as_slice())).collect())
        });
        panel(
            format!("{}: coverage over {}", in_words(objective), symbol(parameter)),
            symbol(parameter),
            curves.collect(),
        )
    });
    let panels: Vec<Panel> = panels.collect();
    (!panels.is_empty()).then(|| Figure {
        name: format!("{}-one-parameter", result.experiment.claim),
        caption: "Mean coverage of the features over one parameter of an objective. Lines join means over seeds, dots are single seeds."
            .into(),
        width: FIGURE_WIDTH,
        panels,
        legend: styles.iter().map(|(name, style)| Entry::new(&in_words(name), *style, Swatch::Line)).collect(),
    })
}

fn symbol(parameter: &str) -> &str {
    match parameter {
        "tau" => "τ",
        "lr" => "the learning rate",
        "a" => "a, the weight off the diagonal",
        other => other,
    }
}

fn curve(style: Style, by_value: &BTreeMap<u64, &[f64]>) -> Curve {
    let points = || by_value.iter().map(|(bits, values)| (f64::from_bits(*bits), *values));
    Curve {
        dots: points().flat_map(|(at, values)| values.iter().map(move |v| (at, *v))).collect(),
        has_markers: true,
        ..Curve::line(style, points().map(|(at, values)| (at, mean(values))).collect())
    }
}

fn panel(title: String, label: &str, curves: Vec<Curve>) -> Panel {
    let mut values: Vec<f64> = curves.iter().flat_map(|c| c.line.iter().map(|(x, _)| *x)).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let x = Axis::log(label, values.iter().copied()).with_ticks(values);
    let y = Axis::linear("", 0.0, 1.0);
    Panel { title, size: PANEL, chart: Chart::Plot(Plot { x, y, boxes: Vec::new(), curves, rules: Vec::new() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_from_their_names() {
        let place = Place::of("barlow-twins-a0.5-independent").unwrap();
        assert_eq!(place, Place { objective: "barlow-twins", parameter: "a", value: 0.5, augmentation: "independent" });
        assert_eq!(Place::of("nt-xent-independent"), None);
        assert_eq!(Place::of("masked"), None);
    }
}
