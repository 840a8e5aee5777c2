//! Products with a matrix most of whose entries are 0, as outputs are once neurons have found their features.
//!
//! What an entry of 0 would multiply is not looked at: 0 · ∞ adds nothing here.

use super::elementwise::add_combinations;
use super::product::Rows;

/// One entry in so many, at most, may differ from 0: with more of them dense products are as fast.
const SPARSITY: usize = 8;

/// The entries of each row of a matrix that differ from 0, in the order of columns.
pub(super) struct SparseRows {
    /// Where the entries of each row begin, and where those of the last one end.
    starts: Vec<usize>,
    /// Column and value.
    entries: Vec<(usize, f32)>,
    /// Columns.
    cols: usize,
}

impl SparseRows {
    /// Of `A`; `None` if too many entries differ from 0 for that to be faster.
    pub fn new(a: Rows) -> Option<Self> {
        let count = a.values.iter().map(|value| u32::from(*value != 0.0)).sum::<u32>() as usize;
        if count * SPARSITY > a.values.len() {
            return None;
        }
        let (mut starts, mut entries) = (Vec::with_capacity(a.count() + 1), Vec::with_capacity(count));
        for row in a.values.chunks_exact(a.cols) {
            starts.push(entries.len());
            entries.extend(row.iter().copied().enumerate().filter(|(_, value)| *value != 0.0));
        }
        starts.push(entries.len());
        Some(Self { starts, entries, cols: a.cols })
    }

    /// Of `Aᵀ`; `None` if too many entries differ from 0 for that to be faster.
    pub fn transposed(a: Rows) -> Option<Self> {
        let of_rows = Self::new(a)?;
        let mut starts = vec![0; a.cols + 1];
        of_rows.entries.iter().for_each(|(column, _)| starts[column + 1] += 1);
        for column in 0..a.cols {
            starts[column + 1] += starts[column];
        }
        let mut entries = vec![(0, 0.0); of_rows.entries.len()];
        let mut next = starts.clone();
        for (i, ends) in of_rows.starts.windows(2).enumerate() {
            for (column, value) in &of_rows.entries[ends[0]..ends[1]] {
                entries[next[*column]] = (i, *value);
                next[*column] += 1;
            }
        }
        Some(Self { starts, entries, cols: a.count() })
    }

    /// `out += S B`, for as many rows of this matrix S, from `first` on, as `out` has.
    ///
    /// # Panics
    /// When shapes do not match.
    pub fn add_times(&self, first: usize, b: Rows, out: &mut [f32]) {
        assert_eq!(b.count(), self.cols, "the inner dimensions must match");
        assert!(
            Rows::new(out, b.cols).count() < self.starts.len() - first,
            "there must be as many rows as are asked for"
        );
        let rows = self.starts[first..].windows(2).map(|ends| &self.entries[ends[0]..ends[1]]);
        add_combinations(out.chunks_exact_mut(b.cols).zip(rows), b);
    }
}

#[cfg(test)]
mod tests {
    use super::super::product::{add_transposed_times, times_transposed, transposed};
    use super::*;

    /// Numbers that are multiples of 1/16, so that sums are exact in any order; one in `every` differs from 0.
    fn sparse(count: usize, every: usize) -> Vec<f32> {
        (0..count).map(|i| if i % every == 0 { (i % 23) as f32 / 8.0 - 1.3125 } else { 0.0 }).collect()
    }

    #[test]
    fn products_equal_those_of_dense_matrices() {
        for (rows, inner, columns, every) in
            [(1, 9, 1, 9), (5, 16, 7, 9), (40, 33, 130, 8), (64, 128, 35, 31), (3, 8, 5, 99)]
        {
            let (a, b) = (sparse(rows * inner, every), sparse(inner * columns, 1));
            let mut dense = vec![0.0; rows * columns];
            let b_transposed = transposed(Rows::new(&b, columns));
            times_transposed(Rows::new(&a, inner), Rows::new(&b_transposed, inner), 1.0, &mut dense);
            let mut found = vec![0.0; rows * columns];
            SparseRows::new(Rows::new(&a, inner)).unwrap().add_times(0, Rows::new(&b, columns), &mut found);
            assert_eq!(found, dense, "{rows} × {inner} × {columns}");

            let c = sparse(rows * columns, 1);
            let (mut dense, mut found) = (vec![1.0; inner * columns], vec![1.0; inner * columns]);
            add_transposed_times(Rows::new(&a, inner), Rows::new(&c, columns), &mut dense);
            let of_columns = SparseRows::transposed(Rows::new(&a, inner)).unwrap();
            let half = inner / 2;
            let (upper, lower) = found.split_at_mut(half * columns);
            of_columns.add_times(half, Rows::new(&c, columns), lower);
            of_columns.add_times(0, Rows::new(&c, columns), upper);
            assert_eq!(found, dense, "transposed, {rows} × {inner} × {columns}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_an_entry_and_many_entries_are_not_sparse() {
        let mut a = vec![0.0; 20];
        a[13] = f32::NAN;
        let mut out = vec![0.0; 8];
        SparseRows::new(Rows::new(&a, 5)).unwrap().add_times(0, Rows::new(&[1.0; 10], 2), &mut out);
        assert!(out[4].is_nan() && out[5].is_nan() && out[..4].iter().all(|v| *v == 0.0));
        for every in 1..8 {
            let a = sparse(168, every);
            assert!(SparseRows::new(Rows::new(&a, 7)).is_none() && SparseRows::transposed(Rows::new(&a, 7)).is_none());
        }
    }
}
