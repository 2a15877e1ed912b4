//! Tests of items that are queued for later.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libkernel::machine;
use libkernel::time::sleep_until;

use super::{MILLISECOND, system};
use crate::selftest::tools::{Tally, run_on};
use crate::selftest::{Cx, Outcome, SelfTest};

pub const TESTS: &[SelfTest] =
    &[self_test!("work", delayed_items_keep_their_time), self_test!("work", delayed_items_move_between_cores)];

/// WQ14.
async fn delayed_items_keep_their_time(_: &Cx) -> Outcome {
    let ran_at = Arc::new(AtomicU64::new(0));
    let (own, runs) = (ran_at.clone(), Tally::new());
    let counted = runs.clone();
    let work = system()?.normal.delayed_work(move || {
        own.store(machine::monotonic_ns(), Ordering::SeqCst);
        counted.add();
        core::future::ready(())
    });
    let late = |began: u64, delay: u64| ran_at.load(Ordering::SeqCst).wrapping_sub(began + delay);
    let began = machine::monotonic_ns();
    check_eq!(work.queue_delayed(5 * MILLISECOND), Ok(true));
    check_eq!(work.queue_delayed(1), Ok(false));
    runs.reach(1).await;
    check!(late(began, 5 * MILLISECOND) < 5 * MILLISECOND, "{} ns late", late(began, 5 * MILLISECOND));
    // Later, earlier.
    let began = machine::monotonic_ns();
    check_eq!(work.queue_delayed(5 * MILLISECOND), Ok(true));
    check_eq!(work.modify_delayed(30 * MILLISECOND), Ok(true));
    check_eq!(work.modify_delayed(10 * MILLISECOND), Ok(true));
    runs.reach(2).await;
    check!(late(began, 10 * MILLISECOND) < 5 * MILLISECOND, "{} ns late", late(began, 10 * MILLISECOND));
    // Cancelled, flushed.
    check_eq!(work.queue_delayed(MILLISECOND), Ok(true));
    check!(work.cancel());
    check!(!work.cancel());
    sleep_until(machine::monotonic_ns() + 3 * MILLISECOND).await;
    check_eq!(runs.get(), 2);
    check_eq!(work.queue_delayed(3_600_000 * MILLISECOND), Ok(true));
    work.flush().await;
    check_eq!(runs.get(), 3);
    check_eq!(work.deadline(), None);
    check_eq!(work.queue_delayed(MILLISECOND), Ok(true));
    check!(work.cancel_and_wait().await);
    sleep_until(machine::monotonic_ns() + 3 * MILLISECOND).await;
    check_eq!(runs.get(), 3);
    Ok(())
}

/// WQ14, with the timer elsewhere.
async fn delayed_items_move_between_cores(_: &Cx) -> Outcome {
    let runs = Tally::new();
    let counted = runs.clone();
    let work = Arc::new(system()?.unbound.delayed_work(move || {
        counted.add();
        core::future::ready(())
    }));
    let cores = crate::online_cores();
    for round in 0..100 {
        let (from, to) = (round % cores, (round + 1) % cores);
        let own = work.clone();
        check_eq!(run_on(from, async move { own.queue_delayed(3_600_000 * MILLISECOND) }).await, Ok(true));
        // Several moves at once, from everywhere; the last one is the earliest.
        for core in 0..cores {
            let own = work.clone();
            let delay = (1000 - core as u64) * MILLISECOND;
            check_eq!(run_on(core, async move { own.modify_delayed(delay) }).await, Ok(true));
        }
        let own = work.clone();
        check_eq!(run_on(to, async move { own.modify_delayed(50_000) }).await, Ok(true));
        runs.reach(round + 1).await;
        work.work().flush().await;
        check_eq!(runs.get(), round + 1);
        let own = work.clone();
        check_eq!(run_on(to, async move { own.queue_delayed(3_600_000 * MILLISECOND) }).await, Ok(true));
        let own = work.clone();
        check!(run_on(from, async move { own.cancel_and_wait().await }).await);
    }
    Ok(())
}
