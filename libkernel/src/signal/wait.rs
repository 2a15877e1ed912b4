//! Taking signals without a handler: sigtimedwait(2) and signalfd(2).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::info::SignalInfo;
use super::number::SignalSet;
use super::thread::ThreadSignals;
use crate::task::{Interrupted, interruptible};

impl ThreadSignals {
    /// Takes the first pending signal of `set`, blocked or not.
    pub fn take(&self, set: SignalSet) -> Option<SignalInfo> {
        let mut state = self.process().state.lock();
        let info = self.dequeue(&mut state, set.minus(SignalSet::UNBLOCKABLE));
        self.update_notice(&state);
        info
    }

    /// Whether [`Self::take`] would find something.
    pub fn has_pending(&self, set: SignalSet) -> bool {
        !((self.pending() | self.process().pending()) & set).is_empty()
    }

    /// Sleeps until a signal of `set` can be taken. `Interrupted` when one outside the set has to be delivered.
    pub async fn wait(&self, set: SignalSet) -> Result<SignalInfo, Interrupted> {
        let set = set.minus(SignalSet::UNBLOCKABLE);
        let _awaiting = Awaiting::new(self, set);
        loop {
            if let Some(info) = self.take(set) {
                return Ok(info);
            }
            let arrived = self.process().arrived();
            let pending = arrived.wait_until(|| self.has_pending(set).then_some(()));
            if interruptible(pending).await.is_err() {
                return self.take(set).ok_or(Interrupted);
            }
        }
    }
}

/// While it lives, the signals of a set are let through to its thread though they are blocked.
struct Awaiting<'a>(&'a ThreadSignals);

impl<'a> Awaiting<'a> {
    fn new(thread: &'a ThreadSignals, set: SignalSet) -> Self {
        let state = thread.process().state.lock();
        thread.awaited.store(set.bits(), Ordering::SeqCst);
        drop(state);
        Self(thread)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        let process = self.0.process();
        let state = process.state.lock();
        let awaited = SignalSet::from_bits(self.0.awaited.swap(0, Ordering::SeqCst));
        // What this thread was woken for, did not take and blocks, has to find another.
        process.choose_receivers(&state, process.pending() & awaited & self.0.blocked());
        self.0.update_notice(&state);
        drop(state);
    }
}
