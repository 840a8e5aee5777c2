//! Neurons against features at the end of a run.

use super::super::axis::Axis;
use super::super::chart::{Bin, Chart, Curve, Figure, Heat, PANEL, Panel, Plot};
use super::super::palette::Style;
use super::super::series::{Runs, mean};
use super::in_words;
use crate::io::error::UserError;
use crate::tasks::sparse_coding::evaluation::Evaluation;
use cl_model::features::FeatureMeasures;

/// Per point: `|cos(w_i, M_j)|` of the first seed, `|N_i|`, and neurons per feature.
pub fn figure(claim: &str, runs: &[Runs]) -> Result<Option<Figure>, UserError> {
    let mut panels = Vec::new();
    for runs in runs {
        let Some((seed, ..)) = runs.seeds.first() else { continue };
        let title = format!("|cos(wᵢ, Mⱼ)|: {}, seed {seed}", in_words(&runs.point));
        panels.push(Panel {
            title,
            size: (PANEL.0, 380),
            chart: Chart::Heat(alignment(runs, true, Some("|cos(wᵢ, Mⱼ)|"))?),
        });
        let measures: Vec<FeatureMeasures> = runs
            .seeds
            .iter()
            .map(|(_, folder, _)| folder.evaluation().map(|e: Evaluation| e.features))
            .collect::<Result<_, _>>()?;
        let members: Vec<Vec<usize>> = measures.iter().map(|m| m.membership_histogram.clone()).collect();
        panels.push(Panel {
            title: format!("How many features a neuron uses: {}", in_words(&runs.point)),
            size: (PANEL.0, 380),
            chart: histogram("|Nᵢ|, features with |αᵢⱼ| ≥ ‖wᵢ‖/4", "neurons", &members, runs.style),
        });
        panels.push(Panel {
            title: format!("How many neurons use a feature: {}", in_words(&runs.point)),
            size: (PANEL.0, 380),
            chart: neurons_per_feature(&measures, runs.style),
        });
    }
    if panels.is_empty() {
        return Ok(None);
    }
    Ok(Some(Figure {
        name: format!("{claim}-neurons"),
        caption: "Alignment of every neuron with every feature: each feature's best neuron comes first, so that \
                  features with a neuron of their own form a diagonal, then the other neurons by the feature that they \
                  fit best. Then how many features a neuron uses, and how many neurons use a feature; boxes are means \
                  over seeds, dots single seeds."
            .into(),
        width: 3 * PANEL.0,
        panels,
        legend: Vec::new(),
    }))
}

/// The alignment of neurons and features of a point's first seed; neurons run along `x` if `is_lying`.
pub fn alignment(runs: &Runs, is_lying: bool, scale: Option<&str>) -> Result<Heat, UserError> {
    let (seed, folder, _) = &runs.seeds[0];
    let weights = folder.weights()?;
    let model = runs.spec.data.model(*seed);
    let features: Vec<Vec<f64>> =
        model.dictionary().features().iter_rows().map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect();
    let cosines: Vec<Vec<f64>> = weights.iter().map(|w| features.iter().map(|f| cosine(w, f)).collect()).collect();
    let order = diagonal_order(&cosines);
    let sorted: Vec<&Vec<f64>> = order.iter().map(|i| &cosines[*i]).collect();
    let (m, d) = (sorted.len(), features.len());
    let (neurons, features) = ("neuron, sorted", "feature");
    let cells = if is_lying {
        (0..d).map(|j| (0..m).map(|i| Some(sorted[i][j])).collect()).collect()
    } else {
        (0..m).map(|i| (0..d).map(|j| Some(sorted[i][j])).collect()).collect()
    };
    let (x, y) = if is_lying {
        (Axis::indices(neurons, m), Axis::indices(features, d))
    } else {
        (Axis::indices(features, d), Axis::indices(neurons, m))
    };
    Ok(Heat { x, y: y.counted_from_top(), cells, ends: (0.0, 1.0), has_numbers: false, scale: scale.map(String::from) })
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b).abs() / lengths } else { 0.0 }
}

/// An order of neurons in which the first ones lie along the diagonal: pairs of neuron and feature are taken by
/// decreasing cosine, each neuron and feature once. The other neurons follow, ordered by their best-fitting feature.
pub fn diagonal_order(cosines: &[Vec<f64>]) -> Vec<usize> {
    let d = cosines.first().map_or(0, Vec::len);
    let mut pairs: Vec<(usize, usize)> = (0..cosines.len()).flat_map(|i| (0..d).map(move |j| (i, j))).collect();
    pairs.sort_by(|a, b| cosines[b.0][b.1].total_cmp(&cosines[a.0][a.1]));
    let mut neuron_of: Vec<Option<usize>> = vec![None; d];
    let mut is_taken = vec![false; cosines.len()];
    for (i, j) in pairs {
        if !is_taken[i] && neuron_of[j].is_none() {
            is_taken[i] = true;
            neuron_of[j] = Some(i);
        }
    }
    let best = |i: &usize| {
        let of = |j: usize| cosines[*i][j];
        (0..d).max_by(|a, b| of(*a).total_cmp(&of(*b))).map_or((0, 0.0), |j| (j, -of(j)))
    };
    let mut rest: Vec<usize> = (0..cosines.len()).filter(|i| !is_taken[*i]).collect();
    rest.sort_by(|a, b| best(a).0.cmp(&best(b).0).then(best(a).1.total_cmp(&best(b).1)));
    neuron_of.into_iter().flatten().chain(rest).collect()
}

/// Means of counts over seeds as boxes, single seeds as dots.
fn histogram(x: &str, y: &str, counts: &[Vec<usize>], style: Style) -> Chart {
    let last = |c: &Vec<usize>| c.iter().rposition(|n| *n > 0).unwrap_or(0);
    let bins = counts.iter().map(last).max().unwrap_or(0).max(5) + 1;
    let at = |c: &Vec<usize>, k: usize| c.get(k).copied().unwrap_or(0) as f64;
    let boxes: Vec<Bin> = (0..bins)
        .map(|k| {
            let height = mean(&counts.iter().map(|c| at(c, k)).collect::<Vec<_>>());
            Bin { from_to: (k as f64 - 0.4, k as f64 + 0.4), height, style }
        })
        .collect();
    let dots = counts.iter().enumerate().flat_map(|(s, c)| {
        let shift = 0.5 * ((s as f64 + 0.5) / counts.len() as f64 - 0.5);
        (0..bins).map(move |k| (k as f64 + shift, at(c, k)))
    });
    let dots: Vec<(f64, f64)> = dots.filter(|(_, n)| *n > 0.0).collect();
    let every = bins.div_ceil(10);
    let x = Axis::linear(x, -0.6, bins as f64 - 0.4).with_ticks((0..bins).step_by(every).map(|k| k as f64));
    let heights = dots.iter().map(|(_, n)| *n);
    Chart::Plot(Plot {
        x,
        y: Axis::from_zero(y, heights),
        boxes,
        curves: vec![Curve { dots, width: 0, ..Curve::line(Style::plain(super::super::palette::INK), Vec::new()) }],
        rules: Vec::new(),
    })
}

/// How many features are used by each number of neurons.
fn neurons_per_feature(measures: &[FeatureMeasures], style: Style) -> Chart {
    let count = |m: &FeatureMeasures| {
        let mut counts = vec![0; m.neurons_per_feature.iter().max().map_or(1, |n| n + 1)];
        m.neurons_per_feature.iter().for_each(|n| counts[*n] += 1);
        counts
    };
    histogram("neurons that use a feature", "features", &measures.iter().map(count).collect::<Vec<_>>(), style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singletons_form_a_diagonal_and_the_rest_follows_by_its_best_feature() {
        let cosines = vec![
            vec![0.1, 0.2, 0.95],
            vec![0.3, 0.3, 0.31],
            vec![0.9, 0.1, 0.1],
            vec![0.85, 0.1, 0.1],
            vec![0.1, 0.99, 0.1],
        ];
        assert_eq!(diagonal_order(&cosines), [2, 4, 0, 3, 1]);
    }

    #[test]
    fn each_neuron_is_placed_once_even_when_there_are_fewer_than_features() {
        assert_eq!(diagonal_order(&[vec![0.5, 0.9, 0.2]]), [0]);
        assert!(diagonal_order(&[]).is_empty());
    }

    #[test]
    fn a_neuron_without_weights_is_aligned_with_nothing() {
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }
}
