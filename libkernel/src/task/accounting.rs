//! Times and counters of a task, for `/proc`, `getrusage` and `times`.
//!
//! The core that runs the task writes them; everybody may read them, each value for itself.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A counter with one writer at a time: it adds without a locked instruction.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// Adds `amount`. Only for the core that runs the task.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a task has used.
#[derive(Debug, Default)]
pub struct Accounting {
    /// Nanoseconds in user mode.
    pub user: Clock,
    /// Nanoseconds in the kernel.
    pub system: Clock,
    /// Nanoseconds spent ready but not running.
    pub delay: Clock,
    /// How often it was put on a core.
    pub runs: Clock,
    /// Switches because it waited.
    pub voluntary_switches: Clock,
    /// Switches because something else was to run.
    pub involuntary_switches: Clock,
    /// Moves to another core.
    pub migrations: Clock,
    last_core: AtomicU32,
}

impl Accounting {
    /// The core it ran on last, or was placed on.
    #[inline]
    pub fn last_core(&self) -> usize {
        self.last_core.load(Ordering::Relaxed) as usize
    }

    /// Notes the core it runs on.
    #[inline]
    pub fn set_last_core(&self, core: usize) {
        self.last_core.store(core as u32, Ordering::Relaxed);
    }
}
