//! Tests of tasks, wakers and the waits built on them.

use super::*;
use crate::sync::WaitQueue;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

#[test]
fn a_task_runs_when_it_is_woken_and_sleeps_until_the_next_wake() {
    let queue = Arc::new(WaitQueue::new());
    let steps = Arc::new(AtomicUsize::new(0));
    let open = Arc::new(AtomicUsize::new(0));
    let task = Task::new("stepper", {
        let (queue, steps, open) = (queue.clone(), steps.clone(), open.clone());
        async move {
            steps.store(1, Ordering::SeqCst);
            queue.wait_until(|| (open.load(Ordering::SeqCst) > 0).then_some(())).await;
            steps.store(2, Ordering::SeqCst);
        }
    });
    assert_eq!(host::run_until_idle(), 0, "a new task does not run by itself");
    task.wake();
    assert_eq!(host::run_until_idle(), 1);
    assert_eq!((steps.load(Ordering::SeqCst), task.activity()), (1, Activity::Asleep));
    let location = task.waiting().get().unwrap();
    assert!(location.file().ends_with("tests.rs"), "the location is the waiting code's: {location}");
    open.store(1, Ordering::SeqCst);
    queue.wake_one();
    assert_eq!(host::run_until_idle(), 1);
    assert_eq!((steps.load(Ordering::SeqCst), task.activity()), (2, Activity::Finished));
    task.wake();
    assert_eq!(host::run_until_idle(), 0, "a wake of a finished task does nothing");
}

#[test]
fn a_task_that_yields_is_requeued() {
    let task = Task::new("yielder", async {
        yield_now().await;
    });
    task.wake();
    let runnable = host::next().unwrap();
    assert_eq!(host::run_once(runnable), Decision::Requeue);
    assert_eq!(host::run_once(host::next().unwrap()), Decision::Finished);
}

#[test]
fn the_current_task_is_known_inside_its_poll_and_nowhere_else() {
    let seen = Arc::new(Mutex::new(None));
    let task = Task::new("me", {
        let seen = seen.clone();
        async move { *seen.lock().unwrap() = current() }
    });
    assert!(current().is_none());
    task.wake();
    host::run_until_idle();
    assert!(current().is_none());
    let seen = seen.lock().unwrap().take().unwrap();
    assert!(Arc::ptr_eq(&seen, &task));
}

#[test]
fn a_finished_future_is_dropped_at_once_and_outside_its_poll_state() {
    struct OnDrop(Arc<Task>, Arc<AtomicUsize>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            // A destructor may wake others, as the last reference to a pipe does.
            self.0.wake();
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let other = Task::new("other", async {});
    let guard = OnDrop(other.clone(), drops.clone());
    let task = Task::new("holder", async move {
        let _guard = guard;
    });
    task.wake();
    let runnable = host::next().unwrap();
    assert_eq!(host::run_once(runnable), Decision::Finished);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    assert_eq!(Arc::strong_count(&task), 1);
    assert_eq!(host::run_until_idle(), 1, "the other task was woken");
}

#[test]
fn a_wake_before_the_park_brings_the_runnable_back() {
    let queue = Arc::new(WaitQueue::new());
    let task = Task::new("sleeper", {
        let queue = queue.clone();
        async move { queue.wait_until(|| None::<()>).await }
    });
    task.wake();
    let runnable = host::next().unwrap();
    assert_eq!(task.poll(), Decision::Sleep);
    task.wake();
    assert!(host::next().is_none(), "the core that still holds it requeues it");
    let runnable = runnable.park().unwrap();
    assert_eq!(host::run_once(runnable), Decision::Sleep);
    assert_eq!(task.activity(), Activity::Asleep);
}

#[test]
fn an_interrupt_ends_an_interruptible_wait_only() {
    let queue = Arc::new(WaitQueue::new());
    let result = Arc::new(Mutex::new(None));
    let task = Task::new("interruptible", {
        let (queue, result) = (queue.clone(), result.clone());
        async move {
            let wait = interruptible(queue.wait_until(|| None::<()>)).await;
            *result.lock().unwrap() = Some(wait);
            queue.wait_until(|| None::<()>).await;
        }
    });
    task.wake();
    host::run_until_idle();
    assert_eq!(*result.lock().unwrap(), None);
    task.set_interrupt(true);
    host::run_until_idle();
    assert_eq!(*result.lock().unwrap(), Some(Err(Interrupted)));
    assert_eq!(task.activity(), Activity::Asleep, "a plain wait goes on");
}

#[test]
fn a_waker_leads_to_its_task_and_foreign_wakers_do_not() {
    let task = Task::new("waker", async {});
    assert!(core::ptr::eq(Task::from_waker(&task.waker()).unwrap(), &*task));
    assert!(Task::from_waker(core::task::Waker::noop()).is_none());
    drop(task.waker().clone());
    assert_eq!(Arc::strong_count(&task), 1);
}

#[test]
fn names_are_cut_to_fifteen_bytes() {
    let task = Task::new("a-rather-long-name", async {});
    assert_eq!(&task.name(), b"a-rather-long-n\0");
}

#[test]
fn threads_waking_one_task_lose_no_wake() {
    const WAKES: usize = if cfg!(miri) { 20 } else { 20_000 };
    let (work, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let queue = Arc::new(WaitQueue::new());
    let task = Task::new("worker", {
        let (queue, work, done) = (queue.clone(), work.clone(), done.clone());
        async move {
            while done.load(Ordering::SeqCst) < 2 * WAKES {
                queue
                    .wait_until(|| work.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).ok())
                    .await;
                done.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    task.wake();
    let wakers: Vec<_> = (0..2)
        .map(|_| {
            let (queue, work) = (queue.clone(), work.clone());
            std::thread::spawn(move || {
                for _ in 0..WAKES {
                    work.fetch_add(1, Ordering::SeqCst);
                    queue.wake_one();
                    // Whatever this thread's wake made ready runs here, so the task moves between threads.
                    host::run_until_idle();
                }
            })
        })
        .collect();
    host::run_until_idle();
    wakers.into_iter().for_each(|waker| waker.join().unwrap());
    host::run_until_idle();
    assert_eq!(done.load(Ordering::SeqCst), 2 * WAKES);
    assert_eq!(task.activity(), Activity::Finished);
}
