//! A ring of bytes with a fixed, power-of-two capacity, allocated once.
//!
//! Used where bytes pass between a terminal's ends under that terminal's lock. It never grows, so
//! pushing is allowed in an interrupt.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::{Errno, Result};

/// A bounded first-in first-out queue of bytes.
///
/// # Invariants
/// `bytes.len()` is a power of two; `tail` counts the bytes ever taken and `head` those ever
/// pushed (both wrapping), so `head - tail <= bytes.len()`.
#[derive(Debug)]
pub struct ByteRing {
    bytes: Box<[u8]>,
    head: usize,
    tail: usize,
}

impl ByteRing {
    /// An empty ring of `capacity` bytes, rounded up to a power of two. `ENOMEM` when there is no
    /// memory for it.
    pub fn new(capacity: usize) -> Result<Self> {
        let capacity = capacity.next_power_of_two();
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(capacity, 0);
        Ok(Self { bytes: bytes.into_boxed_slice(), head: 0, tail: 0 })
    }

    /// Bytes waiting in the ring.
    pub fn len(&self) -> usize {
        self.head.wrapping_sub(self.tail)
    }

    /// Whether nothing waits in the ring.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Bytes that can still be pushed.
    pub fn room(&self) -> usize {
        self.bytes.len() - self.len()
    }

    /// Appends as many of `bytes` as fit and returns how many that were.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let mut pushed = 0;
        let count = bytes.len().min(self.room());
        while pushed < count {
            let at = self.head & (self.bytes.len() - 1);
            let (Some(slots), Some(source)) = (self.bytes.get_mut(at..), bytes.get(pushed..count)) else { break };
            let run = slots.len().min(source.len());
            for (slot, byte) in slots.iter_mut().zip(source) {
                *slot = *byte;
            }
            self.head = self.head.wrapping_add(run);
            pushed += run;
        }
        pushed
    }

    /// The longest run of waiting bytes that lies in one piece, oldest first.
    pub fn front(&self) -> &[u8] {
        let at = self.tail & (self.bytes.len() - 1);
        let end = (at + self.len()).min(self.bytes.len());
        self.bytes.get(at..end).unwrap_or(&[])
    }

    /// Drops the oldest `count` bytes, or all when there are fewer.
    pub fn consume(&mut self, count: usize) {
        self.tail = self.tail.wrapping_add(count.min(self.len()));
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.tail = self.head;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn bytes_come_out_in_order_across_the_wrap() {
        let mut ring = ByteRing::new(8).unwrap();
        let mut next_in = 0u8;
        let mut next_out = 0u8;
        for step in 0..100usize {
            let batch: Vec<u8> = (0..step % 9).map(|i| next_in.wrapping_add(i as u8)).collect();
            let pushed = ring.push(&batch);
            assert_eq!(pushed, batch.len().min(pushed));
            next_in = next_in.wrapping_add(pushed as u8);
            let front = ring.front().to_vec();
            for byte in &front {
                assert_eq!(*byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
            ring.consume(front.len());
        }
    }

    #[test]
    fn a_full_ring_takes_no_more() {
        let mut ring = ByteRing::new(4).unwrap();
        assert_eq!(ring.push(b"abcdef"), 4);
        assert_eq!(ring.push(b"x"), 0);
        ring.consume(1);
        assert_eq!(ring.push(b"x"), 1);
        assert_eq!(ring.len(), 4);
    }
}
