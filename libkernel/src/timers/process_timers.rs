//! The timers of a process.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, Ordering};

use super::signal_timer::{Notice, SignalTimer};
use crate::signal::{ProcessSignals, Signal, SignalInfo, ThreadSignals};
use crate::sync::IrqSpinLock;
use crate::{Errno, Result};

/// The number of a POSIX timer in its process.
pub type TimerId = u32;

/// A POSIX timer and the number of the clock that its points in time are of.
pub type PosixTimer = (Arc<SignalTimer>, i32);

/// Timers of one process; made when the first one is.
pub struct ProcessTimers {
    process: Weak<ProcessSignals>,
    real: Arc<SignalTimer>,
    posix: IrqSpinLock<BTreeMap<TimerId, PosixTimer>>,
    next: AtomicU32,
}

impl ProcessTimers {
    /// The timers of a process that has set none.
    pub fn new(process: &Arc<ProcessSignals>) -> Arc<Self> {
        let process = Arc::downgrade(process);
        Arc::new(Self {
            real: SignalTimer::new(process.clone(), Notice::Plain(Signal::ALRM)),
            process,
            posix: IrqSpinLock::new(BTreeMap::new()),
            next: AtomicU32::new(0),
        })
    }

    /// `ITIMER_REAL`.
    pub fn real(&self) -> &Arc<SignalTimer> {
        &self.real
    }

    /// Makes a POSIX timer on the clock with this number. `signal` is what it sends, if anything, and to which thread if not to the process; the value
    /// sent along is the timer's number where none is given.
    ///
    /// # Errors
    /// `EAGAIN` when the process has no room for another.
    pub fn create(
        &self,
        clock: i32,
        signal: Option<(Signal, Option<u64>, Option<&Arc<ThreadSignals>>)>,
    ) -> Result<TimerId> {
        let process = self.process.upgrade().ok_or(Errno::EAGAIN)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let notice = match signal {
            None => Notice::Silent,
            Some((signal, value, thread)) => {
                process.reserve_for_timer().map_err(|_| Errno::EAGAIN)?;
                let info = SignalInfo::timer(signal, id, 0, value.unwrap_or(u64::from(id)));
                Notice::Detailed { info, thread: thread.map(Arc::downgrade) }
            }
        };
        self.posix.lock().insert(id, (SignalTimer::new(self.process.clone(), notice), clock));
        Ok(id)
    }

    /// The POSIX timer with this number. `EINVAL` where there is none.
    pub fn get(&self, id: TimerId) -> Result<PosixTimer> {
        self.posix.lock().get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// Removes a POSIX timer; a signal it has sent stays pending. `EINVAL` where there is none.
    pub fn delete(&self, id: TimerId) -> Result<()> {
        let (timer, _) = self.posix.lock().remove(&id).ok_or(Errno::EINVAL)?;
        self.retire(&timer);
        Ok(())
    }

    /// Removes all POSIX timers: exec.
    pub fn delete_all(&self) {
        let timers = core::mem::take(&mut *self.posix.lock());
        timers.values().for_each(|(timer, _)| self.retire(timer));
    }

    fn retire(&self, timer: &SignalTimer) {
        if timer.sends_details()
            && let Some(process) = self.process.upgrade()
        {
            process.unreserve_for_timer();
        }
    }

    /// A signal that a timer may have sent is being delivered: fills in its overrun count and sets the timer again.
    pub fn delivered(&self, info: &mut SignalInfo) {
        if let Some(id) = info.timer_id() {
            let timer = self.posix.lock().get(&id).cloned();
            if let Some((timer, _)) = timer {
                info.set_timer_overrun(timer.delivered());
            }
        }
        if info.signal == Signal::ALRM {
            self.real.delivered();
        }
    }
}
