//! Classification by nearest neighbours in feature space, and its confusions.

use crate::objectives::normalized;
use crate::probe::ProbeError;
use burn::tensor::Tensor;

/// Similarities held at a time: 32 MB.
const LARGEST_CHUNK: usize = 1 << 23;

/// Weighted k-nearest-neighbour classifier on cosine similarities (Wu et al. 2018).
///
/// Each of the k most similar training rows votes for its class with weight `exp(cos/τ)`. A row of zeros has similarity
/// 0 to all others. Among equally similar rows the earlier ones are nearer, and among classes with equal votes the
/// smaller one wins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KNearestNeighbors {
    /// `k` ≥ 1; if there are fewer training rows, all vote. Default 200.
    pub k: usize,
    /// `τ` > 0. Default 0.1.
    pub temperature: f64,
}

impl Default for KNearestNeighbors {
    /// The values of Wu et al. 2018.
    fn default() -> Self {
        Self { k: 200, temperature: 0.1 }
    }
}

impl KNearestNeighbors {
    /// The class of every test row.
    ///
    /// # Shapes
    /// Features `[n, m]` and `[t, m]`, labels of length n in 0..`num_classes`; the result has length t.
    ///
    /// # Errors
    /// [`ProbeError::NotFinite`] when a feature is not finite.
    ///
    /// # Panics
    /// When shapes differ, a label is too large, there is no training row, k is 0 or τ is not positive.
    pub fn predict(
        &self,
        train_features: Tensor<2>,
        train_labels: &[usize],
        test_features: Tensor<2>,
        num_classes: usize,
    ) -> Result<Vec<usize>, ProbeError> {
        let ([n, m], [t, test_m]) = (train_features.dims(), test_features.dims());
        assert_eq!(m, test_m, "training and test rows must have the same length");
        assert_eq!(train_labels.len(), n, "one label per training row");
        assert!(n > 0, "at least one training row");
        assert!(train_labels.iter().all(|l| *l < num_classes), "labels must be below {num_classes}");
        assert!(self.k > 0 && self.temperature > 0.0, "k and the temperature must be positive: {self:?}");
        let keys = unit_rows(train_features)?.transpose();
        let queries = unit_rows(test_features)?;
        let mut neighbours = Vec::with_capacity(n);
        let mut predicted = Vec::with_capacity(t);
        let chunk = (LARGEST_CHUNK / n).max(1);
        for from in (0..t).step_by(chunk) {
            let queries = queries.clone().slice_dim(0, from..(from + chunk).min(t));
            let similarities = queries.matmul(keys.clone()).into_data();
            let similarities = similarities.try_to_vec::<f32>().expect("similarities are single precision");
            for row in similarities.chunks_exact(n) {
                neighbours.clear();
                neighbours.extend(row.iter().copied().zip(0..));
                predicted.push(self.vote(&mut neighbours, train_labels, num_classes));
            }
        }
        Ok(predicted)
    }

    /// The class that the nearest of `neighbours`, similarities and rows, vote for.
    fn vote(&self, neighbours: &mut [(f32, u32)], labels: &[usize], num_classes: usize) -> usize {
        let k = self.k.min(neighbours.len());
        neighbours.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        // Relative to the nearest, so that no temperature causes an overflow.
        let nearest = neighbours[..k].iter().map(|(similarity, _)| *similarity).fold(f32::NEG_INFINITY, f32::max);
        let mut votes = vec![0.0; num_classes];
        for (similarity, row) in &neighbours[..k] {
            votes[labels[*row as usize]] += (f64::from(similarity - nearest) / self.temperature).exp();
        }
        // `max_by` returns the last among equals.
        (0..num_classes).rev().max_by(|a, b| votes[*a].total_cmp(&votes[*b])).unwrap_or(0)
    }
}

fn unit_rows(features: Tensor<2>) -> Result<Tensor<2>, ProbeError> {
    let features = features.detach();
    if !features.clone().is_finite().all().into_scalar::<bool>() {
        return Err(ProbeError::NotFinite);
    }
    Ok(normalized(features))
}

/// How often each true class, by row, was predicted as each class, by column.
///
/// # Panics
/// When lengths differ or a class is not below `num_classes`.
pub fn confusion_matrix(predicted: &[usize], truth: &[usize], num_classes: usize) -> Vec<Vec<usize>> {
    assert_eq!(predicted.len(), truth.len(), "one prediction per true class");
    let mut counts = vec![vec![0; num_classes]; num_classes];
    for (p, t) in predicted.iter().zip(truth) {
        counts[*t][*p] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{dot, norm};
    use crate::probe::accuracy;
    use burn::tensor::{Device, TensorData};

    fn rows(n: usize, m: usize, offset: usize) -> Vec<Vec<f64>> {
        let value = |i: usize| 2.0 * (i as f64 * 0.754_877_666).fract() - 1.0;
        (0..n).map(|r| (0..m).map(|c| value(offset + r * m + c + r * r)).collect()).collect()
    }

    fn tensor(rows: &[Vec<f64>]) -> Tensor<2> {
        let flat: Vec<f32> = rows.iter().flatten().map(|v| *v as f32).collect();
        Tensor::from_data(TensorData::new(flat, [rows.len(), rows[0].len()]), &Device::flex())
    }

    fn reference(knn: KNearestNeighbors, train: &[Vec<f64>], labels: &[usize], x: &[f64], classes: usize) -> usize {
        let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (norm(a) * norm(b));
        let mut neighbours: Vec<(f64, usize)> = train.iter().zip(labels).map(|(r, l)| (cosine(r, x), *l)).collect();
        neighbours.sort_by(|a, b| b.0.total_cmp(&a.0));
        let votes = |class| {
            let own = neighbours.iter().take(knn.k).filter(|(_, label)| *label == class);
            own.map(|(similarity, _)| (similarity / knn.temperature).exp()).sum::<f64>()
        };
        (0..classes).max_by(|a, b| votes(*a).total_cmp(&votes(*b))).unwrap()
    }

    #[test]
    fn predictions_equal_the_definition_for_any_k_and_temperature() {
        let (train, test) = (rows(60, 5, 0), rows(40, 5, 9_000));
        let labels: Vec<usize> = (0..60).map(|i| (i * i + 3 * i) % 4).collect();
        for k in [1, 2, 7, 59, 60, 1000] {
            for temperature in [0.01, 0.1, 10.0] {
                let knn = KNearestNeighbors { k, temperature };
                let found = knn.predict(tensor(&train), &labels, tensor(&test), 4).unwrap();
                let expected: Vec<usize> = test.iter().map(|x| reference(knn, &train, &labels, x, 4)).collect();
                assert_eq!(found, expected, "{knn:?}");
            }
        }
    }

    #[test]
    fn more_rows_than_fit_a_chunk_are_predicted_one_by_one() {
        // Four training rows along the axes repeated until two test rows no longer fit one chunk.
        let n = LARGEST_CHUNK / 2 + 4;
        let axes: Vec<f32> = (0..n).flat_map(|i| [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]][i % 4]).collect();
        let train = Tensor::from_data(TensorData::new(axes, [n, 2]), &Device::flex());
        let labels: Vec<usize> = (0..n).map(|i| i % 4).collect();
        let test = Tensor::from_data([[0.0, -2.0], [3.0, 1.0], [-1.0, 0.5]], &Device::flex());
        let knn = KNearestNeighbors { k: 3, temperature: 0.1 };
        assert_eq!(knn.predict(train, &labels, test, 4).unwrap(), [3, 0, 2]);
    }

    #[test]
    fn weights_follow_the_similarity() {
        // One neighbour at cosine 1 against two at cosine 0.8: e^{0.2/τ} beats 2 when τ < 0.2/log 2 = 0.289.
        let train = tensor(&[vec![1.0, 0.0], vec![0.8, 0.6], vec![0.8, -0.6]]);
        let test = tensor(&[vec![5.0, 0.0]]);
        for (temperature, expected) in [(0.28, 0), (0.3, 1), (1e-6, 0), (1e6, 1)] {
            let knn = KNearestNeighbors { k: 3, temperature };
            assert_eq!(knn.predict(train.clone(), &[0, 1, 1], test.clone(), 2).unwrap(), [expected]);
        }
    }

    #[test]
    fn a_row_of_zeros_is_as_near_to_all_and_the_earlier_rows_vote() {
        let train = tensor(&[vec![1.0, 0.0], vec![0.0, 1.0], vec![0.0, 0.0], vec![-1.0, 0.0]]);
        let knn = KNearestNeighbors { k: 1, temperature: 0.1 };
        let test = tensor(&[vec![0.0, 0.0]]);
        assert_eq!(knn.predict(train.clone(), &[2, 1, 0, 0], test.clone(), 3).unwrap(), [2]);
        // All four with equal weight: class 0 has two votes.
        let knn = KNearestNeighbors::default();
        assert_eq!(knn.predict(train, &[2, 1, 0, 0], test, 3).unwrap(), [0]);
    }

    #[test]
    fn features_that_are_not_finite_are_refused() {
        let knn = KNearestNeighbors::default();
        let (good, bad) = (tensor(&[vec![1.0]]), tensor(&[vec![f64::NAN]]));
        assert_eq!(knn.predict(good.clone(), &[0], bad.clone(), 1), Err(ProbeError::NotFinite));
        assert_eq!(knn.predict(bad, &[0], good, 1), Err(ProbeError::NotFinite));
    }

    #[test]
    fn the_confusion_matrix_has_true_classes_by_row() {
        let (predicted, truth) = ([0, 1, 1, 2, 0], [0, 1, 2, 2, 2]);
        assert_eq!(confusion_matrix(&predicted, &truth, 3), [[1, 0, 0], [0, 1, 0], [1, 1, 1]]);
        assert_eq!(accuracy(&predicted, &truth), 0.6);
    }
}
