//! Advisory locks on files: byte ranges (fcntl(2), by process or by open file description) and whole files (flock(2)).
//!
//! Setting a lock never waits: a conflict is `EAGAIN`, and the caller may wait on [`FileLocks::queue`], which is woken
//! whenever a lock goes. Who would wait in a circle of processes is told (`EDEADLK`).
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::memory::frames;
use crate::sync::{SpinLock, WaitQueue};
use crate::{Errno, Result};

/// The most ranges locked on one file.
const MAX_RECORDS: usize = 16 * 1024;

/// Which process waits for a lock of which other: there is never a circle.
static WAITING: SpinLock<BTreeMap<u64, u64>> = SpinLock::new(BTreeMap::new());

/// Whose lock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Those who share this table of descriptors (`F_SETLK`).
    Process(u64),
    /// An open file description, by its address (`F_OFD_SETLK`, flock(2)).
    File(usize),
}

/// What a lock excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Exclusive locks.
    Shared,
    /// All other locks.
    Exclusive,
}

/// A locked range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The first byte.
    pub first: u64,
    /// The last byte; `u64::MAX` means to the end however the file grows.
    pub last: u64,
    /// What it excludes.
    pub kind: LockKind,
    /// Whose it is.
    pub owner: Owner,
    /// The process that set it, for `F_GETLK`; -1 for locks of open file descriptions.
    pub process: i32,
}

impl Record {
    fn conflicts(&self, other: &Record) -> bool {
        self.owner != other.owner
            && self.first <= other.last
            && other.first <= self.last
            && (self.kind == LockKind::Exclusive || other.kind == LockKind::Exclusive)
    }
}

/// The locks on one file; a word and a half until the first one is set.
#[derive(Default)]
pub struct FileLocks {
    state: SpinLock<Option<Box<State>>>,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    whole: Vec<(Owner, LockKind)>,
    released: Arc<WaitQueue>,
}

impl FileLocks {
    /// No locks.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: SpinLock::new(None) }
    }

    /// What is woken when a lock goes.
    #[must_use]
    pub fn queue(&self) -> Arc<WaitQueue> {
        self.state.lock().get_or_insert_default().released.clone()
    }

    /// The lock that keeps `wanted` from being set, if any.
    #[must_use]
    pub fn conflict(&self, wanted: &Record) -> Option<Record> {
        self.state.lock().as_ref()?.records.iter().find(|held| held.conflicts(wanted)).copied()
    }

    /// Locks a range, in place of whatever its owner had locked there.
    ///
    /// # Errors
    /// `EAGAIN` for a conflict; `ENOLCK` for too many locks, or too little memory for one more; `ENOMEM`.
    pub fn set(&self, wanted: Record) -> Result<()> {
        let mut guard = self.state.lock();
        if guard.is_none() && frames::low() {
            return Err(Errno::ENOLCK);
        }
        let state = guard.get_or_insert_default();
        if state.records.iter().any(|held| held.conflicts(&wanted)) {
            return Err(Errno::EAGAIN);
        }
        state.check_room()?;
        // For the lock, and for what is left behind it of one that it cuts.
        state.records.try_reserve(2)?;
        state.cut(wanted.owner, wanted.first, wanted.last)?;
        state.records.push(wanted);
        state.merge(wanted.owner);
        // A lock that became shared lets others in.
        let released = state.released.clone();
        drop(guard);
        released.wake_all();
        Ok(())
    }

    /// As [`set`](Self::set), for somebody who is going to wait: notes for whom, until the lock is set or
    /// [`stop_waiting`] is called.
    ///
    /// # Errors
    /// As [`set`](Self::set); `EDEADLK` where who holds the range waits, directly or through others, for `wanted.owner`.
    pub fn set_waiting(&self, wanted: Record) -> Result<()> {
        let result = self.set(wanted);
        let Owner::Process(waiter) = wanted.owner else { return result };
        let mut waiting = WAITING.lock();
        waiting.remove(&waiter);
        if result != Err(Errno::EAGAIN) {
            return result;
        }
        let Some(Owner::Process(holder)) = self.conflict(&wanted).map(|held| held.owner) else { return result };
        let mut next = Some(holder);
        while let Some(at) = next {
            if at == waiter {
                return Err(Errno::EDEADLK);
            }
            next = waiting.get(&at).copied();
        }
        waiting.insert(waiter, holder);
        result
    }

    /// Unlocks what `owner` has locked in a range.
    ///
    /// # Errors
    /// `ENOLCK`, `ENOMEM` where a lock would have to be split and cannot.
    pub fn clear(&self, owner: Owner, first: u64, last: u64) -> Result<()> {
        let mut guard = self.state.lock();
        let Some(state) = guard.as_mut() else { return Ok(()) };
        state.cut(owner, first, last)?;
        let released = state.released.clone();
        drop(guard);
        released.wake_all();
        Ok(())
    }

    /// Locks the whole file as flock(2) does; a lock that `owner` has is exchanged for the new one.
    ///
    /// # Errors
    /// `EAGAIN`; `ENOLCK` where there is too little memory for one more; `ENOMEM`. After `EAGAIN` an old lock is gone, as flock(2) warns.
    pub fn lock_whole(&self, owner: Owner, kind: LockKind) -> Result<()> {
        let mut guard = self.state.lock();
        let holds = guard.as_ref().is_some_and(|state| state.whole.iter().any(|held| held.0 == owner));
        if !holds && frames::low() {
            return Err(Errno::ENOLCK);
        }
        let state = guard.get_or_insert_default();
        let before = state.whole.len();
        state.whole.retain(|held| held.0 != owner);
        let gave_up = state.whole.len() < before;
        let free = state.whole.iter().all(|held| kind == LockKind::Shared && held.1 == LockKind::Shared);
        if free {
            state.whole.try_reserve(1)?;
            state.whole.push((owner, kind));
        }
        let released = state.released.clone();
        drop(guard);
        // A refused attempt of one who held nothing changed nothing: were it to wake the waiters, they would wake each other for ever.
        if gave_up {
            released.wake_all();
        }
        if free { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// Undoes [`lock_whole`](Self::lock_whole).
    pub fn unlock_whole(&self, owner: Owner) {
        let mut guard = self.state.lock();
        let Some(state) = guard.as_mut() else { return };
        state.whole.retain(|held| held.0 != owner);
        let released = state.released.clone();
        drop(guard);
        released.wake_all();
    }

    /// Gives up everything that `owner` holds.
    pub fn release(&self, owner: Owner) {
        let mut guard = self.state.lock();
        let Some(state) = guard.as_mut() else { return };
        let before = state.records.len() + state.whole.len();
        state.records.retain(|held| held.owner != owner);
        state.whole.retain(|held| held.0 != owner);
        if state.records.len() + state.whole.len() == before {
            return;
        }
        let released = state.released.clone();
        drop(guard);
        released.wake_all();
    }
}

/// `owner` does not wait any more.
pub fn stop_waiting(owner: Owner) {
    if let Owner::Process(waiter) = owner {
        WAITING.lock().remove(&waiter);
    }
}

impl State {
    /// Whether there may be one more record. `ENOLCK`.
    fn check_room(&self) -> Result<()> {
        if self.records.len() >= MAX_RECORDS || frames::low() { Err(Errno::ENOLCK) } else { Ok(()) }
    }

    /// Takes a range out of the locks of `owner`; a lock around it falls into two.
    fn cut(&mut self, owner: Owner, first: u64, last: u64) -> Result<()> {
        if self.records.iter().any(|held| held.owner == owner && held.first < first && last < held.last) {
            self.check_room()?;
            self.records.try_reserve(1)?;
        }
        let mut tail = None;
        self.records.retain_mut(|held| {
            if held.owner != owner || held.last < first || last < held.first {
                return true;
            }
            if held.last > last {
                let rest = Record { first: last + 1, ..*held };
                if held.first >= first {
                    *held = rest;
                    return true;
                }
                tail = Some(rest);
            }
            held.last = first.saturating_sub(1);
            held.first < first
        });
        self.records.extend(tail);
        Ok(())
    }

    /// Joins neighbouring locks of `owner` of the same kind.
    fn merge(&mut self, owner: Owner) {
        self.records.sort_by_key(|record| record.first);
        let mut last: Option<usize> = None;
        let mut index = 0;
        while let Some(record) = self.records.get(index).copied() {
            if record.owner != owner {
                index += 1;
                continue;
            }
            if let Some(previous) = last.and_then(|at| self.records.get_mut(at))
                && previous.kind == record.kind
                && previous.last.saturating_add(1) >= record.first
            {
                previous.last = previous.last.max(record.last);
                self.records.remove(index);
                continue;
            }
            last = Some(index);
            index += 1;
        }
    }
}

impl core::fmt::Debug for FileLocks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FileLocks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockKind::{Exclusive, Shared};

    fn record(owner: u64, first: u64, last: u64, kind: LockKind) -> Record {
        Record { first, last, kind, owner: Owner::Process(owner), process: owner as i32 }
    }

    fn held(locks: &FileLocks) -> Vec<(u64, u64)> {
        let state = locks.state.lock();
        let mut held: Vec<_> = state.as_ref().unwrap().records.iter().map(|held| (held.first, held.last)).collect();
        held.sort_unstable();
        held
    }

    #[test]
    fn shared_locks_agree_and_exclusive_ones_do_not() {
        let locks = FileLocks::new();
        locks.set(record(1, 0, 9, Shared)).unwrap();
        locks.set(record(2, 5, 20, Shared)).unwrap();
        assert_eq!(locks.set(record(3, 9, 9, Exclusive)), Err(Errno::EAGAIN));
        assert_eq!(locks.conflict(&record(3, 10, 30, Exclusive)).map(|held| held.process), Some(2));
        locks.set(record(3, 21, u64::MAX, Exclusive)).unwrap();
        assert_eq!(locks.set(record(1, 0, u64::MAX, Shared)), Err(Errno::EAGAIN));
    }

    #[test]
    fn unlocking_the_middle_splits_and_locking_it_again_joins() {
        let locks = FileLocks::new();
        locks.set(record(1, 0, 99, Exclusive)).unwrap();
        locks.clear(Owner::Process(1), 40, 59).unwrap();
        assert_eq!(held(&locks), [(0, 39), (60, 99)]);
        locks.set(record(1, 40, 59, Exclusive)).unwrap();
        assert_eq!(held(&locks), [(0, 99)]);
        locks.set(record(1, 10, 19, Shared)).unwrap();
        assert_eq!(held(&locks), [(0, 9), (10, 19), (20, 99)]);
        locks.release(Owner::Process(1));
        assert_eq!(held(&locks), []);
    }

    #[test]
    fn nobody_waits_in_a_circle() {
        let (first, second) = (FileLocks::new(), FileLocks::new());
        first.set(record(901, 0, 0, Exclusive)).unwrap();
        second.set(record(902, 0, 0, Exclusive)).unwrap();
        assert_eq!(first.set_waiting(record(902, 0, 0, Exclusive)), Err(Errno::EAGAIN));
        assert_eq!(second.set_waiting(record(901, 0, 0, Shared)), Err(Errno::EDEADLK));
        stop_waiting(Owner::Process(902));
        assert_eq!(second.set_waiting(record(901, 0, 0, Shared)), Err(Errno::EAGAIN));
        second.release(Owner::Process(902));
        assert_eq!(second.set_waiting(record(901, 0, 0, Shared)), Ok(()));
    }

    #[test]
    fn a_refused_whole_file_lock_wakes_nobody() {
        use crate::sync::{Listener, WaitMode};
        let locks = FileLocks::new();
        locks.lock_whole(Owner::File(1), Exclusive).unwrap();
        let queue = locks.queue();
        let mut waiter = Box::pin(Listener::new(queue.clone()).with_mode(WaitMode::Shared));
        waiter.as_mut().register(core::task::Waker::noop());
        assert_eq!(locks.lock_whole(Owner::File(2), Exclusive), Err(Errno::EAGAIN));
        assert!(!waiter.is_woken());
        locks.unlock_whole(Owner::File(1));
        assert!(waiter.is_woken());
    }

    #[test]
    fn a_whole_file_lock_can_be_exchanged() {
        let locks = FileLocks::new();
        locks.lock_whole(Owner::File(1), Shared).unwrap();
        locks.lock_whole(Owner::File(2), Shared).unwrap();
        assert_eq!(locks.lock_whole(Owner::File(1), Exclusive), Err(Errno::EAGAIN));
        locks.unlock_whole(Owner::File(2));
        locks.lock_whole(Owner::File(1), Exclusive).unwrap();
        assert_eq!(locks.lock_whole(Owner::File(2), Shared), Err(Errno::EAGAIN));
    }
}
