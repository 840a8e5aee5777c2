//! Representation analysis: how sparse an encoder's activations are, which of its units are colour-selective, its first
//! filters, the top-activating images of its last units, and a map of images by their features.

use super::data::ImageData;
use crate::io::files::safetensors_bytes;
use burn::tensor::{Tensor, TensorData};
use cl_data::images::ImageSet;
use cl_data::{Part, Purpose, Stream, standard_normal};
use cl_model::Siamese;
use cl_model::activations::{ActivationSparsity, ColorSelectivity, FeatureDensity, color_fraction_of_filters};
use cl_model::conv::ImageEncoder;
use serde::{Deserialize, Serialize};

/// Maximum number of test images on which activations are computed.
pub const IMAGES: usize = 1000;

/// Units of the last layer whose top-activating images are kept, and images per unit.
const UNITS: usize = 12;
const IMAGES_PER_UNIT: usize = 8;

/// Perplexity and iterations of t-SNE.
pub const PERPLEXITY: f32 = 30.0;
const TSNE_EPOCHS: usize = 1000;

/// Minimum number of images for a map: each needs three neighbours.
const MIN_ON_MAP: usize = 4;

/// A unit is colour-selective when its response changes by this fraction once colour is taken away, see [`ColorSelectivity`].
pub const SELECTIVE: f64 = 0.5;

/// The results of the analysis; filters and images are in `analysis.safetensors`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepresentationAnalysis {
    /// Per layer, from the first to the last.
    pub layers: Vec<LayerActivity>,
    /// Per filter of the first layer, the fraction of its squared norm orthogonal to grey; empty if not exposed.
    pub filter_color_fractions: Vec<f64>,
    /// Perplexity of the map.
    pub perplexity: f64,
    /// Seed of the map.
    pub map_seed: u64,
    /// Test images on the map with their classes; empty if there are too few images or all features are the same.
    pub map: Vec<(f32, f32, usize)>,
}

/// How a layer responds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerActivity {
    /// Its name.
    pub name: String,
    /// Fraction of its activations that are zero.
    pub zero_fraction: f64,
    /// Participation ratio of its units' mean activations, mean over images, see [`FeatureDensity`].
    pub density: f64,
    /// Fraction of its units that are colour-selective, see [`SELECTIVE`].
    pub color_selective_fraction: f64,
}

/// Analyses an encoder outside autodiff; returns the results, and filters and images as safetensors.
pub fn analyse<E: ImageEncoder>(data: &ImageData, model: &Siamese<E>) -> (RepresentationAnalysis, Vec<u8>) {
    let test = &data.splits().test;
    let part = data.part_of_test(IMAGES);
    let filters = model.encoder.first_layer_filters();
    let activating = top_activating_images(data, model, part);
    let [height, width] = [test.height(), test.width()];
    let pixels: Vec<f32> = activating
        .iter()
        .flat_map(|(_, images)| images.iter().flat_map(|i| test.pixels(*i)))
        .map(|p| f32::from(*p) / 255.0)
        .collect();
    let units: Vec<f32> = activating.iter().map(|(unit, _)| *unit as f32).collect();
    let per_unit = IMAGES_PER_UNIT.min(part.len());
    let shape = [activating.len(), per_unit, 3, height, width];
    let mut tensors = vec![
        ("top_activating_images", TensorData::new(pixels, shape)),
        ("top_activating_units", TensorData::new(units, [activating.len()])),
    ];
    tensors.extend(filters.clone().map(|filters| ("first_layer_filters", filters.into_data())));
    let analysis = RepresentationAnalysis {
        layers: layers(data, model, part),
        filter_color_fractions: filters.map_or_else(Vec::new, color_fraction_of_filters),
        perplexity: f64::from(PERPLEXITY),
        map_seed: data.seed(),
        map: map(data, model, part),
    };
    (analysis, safetensors_bytes(tensors))
}

fn layers<E: ImageEncoder>(data: &ImageData, model: &Siamese<E>, part: &[usize]) -> Vec<LayerActivity> {
    let test = &data.splits().test;
    let mut seen: Vec<Layer> = Vec::new();
    for chunk in part.chunks(250) {
        let colored = model.encoder.forward_layers(data.inputs(test, chunk));
        let gray = without_color(&test.subset(chunk));
        let gray = model.encoder.forward_layers(data.inputs(&gray, &(0..chunk.len()).collect::<Vec<_>>()));
        for (k, ((name, colored), (_, gray))) in colored.into_iter().zip(gray).enumerate() {
            if k == seen.len() {
                seen.push(Layer { name, ..Layer::default() });
            }
            let [n, channels, _, _] = colored.dims();
            seen[k].sparsity.add(colored.clone());
            seen[k].density.add(colored.clone().mean_dim(2).mean_dim(3).reshape([n, channels]));
            seen[k].selectivity.add(colored, gray);
        }
    }
    let activity = |layer: Layer| {
        let selectivity = layer.selectivity.per_unit();
        let selective = selectivity.iter().filter(|v| **v >= SELECTIVE).count();
        LayerActivity {
            name: layer.name,
            zero_fraction: layer.sparsity.zero_fraction(),
            density: layer.density.participation_ratio(),
            color_selective_fraction: selective as f64 / selectivity.len() as f64,
        }
    };
    seen.into_iter().map(activity).collect()
}

/// What has been gathered about a layer.
#[derive(Default)]
struct Layer {
    name: String,
    sparsity: ActivationSparsity,
    density: FeatureDensity,
    selectivity: ColorSelectivity,
}

/// The same images in grey (ITU-R 601-2 luma).
fn without_color(images: &ImageSet) -> ImageSet {
    let plane = images.height() * images.width();
    let mut pixels = Vec::with_capacity(images.len() * 3 * plane);
    for i in 0..images.len() {
        let p = images.pixels(i);
        let gray: Vec<u8> = (0..plane)
            .map(|k| {
                let sum =
                    0.299 * f32::from(p[k]) + 0.587 * f32::from(p[plane + k]) + 0.114 * f32::from(p[2 * plane + k]);
                sum.round() as u8
            })
            .collect();
        (0..3).for_each(|_| pixels.extend_from_slice(&gray));
    }
    ImageSet::new(images.height(), images.width(), pixels, images.labels().to_vec(), images.class_names().to_vec())
        .expect("the same sizes as an image set")
}

/// The units of the last layer that stand out most, and the top-activating images of each, strongest first.
fn top_activating_images<E: ImageEncoder>(
    data: &ImageData,
    model: &Siamese<E>,
    part: &[usize],
) -> Vec<(usize, Vec<usize>)> {
    let features = data.features(model, &data.splits().test, part);
    let [n, units] = features.dims();
    let values: Vec<f32> = features.into_data().iter::<f32>().collect();
    let response = |image: usize, unit: usize| values[image * units + unit];
    // A unit stands out by the ratio of its largest response to its mean response.
    let standing_out = |unit: usize| {
        let mean = (0..n).map(|i| response(i, unit).abs()).sum::<f32>() / n as f32;
        let largest = (0..n).map(|i| response(i, unit)).fold(f32::NEG_INFINITY, f32::max);
        if mean > 0.0 { largest / mean } else { 0.0 }
    };
    let mut ranked: Vec<(usize, f32)> = (0..units).map(|unit| (unit, standing_out(unit))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked.truncate(UNITS);
    let most_activating = |unit: usize| {
        let mut images: Vec<usize> = (0..n).collect();
        images.sort_by(|a, b| response(*b, unit).total_cmp(&response(*a, unit)).then(a.cmp(b)));
        images.truncate(IMAGES_PER_UNIT);
        images.into_iter().map(|i| part[i]).collect()
    };
    ranked.into_iter().map(|(unit, _)| (unit, most_activating(unit))).collect()
}

/// t-SNE of the features of test images, initialised from the seed; empty for fewer than [`MIN_ON_MAP`] images.
fn map<E: ImageEncoder>(data: &ImageData, model: &Siamese<E>, part: &[usize]) -> Vec<(f32, f32, usize)> {
    if part.len() < MIN_ON_MAP {
        return Vec::new();
    }
    let test = &data.splits().test;
    let features = unit_rows(data.features(model, test, part));
    let dim = features.dims()[1];
    let values: Vec<f32> = features.into_data().iter::<f32>().collect();
    let rows: Vec<&[f32]> = values.chunks_exact(dim).collect();
    // Each image needs three times the perplexity in neighbours.
    let perplexity = PERPLEXITY.min(((part.len() - 1) / 3) as f32);
    let mut rng = Stream::new(data.seed(), Purpose::Evaluation).rng(Part::Whole, 0);
    let start: Vec<f32> = standard_normal(&mut rng, 2 * part.len()).into_iter().map(|v| 1e-4 * v).collect();
    let distance = |a: &&[f32], b: &&[f32]| a.iter().zip(*b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    // Threads add up sums in any order; on a single thread the same start gives the same map.
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
    let map = one_thread.install(|| {
        let mut tsne: bhtsne::tSNE<f32, &[f32], 2> = bhtsne::tSNE::new(&rows);
        tsne.perplexity(perplexity).epochs(TSNE_EPOCHS).initial_embedding(start).exact(distance);
        tsne.embedding()
    });
    if map.iter().any(|v| !v.is_finite()) {
        return Vec::new();
    }
    map.chunks_exact(2).zip(part).map(|(p, image)| (p[0], p[1], test.labels()[*image])).collect()
}

/// Rows scaled to unit length; a row of zeros stays zero.
fn unit_rows(rows: Tensor<2>) -> Tensor<2> {
    let norms = rows.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    rows / norms
}
