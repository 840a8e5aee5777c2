//! Observations with a class: one sparse feature says which, others are a nuisance.
//!
//! `x = a M_y + Σ_{j ≥ C} z_j M_j + ξ`: the first C of d orthonormal features belong to the classes, the class y has its feature with amplitude a;
//! the others have codes in {−1, 0, 1} that say nothing about the class. What two views of one observation share is class and nuisance alike; two
//! observations of a class share the class alone. A laboratory version of the setting of Lee 2025, arXiv 2510.10572, who has labelled images.

use crate::{Augmentation, DataError, Dictionary, Matrix, Part, PositivePair, Stream, standard_normal};
use cl_config::{Component, ConfigError, at_least, check, not_negative, probability};
use rand::RngExt;
use rand::distr::StandardUniform;
use serde::{Deserialize, Serialize};

/// Sizes of a [`ClassFeatures`] model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassFeaturesConfig {
    /// `d`, all features; at least C, at most d1.
    pub code_dim: usize,
    /// `d1`, coordinates of an observation.
    pub input_dim: usize,
    /// `C`, at least 2.
    pub classes: usize,
    /// `a`, at least 0.
    pub class_amplitude: f64,
    /// Probability that a nuisance feature is on, in [0, 1]; both signs are equally likely.
    pub nuisance_probability: f64,
    /// `σ_ξ`, at least 0.
    pub noise_std: f64,
    /// `α` ≥ 0: the k-th class has a probability proportional to k^−α. Default 0, all alike.
    #[serde(default)]
    pub rank_exponent: f64,
}

impl Component for ClassFeaturesConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("classes", self.classes as u64, 2)?;
        let wanted = format!("at least classes = {}: each class has a feature", self.classes);
        check(self.code_dim >= self.classes, "code_dim", self.code_dim, wanted)?;
        let wanted = format!("at most input_dim = {}: orthonormal features need d ≤ d1", self.input_dim);
        check(self.code_dim <= self.input_dim, "code_dim", self.code_dim, wanted)?;
        not_negative("class_amplitude", self.class_amplitude)?;
        probability("nuisance_probability", self.nuisance_probability)?;
        not_negative("noise_std", self.noise_std)?;
        not_negative("rank_exponent", self.rank_exponent)?;
        Ok(self)
    }
}

/// Where the second view of a pair comes from.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositiveSource {
    /// The same observation.
    #[default]
    SameObservation,
    /// With this probability another observation of the same class, else the same one.
    SameClass(f64),
    /// With this probability another observation, of any class, else the same one: what [`SameClass`](Self::SameClass) is without labels.
    AnyClass(f64),
}

impl PositiveSource {
    /// The probability of another observation.
    pub fn probability(self) -> f64 {
        match self {
            Self::SameObservation => 0.0,
            Self::SameClass(p) | Self::AnyClass(p) => p,
        }
    }
}

/// The model of one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassFeatures {
    config: ClassFeaturesConfig,
    dictionary: Dictionary,
    /// Probability of a class or one before it.
    cumulative: Vec<f64>,
}

/// Observations with their classes.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledObservations {
    /// In 0..C, `[n]`.
    pub classes: Vec<usize>,
    /// `[n, d1]`.
    pub x: Matrix,
}

impl ClassFeatures {
    /// A model with random orthonormal features.
    ///
    /// # Errors
    /// [`DataError`] on values out of range.
    pub fn random(config: ClassFeaturesConfig, stream: Stream) -> Result<Self, DataError> {
        let config = config.checked()?;
        let dictionary = Dictionary::random(config.code_dim, config.input_dim, stream)?;
        let weights: Vec<f64> = (1..=config.classes).map(|k| (k as f64).powf(-config.rank_exponent)).collect();
        let total: f64 = weights.iter().sum();
        let cumulative = weights.iter().scan(0.0, |sum, w| {
            *sum += w / total;
            Some(*sum)
        });
        Ok(Self { cumulative: cumulative.collect(), config, dictionary })
    }

    /// Its sizes.
    pub fn config(&self) -> &ClassFeaturesConfig {
        &self.config
    }

    /// The features; the first C belong to the classes.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// Probability of a class.
    pub fn class_probability(&self, class: usize) -> f64 {
        self.cumulative[class] - class.checked_sub(1).map_or(0.0, |before| self.cumulative[before])
    }

    /// Draws observations of random classes.
    pub fn sample(&self, count: usize, stream: Stream, step: u64) -> LabelledObservations {
        let classes = self.draw_classes(count, stream, step);
        LabelledObservations { x: self.observations(&classes, stream, step), classes }
    }

    /// Draws as many observations of every class, `each · C` of them, class after class in turn.
    pub fn sample_balanced(&self, each: usize, stream: Stream, step: u64) -> LabelledObservations {
        let classes: Vec<usize> = (0..each * self.config.classes).map(|i| i % self.config.classes).collect();
        LabelledObservations { x: self.observations(&classes, stream, step), classes }
    }

    /// Draws pairs of views. Both views of a pair have one draw of the masks, also where they show different observations.
    pub fn pairs(
        &self,
        count: usize,
        (positives, augmentation): (PositiveSource, Augmentation),
        stream: Stream,
        step: u64,
    ) -> PositivePair {
        if positives.probability() == 0.0 {
            return augmentation.apply(self.sample(count, stream, step).x, stream, step);
        }
        let mut classes = self.draw_classes(2 * count, stream, step);
        if let PositiveSource::SameClass(_) = positives {
            let (own, partners) = classes.split_at_mut(count);
            partners.copy_from_slice(own);
        }
        let d1 = self.config.input_dim;
        let mut own = self.observations(&classes, stream, step).values;
        let mut partners = own.split_off(count * d1);
        let leaks = uniform(stream, Part::PositiveSource, step, count);
        let rows = own.chunks_exact(d1).zip(partners.chunks_exact_mut(d1));
        for ((own, partner), leak) in rows.zip(leaks) {
            if leak >= positives.probability() {
                partner.copy_from_slice(own);
            }
        }
        let views = |values| augmentation.apply(Matrix::from_values(count, d1, values), stream, step);
        PositivePair { x_plus: views(own).x_plus, x_plus_plus: views(partners).x_plus_plus }
    }

    fn draw_classes(&self, count: usize, stream: Stream, step: u64) -> Vec<usize> {
        let last = self.config.classes - 1;
        let class = |u: f64| self.cumulative.partition_point(|c| *c <= u).min(last);
        uniform(stream, Part::Class, step, count).into_iter().map(class).collect()
    }

    fn observations(&self, classes: &[usize], stream: Stream, step: u64) -> Matrix {
        let ClassFeaturesConfig { input_dim: d1, class_amplitude, nuisance_probability: p, noise_std, .. } =
            self.config;
        let mut x = standard_normal(&mut stream.rng(Part::DenseNoise, step), classes.len() * d1);
        x.iter_mut().for_each(|v| *v *= noise_std as f32);
        let nuisances = self.config.code_dim - self.config.classes;
        let codes = uniform(stream, Part::SparseCode, step, classes.len() * nuisances);
        let mut add = |row: usize, feature: usize, by: f32| {
            let row = &mut x[row * d1..(row + 1) * d1];
            row.iter_mut().zip(self.dictionary.feature(feature)).for_each(|(x, m)| *x += by * m);
        };
        for (row, class) in classes.iter().enumerate() {
            add(row, *class, class_amplitude as f32);
            for (j, u) in codes[row * nuisances..(row + 1) * nuisances].iter().enumerate() {
                let code = if *u < p / 2.0 { 1.0 } else { -1.0 };
                if *u < p {
                    add(row, self.config.classes + j, code);
                }
            }
        }
        Matrix::from_values(classes.len(), d1, x)
    }
}

fn uniform(stream: Stream, part: Part, step: u64, count: usize) -> Vec<f64> {
    stream.rng(part, step).sample_iter::<f64, _>(StandardUniform).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    const CONFIG: ClassFeaturesConfig = ClassFeaturesConfig {
        code_dim: 8,
        input_dim: 24,
        classes: 3,
        class_amplitude: 0.75,
        nuisance_probability: 0.25,
        noise_std: 0.0,
        rank_exponent: 1.0,
    };

    fn model(config: ClassFeaturesConfig) -> ClassFeatures {
        ClassFeatures::random(config, Stream::new(1, Purpose::Dictionary)).unwrap()
    }

    fn code(model: &ClassFeatures, x: &[f32]) -> Vec<f64> {
        let along = |j: usize| x.iter().zip(model.dictionary().feature(j)).map(|(x, m)| f64::from(x * m)).sum();
        (0..model.config().code_dim).map(along).collect()
    }

    #[test]
    fn an_observation_has_the_feature_of_its_class_and_nuisances() {
        let model = model(CONFIG);
        let drawn = model.sample(4000, Stream::new(2, Purpose::Evaluation), 0);
        let mut on = 0;
        for (class, x) in drawn.classes.iter().zip(drawn.x.iter_rows()) {
            for (j, z) in code(&model, x).into_iter().enumerate() {
                let wanted = if j == *class {
                    vec![0.75]
                } else if j < 3 {
                    vec![0.0]
                } else {
                    vec![-1.0, 0.0, 1.0]
                };
                assert!(wanted.iter().any(|w| (z - w).abs() < 1e-5), "{j} {z}");
                on += usize::from(j >= 3 && z.abs() > 0.5);
            }
        }
        // 20,000 codes with probability ¼, within 4.9 standard errors; classes have 6, 3 and 2 of 11.
        assert!((on as f64 / 20_000.0 - 0.25).abs() < 4.9 * (0.25f64 * 0.75 / 20_000.0).sqrt());
        for (class, share) in [6.0, 3.0, 2.0].into_iter().enumerate() {
            let p: f64 = share / 11.0;
            assert!((model.class_probability(class) - p).abs() < 1e-12);
            let found = drawn.classes.iter().filter(|c| **c == class).count() as f64 / 4000.0;
            assert!((found - p).abs() < 4.9 * (p * (1.0 - p) / 4000.0).sqrt(), "{class}: {found}");
        }
        let balanced = model.sample_balanced(5, Stream::new(2, Purpose::Evaluation), 0);
        assert_eq!(balanced.classes.iter().filter(|c| **c == 2).count(), 5);
    }

    #[test]
    fn second_views_come_from_where_they_are_said_to() {
        let model = model(CONFIG);
        let draw = |positives| {
            let pair = model.pairs(2000, (positives, Augmentation::None), Stream::new(2, Purpose::Evaluation), 1);
            let codes = |x: Matrix| x.iter_rows().map(|row| code(&model, row)).collect::<Vec<_>>();
            let (first, second) = (codes(pair.x_plus), codes(pair.x_plus_plus));
            let class = |z: &[f64]| (0..3).find(|j| z[*j] > 0.5).unwrap();
            let same = |test: &dyn Fn(&[f64], &[f64]) -> bool| {
                first.iter().zip(&second).filter(|(a, b)| test(a, b)).count() as f64 / 2000.0
            };
            let is_same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
            [same(&is_same), same(&|a, b| class(a) == class(b))]
        };
        assert_eq!(draw(PositiveSource::SameObservation), [1.0, 1.0]);
        let [same, class] = draw(PositiveSource::SameClass(0.6));
        // Another observation of the class has the same nuisances with probability (⅝ + …)^5, about 0.12.
        assert!((0.4..0.53).contains(&same) && class == 1.0, "{same} {class}");
        let [_, class] = draw(PositiveSource::AnyClass(0.6));
        // 0.4 + 0.6 (36 + 9 + 4)/121.
        assert!((class - 0.643).abs() < 4.9 * (0.643f64 * 0.357 / 2000.0).sqrt(), "{class}");
    }

    #[test]
    fn masks_are_complementary_across_different_observations_as_well() {
        let model = model(ClassFeaturesConfig { noise_std: 0.1, ..CONFIG });
        let source = (PositiveSource::AnyClass(1.0), Augmentation::complementary());
        let pair = model.pairs(50, source, Stream::new(2, Purpose::Evaluation), 1);
        assert!(pair.x_plus.values.iter().zip(&pair.x_plus_plus.values).all(|(a, b)| (*a == 0.0) != (*b == 0.0)));
    }

    #[test]
    fn values_out_of_range_are_named() {
        let refused = |config: ClassFeaturesConfig| config.checked().unwrap_err().to_string();
        assert!(refused(ClassFeaturesConfig { classes: 1, ..CONFIG }).starts_with("classes = 1 "));
        assert!(refused(ClassFeaturesConfig { code_dim: 2, ..CONFIG }).starts_with("code_dim = 2 "));
        assert!(refused(ClassFeaturesConfig { code_dim: 25, ..CONFIG }).starts_with("code_dim = 25 "));
        assert!(
            refused(ClassFeaturesConfig { nuisance_probability: 1.5, ..CONFIG }).starts_with("nuisance_probability")
        );
        assert!(refused(ClassFeaturesConfig { rank_exponent: -1.0, ..CONFIG }).starts_with("rank_exponent = -1 "));
    }
}
