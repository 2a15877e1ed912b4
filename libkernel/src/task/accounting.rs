//! Times and counters of a task, for `/proc`, `getrusage` and `times`.
//!
//! The core that runs the task writes them; everybody may read them, each value for itself.

use crate::machine;
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

/// The bit of [`Times::since`] that says user mode.
const USER: u64 = 1 << 63;

/// Time in user mode and in the kernel, in ticks of the machine's counter, up to the last change between the two or the last poll;
/// and since when which of them has been running.
#[derive(Debug, Default)]
pub struct Times {
    user: Clock,
    system: Clock,
    /// The counter at the last change, and [`USER`]; 0 while the task is not being polled.
    since: AtomicU64,
}

impl Times {
    #[inline]
    fn lap(&self, next: u64) -> u64 {
        let before = self.since.load(Ordering::Relaxed) & !USER;
        self.since.store(next, Ordering::Relaxed);
        (next & !USER).wrapping_sub(before)
    }

    /// A poll begins.
    #[inline]
    pub fn begin(&self) {
        self.since.store(machine::ticks(), Ordering::Relaxed);
    }

    /// The poll ends.
    #[inline]
    pub fn end(&self) {
        self.system.add(self.lap(machine::ticks()));
        self.since.store(0, Ordering::Relaxed);
    }

    /// User mode is about to run.
    #[inline]
    pub fn enter_user(&self) {
        self.system.add(self.lap(machine::ticks() | USER));
    }

    /// User mode trapped.
    #[inline]
    pub fn leave_user(&self) {
        self.user.add(self.lap(machine::ticks()));
    }

    /// Nanoseconds in user mode and in the kernel until now. Anybody may ask; what changes meanwhile may be counted or not.
    pub fn read(&self) -> (u64, u64) {
        let since = self.since.load(Ordering::Relaxed);
        let (mut user, mut system) = (self.user.get(), self.system.get());
        if since != 0 {
            let running = machine::ticks().saturating_sub(since & !USER);
            *if since & USER != 0 { &mut user } else { &mut system } += running;
        }
        (machine::ticks_to_ns(user), machine::ticks_to_ns(system))
    }
}

/// What a task has used.
#[derive(Debug, Default)]
pub struct Accounting {
    /// Where its time goes.
    pub times: Times,
    /// Nanoseconds spent ready but not running.
    pub delay: Clock,
    /// How often it was put on a core.
    pub runs: Clock,
    /// Switches because it waited.
    pub voluntary_switches: Clock,
    /// Switches because something else was to run.
    pub involuntary_switches: Clock,
    /// Page faults in user mode that were resolved at once.
    pub faults: Clock,
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
