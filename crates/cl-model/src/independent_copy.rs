//! Copies of modules that share nothing with what they were copied from.
//!
//! `clone` does not make one: clones of a batch normalisation share their running statistics, and training a clone,
//! mapping it or loading a record into it writes through to all of them. The tests below pin this down.

use burn::module::Module;

/// A copy of `module` that shares no state with it: `blank` with the parameters and running statistics of `module`.
///
/// `blank` is created from the same configuration; it determines the copy's device and whether it takes gradients.
///
/// # Panics
/// When the shapes of parameters differ.
pub fn independent_copy<M: Module>(module: &M, blank: M) -> M {
    settle_running_statistics(module);
    blank.load_record(module.clone().into_record())
}

/// Brings a module's running statistics up to date; to be called before it is saved.
///
/// Burn keeps the last update aside until the next forward pass on the same thread, and a saved module does not contain
/// it: a run that resumes from there would be one update behind.
pub fn settle_running_statistics(module: &impl Module) {
    // Switching to inference settles them in place, for all that share them.
    module.valid();
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{BatchNorm, BatchNormConfig};
    use burn::tensor::{Device, Tensor};

    fn norm(device: &Device) -> BatchNorm {
        BatchNormConfig::new(1).init(device)
    }

    /// One step of training, after which the running mean is a tenth of the way to 3.
    fn pass(norm: &BatchNorm) {
        let device = norm.gamma.val().device();
        norm.forward(Tensor::<2>::from_data([[1.0], [5.0]], &device));
        settle_running_statistics(norm);
    }

    fn mean(norm: &BatchNorm) -> f32 {
        norm.running_mean.value().into_scalar()
    }

    /// The pitfall. If a version of Burn fixes it, this test will say so.
    #[test]
    fn clones_of_a_batch_normalisation_share_their_running_statistics() {
        let device = Device::flex().autodiff();
        let trained = norm(&device);
        pass(&trained);
        let (original, clone) = (norm(&device), trained.clone());
        pass(&clone);
        assert_eq!(mean(&trained), mean(&clone), "training a clone trains the original");
        assert!(mean(&trained) > 0.5, "two passes of a tenth of 3 each");
        let before = mean(&trained);
        let loaded = trained.clone().load_record(original.into_record());
        assert_eq!(mean(&loaded), 0.0);
        assert_eq!(mean(&trained), 0.0, "loading into a clone loads into the original, where {before} was");
    }

    #[test]
    fn an_independent_copy_neither_moves_with_the_original_nor_moves_it() {
        let device = Device::flex().autodiff();
        let original = norm(&device);
        pass(&original);
        let copy = independent_copy(&original, norm(&device));
        assert_eq!(mean(&copy), mean(&original));
        pass(&original);
        let moved = mean(&original);
        assert!(mean(&copy) < 0.31 && moved > 0.5);
        pass(&copy);
        pass(&copy);
        assert_eq!(mean(&original), moved);
        // The module for inference is an independent copy as well.
        let valid = original.valid();
        pass(&original);
        assert_eq!(mean(&valid), moved);
    }

    /// A pending update is in the copy, and is not applied twice.
    #[test]
    fn the_last_update_is_in_the_copy() {
        let device = Device::flex().autodiff();
        let original = norm(&device);
        original.forward(Tensor::<2>::from_data([[1.0], [5.0]], &device));
        let copy = independent_copy(&original, norm(&device));
        assert!((mean(&copy) - 0.3).abs() < 1e-6 && mean(&copy) == mean(&original), "{}", mean(&copy));
    }

    #[test]
    fn settled_statistics_are_those_of_the_last_forward_pass() {
        let device = Device::flex().autodiff();
        let norm = norm(&device);
        norm.forward(Tensor::<2>::from_data([[1.0], [5.0]], &device));
        settle_running_statistics(&norm);
        // A tenth of the way from 0 to the mean, 3, and from 1 to the biased variance, 4.
        let values = (mean(&norm), norm.running_var.value().into_scalar::<f32>());
        assert!((values.0 - 0.3).abs() < 1e-6 && (values.1 - 1.3).abs() < 1e-6, "{values:?}");
    }
}
