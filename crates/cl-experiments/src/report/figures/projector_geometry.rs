//! What a projector does to views and to directions: invariance over the strength of the augmentation, spectra, gains, and the orbits of signals.

use super::super::axis::Axis;
use super::super::chart::{
    Chart, Curve, Entry, FIGURE_WIDTH, Figure, Mark, PANEL, Panel, Plot, Row, Rows, Swatch, height_of_rows,
};
use super::super::number::significant;
use super::super::palette::Style;
use super::super::series::mean;
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::run::folder::RunFolder;
use crate::tasks::circular_signals::evaluation::{Gains, PHASES, SignalEvaluation, StageEvaluation};
use crate::tasks::circular_signals::spec::SignalSpec;
use burn::tensor::{Device, Tensor, TensorData};
use cl_model::principal_directions;

/// What is behind an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arm {
    Trained,
    Frozen,
    Absent,
}

impl Arm {
    const ALL: [Self; 3] = [Self::Trained, Self::Frozen, Self::Absent];

    fn of(spec: &SignalSpec) -> Self {
        match &spec.model.projector {
            None => Self::Absent,
            Some(projector) if projector.frozen => Self::Frozen,
            Some(_) => Self::Trained,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Trained => "trained projector",
            Self::Frozen => "frozen projector",
            Self::Absent => "no projector",
        }
    }

    fn style(self) -> Style {
        Style::nth(self as usize)
    }
}

/// The evaluations of a point.
struct Point {
    arm: Arm,
    shift: f64,
    evaluations: Vec<SignalEvaluation>,
    /// Of the first seed.
    folder: RunFolder,
    seed: u64,
}

/// All figures of an experiment on signals on a circle.
///
/// # Errors
/// [`UserError`] when a complete run folder cannot be read.
pub fn figures(result: &ClaimResult) -> Result<Vec<Figure>, UserError> {
    let mut points = Vec::new();
    for point in &result.experiment.points {
        let Some(spec) = point.spec.get::<SignalSpec>() else { continue };
        let folders = point.seeds.iter().filter_map(|seed| {
            let folder = result.folders.get(&(point.name.clone(), *seed)).filter(|f| f.is_complete())?;
            Some((*seed, folder.clone()))
        });
        let folders: Vec<(u64, RunFolder)> = folders.collect();
        let Some((seed, folder)) = folders.first().cloned() else { continue };
        let evaluations = folders.iter().map(|(_, folder)| folder.evaluation()).collect::<Result<_, _>>()?;
        points.push(Point { arm: Arm::of(spec), shift: spec.views.shift, evaluations, folder, seed });
    }
    points.sort_by(|a, b| (a.arm, a.shift).partial_cmp(&(b.arm, b.shift)).expect("shifts are numbers"));
    let furthest = points.iter().map(|p| p.shift).fold(0.0, f64::max);
    let at_the_end: Vec<&Point> = points.iter().filter(|p| p.shift == furthest).collect();
    if at_the_end.is_empty() {
        return Ok(Vec::new());
    }
    let claim = &result.experiment.claim;
    Ok(vec![
        over_shifts(claim, &points),
        spectra(claim, &at_the_end),
        gains(claim, &at_the_end),
        orbits(claim, &at_the_end)?,
    ])
}

fn legend() -> Vec<Entry> {
    Arm::ALL.map(|arm| Entry::new(arm.words(), arm.style(), Swatch::Line)).into()
}

type Read = fn(&SignalEvaluation) -> Option<f64>;

fn over_shifts(claim: &str, points: &[Point]) -> Figure {
    let panels: [(&str, Read); 4] = [
        ("View distance of outputs over features", |e| e.outputs_over_features),
        ("Encoder's share of the way to invariance", |e| e.encoder_invariance),
        ("Effective rank of outputs over features", |e| e.rank_ratio),
        ("Phase read off features by a kernel, R²", |e| e.features.phase_kernel_r_squared),
    ];
    let mut shifts: Vec<f64> = points.iter().map(|p| p.shift).collect();
    shifts.sort_by(f64::total_cmp);
    shifts.dedup();
    let panels = panels.map(|(title, read)| {
        let curves: Vec<Curve> = Arm::ALL.map(|arm| over_shift(arm, points, read)).into();
        Panel {
            title: title.into(),
            size: PANEL,
            chart: Chart::Plot(Plot {
                x: Axis::log("shift s", shifts.iter().copied()).with_ticks(shifts.clone()),
                y: Axis::around("", curves.iter().flat_map(Curve::heights).chain([0.0, 1.0])),
                boxes: Vec::new(),
                curves,
                rules: Vec::new(),
            }),
        }
    });
    Figure {
        name: format!("{claim}-over-shifts"),
        caption: "Over the strength of the augmentation: how much closer the projector brings the two views of a signal than the encoder does; how much of the way from the \
                  signals to invariance the encoder goes by itself; the dimensions that outputs use beside features; and how well the phase is read off features. Lines join means \
                  over seeds, dots are single seeds."
            .into(),
        width: FIGURE_WIDTH,
        panels: panels.into(),
        legend: legend(),
    }
}

fn over_shift(arm: Arm, points: &[Point], read: Read) -> Curve {
    let here = || points.iter().filter(|p| p.arm == arm);
    let values = |p: &Point| p.evaluations.iter().filter_map(read).collect::<Vec<f64>>();
    Curve {
        dots: here().flat_map(|p| values(p).into_iter().map(|v| (p.shift, v))).collect(),
        has_markers: true,
        ..Curve::line(arm.style(), here().map(|p| (p.shift, mean(&values(p)))).collect())
    }
}

fn spectra(claim: &str, points: &[&Point]) -> Figure {
    let panel = |title: &str, read: fn(&SignalEvaluation) -> &StageEvaluation| {
        let curves: Vec<Curve> = points.iter().map(|p| spectrum(p, read)).collect();
        let most = curves.iter().flat_map(|c| c.line.iter().map(|(x, _)| *x)).fold(1.0, f64::max);
        Panel {
            title: title.into(),
            size: PANEL,
            chart: Chart::Plot(Plot {
                x: Axis::linear("singular value", 1.0, most),
                y: Axis::log("", curves.iter().flat_map(Curve::heights).map(|v| v.max(1e-5))),
                boxes: Vec::new(),
                curves,
                rules: Vec::new(),
            }),
        }
    };
    Figure {
        name: format!("{claim}-spectra"),
        caption: "Singular values of features and of outputs over their sum, at the largest shift. Lines are means over seeds, bands reach from the smallest to the largest."
            .into(),
        width: FIGURE_WIDTH,
        panels: vec![panel("Features", |e| &e.features), panel("Outputs", |e| &e.outputs)],
        legend: legend(),
    }
}

fn spectrum(point: &Point, read: fn(&SignalEvaluation) -> &StageEvaluation) -> Curve {
    let spectra: Vec<&Vec<f64>> = point.evaluations.iter().map(|e| &read(e).spectrum).collect();
    let count = spectra.iter().map(|s| s.len()).min().unwrap_or(0);
    let at = |i: usize| spectra.iter().map(|s| s[i]).collect::<Vec<f64>>();
    let ends =
        |values: &[f64]| values.iter().fold((f64::INFINITY, 0.0), |(l, h): (f64, f64), v| (l.min(*v), h.max(*v)));
    let x = |i: usize| (i + 1) as f64;
    Curve {
        band: (0..count).map(|i| (x(i), ends(&at(i)).0, ends(&at(i)).1)).collect(),
        ..Curve::line(point.arm.style(), (0..count).map(|i| (x(i), mean(&at(i)))).collect())
    }
}

fn gains(claim: &str, points: &[&Point]) -> Figure {
    let panel = |title: &str, read: fn(&SignalEvaluation) -> &Gains| {
        let rows: Vec<Row> = points
            .iter()
            .map(|point| {
                let values: Vec<f64> = point.evaluations.iter().filter_map(|e| read(e).code_over_phase).collect();
                let style = point.arm.style();
                let mark = Mark { style, bar: Some(mean(&values)), interval: None, dots: values.clone(), tick: None };
                Row { label: point.arm.words().into(), note: significant(mean(&values), 2), marks: vec![mark] }
            })
            .collect();
        let largest = rows.iter().flat_map(|row| row.marks.iter().flat_map(|mark| mark.dots.iter().copied()));
        let x = Axis::from_zero("code over phase", largest);
        let size = (FIGURE_WIDTH / 2, height_of_rows(&rows));
        Panel { title: title.into(), size, chart: Chart::Rows(Rows { x, rows, rules: Vec::new() }) }
    };
    Figure {
        name: format!("{claim}-gains"),
        caption: "How much more a change of the code is stretched than a change of the phase, squared, at the largest shift: by the projector, given what the encoder makes of \
                  both, and by the encoder. Bars are means over seeds, dots single seeds."
            .into(),
        width: FIGURE_WIDTH,
        panels: vec![panel("Projector", |e| &e.projector_gain), panel("Encoder", |e| &e.encoder_gain)],
        legend: Vec::new(),
    }
}

fn orbits(claim: &str, points: &[&Point]) -> Result<Figure, UserError> {
    let mut panels = Vec::new();
    for point in points.iter().filter(|p| p.arm != Arm::Absent) {
        for (words, name) in [("features", "orbit_features"), ("outputs", "orbit_outputs")] {
            let (shape, values) = point.folder.tensor("geometry.safetensors", name)?;
            let rows = Tensor::<2>::from_data(TensorData::new(values, shape), &Device::flex());
            panels.push(orbit_panel(format!("{}: {words}", point.arm.words()), rows));
        }
    }
    let seed = points.first().map_or(0, |p| p.seed);
    Ok(Figure {
        name: format!("{claim}-orbits"),
        caption: format!(
            "Six signals under all shifts, without noise, along the two leading principal directions of features and of outputs (seed {seed}): a colour for each signal. Where \
             its dots are in one place, the shift is gone."
        ),
        width: FIGURE_WIDTH,
        panels,
        legend: Vec::new(),
    })
}

fn orbit_panel(title: String, rows: Tensor<2>) -> Panel {
    let places = places(rows);
    let orbits = places
        .chunks(PHASES)
        .enumerate()
        .map(|(i, orbit)| Curve { dots: orbit.to_vec(), ..Curve::line(Style::nth(i), Vec::new()) });
    // One scale for both axes.
    let widest = places.iter().flat_map(|(x, y)| [x.abs(), y.abs()]).fold(1e-9, f64::max) * 1.05;
    let axis = || Axis::linear("", -widest, widest).bare();
    let plot = Plot { x: axis(), y: axis(), boxes: Vec::new(), curves: orbits.collect(), rules: Vec::new() };
    Panel { title, size: (FIGURE_WIDTH / 4, FIGURE_WIDTH / 4), chart: Chart::Plot(plot) }
}

/// Rows along their two leading principal directions; 0 along those that they do not span.
fn places(rows: Tensor<2>) -> Vec<(f64, f64)> {
    let [n, _] = rows.dims();
    let centred = rows.clone() - rows.mean_dim(0);
    if centred.clone().abs().max().into_scalar::<f64>() == 0.0 {
        return vec![(0.0, 0.0); n];
    }
    let directions = principal_directions(centred.clone(), 2).directions;
    let [count, _] = directions.dims();
    let along: Vec<f64> = centred.matmul(directions.transpose()).into_data().iter::<f64>().collect();
    along.chunks_exact(count).map(|p| (p[0], p.get(1).copied().unwrap_or(0.0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_span_fewer_than_two_directions_have_places() {
        let at = |rows: [[f32; 2]; 3]| places(Tensor::from_data(rows, &Device::flex()));
        assert_eq!(at([[3.0, 1.0]; 3]), [(0.0, 0.0); 3]);
        let on_a_line = at([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]);
        assert!(on_a_line.iter().zip([-1.0, 0.0, 1.0]).all(|((x, y), at)| (x - at).abs() < 1e-6 && *y == 0.0));
    }
}
