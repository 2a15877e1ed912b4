//! Task states: no wake is lost, a task is scheduled by one core at a time, and each core sees what the one before did.

use libkernel_models::task_state::TaskState;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

/// A task that is done when it has seen `wanted` units of work, and the core that it is queued on.
struct Model {
    state: TaskState,
    work: AtomicUsize,
    /// Stands for the future and the scheduling entity: loom reports two users at a time.
    owned: UnsafeCell<usize>,
    queued: AtomicBool,
    interrupt: Notify,
    enqueued: AtomicUsize,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: TaskState::new(),
            work: AtomicUsize::new(0),
            owned: UnsafeCell::new(0),
            queued: AtomicBool::new(false),
            interrupt: Notify::new(),
            enqueued: AtomicUsize::new(0),
        })
    }

    fn wake(&self) {
        if self.state.wake() {
            // The waker owns the task for a moment.
            self.touch();
            self.enqueued.fetch_add(1, Ordering::Relaxed);
            assert!(!self.queued.swap(true, Ordering::AcqRel), "queued twice");
            self.interrupt.notify();
        }
    }

    /// Looks at the task if it sleeps.
    fn look(&self) {
        if self.state.claim() {
            self.touch();
            if !self.state.park() {
                self.touch();
                assert!(!self.queued.swap(true, Ordering::AcqRel), "queued twice");
                self.interrupt.notify();
            }
        }
    }

    fn touch(&self) {
        // SAFETY: loom checks that nobody else is here.
        self.owned.with_mut(|owned| unsafe { *owned += 1 });
    }

    /// One core that runs the task whenever it is queued, until it has seen `wanted`.
    fn run(&self, wanted: usize) {
        loop {
            while !self.queued.swap(false, Ordering::Acquire) {
                self.interrupt.wait();
            }
            loop {
                assert!(self.state.begin_poll(), "a queued task is ready");
                self.touch();
                // The work is published by nothing but the wake.
                let done = self.work.load(Ordering::Relaxed) == wanted;
                self.touch();
                if done {
                    self.state.finish();
                    return;
                }
                if self.state.end_poll() {
                    continue;
                }
                // Off the run queue, then asleep.
                self.touch();
                if self.state.park() {
                    break;
                }
                self.touch();
            }
        }
    }
}

#[test]
fn no_wake_is_lost_by_a_core_that_polls_and_parks() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let model = Model::new();
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let model = model.clone();
                thread::spawn(move || {
                    model.work.fetch_add(1, Ordering::Relaxed);
                    model.wake();
                })
            })
            .collect();
        model.run(2);
        wakers.into_iter().for_each(|waker| assert!(waker.join().is_ok()));
        assert!(!model.state.wake(), "a finished task is not woken");
    });
}

#[test]
fn the_poll_after_a_refused_park_sees_what_came_before_every_wake() {
    loom::model(|| {
        let model = Model::new();
        assert!(model.state.wake());
        assert!(model.state.begin_poll());
        let waker = {
            let model = model.clone();
            thread::spawn(move || {
                let mut enqueued = false;
                for _ in 0..2 {
                    model.work.fetch_add(1, Ordering::Relaxed);
                    enqueued |= model.state.wake();
                }
                enqueued
            })
        };
        let mut seen = 0;
        while model.state.end_poll() || !model.state.park() {
            assert!(model.state.begin_poll());
            seen = model.work.load(Ordering::Relaxed);
        }
        let enqueued = waker.join().unwrap_or_else(|_| unreachable!());
        assert!(enqueued || seen == 2, "asleep, and nobody will look again");
    });
}

#[test]
fn a_woken_task_is_enqueued_once() {
    loom::model(|| {
        let model = Model::new();
        let other = {
            let model = model.clone();
            thread::spawn(move || model.wake())
        };
        model.wake();
        assert!(other.join().is_ok());
        assert_eq!(model.enqueued.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_task_that_wakes_elsewhere_takes_its_state_along() {
    // One core polls and parks; the other wakes the task and runs it itself.
    loom::model(|| {
        let model = Model::new();
        assert!(model.state.wake());
        let second = {
            let model = model.clone();
            thread::spawn(move || {
                if model.state.wake() {
                    model.touch();
                    assert!(model.state.begin_poll());
                    model.touch();
                    model.state.finish();
                    true
                } else {
                    false
                }
            })
        };
        assert!(model.state.begin_poll());
        model.touch();
        let mut mine = model.state.end_poll();
        if !mine {
            model.touch();
            mine = !model.state.park();
        }
        if mine {
            assert!(model.state.begin_poll());
            model.touch();
            model.state.finish();
        }
        let theirs = second.join().unwrap_or_else(|_| unreachable!());
        // It was woken before the first poll began, during it, or after the park.
        assert!(!(mine && theirs), "the task ran on two cores");
    });
}

#[test]
fn a_look_at_a_sleeper_loses_no_wake() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let model = Model::new();
        let waker = {
            let model = model.clone();
            thread::spawn(move || {
                model.work.fetch_add(1, Ordering::Relaxed);
                model.wake();
            })
        };
        let looker = {
            let model = model.clone();
            thread::spawn(move || model.look())
        };
        model.run(1);
        [waker, looker].into_iter().for_each(|thread| assert!(thread.join().is_ok()));
    });
}
