//! The contrastive loss as a function of embeddings, and its gradient, a block of queries at a time.
//!
//! The matrix of similarities never exists as a whole: a block of its rows is computed, turned into the weights of the
//! gradient in place, and consumed.

use super::elementwise::{add_scaled, dot, exponentials, scale};
use super::product::{Rows, add_transposed_times, for_each, times, times_transposed, transposed};
use super::sparse::SparseRows;

/// Similarities held at a time by one thread, 512 KiB of them, unless a single row has more.
pub(super) const BLOCK_ENTRIES: usize = 1 << 17;

/// Blocks that queries are split into at least, for threads to share.
const BLOCKS: usize = 4;

/// `c/B Σ_i ( r log Σ_j e^{⟨q_i, o_j⟩/τ} − ⟨q_i, k_i⟩/τ )`.
pub(super) struct Contrast<'a> {
    /// `q`, `[B, m]`.
    pub queries: Rows<'a>,
    /// `o`, `[N, m]`.
    pub others: Rows<'a>,
    /// `k`.
    pub positives: Positives<'a>,
    /// `τ`.
    pub temperature: f64,
    /// `c`.
    pub factor: f64,
    /// `r`.
    pub repulsion: f64,
}

/// Where the key `k_i` of query `i` is.
pub(super) enum Positives<'a> {
    /// Row `i` of a matrix of its own, counted in the sum in addition to the others.
    Apart(Rows<'a>),
    /// Row `i` of the others.
    AmongOthers,
    /// Row `i + N/2` (modulo N) of the others, which are the queries themselves; `j = i` is left out of the sum.
    OtherView {
        /// Whether `k_i` itself is in the sum.
        is_counted: bool,
    },
}

/// Value and gradients.
pub(super) struct Contrasted {
    /// The mean over queries.
    pub loss: f64,
    /// With respect to the queries, `[B, m]`.
    pub queries: Vec<f32>,
    /// With respect to separate keys (`[B, m]`, else empty) and others (`[N, m]`), if requested.
    pub keys_and_others: Option<(Vec<f32>, Vec<f32>)>,
}

impl Contrast<'_> {
    /// Loss and gradients; those of keys and others only if `has_key_gradient`.
    pub fn evaluate(&self, has_key_gradient: bool) -> Contrasted {
        let (b, m) = (self.queries.count(), self.queries.cols);
        let rows = (BLOCK_ENTRIES / self.others.count()).clamp(1, b.div_ceil(BLOCKS));
        let mut losses = vec![0.0; b];
        let mut queries = vec![0.0; b * m];
        let sparse = SparseOutputs::of(self);
        let blocks = losses.chunks_mut(rows).zip(queries.chunks_mut(rows * m)).enumerate();
        let keys_and_others = if has_key_gradient {
            let apart = if let Positives::Apart(keys) = &self.positives { keys.values.len() } else { 0 };
            let mut gradient = (vec![0.0; apart], vec![0.0; self.others.values.len()]);
            for (index, (losses, queries)) in blocks {
                self.block(index * rows, losses, queries, &sparse, Some(&mut gradient));
            }
            Some(gradient)
        } else {
            for_each(blocks.collect(), |(index, (losses, queries))| {
                self.block(index * rows, losses, queries, &sparse, None);
            });
            None
        };
        let loss = self.factor * losses.iter().sum::<f64>() / b as f64;
        Contrasted { loss, queries, keys_and_others }
    }

    /// Queries `first..first + losses.len()`.
    fn block(
        &self,
        first: usize,
        losses: &mut [f64],
        gradient: &mut [f32],
        sparse: &SparseOutputs,
        keys_and_others: Option<&mut (Vec<f32>, Vec<f32>)>,
    ) {
        let (n, m) = (self.others.count(), self.queries.cols);
        let queries = Rows::new(&self.queries.values[first * m..(first + losses.len()) * m], m);
        let mut weights = vec![0.0; losses.len() * n];
        let scale_of_logits = (1.0 / self.temperature) as f32;
        match &sparse.queries {
            Some((sparse, others)) => {
                sparse.add_times(first, Rows::new(others, n), &mut weights);
                scale(&mut weights, scale_of_logits);
            }
            None => times_transposed(queries, self.others, scale_of_logits, &mut weights),
        }
        let unit = self.factor / (self.temperature * self.queries.count() as f64);
        let mut weights_apart = Vec::new();
        for (i, (row, loss)) in weights.chunks_exact_mut(n).zip(losses).enumerate() {
            let (positive, place) = match &self.positives {
                Positives::Apart(keys) => {
                    let similarity = dot(queries.row(i), keys.row(first + i));
                    ((f64::from(similarity) / self.temperature) as f32, None)
                }
                Positives::AmongOthers => (row[first + i], Some(first + i)),
                Positives::OtherView { is_counted } => {
                    let place = (first + i + n / 2) % n;
                    row[first + i] = f32::NEG_INFINITY;
                    let positive = row[place];
                    if !is_counted {
                        row[place] = f32::NEG_INFINITY;
                    }
                    (positive, Some(place))
                }
            };
            // A positive that is not in the sum does not decide what the sum is relative to.
            let at_least = if place.is_none() { positive } else { f32::NEG_INFINITY };
            let (max, mut sum) = exponentials(row, at_least);
            let apart = if place.is_none() { (positive - max).exp() } else { 0.0 };
            sum += apart;
            *loss = self.repulsion * (f64::from(sum).ln() + f64::from(max)) - f64::from(positive);
            scale(row, (self.repulsion * unit / f64::from(sum)) as f32);
            match place {
                Some(place) => row[place] -= unit as f32,
                None => weights_apart.push((unit * (self.repulsion * f64::from(apart / sum) - 1.0)) as f32),
            }
        }
        let weights = Rows::new(&weights, n);
        match &sparse.others {
            Some(others) => {
                // P o = (oᵀ Pᵀ)ᵀ, for what is sparse has to come first.
                let mut columns = vec![0.0; gradient.len()];
                let b = gradient.len() / m;
                others.add_times(0, Rows::new(&transposed(weights), b), &mut columns);
                gradient.copy_from_slice(&transposed(Rows::new(&columns, b)));
            }
            None => times(weights, self.others, gradient),
        }
        if let Positives::Apart(keys) = &self.positives {
            for (i, (row, weight)) in gradient.chunks_exact_mut(m).zip(&weights_apart).enumerate() {
                add_scaled(row, *weight, keys.row(first + i));
            }
        }
        if let Some((keys, others)) = keys_and_others {
            add_transposed_times(weights, queries, others);
            for (i, (row, weight)) in keys.chunks_exact_mut(m).skip(first).zip(&weights_apart).enumerate() {
                add_scaled(row, *weight, queries.row(i));
            }
        }
    }
}

/// Queries and others, where few of their entries differ from 0.
struct SparseOutputs {
    /// With `oᵀ`, `[m, N]`, which their products with the others are made of.
    queries: Option<(SparseRows, Vec<f32>)>,
    /// `oᵀ`.
    others: Option<SparseRows>,
}

impl SparseOutputs {
    fn of(contrast: &Contrast) -> Self {
        let queries = SparseRows::new(contrast.queries).map(|queries| (queries, transposed(contrast.others)));
        Self { queries, others: SparseRows::transposed(contrast.others) }
    }
}
