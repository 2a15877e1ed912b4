//! The kernel's random numbers: ChaCha20 with fast key erasure.
//!
//! Each request makes a key stream (RFC 8439) under the present key, of which the first 32 bytes are the next key: what was
//! handed out cannot be found again from the state. The seed is the machine's, so a run with the same seed repeats. May be
//! called anywhere, also in interrupts.
#![forbid(unsafe_code)]

use crate::machine;
use crate::sync::IrqSpinLock;

/// ChaCha20's block: sixteen words.
const BLOCK: usize = 64;

struct Generator {
    key: [u32; 8],
    seeded: bool,
}

static GENERATOR: IrqSpinLock<Generator> = IrqSpinLock::new(Generator { key: [0; 8], seeded: false });

fn quarter_round([a, b, c, d]: [u32; 4]) -> [u32; 4] {
    let a = a.wrapping_add(b);
    let d = (d ^ a).rotate_left(16);
    let c = c.wrapping_add(d);
    let b = (b ^ c).rotate_left(12);
    let a = a.wrapping_add(b);
    let d = (d ^ a).rotate_left(8);
    let c = c.wrapping_add(d);
    let b = (b ^ c).rotate_left(7);
    [a, b, c, d]
}

/// One block of key stream (RFC 8439 §2.3), with a nonce of zeros.
fn block(key: &[u32; 8], counter: u32) -> [u8; BLOCK] {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let start = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574, k0, k1, k2, k3, k4, k5, k6, k7, counter, 0, 0, 0];
    let mut state = start;
    for _ in 0..10 {
        let [
            mut s0,
            mut s1,
            mut s2,
            mut s3,
            mut s4,
            mut s5,
            mut s6,
            mut s7,
            mut s8,
            mut s9,
            mut s10,
            mut s11,
            mut s12,
            mut s13,
            mut s14,
            mut s15,
        ] = state;
        [s0, s4, s8, s12] = quarter_round([s0, s4, s8, s12]);
        [s1, s5, s9, s13] = quarter_round([s1, s5, s9, s13]);
        [s2, s6, s10, s14] = quarter_round([s2, s6, s10, s14]);
        [s3, s7, s11, s15] = quarter_round([s3, s7, s11, s15]);
        [s0, s5, s10, s15] = quarter_round([s0, s5, s10, s15]);
        [s1, s6, s11, s12] = quarter_round([s1, s6, s11, s12]);
        [s2, s7, s8, s13] = quarter_round([s2, s7, s8, s13]);
        [s3, s4, s9, s14] = quarter_round([s3, s4, s9, s14]);
        state = [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15];
    }
    let mut bytes = [0; BLOCK];
    for ((to, word), start) in bytes.chunks_exact_mut(4).zip(state).zip(start) {
        to.copy_from_slice(&word.wrapping_add(start).to_le_bytes());
    }
    bytes
}

fn key_from(bytes: &[u8]) -> [u32; 8] {
    let mut key = [0; 8];
    for (word, bytes) in key.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_le_bytes);
    }
    key
}

impl Generator {
    /// The key for one request; the generator goes on with another.
    fn next_key(&mut self) -> ([u32; 8], [u8; BLOCK]) {
        if !self.seeded {
            self.key = key_from(&machine::random_seed());
            self.seeded = true;
        }
        let key = self.key;
        let first = block(&key, 0);
        self.key = key_from(&first);
        (key, first)
    }
}

/// Fills `bytes` with random numbers.
pub fn fill(bytes: &mut [u8]) {
    let (key, first) = GENERATOR.lock().next_key();
    let (_, half) = first.split_at(BLOCK / 2);
    let (head, rest) = bytes.split_at_mut(bytes.len().min(half.len()));
    for (to, from) in head.iter_mut().zip(half) {
        *to = *from;
    }
    for (counter, chunk) in (1..).zip(rest.chunks_mut(BLOCK)) {
        for (to, from) in chunk.iter_mut().zip(block(&key, counter)) {
            *to = from;
        }
    }
}

/// A random number.
#[must_use]
pub fn next_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Stirs bytes that somebody wrote to the random devices into the key. They cannot make it worse.
pub fn stir(bytes: &[u8]) {
    let mut generator = GENERATOR.lock();
    for chunk in bytes.chunks(32) {
        let _ = generator.next_key();
        let mut padded = [0; 32];
        for (to, from) in padded.iter_mut().zip(chunk) {
            *to = *from;
        }
        for (word, mixed) in generator.key.iter_mut().zip(key_from(&padded)) {
            *word ^= mixed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_function_is_the_standard_one() {
        // RFC 8439, appendix A.1, test vector 1: all zeros.
        let expected = [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28];
        assert_eq!(block(&[0; 8], 0)[..16], expected);
    }

    #[test]
    fn no_two_requests_are_alike() {
        let (mut first, mut second) = ([0; 200], [0; 200]);
        fill(&mut first);
        stir(b"anything");
        fill(&mut second);
        assert_ne!(first[..32], second[..32]);
        assert_ne!(first[..64], first[64..128]);
        assert!(first.iter().filter(|byte| **byte == 0).count() < 20);
    }
}
