//! Tests of whole queues: order, flush, drain, destruction.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use libkernel::machine;
use libkernel::memory::frames;
use libkernel::sync::Completion;
use libkernel::task::{Activity, current, yield_now};
use libkernel::time::sleep_until;
use libkernel::work::{Class, Refused};

use super::{MILLISECOND, counting, gated, system};
use crate::selftest::tools::{CACHED_FRAMES, Tally, burn, spawn_on};
use crate::selftest::{Cx, Outcome, SelfTest};
use crate::work;

pub const TESTS: &[SelfTest] = &[
    self_test!("work", ordered_queue_keeps_order).within(30),
    self_test!("work", a_flush_sleeps_and_needs_no_tick),
    self_test!("work", items_queue_others_while_their_queue_is_flushed),
    self_test!("work", destroy_loses_nothing_in_the_race).within(60),
    self_test!("work", waiter_and_worker_play_no_ping_pong),
    self_test!("work", queues_come_and_go),
];

/// WQ3.
async fn ordered_queue_keeps_order(_: &Cx) -> Outcome {
    const ITEMS: usize = 10_000;
    let queue = &system()?.ordered;
    // The next number, and how many came out of order or while another was under way.
    let state = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false)));
    for number in 0..ITEMS {
        let state = state.clone();
        let work = queue.work(move || {
            let state = state.clone();
            async move {
                let (next, wrong, busy) = &*state;
                let in_turn = next.fetch_add(1, Ordering::SeqCst) == number && !busy.swap(true, Ordering::SeqCst);
                wrong.fetch_add(usize::from(!in_turn), Ordering::SeqCst);
                match number % 100 {
                    0 => sleep_until(machine::monotonic_ns() + 10_000).await,
                    1..10 => yield_now().await,
                    _ => {}
                }
                busy.store(false, Ordering::SeqCst);
            }
        });
        check_eq!(work.queue(), Ok(true));
        if number % 1000 == 0 {
            yield_now().await;
        }
    }
    queue.flush().await;
    let (next, wrong, _) = &*state;
    check_eq!(next.load(Ordering::SeqCst), ITEMS);
    check_eq!(wrong.load(Ordering::SeqCst), 0);
    Ok(())
}

/// WQ4.
async fn a_flush_sleeps_and_needs_no_tick(_: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let queue = work::queue("flushed", Class::Normal);
    let (work, began, _) = gated(&queue, &gate);
    check_eq!(work.queue(), Ok(true));
    began.reach(1).await;
    let done = Tally::new();
    let waiters: Vec<_> = (0..2)
        .map(|which| {
            let (work, queue, done) = (work.clone(), queue.clone(), done.clone());
            spawn_on(0, async move {
                if which == 0 {
                    work.flush().await
                } else {
                    queue.flush().await
                }
                done.add();
            })
        })
        .collect();
    sleep_until(machine::monotonic_ns() + 50 * MILLISECOND).await;
    for waiter in &waiters {
        check_eq!(waiter.activity(), Activity::Asleep);
        // Once to go to sleep; a poll more would be a look without reason.
        check_eq!(waiter.accounting().runs.get(), 1);
    }
    // From here on no timer is armed on behalf of this test.
    gate.complete_all();
    done.reach(2).await;
    Ok(())
}

/// WQ5.
async fn items_queue_others_while_their_queue_is_flushed(_: &Cx) -> Outcome {
    let queue = work::queue("chained", Class::Normal);
    let gate = Arc::new(Completion::new());
    let (second, second_began, second_ended) = gated(&queue, &gate);
    let (third, thirds) = counting(&queue);
    let go = Arc::new(Completion::new());
    let first = {
        let (second, third, go) = (second.clone(), third.clone(), go.clone());
        queue.work(move || {
            let (second, third, go) = (second.clone(), third.clone(), go.clone());
            async move {
                go.wait().await;
                // Both are accepted although their queue is being flushed; this one's end waits for the third.
                let _ = (second.queue(), third.queue());
                third.flush().await;
            }
        })
    };
    check_eq!(first.queue(), Ok(true));
    let flushed = Tally::new();
    let (own, done) = (queue.clone(), flushed.clone());
    spawn_on(0, async move {
        own.flush().await;
        done.add();
    });
    sleep_until(machine::monotonic_ns() + MILLISECOND).await;
    go.complete();
    flushed.reach(1).await;
    check_eq!(thirds.get(), 1);
    // The second was accepted after the flush began, and is not waited for.
    second_began.reach(1).await;
    check_eq!(second_ended.get(), 0);
    gate.complete();
    queue.drain().await;
    check_eq!(second_ended.get(), 1);
    Ok(())
}

/// WQ6.
async fn destroy_loses_nothing_in_the_race(cx: &Cx) -> Outcome {
    const RACES: usize = 10_000;
    let cores = crate::online_cores();
    let (accepted, executed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut refused = 0;
    for race in 0..RACES {
        let class = if race % 2 == 0 { Class::Normal } else { Class::Unbound };
        let queue = if race % 3 == 0 { work::ordered_queue("raced") } else { work::queue("raced", class) };
        let before = accepted.load(Ordering::SeqCst);
        let tried = Tally::new();
        // One other core a race, each in turn; this core races by yielding to its own.
        let core = race % cores;
        let (own, accepts, tries, executes) = (queue.clone(), accepted.clone(), tried.clone(), executed.clone());
        spawn_on(core, async move {
            for _ in 0..4 {
                let executes = executes.clone();
                let work = own.work(move || {
                    executes.fetch_add(1, Ordering::SeqCst);
                    core::future::ready(())
                });
                accepts.fetch_add(usize::from(work.queue() == Ok(true)), Ordering::SeqCst);
                yield_now().await;
            }
            tries.add();
        });
        burn((race as u64 * 37) % 4000);
        if race % 5 == 0 {
            yield_now().await;
        }
        queue.destroy().await;
        queue.destroy().await;
        let (work, _) = counting(&queue);
        check_eq!(work.queue(), Err(Refused::Destroyed));
        check_eq!(queue.counts().1, 0);
        tried.reach(1).await;
        refused += 4 - (accepted.load(Ordering::SeqCst) - before);
    }
    cx.report(format_args!("{refused} of {} requests refused", 4 * RACES));
    check!(refused > 0 && accepted.load(Ordering::SeqCst) > 0, "nothing raced");
    check_eq!(accepted.load(Ordering::SeqCst), executed.load(Ordering::SeqCst));
    Ok(())
}

/// WQ10.
async fn waiter_and_worker_play_no_ping_pong(cx: &Cx) -> Outcome {
    const ITEMS: u64 = 1000;
    let (work, runs) = counting(&system()?.normal);
    let (waiter, workers) =
        (current().ok_or("no current task")?, || (0..crate::online_cores()).filter_map(work::worker));
    let switches =
        || waiter.accounting().runs.get() + workers().map(|worker| worker.accounting().runs.get()).sum::<u64>();
    let before = switches();
    for _ in 0..ITEMS {
        check_eq!(work.queue(), Ok(true));
        work.flush().await;
    }
    let count = switches() - before;
    check_eq!(runs.get() as u64, ITEMS);
    cx.report(format_args!("{}.{:02} switches an item", count / ITEMS, count * 100 / ITEMS % 100));
    check!(count <= 4 * ITEMS, "{count} switches for {ITEMS} items");
    Ok(())
}

/// WQ11.
async fn queues_come_and_go(_: &Cx) -> Outcome {
    async fn once(number: usize) -> Outcome {
        let queue = match number % 4 {
            0 => work::ordered_queue("late"),
            1 => work::queue("late", Class::High),
            2 => work::queue("late", Class::Unbound),
            _ => work::queue("late", Class::Normal),
        };
        let (work, runs) = counting(&queue);
        check_eq!(work.queue(), Ok(true));
        work.flush().await;
        check_eq!(runs.get(), 1);
        queue.destroy().await;
        let left = Arc::downgrade(&queue);
        drop((work, queue));
        // The worker may have yet to let go of the item.
        while left.strong_count() > 0 {
            yield_now().await;
        }
        Ok(())
    }
    for number in 0..100 {
        once(number).await?;
    }
    let before = frames::free_count();
    for number in 0..1000 {
        once(number).await?;
    }
    let lost = before.saturating_sub(frames::free_count());
    check!(lost <= CACHED_FRAMES, "{lost} frames did not come back");
    Ok(())
}
