//! Tests of timers, on the hosted machine with its clock stopped.

use super::core_timer::BATCH;
use super::*;
use crate::machine::host;
use crate::message::{self, Message};
use crate::sync::WaitQueue;
use crate::task::{self, Activity, Task};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

/// Runs `action` as a core of its own, with the clock at 0.
fn on_core(core: usize, action: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        host::become_core(core);
        host::set_clock(Some(0));
        action();
    });
    thread.join().unwrap();
}

fn advance(now: u64) {
    host::set_clock(Some(now));
    expire(now);
    task::host::run_until_idle();
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Arc<Task> {
    let task = Task::new("timed", future);
    task.wake();
    task::host::run_until_idle();
    task
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    on_core(10, || {
        let order = Arc::new(Mutex::new(Vec::new()));
        for deadline in [30, 10, 20, 10] {
            let order = order.clone();
            spawn(async move {
                sleep_until(deadline).await;
                order.lock().unwrap().push(deadline);
            });
        }
        assert_eq!(host::armed_timer(), Some(10));
        advance(9);
        assert!(order.lock().unwrap().is_empty());
        advance(20);
        assert_eq!(*order.lock().unwrap(), [10, 10, 20]);
        assert_eq!(host::armed_timer(), Some(30));
        advance(31);
        assert_eq!(*order.lock().unwrap(), [10, 10, 20, 30]);
        assert_eq!(host::armed_timer(), None);
    });
}

#[test]
fn a_sleep_that_is_over_at_once_arms_nothing() {
    on_core(11, || {
        host::set_clock(Some(5));
        assert_eq!(spawn(sleep_until(5)).activity(), Activity::Finished);
        assert_eq!(host::armed_timer(), None);
    });
}

#[test]
fn a_timeout_ends_a_wait_and_a_wait_that_ends_cancels_its_timer() {
    on_core(12, || {
        let queue = Arc::new(WaitQueue::new());
        let results = Arc::new(Mutex::new(Vec::new()));
        for deadline in [Some(10), Some(1000), None] {
            let (queue, results) = (queue.clone(), results.clone());
            spawn(async move {
                let mut woken = false;
                let wait = queue.wait_until(|| core::mem::replace(&mut woken, true).then_some(()).filter(|_| false));
                let result = with_timeout(deadline, wait).await;
                results.lock().unwrap().push((deadline, result));
            });
        }
        advance(10);
        assert_eq!(*results.lock().unwrap(), [(Some(10), Err(Elapsed))]);
        assert_eq!(next_event(), Some(1000));
        let quick = spawn(async {
            assert_eq!(with_timeout(Some(50), async { 1 }).await, Ok(1));
        });
        assert_eq!(quick.activity(), Activity::Finished);
        assert_eq!(next_event(), Some(1000), "the timer of a finished wait is gone");
        advance(1000);
        assert_eq!(results.lock().unwrap().len(), 2);
        assert_eq!(next_event(), None);
    });
}

#[test]
fn the_hardware_can_be_armed_for_more_than_timers() {
    on_core(13, || {
        arm_by(700);
        assert_eq!(host::armed_timer(), Some(700));
        let mut alarm = Alarm::new();
        alarm.set(300, core::task::Waker::noop());
        assert_eq!(host::armed_timer(), Some(300));
        arm_by(700);
        assert_eq!(host::armed_timer(), Some(300), "the earlier one stays");
        advance(300);
        assert_eq!(host::armed_timer(), None, "what else there was has to be armed again");
        arm_by(900);
        alarm.set(1000, core::task::Waker::noop());
        assert_eq!(host::armed_timer(), Some(900));
        rearm();
        assert_eq!(host::armed_timer(), Some(1000), "an idle core waits for its timers alone");
        alarm.clear();
        rearm();
        assert_eq!(host::armed_timer(), None, "an idle core is left alone");
    });
}

#[test]
fn an_alarm_can_be_set_again_and_cleared() {
    on_core(14, || {
        struct Rings(core::sync::atomic::AtomicUsize);
        impl alloc::task::Wake for Rings {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
            }
        }
        let rings = Arc::new(Rings(Default::default()));
        let count = || rings.0.load(core::sync::atomic::Ordering::SeqCst);
        let waker = rings.clone().into();
        let mut alarm = Alarm::new();
        alarm.set(10, &waker);
        alarm.set(20, &waker);
        advance(15);
        assert_eq!(count(), 0, "the first deadline was replaced");
        advance(20);
        assert_eq!(count(), 1);
        alarm.set(30, &waker);
        alarm.clear();
        advance(40);
        assert_eq!(count(), 1);
        drop(alarm);
        drop(waker);
        assert_eq!(Arc::strong_count(&rings), 1);
    });
}

#[test]
fn many_timers_of_one_instant_go_off_by_batches_without_delay() {
    on_core(26, || {
        const COUNT: usize = 2 * BATCH + 5;
        let woken = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..COUNT)
            .map(|_| {
                let woken = woken.clone();
                spawn(async move {
                    sleep_until(100).await;
                    woken.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        host::set_clock(Some(100));
        for expected in [BATCH, 2 * BATCH, COUNT] {
            assert!(host::armed_timer().is_some_and(|deadline| deadline <= 100), "the interrupt comes at once");
            expire(100);
            task::host::run_until_idle();
            assert_eq!(woken.load(Ordering::Relaxed), expected);
        }
        assert_eq!(host::armed_timer(), None);
        drop(tasks);
    });
}

#[test]
fn a_timer_cancelled_on_another_core_is_taken_out_by_message() {
    on_core(15, || {
        let mut alarm = Alarm::new();
        alarm.set(100, core::task::Waker::noop());
        assert_eq!(next_event(), Some(100));
        let (send, receive) = mpsc::channel();
        on_core(16, move || {
            alarm.clear();
            // The home core has not heard of it: setting it here takes another timer.
            alarm.set(50, core::task::Waker::noop());
            assert_eq!(next_event(), Some(50));
            send.send(()).unwrap();
            drop(alarm);
        });
        receive.recv().unwrap();
        assert!(message::pending());
        assert_eq!(next_event(), Some(100), "nobody else touches this core's queue");
        let Some(Message::TimerCancelled(timer)) = message::receive() else { panic!("no message") };
        cancelled(&timer);
        assert_eq!(next_event(), None);
        assert_eq!(Arc::strong_count(&timer), 1);
    });
}

#[test]
fn a_timer_may_come_due_between_its_cancellation_and_the_message() {
    on_core(17, || {
        let mut alarm = Alarm::new();
        alarm.set(100, core::task::Waker::noop());
        on_core(18, move || drop(alarm));
        advance(100);
        assert_eq!(next_event(), None);
        let Some(Message::TimerCancelled(timer)) = message::receive() else { panic!("no message") };
        cancelled(&timer);
        assert_eq!(Arc::strong_count(&timer), 1);
    });
}

#[test]
fn a_sleeper_that_moved_to_another_core_is_woken_by_the_core_it_fell_asleep_on() {
    on_core(19, || {
        let task = spawn(sleep_until(10));
        assert_eq!(next_event(), Some(10));
        host::set_clock(Some(10));
        expire(10);
        let runnable = task::host::next().unwrap();
        let moved = task.clone();
        on_core(22, move || {
            host::set_clock(Some(10));
            assert_eq!(task::host::run_once(runnable), task::Decision::Finished);
        });
        assert_eq!(moved.activity(), Activity::Finished);
    });
}
