//! What is measured of an image encoder with known answers: its features are the mean colours of an image.

use crate::images::spec;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use cl_experiments::tasks::images::analysis::analyse;
use cl_experiments::tasks::images::data::ImageData;
use cl_experiments::tasks::images::directions::{self, Direction};
use cl_experiments::tasks::images::spec::ImageViewsSpec;
use cl_experiments::tasks::task::Place;
use cl_model::conv::{ImageEncoder, ImageShape};
use cl_model::{Encoder, Siamese};
use safetensors::SafeTensors;

/// Colours before they were normalised; `seen` scales them.
#[derive(Module, Debug)]
struct MeanColors {
    mean: Param<Tensor<1>>,
    std: Param<Tensor<1>>,
    seen: Param<Tensor<1>>,
}

impl MeanColors {
    fn colors(&self, x: Tensor<4>) -> Tensor<4> {
        x * self.std.val().reshape([1, 3, 1, 1]) + self.mean.val().reshape([1, 3, 1, 1])
    }
}

impl Encoder for MeanColors {
    type Input = Tensor<4>;
    type Shape = ImageShape;

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let [n, ..] = x.dims();
        self.colors(x).mean_dim(2).mean_dim(3).reshape([n, 3]) * self.seen.val().reshape([1, 3])
    }

    fn feature_dim(&self) -> usize {
        3
    }
}

impl ImageEncoder for MeanColors {
    /// A unit for brightness, which grey images have as well, and one for red against green, which they have not.
    fn forward_layers(&self, x: Tensor<4>) -> Vec<(String, Tensor<4>)> {
        let colors = self.colors(x);
        let [red, green, blue] = [0, 1, 2].map(|c| colors.clone().narrow(1, c, 1));
        let brightness = red.clone() * 0.299 + green.clone() * 0.587 + blue * 0.114;
        vec![("opponents".into(), Tensor::cat(vec![brightness, red - green], 1))]
    }
}

fn data() -> ImageData {
    let mut spec = spec(("seed = 7", "seed = 7"));
    spec.views = ImageViewsSpec::default();
    ImageData::new(&spec, 1, Place { device_name: "flex", device: &Device::flex(), data_dir: None }).unwrap()
}

fn seeing(data: &ImageData, seen: [f32; 3]) -> Siamese<MeanColors> {
    let param = |values: [f32; 3]| Param::from_tensor(Tensor::from_data(values, &Device::flex()));
    let statistics = data.statistics();
    let [mean, std] = [&statistics.mean, &statistics.std].map(|v| [v[0], v[1], v[2]]);
    let encoder = MeanColors { mean: param(mean), std: param(std), seen: param(seen) };
    Siamese::of_encoder(encoder)
}

fn kept(directions: &[Direction], name: &str) -> f64 {
    directions.iter().find(|d| d.name == name).unwrap().kept_r_squared.unwrap()
}

#[test]
fn an_encoder_keeps_the_directions_that_its_features_span_and_no_others() {
    let data = data();
    let all = directions::measure(&data, &seeing(&data, [1.0; 3])).unwrap();
    let red = directions::measure(&data, &seeing(&data, [1.0, 0.0, 0.0])).unwrap();
    let blind = directions::measure(&data, &seeing(&data, [0.0; 3])).unwrap();
    for name in ["brightness", "red − green", "yellow − blue"] {
        assert!(kept(&all, name) > 0.9999, "{name}: {}", kept(&all, name));
        // The mean of the training images predicts test images no better than their own.
        assert!(kept(&blind, name) <= 0.0, "{name}: {}", kept(&blind, name));
        assert!(kept(&red, name) < 0.9, "{name}: {}", kept(&red, name));
    }
    // Red is a third of brightness and half of the contrast with green.
    assert!(kept(&red, "brightness") > 0.2 && kept(&red, "red − green") > 0.2);
    assert_eq!(all.len(), 3 + 16);
    assert!(all.iter().all(|d| (d.view_correlation.unwrap() - 1.0).abs() < 1e-6), "both views are the image");
}

#[test]
fn variances_along_directions_are_those_of_the_pixels() {
    let data = data();
    let found = directions::measure(&data, &seeing(&data, [1.0; 3])).unwrap();
    let images = data.part_of_train(directions::IMAGES);
    let train = &data.splits().train;
    let plane = train.height() * train.width();
    let x: Vec<f64> = data.inputs(train, images).into_data().iter::<f64>().collect();
    let rows: Vec<&[f64]> = x.chunks_exact(3 * plane).collect();
    let spread = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
    };
    let total: f64 = (0..3 * plane).map(|k| spread(&rows.iter().map(|row| row[k]).collect::<Vec<_>>())).sum();
    for (name, color) in
        [("brightness", [1.0, 1.0, 1.0]), ("red − green", [1.0, -1.0, 0.0]), ("yellow − blue", [1.0, 1.0, -2.0])]
    {
        let norm = (color.iter().map(|c: &f64| c * c).sum::<f64>() * plane as f64).sqrt();
        let along = |row: &&[f64]| {
            (0..3).map(|c| color[c] * row[c * plane..(c + 1) * plane].iter().sum::<f64>()).sum::<f64>() / norm
        };
        let expected = spread(&rows.iter().map(along).collect::<Vec<_>>()) / total;
        let direction = found.iter().find(|d| d.name == name).unwrap();
        assert!((direction.variance_fraction - expected).abs() < 1e-5, "{name}: {direction:?}, not {expected}");
    }
    let principal: Vec<f64> = found[3..].iter().map(|d| d.variance_fraction).collect();
    assert!(principal.is_sorted_by(|a, b| a >= b) && principal.iter().sum::<f64>() < 1.0, "{principal:?}");
    assert!(principal[0] >= found[0].variance_fraction, "no direction has more variance than the first");
}

#[test]
fn top_activating_images_are_those_with_most_of_a_units_colour() {
    let data = data();
    let (analysis, bytes) = analyse(&data, &seeing(&data, [1.0; 3]));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let data = tensors.tensor(name).unwrap().data().chunks_exact(4);
        data.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let (units, pictures) = (values("top_activating_units"), values("top_activating_images"));
    let test = &data.splits().test;
    let plane = test.height() * test.width();
    assert_eq!(tensors.tensor("top_activating_images").unwrap().shape(), [3, 8, 3, test.height(), test.width()]);
    let amount = |picture: &[f32], channel: usize| picture[channel * plane..(channel + 1) * plane].iter().sum::<f32>();
    let of_test: Vec<Vec<f32>> =
        (0..test.len()).map(|i| test.pixels(i).iter().map(|p| f32::from(*p) / 255.0).collect()).collect();
    // Units with the largest ratio of their largest response to their mean come first.
    let standing_out = |channel: usize| {
        let amounts: Vec<f32> = of_test.iter().map(|picture| amount(picture, channel)).collect();
        amounts.iter().copied().fold(0.0, f32::max) / (amounts.iter().sum::<f32>() / amounts.len() as f32)
    };
    assert!(units.is_sorted_by(|a, b| standing_out(*a as usize) >= standing_out(*b as usize) - 1e-4), "{units:?}");
    for (unit, row) in units.iter().zip(pictures.chunks_exact(8 * 3 * plane)) {
        let channel = *unit as usize;
        let mut best: Vec<&Vec<f32>> = of_test.iter().collect();
        best.sort_by(|a, b| amount(b, channel).total_cmp(&amount(a, channel)));
        for (shown, expected) in row.chunks_exact(3 * plane).zip(best) {
            assert_eq!(amount(shown, channel), amount(expected, channel), "unit {channel}");
        }
    }
    let [layer] = &analysis.layers[..] else { panic!("one layer") };
    assert_eq!((layer.name.as_str(), layer.color_selective_fraction), ("opponents", 0.5));
    assert!(analysis.filter_color_fractions.is_empty() && analysis.map.len() == test.len());
}
