//! The generator of random words behind every address.

#[cfg(target_arch = "x86_64")]
use super::chacha_avx512::ChaChaAvx512;
use rand::rand_core::Infallible;
use rand::rand_core::block::{BlockRng, Generator};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng, TryRng};

/// Words made at a time: 16 blocks of ChaCha.
const WORDS: usize = 256;

/// Random words: ChaCha with 8 rounds, a 256-bit key and a 64-bit nonce, word for word those of [`ChaCha8Rng`].
///
/// On processors with AVX-512 they come from a kernel three times as fast as the library's.
pub struct StreamRng(BlockRng<Words>);

/// Makes words in the order of the stream.
enum Words {
    Library(Box<ChaCha8Rng>),
    #[cfg(target_arch = "x86_64")]
    Avx512(ChaChaAvx512),
}

impl StreamRng {
    pub(super) fn new(key: [u8; 32], nonce: u64) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(words) = ChaChaAvx512::new(key, nonce) {
            return Self(BlockRng::new(Words::Avx512(words)));
        }
        Self(BlockRng::new(Words::Library(Box::new(library(key, nonce)))))
    }
}

fn library(key: [u8; 32], nonce: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(nonce);
    rng
}

impl Generator for Words {
    type Output = [u32; WORDS];

    fn generate(&mut self, words: &mut [u32; WORDS]) {
        match self {
            Self::Library(rng) => {
                let mut bytes = [[0u8; 4]; WORDS];
                rng.fill_bytes(bytes.as_flattened_mut());
                words.iter_mut().zip(bytes).for_each(|(word, bytes)| *word = u32::from_le_bytes(bytes));
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(kernel) => kernel.generate(words),
        }
    }
}

impl TryRng for StreamRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64_from_u32())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = *b"any key of two hundred fifty-six";

    /// Whatever the processor, and however words, pairs of words and bytes alternate.
    fn assert_same_words(mut rng: StreamRng, mut library: ChaCha8Rng, takes: &[usize]) {
        for &take in takes {
            match take {
                0 => assert_eq!(rng.next_u32(), library.next_u32()),
                1 => assert_eq!(rng.next_u64(), library.next_u64()),
                count => {
                    let (mut a, mut b) = (vec![0; count], vec![0; count]);
                    rng.fill_bytes(&mut a);
                    library.fill_bytes(&mut b);
                    assert_eq!(a, b);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn words_are_those_of_the_library(nonce: u64, takes in prop::collection::vec(0usize..5000, 1..40)) {
            assert_same_words(StreamRng::new(KEY, nonce), library(KEY, nonce), &takes);
            let takes: Vec<usize> = takes.iter().map(|take| take % 9).collect();
            assert_same_words(StreamRng::new(KEY, nonce), library(KEY, nonce), &takes);
            let by_library = StreamRng(BlockRng::new(Words::Library(Box::new(library(KEY, nonce)))));
            assert_same_words(by_library, library(KEY, nonce), &takes);
        }
    }
}
