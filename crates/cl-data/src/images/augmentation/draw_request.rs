//! What a transform draws for, and from which random numbers.

use super::{Change, ColorJitter, GaussianBlur, Grayscale, HorizontalFlip, PixelMask, RandomResizedCrop};
use crate::StreamRng;
use crate::{Part, Stream};

/// A batch that one transform of a list draws for, with its own random numbers.
///
/// The numbers are a function of seed, purpose and step, of the transform's name and of how many of the same name
/// precede it in the list. They depend neither on what other transforms draw nor on their order.
#[derive(Debug, Clone, Copy)]
pub struct DrawRequest<'a> {
    pub(super) images: usize,
    pub(super) size: [usize; 2],
    pub(super) name: &'a str,
    /// How many transforms of the same name precede it.
    pub(super) occurrence: u32,
    pub(super) stream: Stream,
    pub(super) step: u64,
}

impl DrawRequest<'_> {
    /// Number of images, B; each has two views.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Height and width of the images in pixels.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// A fresh generator for this transform at this step; each `index` gives a different one.
    pub fn rng(&self, index: u32) -> StreamRng {
        match self.part(index) {
            Some(part) => self.stream.rng(part, self.step),
            None => {
                let numbers = [self.occurrence, index];
                self.stream.named_rng(Part::NamedImageTransform, self.name, numbers, self.step)
            }
        }
    }

    /// Draws for image 0, first view; image 0, second view; image 1, first view; and so on, from generator 0.
    ///
    /// `change` is given what was drawn for one view of each image.
    pub fn for_each_view<T, C: Change>(
        &self,
        mut draw: impl FnMut(&mut StreamRng) -> T,
        change: impl Fn(Vec<T>) -> C,
    ) -> [Box<dyn Change>; 2] {
        let mut rng = self.rng(0);
        let mut views = [Vec::with_capacity(self.images), Vec::with_capacity(self.images)];
        for _ in 0..self.images {
            views.iter_mut().for_each(|view| view.push(draw(&mut rng)));
        }
        views.map(|drawn| -> Box<dyn Change> { Box::new(change(drawn)) })
    }

    /// The addresses that are older than those derived from names.
    fn part(&self, index: u32) -> Option<Part> {
        let part = match (self.name, index) {
            (RandomResizedCrop::NAME, 0) => Part::ImageCrop,
            (HorizontalFlip::NAME, 0) => Part::ImageFlip,
            (ColorJitter::NAME, 0) => Part::ImageColorJitter,
            (Grayscale::NAME, 0) => Part::ImageGrayscale,
            (GaussianBlur::NAME, 0) => Part::ImageBlur,
            (PixelMask::NAME, 0) => Part::Mask,
            (PixelMask::NAME, 1) => Part::SecondMask,
            _ => return None,
        };
        (self.occurrence == 0).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ViewPipeline;
    use super::super::testing::stream;
    use super::*;
    use rand::Rng;

    fn words(name: &str, occurrence: u32) -> [u64; 2] {
        let request = DrawRequest { images: 1, size: [8, 12], name, occurrence, stream: stream(), step: 5 };
        [0, 1].map(|index| request.rng(index).next_u64())
    }

    #[test]
    fn the_first_transform_of_a_name_of_this_crate_draws_from_its_part() {
        let parts = [
            Part::ImageCrop,
            Part::ImageFlip,
            Part::ImageColorJitter,
            Part::ImageGrayscale,
            Part::ImageBlur,
            Part::Mask,
        ];
        for (name, part) in ViewPipeline::BUILT_IN.into_iter().zip(parts) {
            assert_eq!(words(name, 0)[0], stream().rng(part, 5).next_u64(), "{name}");
        }
        assert_eq!(words(PixelMask::NAME, 0)[1], stream().rng(Part::SecondMask, 5).next_u64());
    }

    #[test]
    fn names_occurrences_and_indices_have_numbers_of_their_own() {
        let mut seen = Vec::new();
        for name in ViewPipeline::BUILT_IN.into_iter().chain(["mine", "another"]) {
            for occurrence in 0..3 {
                seen.extend(words(name, occurrence));
            }
        }
        let drawn = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), drawn);
    }
}
