//! Names of directory entries and their hashes.
//!
//! The hash is multiplicative, eight bytes a step, with a key drawn once at boot, so that a program cannot
//! choose names that collide. Nothing here allocates but `Name` itself.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::machine;

/// A stored name: no slash, no NUL, at most 255 bytes.
pub type Name = Arc<[u8]>;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

static KEY: AtomicU64 = AtomicU64::new(0);

#[cold]
fn draw_key() -> u64 {
    let seed = machine::random_seed();
    let mixed = seed.chunks(8).fold(MULTIPLIER, |key, chunk| fold(key, load(chunk)));
    // Whoever comes first decides; all hashes must agree from then on.
    match KEY.compare_exchange(0, mixed | 1, Relaxed, Relaxed) {
        Ok(_) => mixed | 1,
        Err(theirs) => theirs,
    }
}

fn load(chunk: &[u8]) -> u64 {
    if let Ok(word) = chunk.try_into() {
        return u64::from_le_bytes(word);
    }
    chunk.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte))
}

#[inline]
fn fold(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * u128::from(MULTIPLIER);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The hash of a name.
#[must_use]
#[inline]
pub fn hash(name: &[u8]) -> u64 {
    let mut key = KEY.load(Relaxed);
    if key == 0 {
        key = draw_key();
    }
    let mut state = key ^ (name.len() as u64);
    let mut chunks = name.chunks_exact(8);
    for chunk in &mut chunks {
        state = fold(state, load(chunk));
    }
    fold(fold(state, load(chunks.remainder())), key)
}

#[cfg(test)]
mod tests {
    use super::hash;
    use std::collections::HashSet;

    #[test]
    fn like_names_hash_apart() {
        let hashes: HashSet<u64> = (0..10_000).map(|n| hash(format!("file{n}").as_bytes())).collect();
        assert_eq!(hashes.len(), 10_000);
        assert_ne!(hash(b"a"), hash(b"a\0"));
    }
}
