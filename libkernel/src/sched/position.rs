//! Where a waiting task is found, and where it may go: what is known of a task outside the queue that has it.
//!
//! A task in a queue can be reached only through that queue. Who changes its parameters knows the task, and looks for it by the key under
//! which it waits; so the queue notes that key beside the task whenever it puts it in.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use super::hints::CoreSet;
use crate::task::AffinityMask;

/// The key under which a task waits, if it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position(pub(super) u64, pub(super) u64);

/// A place for a task's position.
///
/// Written by the core in whose queue the task is. That core reads what it wrote; another one may read anything, and the
/// task is not in its queue.
#[derive(Debug, Default)]
pub struct NotedPosition(AtomicU64, AtomicU64);

impl NotedPosition {
    /// Notes where the task waits from now on.
    #[inline]
    pub fn set(&self, position: Position) {
        self.0.store(position.0, Ordering::Relaxed);
        self.1.store(position.1, Ordering::Relaxed);
    }

    /// Where the task was put last.
    pub fn get(&self) -> Position {
        Position(self.0.load(Ordering::Relaxed), self.1.load(Ordering::Relaxed))
    }
}

/// A set of cores folded into a word: it says of a core that it may be in the set, or that it is not. Exact on up to 64 cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldedCores(u64);

impl FoldedCores {
    /// No core.
    pub const EMPTY: Self = Self(0);

    /// Whether the core may be in the set.
    #[inline]
    pub const fn may_contain(self, core: usize) -> bool {
        self.0 >> (core % 64) & 1 != 0
    }

    /// The cores of both.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl From<AffinityMask> for FoldedCores {
    #[inline]
    fn from(mask: AffinityMask) -> Self {
        Self(mask.0)
    }
}

impl From<CoreSet> for FoldedCores {
    fn from(set: CoreSet) -> Self {
        Self(set.words().into_iter().fold(0, |folded, word| folded | word))
    }
}
