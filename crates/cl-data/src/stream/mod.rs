//! Stateless randomness: every draw is addressed, none depends on an earlier one.

#[cfg(target_arch = "x86_64")]
mod chacha_avx512;
mod rng;

pub use rng::StreamRng;

use sha2::{Digest, Sha256};

/// What the numbers are for. Two purposes never share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// The dictionary `M`.
    Dictionary = 1,
    /// The initial weights `w_i⁽⁰⁾`.
    InitialWeights = 2,
    /// Observations and masks of the positive pairs that are trained on.
    TrainingPairs = 3,
    /// Negatives that are trained on.
    TrainingNegatives = 4,
    /// Held-out observations on which measures are taken.
    Evaluation = 5,
    /// Observations a probe is fitted on.
    ProbeTraining = 6,
    /// Observations a probe is scored on.
    ProbeTest = 7,
    /// Observations on which a hyper-parameter of a measure is chosen.
    Tuning = 8,
    /// Targets of downstream tasks, `w*`.
    Targets = 9,
    /// Monte-Carlo estimates of moments.
    Moments = 10,
    /// Positive pairs on which a held-out loss is computed.
    HeldOutPairs = 11,
    /// Negatives on which a held-out loss is computed.
    HeldOutNegatives = 12,
    /// The classes of the supervised baseline.
    Classes = 13,
    /// Generated images.
    GeneratedImages = 14,
    /// The two views of images that are trained on.
    ImageViews = 15,
    /// The two views of images on which a held-out loss is computed.
    HeldOutImageViews = 16,
    /// The order in which images are trained on.
    ImageOrder = 17,
    /// Observations that are drawn once and used repeatedly.
    TrainingSet = 18,
    /// The order in which they are trained on.
    TrainingSetOrder = 19,
    /// Rounding that is added to a run, to see its effect.
    Rounding = 20,
    /// Which images of a set a measure is taken on.
    ImageSubsets = 21,
    /// Which sentences of a source are for the test.
    TextSplits = 22,
    /// The order in which sentences are trained on.
    TextOrder = 23,
    /// Which sentences have labels, and the order in which a fine-tuned model sees them.
    TextLabels = 24,
}

/// Which part of an observation or pair the numbers fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Part {
    /// The whole thing: for purposes with one part only.
    Whole = 0,
    /// Sparse codes `z`.
    SparseCode = 1,
    /// Dense noise `ξ`.
    DenseNoise = 2,
    /// The mask of the first view, or the one mask both views share.
    Mask = 3,
    /// The mask of the second view where it has one of its own.
    SecondMask = 4,
    /// Codes of signals on a circle.
    SignalCode = 5,
    /// Phases of the first and the second views of signals on a circle.
    SignalPhase = 6,
    /// Classes of observations.
    Class = 7,
    /// Which second views come from another observation.
    PositiveSource = 8,
    /// Words of sentences.
    Words = 9,
    /// Transforms of sentences that are distinguished by name, see [`Stream::named_rng`].
    NamedTextTransform = 10,
    /// Boxes that are cut out of images.
    ImageCrop = 20,
    /// Which images are mirrored.
    ImageFlip = 21,
    /// How colours change.
    ImageColorJitter = 22,
    /// Which images become grey.
    ImageGrayscale = 23,
    /// How images are blurred.
    ImageBlur = 24,
    /// Transforms of images that are distinguished by name, see [`Stream::named_rng`].
    NamedImageTransform = 25,
}

/// An address for random numbers: a seed and a purpose.
///
/// The generator is ChaCha with 8 rounds; its 256-bit key is made of `(seed, purpose, part)`, plus a name and two
/// numbers for a part that has any number of members, and its 64-bit nonce is the step, so that each
/// `(seed, purpose, part, step)` has 2⁷⁰ bytes of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    seed: u64,
    purpose: Purpose,
}

impl Stream {
    /// The stream of one purpose under one seed.
    pub const fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, purpose }
    }

    /// A fresh generator for one part at one step.
    pub fn rng(&self, part: Part, step: u64) -> StreamRng {
        self.generator(part, [0; 16], step)
    }

    /// A fresh generator for one member of a part, distinguished by a name and two numbers.
    ///
    /// The key holds the first 8 bytes of the name's SHA-256 and the numbers themselves. A part uses either this
    /// function or [`rng`](Self::rng).
    pub fn named_rng(&self, part: Part, name: &str, numbers: [u32; 2], step: u64) -> StreamRng {
        let mut rest = [0; 16];
        rest[..8].copy_from_slice(&Sha256::digest(name)[..8]);
        rest[8..12].copy_from_slice(&numbers[0].to_le_bytes());
        rest[12..].copy_from_slice(&numbers[1].to_le_bytes());
        self.generator(part, rest, step)
    }

    fn generator(&self, part: Part, rest: [u8; 16], step: u64) -> StreamRng {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..12].copy_from_slice(&(self.purpose as u32).to_le_bytes());
        key[12..16].copy_from_slice(&(part as u32).to_le_bytes());
        key[16..].copy_from_slice(&rest);
        StreamRng::new(key, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    fn first(seed: u64, purpose: Purpose, part: Part, step: u64) -> u64 {
        Stream::new(seed, purpose).rng(part, step).next_u64()
    }

    #[test]
    fn every_coordinate_of_an_address_changes_the_numbers() {
        let base = first(1, Purpose::TrainingPairs, Part::SparseCode, 0);
        assert_eq!(base, first(1, Purpose::TrainingPairs, Part::SparseCode, 0));
        assert_ne!(base, first(2, Purpose::TrainingPairs, Part::SparseCode, 0));
        assert_ne!(base, first(1, Purpose::TrainingNegatives, Part::SparseCode, 0));
        assert_ne!(base, first(1, Purpose::TrainingPairs, Part::DenseNoise, 0));
        assert_ne!(base, first(1, Purpose::TrainingPairs, Part::SparseCode, 1));
    }

    #[test]
    fn names_and_numbers_tell_the_things_of_a_part_apart() {
        let word = |name: &str, numbers, step| {
            let stream = Stream::new(1, Purpose::ImageViews);
            stream.named_rng(Part::NamedImageTransform, name, numbers, step).next_u64()
        };
        assert_eq!(word("a", [0, 0], 0), word("a", [0, 0], 0));
        let words = [
            word("a", [0, 0], 0),
            word("b", [0, 0], 0),
            word("", [0, 0], 0),
            word("a", [1, 0], 0),
            word("a", [0, 1], 0),
            word("a", [0, 0], 1),
            first(1, Purpose::ImageViews, Part::NamedImageTransform, 0),
        ];
        for (i, word) in words.iter().enumerate() {
            assert!(!words[..i].contains(word), "number {i} comes twice");
        }
    }
}
