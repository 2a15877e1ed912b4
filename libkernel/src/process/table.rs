//! The table of processes: from a number to the thread, process, group and session that carry it.
//!
//! A number stays taken while any of the four exists. A look-up takes one short lock of sixteen, and hands out counted
//! references, so whoever looks (`ps`, `/proc`, kill) holds nothing while others fork and exit. May not be called in
//! an interrupt. The tree's lock may be held around any call.
#![forbid(unsafe_code)]

use super::group::{ProcessGroup, Session};
use super::id::Pid;
use super::numbers::Numbers;
use super::{Process, Thread};
use crate::sync::SpinLock;
use crate::{Errno, Result};
use alloc::sync::Arc;
use core::hash::{BuildHasher, Hasher};
use core::sync::atomic::{AtomicUsize, Ordering};
use hashbrown::HashMap;

const SHARDS: usize = 16;

/// Everything that carries one number.
#[derive(Default)]
struct Entry {
    thread: Option<Arc<Thread>>,
    process: Option<Arc<Process>>,
    group: Option<Arc<ProcessGroup>>,
    session: Option<Arc<Session>>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.thread.is_none() && self.process.is_none() && self.group.is_none() && self.session.is_none()
    }
}

type Shard = SpinLock<HashMap<u32, Entry, NumberHash>>;

static SHARD: [Shard; SHARDS] = [const { SpinLock::new(HashMap::with_hasher(NumberHash)) }; SHARDS];
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
        let mut shard = shard(self.pid).lock();
        shard.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let entry = Entry { thread: Some(thread.clone()), process: process.cloned(), ..Entry::default() };
        shard.insert(self.pid.number(), entry);
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
    shard(pid).lock().get(&pid.number())?.process.clone()
}

/// The living thread with this number.
#[must_use]
pub fn thread(tid: Pid) -> Option<Arc<Thread>> {
    shard(tid).lock().get(&tid.number())?.thread.clone()
}

/// The process group with this number.
#[must_use]
pub fn group(id: Pid) -> Option<Arc<ProcessGroup>> {
    shard(id).lock().get(&id.number())?.group.clone()
}

/// The session with this number.
#[must_use]
pub fn session(id: Pid) -> Option<Arc<Session>> {
    shard(id).lock().get(&id.number())?.session.clone()
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
    insert(group.id(), |entry| entry.group = Some(group.clone()))
}

pub(super) fn insert_session(session: &Arc<Session>) -> Result<()> {
    insert(session.id(), |entry| entry.session = Some(session.clone()))
}

pub(super) fn remove_thread(tid: Pid) {
    THREADS.fetch_sub(1, Ordering::Relaxed);
    remove(tid, |entry| entry.thread.take());
}

pub(super) fn remove_process(pid: Pid) {
    remove(pid, |entry| entry.process.take());
}

pub(super) fn remove_group(id: Pid) {
    remove(id, |entry| entry.group.take());
}

pub(super) fn remove_session(id: Pid) {
    remove(id, |entry| entry.session.take());
}

/// Lets `thread` carry the number of its process, whose first thread is gone, instead of its own: exec by another
/// thread than the first.
pub(super) fn rename_thread(thread: &Arc<Thread>, pid: Pid) {
    let old = thread.tid();
    thread.set_tid(pid);
    if let Some(entry) = shard(pid).lock().get_mut(&pid.number()) {
        entry.thread = Some(thread.clone());
    }
    remove(old, |entry| entry.thread.take());
}

/// Adds something to a number that is in use.
fn insert(pid: Pid, fill: impl FnOnce(&mut Entry)) -> Result<()> {
    match shard(pid).lock().get_mut(&pid.number()) {
        Some(entry) => {
            fill(entry);
            Ok(())
        }
        None => Err(Errno::ESRCH),
    }
}

/// Takes something out of a number's entry, and frees the number with its last use. What was taken is dropped after
/// the lock.
fn remove<T>(pid: Pid, take: impl FnOnce(&mut Entry) -> Option<T>) {
    let mut shard = shard(pid).lock();
    let Some(entry) = shard.get_mut(&pid.number()) else { return };
    let taken = take(entry);
    let free = entry.is_empty();
    if free {
        shard.remove(&pid.number());
    }
    drop(shard);
    if free {
        NUMBERS.lock().release(pid);
    }
    drop(taken);
}

fn shard(pid: Pid) -> &'static Shard {
    let [first, ..] = &SHARD;
    SHARD.get(pid.number() as usize % SHARDS).unwrap_or(first)
}

/// Spreads consecutive numbers by one multiplication.
#[derive(Clone, Copy)]
struct NumberHash;

impl BuildHasher for NumberHash {
    type Hasher = NumberHasher;
    fn build_hasher(&self) -> NumberHasher {
        NumberHasher(0)
    }
}

struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
