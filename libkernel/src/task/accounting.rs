//! Times and counters of a task, for `/proc`, `getrusage` and `times`.
//!
//! The core that runs the task writes them; everybody may read them, each value for itself.

use crate::machine;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A counter with one writer at a time: it adds without a locked instruction.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// At zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

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

/// Time in user mode and altogether, in ticks of the machine's counter. Changing between user mode and the kernel costs one look at
/// the counter and one addition.
#[derive(Debug, Default)]
pub struct Times {
    /// Ticks in user mode; while user mode runs, less the counter when it began, and so negative.
    user: Clock,
    /// Ticks of all polls; while the task is being polled, less the counter when that began, and so negative.
    polls: Clock,
}

/// How often a reader looks again when the times change under its eyes.
const LOOKS: usize = 4;

impl Times {
    /// A poll begins.
    #[inline]
    pub fn begin(&self) {
        self.polls.add(machine::ticks().wrapping_neg());
    }

    /// The poll ends.
    #[inline]
    pub fn end(&self) {
        self.polls.add(machine::ticks());
    }

    /// User mode is about to run.
    #[inline]
    pub fn enter_user(&self) {
        self.user.add(machine::ticks().wrapping_neg());
    }

    /// User mode trapped.
    #[inline]
    pub fn leave_user(&self) {
        self.user.add(machine::ticks());
    }

    /// Tells this poll, and what is between two stays in user mode, from any other; `None` while the task is not being polled.
    pub fn turn(&self) -> Option<(u64, u64)> {
        let (polls, user) = self.look();
        ((polls as i64) < 0).then_some((polls, user))
    }

    fn look(&self) -> (u64, u64) {
        (self.polls.get(), self.user.get())
    }

    /// Nanoseconds in user mode and in the kernel until now. Anybody may ask; what changes meanwhile may be counted or not.
    pub fn read(&self) -> (u64, u64) {
        let (mut found, mut now) = (self.look(), machine::ticks());
        for _ in 0..LOOKS {
            let again = self.look();
            if found == again {
                break;
            }
            (found, now) = (again, machine::ticks());
        }
        let until_now = |clock: u64| if (clock as i64) < 0 { clock.wrapping_add(now) } else { clock };
        let (total, user) = (until_now(found.0), until_now(found.1));
        (machine::ticks_to_ns(user), machine::ticks_to_ns(total.saturating_sub(user)))
    }
}

/// What a task has used.
#[derive(Debug, Default)]
pub struct Accounting {
    /// Where its time goes.
    pub times: Times,
    /// Ticks spent ready but not running; while it waits, less the counter when that began, and so negative.
    delay: Clock,
    /// The part of its user time that cores have been credited with, in nanoseconds.
    credited: Clock,
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
    /// It waits for its turn from now on. By the core that queues it.
    #[inline]
    pub fn begin_wait(&self) {
        self.delay.add(machine::ticks().wrapping_neg());
    }

    /// Its turn has come, or it leaves the queue.
    #[inline]
    pub fn end_wait(&self) {
        self.delay.add(machine::ticks());
    }

    /// Nanoseconds spent ready but not running, until now.
    pub fn delay(&self) -> u64 {
        let delay = self.delay.get();
        machine::ticks_to_ns(if (delay as i64) < 0 { delay.wrapping_add(machine::ticks()) } else { delay })
    }

    /// User time that no core has been credited with yet, in nanoseconds.
    pub fn uncredited(&self) -> u64 {
        self.times.read().0.saturating_sub(self.credited.get())
    }

    /// Takes that time, to credit a core with it. While the task runs nowhere.
    pub(crate) fn take_credit(&self) -> u64 {
        let time = self.uncredited();
        self.credited.add(time);
        time
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;
    use std::time::Duration;

    #[test]
    fn time_is_told_apart_and_is_told_while_it_runs() {
        const PAUSE: u64 = 2_000_000;
        let pause = || sleep(Duration::from_nanos(PAUSE));
        let times = Times::default();
        assert_eq!(times.read(), (0, 0));
        machine::monotonic_ns();
        pause();
        assert_eq!(times.turn(), None);
        times.begin();
        let turn = times.turn();
        pause();
        assert!(turn.is_some() && times.turn() == turn);
        times.enter_user();
        pause();
        let (user, system) = times.read();
        assert!(user >= PAUSE && system >= PAUSE);
        pause();
        times.leave_user();
        let (left, _) = times.read();
        assert!(left >= 2 * PAUSE);
        pause();
        let (user, system) = times.read();
        assert!(user == left && system >= 2 * PAUSE);
        times.end();
        let over = times.read();
        pause();
        assert_eq!(times.read(), over);
        times.begin();
        assert!(times.turn().is_some() && times.turn() != turn);
    }
}
