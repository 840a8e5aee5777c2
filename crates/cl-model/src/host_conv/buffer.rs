//! Memory that is used again from block to block and from step to step.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// Numbers that are kept at most, 1 GiB of them: what a step of ResNet-18 on a few dozen images takes.
const MOST: usize = 1 << 28;

/// Memory that is not in use, the oldest first. The system clears what it hands out, which takes as long as a pass over it.
static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Numbers of no particular value.
pub(super) struct Buffer {
    numbers: Vec<f32>,
    len: usize,
}

impl Buffer {
    /// `len` numbers, unspecified.
    pub fn of(len: usize) -> Self {
        let fits = |free: &mut Vec<Vec<f32>>| {
            let smallest = free.iter().enumerate().filter(|(_, v)| v.len() >= len).min_by_key(|(_, v)| v.len());
            // Not one that is much too long: others need it.
            smallest.filter(|(_, v)| v.len() <= 2 * len).map(|(i, _)| i).map(|i| free.remove(i))
        };
        let found = FREE.lock().ok().and_then(|mut free| fits(&mut free));
        Self { numbers: found.unwrap_or_else(|| vec![0.0; len]), len }
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::of(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Ok(mut free) = FREE.lock() else { return };
        free.push(std::mem::take(&mut self.numbers));
        let mut kept: usize = free.iter().map(Vec::len).sum();
        while kept > MOST {
            kept -= free.remove(0).len();
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_not_kept_without_bound() {
        let mut first = Buffer::of(1000);
        first[999] = 7.0;
        drop(first);
        assert_eq!(Buffer::zeros(900).len(), 900);
        let in_use: Vec<Buffer> = (0..9).map(|_| Buffer::of(MOST / 8)).collect();
        drop(in_use);
        assert!(FREE.lock().unwrap().iter().map(Vec::len).sum::<usize>() <= MOST);
    }
}
