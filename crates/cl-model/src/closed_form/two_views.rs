//! Outputs of two views without negatives.

use super::product::Rows;

/// F and G, `[B, m]` each.
pub(super) struct TwoViews<'a> {
    pub first: Rows<'a>,
    pub second: Rows<'a>,
    /// What they are compared with, where that is something else.
    pub targets: Option<[Rows<'a>; 2]>,
}

impl<'a> TwoViews<'a> {
    /// # Panics
    /// When there are fewer than `least` pairs, or rows beside the two views.
    pub fn of(outputs: &'a [f32], columns: usize, batch_size: usize, least: usize) -> Self {
        assert!(batch_size >= least, "a batch has {least} pairs or more, not {batch_size}");
        let views = Self::with_targets(outputs, columns, batch_size);
        assert!(views.targets.is_none(), "two views of {batch_size} samples, without negatives or targets");
        views
    }

    /// # Panics
    /// When there are no pairs, or rows beside two views and their targets.
    pub fn with_targets(outputs: &'a [f32], columns: usize, batch_size: usize) -> Self {
        assert!(batch_size >= 1, "a batch has a pair or more");
        let rows = outputs.len() / (batch_size * columns);
        let is_whole = outputs.len() == rows * batch_size * columns;
        assert!(is_whole && (rows == 2 || rows == 4), "two views of {batch_size} samples, without negatives");
        let mut rows = outputs.chunks_exact(batch_size * columns).map(|view| Rows::new(view, columns));
        let mut next = || rows.next();
        let (first, second) = (next().expect("two views"), next().expect("two views"));
        Self { first, second, targets: next().zip(next()).map(|(first, second)| [first, second]) }
    }
}

/// Columns of a view over the batch.
pub(super) struct Columns {
    /// The view without its means, row by row.
    pub centred: Vec<f32>,
    /// Sums of squares of the centred columns.
    pub squares: Vec<f64>,
}

impl Columns {
    pub fn of(view: Rows) -> Self {
        let (n, m) = (view.count() as f64, view.cols);
        let mut means = vec![0.0f64; m];
        for row in view.values.chunks_exact(m) {
            means.iter_mut().zip(row).for_each(|(mean, v)| *mean += f64::from(*v) / n);
        }
        let mut centred = view.values.to_vec();
        let mut squares = vec![0.0; m];
        for row in centred.chunks_exact_mut(m) {
            for ((v, mean), square) in row.iter_mut().zip(&means).zip(&mut squares) {
                let difference = f64::from(*v) - mean;
                *square += difference * difference;
                *v = difference as f32;
            }
        }
        Self { centred, squares }
    }
}
