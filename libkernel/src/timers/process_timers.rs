//! The timers of a process.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, Ordering};

use super::signal_timer::{Notice, SignalTimer};
use crate::process::processor_clock::ProcessorClock;
use crate::process::{Process, SignalAllowance, SignalCharge};
use crate::signal::{ProcessSignals, Signal, SignalInfo, ThreadSignals};
use crate::sync::IrqSpinLock;
use crate::{Errno, Result};

/// The number of a POSIX timer in its process.
pub type TimerId = u32;

/// A POSIX timer and the number of the clock that its points in time are of.
pub type PosixTimer = (Arc<SignalTimer>, i32);

/// An interval timer on the process's CPU time (setitimer(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalTimer {
    /// `ITIMER_VIRTUAL`: user mode only.
    Virtual = 0,
    /// `ITIMER_PROF`: user mode and the kernel.
    Profiling = 1,
}

impl IntervalTimer {
    /// The signal that it sends.
    const fn signal(self) -> Signal {
        match self {
            Self::Virtual => Signal::VTALRM,
            Self::Profiling => Signal::PROF,
        }
    }

    fn of_signal(signal: Signal) -> Option<Self> {
        [Self::Virtual, Self::Profiling].into_iter().find(|timer| timer.signal() == signal)
    }
}

/// Timers of one process; made when the first one is.
pub struct ProcessTimers {
    process: Weak<ProcessSignals>,
    real: Arc<SignalTimer>,
    /// `ITIMER_VIRTUAL` and `ITIMER_PROF`, once they were set.
    intervals: IrqSpinLock<[Option<Arc<SignalTimer>>; 2]>,
    posix: IrqSpinLock<BTreeMap<TimerId, (PosixTimer, SignalCharge)>>,
    next: AtomicU32,
}

impl ProcessTimers {
    /// The timers of a process that has set none.
    pub fn new(process: &Arc<ProcessSignals>) -> Arc<Self> {
        let process = Arc::downgrade(process);
        Arc::new(Self {
            real: SignalTimer::new(process.clone(), Notice::Plain(Signal::ALRM)),
            process,
            intervals: IrqSpinLock::new([None, None]),
            posix: IrqSpinLock::new(BTreeMap::new()),
            next: AtomicU32::new(0),
        })
    }

    /// `ITIMER_REAL`.
    pub fn real(&self) -> &Arc<SignalTimer> {
        &self.real
    }

    /// An interval timer on CPU time, if it was ever set.
    pub fn interval(&self, which: IntervalTimer) -> Option<Arc<SignalTimer>> {
        self.intervals.lock().get(which as usize)?.clone()
    }

    /// An interval timer on the CPU time of `owner`, whose timers these are.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn make_interval(&self, which: IntervalTimer, owner: &Arc<Process>) -> Result<Arc<SignalTimer>> {
        if let Some(timer) = self.interval(which) {
            return Ok(timer);
        }
        let clock = ProcessorClock::of_process(owner, which == IntervalTimer::Virtual);
        let timer = SignalTimer::on_processor(self.process.clone(), Notice::Plain(which.signal()), clock)?;
        match self.intervals.lock().get_mut(which as usize) {
            Some(slot) => Ok(slot.get_or_insert(timer).clone()),
            None => Err(Errno::EINVAL),
        }
    }

    /// Makes a POSIX timer on the clock with this number, which is `processor` if it counts CPU time. `signal` is what it sends, if
    /// anything, and to which thread if not to the process; the value sent along is the timer's number where none is given. A timer
    /// counts as a queued signal for as long as it exists, also one that sends nothing: `allowance` is the process's.
    ///
    /// # Errors
    /// `EAGAIN` when the process has no room for another; `EINVAL` when the subject of `processor` is gone.
    pub fn create(
        &self,
        clock: i32,
        processor: Option<ProcessorClock>,
        signal: Option<(Signal, Option<u64>, Option<&Arc<ThreadSignals>>)>,
        allowance: &SignalAllowance,
    ) -> Result<TimerId> {
        let process = self.process.upgrade().ok_or(Errno::EAGAIN)?;
        let charge = process.reserve_for_timer(allowance).map_err(|_| Errno::EAGAIN)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let notice = match signal {
            None => Notice::Silent,
            Some((signal, value, thread)) => {
                let info = SignalInfo::timer(signal, id, 0, value.unwrap_or(u64::from(id)));
                Notice::Detailed { info, thread: thread.map(Arc::downgrade) }
            }
        };
        let timer = match processor {
            None => SignalTimer::new(self.process.clone(), notice),
            Some(processor) => match SignalTimer::on_processor(self.process.clone(), notice, processor) {
                Ok(timer) => timer,
                Err(error) => {
                    process.unreserve_for_timer(id, charge);
                    return Err(error);
                }
            },
        };
        self.posix.lock().insert(id, ((timer, clock), charge));
        Ok(id)
    }

    /// The POSIX timer with this number. `EINVAL` where there is none.
    pub fn get(&self, id: TimerId) -> Result<PosixTimer> {
        self.posix.lock().get(&id).map(|(timer, _)| timer.clone()).ok_or(Errno::EINVAL)
    }

    /// Removes a POSIX timer; a signal it has sent stays pending. `EINVAL` where there is none.
    pub fn delete(&self, id: TimerId) -> Result<()> {
        let (timer, charge) = self.posix.lock().remove(&id).ok_or(Errno::EINVAL)?;
        self.retire(id, timer, charge);
        Ok(())
    }

    /// Removes all POSIX timers: exec.
    pub fn delete_all(&self) {
        let timers = core::mem::take(&mut *self.posix.lock());
        timers.into_iter().for_each(|(id, (timer, charge))| self.retire(id, timer, charge));
    }

    fn retire(&self, id: TimerId, timer: PosixTimer, charge: SignalCharge) {
        drop(timer);
        if let Some(process) = self.process.upgrade() {
            process.unreserve_for_timer(id, charge);
        }
    }

    /// A signal that a timer may have sent is being delivered: fills in its overrun count and sets the timer again.
    pub fn delivered(&self, info: &mut SignalInfo) {
        if let Some((timer, _)) = info.timer_id().and_then(|id| self.get(id).ok()) {
            info.set_timer_overrun(timer.delivered());
        }
        if info.signal == Signal::ALRM {
            self.real.delivered();
        }
        if let Some(timer) = IntervalTimer::of_signal(info.signal).and_then(|which| self.interval(which)) {
            timer.delivered();
        }
    }
}
