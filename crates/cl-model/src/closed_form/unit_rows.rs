//! Rows scaled to length 1, and the gradient back through that.

use super::elementwise;

/// Scales rows to length 1 and returns their lengths; rows of zeros are unchanged.
pub(super) fn scale_all_to_unit(rows: &mut [f32], columns: usize) -> Vec<f32> {
    rows.chunks_exact_mut(columns).map(scale_to_unit).collect()
}

/// Turns the gradient with respect to `units` into that with respect to the rows before scaling.
pub(super) fn through_units(gradient: &mut [f32], units: &[f32], norms: Option<Vec<f32>>, columns: usize) {
    let rows = gradient.chunks_exact_mut(columns).zip(units.chunks_exact(columns)).zip(norms.into_iter().flatten());
    rows.for_each(|((gradient, unit), norm)| unit_backward(gradient, unit, norm));
}

/// Scales a row to length 1 and returns the length; a row of zeros is unchanged.
pub(super) fn scale_to_unit(row: &mut [f32]) -> f32 {
    let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
    norm as f32
}

/// `(g − ⟨g, u⟩ u)/‖f‖`, in place; 0 where f is 0.
fn unit_backward(gradient: &mut [f32], unit: &[f32], norm: f32) {
    let along = elementwise::dot(gradient, unit);
    elementwise::add_scaled(gradient, -along, unit);
    elementwise::scale(gradient, if norm > 0.0 { 1.0 / norm } else { 0.0 });
}
