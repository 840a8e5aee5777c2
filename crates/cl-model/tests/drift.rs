//! The drift that each objective states, against its gradient averaged over many samples.

use burn::tensor::{Device, Distribution, Tensor};
use cl_model::drift::LinearModel;
use cl_model::objectives::{BarlowTwins, DecoupledNtXent, NegativeCosine, Objective, Outputs, Spectral, VicReg};
use cl_model::{InfoNce, KeyGradient, LossScale, NtXent, Similarity};
use faer::Mat;

const M: usize = 48;
const D1: usize = 64;
const BATCH: usize = 1024;
const BATCHES: usize = 12;

fn matrix(tensor: Tensor<2>) -> Mat<f64> {
    let [rows, cols] = tensor.dims();
    let values: Vec<f64> = tensor.into_data().iter::<f64>().collect();
    Mat::from_fn(rows, cols, |r, c| values[r * cols + c])
}

/// Observations with four directions of larger variance, masked in one half or independently, scaled by 2.
struct World {
    /// Standard deviations along coordinates, mixed by a rotation.
    root: Tensor<2>,
    complementary: bool,
    device: Device,
}

impl World {
    fn new(complementary: bool) -> Self {
        let device = Device::flex();
        device.seed(5);
        let features = Tensor::<2>::random([4, D1], Distribution::Normal(0.0, 1.0 / (D1 as f64).sqrt()), &device);
        let root = Tensor::eye(D1, &device) * 0.5 + features.clone().transpose().matmul(features);
        Self { root, complementary, device }
    }

    fn observations(&self) -> Tensor<2> {
        Tensor::random([BATCH, D1], Distribution::Normal(0.0, 1.0), &self.device).matmul(self.root.clone())
    }

    fn views(&self) -> [Tensor<2>; 2] {
        let x = self.observations();
        let mask =
            || Tensor::<2>::random(x.dims(), Distribution::Uniform(0.0, 1.0), &self.device).lower_scalar(0.5).float();
        let first = mask();
        let second = if self.complementary { first.clone() * -1.0 + 1.0 } else { mask() };
        [first, second].map(|mask| x.clone() * mask * 2.0)
    }

    fn model(&self, weights: &Tensor<2>) -> LinearModel {
        let second_moment = matrix(self.root.clone().transpose().matmul(self.root.clone()));
        let diagonal = |factor: f64, others: f64| {
            Mat::from_fn(D1, D1, |r, c| second_moment[(r, c)] * if r == c { factor } else { others })
        };
        LinearModel {
            weights: matrix(weights.clone()),
            cross_view: diagonal(if self.complementary { 0.0 } else { 1.0 }, 1.0),
            view: diagonal(2.0, 1.0),
            negatives: Some(second_moment.clone()),
            batch_size: BATCH,
            num_negatives: BATCH,
        }
    }

    /// Minus the gradient, averaged.
    fn measured(&self, objective: &dyn Objective, weights: &Tensor<2>) -> Mat<f64> {
        let mut sum = Mat::zeros(M, D1);
        for _ in 0..BATCHES {
            let parameters = Tensor::from_data(weights.to_data(), &self.device.clone().autodiff()).require_grad();
            let encode = |x: Tensor<2>| {
                Tensor::from_data(x.into_data(), &parameters.device()).matmul(parameters.clone().transpose())
            };
            let [first, second] = self.views().map(encode);
            let negatives = objective.takes_negatives().then(|| encode(self.observations()));
            let loss = objective.loss(Outputs { negatives, ..Outputs::of_views(first, second) });
            sum -= matrix(parameters.grad(&loss.backward()).unwrap());
        }
        sum * faer::Scale(1.0 / BATCHES as f64)
    }
}

/// Lengths of the weights change at the rate `⟨drift, W P⟩/‖W P‖²` along the four directions and along the rest.
fn rates(drift: &Mat<f64>, weights: &Mat<f64>, world: &World) -> [f64; 2] {
    let root = matrix(world.root.clone());
    let eigen = root.self_adjoint_eigen(faer::Side::Lower).unwrap();
    let (drift, weights) = (drift * eigen.U(), weights * eigen.U());
    let rate = |columns: std::ops::Range<usize>| {
        let of = |a: &Mat<f64>, b: &Mat<f64>| -> f64 {
            columns.clone().map(|c| (0..M).map(|i| a[(i, c)] * b[(i, c)]).sum::<f64>()).sum()
        };
        of(&drift, &weights) / of(&weights, &weights)
    };
    [rate(D1 - 4..D1), rate(0..D1 - 4)]
}

/// Deviations that leave every hinge of VICReg active, and cosines of an effective rank near 40.
#[test]
fn drifts_are_minus_the_mean_gradients() {
    let info_nce = InfoNce {
        similarity: Similarity::InnerProduct,
        key_gradient: KeyGradient::Stopped,
        temperature: 1.0,
        scale: LossScale::Temperature,
        repulsion: 1.0,
    };
    let vicreg = VicReg { invariance: 2.0, variance: 3.0, covariance: 40.0, epsilon: 1e-6 };
    // How well lengths concentrate bounds what is known about cosines.
    let objectives: [(Box<dyn Objective>, f64); 7] = [
        (Box::new(info_nce), 0.02),
        (Box::new(Spectral {}), 0.01),
        (Box::new(BarlowTwins { off_diagonal: 0.3, epsilon: 1e-6 }), 0.02),
        (Box::new(vicreg), 0.01),
        (Box::new(NegativeCosine { stop_gradient: true, epsilon: 1e-6 }), 0.2),
        (Box::new(NtXent { temperature: 0.5 }), 0.2),
        (Box::new(DecoupledNtXent { temperature: 0.5 }), 0.2),
    ];
    for complementary in [true, false] {
        let world = World::new(complementary);
        let weights = Tensor::<2>::random([M, D1], Distribution::Normal(0.0, 0.03), &world.device);
        let model = world.model(&weights);
        for (objective, within) in &objectives {
            let predicted = objective.drift(&model).unwrap();
            let measured = world.measured(&**objective, &weights);
            let [found, expected] = [&measured, &predicted].map(|drift| rates(drift, &model.weights, &world));
            let largest = expected[0].abs().max(expected[1].abs());
            for (f, e) in found.into_iter().zip(expected) {
                assert!(
                    (f - e).abs() < within * largest,
                    "{objective:?}, {complementary}: {found:?} instead of {expected:?}"
                );
            }
        }
    }
}

/// With one output, columns and lengths are numbers: `w = 1`, `C = ½`, `G = 2`.
#[test]
fn one_output_by_hand() {
    let number = |value: f64| Mat::from_fn(1, 1, |_, _| value);
    let model = LinearModel {
        weights: number(1.0),
        cross_view: number(0.5),
        view: number(2.0),
        negatives: Some(number(3.0)),
        batch_size: 5,
        num_negatives: 4,
    };
    let drift = |objective: &dyn Objective| objective.drift(&model).unwrap()[(0, 0)];
    assert!((drift(&Spectral {}) - 4.0 * (0.5 - 4.0)).abs() < 1e-12);
    // κ = 4/5, Σ A G = 6.
    assert!((drift(&InfoNce::paper(2.0)) - 0.8 * (0.5 - 3.0)).abs() < 1e-12);
    // Nothing turns in one dimension.
    assert!(drift(&NegativeCosine { stop_gradient: true, epsilon: 1e-6 }).abs() < 1e-12);
    assert!(drift(&NtXent { temperature: 0.5 }).abs() < 1e-12);
    assert!(drift(&BarlowTwins { off_diagonal: 1.0, epsilon: 1e-12 }).abs() < 1e-6);
    // −4·2·(2 − ½): deviation √2 is beyond the hinge, and there are no other outputs.
    let vicreg = VicReg { invariance: 2.0, variance: 3.0, covariance: 1.0, epsilon: 1e-12 };
    assert!((drift(&vicreg) + 12.0).abs() < 1e-9);
}
