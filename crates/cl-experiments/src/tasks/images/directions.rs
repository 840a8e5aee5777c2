//! Decoupling on real images: along which directions of the pixels are the two views of an image correlated, and which
//! of them does the trained encoder keep?

use super::data::ImageData;
use super::dataset::{Dataset, ShapesSpec};
use burn::tensor::{Tensor, TensorData};
use cl_data::images::{ImageSet, ShapeLatents, ShapesModel};
use cl_data::{Purpose, Stream};
use cl_model::conv::ImageEncoder;
use cl_model::probe::{ProbeError, ridge_r_squared};
use cl_model::{Siamese, principal_directions};
use serde::{Deserialize, Serialize};

/// Maximum number of training images for directions and correlations, and of test images they are tested on.
pub const IMAGES: usize = 1024;

/// Leading principal directions.
const PRINCIPAL: usize = 16;

/// Pairs of views drawn per image.
pub const PAIRS: u64 = 4;

/// The first step whose views are used here: training does not get that far.
const FIRST_STEP: u64 = 1 << 40;

/// A direction of normalised pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// Its name: `brightness`, `red − green`, `yellow − blue`, or `PC k`.
    pub name: String,
    /// Fraction of the variance of the pixels along it.
    pub variance_fraction: f64,
    /// Correlation of the two views of an image along it, `E[⟨u,x⁺⟩⟨u,x⁺⁺⟩]` over the second moments, centred.
    /// 0 is decoupled; `None` where views do not vary along it, such as greyscale images along a colour.
    pub view_correlation: Option<f64>,
    /// `R²` on test images of `⟨u, x⟩` predicted from the features by ridge regression: what the encoder kept; `None`
    /// if images do not vary along it.
    pub kept_r_squared: Option<f64>,
}

/// A fraction of the variance that is at the level of single-precision rounding.
const ROUNDING_FRACTION: f64 = 1e-12;

/// Measures colour directions and leading principal directions, outside autodiff.
///
/// # Errors
/// [`ProbeError`] when features are not finite.
pub fn measure<E: ImageEncoder>(data: &ImageData, model: &Siamese<E>) -> Result<Vec<Direction>, ProbeError> {
    let (train, test) = (&data.splits().train, &data.splits().test);
    let (fitted, scored) = (data.part_of_train(IMAGES), data.part_of_test(IMAGES));
    let (x_train, x_test) = (flat(data.inputs(train, fitted)), flat(data.inputs(test, scored)));
    let principal = principal_directions(x_train.clone(), PRINCIPAL);
    let colors = color_directions(train.height() * train.width(), data);
    let names = ["brightness", "red − green", "yellow − blue"].map(String::from);
    let names = names.into_iter().chain((1..=principal.fractions.len()).map(|k| format!("PC {k}")));
    let directions = Tensor::cat(vec![colors, principal.directions], 0).transpose();

    let total = x_train.clone() - x_train.clone().mean_dim(0);
    let total: f64 = total.square().sum().into_scalar();
    let correlations = view_correlations(data, &directions, fitted, total / fitted.len() as f64);
    let [along_train, along_test] = [x_train, x_test].map(|x| columns(x.matmul(directions.clone())));
    let features = [data.features(model, train, fitted), data.features(model, test, scored)];
    names
        .enumerate()
        .map(|(k, name)| {
            let [train, test] = features.clone();
            let variance_fraction = if total > 0.0 { centred_square(&along_train[k]) / total } else { 0.0 };
            let kept = ridge_r_squared(train, &along_train[k], test, &along_test[k])?;
            Ok(Direction {
                name,
                variance_fraction,
                view_correlation: correlations[k],
                kept_r_squared: kept.filter(|_| variance_fraction > ROUNDING_FRACTION),
            })
        })
        .collect()
}

/// How well a latent of generated images can be read off the features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latent {
    /// Its name.
    pub name: String,
    /// `R²` on test images by ridge regression, mean over its coordinates; `None` where one does not vary.
    pub kept_r_squared: Option<f64>,
}

/// A latent's name and its coordinates.
type OfLatents = (&'static str, fn(&ShapeLatents) -> Vec<f64>);

/// Measures the latents of generated images; `None` for other images. The class is left to the probe.
///
/// # Errors
/// [`ProbeError`] when features are not finite.
pub fn latents<E: ImageEncoder>(data: &ImageData, model: &Siamese<E>) -> Result<Option<Vec<Latent>>, ProbeError> {
    let Dataset::Shapes(spec) = data.spec().data.dataset else { return Ok(None) };
    let [train, test] = latents_of(&spec);
    let of: [OfLatents; 4] = [
        ("colour of the shape", |l| l.foreground.map(f64::from).into()),
        ("colour of the ground", |l| l.ground.map(f64::from).into()),
        ("position", |l| l.centre.map(f64::from).into()),
        ("size", |l| vec![f64::from(l.radius)]),
    ];
    let splits = data.splits();
    let all = |images: &ImageSet| (0..images.len()).collect::<Vec<_>>();
    let features = [&splits.train, &splits.test].map(|images| data.features(model, images, &all(images)));
    let latent = |(name, read): OfLatents| {
        let coordinates = read(&train[0]).len();
        let column = |of: &[ShapeLatents], k: usize| of.iter().map(|l| read(l)[k]).collect::<Vec<f64>>();
        let r_squared =
            |k: usize| ridge_r_squared(features[0].clone(), &column(&train, k), features[1].clone(), &column(&test, k));
        let of_coordinates = (0..coordinates).map(r_squared).collect::<Result<Option<Vec<f64>>, _>>()?;
        let mean = of_coordinates.map(|r| r.iter().sum::<f64>() / coordinates as f64);
        Ok(Latent { name: name.into(), kept_r_squared: mean })
    };
    of.into_iter().map(latent).collect::<Result<_, _>>().map(Some)
}

/// Unit directions of the mean colour: brightness, red against green, yellow against blue, `[3, 3 h w]`.
fn color_directions(plane: usize, data: &ImageData) -> Tensor<2> {
    const COLORS: [[f64; 3]; 3] = [[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]];
    let values: Vec<f32> = COLORS
        .iter()
        .flat_map(|color| {
            let norm = (color.iter().map(|c| c * c).sum::<f64>() * plane as f64).sqrt();
            color.iter().flat_map(move |c| std::iter::repeat_n((c / norm) as f32, plane))
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [3, 3 * plane]), data.device())
}

/// Views of training images for one of the pairs, first views first, `[2n, 3, h, w]`.
pub fn views(data: &ImageData, images: &[usize], pair: u64) -> Tensor<4> {
    data.views(&data.splits().train, images, Purpose::HeldOutImageViews, FIRST_STEP + pair)
}

/// The latents of the training and the test images of generated shapes.
pub fn latents_of(spec: &ShapesSpec) -> [Vec<ShapeLatents>; 2] {
    let stream = Stream::new(spec.seed, Purpose::GeneratedImages);
    [(spec.train, 0), (spec.test, 1)].map(|(count, step)| ShapesModel::default().sample(count, stream, step).latents)
}

/// Correlation per direction; `variance` is that of all pixels of an image.
fn view_correlations(data: &ImageData, directions: &Tensor<2>, images: &[usize], variance: f64) -> Vec<Option<f64>> {
    let count = images.len();
    let mut sides: [Vec<Vec<f64>>; 2] =
        [vec![Vec::new(); directions.dims()[1]], vec![Vec::new(); directions.dims()[1]]];
    for pair in 0..PAIRS {
        let views = views(data, images, pair);
        for (half, side) in sides.iter_mut().enumerate() {
            let along = flat(views.clone().narrow(0, half * count, count)).matmul(directions.clone());
            for (all, new) in side.iter_mut().zip(columns(along)) {
                all.extend(new);
            }
        }
    }
    let [first, second] = &sides;
    first.iter().zip(second).map(|(a, b)| correlation(a, b, ROUNDING_FRACTION * variance)).collect()
}

fn flat(images: Tensor<4>) -> Tensor<2> {
    let [n, c, h, w] = images.dims();
    images.reshape([n, c * h * w])
}

fn columns(rows: Tensor<2>) -> Vec<Vec<f64>> {
    let [_, k] = rows.dims();
    let values: Vec<f64> = rows.into_data().iter::<f64>().collect();
    (0..k).map(|c| values.iter().skip(c).step_by(k).copied().collect()).collect()
}

fn centred_square(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - mean).powi(2)).sum()
}

/// Pearson correlation; `None` if the variance of either side is at most `rounding`.
fn correlation(a: &[f64], b: &[f64], rounding: f64) -> Option<f64> {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let product: f64 = a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum();
    let (va, vb) = (centred_square(a), centred_square(b));
    (va.min(vb) > rounding * a.len() as f64).then(|| product / (va * vb).sqrt())
}
