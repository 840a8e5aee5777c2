//! What is read off an encoder of observations with a class.

use burn::tensor::Tensor;
use cl_data::LabelledObservations;
use cl_model::probe::{ProbeError, accuracy, logistic_classes};
use cl_model::prototypes::PrototypeMeasures;
use serde::{Deserialize, Serialize};

/// `evaluation.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassEvaluation {
    /// A linear probe of the class on features.
    pub features: ClassScore,
    /// The same on outputs.
    pub outputs: ClassScore,
    /// The same on the observations themselves.
    pub inputs: ClassScore,
    /// Accuracy on features minus that on outputs.
    pub features_minus_outputs: f64,
    /// Losses and prototypes of outputs at the end.
    pub prototypes: PrototypeMeasures,
}

/// How well a linear probe tells classes, on as many test observations of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Over all.
    pub accuracy: f64,
    /// Over the more frequent half of the classes.
    pub frequent_half: f64,
    /// Over the rarer half.
    pub rare_half: f64,
    /// Of each class, from the most frequent on.
    pub of_class: Vec<f64>,
}

/// Fits a probe of the class on some features and scores it on others.
///
/// # Errors
/// [`ProbeError`] when a feature is not finite.
pub fn score(
    [fitted, scored]: [Tensor<2>; 2],
    [train, test]: [&LabelledObservations; 2],
    classes: usize,
) -> Result<ClassScore, ProbeError> {
    let predicted = logistic_classes(fitted, &train.classes, scored, classes)?;
    let of_class = |class: usize| {
        let here = predicted.iter().zip(&test.classes).filter(|(_, truth)| **truth == class);
        let (count, right) =
            here.fold((0, 0), |(count, right), (p, truth)| (count + 1, right + usize::from(p == truth)));
        f64::from(right as u32) / f64::from(count.max(1))
    };
    let of_class: Vec<f64> = (0..classes).map(of_class).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (frequent, rare) = of_class.split_at(classes.div_ceil(2));
    Ok(ClassScore {
        accuracy: accuracy(&predicted, &test.classes),
        frequent_half: mean(frequent),
        rare_half: mean(rare),
        of_class,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use cl_data::Matrix;

    #[test]
    fn halves_are_scored_apart() {
        // Features tell the first two of four classes; the others look alike.
        let classes: Vec<usize> = (0..40).map(|i| i % 4).collect();
        let values: Vec<f32> =
            classes.iter().flat_map(|c| [[9.0, 0.0], [0.0, 9.0], [0.0, 0.0], [0.0, 0.0]][*c]).collect();
        let features = || Tensor::<2>::from_data(TensorData::new(values.clone(), [40, 2]), &Device::flex());
        let observations = LabelledObservations { classes, x: Matrix::zeros(40, 1) };
        let found = score([features(), features()], [&observations, &observations], 4).unwrap();
        assert_eq!((found.frequent_half, found.rare_half, found.accuracy), (1.0, 0.5, 0.75));
        assert_eq!(found.of_class[..2], [1.0, 1.0]);
    }
}
