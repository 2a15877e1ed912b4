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
use crate::process::SignalAllowance;

/// Details of a signal and whether there is memory for them already.
#[derive(Clone, Copy)]
enum Details<'a> {
    None,
    Queue { info: SignalInfo, allowance: &'a SignalAllowance },
    Reserved(SignalInfo),
}

/// Whom a signal is for.
#[derive(Clone, Copy)]
enum Addressee<'a> {
    /// Any thread of the process; `first` before others, if it takes it.
    Process { first: Option<&'a ThreadSignals> },
    /// This one.
    Thread(&'a ThreadSignals),
}

const PROCESS: Addressee<'_> = Addressee::Process { first: None };

impl ProcessSignals {
    /// Sends a signal to the process. `allowance` is the process's, and bounds the details queued (`RLIMIT_SIGPENDING`).
    ///
    /// # Errors
    /// `EAGAIN` when the details of a queued real-time signal find no room; other signals then arrive without.
    pub fn send(&self, info: SignalInfo, allowance: &SignalAllowance) -> Result<()> {
        self.send_to(PROCESS, info.signal, Details::Queue { info, allowance }).map(|_| ())
    }

    /// Sends a signal from the kernel, without details and without allocating.
    pub fn send_kernel(&self, signal: Signal) {
        // Without details there is nothing that could fail.
        let _ = self.send_to(PROCESS, signal, Details::None);
    }

    /// As [`Self::send_kernel`], to `first` if it takes the signal; false if that has no effect.
    pub fn send_alarm(&self, signal: Signal, first: Option<&ThreadSignals>) -> bool {
        self.send_to(Addressee::Process { first }, signal, Details::None).unwrap_or(false)
    }

    /// Sends a timer's signal, for which [`Self::reserve_for_timer`] set memory aside, to the process: to `first` if it takes
    /// it. False if it has no effect.
    pub fn send_from_timer(&self, info: SignalInfo, first: Option<&ThreadSignals>) -> bool {
        // The memory is there.
        self.send_to(Addressee::Process { first }, info.signal, Details::Reserved(info)).unwrap_or(false)
    }

    /// Whether the signal has an effect.
    fn send_to(&self, to: Addressee<'_>, signal: Signal, details: Details<'_>) -> Result<bool> {
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

    fn enqueue(&self, state: &mut State, to: Addressee<'_>, signal: Signal, details: Details<'_>) -> Result<bool> {
        if self.is_ending() || !self.counts(state, to, signal) {
            return Ok(false);
        }
        let (pending, target) = match to {
            // It has left, and nobody would ever take this off the queue.
            Addressee::Thread(thread) if !state.members.contains(thread) => return Ok(false),
            Addressee::Thread(thread) => (&thread.pending, thread.target()),
            Addressee::Process { .. } => (&self.pending, Target::Process),
        };
        let bit = SignalSet::EMPTY.with(signal).bits();
        let already = pending.load(Ordering::Relaxed) & bit != 0;
        if already && !signal.is_realtime() && !matches!(details, Details::Reserved(_)) {
            // It cannot be told from the one that is pending; a timer's can, and each has its own delivery.
            return Ok(true);
        }
        match details {
            Details::None => {}
            // A timer that was set again has room for one all the same.
            Details::Reserved(info) if already && state.queue.holds_same_timer(target, &info) => {}
            Details::Reserved(info) => state.queue.push_reserved(target, info),
            Details::Queue { info, allowance } => {
                let queued = state.queue.push(target, info, allowance);
                if queued.is_err() && info.must_be_queued() {
                    return queued.map(|()| false);
                }
            }
        }
        pending.fetch_or(bit, Ordering::SeqCst);
        match to {
            Addressee::Thread(thread) => thread.consider(signal),
            Addressee::Process { first } => self.choose_receiver(state, signal, first),
        }
        Ok(true)
    }

    /// Whether the signal has any effect. One that is blocked, or waited for, always has: its action may change first.
    fn counts(&self, state: &State, to: Addressee<'_>, signal: Signal) -> bool {
        let kept = |thread: &ThreadSignals| thread.blocked().contains(signal) || thread.awaited().contains(signal);
        let kept = match to {
            Addressee::Thread(thread) => kept(thread),
            Addressee::Process { .. } => state.members.iter().any(|thread| kept(thread)),
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
            self.choose_receiver(state, signal, None);
            rest = rest.without(signal);
        }
    }

    /// Finds a thread that takes a signal meant for any, `first` before others, and makes it look. None may: it waits then.
    fn choose_receiver(&self, state: &State, signal: Signal, first: Option<&ThreadSignals>) {
        if signal == Signal::KILL {
            for thread in state.members.iter() {
                thread.notify();
            }
            return;
        }
        let takes = |thread: &ThreadSignals| !thread.blocked().contains(signal) && !thread.must_leave();
        let awaits = |thread: &ThreadSignals| thread.awaited().contains(signal);
        let members = || state.members.iter().map(|thread| &**thread);
        let receiver = members()
            .find(|thread| awaits(thread))
            .or_else(|| first.filter(|thread| takes(thread)))
            .or_else(|| members().find(|thread| takes(thread)));
        if let Some(thread) = receiver {
            thread.notify();
        }
    }
}

impl ThreadSignals {
    /// Sends a signal to this thread, with its allowance. As [`ProcessSignals::send`].
    ///
    /// # Errors
    /// As [`ProcessSignals::send`].
    pub fn send(&self, info: SignalInfo, allowance: &SignalAllowance) -> Result<()> {
        self.process().send_to(Addressee::Thread(self), info.signal, Details::Queue { info, allowance }).map(|_| ())
    }

    /// Sends a timer's signal to this thread. As [`ProcessSignals::send_from_timer`].
    pub fn send_from_timer(&self, info: SignalInfo) -> bool {
        // The memory is there.
        self.process().send_to(Addressee::Thread(self), info.signal, Details::Reserved(info)).unwrap_or(false)
    }

    /// Sends a signal from the kernel to this thread, without details and without allocating.
    pub fn send_kernel(&self, signal: Signal) {
        // Without details there is nothing that could fail.
        let _ = self.process().send_to(Addressee::Thread(self), signal, Details::None);
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
