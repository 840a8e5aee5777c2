//! The order in which images are trained on.

use crate::{Part, Stream};
use rand::seq::SliceRandom;

/// A random order of `0..count`, a pure function of the stream and the epoch.
pub fn epoch_order(count: usize, stream: Stream, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut stream.rng(Part::Whole, epoch));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    #[test]
    fn every_image_comes_once_and_every_epoch_has_an_order_of_its_own() {
        let order = |epoch| epoch_order(100, Stream::new(3, Purpose::ImageOrder), epoch);
        let mut sorted = order(0);
        assert_eq!(order(0), sorted);
        assert_ne!(order(0), order(1));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    /// Pins the numbers: another order is another version of the data.
    #[test]
    fn the_order_is_the_same_everywhere() {
        assert_eq!(epoch_order(8, Stream::new(1, Purpose::ImageOrder), 0), [4, 1, 0, 3, 7, 2, 6, 5]);
    }
}
