//! When a timer is due: once, or again and again.
#![forbid(unsafe_code)]

/// What a program sets: nanoseconds, `struct itimerspec` in other units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The time to the first expiry; zero switches the timer off.
    pub value: u64,
    /// The time between later expiries; zero for a timer that expires once.
    pub interval: u64,
}

/// A timer's deadlines, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    deadline: Option<u64>,
    interval: u64,
}

impl Schedule {
    /// A timer that is off.
    pub const OFF: Self = Self { deadline: None, interval: 0 };

    /// Due first at `deadline`, then every `interval` if that is not zero.
    pub const fn at(deadline: u64, interval: u64) -> Self {
        Self { deadline: Some(deadline), interval }
    }

    /// The next deadline; `None` while the timer is off.
    pub const fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// The time between expiries, zero for none.
    pub const fn interval(&self) -> u64 {
        self.interval
    }

    /// Whether the timer is due.
    pub fn is_due(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Takes the expiries up to `now`: how many there were, at most `i32::MAX`. The next deadline lies after `now`
    /// then, or the timer is off.
    pub fn take(&mut self, now: u64) -> u64 {
        let Some(deadline) = self.deadline.filter(|deadline| *deadline <= now) else { return 0 };
        if self.interval == 0 {
            self.deadline = None;
            return 1;
        }
        let more = (now - deadline) / self.interval;
        self.deadline = Some(deadline.saturating_add((more + 1).saturating_mul(self.interval)));
        more + 1
    }

    /// What `timer_gettime` shows: time to the next expiry, at least one nanosecond while the timer runs, and the interval.
    pub fn remaining(&self, now: u64) -> Setting {
        let mut ahead = *self;
        if self.interval != 0 {
            ahead.take(now);
        }
        let value = ahead.deadline.map_or(0, |deadline| deadline.saturating_sub(now).max(1));
        Setting { value, interval: self.interval }
    }
}
