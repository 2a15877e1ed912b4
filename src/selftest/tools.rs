//! What the rooms' tests share: counting and waiting for counts, running something on a given core, burning time.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::future::Future;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::Poll;

use libkernel::machine;
use libkernel::sync::{SpinLock, WaitQueue};
use libkernel::task::{Activity, AffinityMask, Task, yield_now};
use libkernel::time::sleep_until;

/// Frames that caches (magazines, half-filled slabs) may keep beyond what they held before.
pub const CACHED_FRAMES: usize = 256;

/// In nanoseconds.
pub const MILLISECOND: u64 = 1_000_000;

/// Counts what has happened, and lets tasks wait for it.
pub struct Tally {
    count: AtomicUsize,
    changed: WaitQueue,
}

impl Tally {
    /// Nothing has happened.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), changed: WaitQueue::new() })
    }

    /// Something happened. Any context.
    pub fn add(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.changed.wake_all();
    }

    /// How much has happened.
    pub fn get(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Sleeps until that much has happened.
    pub async fn reach(&self, wanted: usize) {
        self.changed.wait_until(|| (self.get() >= wanted).then_some(())).await;
    }
}

/// Waits until nobody else holds the task, which is a moment after it has finished.
pub async fn gone(task: &Arc<Task>) {
    while Arc::strong_count(task) > 1 {
        yield_now().await;
    }
}

/// Starts a task that may run on one core only.
pub fn spawn_on(core: usize, future: impl Future<Output = ()> + Send + 'static) -> Arc<Task> {
    let task = Task::new("selftest/part", future);
    task.parameters().set_affinity(AffinityMask::only(core));
    task.wake();
    task
}

/// Runs a future on one core, and waits for its result.
pub async fn run_on<T: Send + 'static>(core: usize, future: impl Future<Output = T> + Send + 'static) -> T {
    let slot = Arc::new((SpinLock::new(None), WaitQueue::new()));
    let result = slot.clone();
    spawn_on(core, async move {
        let value = future.await;
        *result.0.lock() = Some(value);
        result.1.wake_all();
    });
    slot.1.wait_until(|| slot.0.lock().take()).await
}

/// Keeps the core for that many nanoseconds.
pub fn burn(nanoseconds: u64) {
    let end = machine::monotonic_ns() + nanoseconds;
    while machine::monotonic_ns() < end {}
}

/// Whether one nanosecond is one instruction, as in the deterministic mode, so that figures mean something: the same loop takes the
/// same time again and again.
pub fn deterministic() -> bool {
    let state = machine::mask_interrupts();
    let lap = || {
        let began = machine::monotonic_ns();
        (0..2000).for_each(|_| core::hint::black_box(()));
        machine::monotonic_ns() - began
    };
    lap();
    let first = lap();
    let same = (0..5).all(|_| lap().abs_diff(first) <= 16);
    machine::restore_interrupts(state);
    same
}

/// The value in the middle.
pub fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Runs two futures in turns until both are done.
pub async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (core::pin::pin!(a), core::pin::pin!(b));
    let (mut first, mut second) = (None, None);
    core::future::poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(context)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(context)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// Sleeps.
pub async fn pause(milliseconds: u64) {
    sleep_until(machine::monotonic_ns() + milliseconds * MILLISECOND).await;
}

/// Waits until `done` or for so long; returns whether it was done.
pub async fn within(milliseconds: u64, done: impl Fn() -> bool) -> bool {
    let end = machine::monotonic_ns() + milliseconds * MILLISECOND;
    while !done() {
        if machine::monotonic_ns() >= end {
            return false;
        }
        pause(1).await;
    }
    true
}

/// Waits until the tasks have finished; returns whether they have, after five seconds at most.
pub async fn finished(tasks: &[Arc<Task>]) -> bool {
    within(5000, || tasks.iter().all(|task| task.activity() == Activity::Finished)).await
}

/// A flag that ends loops, also when a test fails before it says so.
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Not to end yet.
    pub fn new() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    /// What the loops look at.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }

    /// Ends the loops.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Loops until told to stop, without a scheduling point.
pub fn spin(stop: &AtomicBool, turn: impl Fn()) {
    while !stop.load(Ordering::Relaxed) {
        turn();
    }
}
