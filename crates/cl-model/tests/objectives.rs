//! Objectives of two views against their definitions, written out in double precision.
//!
//! Each is held to a loop over numbers in value, to differences of that loop in its gradient (in closed form and through autodiff), to the
//! symmetries that its definition has, and to its value at chance or at its best.

mod reference;

use burn::tensor::{Device, Tensor, TensorData};
use cl_model::objectives::{
    AlignmentUniformity, BalancedNtXent, BarlowTwins, DecoupledNtXent, MaskedReconstruction, NegativeCosine, Objective,
    Outputs, Spectral, VicReg,
};
use cl_model::{InfoNce, KeyGradient, LossScale, NtXent, Similarity};
use proptest::prelude::*;
use reference::noise;

type Rows = Vec<Vec<f64>>;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(f: &Rows, epsilon: f64) -> Rows {
    let scaled = |row: &Vec<f64>| {
        let length = (dot(row, row) + epsilon).sqrt();
        row.iter().map(|v| if length > 0.0 { v / length } else { 0.0 }).collect()
    };
    f.iter().map(scaled).collect()
}

fn column(f: &Rows, k: usize) -> Vec<f64> {
    f.iter().map(|row| row[k]).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// `Σ (a − ā)(b − b̄)`.
fn joint(a: &[f64], b: &[f64]) -> f64 {
    let (ma, mb) = (mean(a), mean(b));
    a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum()
}

fn spectral(f: &Rows, g: &Rows) -> f64 {
    let n = f.len();
    let mut loss = 0.0;
    for (i, f) in f.iter().enumerate() {
        for (j, g) in g.iter().enumerate() {
            let product = dot(f, g);
            loss += match i == j {
                true => -2.0 * product / n as f64,
                false => product * product / (n * (n - 1)) as f64,
            };
        }
    }
    loss
}

fn barlow_twins(f: &Rows, g: &Rows, off_diagonal: f64, epsilon: f64) -> f64 {
    let (n, m) = (f.len() as f64, f[0].len());
    let deviation = |v: &[f64]| (joint(v, v) / n + epsilon).sqrt();
    let mut loss = 0.0;
    for i in 0..m {
        for j in 0..m {
            let (a, b) = (column(f, i), column(g, j));
            let c = joint(&a, &b) / n / deviation(&a) / deviation(&b);
            loss += if i == j { (c - 1.0).powi(2) } else { off_diagonal * c * c } / m as f64;
        }
    }
    loss
}

fn vicreg(f: &Rows, g: &Rows, [inv, var, cov]: [f64; 3], epsilon: f64) -> f64 {
    let (n, m) = (f.len(), f[0].len());
    let squares: f64 = f.iter().zip(g).map(|(f, g)| f.iter().zip(g).map(|(f, g)| (f - g).powi(2)).sum::<f64>()).sum();
    let mut loss = inv * squares / (n * m) as f64;
    for view in [f, g] {
        for i in 0..m {
            let a = column(view, i);
            let deviation = (joint(&a, &a) / (n - 1) as f64 + epsilon).sqrt();
            loss += var / 2.0 * (1.0 - deviation).max(0.0) / m as f64;
            for j in (0..m).filter(|j| *j != i) {
                let covariance = joint(&a, &column(view, j)) / (n - 1) as f64;
                loss += cov / 2.0 * covariance.powi(2) / m as f64;
            }
        }
    }
    loss
}

fn negative_cosine(f: &Rows, g: &Rows, epsilon: f64) -> f64 {
    let (f, g) = (unit(f, epsilon), unit(g, epsilon));
    -mean(&f.iter().zip(&g).map(|(f, g)| dot(f, g)).collect::<Vec<_>>())
}

fn decoupled_nt_xent(f: &Rows, g: &Rows, temperature: f64) -> f64 {
    let n = f.len();
    let views: Rows = unit(f, 0.0).into_iter().chain(unit(g, 0.0)).collect();
    let of_view = |i: usize| {
        let similarity = |j: usize| dot(&views[i], &views[j]) / temperature;
        let sum: f64 = (0..2 * n).filter(|j| j % n != i % n).map(|j| similarity(j).exp()).sum();
        sum.ln() - similarity((i + n) % (2 * n))
    };
    mean(&(0..2 * n).map(of_view).collect::<Vec<_>>())
}

fn balanced_nt_xent(f: &Rows, g: &Rows, temperature: f64, repulsion: f64) -> f64 {
    let n = f.len();
    let views: Rows = unit(f, 0.0).into_iter().chain(unit(g, 0.0)).collect();
    let of_view = |i: usize| {
        let similarity = |j: usize| dot(&views[i], &views[j]) / temperature;
        let sum: f64 = (0..2 * n).filter(|j| *j != i).map(|j| similarity(j).exp()).sum();
        repulsion * sum.ln() - similarity((i + n) % (2 * n))
    };
    mean(&(0..2 * n).map(of_view).collect::<Vec<_>>())
}

fn alignment_uniformity(f: &Rows, g: &Rows, weight: f64, exponent: f64) -> f64 {
    let (f, g) = (unit(f, 0.0), unit(g, 0.0));
    let n = f.len();
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let alignment = mean(&f.iter().zip(&g).map(|(f, g)| distance(f, g)).collect::<Vec<_>>());
    let uniformity = |view: &Rows| {
        let pairs = (0..n).flat_map(|i| (0..n).filter(move |j| *j != i).map(move |j| (i, j)));
        mean(&pairs.map(|(i, j)| (-exponent * distance(&view[i], &view[j])).exp()).collect::<Vec<_>>()).ln()
    };
    alignment + weight * (uniformity(&f) + uniformity(&g)) / 2.0
}

type Definition = Box<dyn Fn(&Rows, &Rows) -> f64>;

/// Every objective with its definition. Where no gradient passes one side, the definition's differences are twice the gradient.
fn all() -> Vec<(Box<dyn Objective>, Definition, f64)> {
    let (off_diagonal, epsilon, temperature) = (0.3, 1e-2, 0.4);
    let weights = [5.0, 4.0, 3.0];
    let vic = VicReg { invariance: 5.0, variance: 4.0, covariance: 3.0, epsilon };
    vec![
        (Box::new(Spectral {}), Box::new(spectral) as Definition, 1.0),
        (
            Box::new(BarlowTwins { off_diagonal, epsilon }),
            Box::new(move |f, g| barlow_twins(f, g, off_diagonal, epsilon)),
            1.0,
        ),
        (Box::new(vic), Box::new(move |f, g| vicreg(f, g, weights, epsilon)), 1.0),
        (
            Box::new(NegativeCosine { stop_gradient: false, epsilon }),
            Box::new(move |f, g| negative_cosine(f, g, epsilon)),
            1.0,
        ),
        (
            Box::new(NegativeCosine { stop_gradient: true, epsilon }),
            Box::new(move |f, g| negative_cosine(f, g, epsilon)),
            0.5,
        ),
        (
            Box::new(BalancedNtXent { temperature, repulsion: 2.5 }),
            Box::new(move |f, g| balanced_nt_xent(f, g, temperature, 2.5)),
            1.0,
        ),
        (Box::new(DecoupledNtXent { temperature }), Box::new(move |f, g| decoupled_nt_xent(f, g, temperature)), 1.0),
        (
            Box::new(AlignmentUniformity { uniformity: 0.7, exponent: 2.0 }),
            Box::new(|f, g| alignment_uniformity(f, g, 0.7, 2.0)),
            1.0,
        ),
    ]
}

/// Numbers that single precision holds exactly, with rows of zeros where an encoder is silent.
fn rows(n: usize, m: usize, scale: f64, offset: usize) -> Rows {
    let value = |i: usize| ((i * 7919 + 13) % 1009) as f64 / 1024.0 - 0.5;
    (0..n).map(|r| (0..m).map(|c| scale * value(offset + r * m + c)).collect()).collect()
}

fn flat(rows: &Rows) -> Vec<f32> {
    rows.iter().flatten().map(|v| *v as f32).collect()
}

fn tensor(rows: &Rows, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(flat(rows), [rows.len(), rows[0].len()]), device)
}

fn outputs(f: &Rows, g: &Rows, device: &Device) -> Outputs {
    Outputs::of_views(tensor(f, device), tensor(g, device))
}

fn value(objective: &dyn Objective, f: &Rows, g: &Rows) -> f64 {
    objective.loss(outputs(f, g, &Device::flex())).into_scalar()
}

/// Value and gradient through autodiff, rows of both views one after another.
fn through_autodiff(objective: &dyn Objective, f: &Rows, g: &Rows) -> (f64, Vec<f32>) {
    let device = Device::flex().autodiff();
    let Outputs { first, second, .. } = outputs(f, g, &device);
    let (first, second) = (first.require_grad(), second.require_grad());
    let loss = objective.loss(Outputs::of_views(first.clone(), second.clone()));
    let value = loss.clone().into_scalar();
    let gradients = loss.backward();
    let read = |x: &Tensor<2>| x.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
    (value, [read(&first), read(&second)].concat())
}

#[test]
fn values_and_gradients_are_those_of_the_definitions() {
    for (n, m, scale) in [(2, 1, 1.0), (5, 3, 1.0), (7, 4, 0.2), (40, 6, 2.0), (200, 5, 0.7)] {
        let (f, g) = (rows(n, m, scale, 1), rows(n, m, scale, 50_001));
        for (objective, definition, passes) in all() {
            // One coordinate leaves a cosine nothing to turn: gradients are differences of equal numbers.
            let what = format!("{objective:?}, B = {n}, m = {m}, scale {scale}");
            let expected = definition(&f, &g);
            let (plain, gradient) = through_autodiff(&*objective, &f, &g);
            assert!((plain - expected).abs() < 3e-6 * (1.0 + expected.abs()), "{what}: {plain} instead of {expected}");
            let differences = differences(&definition, &f, &g);
            let largest = differences.iter().fold(0.0f64, |a, v| a.max(v.abs())).max(1e-3);
            let check = |name: &str, gradient: &[f32]| {
                // What has not been differentiated is not a number.
                for (k, (found, expected)) in
                    gradient.iter().zip(&differences).enumerate().filter(|(_, (_, e))| e.is_finite())
                {
                    let expected = passes * expected;
                    let off = (f64::from(*found) - expected).abs();
                    assert!(off < 2e-5 * largest, "{what}, {name}: {found} instead of {expected} at {k}");
                }
            };
            check("autodiff", &gradient);
            if let Some(on_host) = objective.in_host_memory() {
                let (closed, gradient) = on_host.loss_and_gradient([flat(&f), flat(&g)].concat(), m, n);
                assert!((closed - expected).abs() < 3e-6 * (1.0 + expected.abs()), "{what}: {closed} on the host");
                check("closed form", &gradient);
            }
        }
    }
}

/// Central differences of the definition in every coordinate of both views.
fn differences(definition: &Definition, f: &Rows, g: &Rows) -> Vec<f64> {
    let h = 1e-5;
    let (n, m) = (f.len(), f[0].len());
    // Each sample is one of hundreds: the first ones stand for all.
    let some = n.min(8);
    let mut all = vec![f64::NAN; 2 * n * m];
    for view in 0..2 {
        for i in 0..some {
            for c in 0..m {
                let moved = |by: f64| {
                    let (mut f, mut g) = (f.clone(), g.clone());
                    if view == 0 {
                        f[i][c] += by
                    } else {
                        g[i][c] += by
                    }
                    definition(&f, &g)
                };
                all[(view * n + i) * m + c] = (moved(h) - moved(-h)) / (2.0 * h);
            }
        }
    }
    all
}

#[test]
fn silent_samples_give_finite_numbers() {
    let mut f = rows(6, 4, 1.0, 3);
    f[2] = vec![0.0; 4];
    let g = vec![vec![0.0; 4]; 6];
    for (objective, ..) in all() {
        for (f, g) in [(&f, &g), (&g, &f), (&g, &g)] {
            let (value, gradient) = through_autodiff(&*objective, f, g);
            assert!(value.is_finite() && gradient.iter().all(|v| v.is_finite()), "{objective:?} through autodiff");
            if let Some(on_host) = objective.in_host_memory() {
                let (value, gradient) = on_host.loss_and_gradient([flat(f), flat(g)].concat(), 4, 6);
                assert!(value.is_finite() && gradient.iter().all(|v| v.is_finite()), "{objective:?} in closed form");
            }
        }
    }
}

/// Worked by hand on two samples with outputs at right angles.
#[test]
fn two_orthogonal_samples_by_hand() {
    let f: Rows = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
    // Both views alike: −2 · 1 + 0.
    assert_eq!(value(&Spectral {}, &f, &f), -2.0);
    let cosine = NegativeCosine { stop_gradient: true, epsilon: 1e-12 };
    assert!((value(&cosine, &f, &f) + 1.0).abs() < 1e-6);
    // Alignment 0; each view has pairs at squared distance 2: log e^{−4} = −4, half of it for each view.
    let sphere = AlignmentUniformity { uniformity: 1.0, exponent: 2.0 };
    assert!((value(&sphere, &f, &f) + 4.0).abs() < 1e-6);
    // Negatives at 0: log 2 − 1/τ.
    assert!((value(&DecoupledNtXent { temperature: 0.5 }, &f, &f) - (2f64.ln() - 2.0)).abs() < 1e-6);
    // Columns (1, 0) and (0, 1): variance ½ over B − 1, covariance −½ in both views.
    let vic = |invariance, variance, covariance| VicReg { invariance, variance, covariance, epsilon: 1e-12 };
    assert!((value(&vic(0.0, 1.0, 0.0), &f, &f) - (1.0 - 0.5f64.sqrt())).abs() < 1e-6);
    assert!((value(&vic(0.0, 0.0, 1.0), &f, &f) - 0.25).abs() < 1e-6);
    let shifted: Rows = f.iter().map(|row| vec![row[0] + 3.0, row[1]]).collect();
    assert!((value(&vic(1.0, 0.0, 0.0), &f, &shifted) - 4.5).abs() < 1e-6);
    // Standardised columns are ±1 and ∓1: C = [[1, −1], [−1, 1]], (1/2)(0 + 2a).
    let twins = BarlowTwins { off_diagonal: 0.25, epsilon: 1e-12 };
    assert!((value(&twins, &f, &f) - 0.25).abs() < 1e-6);
}

#[test]
fn at_chance_values_are_those_of_outputs_that_are_alike() {
    let alike = vec![vec![0.3, -0.2, 0.1]; 9];
    let decoupled = DecoupledNtXent { temperature: 0.3 };
    assert!((value(&decoupled, &alike, &alike) - decoupled.at_chance(9, None).unwrap()).abs() < 1e-6);
    assert!((value(&NegativeCosine { stop_gradient: true, epsilon: 1e-12 }, &alike, &alike) + 1.0).abs() < 1e-6);
    let sphere = AlignmentUniformity { uniformity: 1.0, exponent: 2.0 };
    assert!(value(&sphere, &alike, &alike).abs() < 1e-6, "neither apart nor spread");
    // Nothing varies: every correlation is 0 and every hinge at its largest.
    assert!((value(&BarlowTwins { off_diagonal: 1.0, epsilon: 1e-4 }, &alike, &alike) - 1.0).abs() < 1e-6);
    let vic = VicReg { invariance: 1.0, variance: 1.0, covariance: 1.0, epsilon: 1e-4 };
    assert!((value(&vic, &alike, &alike) - 0.99).abs() < 1e-6);
}

/// DCL is NT-Xent without the positive in the sum: it lies below by `−log(1 − π)` of the positive's weight.
#[test]
fn decoupled_nt_xent_lies_below_nt_xent() {
    let (f, g) = (rows(12, 5, 1.0, 1), rows(12, 5, 1.0, 901));
    let (plain, decoupled) =
        (value(&NtXent { temperature: 0.5 }, &f, &g), value(&DecoupledNtXent { temperature: 0.5 }, &f, &g));
    assert!(decoupled < plain && plain - decoupled < 0.2, "{plain} {decoupled}");
}

/// Against PyTorch's autodiff in double precision (`reference/objectives.py`), where lightly's losses agree up to the factors that
/// the file holds.
#[test]
fn pytorch_comes_to_the_same_values_and_gradients() {
    const SHAPE: (usize, usize) = (24, 6);
    let stored: serde_json::Value = serde_json::from_str(include_str!("reference/objectives.json")).unwrap();
    let [common, first, second] = [1, 2, 3].map(|number| noise(number, SHAPE.0 * SHAPE.1));
    let view = |own: &[f32]| -> Rows {
        let values: Vec<f64> = common.iter().zip(own).map(|(c, o)| f64::from(2.0 * c) + f64::from(*o)).collect();
        values.chunks_exact(SHAPE.1).map(<[f64]>::to_vec).collect()
    };
    let (f, g) = (view(&first), view(&second));
    let objectives: [(&str, Box<dyn Objective>); 7] = [
        ("spectral", Box::new(Spectral {})),
        ("barlow_twins", Box::new(BarlowTwins { off_diagonal: 0.05, epsilon: 1e-5 })),
        ("vicreg", Box::new(VicReg { invariance: 25.0, variance: 25.0, covariance: 2.0, epsilon: 1e-4 })),
        ("negative_cosine", Box::new(NegativeCosine { stop_gradient: true, epsilon: 1e-12 })),
        ("nt_xent", Box::new(NtXent { temperature: 0.5 })),
        ("decoupled_nt_xent", Box::new(DecoupledNtXent { temperature: 0.5 })),
        ("alignment_uniformity", Box::new(AlignmentUniformity { uniformity: 0.7, exponent: 2.0 })),
    ];
    for (name, objective) in objectives {
        let loss = stored[name]["loss"].as_f64().unwrap();
        let gradient: Vec<f64> =
            stored[name]["gradient"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let largest = gradient.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        let mut found = vec![through_autodiff(&*objective, &f, &g)];
        found.extend(
            objective
                .in_host_memory()
                .map(|on_host| on_host.loss_and_gradient([flat(&f), flat(&g)].concat(), SHAPE.1, SHAPE.0)),
        );
        for (value, ours) in found {
            assert!((value - loss).abs() < 2e-6 * loss.abs(), "{name}: {value} instead of {loss}");
            for (ours, theirs) in ours.iter().zip(&gradient) {
                assert!((f64::from(*ours) - theirs).abs() < 1e-5 * largest, "{name}: {ours} instead of {theirs}");
            }
        }
        if let Some(lightly) = stored[name]["lightly"].as_f64() {
            let factor = stored[name]["lightly_over_ours"].as_f64().unwrap();
            assert!((lightly - factor * loss).abs() < 1e-9 * lightly.abs(), "{name}: lightly {lightly}, ours {loss}");
        }
    }
}

/// The same for what compares more than two views: predictions with targets, and what was decoded with a view.
#[test]
fn pytorch_comes_to_the_same_of_predictions_and_reconstructions() {
    const SHAPE: (usize, usize) = (24, 6);
    let stored: serde_json::Value = serde_json::from_str(include_str!("reference/objectives.json")).unwrap();
    let device = Device::flex().autodiff();
    let parts = [1, 2, 3, 4, 5].map(|number| noise(number, SHAPE.0 * SHAPE.1));
    let as_tensor = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [SHAPE.0, SHAPE.1]), &device);
    let view = |own: &[f32]| -> Vec<f32> { parts[0].iter().zip(own).map(|(c, o)| 2.0 * c + o).collect() };
    let (f, g) = (as_tensor(view(&parts[1])).require_grad(), as_tensor(view(&parts[2])).require_grad());
    let targets = Some([parts[3].clone(), parts[4].clone()].map(as_tensor));
    let shown = as_tensor(view(&parts[2]).into_iter().map(|v| v.max(0.0)).collect());
    let cosine = NegativeCosine { stop_gradient: true, epsilon: 1e-12 };
    let predicted = Outputs { targets: targets.clone(), ..Outputs::of_views(f.clone(), g.clone()) };
    let decoded = Outputs { reconstruction: Some([f.clone(), shown]), ..Outputs::of_views(f.clone(), g.clone()) };
    let on_host = {
        let rows = [f.clone(), g.clone()].into_iter().chain(targets.into_iter().flatten()).map(|t| t.into_data());
        let rows = rows.flat_map(|data| data.try_to_vec::<f32>().unwrap()).collect();
        cosine.in_host_memory().unwrap().loss_and_gradient(rows, SHAPE.1, SHAPE.0)
    };
    for (name, loss, on_host) in [
        ("predicted_cosine", cosine.loss(predicted), Some(on_host)),
        ("masked_reconstruction", MaskedReconstruction { scale: 2.0 }.loss(decoded), None),
    ] {
        let expected = stored[name]["loss"].as_f64().unwrap();
        let gradient: Vec<f64> =
            stored[name]["gradient"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let largest = gradient.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        let value = loss.clone().into_scalar::<f64>();
        let gradients = loss.backward();
        let read = |x: &Tensor<2>| match x.grad(&gradients) {
            Some(gradient) => gradient.into_data().try_to_vec::<f32>().unwrap(),
            None => vec![0.0; SHAPE.0 * SHAPE.1],
        };
        for (value, ours) in [Some((value, [read(&f), read(&g)].concat())), on_host].into_iter().flatten() {
            assert!((value - expected).abs() < 2e-6 * expected.abs(), "{name}: {value} instead of {expected}");
            assert_eq!(ours.len(), gradient.len());
            for (ours, theirs) in ours.iter().zip(&gradient) {
                assert!((f64::from(*ours) - theirs).abs() < 1e-5 * largest, "{name}: {ours} instead of {theirs}");
            }
        }
    }
}

/// Without stop-gradient targets receive what predictions do, in both formulations.
#[test]
fn gradients_pass_through_targets_where_they_are_not_stopped() {
    let device = Device::flex().autodiff();
    let (n, m) = (5, 3);
    let parts: Vec<Rows> = [1, 901, 1801, 2701].map(|offset| rows(n, m, 1.0, offset)).into();
    for stop_gradient in [false, true] {
        let cosine = NegativeCosine { stop_gradient, epsilon: 1e-2 };
        let tensors: Vec<Tensor<2>> = parts.iter().map(|part| tensor(part, &device).require_grad()).collect();
        let [f, g, of_f, of_g] = [0, 1, 2, 3].map(|i| tensors[i].clone());
        let loss = cosine.loss(Outputs { targets: Some([of_f, of_g]), ..Outputs::of_views(f, g) });
        let value = loss.clone().into_scalar::<f64>();
        let pairs = negative_cosine(&parts[0], &parts[3], 1e-2) + negative_cosine(&parts[1], &parts[2], 1e-2);
        assert!((value - pairs / 2.0).abs() < 1e-6, "{value} {pairs}");
        let gradients = loss.backward();
        let passing = if stop_gradient { 2 } else { 4 };
        assert_eq!(tensors.iter().filter(|t| t.grad(&gradients).is_some()).count(), passing);
        let plain: Vec<f32> = tensors[..passing]
            .iter()
            .flat_map(|t| t.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap())
            .collect();
        let rows = parts.iter().flat_map(flat).collect();
        let (closed, gradient) = cosine.in_host_memory().unwrap().loss_and_gradient(rows, m, n);
        assert!((closed - value).abs() < 1e-6);
        assert_eq!(gradient.len(), plain.len());
        assert!(gradient.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-6), "{gradient:?} {plain:?}");
    }
}

/// Shown are 2 in the first and 6 in the second sample: `2·1 − 2` and `2·4 − 6`, squares 0 and 4, over 2B.
#[test]
fn a_reconstruction_counts_where_the_second_view_shows_something() {
    let device = Device::flex();
    let decoded = Tensor::<2>::from_data([[1.0, 20.0], [30.0, 4.0]], &device);
    let view = Tensor::<2>::from_data([[2.0, 0.0], [0.0, 6.0]], &device);
    let views = Outputs::of_views(decoded.clone(), decoded.clone());
    let outputs = Outputs { reconstruction: Some([decoded, view]), ..views };
    assert_eq!(MaskedReconstruction { scale: 2.0 }.loss(outputs).into_scalar::<f32>(), 1.0);
}

/// Rotates the first two coordinates.
fn rotated(f: &Rows, angle: f64) -> Rows {
    let (sin, cos) = angle.sin_cos();
    let turn = |row: &Vec<f64>| {
        let mut row = row.clone();
        (row[0], row[1]) = (cos * row[0] - sin * row[1], sin * row[0] + cos * row[1]);
        row
    };
    f.iter().map(turn).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Samples in another order, the two views exchanged, a rotation of outputs, another scale of each sample.
    #[test]
    fn symmetries_are_those_of_the_definitions(
        n in 3usize..20, offset in 0usize..10_000, shift in 1usize..19, angle in -3.0f64..3.0, scales in prop::collection::vec(0.2f64..4.0, 20),
    ) {
        let (f, g) = (rows(n, 4, 1.0, offset), rows(n, 4, 1.0, offset + 777));
        let permuted = |rows: &Rows| -> Rows { (0..n).map(|i| rows[(i + shift) % n].clone()).collect() };
        let scaled = |rows: &Rows| -> Rows {
            rows.iter().zip(&scales).map(|(row, scale)| row.iter().map(|v| v * scale).collect()).collect()
        };
        let info_nce = InfoNce {
            similarity: Similarity::Cosine, key_gradient: KeyGradient::Flows, temperature: 0.4, scale: LossScale::One,
            repulsion: 1.0,
        };
        let mut objectives: Vec<Box<dyn Objective>> = all().into_iter().map(|(objective, ..)| objective).collect();
        objectives.push(Box::new(info_nce));
        objectives.push(Box::new(NtXent { temperature: 0.4 }));
        for objective in objectives {
            let name = format!("{objective:?}");
            let here = value(&*objective, &f, &g);
            let same = |there: f64| (there - here).abs() < 2e-5 * (1.0 + here.abs());
            prop_assert!(same(value(&*objective, &permuted(&f), &permuted(&g))), "{name}: order");
            let is_symmetric = !name.starts_with("InfoNce");
            prop_assert!(!is_symmetric || same(value(&*objective, &g, &f)), "{name}: views exchanged");
            let is_of_columns = name.starts_with("Barlow") || name.starts_with("VicReg");
            prop_assert!(is_of_columns || same(value(&*objective, &rotated(&f, angle), &rotated(&g, angle))), "{name}: rotated");
            let is_of_angles =
                ["Balanced", "Decoupled", "Alignment", "InfoNce", "NtXent"].iter().any(|begin| name.starts_with(begin));
            prop_assert!(!is_of_angles || same(value(&*objective, &scaled(&f), &scaled(&g))), "{name}: scaled");
        }
    }
}
