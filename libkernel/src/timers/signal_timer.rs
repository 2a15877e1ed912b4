//! A timer that sends a signal.
#![forbid(unsafe_code)]

use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use core::task::Waker;

use super::schedule::{Schedule, Setting};
use crate::machine;
use crate::signal::{ProcessSignals, Signal, SignalInfo, ThreadSignals};
use crate::sync::IrqSpinLock;
use crate::time::Alarm;

/// The shortest time after which a timer expires again whose signal had no effect, in nanoseconds.
const SHORTEST_UNSEEN: u64 = 1_000_000;

/// What an expiry does.
pub enum Notice {
    /// Nothing (`SIGEV_NONE`).
    Silent,
    /// Sends this signal to the process, from the kernel (`setitimer`).
    Plain(Signal),
    /// Sends a signal with details to the process, or to one of its threads.
    Detailed {
        /// The details; the overrun count is filled in.
        info: SignalInfo,
        /// The thread, for `SIGEV_THREAD_ID`.
        thread: Option<Weak<ThreadSignals>>,
    },
}

/// A timer of a process.
pub struct SignalTimer {
    process: Weak<ProcessSignals>,
    notice: Notice,
    /// Made once, because expiries may not allocate.
    bell: Waker,
    state: IrqSpinLock<State>,
}

struct State {
    schedule: Schedule,
    alarm: Alarm,
    /// A signal was sent and not delivered yet; the timer is set again when it is.
    undelivered: bool,
    /// Expiries that the last signal delivered stands for, besides the first.
    overrun: u32,
}

/// What the alarm rings. It holds the timer weakly: who drops a timer stops it.
struct Bell(Weak<SignalTimer>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(timer) = self.0.upgrade() {
            timer.expire();
        }
    }
}

impl SignalTimer {
    /// A timer that is off.
    pub fn new(process: Weak<ProcessSignals>, notice: Notice) -> Arc<Self> {
        let state = State { schedule: Schedule::OFF, alarm: Alarm::new(), undelivered: false, overrun: 0 };
        Arc::new_cyclic(|timer| Self {
            process,
            notice,
            bell: Waker::from(Arc::new(Bell(timer.clone()))),
            state: IrqSpinLock::new(state),
        })
    }

    /// Whether it has room of its own in the process's queue of signals.
    pub(super) fn sends_details(&self) -> bool {
        matches!(self.notice, Notice::Detailed { .. })
    }

    /// Changes the schedule and returns what the old one had left.
    pub fn set(&self, schedule: Schedule) -> Setting {
        let now = machine::monotonic_ns();
        let mut state = self.state.lock();
        let before = state.schedule.remaining(now);
        state.schedule = schedule;
        state.undelivered = false;
        state.overrun = 0;
        self.arm(&mut state);
        before
    }

    /// What is left to the next expiry.
    pub fn remaining(&self) -> Setting {
        self.state.lock().schedule.remaining(machine::monotonic_ns())
    }

    /// Expiries that the last signal delivered stands for, besides the first: timer_getoverrun(2).
    pub fn overrun(&self) -> u32 {
        self.state.lock().overrun
    }

    fn arm(&self, state: &mut State) {
        match state.schedule.deadline() {
            Some(deadline) if !matches!(self.notice, Notice::Silent) => {
                state.alarm.set(deadline, &self.bell);
            }
            _ => state.alarm.clear(),
        }
    }

    /// The alarm has rung. In an interrupt.
    fn expire(&self) {
        {
            let mut state = self.state.lock();
            if state.undelivered || !state.schedule.is_due(machine::monotonic_ns()) {
                return;
            }
            state.undelivered = true;
        }
        let Some(process) = self.process.upgrade() else { return };
        let sent = match &self.notice {
            Notice::Silent => true,
            Notice::Plain(signal) => process.send_alarm(*signal),
            Notice::Detailed { info, thread: None } => process.send_from_timer(None, *info),
            Notice::Detailed { info, thread: Some(thread) } => {
                thread.upgrade().is_some_and(|thread| process.send_from_timer(Some(&thread), *info))
            }
        };
        if !sent {
            // Nobody will see it, so nobody will ask for the next one.
            let mut state = self.state.lock();
            let now = machine::monotonic_ns();
            state.undelivered = false;
            state.schedule.take(now);
            if let Some(deadline) = state.schedule.deadline() {
                state.schedule = Schedule::at(deadline.max(now + SHORTEST_UNSEEN), state.schedule.interval());
            }
            self.arm(&mut state);
        }
    }

    /// Its signal is being delivered: sets a periodic timer again. Returns the overrun count.
    pub fn delivered(&self) -> u32 {
        let mut state = self.state.lock();
        if !state.undelivered {
            return 0;
        }
        state.undelivered = false;
        let expiries = state.schedule.take(machine::monotonic_ns());
        state.overrun = expiries.saturating_sub(1).min(i32::MAX as u64) as u32;
        self.arm(&mut state);
        state.overrun
    }
}
