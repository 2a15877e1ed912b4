//! What the threads of a process share about signals.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use linux_raw_sys::general as abi;

use super::action::{Action, Actions, Disposition};
use super::number::{DefaultAction, Signal, SignalSet};
use super::queue::Queue;
use super::stop::{StateChange, Stop};
use super::thread::ThreadSignals;
use crate::Result;
use crate::process::roster::Roster;
use crate::process::{SignalAllowance, SignalCharge};
use crate::sync::{IrqSpinLock, WaitQueue};
use crate::timers::ProcessTimers;

/// The signal state of a process.
pub struct ProcessSignals {
    pub(super) state: IrqSpinLock<State>,
    /// Signals pending for the process as a whole; changes under the lock.
    pub(super) pending: AtomicU64,
    /// The process is ending: every thread leaves at its next look.
    pub(super) ending: AtomicBool,
    /// Set for init: what has no handler does nothing to it.
    protected: AtomicBool,
    /// Woken when stopped threads may go on.
    pub(super) resumed: WaitQueue,
    /// Woken when a signal arrives: signalfd readers listen.
    arrived: Arc<WaitQueue>,
}

/// What the lock orders.
pub(super) struct State {
    pub actions: Arc<Actions>,
    pub queue: Queue,
    pub members: Roster<ThreadSignals>,
    pub stop: Stop,
    /// A change that the parent has not been told of.
    pub change: Option<StateChange>,
    /// Timers that send signals, once there are any.
    pub timers: Option<Arc<ProcessTimers>>,
}

/// What a process wants done when one of its children changes state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildPolicy {
    /// Ended children vanish without being waited for (`SIG_IGN` or `SA_NOCLDWAIT`).
    pub reap: bool,
    /// `SIGCHLD` for an ended child is sent at all.
    pub notify_end: bool,
    /// `SIGCHLD` is sent for stopped and continued children too (no `SA_NOCLDSTOP`).
    pub notify_stop: bool,
}

impl ProcessSignals {
    /// The state of a process without threads, in which every action is the default.
    pub fn new() -> Self {
        Self::with_actions(Arc::new(Actions::new()))
    }

    /// The state of a child: the same actions, shared (`CLONE_SIGHAND`) or copied, and nothing pending.
    pub fn fork(&self, share_actions: bool) -> Self {
        let actions = self.actions();
        Self::with_actions(if share_actions { actions } else { Arc::new(actions.duplicate()) })
    }

    fn with_actions(actions: Arc<Actions>) -> Self {
        Self {
            state: IrqSpinLock::new(State {
                actions,
                queue: Queue::new(),
                members: Roster::new(),
                stop: Stop::new(),
                change: None,
                timers: None,
            }),
            pending: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            protected: AtomicBool::new(false),
            resumed: WaitQueue::new(),
            arrived: Arc::new(WaitQueue::new()),
        }
    }

    /// The table of actions.
    pub fn actions(&self) -> Arc<Actions> {
        self.state.lock().actions.clone()
    }

    /// The action for a signal.
    pub fn action(&self, signal: Signal) -> Action {
        self.state.lock().actions.get(signal)
    }

    /// Installs an action and returns the old one. A signal that is now without effect is no longer pending.
    pub fn set_action(&self, signal: Signal, action: Action) -> Action {
        let mut state = self.state.lock();
        let old = state.actions.set(signal, action);
        if state.actions.ineffective().contains(signal) {
            self.discard(&mut state, SignalSet::EMPTY.with(signal));
        }
        old
    }

    /// What exec leaves: an action table of its own, caught signals back to their default.
    pub fn reset_for_exec(&self) {
        let current = self.actions();
        let own = if Arc::strong_count(&current) > 2 { Arc::new(current.duplicate()) } else { current };
        own.reset_for_exec();
        let (old, timers) = {
            let mut state = self.state.lock();
            (core::mem::replace(&mut state.actions, own), state.timers.clone())
        };
        drop(old);
        if let Some(timers) = timers {
            timers.delete_all();
        }
    }

    /// Signals pending for the process as a whole.
    pub fn pending(&self) -> SignalSet {
        SignalSet::from_bits(self.pending.load(Ordering::Relaxed))
    }

    /// Woken whenever a signal arrives for the process or one of its threads.
    pub fn arrived(&self) -> &Arc<WaitQueue> {
        &self.arrived
    }

    /// Protects the process as init is: signals without a handler do nothing, `SIGKILL` and `SIGSTOP` too.
    pub fn protect(&self) {
        self.protected.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::protect`] was called and no fault ended the protection.
    pub(super) fn is_protected(&self) -> bool {
        self.protected.load(Ordering::Relaxed)
    }

    pub(super) fn end_protection(&self) {
        self.protected.store(false, Ordering::Relaxed);
    }

    /// Whether one of the signals ends the process when it is taken. As on Linux, one that leaves a core dump is not known to before.
    pub(super) fn would_end_by(&self, signals: SignalSet) -> bool {
        let ends = |signal: Signal| {
            self.action(signal).disposition == Disposition::Default
                && signal.default_action() == DefaultAction::Terminate
                && !self.is_protected()
        };
        let mut rest = signals;
        while let Some(signal) = rest.first() {
            if ends(signal) {
                return true;
            }
            rest = rest.without(signal);
        }
        false
    }

    /// What to do about children that change state.
    pub fn child_policy(&self) -> ChildPolicy {
        let action = self.action(Signal::CHLD);
        let ignored = action.disposition == Disposition::Ignore;
        ChildPolicy {
            reap: ignored || action.has(abi::SA_NOCLDWAIT),
            notify_end: !ignored,
            notify_stop: !ignored && !action.has(abi::SA_NOCLDSTOP),
        }
    }

    /// Makes every thread leave at its next look at its signals, which comes at once. True the first time.
    pub fn end_all(&self) -> bool {
        let state = self.state.lock();
        let first = !self.ending.swap(true, Ordering::SeqCst);
        for member in state.members.iter() {
            member.notify();
        }
        drop(state);
        self.resumed.wake_all();
        first
    }

    /// Makes every thread but one leave at its next look: exec.
    pub fn end_others(&self, survivor: &ThreadSignals) {
        let state = self.state.lock();
        for member in state.members.iter().filter(|member| !core::ptr::eq(Arc::as_ptr(member), survivor)) {
            member.leave();
        }
        drop(state);
        self.resumed.wake_all();
    }

    /// Whether the process is ending.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// The timers that send signals to this process.
    pub fn timers(self: &Arc<Self>) -> Arc<ProcessTimers> {
        if let Some(timers) = &self.state.lock().timers {
            return timers.clone();
        }
        let timers = ProcessTimers::new(self);
        self.state.lock().timers.get_or_insert(timers).clone()
    }

    /// The process has ended: its timers go.
    pub fn drop_timers(&self) {
        let timers = self.state.lock().timers.take();
        drop(timers);
    }

    /// Sets memory aside so that a timer can send its signal from an interrupt.
    ///
    /// # Errors
    /// `EAGAIN` at the limit, `ENOMEM`.
    pub(crate) fn reserve_for_timer(&self, allowance: &SignalAllowance) -> Result<SignalCharge> {
        self.state.lock().queue.reserve(allowance)
    }

    /// Gives up what [`Self::reserve_for_timer`] set aside for the timer with this number.
    pub(crate) fn unreserve_for_timer(&self, timer: u32, charge: SignalCharge) {
        self.state.lock().queue.unreserve(timer, charge);
    }

    /// Forgets pending signals, everywhere in the process.
    pub(super) fn discard(&self, state: &mut State, signals: SignalSet) {
        self.pending.fetch_and(!signals.bits(), Ordering::SeqCst);
        for member in state.members.iter() {
            member.pending.fetch_and(!signals.bits(), Ordering::SeqCst);
        }
        state.queue.discard(|_, signal| signals.contains(signal));
    }
}

impl Default for ProcessSignals {
    fn default() -> Self {
        Self::new()
    }
}
