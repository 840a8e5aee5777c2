//! The supervised baseline: the same encoder under a linear head.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// Mean cross-entropy, `[1]`, of logits `[n, K]` against classes `[n]` in 0..K.
///
/// Wen & Li 2021, abstract, question 2: supervised learning finds the sparse features without
/// augmentation. The logits are a linear head on `f(x)`.
///
/// # Panics
/// When the numbers of rows differ.
pub fn cross_entropy(logits: Tensor<2>, classes: Tensor<1, Int>) -> Tensor<1> {
    let [n, _] = logits.dims();
    assert_eq!(classes.dims(), [n], "one class per row");
    log_softmax(logits, 1).gather(1, classes.reshape([n, 1])).mean().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn two_classes_give_the_logistic_loss() {
        let device = Device::flex();
        let logits = Tensor::from_data([[0.0, 1.0], [0.0, 1.0]], &device);
        let classes = Tensor::from_data([1, 0], &device);
        let expected = 0.5 * ((-1f64).exp().ln_1p() + 1f64.exp().ln_1p());
        assert!((cross_entropy(logits, classes).into_scalar::<f64>() - expected).abs() < 1e-6);
    }
}
