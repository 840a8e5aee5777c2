//! The cost of a step as a function of one quantity, on logarithmic axes, with exponents.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Entry, FIGURE_WIDTH, Figure, PANEL, Panel, Plot, Swatch};
use super::super::palette::Style;
use crate::run::bench::{Growth, Timing};
use std::collections::BTreeMap;

/// Time of a step and peak memory over the quantity, one curve per number of threads.
pub fn figure(growth: &Growth) -> Figure {
    let mut by_threads: BTreeMap<usize, Vec<&(f64, Timing)>> = BTreeMap::new();
    growth.timings.iter().for_each(|t| by_threads.entry(t.1.threads).or_default().push(t));
    let flop: Vec<(f64, f64)> = growth.timings.iter().map(|(x, t)| (*x, t.flop_per_step)).collect();
    let expected = exponent(at_the_end(&flop)).map_or(String::new(), |e| format!(", {e:.2} counted"));
    type Read = fn(&Timing) -> f64;
    let quantities: [(&str, &str, Read); 2] = [
        ("Time of a step", "ms", |t| 1e3 / t.steps_per_second),
        ("Peak memory of the process", "MiB", |t| t.peak_memory_byte as f64 / 1_048_576.0),
    ];
    let panels = quantities.iter().map(|(title, unit, read)| {
        let lines: Vec<Vec<(f64, f64)>> =
            by_threads.values().map(|ts| ts.iter().map(|(x, t)| (*x, read(t))).collect()).collect();
        let fitted = lines.first().and_then(|line| exponent(at_the_end(line)));
        let counted = if *unit == "ms" { expected.as_str() } else { "" };
        let curves: Vec<Curve> = lines
            .into_iter()
            .enumerate()
            .map(|(k, line)| Curve { dots: line.clone(), ..Curve::line(Style::nth(k), line) })
            .collect();
        let x = Axis::log(&growth.quantity, curves.iter().flat_map(|c| c.line.iter().map(|(x, _)| *x)));
        let y = Axis::log(unit, curves.iter().flat_map(Curve::heights));
        let slope = fitted.map_or(String::new(), |e| format!(": exponent {e:.2}{counted}"));
        let chart = Chart::Plot(Plot { x, y, boxes: Vec::new(), curves, rules: Vec::new() });
        Panel { title: format!("{title}{slope}"), size: PANEL, chart }
    });
    let panels = panels.collect();
    let words = |n: &usize| if *n == 1 { "1 thread".to_string() } else { format!("{n} threads") };
    let legend =
        by_threads.keys().enumerate().map(|(k, n)| Entry::new(&words(n), Style::nth(k), Swatch::Line)).collect();
    Figure {
        name: format!("growth-{}", growth.name),
        caption: format!(
            "Cost of a training step over the {}, on logarithmic axes. Exponents are fitted to the last three points of the \
             first curve; the counted one is that of floating-point operations over the same points.",
            growth.quantity
        ),
        width: FIGURE_WIDTH,
        panels,
        legend,
    }
}

/// The last three points, where what does not grow is small compared with what does.
fn at_the_end(points: &[(f64, f64)]) -> &[(f64, f64)] {
    &points[points.len().saturating_sub(3)..]
}

/// Slope of `log y` over `log x` by least squares.
fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let (x_mean, y_mean) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let spread: f64 = logs.iter().map(|p| (p.0 - x_mean).powi(2)).sum();
    (spread > 0.0).then(|| logs.iter().map(|p| (p.0 - x_mean) * (p.1 - y_mean)).sum::<f64>() / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_those_of_power_laws() {
        let law: Vec<(f64, f64)> = [1.0f64, 2.0, 8.0].iter().map(|x| (*x, 3.0 * x.powf(1.5))).collect();
        assert!((exponent(&law).unwrap() - 1.5).abs() < 1e-12);
        assert_eq!(exponent(&[(2.0, 1.0)]), None);
    }
}
