//! Tests of wait queues.

use super::*;
use crate::sync::SpinLock;
use crate::task::{Task, host};
use alloc::boxed::Box;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use std::sync::atomic::AtomicBool;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn listener(queue: &Arc<WaitQueue>, mode: WaitMode) -> (Arc<Counter>, Pin<Box<Listener>>) {
    let counter = Arc::new(Counter::default());
    let mut listener = Box::pin(Listener::new(queue.clone()).with_mode(mode));
    listener.as_mut().register(&counter.clone().into());
    (counter, listener)
}

#[test]
fn wake_one_reaches_the_longest_waiting_exclusive_waiter_and_all_shared_ones() {
    let queue = Arc::new(WaitQueue::new());
    let (first, _a) = listener(&queue, WaitMode::Exclusive);
    let (second, _b) = listener(&queue, WaitMode::Exclusive);
    let (shared, _c) = listener(&queue, WaitMode::Shared);
    assert!(queue.wake_one());
    assert_eq!((first.count(), second.count(), shared.count()), (1, 0, 1));
    assert_eq!(queue.wake_all(), 1);
    assert_eq!(second.count(), 1);
    assert!(!queue.wake_one(), "nobody is left");
    assert!(queue.is_empty());
}

#[test]
fn shared_waiters_that_come_after_exclusive_ones_are_woken_before_them() {
    struct Note(Arc<SpinLock<Vec<usize>>>, usize);
    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.0.lock().push(self.1);
        }
    }
    use WaitMode::{Exclusive, Persistent, Shared};
    let queue = Arc::new(WaitQueue::new());
    let order = Arc::new(SpinLock::new(Vec::new()));
    let modes = [Exclusive, Shared, Exclusive, Persistent, Exclusive, Shared];
    let mut waiters = Vec::new();
    for (number, mode) in modes.into_iter().enumerate() {
        let mut waiter = Box::pin(Listener::new(queue.clone()).with_mode(mode));
        waiter.as_mut().register(&Arc::new(Note(order.clone(), number)).into());
        waiters.push(waiter);
    }
    let woken = || core::mem::take(&mut *order.lock());
    queue.wake_one();
    assert_eq!(woken(), [1, 3, 5, 0]);
    queue.wake_one();
    assert_eq!(woken(), [3, 2]);
    drop(waiters.remove(3));
    queue.wake_all();
    assert_eq!(woken(), [4]);
    assert!(queue.is_empty());
}

#[test]
fn a_wake_of_one_looks_at_nobody_that_waits_behind_it() {
    const WAITERS: usize = if cfg!(miri) { 200 } else { 100_000 };
    let queue = WaitQueue::new();
    let mut waiters: Vec<_> =
        (0..WAITERS).map(|_| Box::pin(Listener::new(&queue).with_mode(WaitMode::Exclusive))).collect();
    let begun = std::time::Instant::now();
    waiters.iter_mut().for_each(|waiter| waiter.as_mut().register(Waker::noop()));
    let registered = begun.elapsed();
    // Few beside the waiters: less work than registering those, unless each wake looks at them all.
    assert!((0..WAITERS / 50).all(|_| queue.wake_one()));
    assert!(begun.elapsed() < 2 * registered);
    assert_eq!(waiters.iter().filter(|waiter| waiter.is_woken()).count(), WAITERS / 50);
    waiters.iter().for_each(|waiter| waiter.answer());
}

#[test]
fn a_dropped_exclusive_waiter_passes_its_wake_on() {
    let queue = Arc::new(WaitQueue::new());
    let (first, a) = listener(&queue, WaitMode::Exclusive);
    let (second, _b) = listener(&queue, WaitMode::Exclusive);
    queue.wake_one();
    assert_eq!((first.count(), second.count()), (1, 0));
    drop(a);
    assert_eq!(second.count(), 1);
}

#[test]
fn an_answered_wake_is_not_passed_on() {
    let queue = Arc::new(WaitQueue::new());
    let (_first, mut a) = listener(&queue, WaitMode::Exclusive);
    let (second, _b) = listener(&queue, WaitMode::Exclusive);
    queue.wake_one();
    a.answer();
    a.as_mut().leave();
    drop(a);
    assert_eq!(second.count(), 0);
}

#[test]
fn a_wake_that_comes_while_a_waiter_leaves_with_something_else_reaches_the_next() {
    // What comes between the look that ends a wait, registered or not yet, and its leaving the queue.
    for look in [1, 2, 3] {
        let queue = Arc::new(WaitQueue::new());
        let other = core::cell::RefCell::new(None);
        let mut looks = 0;
        let mut wait = pin!(queue.wait_until(|| {
            looks += 1;
            (looks == look).then(|| {
                *other.borrow_mut() = Some(listener(&queue, WaitMode::Exclusive));
                queue.wake_one();
            })
        }));
        let mut context = Context::from_waker(Waker::noop());
        let polls = if look == 3 { 2 } else { 1 };
        assert!((1..polls).all(|_| wait.as_mut().poll(&mut context).is_pending()));
        assert!(wait.as_mut().poll(&mut context).is_ready());
        assert_eq!(other.take().map(|(counter, _)| counter.count()), Some(1), "look {look}");
    }
}

#[test]
fn a_persistent_waiter_is_woken_again_and_again_but_once_a_wake() {
    let queue = Arc::new(WaitQueue::new());
    let waiters: Vec<_> = (0..2 * BATCH + 1).map(|_| listener(&queue, WaitMode::Persistent)).collect();
    for round in 1..4 {
        assert_eq!(queue.wake_all(), waiters.len());
        assert!(waiters.iter().all(|(counter, _)| counter.count() == round));
    }
    drop(waiters);
    assert!(queue.is_empty());
    assert!(!queue.wake_one());
}

#[test]
fn many_waiters_are_woken_in_several_batches() {
    let queue = Arc::new(WaitQueue::new());
    let waiters: Vec<_> = (0..3 * BATCH).map(|_| listener(&queue, WaitMode::Shared)).collect();
    assert_eq!(queue.wake_all(), waiters.len());
    assert!(waiters.iter().all(|(counter, listener)| counter.count() == 1 && listener.is_woken()));
}

#[test]
fn a_waiter_in_the_middle_unlinks_itself() {
    let queue = Arc::new(WaitQueue::new());
    let (first, _a) = listener(&queue, WaitMode::Shared);
    let (middle, b) = listener(&queue, WaitMode::Shared);
    let (last, _c) = listener(&queue, WaitMode::Shared);
    drop(b);
    assert_eq!(queue.wake_all(), 2);
    assert_eq!((first.count(), middle.count(), last.count()), (1, 0, 1));
}

#[test]
fn a_waker_may_use_the_queue_it_is_woken_from() {
    struct Again(Arc<WaitQueue>, AtomicBool);
    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            self.0.wake_all();
            self.1.store(true, Ordering::SeqCst);
        }
    }
    let queue = Arc::new(WaitQueue::new());
    let again = Arc::new(Again(queue.clone(), AtomicBool::new(false)));
    let mut listener = pin!(Listener::new(queue.clone()));
    listener.as_mut().register(&again.clone().into());
    queue.wake_one();
    assert!(again.1.load(Ordering::SeqCst));
}

#[test]
fn wait_until_sees_a_change_between_its_two_looks() {
    let queue = WaitQueue::new();
    let mut looks = 0;
    let mut future = pin!(queue.wait_until(|| {
        looks += 1;
        (looks == 2).then_some(looks)
    }));
    let waker = Waker::noop();
    assert_eq!(future.as_mut().poll(&mut Context::from_waker(waker)), Poll::Ready(2));
    assert!(queue.is_empty());
}

#[test]
fn two_consumers_are_woken_one_by_one() {
    let (queue, items, taken) =
        (Arc::new(WaitQueue::new()), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..2 {
        let (queue, items, taken) = (queue.clone(), items.clone(), taken.clone());
        Task::new("consumer", async move {
            queue
                .wait_until(|| items.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).ok())
                .await;
            taken.fetch_add(1, Ordering::SeqCst);
        })
        .wake();
    }
    host::run_until_idle();
    items.store(1, Ordering::SeqCst);
    queue.wake_one();
    assert_eq!(host::run_until_idle(), 1, "one wake, one poll");
    assert_eq!(taken.load(Ordering::SeqCst), 1);
    items.store(1, Ordering::SeqCst);
    queue.wake_one();
    host::run_until_idle();
    assert_eq!(taken.load(Ordering::SeqCst), 2);
}

#[test]
fn threads_hand_items_over_without_losing_a_wake() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    const ITEMS: usize = if cfg!(miri) { 50 } else { 20_000 };
    let queue = Arc::new((WaitQueue::new(), AtomicUsize::new(0)));
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let queue = queue.clone();
            std::thread::spawn(move || {
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                let mut context = Context::from_waker(&waker);
                for _ in 0..ITEMS {
                    let take = || queue.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).ok();
                    let mut wait = pin!(queue.0.wait_until(take));
                    while wait.as_mut().poll(&mut context).is_pending() {
                        std::thread::park();
                    }
                }
            })
        })
        .collect();
    for _ in 0..3 * ITEMS {
        queue.1.fetch_add(1, Ordering::SeqCst);
        queue.0.wake_one();
    }
    consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
    assert_eq!(queue.1.load(Ordering::SeqCst), 0);
}
