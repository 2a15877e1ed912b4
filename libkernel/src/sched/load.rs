//! What each core was busy with: how long tasks were runnable on it, how long it was idle, and its load averages.
//!
//! The number of runnable tasks of a core is constant between two changes, so its integral over time is exact, and nothing has to
//! sample it: the owner adds up at each change. The load averages are exponential averages of that number over 1, 5 and 15 minutes.
//! The owner folds the mean since the last fold into them when a change comes at least [`SAMPLE`] after it; a reader does the same
//! on a copy. What did not change needs no fold, so an idle core has no tick for it.
//!
//! User time is credited to a core when a task leaves it or ends; what its present tasks have used since, a reader adds.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::machine::{self, MAX_CORES};
use crate::task::{Clock, Task};

/// How old the averages get at most before a change folds the time since into them, in nanoseconds.
const SAMPLE: u64 = 5_000_000_000;

/// The interval of which the averages keep a known part, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// One in the fixed-point numbers of load averages.
pub const LOAD_ONE: u64 = 1 << 16;

/// What is kept of an average over a second: `exp(-1 s / 1 min)`, and over 5 and 15 minutes.
const KEPT: [u64; 3] = [64_453, 65_318, 65_463];

/// Brings averages up to date: the mean was `mean` for `elapsed` nanoseconds. All in units of 1/[`LOAD_ONE`].
pub fn decay(averages: [u64; 3], mean: u64, elapsed: u64) -> [u64; 3] {
    let mut next = averages;
    for (average, kept) in next.iter_mut().zip(KEPT) {
        let rest = (LOAD_ONE - kept) * (elapsed % SECOND) / SECOND;
        // After so many seconds nothing is left of anything.
        let whole = power(kept, (elapsed / SECOND).min(100_000));
        let kept = whole * (LOAD_ONE - rest) / LOAD_ONE;
        *average = (*average * kept + mean * (LOAD_ONE - kept)) / LOAD_ONE;
    }
    next
}

fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut product = LOAD_ONE;
    while exponent != 0 {
        if exponent & 1 != 0 {
            product = product * base / LOAD_ONE;
        }
        base = base * base / LOAD_ONE;
        exponent >>= 1;
    }
    product
}

/// One core's account, in ticks of the machine's counter. Written by that core with interrupts masked, but for the credits.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CoreLoad {
    count: AtomicU64,
    since: AtomicU64,
    runnable: Clock,
    idle: Clock,
    turns: Clock,
    started: AtomicU64,
    next_fold: AtomicU64,
    folded: AtomicU64,
    folded_runnable: AtomicU64,
    averages: [AtomicU64; 3],
    user: AtomicU64,
    nice: AtomicU64,
    dropped: AtomicU64,
}

/// A core's account at one moment; times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Runnable tasks, the running one included.
    pub runnable: u64,
    /// The integral of that number.
    pub runnable_time: u64,
    /// Time without a runnable task.
    pub idle: u64,
    /// Time since the core came online.
    pub total: u64,
    /// How often a task was chosen to run.
    pub turns: u64,
    /// User time of tasks that have left or ended, those that were not nice.
    pub user: u64,
    /// User time of nice tasks that have left or ended.
    pub nice: u64,
    /// Load averages, in units of 1/[`LOAD_ONE`].
    pub averages: [u64; 3],
    /// Requests to reschedule that were not honoured before user mode ran on: each is a bug.
    pub dropped: u64,
}

static LOADS: [CoreLoad; MAX_CORES] = [const { CoreLoad::new() }; MAX_CORES];

/// The account of a core.
#[inline]
pub fn of(core: usize) -> Option<&'static CoreLoad> {
    LOADS.get(core)
}

impl CoreLoad {
    /// The account of a core that has not started.
    pub const fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            since: AtomicU64::new(0),
            runnable: Clock::new(),
            idle: Clock::new(),
            turns: Clock::new(),
            started: AtomicU64::new(0),
            next_fold: AtomicU64::new(0),
            folded: AtomicU64::new(0),
            folded_runnable: AtomicU64::new(0),
            averages: [const { AtomicU64::new(0) }; 3],
            user: AtomicU64::new(0),
            nice: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// The core comes online.
    pub fn start(&self) {
        let now = machine::ticks();
        for start in [&self.since, &self.started, &self.folded] {
            start.store(now, Ordering::Relaxed);
        }
        self.plan_fold(now);
    }

    /// The core has `count` runnable tasks from now on.
    #[inline]
    pub fn change(&self, count: usize) {
        let before = self.count.load(Ordering::Relaxed);
        if before == count as u64 {
            return;
        }
        let now = machine::ticks();
        let passed = now.wrapping_sub(self.since.load(Ordering::Relaxed));
        self.runnable.add(before.wrapping_mul(passed));
        if before == 0 {
            self.idle.add(passed);
        }
        self.count.store(count as u64, Ordering::Relaxed);
        self.since.store(now, Ordering::Release);
        if now >= self.next_fold.load(Ordering::Relaxed) {
            self.fold(now);
        }
    }

    /// A task was chosen to run.
    #[inline]
    pub fn count_turn(&self) {
        self.turns.add(1);
    }

    /// A request to reschedule was found pending where none can be.
    #[cold]
    pub fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Credits the core with the user time of a task that has left it or ended.
    pub fn credit(&self, task: &Task) {
        let time = task.accounting().take_credit();
        let account = if task.parameters().nice() > 0 { &self.nice } else { &self.user };
        account.fetch_add(time, Ordering::Relaxed);
    }

    fn plan_fold(&self, now: u64) {
        // The ticks of a sample, from the nanoseconds of 2^32 ticks.
        let sample = (u128::from(SAMPLE) << 32) / u128::from(machine::ticks_to_ns(1 << 32).max(1));
        self.next_fold.store(now.saturating_add(sample as u64), Ordering::Relaxed);
    }

    #[cold]
    fn fold(&self, now: u64) {
        let averages = self.averages_at(now, self.runnable.get());
        self.averages.iter().zip(averages).for_each(|(to, value)| to.store(value, Ordering::Relaxed));
        self.folded.store(now, Ordering::Relaxed);
        self.folded_runnable.store(self.runnable.get(), Ordering::Relaxed);
        self.plan_fold(now);
    }

    fn averages_at(&self, now: u64, runnable: u64) -> [u64; 3] {
        let elapsed = now.saturating_sub(self.folded.load(Ordering::Relaxed));
        let area = runnable.saturating_sub(self.folded_runnable.load(Ordering::Relaxed));
        let mean = u128::from(area) * u128::from(LOAD_ONE) / u128::from(elapsed.max(1));
        let averages = self.averages.each_ref().map(|average| average.load(Ordering::Relaxed));
        decay(averages, mean.min(1 << 40) as u64, machine::ticks_to_ns(elapsed))
    }

    /// What the account says now. Any core may ask.
    pub fn read(&self) -> Account {
        let look = || {
            let since = self.since.load(Ordering::Acquire);
            (since, self.count.load(Ordering::Relaxed), self.runnable.get(), self.idle.get())
        };
        let mut found = look();
        for _ in 0..4 {
            let again = look();
            if again == found {
                break;
            }
            found = again;
        }
        let (since, count, mut runnable, mut idle) = found;
        let now = machine::ticks();
        let passed = now.saturating_sub(since);
        if count == 0 {
            idle += passed;
        } else {
            runnable = runnable.wrapping_add(count.wrapping_mul(passed));
        }
        Account {
            runnable: count,
            runnable_time: machine::ticks_to_ns(runnable),
            idle: machine::ticks_to_ns(idle),
            total: machine::ticks_to_ns(now.saturating_sub(self.started.load(Ordering::Relaxed))),
            turns: self.turns.get(),
            user: self.user.load(Ordering::Relaxed),
            nice: self.nice.load(Ordering::Relaxed),
            averages: self.averages_at(now, runnable),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host;

    #[test]
    fn the_average_follows_the_number_of_tasks() {
        let after = |seconds: u64| decay([0; 3], 4 * LOAD_ONE, seconds * SECOND);
        let percent = |average: u64| average * 100 / (4 * LOAD_ONE);
        assert!((62..=64).contains(&percent(after(60)[0])), "1 - 1/e after a minute");
        assert!((62..=64).contains(&percent(after(900)[2])));
        assert!((63..=68).contains(&percent(decay([4 * LOAD_ONE; 3], 0, 360 * SECOND)[2])));
        assert_eq!(decay([9 * LOAD_ONE; 3], 0, u64::MAX), [0; 3]);
        let steps = (0..60).fold([0; 3], |averages, _| decay(averages, 4 * LOAD_ONE, SECOND));
        assert!(percent(steps[0]).abs_diff(percent(after(60)[0])) <= 1, "steps of a second");
    }

    #[test]
    fn time_is_split_exactly_and_nothing_has_to_sample_it() {
        let load = CoreLoad::new();
        host::set_clock(Some(10 * SECOND));
        load.start();
        host::set_clock(Some(30 * SECOND));
        load.change(1);
        host::set_clock(Some(90 * SECOND));
        let account = load.read();
        assert_eq!((account.idle, account.runnable_time, account.total), (20 * SECOND, 60 * SECOND, 80 * SECOND));
        assert!((60..=66).contains(&(account.averages[0] * 100 / LOAD_ONE)), "{account:?}");
        load.change(3);
        host::set_clock(Some(100 * SECOND));
        assert_eq!(load.read().runnable_time, 90 * SECOND);
        load.change(0);
        host::set_clock(Some(1000 * SECOND));
        assert_eq!(load.read().idle, 920 * SECOND);
        assert_eq!(load.read().averages[0], 0);
    }
}
