//! Properties of lists of transforms.

use super::testing::{STATISTICS, assert_close, images, stream, values};
use super::*;
use crate::{Purpose, Stream};
use burn::tensor::{Device, Tensor};
use std::ops::Range;
use std::sync::Arc;

type Named = (String, Arc<dyn Transform>);

fn named(name: &str, transform: impl Transform + 'static) -> Named {
    (name.into(), Arc::new(transform))
}

fn flip() -> Named {
    named(HorizontalFlip::NAME, HorizontalFlip { probability: 0.5 })
}

fn jitter() -> Named {
    named(ColorJitter::NAME, ColorJitter { probability: 1.0, ..ColorJitter::simclr_cifar() })
}

fn grey(probability: f64) -> Named {
    named(Grayscale::NAME, Grayscale { probability })
}

fn blur(kernel_size: usize) -> Named {
    named(GaussianBlur::NAME, GaussianBlur { kernel_size, ..GaussianBlur::simclr_at_32_pixels() })
}

fn mask() -> Named {
    named(PixelMask::NAME, PixelMask { keep_probability: 0.5, pairing: MaskPairing::Complementary })
}

/// All transforms of this crate. The flip comes before the crop, so that none is fused with another.
fn all() -> Vec<Named> {
    let crop = named(RandomResizedCrop::NAME, RandomResizedCrop::simclr());
    vec![flip(), crop, jitter(), grey(0.5), blur(3), mask()]
}

fn pipeline(transforms: impl IntoIterator<Item = Named>) -> ViewPipeline {
    ViewPipeline::new(transforms.into_iter().collect()).unwrap()
}

/// All transforms but the mask, in SimCLR's order.
fn everything() -> ViewPipeline {
    ViewPipeline::simclr_cifar().with(GaussianBlur::NAME, GaussianBlur::simclr_at_32_pixels()).unwrap()
}

fn stacked(pipeline: &ViewPipeline, count: usize) -> Vec<f32> {
    values(&pipeline.stacked_views(&images(count), &STATISTICS, stream(), 0))
}

/// The parameters of each change, in order, of the first and of the second views of 9 images.
fn drawn(pipeline: &ViewPipeline) -> [Vec<String>; 2] {
    let changes = pipeline.draw(9, [8, 12], &STATISTICS, stream(), 2);
    changes.map(|changes| changes.iter().map(|change| format!("{change:?}")).collect())
}

#[test]
fn without_transforms_both_views_are_the_normalised_image() {
    let images = images(5);
    let normalised: Vec<f32> = values(&images)
        .iter()
        .enumerate()
        .map(|(k, value)| (value - STATISTICS.mean[k / 96 % 3]) / STATISTICS.std[k / 96 % 3])
        .collect();
    let views = ViewPipeline::none().views(&images, &STATISTICS, stream(), 3);
    assert_eq!(values(&views.first), normalised);
    assert_eq!(values(&views.second), normalised);
}

#[test]
fn views_are_a_function_of_seed_purpose_and_step() {
    let images = images(6);
    let views = |stream, step| values(&everything().stacked_views(&images, &STATISTICS, stream, step));
    let base = views(stream(), 4);
    assert_eq!(base, views(stream(), 4));
    assert_ne!(base, views(stream(), 5));
    assert_ne!(base, views(Stream::new(2, Purpose::ImageViews), 4));
    assert_ne!(base, views(Stream::new(1, Purpose::HeldOutImageViews), 4));
    let (first, second) = base.split_at(base.len() / 2);
    assert_ne!(first, second);
}

#[test]
fn later_images_change_nothing_for_earlier_ones() {
    let few = everything().views(&images(3), &STATISTICS, stream(), 0);
    let more = everything().views(&images(40), &STATISTICS, stream(), 0);
    for (few, more) in [(few.first, more.first), (few.second, more.second)] {
        assert_close(&few, &more.narrow(0, 0, 3));
    }
}

#[test]
fn stacked_views_are_the_first_then_the_second_whatever_the_chunks() {
    let images = images(7);
    let views = everything().views(&images, &STATISTICS, stream(), 0);
    let expected = Tensor::cat(vec![views.first, views.second], 0);
    for chunk in [1, 3, 7, 100] {
        assert_close(&everything().stacked_views_in_chunks(&images, &STATISTICS, stream(), 0, chunk), &expected);
    }
}

#[test]
fn a_transform_left_out_leaves_the_parameters_of_the_others() {
    let whole = drawn(&pipeline(all()));
    assert_ne!(whole[0], whole[1]);
    for place in 0..all().len() {
        let mut fewer = all();
        fewer.remove(place);
        let mut expected = whole.clone();
        // Normalisation comes between the blur and the mask.
        expected.iter_mut().for_each(|view| _ = view.remove(if place == 5 { 6 } else { place }));
        assert_eq!(drawn(&pipeline(fewer)), expected, "without {}", all()[place].0);
    }
}

#[test]
fn another_order_of_transforms_has_the_same_parameters_and_other_views() {
    let [one_way, other_way] = [pipeline([jitter(), grey(0.5)]), pipeline([grey(0.5), jitter()])];
    let mut parameters = drawn(&one_way);
    parameters.iter_mut().for_each(|view| view.swap(0, 1));
    assert_eq!(drawn(&other_way), parameters);
    assert_ne!(stacked(&one_way, 9), stacked(&other_way, 9));
    // Grey either way, but not the same.
    let of =
        |pipeline: &ViewPipeline| STATISTICS.denormalise(pipeline.views(&images(9), &STATISTICS, stream(), 0).first);
    let [before, after] = [of(&pipeline([grey(1.0), jitter()])), of(&pipeline([jitter(), grey(1.0)]))];
    for views in [&before, &after] {
        assert_close(&views.clone().narrow(1, 0, 1), &views.clone().narrow(1, 2, 1));
    }
    assert_ne!(values(&before), values(&after));
}

#[test]
fn a_transform_that_comes_twice_draws_other_numbers() {
    for once in all() {
        let normalised = once.1.on_normalized();
        for (single, double) in
            drawn(&pipeline([once.clone()])).iter().zip(drawn(&pipeline([once.clone(), once.clone()])))
        {
            let [first, second] = if normalised { [1, 2] } else { [0, 1] };
            assert_eq!((single[first].as_str(), double.len()), (double[first].as_str(), 3), "{}", once.0);
            assert_ne!(double[first], double[second], "{}", once.0);
        }
    }
}

#[test]
fn both_masks_of_a_second_transform_are_its_own() {
    let pairing = MaskPairing::Independent;
    let mask = || named(PixelMask::NAME, PixelMask { keep_probability: 0.5, pairing });
    let [first, second] = drawn(&pipeline([mask(), mask()]));
    let masks = [&first[1], &first[2], &second[1], &second[2]];
    for (i, mask) in masks.iter().enumerate() {
        assert!(!masks[..i].contains(mask), "mask {i} comes twice");
    }
}

#[test]
fn views_are_normalised_right_before_what_works_on_normalised_views() {
    let kinds = |transforms: Vec<Named>| {
        let kind = |change: &String| change.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
        drawn(&pipeline(transforms))[0].iter().map(kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(vec![]), ["Normalisation"]);
    assert_eq!(kinds(vec![grey(0.5), blur(3)]), ["GreyMarks", "Blurs", "Normalisation"]);
    assert_eq!(kinds(vec![mask(), mask()]), ["Normalisation", "PixelFactors", "PixelFactors"]);
    assert_eq!(kinds(vec![grey(0.5), mask()]), ["GreyMarks", "Normalisation", "PixelFactors"]);
}

#[test]
fn colours_after_normalising_are_refused_in_words() {
    let refused = |transforms: Vec<Named>| ViewPipeline::new(transforms).unwrap_err().to_string();
    let end = "which works on normalised views";
    assert_eq!(
        refused(vec![flip(), mask(), grey(0.5)]),
        format!("transform[2] = grayscale is out of range; it has to be before transform[1] random_mask, {end}")
    );
    assert_eq!(
        refused(vec![mask(), mask(), flip(), grey(0.5)]),
        format!("transform[2] = horizontal_flip is out of range; it has to be before transform[0] random_mask, {end}")
    );
    let error = pipeline([mask()]).with("grey again", Grayscale { probability: 1.0 }).unwrap_err();
    assert_eq!((error.key.as_str(), error.value.as_str()), ("transform[1]", "grey again"));
}

#[test]
fn what_does_not_fit_the_images_is_named_with_its_place() {
    let blurs = pipeline([flip(), blur(3), blur(17)]);
    assert_eq!(blurs.fits([9, 12]), Ok(()));
    assert_eq!(
        blurs.fits([12, 8]).unwrap_err().to_string(),
        "transform[2].gaussian_blur.kernel_size = 17 is out of range; \
         it has to be at most 15, so that half of it is smaller than images of 8 pixels"
    );
    assert_eq!(blurs.fits([1, 1]).unwrap_err().key, "transform[1].gaussian_blur.kernel_size");
    assert_eq!(pipeline(all()).fits([2, 2]), Ok(()));
}

#[test]
fn the_list_of_names_is_the_names_of_all_transforms() {
    let mut names: Vec<_> = all().into_iter().map(|(name, _)| name).collect();
    names.swap(0, 1);
    assert_eq!(names, ViewPipeline::BUILT_IN);
}

/// Takes a row of pixels away.
#[derive(Debug)]
struct Shrink;

impl Transform for Shrink {
    fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2] {
        batch.for_each_view(|_| (), |_| Shrink)
    }
}

impl Change for Shrink {
    fn apply(&self, views: Tensor<4>, _: Range<usize>) -> Tensor<4> {
        views.narrow(2, 1, 7)
    }
}

#[test]
#[should_panic(expected = "a change of views has to keep their shape")]
fn a_change_of_shape_is_refused() {
    stacked(&pipeline([named("shrink", Shrink)]), 2);
}

/// `Σ w v` has the gradient `v` in `w`, whether the images were under autodiff or not.
#[test]
fn views_are_constants_under_autodiff() {
    let device = Device::flex().autodiff();
    for images in [images(2), images(2).autodiff()] {
        let views = everything().stacked_views(&images, &STATISTICS, stream(), 0);
        assert!(!views.is_autodiff());
        let weights = Tensor::<4>::ones(views.dims(), &device).require_grad();
        for used in [views.clone(), views.clone().autodiff()] {
            let gradients = (weights.clone() * used).sum().backward();
            assert_eq!(values(&weights.grad(&gradients).unwrap()), values(&views));
        }
    }
}
