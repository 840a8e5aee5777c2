//! Random orders of samples, and parts of a set that keep the proportions of its classes.

use crate::{Part, Stream};
use rand::seq::SliceRandom;

/// A random order of `0..count`, a pure function of the stream and the epoch.
pub fn epoch_order(count: usize, stream: Stream, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut stream.rng(Part::Whole, epoch));
    order
}

/// A random order of samples of which every prefix keeps the proportions of the classes; a pure function of the labels,
/// the stream and the number of the set within it.
///
/// The k-th image of a class of n, counted from 0 in a random order, is placed by the rank of `(k + ½)/n` among those
/// of all classes; ties are broken by a random order of the classes. The first `c` images contain as many of each class
/// as the method of Webster and Sainte-Laguë allots to it out of `c` seats.
///
/// Files are often ordered by class, so that the first images of a set are not representative of it.
pub fn stratified_order(labels: &[usize], num_classes: usize, stream: Stream, set: u64) -> Vec<usize> {
    let mut rng = stream.rng(Part::Whole, set);
    let mut of_class = vec![Vec::new(); num_classes];
    labels.iter().enumerate().for_each(|(image, label)| of_class[*label].push(image));
    let mut classes: Vec<usize> = (0..num_classes).collect();
    classes.shuffle(&mut rng);
    of_class.iter_mut().for_each(|images| images.shuffle(&mut rng));
    // (2k + 1)/n as an exact fraction, so that ties are ties.
    let mut places: Vec<(u64, u64, usize)> = Vec::with_capacity(labels.len());
    for class in classes {
        let n = of_class[class].len() as u64;
        places.extend(of_class[class].iter().zip(0u64..).map(|(image, k)| (2 * k + 1, n, *image)));
    }
    places.sort_by(|(a, m, _), (b, n, _)| (a * n).cmp(&(b * m)));
    places.into_iter().map(|(.., image)| image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    fn counts(labels: &[usize], part: &[usize], classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        part.iter().for_each(|image| counts[labels[*image]] += 1);
        counts
    }

    #[test]
    fn every_beginning_of_a_stratified_order_has_the_proportions_of_the_whole() {
        // Ordered by class, as folders are: 10, 30 and 60 images.
        let labels: Vec<usize> = (0..100).map(|i| [0, 1, 2][usize::from(i >= 10) + usize::from(i >= 40)]).collect();
        let order = |seed| stratified_order(&labels, 3, Stream::new(seed, Purpose::ImageSubsets), 0);
        for seed in 0..20 {
            let mut sorted = order(seed);
            // By hand: quotients 60/(k + ½), 30/(k + ½), 10/(k + ½) in falling order.
            assert_eq!(counts(&labels, &sorted[..10], 3), [1, 3, 6]);
            assert_eq!(counts(&labels, &sorted[..50], 3), [5, 15, 30]);
            for count in 1..100 {
                for (class, found) in counts(&labels, &sorted[..count], 3).into_iter().enumerate() {
                    let wanted = count as f64 * [0.1, 0.3, 0.6][class];
                    assert!((found as f64 - wanted).abs() < 1.0, "{found} of class {class} in {count}");
                }
            }
            sorted.sort_unstable();
            assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        }
        assert_eq!(order(3), order(3));
        assert_ne!(order(3), order(4));
    }

    #[test]
    fn a_stratified_order_takes_empty_classes_and_empty_sets() {
        let order = |labels: &[usize]| stratified_order(labels, 4, Stream::new(1, Purpose::ImageSubsets), 0);
        assert_eq!(order(&[]), [0; 0]);
        assert_eq!(order(&[2]), [0]);
        assert_eq!(counts(&[1, 1, 3, 3], &order(&[1, 1, 3, 3])[..2], 4), [0, 1, 0, 1]);
    }

    /// With fewer places than classes of one size, each seed draws different classes.
    #[test]
    fn classes_of_one_size_are_as_likely_in_a_small_part() {
        let labels: Vec<usize> = (0..40).map(|i| i / 4).collect();
        let mut seen = vec![0; 10];
        for seed in 0..1000 {
            let order = stratified_order(&labels, 10, Stream::new(seed, Purpose::ImageSubsets), 0);
            order[..5].iter().for_each(|image| seen[labels[*image]] += 1);
        }
        // 500 each with a standard deviation of √(1000 · ¼) = 16; six of them.
        assert!(seen.iter().all(|count| (404..=596).contains(count)), "{seen:?}");
    }

    #[test]
    fn every_image_comes_once_and_every_epoch_has_an_order_of_its_own() {
        let order = |epoch| epoch_order(100, Stream::new(3, Purpose::ImageOrder), epoch);
        let mut sorted = order(0);
        assert_eq!(order(0), sorted);
        assert_ne!(order(0), order(1));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    /// Pins the numbers: a different order is a new version of the data.
    #[test]
    fn the_order_is_the_same_everywhere() {
        assert_eq!(epoch_order(8, Stream::new(1, Purpose::ImageOrder), 0), [4, 1, 0, 3, 7, 2, 6, 5]);
    }
}
