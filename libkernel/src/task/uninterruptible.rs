//! Waits that no signal ends, and the list of those that sleep so: for the report of tasks that do it for too long.
//!
//! The list belongs to this module, in order of time. It is changed by the tasks that sleep, and looked at by the kernel's watchdog task;
//! both may take a plain lock. Somebody who waits interruptibly, or for a while only, pays nothing.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::future::Future;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::Waker;

use super::Task;
use crate::machine;
use crate::sync::{SpinLock, WaitQueue};

/// Nanoseconds after which a sleep is too long.
pub const PATIENCE: u64 = 120_000_000_000;

struct Sleeper {
    since: u64,
    waker: Waker,
    reported: bool,
}

struct Sleepers {
    list: BTreeMap<u64, Sleeper>,
    /// Whether the watchdog will look at the list of its own accord.
    attended: bool,
}

static SLEEPERS: SpinLock<Sleepers> = SpinLock::new(Sleepers { list: BTreeMap::new(), attended: true });
/// Whether the list is to be looked at earlier than was said.
static NEWS: AtomicBool = AtomicBool::new(false);
static LISTENER: WaitQueue = WaitQueue::new();
static LAST: AtomicU64 = AtomicU64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(PATIENCE);

/// Waits for `future` although no signal can end the wait; a sleep beyond [`PATIENCE`] is reported, with the task and the place.
pub async fn uninterruptible<F: Future>(future: F) -> F::Output {
    let mut future = core::pin::pin!(future);
    let mut entry = None;
    core::future::poll_fn(|context| {
        let result = future.as_mut().poll(context);
        if result.is_pending() && entry.is_none() {
            entry = Some(Entry::new(context.waker()));
        }
        result
    })
    .await
}

/// A place in the list.
struct Entry(u64);

impl Entry {
    fn new(waker: &Waker) -> Self {
        let ticket = LAST.fetch_add(1, Ordering::Relaxed);
        let sleeper = Sleeper { since: machine::monotonic_ns(), waker: waker.clone(), reported: false };
        let attended = {
            let mut sleepers = SLEEPERS.lock();
            sleepers.list.insert(ticket, sleeper);
            core::mem::replace(&mut sleepers.attended, true)
        };
        if !attended {
            tell();
        }
        Self(ticket)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let sleeper = SLEEPERS.lock().list.remove(&self.0);
        // Not under the lock: it may be the last reference to the task.
        drop(sleeper);
    }
}

/// Calls `report` with each task that has slept for too long, and for how many nanoseconds; each sleep once. Returns when to look again;
/// in any case when [`news`] come. For one caller.
pub fn check(now: u64, mut report: impl FnMut(&Task, u64)) -> Option<u64> {
    let limit = LIMIT.load(Ordering::Relaxed);
    loop {
        let waker = {
            let mut sleepers = SLEEPERS.lock();
            let Some(next) = sleepers.list.values_mut().find(|sleeper| !sleeper.reported) else {
                sleepers.attended = false;
                return None;
            };
            if now.saturating_sub(next.since) < limit {
                return Some(next.since + limit);
            }
            next.reported = true;
            (next.waker.clone(), next.since)
        };
        if let Some(task) = Task::from_waker(&waker.0) {
            report(task, now.saturating_sub(waker.1));
        }
    }
}

fn tell() {
    NEWS.store(true, Ordering::Release);
    LISTENER.wake_all();
}

/// Waits until [`check`] should look earlier than it said. For its one caller.
pub async fn news() {
    LISTENER.wait_until(|| NEWS.swap(false, Ordering::Acquire).then_some(())).await;
}

/// Sets the patience.
pub fn set_patience(nanoseconds: u64) {
    LIMIT.store(nanoseconds, Ordering::Relaxed);
    tell();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host;
    use crate::task::host as tasks;
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    /// The list is one for all: one test.
    #[test]
    fn a_sleep_is_reported_once_and_the_list_empties() {
        host::set_clock(Some(1000));
        let queue = Arc::new(WaitQueue::new());
        let go = Arc::new(SpinLock::new(false));
        let (waits, open) = (queue.clone(), go.clone());
        let task = Task::new("sleeper", async move {
            uninterruptible(waits.wait_until(|| open.lock().then_some(()))).await;
        });
        task.wake();
        tasks::run_until_idle();

        let reports = |now| {
            let mut seen = Vec::new();
            let next = check(now, |task, lasted| seen.push((task.id(), lasted)));
            (seen, next)
        };
        assert_eq!(reports(1000), (Vec::new(), Some(1000 + PATIENCE)));
        assert_eq!(reports(1000 + PATIENCE), ([(task.id(), PATIENCE)].to_vec(), None));
        assert_eq!(reports(1000 + 2 * PATIENCE), (Vec::new(), None));

        *go.lock() = true;
        queue.wake_all();
        tasks::run_until_idle();
        assert!(SLEEPERS.lock().list.is_empty());

        // A sleep that begins now is noticed by whoever waits for that.
        let noticed = Task::new("watchdog", news());
        noticed.wake();
        tasks::run_until_idle();
        assert_eq!(noticed.activity(), crate::task::Activity::Asleep);
        let second = Task::new("second", uninterruptible(core::future::pending()));
        second.wake();
        tasks::run_until_idle();
        assert_eq!(noticed.activity(), crate::task::Activity::Finished);
        host::set_clock(None);
    }
}
