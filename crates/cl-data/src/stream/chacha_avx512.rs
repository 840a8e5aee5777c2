//! Sixteen blocks of ChaCha at a time (Bernstein 2008), one in each lane of AVX-512 registers.

use pulp::cast;
use pulp::x86::V4;
use std::arch::x86_64::__m512i;

/// Blocks made at a time.
const BLOCKS: usize = 16;
/// Words of a block.
const BLOCK: usize = 16;
/// Words made at a time.
const WORDS: usize = BLOCKS * BLOCK;
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
/// Pairs of a round of columns and one of diagonals: 8 rounds.
const DOUBLE_ROUNDS: usize = 4;

/// A stream of words, from the beginning.
#[derive(Debug, Clone)]
pub(super) struct ChaChaAvx512 {
    simd: V4,
    key: [u32; 8],
    nonce: [u32; 2],
    /// Of the next block.
    counter: u64,
}

impl ChaChaAvx512 {
    /// `None` where the processor lacks AVX-512.
    pub fn new(key: [u8; 32], nonce: u64) -> Option<Self> {
        let (words, _) = key.as_chunks::<4>();
        let mut of_key = [0; 8];
        of_key.iter_mut().zip(words).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
        Some(Self { simd: V4::try_new()?, key: of_key, nonce: halves(nonce), counter: 0 })
    }

    /// The next words.
    pub fn generate(&mut self, words: &mut [u32; WORDS]) {
        let this = &*self;
        this.simd.vectorize(
            #[inline(always)]
            move || this.blocks(words),
        );
        self.counter = self.counter.wrapping_add(BLOCKS as u64);
    }

    #[inline(always)]
    fn blocks(&self, words: &mut [u32; WORDS]) {
        let simd = self.simd.avx512f;
        let first = self.first_state();
        let mut state = first;
        for _ in 0..DOUBLE_ROUNDS {
            self.quarter_round::<0, 4, 8, 12>(&mut state);
            self.quarter_round::<1, 5, 9, 13>(&mut state);
            self.quarter_round::<2, 6, 10, 14>(&mut state);
            self.quarter_round::<3, 7, 11, 15>(&mut state);
            self.quarter_round::<0, 5, 10, 15>(&mut state);
            self.quarter_round::<1, 6, 11, 12>(&mut state);
            self.quarter_round::<2, 7, 8, 13>(&mut state);
            self.quarter_round::<3, 4, 9, 14>(&mut state);
        }
        for (state, first) in state.iter_mut().zip(first) {
            *state = simd._mm512_add_epi32(*state, first);
        }
        for (block, of_block) in words.chunks_exact_mut(BLOCK).zip(self.transposed(state)) {
            block.copy_from_slice(&cast::<__m512i, [u32; BLOCK]>(of_block));
        }
    }

    /// Word by word; a lane is a block.
    #[inline(always)]
    fn first_state(&self) -> [__m512i; BLOCK] {
        let splat = |word: u32| self.simd.avx512f._mm512_set1_epi32(word.cast_signed());
        let [mut low, mut high] = [[0; BLOCKS]; 2];
        for lane in 0..BLOCKS {
            [low[lane], high[lane]] = halves(self.counter.wrapping_add(lane as u64));
        }
        let [c0, c1, c2, c3] = CONSTANTS.map(splat);
        let [k0, k1, k2, k3, k4, k5, k6, k7] = self.key.map(splat);
        let [n0, n1] = self.nonce.map(splat);
        [c0, c1, c2, c3, k0, k1, k2, k3, k4, k5, k6, k7, cast(low), cast(high), n0, n1]
    }

    #[inline(always)]
    fn quarter_round<const A: usize, const B: usize, const C: usize, const D: usize>(&self, s: &mut [__m512i; BLOCK]) {
        let simd = self.simd.avx512f;
        s[A] = simd._mm512_add_epi32(s[A], s[B]);
        s[D] = simd._mm512_rol_epi32::<16>(simd._mm512_xor_si512(s[D], s[A]));
        s[C] = simd._mm512_add_epi32(s[C], s[D]);
        s[B] = simd._mm512_rol_epi32::<12>(simd._mm512_xor_si512(s[B], s[C]));
        s[A] = simd._mm512_add_epi32(s[A], s[B]);
        s[D] = simd._mm512_rol_epi32::<8>(simd._mm512_xor_si512(s[D], s[A]));
        s[C] = simd._mm512_add_epi32(s[C], s[D]);
        s[B] = simd._mm512_rol_epi32::<7>(simd._mm512_xor_si512(s[B], s[C]));
    }

    /// Block by block, from word by word.
    #[inline(always)]
    fn transposed(&self, state: [__m512i; BLOCK]) -> [__m512i; BLOCKS] {
        let simd = self.simd.avx512f;
        let mut quads = state;
        // Four words of a block side by side: part j of quads[4q + k] holds words 4q to 4q + 3 of block 4j + k.
        for q in 0..4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|k| state[4 * q + k]);
            let [ab, ab_high] = [simd._mm512_unpacklo_epi32(a, b), simd._mm512_unpackhi_epi32(a, b)];
            let [cd, cd_high] = [simd._mm512_unpacklo_epi32(c, d), simd._mm512_unpackhi_epi32(c, d)];
            quads[4 * q] = simd._mm512_unpacklo_epi64(ab, cd);
            quads[4 * q + 1] = simd._mm512_unpackhi_epi64(ab, cd);
            quads[4 * q + 2] = simd._mm512_unpacklo_epi64(ab_high, cd_high);
            quads[4 * q + 3] = simd._mm512_unpackhi_epi64(ab_high, cd_high);
        }
        let mut blocks = quads;
        for k in 0..4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|q| quads[4 * q + k]);
            let [ab, ab_high] = [simd._mm512_shuffle_i32x4::<0x44>(a, b), simd._mm512_shuffle_i32x4::<0xee>(a, b)];
            let [cd, cd_high] = [simd._mm512_shuffle_i32x4::<0x44>(c, d), simd._mm512_shuffle_i32x4::<0xee>(c, d)];
            blocks[k] = simd._mm512_shuffle_i32x4::<0x88>(ab, cd);
            blocks[4 + k] = simd._mm512_shuffle_i32x4::<0xdd>(ab, cd);
            blocks[8 + k] = simd._mm512_shuffle_i32x4::<0x88>(ab_high, cd_high);
            blocks[12 + k] = simd._mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high);
        }
        blocks
    }
}

/// The lower half first.
fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}
