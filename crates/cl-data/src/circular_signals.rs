//! Signals on a circle, of which both the directions of the data and those of the augmentation are known.
//!
//! A signal is sampled at `t_k = 2πk/d1`, k = 0, …, d1 − 1:
//!
//! `x(t) = Σ_f [a_f cos f(t − θ) + b_f sin f(t − θ)] + ξ(t)`, with coefficients `(a, b) = c₀ + z C`
//!
//! for f = 1, …, F. The code z says which signal it is, the phase θ how far it is shifted around the circle. Two views of a signal have the
//! same z, and phases and noise of their own: shifts are what a model that compares views learns to overlook. A laboratory version of the setting of
//! Cosentino et al. 2022, arXiv 2205.06926, who have images and their augmentations.

use crate::{Matrix, Part, Stream, standard_normal};
use cl_config::{Component, ConfigError, at_least, check, not_negative};
use rand::RngExt;
use rand::distr::StandardUniform;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Sizes of a [`CircularSignals`] model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircularSignalsConfig {
    /// `d1`, samples of a signal; more than twice the number of frequencies.
    pub input_dim: usize,
    /// `F`, at least 1.
    pub frequencies: usize,
    /// Entries of the code z, each uniform on [−1, 1]; at least 1.
    pub code_dim: usize,
    /// `σ_ξ`, standard deviation of the noise on each sample, at least 0.
    pub noise_std: f64,
}

impl Component for CircularSignalsConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("frequencies", self.frequencies as u64, 1)?;
        at_least("code_dim", self.code_dim as u64, 1)?;
        let wanted = format!("more than 2 · frequencies = {}, or the signal cannot be told", 2 * self.frequencies);
        check(self.input_dim > 2 * self.frequencies, "input_dim", self.input_dim, wanted)?;
        not_negative("noise_std", self.noise_std)?;
        Ok(self)
    }
}

/// The signals of one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct CircularSignals {
    config: CircularSignalsConfig,
    /// `c₀`, `[2F]`: a_1, b_1, a_2, b_2, ….
    mean: Vec<f64>,
    /// `C`, `[code_dim, 2F]`.
    directions: Vec<f64>,
    /// `cos t, sin t, cos 2t, …` at each sample, `[d1, 2F]`.
    waves: Vec<f64>,
}

/// Signals with what they were made of.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalViews {
    /// `[n, code_dim]`, in [−1, 1].
    pub codes: Matrix,
    /// Phases θ of the first and of the second views, `[n]` each.
    pub phases: [Vec<f64>; 2],
    /// First and second views, `[n, d1]` each.
    pub views: [Matrix; 2],
}

impl CircularSignals {
    /// `c₀` of amplitude 1 at each frequency, `a_f² + b_f² = 1`, in any direction; `C` with independent `N(0, 1/code_dim)` entries.
    ///
    /// # Errors
    /// [`ConfigError`] on values out of range.
    pub fn random(config: CircularSignalsConfig, stream: Stream) -> Result<Self, ConfigError> {
        let config = config.checked()?;
        let coefficients = 2 * config.frequencies;
        let mut rng = stream.rng(Part::Whole, 0);
        let mut normals = |count: usize| standard_normal(&mut rng, count).into_iter().map(f64::from);
        let mut mean: Vec<f64> = normals(coefficients).collect();
        for ab in mean.chunks_exact_mut(2) {
            let amplitude = ab[0].hypot(ab[1]).max(f64::MIN_POSITIVE);
            ab.iter_mut().for_each(|c| *c /= amplitude);
        }
        let scale = 1.0 / (config.code_dim as f64).sqrt();
        let directions = normals(config.code_dim * coefficients).map(|v| v * scale).collect();
        let times = (0..config.input_dim).map(|k| 2.0 * PI * k as f64 / config.input_dim as f64);
        let waves = times.flat_map(|t| frequencies(config).flat_map(move |f| [(f * t).cos(), (f * t).sin()])).collect();
        Ok(Self { config, mean, directions, waves })
    }

    /// Its sizes.
    pub fn config(&self) -> &CircularSignalsConfig {
        &self.config
    }

    /// `c₀`, `[2F]`: a_1, b_1, a_2, b_2, ….
    pub fn mean_coefficients(&self) -> &[f64] {
        &self.mean
    }

    /// `C`, row by row, `[code_dim, 2F]`.
    pub fn coefficient_directions(&self) -> &[f64] {
        &self.directions
    }

    /// Draws `count` codes and two views of each, with phases uniform on [−πs, πs] for a `shift` s: at 0 both views have the phase 0, at 1 they
    /// have any.
    pub fn sample(&self, count: usize, shift: f64, stream: Stream, step: u64) -> SignalViews {
        let CircularSignalsConfig { input_dim, code_dim, noise_std, .. } = self.config;
        let uniform = |part: Part, count: usize| -> Vec<f64> {
            stream.rng(part, step).sample_iter::<f64, _>(StandardUniform).take(count).map(|u| 2.0 * u - 1.0).collect()
        };
        let codes = uniform(Part::SignalCode, count * code_dim).into_iter().map(|z| z as f32).collect();
        let codes = Matrix::from_values(count, code_dim, codes);
        let mut first = uniform(Part::SignalPhase, 2 * count);
        first.iter_mut().for_each(|phase| *phase *= PI * shift);
        let second = first.split_off(count);
        let noise = standard_normal(&mut stream.rng(Part::DenseNoise, step), 2 * count * input_dim);
        let (of_first, of_second) = noise.split_at(count * input_dim);
        let view = |phases: &[f64], noise: &[f32]| {
            let mut values = Vec::with_capacity(noise.len());
            for ((code, phase), noise) in codes.iter_rows().zip(phases).zip(noise.chunks_exact(input_dim)) {
                let signal = self.signal(code, *phase);
                values.extend(signal.iter().zip(noise).map(|(x, xi)| (x + noise_std * f64::from(*xi)) as f32));
            }
            Matrix::from_values(count, input_dim, values)
        };
        let views = [view(&first, of_first), view(&second, of_second)];
        SignalViews { codes, phases: [first, second], views }
    }

    /// The signal of a code at a phase, without noise, `[d1]`.
    pub fn signal(&self, code: &[f32], phase: f64) -> Vec<f64> {
        self.on_the_circle(&self.coefficients(code), phase)
    }

    /// `∂x/∂z_j` at a phase, `[d1]`; the same for all codes.
    pub fn code_tangent(&self, entry: usize, phase: f64) -> Vec<f64> {
        let coefficients = 2 * self.config.frequencies;
        self.on_the_circle(&self.directions[entry * coefficients..(entry + 1) * coefficients], phase)
    }

    /// `∂x/∂θ`, `[d1]`.
    pub fn phase_tangent(&self, code: &[f32], phase: f64) -> Vec<f64> {
        // ∂/∂θ of a cos f(t − θ) + b sin f(t − θ) is f a sin f(t − θ) − f b cos f(t − θ).
        let coefficients = self.coefficients(code);
        let turned = coefficients.chunks_exact(2).zip(frequencies(self.config));
        let turned = turned.flat_map(|(ab, f)| [-f * ab[1], f * ab[0]]);
        self.on_the_circle(&turned.collect::<Vec<f64>>(), phase)
    }

    fn coefficients(&self, code: &[f32]) -> Vec<f64> {
        let mut coefficients = self.mean.clone();
        for (z, direction) in code.iter().zip(self.directions.chunks_exact(self.mean.len())) {
            coefficients.iter_mut().zip(direction).for_each(|(c, v)| *c += f64::from(*z) * v);
        }
        coefficients
    }

    /// `Σ_f a_f cos f(t − θ) + b_f sin f(t − θ)` at all t.
    fn on_the_circle(&self, coefficients: &[f64], phase: f64) -> Vec<f64> {
        let turned = coefficients.chunks_exact(2).zip(frequencies(self.config)).flat_map(|(ab, f)| {
            let (sin, cos) = (f * phase).sin_cos();
            [ab[0] * cos - ab[1] * sin, ab[0] * sin + ab[1] * cos]
        });
        let turned: Vec<f64> = turned.collect();
        let dot = |waves: &[f64]| waves.iter().zip(&turned).map(|(w, c)| w * c).sum();
        self.waves.chunks_exact(turned.len()).map(dot).collect()
    }
}

/// 1, 2, …, F.
fn frequencies(config: CircularSignalsConfig) -> impl Iterator<Item = f64> {
    (1..=config.frequencies).map(|f| f as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    fn signals(noise_std: f64) -> CircularSignals {
        let config = CircularSignalsConfig { input_dim: 16, frequencies: 3, code_dim: 4, noise_std };
        CircularSignals::random(config, Stream::new(1, Purpose::Dictionary)).unwrap()
    }

    fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn a_phase_of_one_sample_shifts_the_signal_by_one_sample() {
        let signals = signals(0.0);
        let code = [0.3, -0.9, 0.5, 1.0];
        let mut shifted = signals.signal(&code, 0.0);
        shifted.rotate_right(1);
        assert!(largest_difference(&signals.signal(&code, 2.0 * PI / 16.0), &shifted) < 1e-12);
    }

    #[test]
    fn tangents_are_the_derivatives() {
        let signals = signals(0.0);
        let (code, phase, h) = ([0.25f32, -0.5, 0.75, 0.125], 0.7, 1e-5);
        let difference = |plus: Vec<f64>, minus: Vec<f64>, h: f64| -> Vec<f64> {
            plus.iter().zip(&minus).map(|(p, m)| (p - m) / (2.0 * h)).collect()
        };
        let along_phase = difference(signals.signal(&code, phase + h), signals.signal(&code, phase - h), h);
        assert!(largest_difference(&along_phase, &signals.phase_tangent(&code, phase)) < 1e-8);
        for entry in 0..4 {
            // The signal is linear in the code, so that a large step is exact.
            let moved = |by: f32| {
                let mut code = code;
                code[entry] += by;
                signals.signal(&code, phase)
            };
            let along_code = difference(moved(0.5), moved(-0.5), 0.5);
            assert!(largest_difference(&along_code, &signals.code_tangent(entry, phase)) < 1e-12);
        }
    }

    #[test]
    fn views_share_the_code_and_nothing_else() {
        let still = signals(0.0).sample(20, 0.0, Stream::new(2, Purpose::Evaluation), 3);
        assert_eq!(still.views[0], still.views[1]);
        let moving = signals(0.1);
        let at = |step| moving.sample(200, 0.5, Stream::new(2, Purpose::Evaluation), step);
        let pair = at(3);
        assert_eq!(pair, at(3));
        assert_ne!(pair, at(4));
        assert!(pair.codes.values.iter().all(|z| (-1.0..=1.0).contains(z)));
        let furthest = pair.phases.iter().flatten().fold(0.0, |most: f64, phase| most.max(phase.abs()));
        assert!(furthest <= 0.5 * PI && furthest > 0.49 * PI, "{furthest}");
        // What is left without the signal is noise: 2 · 200 · 16 numbers, variance within 4.9 standard errors.
        let mut squares = Vec::new();
        for (phases, view) in pair.phases.iter().zip(&pair.views) {
            for ((code, phase), row) in pair.codes.iter_rows().zip(phases).zip(view.iter_rows()) {
                let signal = moving.signal(code, *phase);
                squares.extend(row.iter().zip(&signal).map(|(x, s)| (f64::from(*x) - s).powi(2)));
            }
        }
        let n = squares.len() as f64;
        let variance = squares.iter().sum::<f64>() / n;
        assert!(((variance / 0.01 - 1.0) / (2.0 / n).sqrt()).abs() < 4.9, "{variance}");
    }

    #[test]
    fn values_out_of_range_are_named() {
        let refused = |config: CircularSignalsConfig| config.checked().unwrap_err().to_string();
        let right = CircularSignalsConfig { input_dim: 16, frequencies: 3, code_dim: 4, noise_std: 0.1 };
        assert!(right.checked().is_ok());
        assert!(refused(CircularSignalsConfig { input_dim: 6, ..right }).starts_with("input_dim = 6 "));
        assert!(refused(CircularSignalsConfig { frequencies: 0, ..right }).starts_with("frequencies = 0 "));
        assert!(refused(CircularSignalsConfig { code_dim: 0, ..right }).starts_with("code_dim = 0 "));
        assert!(refused(CircularSignalsConfig { noise_std: -0.1, ..right }).starts_with("noise_std = -0.1 "));
    }
}
