//! The elements of a list of transforms: what can be drawn, and what has been drawn.

use super::DrawRequest;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError};
use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;

/// A random change of images.
///
/// Its parameters are fixed; what is random is drawn for a whole batch on the host, and the resulting [`Change`] is
/// applied to a part of the batch at a time.
///
/// ```
/// use burn::tensor::Tensor;
/// use cl_data::images::augmentation::{Change, DrawRequest, Transform, ViewPipeline};
/// use rand::Rng;
/// use std::ops::Range;
///
/// /// Exchanges dark and bright with probability ½.
/// #[derive(Debug)]
/// struct Invert;
///
/// impl Transform for Invert {
///     fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2] {
///         batch.for_each_view(|rng| f32::from(rng.next_u32() % 2 == 0), Inverted)
///     }
/// }
///
/// /// 1 for each image that is inverted, 0 for the others.
/// #[derive(Debug)]
/// struct Inverted(Vec<f32>);
///
/// impl Change for Inverted {
///     fn apply(&self, views: Tensor<4>, range: Range<usize>) -> Tensor<4> {
///         let marks = Tensor::<1>::from_floats(&self.0[range], &views.device()).reshape([-1, 1, 1, 1]);
///         views.clone() + marks * (views * -2.0 + 1.0)
///     }
/// }
///
/// let pipeline = ViewPipeline::simclr_cifar().with("invert", Invert)?;
/// # Ok::<(), cl_config::ConfigError>(())
/// ```
pub trait Transform: Debug + Send + Sync {
    /// Draws what is random about both views of each image of a batch: the changes of the first views, and those of the
    /// second ones.
    ///
    /// A pure function of the transform and the request. What is drawn for an image may depend on its place in the
    /// batch, but not on how many images follow.
    ///
    /// # Panics
    /// When parameters are out of range.
    fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2];

    /// Whether it works on normalised views instead of colours in [0, 1].
    ///
    /// A transform on colours leaves them in [0, 1].
    fn on_normalized(&self) -> bool {
        false
    }

    /// Checks what can only be checked once the `[height, width]` of the images is known, in pixels.
    ///
    /// # Errors
    /// [`ConfigError`] with a key of the transform.
    fn fits(&self, _size: [usize; 2]) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// What one transform does to one view of each image of a batch, once drawn.
pub trait Change: Any + Debug + Send + Sync {
    /// Changes the views of the images `range` of the batch.
    ///
    /// # Shapes
    /// `[range.len(), 3, h, w]` to the same.
    fn apply(&self, views: Tensor<4>, range: Range<usize>) -> Tensor<4>;

    /// This change and the next one of the same views in one go; `None` if they are applied one after the other.
    ///
    /// Values differ by rounding at most. The type of the next one is found by
    /// `(next as &dyn Any).downcast_ref()`.
    fn fused_with(&self, _next: &dyn Change) -> Option<Box<dyn Change>> {
        None
    }
}

/// The component, with its parameters in range.
///
/// # Panics
/// With the message of the error when they are not.
pub(super) fn require_checked<C: Component>(component: &C) -> C {
    component.clone().checked().unwrap_or_else(|error| panic!("{error}"))
}
