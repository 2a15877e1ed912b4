//! How a queue counts its runs, so that a flush knows when those of before are over: one lane for each core that queues.
//!
//! A lane counts accepted runs that have not ended in two colours. New runs take the current colour. A flush waits until the other colour is
//! used up, changes the colour of every lane, and waits until the old one is used up: then every run accepted before has ended,
//! and runs accepted since have not been waited for. Everything is one word, so that a run is counted under the colour it was told.

use crate::sync::atomic::{AtomicU64, Ordering};

const COUNT_BITS: u32 = 31;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const COLOUR: u64 = 1 << 62;
const CLOSED: u64 = 1 << 63;

const fn one(colour: usize) -> u64 {
    1 << (COUNT_BITS * (colour as u32 & 1))
}

const fn count(word: u64, colour: usize) -> u64 {
    word >> (COUNT_BITS * (colour as u32 & 1)) & COUNT_MASK
}

const fn colour_of(word: u64) -> usize {
    (word & COLOUR != 0) as usize
}

/// What one core has queued.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(align(128)))]
pub struct Lane {
    word: AtomicU64,
    entered: AtomicU64,
}

impl Lane {
    /// An open lane.
    pub fn new() -> Self {
        Self { word: AtomicU64::new(0), entered: AtomicU64::new(0) }
    }

    /// Counts a run; returns its colour, or `None` if the lane is closed. The run must not begin before this returns.
    #[inline]
    #[must_use]
    pub fn enter(&self) -> Option<usize> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return None;
            }
            let colour = colour_of(word);
            match self.word.compare_exchange_weak(word, word + one(colour), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    // After the count, and before the run can end: see `look`.
                    self.entered.fetch_add(1, Ordering::Release);
                    return Some(colour);
                }
                Err(current) => word = current,
            }
        }
    }

    /// A run of that colour is over. `true`: it was the last, who waits has to be told.
    #[inline]
    #[must_use]
    pub fn leave(&self, colour: usize) -> bool {
        let before = self.word.fetch_sub(one(colour), Ordering::AcqRel);
        debug_assert_ne!(count(before, colour), 0, "more runs ended than began");
        count(before, colour) == 1
    }

    /// Whether no run of the colour that is not current is left.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let word = self.word.load(Ordering::Acquire);
        count(word, 1 - colour_of(word)) == 0
    }

    /// Changes the colour. For the one flush at a time, after all lanes are settled.
    pub fn flip(&self) {
        self.word.fetch_xor(COLOUR, Ordering::AcqRel);
    }

    /// Accepts no run any more.
    pub fn close(&self) {
        self.word.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Whether it accepts no run any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// How many runs were accepted before this look, if all runs are over.
    ///
    /// If two looks at all lanes, one after the other, find every lane over and the same numbers, then between the two looks there was a
    /// moment at which no run was left in any. Each number was read before its lane was found over: a lane that was entered and left
    /// between the two finds has another number, because `entered` is counted up before the run can be over. Were it read afterwards, it
    /// could tell of a run already that the find did not.
    #[must_use]
    pub fn look(&self) -> Option<u64> {
        let entered = self.entered.load(Ordering::Acquire);
        let word = self.word.load(Ordering::Acquire);
        (word & !(CLOSED | COLOUR) == 0).then_some(entered)
    }

    /// How many runs were accepted and are not over, as a hint.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        let word = self.word.load(Ordering::Relaxed);
        count(word, 0) + count(word, 1)
    }

    /// How many runs were ever accepted, as a hint.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.entered.load(Ordering::Relaxed)
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_flush_waits_for_the_old_colour_only() {
        let lane = Lane::new();
        let old = lane.enter().unwrap();
        assert!(lane.is_settled());
        lane.flip();
        let new = lane.enter().unwrap();
        assert_ne!(old, new);
        assert!(!lane.is_settled());
        assert!(lane.leave(old));
        assert!(lane.is_settled(), "the run of the new colour is not waited for");
        assert_eq!(lane.look(), None);
        assert!(lane.leave(new));
        assert_eq!(lane.look(), Some(2));
    }

    #[test]
    fn a_closed_lane_accepts_nothing() {
        let lane = Lane::new();
        let colour = lane.enter().unwrap();
        lane.close();
        assert_eq!(lane.enter(), None);
        assert!(lane.leave(colour));
        assert_eq!(lane.look(), Some(1));
    }
}
