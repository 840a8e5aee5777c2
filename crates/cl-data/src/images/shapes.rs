//! Generated images: one shape on a textured background.
//!
//! Not in the paper: images on which everything can be run without a download, with known latents. The *shape* is the
//! class, the sparse feature that is wanted. The *colours* are the dense feature: two crops of an image share them,
//! images differ in them, and they are drawn independently of the class. All shapes of one radius have the same area,
//! so that not even the amounts of the two colours reveal the class (what remains is the length of the edge, whose
//! pixels mix both colours).
//!
//! Every value is computed by additions, multiplications, divisions and square roots in a fixed order, so that an image
//! has the same bytes on every machine.

use super::{ImageSet, ImageSplits};
use crate::normal::sin_cos_turn;
use crate::{Part, Purpose, Stream, standard_normal};
use cl_config::{Component, ConfigError, check};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::f32::consts::TAU;

/// What is in the image; the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// An equilateral triangle.
    Triangle,
    /// Two bars at right angles, three times as long as wide.
    Cross,
    /// A disc with a round hole.
    Ring,
    /// A rectangle, four times as long as wide.
    Bar,
}

/// Everything an image is painted from, except pixel noise.
///
/// Places and lengths are fractions of the image's side, x to the right and y down from the upper left
/// corner; angles are in radians and turn x towards y.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShapeLatents {
    /// The class.
    pub shape: Shape,
    /// Red, green and blue of the shape, in [0, 1].
    pub foreground: [f32; 3],
    /// Red, green and blue of the background, in [0, 1], around which the texture varies.
    pub ground: [f32; 3],
    /// Centre of the shape, `[x, y]`.
    pub centre: [f32; 2],
    /// Radius of the disc that has the shape's area.
    pub radius: f32,
    /// Rotation of the shape.
    pub rotation: f32,
    /// Waves of the background's texture per side.
    pub texture_frequency: f32,
    /// Direction the waves run in.
    pub texture_angle: f32,
    /// Phase of the waves at the upper left corner.
    pub texture_phase: f32,
}

/// Images and what they were painted from.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedImages {
    /// The images, labelled by the position of their shape in [`Shape::ALL`].
    pub images: ImageSet,
    /// The latents of each image.
    pub latents: Vec<ShapeLatents>,
}

/// How images with one shape each are drawn.
///
/// Every latent is uniform in its range and independent of the others, except for the two colours, which are redrawn
/// until they are `min_contrast` apart. The classes are equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapesModel {
    /// Height and width in pixels, in 8..=1024; 32 by default, as in CIFAR.
    pub size: usize,
    /// K: the first K of [`Shape::ALL`] are drawn, in 2..=6; all six by default.
    pub num_shapes: usize,
    /// Smallest and largest radius, fractions of the side; [0.16, 0.22] by default.
    pub radius: [f32; 2],
    /// Largest distance of the shape's centre from the image's, in x and in y, a fraction of the side; 0.07
    /// by default. The shape has to stay inside: `centre_offset + 1.83 · radius[1] ≤ 0.5`.
    pub centre_offset: f32,
    /// Largest rotation to either side in radians, in [0, π]; 0.5 by default.
    pub max_rotation: f32,
    /// Smallest and largest value of a colour channel, within [0, 1]; [0.12, 0.88] by default.
    pub color_range: [f32; 2],
    /// Minimum Euclidean distance of the two colours, at most the width of `color_range`; 0.5 by default.
    pub min_contrast: f32,
    /// Amplitude of the texture, added to all three channels of the background, in [0, 0.5]; 0.12 by default.
    pub texture_amplitude: f32,
    /// Smallest and largest number of waves per side, within [0, size/2]; [3, 8] by default.
    pub texture_frequency: [f32; 2],
    /// Standard deviation of the normal noise on every pixel value, in [0, 1]; 0.02 by default.
    pub noise_std: f32,
}

impl Default for ShapesModel {
    fn default() -> Self {
        Self {
            size: 32,
            num_shapes: 6,
            radius: [0.16, 0.22],
            centre_offset: 0.07,
            max_rotation: 0.5,
            color_range: [0.12, 0.88],
            min_contrast: 0.5,
            texture_amplitude: 0.12,
            texture_frequency: [3.0, 8.0],
            noise_std: 0.02,
        }
    }
}

/// How far the farthest point of any shape is from its centre, in radii: the corner of the bar.
const REACH: f32 = 1.83;

impl Shape {
    /// All shapes, in the order of their labels.
    pub const ALL: [Self; 6] = [Self::Circle, Self::Square, Self::Triangle, Self::Cross, Self::Ring, Self::Bar];

    /// The name of the class.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Cross => "cross",
            Self::Ring => "ring",
            Self::Bar => "bar",
        }
    }

    /// Distance from the edge of the shape of area π around the origin, negative inside.
    ///
    /// Exact next to straight and round edges; beyond the corners of the triangle it is too small.
    #[inline(always)]
    fn signed_distance(self, x: f32, y: f32) -> f32 {
        match self {
            Self::Circle => (x * x + y * y).sqrt() - 1.0,
            // Half sides: (2a)² = π.
            Self::Square => rectangle(x, y, 0.886_226_9, 0.886_226_9),
            // Radius ρ of the inner circle: 3√3 ρ² = π.
            Self::Triangle => {
                let upper = 0.866_025_4 * x.abs() - 0.5 * y;
                upper.max(y) - 0.777_560_2
            }
            // Half length a and half width a/3: 20/9 a² = π.
            Self::Cross => rectangle(x, y, 1.188_998_2, 0.396_332_73).min(rectangle(x, y, 0.396_332_73, 1.188_998_2)),
            // Outer radius R and inner radius 0.55 R: R² (1 − 0.55²) = 1.
            Self::Ring => ((x * x + y * y).sqrt() - 0.927_960_73).abs() - 0.269_407_95,
            // Half length a and half width a/4: a² = π.
            Self::Bar => rectangle(x, y, 1.772_453_9, 0.443_113_46),
        }
    }
}

/// Signed distance from a rectangle with the given half sides.
#[inline(always)]
fn rectangle(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    let (dx, dy) = (x.abs() - half_width, y.abs() - half_height);
    let (outside_x, outside_y) = (dx.max(0.0), dy.max(0.0));
    (outside_x * outside_x + outside_y * outside_y).sqrt() + dx.max(dy).min(0.0)
}

impl Component for ShapesModel {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        let within =
            |key, value: f32, low: f32, high: f32, right| check(low <= value && value <= high, key, value, right);
        let [low, high] = self.color_range;
        within("size", self.size as f32, 8.0, 1024.0, "from 8 to 1024")?;
        within("num_shapes", self.num_shapes as f32, 2.0, 6.0, "from 2 to 6")?;
        let smallest = f32::MIN_POSITIVE;
        within("radius[0]", self.radius[0], smallest, self.radius[1], "larger than 0 and at most radius[1]")?;
        within("centre_offset", self.centre_offset, 0.0, 0.5, "from 0 to 0.5")?;
        let reach = self.centre_offset + REACH * self.radius[1];
        within("centre_offset + 1.83 · radius[1]", reach, 0.0, 0.5, "from 0 to 0.5")?;
        within("max_rotation", self.max_rotation, 0.0, TAU / 2.0, "from 0 to π")?;
        within("color_range[0]", low, 0.0, high, "from 0 to color_range[1]")?;
        within("color_range[1]", high, 0.0, 1.0, "from 0 to 1")?;
        within("min_contrast", self.min_contrast, 0.0, high - low, "from 0 to color_range[1] - color_range[0]")?;
        within("texture_amplitude", self.texture_amplitude, 0.0, 0.5, "from 0 to 0.5")?;
        let [low, high] = self.texture_frequency;
        within("texture_frequency[0]", low, 0.0, high, "from 0 to texture_frequency[1]")?;
        within("texture_frequency[1]", high, 0.0, self.size as f32 / 2.0, "from 0 to size/2")?;
        within("noise_std", self.noise_std, 0.0, 1.0, "from 0 to 1")?;
        Ok(self)
    }
}

impl ShapesModel {
    /// Draws `count` images.
    ///
    /// Latents come from [`Part::Whole`] and pixel noise from [`Part::DenseNoise`], image after image: the first images
    /// of a larger sample are those of a smaller one, and different noise does not change the latents.
    ///
    /// # Shapes
    /// Images `[count, 3, size, size]`.
    ///
    /// # Panics
    /// When the parameters are out of range, see [`checked`](Component::checked).
    pub fn sample(&self, count: usize, stream: Stream, step: u64) -> GeneratedImages {
        let latents = self.draw_latents(count, stream, step);
        let mut noise = stream.rng(Part::DenseNoise, step);
        let image_len = 3 * self.size * self.size;
        let mut values = vec![0.0; image_len];
        let mut pixels = Vec::with_capacity(count * image_len);
        for latents in &latents {
            self.paint(latents, &mut values);
            if self.noise_std > 0.0 {
                let normal = standard_normal(&mut noise, image_len);
                values.iter_mut().zip(normal).for_each(|(value, normal)| *value += self.noise_std * normal);
            }
            pixels.extend(values.iter().map(|value| to_byte(*value)));
        }
        let labels = latents.iter().map(|latents| latents.shape as usize).collect();
        let names = Shape::ALL[..self.num_shapes].iter().map(|shape| shape.name().into()).collect();
        let images = ImageSet::new(self.size, self.size, pixels, labels, names).expect("a label for each image");
        GeneratedImages { images, latents }
    }

    /// `train` and `test` images of one seed: steps 0 and 1 of [`Purpose::GeneratedImages`].
    ///
    /// # Panics
    /// As [`sample`](Self::sample).
    pub fn splits(&self, train: usize, test: usize, seed: u64) -> ImageSplits {
        let stream = Stream::new(seed, Purpose::GeneratedImages);
        let [train, test] = [(train, 0), (test, 1)].map(|(count, split)| self.sample(count, stream, split).images);
        ImageSplits { train, test, from_jpeg: 0 }
    }

    /// The image of given latents without pixel noise, `[3, size, size]`.
    ///
    /// With one latent changed and the others kept it shows what that latent does.
    pub fn render(&self, latents: &ShapeLatents) -> Vec<u8> {
        let mut values = vec![0.0; 3 * self.size * self.size];
        self.paint(latents, &mut values);
        values.into_iter().map(to_byte).collect()
    }

    fn draw_latents(&self, count: usize, stream: Stream, step: u64) -> Vec<ShapeLatents> {
        self.checked().unwrap_or_else(|error| panic!("{error}"));
        let mut rng = stream.rng(Part::Whole, step);
        (0..count).map(|_| self.draw(&mut rng)).collect()
    }

    fn draw(&self, rng: &mut impl Rng) -> ShapeLatents {
        let class = (u64::from(rng.next_u32()) * self.num_shapes as u64) >> 32;
        let middle = [0.5 - self.centre_offset, 0.5 + self.centre_offset];
        let centre = [uniform(rng, middle), uniform(rng, middle)];
        let radius = uniform(rng, self.radius);
        let rotation = uniform(rng, [-self.max_rotation, self.max_rotation]);
        let texture_frequency = uniform(rng, self.texture_frequency);
        let (texture_angle, texture_phase) = (uniform(rng, [0.0, TAU]), uniform(rng, [0.0, TAU]));
        let (foreground, ground) = loop {
            let mut colour = || [0; 3].map(|_| uniform(rng, self.color_range));
            let (foreground, ground) = (colour(), colour());
            if distance(foreground, ground) >= self.min_contrast {
                break (foreground, ground);
            }
        };
        ShapeLatents {
            shape: Shape::ALL[class as usize],
            foreground,
            ground,
            centre,
            radius,
            rotation,
            texture_frequency,
            texture_angle,
            texture_phase,
        }
    }

    /// Paints into the planes of `values`, `[3, size, size]`; values may lie outside [0, 1].
    fn paint(&self, latents: &ShapeLatents, values: &mut [f32]) {
        let size = self.size;
        let (sin, cos) = sin_cos_turn(word_of_turn(latents.rotation / TAU));
        let (wave_sin, wave_cos) = sin_cos_turn(word_of_turn(latents.texture_angle / TAU));
        let (wave_x, wave_y) = (latents.texture_frequency * wave_cos, latents.texture_frequency * wave_sin);
        let phase = latents.texture_phase / TAU;
        let (to_side, to_shape) = (1.0 / size as f32, 1.0 / latents.radius);
        let radius_in_pixels = latents.radius * size as f32;
        let (red, rest) = values.split_at_mut(size * size);
        let (green, blue) = rest.split_at_mut(size * size);
        for row in 0..size {
            let y = (row as f32 + 0.5) * to_side;
            for column in 0..size {
                let x = (column as f32 + 0.5) * to_side;
                let (dx, dy) = ((x - latents.centre[0]) * to_shape, (y - latents.centre[1]) * to_shape);
                let distance = latents.shape.signed_distance(cos * dx + sin * dy, cos * dy - sin * dx);
                let fraction = smoothstep(0.5 - distance * radius_in_pixels);
                let wave = sin_cos_turn(word_of_turn(wave_x * x + wave_y * y + phase)).0;
                let texture = self.texture_amplitude * wave;
                let i = row * size + column;
                for (channel, plane) in [&mut *red, &mut *green, &mut *blue].into_iter().enumerate() {
                    let ground = latents.ground[channel] + texture;
                    plane[i] = ground + fraction * (latents.foreground[channel] - ground);
                }
            }
        }
    }
}

/// Uniform between `low` and `high`, in steps of 2⁻²⁴ of the width.
fn uniform(rng: &mut impl Rng, [low, high]: [f32; 2]) -> f32 {
    let unit = (rng.next_u32() >> 8) as f32 / 16_777_216.0;
    low + (high - low) * unit
}

fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    let [r, g, b] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    (r * r + g * g + b * b).sqrt()
}

/// The part of a turn beyond whole turns, in 2⁻³² turns.
#[inline(always)]
fn word_of_turn(turns: f32) -> u32 {
    (turns * 4_294_967_296.0) as i64 as u32
}

/// 0 below 0, 1 above 1 and t²(3 − 2t) between.
#[inline(always)]
fn smoothstep(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

fn to_byte(value: f32) -> u8 {
    (value * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream::new(5, Purpose::GeneratedImages)
    }

    /// A white shape in the middle of a black background without texture.
    fn white(shape: Shape, rotation: f32) -> ShapeLatents {
        ShapeLatents {
            shape,
            foreground: [1.0; 3],
            ground: [0.0; 3],
            centre: [0.5; 2],
            radius: 0.2,
            rotation,
            texture_frequency: 4.0,
            texture_angle: 0.0,
            texture_phase: 0.0,
        }
    }

    fn untextured(size: usize) -> ShapesModel {
        ShapesModel { size, texture_amplitude: 0.0, noise_std: 0.0, ..ShapesModel::default() }
    }

    #[test]
    fn a_sample_is_a_function_of_its_address() {
        let model = ShapesModel::default();
        let sample = model.sample(20, stream(), 3);
        assert_eq!(sample, model.sample(20, stream(), 3));
        assert_ne!(sample.images, model.sample(20, stream(), 4).images);
        assert_ne!(sample.images, model.sample(20, Stream::new(6, Purpose::GeneratedImages), 3).images);
        let first = model.sample(8, stream(), 3);
        assert_eq!(first.latents, sample.latents[..8]);
        assert_eq!(first.images, sample.images.subset(&(0..8).collect::<Vec<_>>()));
    }

    /// The images of published runs depend on these: they change only with `DATA_VERSION`.
    #[test]
    fn golden_values_do_not_change() {
        let sample = ShapesModel::default().sample(100, stream(), 0);
        assert_eq!(sample.images.fingerprint(), "aad8a398dce274b0");
        assert_eq!(sample.images.labels()[..8], [2, 2, 0, 0, 4, 0, 2, 3]);
    }

    #[test]
    fn splits_are_two_samples_of_one_seed() {
        let model = ShapesModel { num_shapes: 3, ..ShapesModel::default() };
        let splits = model.splits(30, 20, 5);
        assert_eq!(splits.train, model.sample(30, stream(), 0).images);
        assert_eq!(splits.test, model.sample(20, stream(), 1).images);
        assert_eq!(splits.test.class_names(), ["circle", "square", "triangle"]);
        assert!(splits.train.labels().iter().all(|label| *label < 3));
        assert!(model.splits(0, 0, 5).train.is_empty());
    }

    #[test]
    fn labels_are_the_shapes_of_the_latents() {
        let sample = ShapesModel::default().sample(60, stream(), 0);
        assert_eq!(sample.images.len(), 60);
        for (label, latents) in sample.images.labels().iter().zip(&sample.latents) {
            assert_eq!(Shape::ALL[*label], latents.shape);
            assert_eq!(sample.images.class_names()[*label], latents.shape.name());
        }
    }

    /// Which points a shape of area π contains, by its dimensions.
    #[test]
    fn shapes_hold_the_points_they_should() {
        let corners = [
            (Shape::Circle, [(0.7, 0.7), (0.99, 0.0)], [(0.72, 0.72), (0.0, -1.01)]),
            (Shape::Square, [(0.88, 0.88), (-0.88, 0.1)], [(0.89, 0.0), (0.5, -0.89)]),
            (Shape::Triangle, [(0.0, -1.55), (1.33, 0.77)], [(0.0, 0.78), (0.5, -0.75)]),
            (Shape::Cross, [(1.18, 0.39), (0.39, -1.18)], [(0.4, 0.4), (1.19, 0.0)]),
            (Shape::Ring, [(1.19, 0.0), (0.0, -0.66)], [(0.0, 0.0), (0.65, 0.0)]),
            (Shape::Bar, [(1.77, 0.44), (-1.77, 0.44)], [(0.0, 0.45), (1.78, 0.0)]),
        ];
        for (shape, inside, outside) in corners {
            for (x, y) in inside {
                assert!(shape.signed_distance(x, y) < 0.0, "{shape:?} lacks ({x}, {y})");
            }
            for (x, y) in outside {
                assert!(shape.signed_distance(x, y) > 0.0, "{shape:?} holds ({x}, {y})");
            }
        }
    }

    /// π · 0.2² of a square of side 1. Along an edge that runs with the pixels, smoothstep differs from the
    /// covered fraction by at most 0.1 pixels; the bar's edge of 454 pixels around 8,235 makes that 0.55 %.
    #[test]
    fn all_shapes_of_one_radius_have_the_area_of_the_disc() {
        for shape in Shape::ALL {
            for rotation in [0.0, 0.4] {
                let pixels = untextured(256).render(&white(shape, rotation));
                let area = pixels[..256 * 256].iter().map(|v| f64::from(*v)).sum::<f64>() / (255.0 * 256.0 * 256.0);
                let expected = std::f64::consts::PI * 0.04;
                assert!((area / expected - 1.0).abs() < 0.0055, "{shape:?}: {area} instead of {expected}");
            }
        }
    }

    #[test]
    fn latents_place_turn_and_colour_the_shape() {
        let model = untextured(40);
        let bar = white(Shape::Bar, 0.0);
        let at = |latents: ShapeLatents, x: usize, y: usize| {
            let pixels = model.render(&latents);
            [0, 1, 2].map(|channel| pixels[channel * 1600 + y * 40 + x])
        };
        // Half length 14.2 and half width 3.5 pixels around (20, 20).
        assert_eq!([at(bar, 33, 20), at(bar, 20, 29)], [[255; 3], [0; 3]]);
        let upright = ShapeLatents { rotation: TAU / 4.0, ..bar };
        assert_eq!([at(upright, 33, 20), at(upright, 20, 29)], [[0; 3], [255; 3]]);
        let falling = ShapeLatents { rotation: TAU / 8.0, ..bar };
        assert_eq!([at(falling, 28, 28), at(falling, 11, 11), at(falling, 28, 11)], [[255; 3], [255; 3], [0; 3]]);
        let moved = ShapeLatents { centre: [0.5, 0.25], ..bar };
        assert_eq!([at(moved, 20, 10), at(moved, 20, 20)], [[255; 3], [0; 3]]);
        let small = ShapeLatents { radius: 0.1, ..bar };
        assert_eq!([at(small, 25, 20), at(small, 29, 20)], [[255; 3], [0; 3]]);
        let coloured = ShapeLatents { foreground: [1.0, 0.2, 0.0], ground: [0.0, 0.4, 0.6], ..bar };
        assert_eq!([at(coloured, 20, 20), at(coloured, 1, 1)], [[255, 51, 0], [0, 102, 153]]);
    }

    /// Against the system's sine in double precision; half a step of a byte, and 1 % of one for the angle.
    #[test]
    fn the_ground_is_a_plane_wave() {
        let model = ShapesModel { size: 64, texture_amplitude: 0.2, ..untextured(64) };
        for (angle, phase) in [(0.0, 0.0), (1.1, 0.7), (4.0, 6.0)] {
            let latents = ShapeLatents {
                ground: [0.4, 0.5, 0.6],
                radius: 0.01,
                texture_frequency: 5.5,
                texture_angle: angle,
                texture_phase: phase,
                ..white(Shape::Circle, 0.0)
            };
            let pixels = model.render(&latents);
            for (i, found) in pixels.iter().enumerate() {
                let (channel, y, x) = (i / 4096, i / 64 % 64, i % 64);
                if x.abs_diff(32) < 4 && y.abs_diff(32) < 4 {
                    continue;
                }
                let (x, y) = ((x as f64 + 0.5) / 64.0, (y as f64 + 0.5) / 64.0);
                let (angle, phase) = (f64::from(angle), f64::from(phase));
                let wave = (std::f64::consts::TAU * 5.5 * (angle.cos() * x + angle.sin() * y) + phase).sin();
                let expected = ([0.4, 0.5, 0.6][channel] + 0.2 * wave) * 255.0;
                assert!((f64::from(*found) - expected).abs() < 0.51, "{i}: {found} instead of {expected}");
            }
        }
    }

    /// Noise of 0.1 on 150,000 values that are never clipped: the standard error of its deviation is 0.0002, and
    /// rounding to bytes adds 0.00001.
    #[test]
    fn noise_changes_pixels_by_its_deviation_and_no_latent() {
        let quiet = ShapesModel { color_range: [0.45, 0.55], min_contrast: 0.0, ..untextured(32) };
        let noisy = ShapesModel { noise_std: 0.1, ..quiet };
        let (quiet, noisy) = (quiet.sample(50, stream(), 0), noisy.sample(50, stream(), 0));
        assert_eq!(quiet.latents, noisy.latents);
        let difference = |i| noisy.images.pixels(i).iter().zip(quiet.images.pixels(i));
        let differences = (0..50).flat_map(difference).map(|(a, b)| (f64::from(*a) - f64::from(*b)) / 255.0);
        let std = (differences.map(|v| v * v).sum::<f64>() / (50.0 * 3072.0)).sqrt();
        assert!((std - 0.1).abs() < 0.001, "{std}");
    }

    /// Painted from the same latents with each of the six shapes, a noisy image is nearest to its own: the
    /// noise makes a mean square of 0.0004, ten pixels of the wrong colour add 10 · 0.5² / 3072 = 0.0008.
    #[test]
    fn the_shape_can_be_read_from_every_image() {
        let model = ShapesModel::default();
        let sample = model.sample(200, stream(), 0);
        for (i, latents) in sample.latents.iter().enumerate() {
            let errors = Shape::ALL.map(|shape| {
                let painted = model.render(&ShapeLatents { shape, ..*latents });
                let both = painted.iter().zip(sample.images.pixels(i));
                both.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>() / (3072.0 * 255.0 * 255.0)
            });
            for shape in Shape::ALL {
                let (own, other) = (errors[latents.shape as usize], errors[shape as usize]);
                assert!(shape == latents.shape || other > 2.0 * own, "image {i}: {own} and {other} for {shape:?}");
            }
        }
    }

    #[test]
    fn latents_stay_in_their_ranges() {
        let model = ShapesModel::default();
        for latents in model.draw_latents(5000, stream(), 0) {
            assert!(latents.centre.iter().all(|v| (0.43..=0.57).contains(v)));
            assert!((0.16..=0.22).contains(&latents.radius) && latents.rotation.abs() <= 0.5);
            assert!((3.0..=8.0).contains(&latents.texture_frequency));
            let colours = [latents.foreground, latents.ground];
            assert!(colours.as_flattened().iter().all(|v| (0.12..=0.88).contains(v)));
            assert!(distance(latents.foreground, latents.ground) >= 0.5);
        }
    }

    /// `Σ_k n_k (mean of class k − mean)² / variance`, about χ² with five degrees of freedom when the value
    /// does not depend on the class.
    fn between_classes(labels: &[usize], values: &[f64]) -> f64 {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let overall = mean(values);
        let variance = mean(&values.iter().map(|v| (v - overall).powi(2)).collect::<Vec<_>>());
        let class = |k| labels.iter().zip(values).filter(move |(label, _)| **label == k).map(|(_, v)| *v);
        let of_class = |k| class(k).collect::<Vec<_>>();
        (0..6).map(|k| of_class(k).len() as f64 * (mean(&of_class(k)) - overall).powi(2)).sum::<f64>() / variance
    }

    /// 60,000 images; χ² with five degrees of freedom exceeds 35.9 with probability 1e-6.
    #[test]
    fn classes_are_equally_frequent() {
        let mut counts = [0.0; 6];
        for latents in ShapesModel::default().draw_latents(60_000, stream(), 0) {
            counts[latents.shape as usize] += 1.0;
        }
        let chi_squared: f64 = counts.iter().map(|count: &f64| (count - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi_squared < 35.9, "{counts:?}");
    }

    /// 20,000 draws of all 13 continuous latents, each at 1e-7 (χ² above 40.9): false alarm 1.3e-6.
    #[test]
    fn no_latent_depends_on_the_class() {
        let latents = ShapesModel::default().draw_latents(20_000, stream(), 0);
        let labels: Vec<usize> = latents.iter().map(|latents| latents.shape as usize).collect();
        let numbers = |l: &ShapeLatents| {
            let ([a, b, c], [d, e, f], [g, h]) = (l.foreground, l.ground, l.centre);
            let rest = [l.radius, l.rotation, l.texture_frequency, l.texture_angle, l.texture_phase];
            [&[a, b, c, d, e, f, g, h], rest.as_slice()].concat()
        };
        let numbers: Vec<Vec<f32>> = latents.iter().map(numbers).collect();
        for k in 0..13 {
            let values: Vec<f64> = numbers.iter().map(|numbers| f64::from(numbers[k])).collect();
            let statistic = between_classes(&labels, &values);
            assert!(statistic < 40.9, "latent {k}: {statistic}");
        }
        // A value that does depend on the class is detected.
        let values: Vec<f64> = labels.iter().zip(&numbers).map(|(k, n)| f64::from(n[0]) + 0.02 * *k as f64).collect();
        assert!(between_classes(&labels, &values) > 100.0);
    }

    /// Mean red, green and blue of 6,000 whole images, each at 1e-7; and half an image finds its other half by mean
    /// colour alone among 300 (by chance one in 300 does).
    #[test]
    fn mean_colour_tells_the_image_and_not_the_class() {
        let images = ShapesModel::default().sample(6000, stream(), 0).images;
        let mean = |values: &mut dyn Iterator<Item = u8>| {
            let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + f64::from(v), count + 1.0));
            sum / count
        };
        for channel in 0..3 {
            let plane = |i| &images.pixels(i)[channel * 1024..(channel + 1) * 1024];
            let values: Vec<f64> = (0..6000).map(|i| mean(&mut plane(i).iter().copied())).collect();
            let statistic = between_classes(images.labels(), &values);
            assert!(statistic < 40.9, "channel {channel}: {statistic}");
        }
        let half = |i: usize, right: bool| {
            [0, 1, 2].map(|channel| {
                let plane = images.pixels(i)[channel * 1024..(channel + 1) * 1024].iter().enumerate();
                mean(&mut plane.filter(|(k, _)| (k % 32 >= 16) == right).map(|(_, v)| *v)) as f32
            })
        };
        let lefts: Vec<_> = (0..300).map(|i| half(i, false)).collect();
        let found = (0..300).filter(|i| {
            let right = half(*i, true);
            (0..300).min_by(|a, b| distance(right, lefts[*a]).total_cmp(&distance(right, lefts[*b]))) == Some(*i)
        });
        let found = found.count();
        assert!(found > 200, "{found} of 300 halves found");
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let model = ShapesModel::default();
        model.checked().unwrap();
        let cases = [
            (ShapesModel { size: 7, ..model }, "size = 7 is out of range; it has to be from 8 to 1024"),
            (ShapesModel { num_shapes: 7, ..model }, "num_shapes = 7 is out of range; it has to be from 2 to 6"),
            (
                ShapesModel { radius: [0.0, 0.2], ..model },
                "radius[0] = 0 is out of range; it has to be larger than 0 and at most radius[1]",
            ),
            (
                ShapesModel { radius: [0.25, 0.125], ..model },
                "radius[0] = 0.25 is out of range; it has to be larger than 0 and at most radius[1]",
            ),
            (
                ShapesModel { centre_offset: -1.0, ..model },
                "centre_offset = -1 is out of range; it has to be from 0 to 0.5",
            ),
            (ShapesModel { max_rotation: 4.0, ..model }, "max_rotation = 4 is out of range; it has to be from 0 to π"),
            (
                ShapesModel { color_range: [0.5, 0.0], ..model },
                "color_range[0] = 0.5 is out of range; it has to be from 0 to color_range[1]",
            ),
            (
                ShapesModel { color_range: [0.0, 1.5], ..model },
                "color_range[1] = 1.5 is out of range; it has to be from 0 to 1",
            ),
            (
                ShapesModel { color_range: [0.5, 0.75], ..model },
                "min_contrast = 0.5 is out of range; it has to be from 0 to color_range[1] - color_range[0]",
            ),
            (
                ShapesModel { texture_amplitude: 0.75, ..model },
                "texture_amplitude = 0.75 is out of range; it has to be from 0 to 0.5",
            ),
            (
                ShapesModel { texture_frequency: [9.0, 8.0], ..model },
                "texture_frequency[0] = 9 is out of range; it has to be from 0 to texture_frequency[1]",
            ),
            (
                ShapesModel { texture_frequency: [3.0, 16.5], ..model },
                "texture_frequency[1] = 16.5 is out of range; it has to be from 0 to size/2",
            ),
            (ShapesModel { noise_std: f32::NAN, ..model }, "noise_std = NaN is out of range; it has to be from 0 to 1"),
        ];
        for (model, message) in cases {
            assert_eq!(model.checked().unwrap_err().to_string(), message);
        }
        let message = ShapesModel { centre_offset: 0.11, ..model }.checked().unwrap_err().to_string();
        assert!(message.starts_with("centre_offset + 1.83 · radius[1] = 0.51"), "{message}");
    }

    #[test]
    #[should_panic(expected = "num_shapes = 1 is out of range; it has to be from 2 to 6")]
    fn a_sample_of_a_wrong_model_is_refused() {
        ShapesModel { num_shapes: 1, ..ShapesModel::default() }.sample(1, stream(), 0);
    }
}
