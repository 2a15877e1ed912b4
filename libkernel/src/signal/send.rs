//! Sending: whether a signal counts, where it waits, and which thread looks at it.
//!
//! Callable in any context. Only sendings with details may allocate, and those come from system calls.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::info::SignalInfo;
use super::number::{Signal, SignalSet};
use super::process::{ProcessSignals, State};
use super::queue::Target;
use super::thread::ThreadSignals;
use crate::Result;

/// Details of a signal and whether there is memory for them already.
#[derive(Clone, Copy)]
enum Details {
    None,
    Queue { info: SignalInfo, limit: usize },
    Reserved(SignalInfo),
}

impl ProcessSignals {
    /// Sends a signal to the process. `limit` bounds the details queued (`RLIMIT_SIGPENDING`).
    ///
    /// # Errors
    /// `EAGAIN` when the details of a queued real-time signal find no room; other signals then arrive without.
    pub fn send(&self, info: SignalInfo, limit: usize) -> Result<()> {
        self.send_to(None, info.signal, Details::Queue { info, limit })
    }

    /// Sends a signal from the kernel, without details and without allocating.
    pub fn send_kernel(&self, signal: Signal) {
        // Without details there is nothing that could fail.
        let _ = self.send_to(None, signal, Details::None);
    }

    /// Sends a timer's signal, for which [`Self::reserve_for_timer`] set memory aside. While the last one of the same
    /// timer is still pending, that one's overrun count grows by `info`'s instead, and by one for this expiry.
    pub fn send_from_timer(&self, to: Option<&ThreadSignals>, info: SignalInfo) {
        if let Some(id) = info.timer_id() {
            let mut state = self.state.lock();
            if let Some(pending) = state.queue.timer_entry(id) {
                let overrun = pending.timer_overrun().saturating_add(info.timer_overrun()).saturating_add(1);
                pending.set_timer_overrun(overrun.min(i32::MAX as u32));
                return;
            }
        }
        // The memory is there.
        let _ = self.send_to(to, info.signal, Details::Reserved(info));
    }

    fn send_to(&self, to: Option<&ThreadSignals>, signal: Signal, details: Details) -> Result<()> {
        let mut state = self.state.lock();
        let mut resumed = false;
        if signal == Signal::CONT || signal == Signal::KILL {
            resumed = state.stop.in_force();
            let change = self.resume(&mut state);
            if signal == Signal::CONT && change.is_some() {
                state.change = change;
            }
        } else if SignalSet::STOPS.contains(signal) {
            self.discard(&mut state, SignalSet::EMPTY.with(Signal::CONT));
        }
        let result = self.enqueue(&mut state, to, signal, details);
        drop(state);
        if resumed {
            self.resumed.wake_all();
        }
        self.arrived().wake_all();
        result
    }

    fn enqueue(&self, state: &mut State, to: Option<&ThreadSignals>, signal: Signal, details: Details) -> Result<()> {
        if self.is_ending() || !self.counts(state, to, signal) {
            return Ok(());
        }
        let (pending, target) = match to {
            Some(thread) => (&thread.pending, thread.target()),
            None => (&self.pending, Target::Process),
        };
        let bit = SignalSet::EMPTY.with(signal).bits();
        let already = pending.load(Ordering::Relaxed) & bit != 0;
        if already && !signal.is_realtime() {
            return Ok(());
        }
        match details {
            Details::None => {}
            Details::Reserved(info) => state.queue.push_reserved(target, info),
            Details::Queue { info, limit } => {
                let queued = state.queue.push(target, info, limit);
                if queued.is_err() && info.must_be_queued() {
                    return queued;
                }
            }
        }
        pending.fetch_or(bit, Ordering::SeqCst);
        match to {
            Some(thread) => thread.consider(signal),
            None => self.choose_receiver(state, signal),
        }
        Ok(())
    }

    /// Whether the signal has any effect. One that is blocked, or waited for, always has: its action may change first.
    fn counts(&self, state: &State, to: Option<&ThreadSignals>, signal: Signal) -> bool {
        let kept = |thread: &ThreadSignals| thread.blocked().contains(signal) || thread.awaited().contains(signal);
        let kept = match to {
            Some(thread) => kept(thread),
            None => state.members.iter().any(|thread| kept(thread)),
        };
        if kept {
            return true;
        }
        if self.is_protected() && !state.actions.caught().contains(signal) {
            return false;
        }
        !state.actions.ineffective().contains(signal)
    }

    /// Finds a thread for each of several signals.
    pub(super) fn choose_receivers(&self, state: &State, signals: SignalSet) {
        let mut rest = signals;
        while let Some(signal) = rest.first() {
            self.choose_receiver(state, signal);
            rest = rest.without(signal);
        }
    }

    /// Finds a thread that takes a signal meant for any, and makes it look. None may: it waits then.
    pub(super) fn choose_receiver(&self, state: &State, signal: Signal) {
        if signal == Signal::KILL {
            for thread in state.members.iter() {
                thread.notify();
            }
            return;
        }
        let takes = |thread: &ThreadSignals| !thread.blocked().contains(signal) && !thread.must_leave();
        let awaits = |thread: &ThreadSignals| thread.awaited().contains(signal);
        let receiver = state
            .members
            .iter()
            .find(|thread| awaits(thread))
            .or_else(|| state.members.iter().find(|thread| takes(thread)));
        if let Some(thread) = receiver {
            thread.notify();
        }
    }
}

impl ThreadSignals {
    /// Sends a signal to this thread. As [`ProcessSignals::send`].
    ///
    /// # Errors
    /// As [`ProcessSignals::send`].
    pub fn send(&self, info: SignalInfo, limit: usize) -> Result<()> {
        self.process().send_to(Some(self), info.signal, Details::Queue { info, limit })
    }

    /// Sends a signal from the kernel to this thread, without details and without allocating.
    pub fn send_kernel(&self, signal: Signal) {
        // Without details there is nothing that could fail.
        let _ = self.process().send_to(Some(self), signal, Details::None);
    }

    pub(super) fn awaited(&self) -> SignalSet {
        SignalSet::from_bits(self.awaited.load(Ordering::Relaxed))
    }

    fn consider(&self, signal: Signal) {
        if !self.blocked().contains(signal) || self.awaited().contains(signal) {
            self.notify();
        }
    }
}
