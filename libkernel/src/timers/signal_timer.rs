//! A timer that sends a signal, on the monotonic clock or on one of CPU time.
//!
//! A periodic timer on the monotonic clock is set again when its signal is delivered. One on CPU time is set again as it expires, and
//! counts what expires until the delivery, because a delivery may not read that clock.
#![forbid(unsafe_code)]

use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use core::task::Waker;

use super::processor::ProcessorAlarm;
use super::schedule::{Schedule, Setting};
use crate::process::processor_clock::ProcessorClock;
use crate::signal::{ProcessSignals, Signal, SignalInfo, ThreadSignals};
use crate::sync::IrqSpinLock;
use crate::time::Alarm;
use crate::{Result, machine, process};

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
    clock: TimerClock,
    state: IrqSpinLock<State>,
}

/// What the schedule's points in time are of, and what rings at them.
enum TimerClock {
    /// The monotonic clock. The waker is made once, because expiries may not allocate.
    Monotonic(Waker),
    /// CPU time.
    Processor(ProcessorAlarm),
}

struct State {
    schedule: Schedule,
    /// Not used on CPU time.
    alarm: Alarm,
    /// A signal was sent and not delivered yet.
    undelivered: bool,
    /// On CPU time: expiries since the signal was sent.
    missed: u64,
    /// Expiries that the last signal delivered stands for, besides the first.
    overrun: u32,
}

impl State {
    /// The state of a timer that is off.
    const fn off() -> IrqSpinLock<Self> {
        let alarm = Alarm::new();
        IrqSpinLock::new(Self { schedule: Schedule::OFF, alarm, undelivered: false, missed: 0, overrun: 0 })
    }

    /// Puts off the next expiry, which nobody may see, so that it does not keep a core busy.
    fn postpone(&mut self, now: u64) {
        if let Some(deadline) = self.schedule.deadline() {
            let deadline = deadline.max(now.saturating_add(SHORTEST_UNSEEN));
            self.schedule = Schedule::at(deadline, self.schedule.interval());
        }
    }
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
        Arc::new_cyclic(|timer| {
            let bell = Waker::from(Arc::new(Bell(timer.clone())));
            Self { process, notice, clock: TimerClock::Monotonic(bell), state: State::off() }
        })
    }

    /// A timer on CPU time that is off.
    ///
    /// # Errors
    /// `EINVAL` when the clock's subject is gone, `ENOMEM`.
    pub fn on_processor(process: Weak<ProcessSignals>, notice: Notice, clock: ProcessorClock) -> Result<Arc<Self>> {
        let alarm = ProcessorAlarm::new(clock)?;
        Ok(Arc::new_cyclic(|timer| {
            alarm.set_waker(Waker::from(Arc::new(Bell(timer.clone()))));
            Self { process, notice, clock: TimerClock::Processor(alarm), state: State::off() }
        }))
    }

    /// What its clock shows, in nanoseconds. Not to be called with a lock of signals or timers held.
    fn now(&self) -> u64 {
        match &self.clock {
            TimerClock::Monotonic(_) => machine::monotonic_ns(),
            TimerClock::Processor(alarm) => alarm.clock().read(),
        }
    }

    /// Sets it to expire first in `setting.value` nanoseconds of its clock; returns what the old schedule had left.
    pub fn set_in(&self, setting: Setting) -> Setting {
        self.set(match setting.value {
            0 => Schedule::OFF,
            value => Schedule::at(self.now().saturating_add(value), setting.interval),
        })
    }

    /// Changes the schedule, which is of its clock, and returns what the old one had left.
    pub fn set(&self, schedule: Schedule) -> Setting {
        let now = self.now();
        let before = {
            let mut state = self.state.lock();
            let before = state.schedule.remaining(now);
            state.schedule = schedule;
            state.undelivered = false;
            state.missed = 0;
            state.overrun = 0;
            self.arm(&mut state);
            before
        };
        if let TimerClock::Processor(alarm) = &self.clock
            && schedule.deadline().is_some()
        {
            alarm.announce();
            if schedule.is_due(now) {
                self.expire();
            }
        }
        before
    }

    /// What is left to the next expiry.
    pub fn remaining(&self) -> Setting {
        let now = self.now();
        self.state.lock().schedule.remaining(now)
    }

    /// Expiries that the last signal delivered stands for, besides the first: timer_getoverrun(2).
    pub fn overrun(&self) -> u32 {
        self.state.lock().overrun
    }

    fn arm(&self, state: &mut State) {
        let deadline = state.schedule.deadline().filter(|_| !matches!(self.notice, Notice::Silent));
        match (&self.clock, deadline) {
            (TimerClock::Monotonic(bell), Some(deadline)) => state.alarm.set(deadline, bell),
            (TimerClock::Monotonic(_), None) => state.alarm.clear(),
            (TimerClock::Processor(alarm), deadline) => alarm.set(deadline),
        }
    }

    /// The alarm has rung: in an interrupt, or, on CPU time, in a thread.
    fn expire(&self) {
        let now = self.now();
        {
            let mut state = self.state.lock();
            if !state.schedule.is_due(now) {
                return;
            }
            let again = core::mem::replace(&mut state.undelivered, true);
            match &self.clock {
                TimerClock::Monotonic(_) if again => return,
                TimerClock::Monotonic(_) => {}
                TimerClock::Processor(_) => {
                    let expiries = state.schedule.take(now);
                    if again {
                        state.missed = state.missed.saturating_add(expiries);
                        state.postpone(now);
                    } else {
                        state.missed = expiries.saturating_sub(1);
                    }
                    self.arm(&mut state);
                    if again {
                        return;
                    }
                }
            }
        }
        let Some(signals) = self.process.upgrade() else { return };
        // Of the process's threads the one that runs comes first, as on Linux: on CPU time, it used that up. Not for `ITIMER_REAL`.
        let first = match (&self.clock, &self.notice) {
            (TimerClock::Monotonic(_), Notice::Plain(_)) => None,
            _ => process::current().filter(|thread| Arc::ptr_eq(thread.signals().process(), &signals)),
        };
        let first = first.as_deref().map(|thread| &**thread.signals());
        let sent = match &self.notice {
            Notice::Silent => true,
            Notice::Plain(signal) => signals.send_alarm(*signal, first),
            Notice::Detailed { info, thread: None } => signals.send_from_timer(*info, first),
            Notice::Detailed { info, thread: Some(thread) } => {
                thread.upgrade().is_some_and(|thread| thread.send_from_timer(*info))
            }
        };
        if !sent {
            // Nobody will see it, so nobody will ask for the next one.
            let mut state = self.state.lock();
            state.undelivered = false;
            state.schedule.take(now);
            state.postpone(now);
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
        let missed = match &self.clock {
            TimerClock::Monotonic(_) => {
                let expiries = state.schedule.take(machine::monotonic_ns());
                self.arm(&mut state);
                expiries.saturating_sub(1)
            }
            TimerClock::Processor(_) => core::mem::take(&mut state.missed),
        };
        state.overrun = missed.min(i32::MAX as u64) as u32;
        state.overrun
    }
}
