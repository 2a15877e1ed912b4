//! The table of processes: from a number to the thread, process, group and session that carry it.
//!
//! A number stays taken while any of the four exists. A look-up reads under RCU: it takes no lock, and writes nothing but the count of
//! the reference that it hands out, so whoever looks (`ps`, `/proc`, kill) holds nothing while others fork and exit. What
//! leaves the table is let go of a grace period later. Changes take one short lock of sixteen. May not be called in an interrupt. The tree's
//! lock may be held around any call.
#![forbid(unsafe_code)]

use super::group::{ProcessGroup, Session};
use super::id::Pid;
use super::numbers::Numbers;
use super::{Process, Thread};
use crate::rcu::{self, Hashed, RcuBox, RcuCell, RcuTable};
use crate::sync::SpinLock;
use crate::{Errno, Result};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

const SHARDS: usize = 16;

/// Everything that carries one number.
struct Entry {
    number: u32,
    thread: RcuCell<Arc<Thread>>,
    process: RcuCell<Arc<Process>>,
    group: RcuCell<Arc<ProcessGroup>>,
    session: RcuCell<Arc<Session>>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.thread.is_empty() && self.process.is_empty() && self.group.is_empty() && self.session.is_empty()
    }
}

/// Spreads consecutive numbers by one multiplication. A shard's numbers differ above the lowest bits.
fn hash(number: u32) -> u64 {
    u64::from(number / SHARDS as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Hashed for Entry {
    fn hash(&self) -> u64 {
        hash(self.number)
    }
}

static SHARD: [RcuTable<Entry>; SHARDS] = [const { RcuTable::new() }; SHARDS];
static NUMBERS: SpinLock<Numbers> = SpinLock::new(Numbers::new());
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// A number taken for a thread that is being made. Dropped unused, it is free again.
#[must_use]
pub struct ReservedPid {
    pid: Pid,
}

impl ReservedPid {
    /// Takes a number.
    ///
    /// # Errors
    /// `EAGAIN` when there is none left, `ENOMEM`.
    pub fn take() -> Result<ReservedPid> {
        let pid = NUMBERS.lock().take()?;
        Ok(ReservedPid { pid })
    }

    /// The number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Makes the thread that carries the number visible, and its process too if the thread is its first.
    ///
    /// # Errors
    /// `ENOMEM`; nothing is visible then and the number is free again.
    pub fn publish(self, thread: &Arc<Thread>, process: Option<&Arc<Process>>) -> Result<()> {
        let entry = Entry {
            number: self.pid.number(),
            thread: RcuCell::holding(RcuBox::try_new(thread.clone())?),
            process: match process {
                Some(process) => RcuCell::holding(RcuBox::try_new(process.clone())?),
                None => RcuCell::new(),
            },
            group: RcuCell::new(),
            session: RcuCell::new(),
        };
        shard(self.pid).lock().insert(RcuBox::try_new(entry)?)?;
        THREADS.fetch_add(1, Ordering::Relaxed);
        core::mem::forget(self);
        Ok(())
    }
}

impl Drop for ReservedPid {
    fn drop(&mut self) {
        NUMBERS.lock().release(self.pid);
    }
}

/// The process with this number; zombies count.
#[must_use]
pub fn process(pid: Pid) -> Option<Arc<Process>> {
    look_up(pid, |entry| &entry.process)
}

/// The living thread with this number.
#[must_use]
pub fn thread(tid: Pid) -> Option<Arc<Thread>> {
    look_up(tid, |entry| &entry.thread)
}

/// The process group with this number.
#[must_use]
pub fn group(id: Pid) -> Option<Arc<ProcessGroup>> {
    look_up(id, |entry| &entry.group)
}

/// The session with this number.
#[must_use]
pub fn session(id: Pid) -> Option<Arc<Session>> {
    look_up(id, |entry| &entry.session)
}

/// A counted reference to what `place` holds in the entry of a number.
#[inline]
fn look_up<T: Send + Sync + 'static>(
    pid: Pid,
    place: impl for<'e> Fn(&'e Entry) -> &'e RcuCell<Arc<T>>,
) -> Option<Arc<T>> {
    let guard = rcu::read();
    let entry = shard(pid).find(&guard, hash(pid.number()), |entry| entry.number == pid.number())?;
    place(entry).load(&guard).cloned()
}

/// The process with the lowest number that is at least `from`: walks the table while it changes.
#[must_use]
pub fn next_process(from: u32) -> Option<Arc<Process>> {
    let mut from = from;
    loop {
        let pid = NUMBERS.lock().used_from(from)?;
        if let Some(process) = process(pid) {
            return Some(process);
        }
        from = pid.number() + 1;
    }
}

/// Every process there is, in rising order of number. One that begins or ends meanwhile may or may not be seen.
pub fn processes() -> impl Iterator<Item = Arc<Process>> {
    let mut from = 0;
    core::iter::from_fn(move || {
        let process = next_process(from)?;
        from = process.pid().number() + 1;
        Some(process)
    })
}

/// How many threads there are.
#[must_use]
pub fn thread_count() -> usize {
    THREADS.load(Ordering::Relaxed)
}

/// The bound on numbers (`/proc/sys/kernel/pid_max`).
#[must_use]
pub fn pid_max() -> u32 {
    NUMBERS.lock().max()
}

/// Sets the bound on numbers.
///
/// # Errors
/// `EINVAL` outside 301 to 4,194,304.
pub fn set_pid_max(max: u32) -> Result<()> {
    NUMBERS.lock().set_max(max)
}

pub(super) fn insert_group(group: &Arc<ProcessGroup>) -> Result<()> {
    let holder = RcuBox::try_new(group.clone())?;
    change(group.id(), |entry| drop(entry.group.replace(Some(holder)))).ok_or(Errno::ESRCH)
}

pub(super) fn insert_session(session: &Arc<Session>) -> Result<()> {
    let holder = RcuBox::try_new(session.clone())?;
    change(session.id(), |entry| drop(entry.session.replace(Some(holder)))).ok_or(Errno::ESRCH)
}

pub(super) fn remove_thread(tid: Pid) {
    THREADS.fetch_sub(1, Ordering::Relaxed);
    change(tid, |entry| entry.thread.replace(None));
}

pub(super) fn remove_process(pid: Pid) {
    change(pid, |entry| entry.process.replace(None));
}

pub(super) fn remove_group(id: Pid) {
    change(id, |entry| entry.group.replace(None));
}

pub(super) fn remove_session(id: Pid) {
    change(id, |entry| entry.session.replace(None));
}

/// Lets `thread` carry the number of its process, whose first thread is gone, instead of its own: exec by another
/// thread than the first. For a moment nobody finds it.
pub(super) fn rename_thread(thread: &Arc<Thread>, pid: Pid) {
    let old = thread.tid();
    thread.set_tid(pid);
    if let Some(Some(holder)) = change(old, |entry| entry.thread.replace(None)) {
        change(pid, |entry| drop(holder.republish(&entry.thread)));
    }
}

/// Changes the entry of a number that is in use, and frees the number with its last use. What the change returns is dropped after the
/// lock. `None`: the number is not in use.
fn change<R>(pid: Pid, change: impl FnOnce(&Entry) -> R) -> Option<R> {
    let is_it = |entry: &Entry| entry.number == pid.number();
    let mut shard = shard(pid).lock();
    let entry = shard.find(hash(pid.number()), is_it)?;
    let result = change(entry);
    if entry.is_empty() {
        drop(shard.remove(hash(pid.number()), is_it));
        drop(shard);
        NUMBERS.lock().release(pid);
    }
    Some(result)
}

fn shard(pid: Pid) -> &'static RcuTable<Entry> {
    let [first, ..] = &SHARD;
    SHARD.get(pid.number() as usize % SHARDS).unwrap_or(first)
}
