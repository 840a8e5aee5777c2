//! What is measured over steps, one line per point.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, FIGURE_WIDTH, Figure, PANEL, Panel, Plot, Rule};
use super::super::series::Runs;
use super::{BAND, legend_of};
use crate::io::undefined::or_nan;
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::TrainingSpec;

/// What the weights learn, and what the embeddings look like.
pub fn figures(claim: &str, runs: &[Runs]) -> Vec<Figure> {
    if runs.is_empty() {
        return Vec::new();
    }
    let fraction = |title: &str, value: fn(&Snapshot) -> f64| panel(title, runs, Range::Fraction, |_, s| value(s));
    let learning = vec![
        loss_panel(runs),
        fraction("Energy of the neurons in span(M)", |s| s.energy_in_span),
        fraction("Coverage of the features, mean", |s| s.coverage_mean),
        fraction("Coverage of the features, smallest", |s| s.coverage_min),
        fraction("Fraction of neurons that are singletons", |s| s.singleton_fraction),
        fraction("R² of a probe on 512 observations", |s| or_nan(s.probe_r_squared)),
        panel("Norm of the gradient", runs, Range::Log, |_, s| or_nan(s.gradient_norm)),
    ];
    let embeddings = vec![
        fraction("corr(f(x), f(Mz)) over z ≠ 0", |s| s.correlation_sparse),
        fraction("corr(f(x), f(ξ)), pooled", |s| s.correlation_dense),
        fraction("Fraction of active outputs", |s| s.active_fraction),
        panel("Threshold b / ‖w‖, mean over neurons", runs, Range::FromZero, |_, s| s.threshold_ratio),
        panel("Effective rank of the features", runs, Range::FromZero, |_, s| or_nan(s.feature_rank)),
        panel("Spread of the outputs: 1 in all directions, 0 alike", runs, Range::FromZero, |_, s| {
            s.outputs.map_or(f64::NAN, |o| o.spread)
        }),
    ];
    let figure = |name: &str, caption: String, panels| Figure {
        name: format!("{claim}-{name}"),
        caption,
        width: FIGURE_WIDTH,
        panels,
        legend: legend_of(runs),
    };
    let t1 = "The upright line is T1, where thresholds are set.";
    let scale = "The loss of supervised runs is divided by the logarithm of the number of classes.";
    let scale = if runs.iter().any(|r| r.spec.is_supervised()) { scale } else { "" };
    vec![
        figure("learning", format!("What is learned over training. {BAND} {t1} {scale}").trim().into(), learning),
        figure(
            "embeddings",
            format!("What the embeddings show of the sparse and of the dense part. {BAND} {t1}"),
            embeddings,
        ),
    ]
}

/// The loss in units of its value at chance, or as it is where an objective has no such value or is not positive.
fn loss_panel(runs: &[Runs]) -> Panel {
    let losses = || runs.iter().flat_map(|r| &r.seeds).flat_map(|(_, _, snapshots)| snapshots).map(|s| s.loss);
    if runs.iter().all(|r| r.spec.loss_at_chance().is_some()) && losses().all(|loss| loss > 0.0) {
        let over_chance = |spec: &TrainingSpec, s: &Snapshot| s.loss / or_nan(spec.loss_at_chance());
        return panel("Held-out loss / log(N + 1)", runs, Range::Log, over_chance);
    }
    panel("Held-out loss", runs, Range::Around, |_, s| s.loss)
}

/// The range of a vertical axis.
enum Range {
    /// From 0 to 1, or beyond if values are.
    Fraction,
    /// From 0 to the largest.
    FromZero,
    /// Logarithmic.
    Log,
    /// From the smallest to the largest.
    Around,
}

fn panel(title: &str, runs: &[Runs], range: Range, value: impl Fn(&TrainingSpec, &Snapshot) -> f64) -> Panel {
    let curves: Vec<Curve> = runs.iter().map(|r| r.curve(|s| value(&r.spec, s))).collect();
    let heights = || curves.iter().flat_map(Curve::heights);
    let y = match range {
        Range::Fraction => {
            let low = heights().filter(|v| v.is_finite()).fold(0.0, f64::min);
            Axis::linear("", if low < -0.02 { low.max(-1.0) } else { 0.0 }, 1.0)
        }
        Range::FromZero => Axis::from_zero("", heights()),
        Range::Log => Axis::log("", heights()),
        Range::Around => Axis::around("", heights()),
    };
    over_steps(title, runs, y, curves)
}

/// A panel over steps with T1 marked.
pub fn over_steps(title: &str, runs: &[Runs], y: Axis, curves: Vec<Curve>) -> Panel {
    let mut starts: Vec<u64> = runs.iter().filter_map(|r| r.spec.bias_start()).collect();
    starts.sort_unstable();
    starts.dedup();
    let rules = match starts[..] {
        [start] => vec![Rule { at: start as f64, is_vertical: true, label: "T1".into() }],
        _ => Vec::new(),
    };
    let last = runs.iter().map(Runs::last_step).fold(1.0, f64::max);
    let x = Axis::linear("step", 0.0, last);
    Panel { title: title.into(), size: PANEL, chart: Chart::Plot(Plot { x, y, boxes: Vec::new(), curves, rules }) }
}
