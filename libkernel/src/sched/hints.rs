//! What each core publishes about itself, for others to read as a hint: how many tasks it has, and whether it sleeps.
//!
//! Each value is written by its owner, on a cache line of its own. The set of sleeping cores is the exception: who places a task on a
//! sleeping core takes it out of the set, so that two wakers do not choose the same one.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many cores the set of sleeping cores can hold.
const MOST: usize = 256;
const WORDS: usize = MOST / 64;

/// A set of cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreSet([u64; WORDS]);

impl CoreSet {
    /// No core.
    pub const EMPTY: Self = Self([0; WORDS]);
    /// Every core there can be.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// That core alone.
    pub fn only(core: usize) -> Self {
        let mut set = Self::EMPTY;
        set.add(core);
        set
    }

    /// Whether the core is in the set.
    #[inline]
    pub fn contains(&self, core: usize) -> bool {
        self.0.get(core / 64).is_some_and(|word| word & (1 << (core % 64)) != 0)
    }

    /// The set as bits, the lowest core first.
    pub(super) fn words(self) -> [u64; WORDS] {
        self.0
    }

    /// Adds a core.
    #[inline]
    pub fn add(&mut self, core: usize) {
        if let Some(word) = self.0.get_mut(core / 64) {
            *word |= 1 << (core % 64);
        }
    }
}

/// What placement and stealing may know of the cores.
pub trait Cores {
    /// The number of cores that are online; their numbers are below it.
    fn count(&self) -> usize;
    /// How many tasks are runnable on a core, the running one included.
    fn runnable(&self, core: usize) -> usize;
    /// Takes a sleeping core that `allowed` admits out of the set of sleeping cores: `preferred`, or else the next one after it.
    fn claim_idle(&self, preferred: usize, allowed: &dyn Fn(usize) -> bool) -> Option<usize>;
    /// Gives a claimed core back, which gets nothing and sleeps on.
    fn release_idle(&self, core: usize);
}

/// The cores of a machine that has one.
#[derive(Debug)]
pub struct Alone;

impl Cores for Alone {
    fn count(&self) -> usize {
        1
    }

    fn runnable(&self, _core: usize) -> usize {
        0
    }

    fn claim_idle(&self, _preferred: usize, _allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        None
    }

    fn release_idle(&self, _core: usize) {}
}

#[derive(Debug)]
#[repr(align(128))]
struct Slot(AtomicU32);

/// The published numbers of `N` cores.
#[derive(Debug)]
pub struct Hints<const N: usize> {
    runnable: [Slot; N],
    idle: [AtomicU64; WORDS],
}

impl<const N: usize> Hints<N> {
    /// Every core without tasks, and awake.
    pub const fn new() -> Self {
        const { assert!(N <= MOST) };
        Self { runnable: [const { Slot(AtomicU32::new(0)) }; N], idle: [const { AtomicU64::new(0) }; WORDS] }
    }

    /// Publishes how many tasks are runnable on `core`; by that core.
    #[inline]
    pub fn publish(&self, core: usize, runnable: usize) {
        if let Some(Slot(slot)) = self.runnable.get(core) {
            slot.store(runnable as u32, Ordering::Relaxed);
        }
    }

    /// A task is on its way to `core`; by the sender, so that the next placement does not take the core for shorter than it is. The
    /// owner's next word corrects it.
    #[inline]
    pub fn expect(&self, core: usize) {
        if let Some(Slot(slot)) = self.runnable.get(core) {
            slot.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many tasks are runnable on `core`.
    #[inline]
    pub fn runnable(&self, core: usize) -> usize {
        self.runnable.get(core).map_or(0, |Slot(slot)| slot.load(Ordering::Relaxed) as usize)
    }

    /// The core is about to sleep; by that core, which looks into its inbox once more afterwards.
    #[inline]
    pub fn enter_idle(&self, core: usize) {
        if let Some(word) = self.idle.get(core / 64) {
            word.fetch_or(1 << (core % 64), Ordering::AcqRel);
        }
    }

    /// The core is awake.
    #[inline]
    pub fn leave_idle(&self, core: usize) {
        self.take(core);
    }

    /// Whether the core sleeps and nobody has placed a task on it.
    pub fn is_idle(&self, core: usize) -> bool {
        self.idle.get(core / 64).is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (core % 64)) != 0)
    }

    fn take(&self, core: usize) -> bool {
        let bit = 1 << (core % 64);
        match self.idle.get(core / 64) {
            Some(word) if word.load(Ordering::Relaxed) & bit != 0 => word.fetch_and(!bit, Ordering::AcqRel) & bit != 0,
            _ => false,
        }
    }

    /// As [`Cores::claim_idle`], among the first `count` cores.
    #[inline]
    pub fn claim_idle(&self, count: usize, preferred: usize, allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        if allowed(preferred) && self.take(preferred) {
            return Some(preferred);
        }
        if self.idle.iter().all(|word| word.load(Ordering::Relaxed) == 0) {
            return None;
        }
        let after = (preferred + 1..count).chain(0..preferred.min(count));
        after.filter(|core| allowed(*core)).find(|core| self.take(*core))
    }
}

impl<const N: usize> Default for Hints<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_core_is_claimed_once() {
        let hints = Hints::<100>::new();
        assert_eq!(hints.claim_idle(100, 3, &|_| true), None);
        for core in [3, 70, 99] {
            hints.enter_idle(core);
        }
        assert_eq!(hints.claim_idle(100, 3, &|_| true), Some(3));
        assert_eq!(hints.claim_idle(100, 3, &|_| true), Some(70));
        assert_eq!(hints.claim_idle(100, 80, &|core| core < 80), None);
        assert_eq!(hints.claim_idle(100, 80, &|_| true), Some(99));
        assert_eq!(hints.claim_idle(100, 80, &|_| true), None);
        hints.enter_idle(5);
        hints.leave_idle(5);
        assert!(!hints.is_idle(5));
    }
}
