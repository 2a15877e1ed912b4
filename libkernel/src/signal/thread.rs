//! What each thread has for itself about signals.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use linux_raw_sys::general as abi;

use super::info::SignalInfo;
use super::number::{Signal, SignalSet};
use super::process::{ProcessSignals, State};
use super::queue::Target;
use super::stop::StateChange;
use crate::process::roster::Member;
use crate::sync::IrqSpinLock;
use crate::task::Task;
use crate::{Errno, Result};

/// Smallest alternate stack a program may set, in bytes (`MINSIGSTKSZ` on arm64).
const SMALLEST_STACK: u64 = 5120;

/// A stack for handlers, sigaltstack(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlternateStack {
    /// Lowest address.
    pub base: u64,
    /// Length in bytes; zero when there is none.
    pub size: u64,
    /// Disarmed while a handler runs on it (`SS_AUTODISARM`).
    pub autodisarm: bool,
}

impl AlternateStack {
    /// No alternate stack.
    pub const NONE: Self = Self { base: 0, size: 0, autodisarm: false };

    /// Whether a stack pointer lies in it.
    pub const fn contains(&self, sp: u64) -> bool {
        !self.autodisarm && self.size != 0 && sp > self.base && sp - self.base <= self.size
    }

    /// Its upper end, where the first frame goes.
    pub const fn top(&self) -> u64 {
        self.base.wrapping_add(self.size)
    }

    /// The `ss_flags` of `stack_t` that describe it to a thread with this stack pointer.
    pub const fn flags(&self, sp: u64) -> u32 {
        let mode = if self.size == 0 {
            abi::SS_DISABLE
        } else if self.contains(sp) {
            abi::SS_ONSTACK
        } else {
            0
        };
        mode | if self.autodisarm { abi::SS_AUTODISARM } else { 0 }
    }
}

/// How restart_syscall(2) goes on with a call that a stop or an ignored signal interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartBlock {
    /// nanosleep and clock_nanosleep: the absolute deadline on the monotonic clock in nanoseconds, and where the time
    /// left is to be written (0: nowhere).
    Sleep {
        /// Nanoseconds of the monotonic clock.
        deadline: u64,
        /// User address.
        remaining: u64,
    },
    /// clock_nanosleep on a clock of CPU time.
    ProcessorSleep {
        /// The clock's number.
        clock: i32,
        /// Nanoseconds of that clock.
        deadline: u64,
        /// User address, as above.
        remaining: u64,
    },
    /// A futex wait with a relative timeout.
    Futex {
        /// User address.
        address: u64,
        /// The value expected there.
        value: u32,
        /// Nanoseconds of the monotonic clock.
        deadline: u64,
        /// No other address space maps it.
        private: bool,
        /// The bits to be woken by.
        bits: u32,
    },
}

/// What only the thread itself touches.
struct Own {
    alternate_stack: AlternateStack,
    /// The mask to come back to after `sigsuspend` and its kin.
    saved_mask: Option<SignalSet>,
    restart: Option<RestartBlock>,
    /// A fault that has to be delivered before anything else.
    fault: Option<SignalInfo>,
}

/// The signal state of a thread.
pub struct ThreadSignals {
    process: Arc<ProcessSignals>,
    key: u64,
    place: AtomicUsize,
    /// Changed by the thread itself, under the process's signal lock.
    pub(super) blocked: AtomicU64,
    /// Signals pending for this thread; changes under the process's signal lock.
    pub(super) pending: AtomicU64,
    /// Signals that `sigtimedwait` waits for, though they are blocked.
    pub(super) awaited: AtomicU64,
    /// The thread has to stop and has not yet; under the process's signal lock.
    pub(super) stop_requested: AtomicBool,
    pub(super) stopped: AtomicBool,
    /// This thread ends (exec by another one).
    leaving: AtomicBool,
    own: IrqSpinLock<Own>,
    task: IrqSpinLock<Option<Arc<Task>>>,
}

impl ThreadSignals {
    /// The state of a thread that is being made. It receives signals once [`Self::join`] was called.
    pub fn new(process: Arc<ProcessSignals>, blocked: SignalSet) -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        Self {
            process,
            key: KEYS.fetch_add(1, Ordering::Relaxed),
            place: AtomicUsize::new(0),
            blocked: AtomicU64::new(blocked.minus(SignalSet::UNBLOCKABLE).bits()),
            pending: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            stop_requested: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            own: IrqSpinLock::new(Own {
                alternate_stack: AlternateStack::NONE,
                saved_mask: None,
                restart: None,
                fault: None,
            }),
            task: IrqSpinLock::new(None),
        }
    }

    /// Makes the thread one of its process's: from here on `task` is interrupted by signals. `ENOMEM`.
    pub fn join(self: &Arc<Self>, task: &Arc<Task>) -> Result<()> {
        let mut state = self.process.state.lock();
        state.members.insert(self.clone())?;
        *self.task.lock() = Some(task.clone());
        let stopping = state.stop.in_force();
        if stopping {
            self.stop_requested.store(true, Ordering::Relaxed);
            state.stop.expect_one_more();
        }
        if stopping || self.process.is_ending() {
            self.notify();
        }
        Ok(())
    }

    /// The thread ends and receives nothing any more. When a group stop waited only for it, the process is stopped
    /// now, which the parent has to be told.
    pub fn part(&self) -> Option<StateChange> {
        let mut state = self.process.state.lock();
        let removed = state.members.remove(self);
        let mut change = None;
        if self.stop_requested.swap(false, Ordering::Relaxed) {
            change = state.stop.one_less();
        }
        // Once the last thread is gone nobody takes what waits for any.
        let last = state.members.is_empty();
        state.queue.discard(|target, _| last || target == self.target());
        // What waited for any thread, and that this one was woken for, has to find another.
        self.process.choose_receivers(&state, self.process.pending().minus(self.blocked()));
        drop(state);
        let task = self.task.lock().take();
        drop(task);
        drop(removed);
        change
    }

    /// What is shared with the other threads.
    pub fn process(&self) -> &Arc<ProcessSignals> {
        &self.process
    }

    pub(super) fn target(&self) -> Target {
        Target::Thread(self.key)
    }

    /// The signals that do not reach the thread now.
    pub fn blocked(&self) -> SignalSet {
        SignalSet::from_bits(self.blocked.load(Ordering::Relaxed))
    }

    /// Sets the mask. For the thread itself only. A signal that waits for any thread and that this one will no longer
    /// take finds another.
    pub fn set_blocked(&self, mask: SignalSet) {
        let mask = mask.minus(SignalSet::UNBLOCKABLE);
        let state = self.process.state.lock();
        let newly = mask.minus(self.blocked());
        self.blocked.store(mask.bits(), Ordering::SeqCst);
        self.process.choose_receivers(&state, self.process.pending() & newly);
        self.update_notice(&state);
    }

    /// Signals pending for the thread or its process that it blocks: sigpending(2).
    pub fn pending_blocked(&self) -> SignalSet {
        (self.pending() | self.process.pending()) & self.blocked()
    }

    /// Signals pending for this thread alone.
    pub fn pending(&self) -> SignalSet {
        SignalSet::from_bits(self.pending.load(Ordering::Relaxed))
    }

    /// Whether a signal can be delivered, or the thread has to stop or end.
    fn has_work(&self) -> bool {
        let deliverable = (self.pending.load(Ordering::SeqCst) | self.process.pending.load(Ordering::SeqCst))
            & !self.blocked.load(Ordering::Relaxed);
        deliverable != 0
            || self.stop_requested.load(Ordering::Relaxed)
            || self.leaving.load(Ordering::Relaxed)
            || self.process.is_ending()
    }

    /// Whether a signal, a stop or its end waits for the thread; if so, asks it to look. For the thread itself.
    pub fn has_to_look(&self) -> bool {
        let waits = self.has_work();
        if waits {
            self.notify();
        }
        waits
    }

    /// Whether the thread has to end.
    pub fn must_leave(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.process.is_ending()
    }

    /// Whether the thread has to end, or will when it takes the signals that wait for it: what a killable wait ends for.
    pub fn is_doomed(&self) -> bool {
        let deliverable = (self.pending() | self.process.pending()).minus(self.blocked());
        self.must_leave() || self.process.would_end_by(deliverable)
    }

    /// Makes this thread leave at its next look.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        self.notify();
    }

    /// Interrupts what the thread does, so that it looks at its signals. Any context.
    pub(super) fn notify(&self) {
        let task = self.task.lock();
        if let Some(task) = task.as_ref() {
            task.set_interrupt(true);
        }
    }

    /// Brings the interrupt request of the thread's task in line with its state. With the signal lock held.
    pub(super) fn update_notice(&self, state: &State) {
        let awaited = (self.pending() | self.process.pending()) & self.awaited();
        let wanted =
            self.has_work() || !awaited.is_empty() || state.change.is_some() || self.own.lock().fault.is_some();
        let task = self.task.lock();
        if let Some(task) = task.as_ref()
            && task.interrupted() != wanted
        {
            task.set_interrupt(wanted);
        }
    }

    /// The alternate stack.
    pub fn alternate_stack(&self) -> AlternateStack {
        self.own.lock().alternate_stack
    }

    /// Sets the alternate stack without checks: exec, clone and `SS_AUTODISARM`.
    pub fn replace_alternate_stack(&self, stack: AlternateStack) {
        self.own.lock().alternate_stack = stack;
    }

    /// Sets the alternate stack as sigaltstack(2) asks for it; `sp` is the caller's stack pointer.
    ///
    /// # Errors
    /// `EPERM` while running on the current one, `EINVAL` for unknown flags, `ENOMEM` for a stack too small.
    pub fn set_alternate_stack(&self, base: u64, size: u64, flags: u32, sp: u64) -> Result<()> {
        let mut own = self.own.lock();
        if own.alternate_stack.contains(sp) {
            return Err(Errno::EPERM);
        }
        let autodisarm = flags & abi::SS_AUTODISARM != 0;
        own.alternate_stack = match flags & !abi::SS_FLAG_BITS {
            abi::SS_DISABLE => AlternateStack { autodisarm, ..AlternateStack::NONE },
            0 | abi::SS_ONSTACK if size < SMALLEST_STACK => return Err(Errno::ENOMEM),
            0 | abi::SS_ONSTACK => AlternateStack { base, size, autodisarm },
            _ => return Err(Errno::EINVAL),
        };
        Ok(())
    }

    /// Sets a temporary mask, as `sigsuspend` and `ppoll` do; the old one comes back with [`Self::restore_mask`], or
    /// with the return from a handler.
    pub fn set_temporary_mask(&self, mask: SignalSet) {
        let old = self.blocked();
        {
            let mut own = self.own.lock();
            own.saved_mask = Some(own.saved_mask.unwrap_or(old));
        }
        self.set_blocked(mask);
    }

    /// Ends a temporary mask, if there is one.
    pub fn restore_mask(&self) {
        let saved = self.own.lock().saved_mask.take();
        if let Some(mask) = saved {
            self.set_blocked(mask);
        }
    }

    /// For a handler's frame: the mask that the return from the handler brings back, which ends a temporary mask, and the alternate
    /// stack, which is disarmed if it is to be.
    pub fn for_frame(&self) -> (SignalSet, AlternateStack) {
        let mut own = self.own.lock();
        let mask = own.saved_mask.take().unwrap_or(self.blocked());
        let stack = own.alternate_stack;
        if stack.autodisarm {
            own.alternate_stack = AlternateStack::NONE;
        }
        (mask, stack)
    }

    /// Notes how restart_syscall(2) goes on.
    pub fn set_restart(&self, block: RestartBlock) {
        self.own.lock().restart = Some(block);
    }

    /// Takes the note for restart_syscall(2).
    pub fn take_restart(&self) -> Option<RestartBlock> {
        self.own.lock().restart.take()
    }

    /// An instruction of this thread faulted: the signal comes before all others, and if it is blocked or ignored it
    /// kills. For the thread itself only.
    pub fn force(&self, info: SignalInfo) {
        let signal = info.signal;
        let state = self.process.state.lock();
        let mut action = state.actions.get(signal);
        let blocked = self.blocked().contains(signal);
        if blocked || action.disposition == super::Disposition::Ignore {
            action.disposition = super::Disposition::Default;
            state.actions.set(signal, action);
            self.blocked.store(self.blocked().without(signal).bits(), Ordering::SeqCst);
        }
        if action.disposition == super::Disposition::Default {
            self.process.end_protection();
        }
        self.own.lock().fault = Some(info);
        drop(state);
        self.notify();
    }

    /// As [`Self::force`] for a signal that must kill: a handler's frame that cannot be built.
    pub fn force_fatal(&self, signal: Signal) {
        self.process.state.lock().actions.set(signal, super::Action::DEFAULT);
        self.force(SignalInfo::kernel(signal));
    }

    pub(super) fn take_fault(&self) -> Option<SignalInfo> {
        self.own.lock().fault.take()
    }
}

impl Member for ThreadSignals {
    fn place(&self) -> &AtomicUsize {
        &self.place
    }
}
