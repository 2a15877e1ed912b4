//! Tests of single items: each request one run, on one core, at home, and soon.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use libkernel::machine;
use libkernel::sync::{Completion, SpinLock};
use libkernel::task::yield_now;
use libkernel::time::{Appointment, sleep_until};
use libkernel::work::Refused;

use super::{MILLISECOND, Probe, gated, system};
use crate::selftest::tools::{Tally, burn, deterministic, median, run_on, spawn_on};
use crate::selftest::{Cx, Outcome, SelfTest};

pub const TESTS: &[SelfTest] = &[
    self_test!("work", hammered_item_runs_once_for_each_acceptance).within(60),
    self_test!("work", queueing_is_refused_repeated_and_accepted_again),
    self_test!("work", a_sleeping_item_lets_the_next_one_start),
    self_test!("work", cancelled_items_do_not_run),
    self_test!("work", items_stay_on_their_core_and_unbound_ones_spread),
    self_test!("work", an_item_starts_soon),
];

/// WQ1.
async fn hammered_item_runs_once_for_each_acceptance(cx: &Cx) -> Outcome {
    const REQUESTS: usize = 1_000_000;
    let cores = crate::online_cores();
    for queue in [&system()?.normal, &system()?.unbound] {
        let (busy, twice, runs) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new((busy, twice, runs));
        let own = shared.clone();
        let work = queue.work(move || {
            let shared = own.clone();
            async move {
                let (busy, twice, runs) = &*shared;
                if busy.swap(true, Ordering::SeqCst) {
                    twice.fetch_add(1, Ordering::SeqCst);
                }
                if runs.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
                    yield_now().await;
                }
                busy.store(false, Ordering::SeqCst);
            }
        });
        let (accepted, done) = (Arc::new(AtomicUsize::new(0)), Tally::new());
        for core in 0..cores {
            let (work, accepted, done) = (work.clone(), accepted.clone(), done.clone());
            spawn_on(core, async move {
                for request in 0..REQUESTS / 2 / cores {
                    accepted.fetch_add(usize::from(work.queue() == Ok(true)), Ordering::Relaxed);
                    if request % 8 == 0 {
                        yield_now().await;
                    }
                }
                done.add();
            });
        }
        done.reach(cores).await;
        work.flush().await;
        let (_, twice, runs) = &*shared;
        let (runs, accepted) = (runs.load(Ordering::SeqCst), accepted.load(Ordering::SeqCst));
        cx.report(format_args!("{}: {accepted} of {} requests accepted", queue.name(), REQUESTS / 2));
        check_eq!(twice.load(Ordering::SeqCst), 0);
        check_eq!(runs, accepted);
    }
    Ok(())
}

/// WQ2.
async fn queueing_is_refused_repeated_and_accepted_again(_: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let (work, began, ended) = gated(&system()?.normal, &gate);
    check_eq!(work.queue(), Ok(true));
    check_eq!(work.queue(), Ok(false));
    began.reach(1).await;
    check_eq!(work.queue(), Ok(true));
    check_eq!(work.queue(), Ok(false));
    check_eq!(began.get(), 1);
    gate.complete_all();
    ended.reach(2).await;
    work.flush().await;
    check_eq!(began.get(), 2);
    check_eq!(work.queue(), Ok(true));
    work.flush().await;
    check_eq!(ended.get(), 3);
    Ok(())
}

/// WQ13: the example of Linux's workqueue documentation.
async fn a_sleeping_item_lets_the_next_one_start(cx: &Cx) -> Outcome {
    // In which order the parts are burnt, and when the last was.
    let log = Arc::new((SpinLock::new(Vec::with_capacity(8)), AtomicU64::new(0)));
    let items: Vec<_> = (0..3)
        .map(|number| {
            let log = log.clone();
            system().map(|system| {
                system.normal.work(move || {
                    let log = log.clone();
                    async move {
                        burn(5 * MILLISECOND);
                        log.0.lock().push(number);
                        sleep_until(machine::monotonic_ns() + 10 * MILLISECOND).await;
                        if number == 0 {
                            burn(5 * MILLISECOND);
                        }
                        log.0.lock().push(number);
                        log.1.store(machine::monotonic_ns(), Ordering::Release);
                    }
                })
            })
        })
        .collect::<Result<_, _>>()?;
    let core = crate::online_cores() - 1;
    let own = items.clone();
    let (began, accepted) =
        run_on(core, async move { (machine::monotonic_ns(), own.iter().all(|item| item.queue() == Ok(true))) }).await;
    check!(accepted);
    for item in &items {
        item.flush().await;
    }
    let took = log.1.load(Ordering::Acquire) - began;
    cx.report(format_args!("{}.{} ms", took / MILLISECOND, took % MILLISECOND / 100_000));
    check!(*log.0.lock() == [0, 1, 2, 0, 1, 2]);
    check!((25 * MILLISECOND..30 * MILLISECOND).contains(&took), "{took} ns");
    Ok(())
}

/// WQ14.
async fn cancelled_items_do_not_run(_: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let (work, began, ended) = gated(&system()?.normal, &gate);
    check_eq!(work.queue(), Ok(true));
    check!(work.cancel());
    work.flush().await;
    yield_now().await;
    check_eq!(began.get(), 0);
    check_eq!(work.queue(), Ok(true));
    began.reach(1).await;
    check_eq!(work.queue(), Ok(true));
    let (own, cancelled) = (work.clone(), Tally::new());
    let tell = cancelled.clone();
    spawn_on(crate::online_cores() - 1, async move {
        if own.cancel_and_wait().await {
            tell.add();
        }
    });
    while work.queue() != Err(Refused::Cancelling) {
        yield_now().await;
    }
    check_eq!(cancelled.get(), 0);
    gate.complete_all();
    cancelled.reach(1).await;
    check_eq!((began.get(), ended.get()), (1, 1));
    // Cancelled as it starts, again and again: afterwards it is at rest.
    let busy = Arc::new(AtomicBool::new(false));
    let own = busy.clone();
    let work = system()?.unbound.work(move || {
        let busy = own.clone();
        async move {
            busy.store(true, Ordering::SeqCst);
            yield_now().await;
            busy.store(false, Ordering::SeqCst);
        }
    });
    for round in 0..2000 {
        check_eq!(work.queue(), Ok(true));
        burn(round % 50 * 200);
        work.cancel_and_wait().await;
        check!(!busy.load(Ordering::SeqCst), "round {round}: still running");
    }
    Ok(())
}

/// Items run where they were queued; unbound ones use all cores.
async fn items_stay_on_their_core_and_unbound_ones_spread(_: &Cx) -> Outcome {
    let cores = crate::online_cores();
    let place = Arc::new(AtomicUsize::new(usize::MAX));
    let own = place.clone();
    let work = system()?.normal.work(move || {
        let place = own.clone();
        async move {
            place.store(machine::core_id(), Ordering::SeqCst);
            yield_now().await;
            if machine::core_id() != place.load(Ordering::SeqCst) {
                place.store(usize::MAX, Ordering::SeqCst);
            }
        }
    });
    for core in 0..cores {
        check_eq!(work.queue_on(core), Ok(true));
        work.flush().await;
        check_eq!(place.load(Ordering::SeqCst), core);
    }
    check_eq!(work.queue_on(cores), Err(Refused::NoSuchCore));
    let seen = Arc::new(AtomicU64::new(0));
    let items: Vec<_> = (0..cores)
        .map(|_| {
            let seen = seen.clone();
            let began = machine::monotonic_ns();
            system().map(|system| {
                system.unbound.work(move || {
                    let seen = seen.clone();
                    async move {
                        // As long as not all cores have been seen, but not for ever.
                        seen.fetch_or(1 << machine::core_id(), Ordering::SeqCst);
                        while seen.load(Ordering::SeqCst).count_ones() < cores as u32
                            && machine::monotonic_ns() < began + 1000 * MILLISECOND
                        {
                            yield_now().await;
                            seen.fetch_or(1 << machine::core_id(), Ordering::SeqCst);
                        }
                    }
                })
            })
        })
        .collect::<Result<_, _>>()?;
    for item in &items {
        check_eq!(item.queue(), Ok(true));
    }
    for item in &items {
        item.flush().await;
    }
    check_eq!(seen.load(Ordering::SeqCst).count_ones() as usize, cores);
    Ok(())
}

/// The figures: instructions from the request to the item's first.
async fn an_item_starts_soon(cx: &Cx) -> Outcome {
    const ROUNDS: usize = 101;
    /// Instructions, for an item of the same idle core and of another one. A build with run-time checks may take twice as many.
    const BOUNDS: [u64; 2] = if cfg!(debug_assertions) { [3000, 7000] } else { [1500, 3500] };
    let (began, runs) = (Arc::new(AtomicU64::new(0)), Tally::new());
    let (own, counted) = (began.clone(), runs.clone());
    let work = system()?.normal.work(move || {
        own.store(machine::monotonic_ns(), Ordering::SeqCst);
        counted.add();
        core::future::ready(())
    });
    let mut rounds = 0;
    let mut times = Vec::new();
    let asked = Arc::new(AtomicU64::new(0));
    let probe = {
        let (work, asked) = (work.clone(), asked.clone());
        Appointment::new(Probe(move || {
            asked.store(machine::monotonic_ns(), Ordering::SeqCst);
            let _ = work.queue();
        }))
    };
    for _ in 0..ROUNDS {
        probe.set(machine::monotonic_ns() + 200_000);
        rounds += 1;
        runs.reach(rounds).await;
        times.push(began.load(Ordering::SeqCst) - asked.load(Ordering::SeqCst));
    }
    let here = median(&mut times);
    cx.report(format_args!("{here} instructions (ns) to an item of the same idle core"));
    let cores = crate::online_cores();
    times.clear();
    for _ in 0..if cores > 1 { ROUNDS } else { 0 } {
        sleep_until(machine::monotonic_ns() + 200_000).await;
        let asked = machine::monotonic_ns();
        check_eq!(work.queue_on((machine::core_id() + 1) % cores), Ok(true));
        rounds += 1;
        runs.reach(rounds).await;
        times.push(began.load(Ordering::SeqCst) - asked);
    }
    let there = median(&mut times);
    cx.report(format_args!("{there} to one of another idle core"));
    check!(!deterministic() || (here <= BOUNDS[0] && there <= BOUNDS[1]), "{here} and {there} instructions");
    Ok(())
}
