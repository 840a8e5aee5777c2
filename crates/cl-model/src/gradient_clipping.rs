//! How long gradients are, and gradients no longer than a bound.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Scales the gradient of all parameters together to length `most` where it is longer: `g ← g min(1, most/‖g‖)`, with the norm over all
/// parameters that have a gradient. Directions stay; a single heavy-tailed batch changes what an optimizer is given by no more than `most`.
pub fn clip_to_norm(gradients: GradientsParams, module: &impl Module, most: f64) -> GradientsParams {
    let Some(norm) = gradient_norm(&gradients, module) else { return gradients };
    // On the device: no step waits for a number to come back. A gradient of 0 stays.
    let factor = (norm.clamp_min(f64::from(f32::MIN_POSITIVE)).recip() * most).clamp_max(1.0);
    let mut scaling = Scaling { gradients, factor };
    module.visit(&mut scaling);
    scaling.gradients
}

/// Euclidean norm of the gradient of all parameters of a module in training together, `[1]`; `None` if none has a gradient.
pub fn gradient_norm(gradients: &GradientsParams, module: &impl Module) -> Option<Tensor<1>> {
    let mut sum = SumOfSquares { gradients, sum: None };
    module.visit(&mut sum);
    sum.sum.map(Tensor::sqrt)
}

struct SumOfSquares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // What a step leaves for state that is not trained is no gradient.
        if let Some(gradient) = self.gradients.get::<D>(param.id).filter(|_| param.is_require_grad()) {
            let squares = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
}

struct Scaling {
    gradients: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scaling {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.is_require_grad().then(|| self.gradients.remove::<D>(param.id)).flatten();
        if let Some(gradient) = gradient {
            self.gradients.register(param.id, gradient * self.factor.clone().reshape([1; D]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[derive(Module, Debug)]
    struct Two {
        matrix: Param<Tensor<2>>,
        vector: Param<Tensor<1>>,
    }

    /// Gradients (3, 0; 0, 0) and (0, 4), times a scale: of length 5 together.
    fn gradients(scale: f64) -> (GradientsParams, Two) {
        let device = Device::flex().autodiff();
        let module = Two {
            matrix: Param::from_tensor(Tensor::ones([2, 2], &device)),
            vector: Param::from_tensor(Tensor::ones([2], &device)),
        };
        let weights = Tensor::<2>::from_data([[3.0, 0.0], [0.0, 0.0]], &device);
        let loss = (module.matrix.val() * weights).sum()
            + (module.vector.val() * Tensor::<1>::from_data([0.0, 4.0], &device)).sum();
        (GradientsParams::from_grads((loss * scale).backward(), &module), module)
    }

    fn clipped(most: f64, scale: f64) -> (Vec<f32>, Vec<f32>) {
        let (gradients, module) = gradients(scale);
        let gradients = clip_to_norm(gradients, &module, most);
        let read = |data: burn::tensor::TensorData| data.try_to_vec::<f32>().unwrap();
        (
            read(gradients.get::<2>(module.matrix.id).unwrap().into_data()),
            read(gradients.get::<1>(module.vector.id).unwrap().into_data()),
        )
    }

    #[test]
    fn norms_are_over_all_parameters() {
        let (all, module) = gradients(2.0);
        assert!((gradient_norm(&all, &module).unwrap().into_scalar::<f32>() - 10.0).abs() < 1e-5);
        assert!(gradient_norm(&GradientsParams::new(), &module).is_none());
    }

    #[test]
    fn long_gradients_are_scaled_as_a_whole_and_short_ones_stay() {
        let (matrix, vector) = clipped(1.0, 1.0);
        assert!((matrix[0] - 0.6).abs() < 1e-6 && (vector[1] - 0.8).abs() < 1e-6, "{matrix:?} {vector:?}");
        assert_eq!(clipped(5.5, 1.0), (vec![3.0, 0.0, 0.0, 0.0], vec![0.0, 4.0]));
        assert_eq!(clipped(1.0, 0.0), (vec![0.0; 4], vec![0.0; 2]));
    }
}
