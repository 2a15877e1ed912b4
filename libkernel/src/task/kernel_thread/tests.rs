//! Tests of kernel threads on the hosted executor.

use super::*;
use crate::sync::Completion;
use crate::task::host;
use core::sync::atomic::{AtomicUsize, Ordering};

/// A thread that counts its rounds until it is stopped, and returns the count.
fn counter(gate: &Arc<Completion>) -> KernelThread<usize> {
    let gate = gate.clone();
    KernelThread::new("counter", |control| async move {
        let mut rounds = 0;
        while !control.should_stop() {
            control.park_if_asked().await;
            if control.wait(gate.wait()).await.is_ok() {
                rounds += 1;
            }
        }
        rounds
    })
}

fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let result = Arc::new(SpinLock::new(None));
    let slot = result.clone();
    Task::new("user", async move {
        let value = future.await;
        *slot.lock() = Some(value);
    })
    .wake();
    host::run_until_idle();
    result.lock().take()
}

fn shared(thread: KernelThread<usize>) -> Arc<KernelThread<usize>> {
    Arc::new(thread)
}

#[test]
fn a_stopped_thread_returns_its_value_to_everyone_who_joins() {
    let gate = Arc::new(Completion::new());
    let thread = shared(counter(&gate));
    thread.start();
    gate.complete();
    host::run_until_idle();
    for _ in 0..2 {
        let own = thread.clone();
        assert_eq!(run(async move { own.stop().await }), Some(Exit::Value(1)));
        let own = thread.clone();
        assert_eq!(run(async move { own.join().await }), Some(Exit::Value(1)));
    }
    let own = thread.clone();
    assert_eq!(run(async move { own.park().await }), Some(false));
    assert_eq!(Arc::strong_count(&gate), 1, "the thread's future is gone");
}

#[test]
fn a_thread_stopped_before_its_first_run_never_runs() {
    let thread = shared(counter(&Arc::new(Completion::new())));
    let own = thread.clone();
    assert_eq!(run(async move { own.stop().await }), Some(Exit::NeverRan));
}

#[test]
fn a_parked_thread_does_nothing_until_it_is_unparked() {
    let gate = Arc::new(Completion::new());
    let thread = shared(counter(&gate));
    thread.start();
    host::run_until_idle();
    let own = thread.clone();
    assert_eq!(run(async move { own.park().await }), Some(true));
    gate.complete();
    thread.task().wake();
    host::run_until_idle();
    assert!(thread.is_parked() && gate.is_done());
    thread.unpark();
    host::run_until_idle();
    assert!(!thread.is_parked() && !gate.is_done());
    let own = thread.clone();
    assert_eq!(run(async move { own.park().await }), Some(true));
    let own = thread.clone();
    assert_eq!(run(async move { own.stop().await }), Some(Exit::Value(1)), "stopping ends the parking");
}

#[test]
fn an_unpark_before_the_park_is_remembered() {
    let thread = shared(counter(&Arc::new(Completion::new())));
    thread.start();
    thread.unpark();
    let own = thread.clone();
    assert_eq!(run(async move { own.park().await }), Some(false));
    assert!(!thread.is_parked());
    // And one that comes while the park waits ends its wait.
    let parked = Arc::new(AtomicUsize::new(0));
    let (own, told) = (thread.clone(), parked.clone());
    Task::new("parker", async move {
        own.park().await;
        told.fetch_add(1, Ordering::Relaxed);
    })
    .wake();
    if let Some(runnable) = host::next() {
        let _ = host::run_once(runnable);
    }
    thread.unpark();
    host::run_until_idle();
    assert_eq!(parked.load(Ordering::Relaxed), 1);
    assert!(!thread.is_parked());
}
