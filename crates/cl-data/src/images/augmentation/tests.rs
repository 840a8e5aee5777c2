use super::*;
use crate::{Part, Purpose};
use burn::tensor::{Device, TensorData};

const STATISTICS: ChannelStatistics = ChannelStatistics { mean: [0.49, 0.48, 0.45], std: [0.25, 0.24, 0.26] };

fn stream() -> Stream {
    Stream::new(1, Purpose::ImageViews)
}

/// Images of 8 × 12 pixels with values in [0, 1], no two alike.
fn images(count: usize) -> Tensor<4> {
    let pixels = count * 3 * 8 * 12;
    let values: Vec<f32> = (0..pixels).map(|k| (k as f32 * 0.618_034).fract()).collect();
    Tensor::from_data(TensorData::new(values, [count, 3, 8, 12]), &Device::flex())
}

fn values(tensor: &Tensor<4>) -> Vec<f32> {
    tensor.to_data().try_to_vec().unwrap()
}

/// All operations but the mask.
fn everything() -> ImageAugmentation {
    let gaussian_blur = Some(GaussianBlur::simclr_at_32_pixels());
    ImageAugmentation { gaussian_blur, ..ImageAugmentation::simclr_cifar() }
}

fn masked(keep_probability: f64, pairing: MaskPairing) -> ImageAugmentation {
    ImageAugmentation { random_mask: Some(PixelMask { keep_probability, pairing }), ..ImageAugmentation::none() }
}

#[test]
fn without_operations_both_views_are_the_normalised_image() {
    let images = images(5);
    let normalised: Vec<f32> = values(&images)
        .iter()
        .enumerate()
        .map(|(k, value)| (value - STATISTICS.mean[k / 96 % 3]) / STATISTICS.std[k / 96 % 3])
        .collect();
    let views = ImageAugmentation::none().views(&images, &STATISTICS, stream(), 3);
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

/// Sums may be taken in another order: a few units of 2⁻²⁴ of values up to 2, over a standard deviation of ¼.
fn assert_close(found: &Tensor<4>, expected: &Tensor<4>) {
    let difference: f32 = (found.clone() - expected.clone()).abs().max().into_scalar();
    assert!(difference < 2e-6, "off by {difference:e}");
}

#[test]
fn an_operation_turned_off_leaves_the_parameters_of_the_others() {
    let random_mask = Some(PixelMask { keep_probability: 0.5, pairing: MaskPairing::Complementary });
    let all = ImageAugmentation { random_mask, ..everything() };
    let draw = |augmentation| ViewParameters::draw(&augmentation, 9, [8, 12], stream(), 2);
    let [first, second] = draw(all);
    let without = |off: fn(&mut ImageAugmentation), clear: fn(&mut ViewParameters)| {
        let (mut augmentation, mut expected) = (all, [first.clone(), second.clone()]);
        off(&mut augmentation);
        expected.iter_mut().for_each(clear);
        assert_eq!(draw(augmentation), expected);
    };
    without(|a| a.random_resized_crop = None, |p| p.boxes = None);
    without(|a| a.horizontal_flip = None, |p| p.flips = None);
    without(|a| a.color_jitter = None, |p| p.color_changes = None);
    without(|a| a.grayscale = None, |p| p.grayscales = None);
    without(|a| a.gaussian_blur = None, |p| p.blur = None);
    without(|a| a.random_mask = None, |p| p.mask = None);
    assert_ne!(first, second);
}

#[test]
fn complementary_masks_partition_the_pixels_of_all_channels() {
    for p in [0.25, 0.5] {
        let mask = masked(p, MaskPairing::Complementary);
        let views = mask.views(&images(20), &STATISTICS, stream(), 0);
        let plain = values(&ImageAugmentation::none().views(&images(20), &STATISTICS, stream(), 0).first);
        let (first, second) = (values(&views.first), values(&views.second));
        let kept = |k: usize| first[k] != 0.0;
        for k in 0..plain.len() {
            let expected = if kept(k) { [plain[k] / p as f32, 0.0] } else { [0.0, plain[k] / (1.0 - p) as f32] };
            assert!((first[k] - expected[0]).abs() < 1e-5 && (second[k] - expected[1]).abs() < 1e-5, "value {k}");
            // The same fate in all channels.
            let red = k / 288 * 288 + k % 96;
            assert_eq!(kept(k), kept(red), "value {k}");
        }
    }
}

/// 1,920 pixels at p = 0.3, kept twice with probability 0.09: 4.9 standard deviations (1e-6).
#[test]
fn independent_masks_keep_a_pixel_twice_with_probability_p_squared() {
    let views = masked(0.3, MaskPairing::Independent).views(&images(20), &STATISTICS, stream(), 0);
    let (first, second) = (values(&views.first), values(&views.second));
    let red = (0..first.len()).filter(|k| k / 96 % 3 == 0);
    let twice = red.filter(|&k| first[k] != 0.0 && second[k] != 0.0).count() as f64;
    let (n, p) = (1920.0, 0.09);
    assert!((twice - n * p).abs() < 4.9 * f64::sqrt(n * p * (1.0 - p)), "{twice} of {n}");
}

/// Three probabilities over 20,000 draws and 24 orders of about 16,000, each at 4.9 standard deviations (1e-6).
#[test]
fn events_and_orders_have_their_probabilities() {
    let n = 20_000;
    let assert_share = |count: usize, n: usize, p: f64, what: &str| {
        let z = (count as f64 - n as f64 * p) / (n as f64 * p * (1.0 - p)).sqrt();
        assert!(z.abs() < 4.9, "{what}: {count} of {n} instead of a share of {p}");
    };
    let mut rng = stream().rng(Part::ImageFlip, 0);
    let flips = (0..n).filter(|_| HorizontalFlip { probability: 0.5 }.draw(&mut rng)).count();
    assert_share(flips, n, 0.5, "flips");
    let grey = (0..n).filter(|_| Grayscale { probability: 0.2 }.draw(&mut rng)).count();
    assert_share(grey, n, 0.2, "grey");
    let jitters: Vec<_> = (0..n).filter_map(|_| ColorJitter::simclr_cifar().draw(&mut rng)).collect();
    assert_share(jitters.len(), n, 0.8, "jitters");
    let mut orders = std::collections::BTreeMap::<_, usize>::new();
    for changes in &jitters {
        let order = changes.map(|change| match change {
            ColorChange::Brightness(_) => 'b',
            ColorChange::Contrast(_) => 'c',
            ColorChange::Saturation(_) => 's',
            ColorChange::Hue(_) => 'h',
        });
        *orders.entry(order).or_default() += 1;
    }
    assert_eq!(orders.len(), 24);
    orders.iter().for_each(|(order, count)| assert_share(*count, jitters.len(), 1.0 / 24.0, &format!("{order:?}")));
}

/// Kolmogorov–Smirnov at 1e-6: critical value √(−½ ln(α/2))/√n = 2.69/√n, for five parameters.
#[test]
fn strengths_are_uniform_in_their_ranges() {
    let n = 20_000;
    let mut rng = stream().rng(Part::ImageColorJitter, 0);
    let jitter = ColorJitter { probability: 1.0, contrast: 1.5, ..ColorJitter::simclr_cifar() };
    let mut samples = vec![Vec::new(); 5];
    for _ in 0..n {
        for change in jitter.draw(&mut rng).unwrap() {
            let (kind, value, [low, high]) = match change {
                ColorChange::Brightness(value) => (0, value, [0.6, 1.4]),
                ColorChange::Contrast(value) => (1, value, [0.0, 2.5]),
                ColorChange::Saturation(value) => (2, value, [0.6, 1.4]),
                ColorChange::Hue(value) => (3, value, [-0.1, 0.1]),
            };
            samples[kind].push((f64::from(value) - low) / (high - low));
        }
        let blur = GaussianBlur { probability: 1.0, ..GaussianBlur::simclr_at_32_pixels() };
        samples[4].push((blur.draw(&mut rng).unwrap() - 0.1) / 1.9);
    }
    for (kind, sample) in samples.iter_mut().enumerate() {
        sample.sort_by(f64::total_cmp);
        let distance = sample.iter().enumerate().map(|(i, u)| (u - i as f64 / n as f64).abs()).fold(0.0, f64::max);
        assert!(distance < 2.69 / (n as f64).sqrt() + 1.0 / n as f64, "parameter {kind}: distance {distance}");
    }
}

/// A third of the circle brings red to green, green to blue, blue to red.
#[test]
fn a_third_of_a_turn_exchanges_the_channels() {
    let pixel = |rgb: [f32; 3]| Tensor::<4>::from_data(TensorData::new(rgb.to_vec(), [1, 3, 1, 1]), &Device::flex());
    let third = 1.0 / 3.0;
    for (turn, expected) in [(third, [0.4, 0.7, 0.2]), (-third, [0.2, 0.4, 0.7]), (0.5, [0.2, 0.7, 0.5])] {
        let turned = color_changes(pixel([0.7, 0.2, 0.4]), &[Some([ColorChange::Hue(turn)])]);
        for (found, expected) in values(&turned).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "turn {turn}: {found} instead of {expected}");
        }
    }
    for grey in [0.0, 0.3, 1.0] {
        let turned = color_changes(pixel([grey; 3]), &[Some([ColorChange::Hue(0.2)])]);
        assert_eq!(values(&turned), [grey; 3]);
    }
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

#[test]
fn a_file_gives_back_what_was_written_and_absent_operations_are_off() {
    let random_mask = Some(PixelMask { keep_probability: 0.5, pairing: MaskPairing::Independent });
    for augmentation in [ImageAugmentation::none(), ImageAugmentation { random_mask, ..everything() }] {
        let text = toml::to_string(&augmentation).unwrap();
        assert_eq!(toml::from_str::<ImageAugmentation>(&text).unwrap(), augmentation, "{text}");
    }
    let only_flip: ImageAugmentation = toml::from_str("horizontal_flip = { probability = 0.5 }").unwrap();
    let horizontal_flip = Some(HorizontalFlip { probability: 0.5 });
    assert_eq!(only_flip, ImageAugmentation { horizontal_flip, ..ImageAugmentation::none() });
    for wrong in ["flip = { probability = 0.5 }", "grayscale = { probability = 0.5, p = 0.5 }", "grayscale = {}"] {
        assert!(toml::from_str::<ImageAugmentation>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn parameters_out_of_range_are_named() {
    let message = |wrong: fn(&mut ImageAugmentation)| {
        let mut augmentation = everything();
        wrong(&mut augmentation);
        augmentation.validated().unwrap_err().to_string()
    };
    for (found, expected) in [
        (
            message(|a| a.random_resized_crop = Some(RandomResizedCrop { scale: [0.0, 1.0], ratio: [1.0, 1.0] })),
            "random_resized_crop.scale[0] = 0 is outside (0, random_resized_crop.scale[1]]",
        ),
        (
            message(|a| a.random_resized_crop = Some(RandomResizedCrop { scale: [0.1, 1.5], ratio: [1.0, 1.0] })),
            "random_resized_crop.scale[1] = 1.5 is outside (0, 1]",
        ),
        (
            message(|a| a.random_resized_crop = Some(RandomResizedCrop { scale: [0.1, 1.0], ratio: [2.0, 1.0] })),
            "random_resized_crop.ratio[0] = 2 is outside (0, random_resized_crop.ratio[1]]",
        ),
        (
            message(|a| a.horizontal_flip = Some(HorizontalFlip { probability: 1.5 })),
            "horizontal_flip.probability = 1.5 is outside [0, 1]",
        ),
        (
            message(|a| a.color_jitter = Some(ColorJitter { hue: 0.6, ..ColorJitter::simclr_cifar() })),
            "color_jitter.hue = 0.6 is outside [0, 0.5]",
        ),
        (
            message(|a| a.color_jitter = Some(ColorJitter { contrast: f64::NAN, ..ColorJitter::simclr_cifar() })),
            "color_jitter.contrast = NaN is outside [0, ∞)",
        ),
        (
            message(|a| a.gaussian_blur.as_mut().unwrap().kernel_size = 4),
            "gaussian_blur.kernel_size = 4 is outside 1, 3, 5, …",
        ),
        (
            message(|a| a.gaussian_blur.as_mut().unwrap().sigma = [0.1, f64::INFINITY]),
            "gaussian_blur.sigma[1] = inf is outside (0, ∞)",
        ),
        (
            message(|a| a.random_mask = masked(1.0, MaskPairing::Complementary).random_mask),
            "random_mask.keep_probability = 1 is outside (0, 1)",
        ),
    ] {
        assert_eq!(found, expected);
    }
}
