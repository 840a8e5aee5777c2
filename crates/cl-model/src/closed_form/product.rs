//! Products of row-major matrices in host memory, and work shared among threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Rows of a matrix that are transposed together.
const ROWS_OF_BAND: usize = 16;

/// `A`, `[rows, cols]`, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `rows · cols` values.
    pub values: &'a [f32],
    /// Columns, at least 1.
    pub cols: usize,
}

impl<'a> Rows<'a> {
    /// Wraps values that are laid out row by row.
    ///
    /// # Panics
    /// When they do not fill whole rows.
    pub fn new(values: &'a [f32], cols: usize) -> Self {
        assert!(cols > 0 && values.len().is_multiple_of(cols), "{} values in rows of {cols}", values.len());
        Self { values, cols }
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.values.len() / self.cols
    }

    pub(crate) fn row(&self, i: usize) -> &'a [f32] {
        &self.values[i * self.cols..(i + 1) * self.cols]
    }

    fn view(&self) -> MatRef<'a, f32> {
        MatRef::from_row_major_slice(self.values, self.count(), self.cols)
    }
}

/// `Aᵀ`, row by row.
pub(crate) fn transposed(a: Rows) -> Vec<f32> {
    let (rows, mut out) = (a.count(), vec![0.0; a.values.len()]);
    // As many rows at a time as numbers are in a cache line of what is written.
    for (band, values) in a.values.chunks(ROWS_OF_BAND * a.cols).enumerate() {
        for (j, row) in out.chunks_exact_mut(rows).enumerate() {
            let from = values[j..].iter().step_by(a.cols);
            row[band * ROWS_OF_BAND..].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
    out
}

/// `out = factor · A Bᵀ`.
pub(crate) fn times_transposed(a: Rows, b: Rows, factor: f32, out: &mut [f32]) {
    let out = MatMut::from_row_major_slice_mut(out, a.count(), b.count());
    matmul(out, Accum::Replace, a.view(), b.view().transpose(), factor, Par::Seq);
}

/// `out = A B`.
pub(crate) fn times(a: Rows, b: Rows, out: &mut [f32]) {
    let out = MatMut::from_row_major_slice_mut(out, a.count(), b.cols);
    matmul(out, Accum::Replace, a.view(), b.view(), 1.0, Par::Seq);
}

/// `out = Aᵀ B`.
pub(crate) fn transposed_times(a: Rows, b: Rows, out: &mut [f32]) {
    let out = MatMut::from_row_major_slice_mut(out, a.cols, b.cols);
    matmul(out, Accum::Replace, a.view().transpose(), b.view(), 1.0, Par::Seq);
}

/// `out += Aᵀ B`.
pub(crate) fn add_transposed_times(a: Rows, b: Rows, out: &mut [f32]) {
    let out = MatMut::from_row_major_slice_mut(out, a.cols, b.cols);
    matmul(out, Accum::Add, a.view().transpose(), b.view(), 1.0, Par::Seq);
}

/// `out += (columns from.. of A)ᵀ B`, as many columns as `out` has rows.
pub(crate) fn add_some_transposed_times(a: Rows, from: usize, b: Rows, out: &mut [f32]) {
    let count = out.len() / b.cols;
    let out = MatMut::from_row_major_slice_mut(out, count, b.cols);
    matmul(out, Accum::Add, a.view().subcols(from, count).transpose(), b.view(), 1.0, Par::Seq);
}

/// Executes tasks, on several threads if rayon has them. Tasks are split independently of the number of threads, so
/// that the results are the same for any.
pub(crate) fn for_each<T: Send>(tasks: Vec<T>, work: impl Fn(T) + Sync + Send) {
    if tasks.len() > 1 && rayon::current_num_threads() > 1 {
        tasks.into_par_iter().for_each(work);
    } else {
        tasks.into_iter().for_each(work);
    }
}
