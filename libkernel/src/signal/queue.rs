//! The details of pending signals, in order of arrival.
//!
//! One queue serves a process and all its threads: entries say for whom they are. Which signals are pending is known
//! by bit sets elsewhere; a pending signal without an entry is one that the kernel sent and that has no details.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;

use super::info::SignalInfo;
use super::number::Signal;
use crate::Result;
use crate::process::{SignalAllowance, SignalCharge};

/// For whom a signal waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Any thread of the process.
    Process,
    /// The thread with this key.
    Thread(u64),
}

#[derive(Debug)]
struct Entry {
    target: Target,
    info: SignalInfo,
    /// `None` for a timer's: the timer is charged as long as it exists.
    charge: Option<SignalCharge>,
}

/// Queued details.
///
/// # Invariants
/// The capacity exceeds the entries by at least `reserved`, so that as many pushes need no memory.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    reserved: usize,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { entries: VecDeque::new(), reserved: 0 }
    }

    /// Sets room aside for one entry that will be pushed where nothing may be allocated. `EAGAIN` at the limit; `ENOMEM`.
    pub(super) fn reserve(&mut self, allowance: &SignalAllowance) -> Result<SignalCharge> {
        let charge = allowance.charge(false)?;
        self.entries.try_reserve(self.reserved + 1)?;
        self.reserved += 1;
        Ok(charge)
    }

    /// Gives up room that [`Self::reserve`] set aside for a timer. While its last signal is queued, that is what the charge is for.
    pub(super) fn unreserve(&mut self, timer: u32, charge: SignalCharge) {
        self.reserved = self.reserved.saturating_sub(1);
        let sent = |entry: &&mut Entry| entry.charge.is_none() && entry.info.timer_id() == Some(timer);
        if let Some(entry) = self.entries.iter_mut().find(sent) {
            entry.charge = Some(charge);
        }
    }

    /// Appends details. `EAGAIN` at the limit, unless they may exceed it, `ENOMEM`.
    pub(super) fn push(&mut self, target: Target, info: SignalInfo, allowance: &SignalAllowance) -> Result<()> {
        let charge = allowance.charge(info.may_exceed_limit())?;
        self.entries.try_reserve(self.reserved + 1)?;
        self.entries.push_back(Entry { target, info, charge: Some(charge) });
        Ok(())
    }

    /// Whether the details that the same timer sent before still wait.
    pub(super) fn holds_same_timer(&self, target: Target, info: &SignalInfo) -> bool {
        self.entries.iter().any(|entry| {
            entry.target == target && entry.info.signal == info.signal && entry.info.timer_id() == info.timer_id()
        })
    }

    /// Appends details into the room set aside.
    pub(super) fn push_reserved(&mut self, target: Target, info: SignalInfo) {
        if self.entries.len() < self.entries.capacity() {
            self.entries.push_back(Entry { target, info, charge: None });
        }
    }

    /// Takes the oldest details of a signal, and says whether more of the same wait behind.
    pub(super) fn take(&mut self, target: Target, signal: Signal) -> (Option<SignalInfo>, bool) {
        let wanted = |entry: &Entry| entry.target == target && entry.info.signal == signal;
        let Some(at) = self.entries.iter().position(wanted) else { return (None, false) };
        let info = self.entries.remove(at).map(|entry| entry.info);
        (info, self.entries.iter().skip(at).any(wanted))
    }

    /// Drops what `unwanted` names.
    pub(super) fn discard(&mut self, unwanted: impl Fn(Target, Signal) -> bool) {
        self.entries.retain(|entry| !unwanted(entry.target, entry.info.signal));
    }
}
