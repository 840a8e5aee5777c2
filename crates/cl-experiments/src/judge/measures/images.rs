//! Metrics of image runs, read off their evaluations.

use crate::io::undefined::or_nan;
use crate::tasks::images::evaluation::{ImageEvaluation, Scores};
use crate::tasks::images::training::ImageSnapshot;
use std::collections::BTreeMap;

/// The metrics of an image run, by the names that `expected.toml` uses.
pub fn metrics(evaluation: &ImageEvaluation, snapshots: &[ImageSnapshot]) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    let mut add_scores = |prefix: &str, scores: &Scores| {
        values.insert(format!("{prefix}knn_accuracy"), scores.knn.accuracy);
        values.insert(format!("{prefix}probe_accuracy"), scores.probe.accuracy);
        let [frequent, rare] = halves(&scores.probe.confusion);
        values.insert(format!("{prefix}probe_frequent_half"), frequent);
        values.insert(format!("{prefix}probe_rare_half"), rare);
    };
    add_scores("", &evaluation.last);
    add_scores("best_", &evaluation.best);
    if let Some(baselines) = &evaluation.baselines {
        add_scores("pixels_", &baselines.pixels);
        add_scores("untrained_", &baselines.untrained);
        for score in ["knn", "probe"] {
            let [trained, untrained] = ["", "untrained_"].map(|state| values[&format!("{state}{score}_accuracy")]);
            values.insert(format!("{score}_over_untrained"), trained - untrained);
        }
    }
    let snapshot_of = |step: u64| snapshots.iter().find(|s| s.step == step).and_then(|s| s.knn_accuracy);
    let best = evaluation.best.knn.accuracy - or_nan(snapshot_of(evaluation.best_step));
    values.insert("best_knn_minus_its_snapshot".into(), best);
    if let Some(last) = snapshots.last() {
        values.insert("knn_minus_last_snapshot".into(), evaluation.last.knn.accuracy - or_nan(last.knn_accuracy));
        values.extend(
            last.positive_similarity
                .zip(last.negative_similarity)
                .map(|(positive, negative)| ("similarity_gap".to_string(), positive - negative)),
        );
        values.insert("held_out_loss".into(), last.loss);
        values.extend(super::signals(last.outputs, last.view_distances, last.feature_rank, last.gradient_norm));
        values.extend(last.positive_similarity.map(|s| ("positive_similarity".to_string(), s)));
        values.extend(last.negative_similarity.map(|s| ("negative_similarity".to_string(), s)));
    }
    if let Some(analysis) = &evaluation.analysis {
        if let Some(layer) = analysis.layers.last() {
            values.insert("last_layer_zero_fraction".into(), layer.zero_fraction);
            values.insert("last_layer_density".into(), layer.density);
            values.insert("last_layer_color_selective_fraction".into(), layer.color_selective_fraction);
        }
        let fractions = &analysis.filter_color_fractions;
        if !fractions.is_empty() {
            values.insert("filter_color_fraction".into(), fractions.iter().sum::<f64>() / fractions.len() as f64);
        }
    }
    for direction in evaluation.directions.iter().flatten() {
        values.insert(format!("view_correlation:{}", direction.name), or_nan(direction.view_correlation));
        values.insert(format!("kept_r_squared:{}", direction.name), or_nan(direction.kept_r_squared));
    }
    for latent in evaluation.latents.iter().flatten() {
        values.insert(format!("kept_r_squared:{}", latent.name), or_nan(latent.kept_r_squared));
    }
    values
}

/// Mean over classes of the fraction that is told, over the first half of the classes, which has one more if their number is odd, and over the rest:
/// in a long tail the frequent and the rare ones. Classes without test images are left out.
fn halves(confusion: &[Vec<usize>]) -> [f64; 2] {
    let told = |(class, row): (usize, &Vec<usize>)| row[class] as f64 / row.iter().sum::<usize>() as f64;
    let of_class: Vec<f64> = confusion.iter().enumerate().map(told).collect();
    let (frequent, rare) = of_class.split_at(of_class.len().div_ceil(2));
    [frequent, rare].map(|half| {
        let told: Vec<f64> = half.iter().copied().filter(|t| t.is_finite()).collect();
        told.iter().sum::<f64>() / told.len() as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_means_over_classes() {
        let confusion = [vec![9, 1, 0], vec![0, 5, 5], vec![1, 1, 0]].to_vec();
        assert_eq!(halves(&confusion), [(0.9 + 0.5) / 2.0, 0.0]);
    }
}
