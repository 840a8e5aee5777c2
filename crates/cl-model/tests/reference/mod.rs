//! What the reference programs in this folder and the tests that read their results have in common.

/// `noise` of `noise.py`: `count` numbers in [-0.5, 0.5) that are exact in single precision.
pub fn noise(tensor: u64, count: usize) -> Vec<f32> {
    let value = |i: u64| {
        let mut x = (i + tensor * 0x9E37_79B9) as u32;
        x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
        x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
        x ^= x >> 16;
        (x >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count as u64).map(value).collect()
}
