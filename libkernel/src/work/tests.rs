//! Tests of work queues on the hosted machine: each thread plays a core and runs whatever it woke.

use super::*;
use crate::machine::host as machine;
use crate::sync::Completion;
use crate::task::{Task, host, yield_now};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;

/// Pools of `cores` cores with workers, which live for ever.
fn pools(cores: usize) -> &'static Pools {
    let pools: &'static Pools = Box::leak(Box::new(Pools::new()));
    pools.set_cores(cores);
    for class in [Class::Normal, Class::High, Class::Unbound] {
        for core in 0..cores {
            pools.pool(class, core).employ(&Task::new("worker", pools.pool(class, core).serve(|| false)));
        }
    }
    host::run_until_idle();
    pools
}

/// Runs `action` on a thread of its own, which plays a core, with a clock that stands at 0.
fn on_core(action: impl FnOnce() + Send + 'static) {
    on_the_core(0, action);
}

/// As [`on_core`], for tests that need a core's timer to themselves.
fn on_the_core(core: usize, action: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        machine::become_core(core);
        machine::set_clock(Some(0));
        action();
    });
    thread.join().unwrap();
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    Task::new("user", async move {
        future.await;
        flag.store(true, SeqCst);
    })
    .wake();
    host::run_until_idle();
    done
}

/// An item that counts its runs, and the count.
fn counting(queue: &Arc<WorkQueue>) -> (Work, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let work = queue.work(move || {
        counted.fetch_add(1, SeqCst);
        core::future::ready(())
    });
    (work, runs)
}

/// An item whose runs wait for `gate`, and the counts of runs that began and that ended.
fn gated(queue: &Arc<WorkQueue>, gate: &Arc<Completion>) -> (Work, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (began, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, begin, end) = (gate.clone(), began.clone(), ended.clone());
    let work = queue.work(move || {
        let (gate, begin, end) = (gate.clone(), begin.clone(), end.clone());
        async move {
            begin.fetch_add(1, SeqCst);
            gate.wait().await;
            end.fetch_add(1, SeqCst);
        }
    });
    (work, began, ended)
}

#[test]
fn an_item_runs_once_for_each_accepted_request() {
    on_core(|| {
        let queue = WorkQueue::new(pools(1), "test", Class::Normal);
        let (work, runs) = counting(&queue);
        assert_eq!(work.queue(), Ok(true));
        assert_eq!(work.queue(), Ok(false));
        host::run_until_idle();
        assert_eq!(runs.load(SeqCst), 1);
        assert_eq!(work.queue(), Ok(true), "a finished item may be queued again");
        host::run_until_idle();
        assert_eq!(runs.load(SeqCst), 2);
    });
}

#[test]
fn an_item_queued_while_it_runs_runs_once_more() {
    on_core(|| {
        let gate = Arc::new(Completion::new());
        let (work, began, ended) = gated(&WorkQueue::new(pools(1), "test", Class::Normal), &gate);
        work.queue().unwrap();
        host::run_until_idle();
        assert_eq!(work.queue(), Ok(true));
        assert_eq!(work.queue(), Ok(false));
        host::run_until_idle();
        assert_eq!(began.load(SeqCst), 1, "not while the first run goes on");
        gate.complete_all();
        host::run_until_idle();
        assert_eq!((began.load(SeqCst), ended.load(SeqCst)), (2, 2));
    });
}

#[test]
fn a_sleeping_item_lets_the_next_one_start() {
    on_core(|| {
        let queue = WorkQueue::new(pools(1), "test", Class::Normal);
        let gate = Arc::new(Completion::new());
        let (sleeper, _, ended) = gated(&queue, &gate);
        let (next, runs) = counting(&queue);
        sleeper.queue().unwrap();
        next.queue().unwrap();
        host::run_until_idle();
        assert_eq!((runs.load(SeqCst), ended.load(SeqCst)), (1, 0));
        gate.complete();
        host::run_until_idle();
        assert_eq!(ended.load(SeqCst), 1);
    });
}

#[test]
fn dropping_the_handle_neither_cancels_nor_leaks() {
    on_core(|| {
        let queue = WorkQueue::new(pools(1), "test", Class::Normal);
        let gate = Arc::new(Completion::new());
        let (work, _, ended) = gated(&queue, &gate);
        work.queue().unwrap();
        host::run_until_idle();
        drop(work);
        gate.complete();
        host::run_until_idle();
        assert_eq!(ended.load(SeqCst), 1);
        assert_eq!(Arc::strong_count(&ended), 1, "the item is gone");
        assert_eq!(Arc::strong_count(&queue), 1);
    });
}

#[test]
fn cancelling_takes_a_request_back_but_no_run() {
    on_core(|| {
        let queue = WorkQueue::new(pools(1), "test", Class::Normal);
        let (work, runs) = counting(&queue);
        work.queue().unwrap();
        assert!(work.cancel());
        assert!(!work.cancel());
        host::run_until_idle();
        assert_eq!(runs.load(SeqCst), 0);
        assert_eq!(queue.counts(), (1, 0));
        work.queue().unwrap();
        host::run_until_idle();
        assert_eq!(runs.load(SeqCst), 1);
    });
}

#[test]
fn cancel_and_wait_waits_for_the_run_and_refuses_meanwhile() {
    on_core(|| {
        let gate = Arc::new(Completion::new());
        let (work, _, ended) = gated(&WorkQueue::new(pools(1), "test", Class::Normal), &gate);
        work.queue().unwrap();
        host::run_until_idle();
        work.queue().unwrap();
        let own = work.clone();
        let done = spawn(async move { assert!(own.cancel_and_wait().await) });
        assert!(!done.load(SeqCst));
        assert_eq!(work.queue(), Err(Refused::Cancelling));
        gate.complete_all();
        host::run_until_idle();
        assert!(done.load(SeqCst));
        assert_eq!(ended.load(SeqCst), 1);
        assert_eq!(work.queue(), Ok(true));
    });
}

#[test]
fn a_flush_of_an_item_waits_for_the_requests_before_it() {
    on_core(|| {
        let gate = Arc::new(Completion::new());
        let (work, _, _) = gated(&WorkQueue::new(pools(1), "test", Class::Normal), &gate);
        let idle = work.clone();
        assert!(spawn(async move { idle.flush().await }).load(SeqCst), "an idle item needs no wait");
        work.queue().unwrap();
        host::run_until_idle();
        work.queue().unwrap();
        let own = work.clone();
        let done = spawn(async move { own.flush().await });
        gate.complete();
        host::run_until_idle();
        assert!(!done.load(SeqCst), "the second run was asked for before the flush");
        gate.complete();
        host::run_until_idle();
        assert!(done.load(SeqCst));
    });
}

#[test]
fn a_flush_of_a_queue_leaves_later_runs_alone() {
    on_core(|| {
        let queue = WorkQueue::new(pools(1), "test", Class::Normal);
        let (before, after) = (Arc::new(Completion::new()), Arc::new(Completion::new()));
        let (first, ..) = gated(&queue, &before);
        let (second, ..) = gated(&queue, &after);
        first.queue().unwrap();
        let own = queue.clone();
        let done = spawn(async move { own.flush().await });
        second.queue().unwrap();
        host::run_until_idle();
        assert!(!done.load(SeqCst));
        before.complete();
        host::run_until_idle();
        assert!(done.load(SeqCst), "the second item was queued after the flush began");
        after.complete();
        host::run_until_idle();
        assert_eq!(queue.counts(), (2, 0));
    });
}

#[test]
fn a_flush_that_was_given_up_does_not_confuse_the_next() {
    on_core(|| {
        let queue = WorkQueue::new(pools(1), "test", Class::Normal);
        let gate = Arc::new(Completion::new());
        let (work, ..) = gated(&queue, &gate);
        work.queue().unwrap();
        {
            let mut flush = core::pin::pin!(queue.flush());
            let mut context = core::task::Context::from_waker(core::task::Waker::noop());
            assert!(flush.as_mut().poll(&mut context).is_pending());
        }
        let own = queue.clone();
        let done = spawn(async move { own.flush().await });
        assert!(!done.load(SeqCst), "the run was accepted before this flush too");
        gate.complete();
        host::run_until_idle();
        assert!(done.load(SeqCst));
    });
}

#[test]
fn drain_waits_for_chains_and_destroy_ends_them() {
    on_core(|| {
        let queue = WorkQueue::new(pools(2), "test", Class::Normal);
        let slot: Arc<Mutex<Option<Work>>> = Arc::default();
        let runs = Arc::new(AtomicUsize::new(0));
        let (own, counted) = (slot.clone(), runs.clone());
        let work = queue.work(move || {
            let (own, counted) = (own.clone(), counted.clone());
            async move {
                yield_now().await;
                if counted.fetch_add(1, SeqCst) < 9 {
                    let _ = own.lock().unwrap().as_ref().map(Work::queue);
                }
            }
        });
        *slot.lock().unwrap() = Some(work.clone());
        work.queue().unwrap();
        let own = queue.clone();
        let done = spawn(async move { own.drain().await });
        assert!(done.load(SeqCst));
        assert_eq!(runs.load(SeqCst), 10);
        for _ in 0..2 {
            let own = queue.clone();
            assert!(spawn(async move { own.destroy().await }).load(SeqCst));
        }
        assert_eq!(work.queue(), Err(Refused::Destroyed));
        slot.lock().unwrap().take();
    });
}

#[test]
fn an_ordered_queue_keeps_order_over_sleeps() {
    on_core(|| {
        let queue = WorkQueue::new_ordered(pools(2), "test");
        let order = Arc::new(Mutex::new(Vec::new()));
        let items: Vec<_> = (0..100)
            .map(|number| {
                let order = order.clone();
                queue.work(move || {
                    let order = order.clone();
                    async move {
                        order.lock().unwrap().push((number, "begin"));
                        for _ in 0..number % 3 {
                            yield_now().await;
                        }
                        order.lock().unwrap().push((number, "end"));
                    }
                })
            })
            .collect();
        items.iter().for_each(|item| assert_eq!(item.queue(), Ok(true)));
        host::run_until_idle();
        let expected: Vec<_> = (0..100).flat_map(|number| [(number, "begin"), (number, "end")]).collect();
        assert_eq!(*order.lock().unwrap(), expected);
    });
}

#[test]
fn a_delayed_item_waits_for_its_time_which_can_be_moved() {
    on_the_core(23, || {
        let queue = WorkQueue::new(pools(1), "test", Class::Normal);
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let work = queue.delayed_work(move || {
            counted.fetch_add(1, SeqCst);
            core::future::ready(())
        });
        let advance = |now| {
            machine::set_clock(Some(now));
            crate::time::expire(now);
            host::run_until_idle();
            runs.load(SeqCst)
        };
        assert_eq!(work.queue_delayed(100), Ok(true));
        assert_eq!(work.queue_delayed(50), Ok(false));
        assert_eq!(advance(99), 0);
        assert_eq!(advance(100), 1);
        assert_eq!(work.modify_delayed(100), Ok(false));
        assert_eq!(work.modify_delayed(300), Ok(true), "later");
        assert_eq!(advance(399), 1);
        assert_eq!(work.modify_delayed(0), Ok(true), "earlier");
        assert_eq!(advance(399), 2);
        work.queue_delayed(10).unwrap();
        assert!(work.cancel());
        assert!(!work.cancel());
        assert_eq!(advance(1000), 2);
        work.queue_delayed(10).unwrap();
        let own = work.clone();
        assert!(spawn(async move { own.flush().await }).load(SeqCst), "a flush does not wait for the time");
        assert_eq!(runs.load(SeqCst), 3);
        work.queue_delayed(10).unwrap();
        drop(work);
        assert_eq!(advance(2000), 4, "dropping the handle does not cancel");
        assert_eq!(Arc::strong_count(&runs), 1, "and does not leak");
    });
}

#[test]
fn a_delayed_item_can_be_moved_from_another_core() {
    on_the_core(24, || {
        let queue = WorkQueue::new(pools(1), "test", Class::Normal);
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let work = queue.delayed_work(move || {
            counted.fetch_add(1, SeqCst);
            core::future::ready(())
        });
        work.queue_delayed(100).unwrap();
        let other = work.clone();
        std::thread::spawn(move || {
            machine::become_core(25);
            machine::set_clock(Some(0));
            assert_eq!(other.modify_delayed(50), Ok(true));
        })
        .join()
        .unwrap();
        // The word of it comes by message.
        while let Some(message) = crate::message::receive() {
            match message {
                crate::message::Message::TimerCancelled(timer) => crate::time::cancelled(&timer),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(machine::armed_timer(), Some(50));
        machine::set_clock(Some(50));
        crate::time::expire(50);
        host::run_until_idle();
        assert_eq!(runs.load(SeqCst), 1);
        drop((work, queue));
        assert_eq!(Arc::strong_count(&runs), 1);
    });
}

#[test]
fn an_item_that_lost_its_waker_leaves_the_queue() {
    on_core(|| {
        let queue = WorkQueue::new(pools(1), "test", Class::Normal);
        queue.work(core::future::pending::<()>).queue().unwrap();
        host::run_until_idle();
        assert_eq!(queue.counts(), (1, 0));
    });
}

#[test]
fn cores_hammer_one_item() {
    const CORES: usize = 4;
    let queue = WorkQueue::new(pools(CORES), "test", Class::Unbound);
    let busy = Arc::new(AtomicBool::new(false));
    let runs = Arc::new(AtomicUsize::new(0));
    let (own, counted) = (busy.clone(), runs.clone());
    let work = queue.work(move || {
        let (busy, counted) = (own.clone(), counted.clone());
        async move {
            assert!(!busy.swap(true, SeqCst), "on two cores at once");
            yield_now().await;
            counted.fetch_add(1, SeqCst);
            assert!(busy.swap(false, SeqCst));
        }
    });
    let threads: Vec<_> = (0..CORES)
        .map(|core| {
            let work = work.clone();
            std::thread::spawn(move || {
                machine::become_core(core);
                let accepted = (0..5000).filter(|_| {
                    let accepted = work.queue() == Ok(true);
                    host::run_until_idle();
                    accepted
                });
                accepted.count()
            })
        })
        .collect();
    let accepted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    host::run_until_idle();
    assert_eq!((accepted, queue.counts().1), (runs.load(SeqCst), 0));
}
