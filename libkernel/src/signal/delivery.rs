//! What a thread does about its signals on the way back to user mode.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use linux_raw_sys::general as abi;

use super::action::{Action, Disposition};
use super::info::SignalInfo;
use super::number::{DefaultAction, Signal, SignalSet};
use super::process::State;
use super::queue::Target;
use super::stop::StateChange;
use super::thread::ThreadSignals;

/// The next thing to do about signals. The caller does it and asks again, until it gets `Nothing` or `Handle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a signal that was taken has to be acted on"]
pub enum Next {
    /// Go on to user mode.
    Nothing,
    /// Run a handler.
    Handle {
        /// What came with the signal.
        info: SignalInfo,
        /// The action installed for it.
        action: Action,
    },
    /// End the process: the signal's default action.
    Terminate {
        /// The signal.
        signal: Signal,
        /// The wait status says that a core was to be dumped.
        core: bool,
    },
    /// End this thread: the process ends, or another thread calls exec.
    Leave,
    /// Tell the parent, if there is a change to tell, and then sleep in
    /// [`wait_while_stopped`](ThreadSignals::wait_while_stopped).
    Stop(Option<StateChange>),
    /// Tell the parent.
    Tell(StateChange),
}

impl ThreadSignals {
    /// What to do next about signals. For the thread itself, on its way to user mode. `orphaned` says whether the
    /// process's group is orphaned; it is asked, without any lock, only when a terminal's stop signal is to act.
    pub fn next(&self, orphaned: impl Fn() -> bool) -> Next {
        loop {
            if self.must_leave() {
                return Next::Leave;
            }
            if let Some(change) = self.process().take_change() {
                return Next::Tell(change);
            }
            if self.stop_requested.load(Ordering::Relaxed) {
                return Next::Stop(self.enter_stop());
            }
            let Some((info, action)) = self.take_deliverable() else { return Next::Nothing };
            let signal = info.signal;
            match action.disposition {
                Disposition::Ignore => {}
                Disposition::Handler(_) => return Next::Handle { info, action },
                Disposition::Default => match signal.default_action() {
                    _ if self.process().is_protected() => {}
                    DefaultAction::Ignore | DefaultAction::Continue => {}
                    DefaultAction::Stop => {
                        if signal == Signal::STOP || !orphaned() {
                            self.process().begin_stop(signal);
                        }
                    }
                    DefaultAction::Terminate => return Next::Terminate { signal, core: false },
                    DefaultAction::Core => return Next::Terminate { signal, core: true },
                },
            }
        }
    }

    /// Takes the signal that is delivered first, with its action. Without one, withdraws the request to look.
    fn take_deliverable(&self) -> Option<(SignalInfo, Action)> {
        let mut state = self.process().state.lock();
        let info = match self.take_fault() {
            Some(info) => Some(info),
            None => self.dequeue(&mut state, !self.blocked()),
        };
        let Some(info) = info else {
            self.update_notice(&state);
            return None;
        };
        let action = state.actions.get(info.signal);
        if matches!(action.disposition, Disposition::Handler(_)) && action.has(abi::SA_RESETHAND) {
            let reset = Action { disposition: Disposition::Default, ..action };
            state.actions.set(info.signal, reset);
        }
        if SignalSet::STOPS.contains(info.signal) {
            state.stop.note_taken();
        }
        Some((info, action))
    }

    /// Takes the first pending signal of a set: what waits for this thread before what waits for any.
    pub(super) fn dequeue(&self, state: &mut State, set: SignalSet) -> Option<SignalInfo> {
        let process = self.process();
        let (pending, target, signal) = if let Some(signal) = (self.pending() & set).first() {
            (&self.pending, self.target(), signal)
        } else {
            (&process.pending, Target::Process, (process.pending() & set).first()?)
        };
        let (info, more) = state.queue.take(target, signal);
        if !more {
            pending.fetch_and(!SignalSet::EMPTY.with(signal).bits(), Ordering::SeqCst);
        }
        let mut info = info.unwrap_or(SignalInfo::kernel(signal));
        if let Some(timers) = &state.timers {
            timers.delivered(&mut info);
        }
        Some(info)
    }

    /// A handler is about to run: its signals are blocked, and a temporary mask has served.
    pub fn enter_handler(&self, signal: Signal, action: &Action) {
        let mut mask = self.blocked() | action.mask;
        if !action.has(abi::SA_NODEFER) {
            mask = mask.with(signal);
        }
        self.set_blocked(mask);
    }
}
