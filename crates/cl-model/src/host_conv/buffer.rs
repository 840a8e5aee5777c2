//! Memory that is used again from block to block and from step to step.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// Memory that is not in use. The system clears what it hands out, which takes as long as a pass over it.
static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Numbers of no particular value.
pub(super) struct Buffer {
    numbers: Vec<f32>,
    len: usize,
}

impl Buffer {
    /// So many numbers, whatever they are.
    pub fn of(len: usize) -> Self {
        let fits = |free: &mut Vec<Vec<f32>>| {
            let smallest = free.iter().enumerate().filter(|(_, v)| v.len() >= len).min_by_key(|(_, v)| v.len());
            // Not one that is much too long: others need it.
            smallest.filter(|(_, v)| v.len() <= 2 * len).map(|(i, _)| i).map(|i| free.swap_remove(i))
        };
        let found = FREE.lock().ok().and_then(|mut free| fits(&mut free));
        Self { numbers: found.unwrap_or_else(|| vec![0.0; len]), len }
    }

    /// So many zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::of(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Ok(mut free) = FREE.lock() {
            free.push(std::mem::take(&mut self.numbers));
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
