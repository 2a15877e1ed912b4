//! Stopping and continuing a process: all its threads stop, and the last of them completes the stop.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::number::{Signal, SignalSet};
use super::process::{ProcessSignals, State};
use super::thread::ThreadSignals;

/// What a parent has to be told about a child that lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// It stopped, because of this signal.
    Stopped(Signal),
    /// It was about to stop, because of this signal, when it was continued.
    StopCutShort(Signal),
    /// It continued.
    Continued,
}

/// A group stop: none, on its way, or complete.
#[derive(Debug)]
pub(super) struct Stop {
    signal: Option<Signal>,
    /// Threads that have yet to stop.
    remaining: usize,
    /// A stop signal was taken off a queue and no `SIGCONT` came since.
    taken: bool,
}

impl Stop {
    pub(super) const fn new() -> Self {
        Self { signal: None, remaining: 0, taken: false }
    }

    /// Whether threads stop or have stopped.
    pub(super) fn in_force(&self) -> bool {
        self.signal.is_some()
    }

    pub(super) fn expect_one_more(&mut self) {
        self.remaining += 1;
    }

    /// One thread has stopped, or will never: the change when it was the last.
    pub(super) fn one_less(&mut self) -> Option<StateChange> {
        self.remaining = self.remaining.saturating_sub(1);
        if self.remaining == 0 { self.signal.map(StateChange::Stopped) } else { None }
    }

    /// A stop signal is about to act; a `SIGCONT` from here on cancels it.
    pub(super) fn note_taken(&mut self) {
        self.taken = true;
    }
}

impl ProcessSignals {
    /// Begins a group stop, unless a `SIGCONT` came since the stop signal was taken.
    pub(super) fn begin_stop(&self, signal: Signal) {
        let mut state = self.state.lock();
        if !core::mem::take(&mut state.stop.taken) || state.stop.in_force() || self.is_ending() {
            return;
        }
        state.stop.signal = Some(signal);
        let mut count = 0;
        for member in state.members.iter() {
            member.stop_requested.store(true, Ordering::Relaxed);
            count += 1;
            member.notify();
        }
        state.stop.remaining = count;
    }

    /// `SIGCONT` was sent, or `SIGKILL`: stop signals are forgotten and stopped threads go on. Returns what the parent
    /// is to be told of a `SIGCONT`.
    pub(super) fn resume(&self, state: &mut State) -> Option<StateChange> {
        self.discard(state, SignalSet::STOPS);
        state.stop.taken = false;
        let signal = state.stop.signal.take()?;
        let complete = state.stop.remaining == 0;
        state.stop.remaining = 0;
        for member in state.members.iter() {
            member.stop_requested.store(false, Ordering::Relaxed);
            member.stopped.store(false, Ordering::Relaxed);
        }
        if let Some(member) = state.members.iter().next() {
            member.notify();
        }
        Some(if complete { StateChange::Continued } else { StateChange::StopCutShort(signal) })
    }

    /// Whether all threads are stopped.
    pub fn is_stopped(&self) -> bool {
        let state = self.state.lock();
        state.stop.in_force() && state.stop.remaining == 0
    }

    /// What the parent has not been told yet, if it is this thread's turn to tell it.
    pub(super) fn take_change(&self) -> Option<StateChange> {
        self.state.lock().change.take()
    }
}

impl ThreadSignals {
    /// Stops this thread for a group stop that is on its way. The change when that completes the stop.
    pub(super) fn enter_stop(&self) -> Option<StateChange> {
        let mut state = self.process().state.lock();
        if !self.stop_requested.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.stopped.store(true, Ordering::Relaxed);
        state.stop.one_less()
    }

    /// Whether this thread is stopped (`T` in `/proc/PID/stat`).
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Sleeps while the thread is stopped. Only `SIGCONT` and the end of the process wake it.
    pub async fn wait_while_stopped(&self) {
        self.process()
            .resumed
            .wait_until(|| {
                let go = !self.is_stopped() || self.must_leave();
                go.then(|| self.stopped.store(false, Ordering::Relaxed))
            })
            .await;
    }
}
