//! A timer that is a file (timerfd_create(2)).
#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::task::Waker;

use super::schedule::{Schedule, Setting};
use crate::fs::FileObject;
use crate::io::IoSink;
use crate::poll::{PollEvents, PollTable};
use crate::sync::{SpinLock, WaitQueue};
use crate::time::Alarm;
use crate::{Errno, Result, machine};

/// A timer whose expiries are counted until they are read.
pub struct TimerFile {
    /// The clock's number, for `/proc`.
    clock: i32,
    state: SpinLock<State>,
    expired: Arc<WaitQueue>,
}

struct State {
    schedule: Schedule,
    alarm: Alarm,
}

impl TimerFile {
    /// A timer that is off. Its deadlines are given on the monotonic clock, whatever `clock` it was made for.
    pub fn new(clock: i32) -> Arc<Self> {
        let state = State { schedule: Schedule::OFF, alarm: Alarm::new() };
        Arc::new(Self { clock, state: SpinLock::new(state), expired: Arc::new(WaitQueue::new()) })
    }

    /// The clock's number.
    pub fn clock(&self) -> i32 {
        self.clock
    }

    /// Changes the schedule and returns what the old one had left. Expiries not read are forgotten.
    pub fn set(&self, schedule: Schedule) -> Setting {
        let mut state = self.state.lock();
        let before = state.schedule.remaining(machine::monotonic_ns());
        state.schedule = schedule;
        self.arm(&mut state);
        before
    }

    /// What is left to the next expiry.
    pub fn remaining(&self) -> Setting {
        self.state.lock().schedule.remaining(machine::monotonic_ns())
    }

    fn arm(&self, state: &mut State) {
        match state.schedule.deadline() {
            Some(deadline) => state.alarm.set(deadline, &Waker::from(self.expired.clone())),
            None => state.alarm.clear(),
        }
    }
}

impl FileObject for TimerFile {
    fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        if sink.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state.lock();
        let mut ahead = state.schedule;
        let count = ahead.take(machine::monotonic_ns());
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        if sink.put(&count.to_ne_bytes()) < 8 {
            return Err(Errno::EFAULT);
        }
        state.schedule = ahead;
        self.arm(&mut state);
        Ok(8)
    }

    fn knows_no_wait(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.register(&self.expired);
        if self.state.lock().schedule.is_due(machine::monotonic_ns()) { PollEvents::IN } else { PollEvents::empty() }
    }

    fn describe(&self) -> String {
        let now = machine::monotonic_ns();
        let mut schedule = self.state.lock().schedule;
        let ticks = schedule.take(now);
        let Setting { value, interval } = schedule.remaining(now);
        let pair = |ns: u64| format!("({}, {})", ns / 1_000_000_000, ns % 1_000_000_000);
        format!(
            "clockid: {}\nticks: {ticks}\nsettime flags: 00\nit_value: {}\nit_interval: {}\n",
            self.clock,
            pair(value),
            pair(interval)
        )
    }
}
