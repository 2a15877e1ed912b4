//! Waits that no signal handler ends, and the list of those that no signal ends at all: for the report of tasks that sleep so for too long.
//!
//! The list belongs to this module. It is changed by the tasks that sleep, and looked at by the kernel's watchdog task; both may take a
//! plain lock. A wait takes a place that another has left, so that it needs no memory but when more tasks wait than ever before;
//! one that finds none then is not listed, and goes on. Somebody who waits interruptibly, or for a while only, pays nothing.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::future::Future;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Poll, Waker};

use super::Task;
use crate::machine;
use crate::sync::{SpinLock, WaitQueue};

/// Nanoseconds after which a sleep is too long.
pub const PATIENCE: u64 = 120_000_000_000;
/// Places that there are from the beginning.
const PLACES: usize = 64;

struct Sleeper {
    since: u64,
    waker: Waker,
    reported: bool,
}

struct Sleepers {
    places: Vec<Option<Sleeper>>,
    /// The places that are empty; as large as `places`, so that leaving one needs no memory.
    free: Vec<usize>,
    /// Whether the watchdog will look at the list of its own accord.
    attended: bool,
}

impl Sleepers {
    /// Puts a sleeper into a place, if there is one to be had.
    fn insert(&mut self, sleeper: Sleeper) -> Option<usize> {
        if self.free.is_empty() {
            let more = self.places.len().max(PLACES);
            self.grow(more)?;
        }
        let place = self.free.pop()?;
        *self.places.get_mut(place)? = Some(sleeper);
        Some(place)
    }

    fn grow(&mut self, more: usize) -> Option<()> {
        let count = self.places.len();
        self.places.try_reserve(more).ok()?;
        self.free.try_reserve(count + more).ok()?;
        self.places.extend((0..more).map(|_| None));
        self.free.extend((count..count + more).rev());
        Some(())
    }

    fn remove(&mut self, place: usize) -> Option<Sleeper> {
        let sleeper = self.places.get_mut(place)?.take();
        self.free.push(place);
        sleeper
    }
}

static SLEEPERS: SpinLock<Sleepers> = SpinLock::new(Sleepers { places: Vec::new(), free: Vec::new(), attended: true });
/// Whether the list is to be looked at earlier than was said.
static NEWS: AtomicBool = AtomicBool::new(false);
static LISTENER: WaitQueue = WaitQueue::new();
static LIMIT: AtomicU64 = AtomicU64::new(PATIENCE);

/// Waits for `future`, which a fatal signal ends, but no handler of a signal: `ps` shows `D` meanwhile.
pub async fn killable<F: Future>(future: F) -> F::Output {
    let mut future = core::pin::pin!(future);
    let mut mark = None;
    core::future::poll_fn(|context| {
        let result = future.as_mut().poll(context);
        mark_wait(&result, &mut mark, || Mark::new(context.waker().clone()));
        result
    })
    .await
}

/// Waits for `future` although no signal can end the wait: `ps` shows `D` meanwhile, and a sleep beyond [`PATIENCE`] is reported, with
/// the task and the place.
pub async fn uninterruptible<F: Future>(future: F) -> F::Output {
    let mut future = core::pin::pin!(future);
    let mut marks = None;
    core::future::poll_fn(|context| {
        let result = future.as_mut().poll(context);
        mark_wait(&result, &mut marks, || (Mark::new(context.waker().clone()), Entry::new(context.waker())));
        result
    })
    .await
}

/// Makes the mark when a wait begins, and drops it when it is over.
fn mark_wait<T, M>(result: &Poll<T>, mark: &mut Option<M>, new: impl FnOnce() -> M) {
    match result {
        Poll::Pending if mark.is_none() => *mark = Some(new()),
        Poll::Pending => {}
        Poll::Ready(_) => *mark = None,
    }
}

/// Marks the task of a waker as uninterruptible while it lives.
struct Mark(Waker);

impl Mark {
    fn new(waker: Waker) -> Self {
        if let Some(task) = Task::from_waker(&waker) {
            task.begin_uninterruptible();
        }
        Self(waker)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(task) = Task::from_waker(&self.0) {
            task.end_uninterruptible();
        }
    }
}

/// A place in the list, if there was one.
struct Entry(Option<usize>);

impl Entry {
    fn new(waker: &Waker) -> Self {
        let sleeper = Sleeper { since: machine::monotonic_ns(), waker: waker.clone(), reported: false };
        let (place, attended) = {
            let mut sleepers = SLEEPERS.lock();
            let place = sleepers.insert(sleeper);
            (place, core::mem::replace(&mut sleepers.attended, true))
        };
        if !attended {
            tell();
        }
        Self(place)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(place) = self.0 else { return };
        let sleeper = SLEEPERS.lock().remove(place);
        // Not under the lock: it may be the last reference to the task.
        drop(sleeper);
    }
}

/// Calls `report` with each task that has slept for too long, and for how many nanoseconds; each sleep once. Returns when to look again;
/// in any case when [`news`] come. For one caller.
pub fn check(now: u64, mut report: impl FnMut(&Task, u64)) -> Option<u64> {
    let limit = LIMIT.load(Ordering::Relaxed);
    loop {
        let (waker, since) = {
            let mut sleepers = SLEEPERS.lock();
            let unreported = sleepers.places.iter_mut().flatten().filter(|sleeper| !sleeper.reported);
            let Some(next) = unreported.min_by_key(|sleeper| sleeper.since) else {
                sleepers.attended = false;
                return None;
            };
            if now.saturating_sub(next.since) < limit {
                return Some(next.since + limit);
            }
            next.reported = true;
            (next.waker.clone(), next.since)
        };
        if let Some(task) = Task::from_waker(&waker) {
            report(task, now.saturating_sub(since));
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
        assert!(task.is_uninterruptible());
        assert_eq!(reports(1000), (Vec::new(), Some(1000 + PATIENCE)));
        assert_eq!(reports(1000 + PATIENCE), ([(task.id(), PATIENCE)].to_vec(), None));
        assert_eq!(reports(1000 + 2 * PATIENCE), (Vec::new(), None));

        *go.lock() = true;
        queue.wake_all();
        tasks::run_until_idle();
        assert!(SLEEPERS.lock().places.iter().all(Option::is_none));
        assert!(!task.is_uninterruptible());

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
