//! The buddy allocator: blocks of `2^order` frames, aligned to their size, split and merged in pairs.
//!
//! It works on frame *indices* and keeps its free lists in the frame table, never in the free memory
//! itself, so a stray write to freed memory cannot corrupt it. It has no lock of its own: the frame
//! allocator keeps it behind one. All operations are O(number of orders).
//!
//! # Invariants
//! - A frame is the head of at most one free block; heads are `Free`, the rest of the block `Tail`.
//! - Two free buddies of one order never coexist below [`MAX_ORDER`].
//! - `free_frames` is the sum of the sizes of all free blocks.
#![forbid(unsafe_code)]

use super::frame::{Frame, Kind, NIL};

/// The largest block is `2^MAX_ORDER` frames (4 MiB).
pub const MAX_ORDER: u32 = 10;
const ORDERS: usize = MAX_ORDER as usize + 1;

/// Stands in for indices outside the table, which no valid caller produces.
static NOWHERE: Frame = Frame::reserved();

/// The free lists. See the module's comment.
pub struct Buddy {
    frames: &'static [Frame],
    heads: [u32; ORDERS],
    /// Bit `n` is set when the list of order `n` is not empty.
    nonempty: u32,
    free_frames: usize,
}

impl Buddy {
    /// An allocator of nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self { frames: &[], heads: [NIL; ORDERS], nonempty: 0, free_frames: 0 }
    }

    /// An allocator over `frames`, all of which start out reserved; [`Buddy::release`] adds memory.
    ///
    /// Index 0 must be aligned to `2^MAX_ORDER` frames in physical memory.
    #[must_use]
    pub const fn new(frames: &'static [Frame]) -> Self {
        Self { frames, heads: [NIL; ORDERS], nonempty: 0, free_frames: 0 }
    }

    /// Number of free frames.
    #[must_use]
    pub fn free_frames(&self) -> usize {
        self.free_frames
    }

    fn frame(&self, index: u32) -> &'static Frame {
        self.frames.get(index as usize).unwrap_or(&NOWHERE)
    }

    /// Hands the reserved frames `[first, end)` to the allocator, in the largest aligned blocks.
    pub fn release(&mut self, first: u32, end: u32) {
        let mut index = first;
        while index < end {
            let mut order = if index == 0 { MAX_ORDER } else { index.trailing_zeros().min(MAX_ORDER) };
            while u64::from(index) + (1 << order) > u64::from(end) {
                order -= 1;
            }
            for tail in index..index + (1 << order) {
                self.frame(tail).become_plain(Kind::Tail);
            }
            self.free(index, order);
            index += 1 << order;
        }
    }

    /// Takes a block of `2^order` frames and returns the index of its first; `None` when there is none.
    ///
    /// The head becomes an allocated frame with one reference, the others are tails.
    pub fn alloc(&mut self, order: u32) -> Option<u32> {
        let candidates = self.nonempty & u32::MAX.checked_shl(order)?;
        if order > MAX_ORDER || candidates == 0 {
            return None;
        }
        let found = candidates.trailing_zeros();
        let index = *self.heads.get(found as usize)?;
        self.unlink(index, found);
        // Give back the upper half of each split.
        for smaller in (order..found).rev() {
            self.link(index + (1 << smaller), smaller);
        }
        self.free_frames -= 1 << order;
        self.frame(index).become_allocated(order);
        Some(index)
    }

    /// Returns the block of `2^order` frames that starts at `index`, merging it with free buddies.
    pub fn free(&mut self, index: u32, order: u32) {
        self.free_frames += 1 << order;
        let (mut index, mut order) = (index, order);
        while order < MAX_ORDER {
            let buddy = index ^ (1 << order);
            if self.frame(buddy).free_order() != Some(order) {
                break;
            }
            self.unlink(buddy, order);
            self.frame(index.max(buddy)).become_plain(Kind::Tail);
            index = index.min(buddy);
            order += 1;
        }
        self.link(index, order);
    }

    fn link(&mut self, index: u32, order: u32) {
        if let Some(head) = self.heads.get_mut(order as usize) {
            let next = core::mem::replace(head, index);
            if next != NIL {
                self.frame(next).set_previous(index);
            }
            self.frame(index).become_free(order, NIL, next);
            self.nonempty |= 1 << order;
        }
    }

    fn unlink(&mut self, index: u32, order: u32) {
        let (previous, next) = (self.frame(index).previous(), self.frame(index).next());
        if next != NIL {
            self.frame(next).set_previous(previous);
        }
        if previous != NIL {
            self.frame(previous).set_next(next);
        } else if let Some(head) = self.heads.get_mut(order as usize) {
            *head = next;
            if next == NIL {
                self.nonempty &= !(1 << order);
            }
        }
    }

    /// Number of free blocks of each order, for `/proc/buddyinfo`.
    #[must_use]
    pub fn free_blocks(&self) -> [usize; ORDERS] {
        let mut counts = [0; ORDERS];
        for (count, &head) in counts.iter_mut().zip(&self.heads) {
            let mut index = head;
            while index != NIL {
                *count += 1;
                index = self.frame(index).next();
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec::Vec;

    fn table(frames: usize) -> &'static [Frame] {
        Box::leak((0..frames).map(|_| Frame::reserved()).collect())
    }

    #[test]
    fn split_blocks_merge_back_to_the_largest_order() {
        let mut buddy = Buddy::new(table(1 << MAX_ORDER));
        buddy.release(0, 1 << MAX_ORDER);
        let frames: Vec<u32> = (0..1 << MAX_ORDER).map(|_| buddy.alloc(0).unwrap()).collect();
        assert_eq!(buddy.alloc(0), None);
        for frame in frames {
            buddy.free(frame, 0);
        }
        assert_eq!(buddy.free_blocks()[MAX_ORDER as usize], 1);
        assert_eq!(buddy.free_frames(), 1 << MAX_ORDER);
    }

    #[test]
    fn reserved_frames_are_never_handed_out() {
        let mut buddy = Buddy::new(table(64));
        buddy.release(3, 17);
        buddy.release(40, 41);
        let mut got: Vec<u32> = core::iter::from_fn(|| buddy.alloc(0)).collect();
        got.sort_unstable();
        assert_eq!(got, (3..17).chain([40]).collect::<Vec<_>>());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 256 }, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn blocks_never_overlap_and_all_memory_returns(
            operations in prop::collection::vec((0u32..=MAX_ORDER, any::<prop::sample::Index>(), any::<bool>()), 1..200)
        ) {
            const FRAMES: u32 = if cfg!(miri) { 200 } else { 3000 };
            let mut buddy = Buddy::new(table(FRAMES as usize));
            buddy.release(5, FRAMES);
            let total = buddy.free_frames();
            let mut owned = std::vec![false; FRAMES as usize];
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (order, pick, give_back) in operations {
                if give_back && !held.is_empty() {
                    let (index, order) = held.swap_remove(pick.index(held.len()));
                    for frame in index..index + (1 << order) {
                        owned[frame as usize] = false;
                    }
                    buddy.free(index, order);
                } else if let Some(index) = buddy.alloc(order) {
                    prop_assert_eq!(index % (1 << order), 0);
                    for frame in index..index + (1 << order) {
                        prop_assert!(!core::mem::replace(&mut owned[frame as usize], true));
                    }
                    held.push((index, order));
                }
                let taken = owned.iter().filter(|taken| **taken).count();
                prop_assert_eq!(buddy.free_frames() + taken, total);
            }
            for (index, order) in held {
                buddy.free(index, order);
            }
            prop_assert_eq!(buddy.free_frames(), total);
            prop_assert!(cfg!(miri) || buddy.free_blocks()[MAX_ORDER as usize] >= 1);
        }
    }
}
