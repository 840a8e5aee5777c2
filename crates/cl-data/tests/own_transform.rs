//! A transform that is defined outside the crate.

use burn::tensor::{Device, Tensor, TensorData};
use cl_config::ConfigError;
use cl_data::images::ChannelStatistics;
use cl_data::images::augmentation::{
    Change, DrawRequest, GaussianBlur, Grayscale, MaskPairing, PixelMask, Transform, ViewPipeline,
};
use cl_data::{Purpose, Stream};
use std::ops::Range;

/// Colours stay what they are.
const STATISTICS: ChannelStatistics = ChannelStatistics { mean: [0.0; 3], std: [1.0; 3] };

/// One value each, in the middle of the range.
fn images(count: usize) -> Tensor<4> {
    let values = vec![0.5; count * 3 * 4 * 4];
    Tensor::from_data(TensorData::new(values, [count, 3, 4, 4]), &Device::flex())
}

/// Darkens each view by a factor in [0, 1), or after normalising.
#[derive(Debug)]
struct Darken {
    on_normalized: bool,
}

impl Transform for Darken {
    fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2] {
        assert_eq!(batch.size(), [4, 4]);
        batch.for_each_view(|rng| rand::Rng::next_u32(rng) as f32 / 2f32.powi(32), Darkened)
    }

    fn on_normalized(&self) -> bool {
        self.on_normalized
    }

    fn fits(&self, [height, _]: [usize; 2]) -> Result<(), ConfigError> {
        cl_config::at_least("height", height as u64, 4)
    }
}

#[derive(Debug)]
struct Darkened(Vec<f32>);

impl Change for Darkened {
    fn apply(&self, views: Tensor<4>, range: Range<usize>) -> Tensor<4> {
        let factors = Tensor::<1>::from_floats(&self.0[range], &views.device());
        views * factors.reshape([-1, 1, 1, 1])
    }
}

const ON_COLOURS: Darken = Darken { on_normalized: false };

/// The first value of each view, after all first views those of the second ones.
fn firsts(pipeline: &ViewPipeline) -> Vec<f32> {
    let stream = Stream::new(1, Purpose::ImageViews);
    let views = pipeline.stacked_views_in_chunks(&images(6), &STATISTICS, stream, 0, 4);
    views.slice([0..12, 0..1, 0..1, 0..1]).into_data().try_to_vec().unwrap()
}

fn darken(names: &[&str]) -> ViewPipeline {
    names.iter().try_fold(ViewPipeline::none(), |list, name| list.with(name, ON_COLOURS)).unwrap()
}

#[test]
fn each_view_of_each_image_is_changed_by_its_own_number() {
    let mut found = firsts(&darken(&["darken"]));
    assert!(found.iter().all(|value| (0.0..0.5).contains(value)), "{found:?}");
    found.sort_by(f32::total_cmp);
    found.dedup();
    assert_eq!(found.len(), 12);
}

#[test]
fn its_numbers_are_a_function_of_its_name_and_of_how_often_that_came_before() {
    let once = firsts(&darken(&["darken"]));
    let other = firsts(&darken(&["dim"]));
    assert_ne!(once, other);
    // Factors of both, whatever the order.
    let product: Vec<f32> = once.iter().zip(&other).map(|(a, b)| a * b / 0.5).collect();
    assert_close(&firsts(&darken(&["darken", "dim"])), &product);
    assert_close(&firsts(&darken(&["dim", "darken"])), &product);
    let twice = firsts(&darken(&["darken", "darken"]));
    let second: Vec<f32> = twice.iter().zip(&once).map(|(both, first)| both / first * 0.5).collect();
    assert!(second.iter().zip(&once).all(|(second, first)| (second - first).abs() > 1e-4));
    // The name of a transform of the crate is an address like any other to the one who takes it.
    assert_ne!(firsts(&darken(&[Grayscale::NAME])), once);
}

#[test]
fn it_stands_among_the_transforms_of_the_crate_and_moves_none_of_their_numbers() {
    let mask = PixelMask { keep_probability: 0.5, pairing: MaskPairing::Complementary };
    let masked = ViewPipeline::none().with(PixelMask::NAME, mask).unwrap();
    let zero = |values: Vec<f32>| values.iter().map(|value| *value == 0.0).collect::<Vec<_>>();
    let kept = zero(firsts(&masked));
    let before = darken(&["darken"]).with(PixelMask::NAME, mask).unwrap();
    let after = masked.with("darken", Darken { on_normalized: true }).unwrap();
    assert_eq!(zero(firsts(&before)), kept);
    assert_eq!(firsts(&before), firsts(&after));
    assert_ne!(firsts(&before), firsts(&darken(&["darken"])));
}

#[test]
fn its_place_and_what_it_asks_of_images_are_named_in_errors() {
    let mask = PixelMask { keep_probability: 0.5, pairing: MaskPairing::Independent };
    let masked = ViewPipeline::none().with(PixelMask::NAME, mask).unwrap();
    assert_eq!(
        masked.with("darken", ON_COLOURS).unwrap_err().to_string(),
        "transform[1] = darken is out of range; \
         it has to be before transform[0] random_mask, which works on normalised views"
    );
    let last = ViewPipeline::none().with("first", Darken { on_normalized: true }).unwrap();
    let error = last.with(GaussianBlur::NAME, GaussianBlur::simclr_at_32_pixels()).unwrap_err();
    assert!(error.to_string().contains("before transform[0] first"), "{error}");
    assert_eq!(darken(&["a", "b"]).fits([4, 9]), Ok(()));
    assert_eq!(
        darken(&["a", "b"]).fits([3, 9]).unwrap_err().to_string(),
        "transform[0].a.height = 3 is out of range; it has to be at least 4"
    );
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
}
