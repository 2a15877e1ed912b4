//! Tests of the watchdogs: each trouble is made, reported once, and not seen where there is none.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libkernel::machine;
use libkernel::sync::Completion;
use libkernel::task::{Task, uninterruptible};
use libkernel::time::sleep_until;
use libkernel::watchdog::PATIENCE;

use super::tools::{both, burn, run_on, spawn_on};
use super::{Cx, Outcome, SelfTest};
use crate::drivers::interrupts;
use crate::task::stackful;
use crate::watchdog::{self, REPORTS};

pub const TESTS: &[SelfTest] = &[
    self_test!("watchdog", a_task_that_keeps_its_core_is_reported_once).within(60),
    self_test!("watchdog", a_stackful_loop_is_no_trouble).within(30),
    self_test!("watchdog", a_core_that_takes_no_messages_is_reported).within(30),
    self_test!("watchdog", a_long_sleep_is_reported_once).within(30),
    self_test!("watchdog", an_idle_core_keeps_no_tick).within(60),
];

const SECOND: u64 = 1_000_000_000;

/// The patience of these tests, in place of two seconds: waiting for long is cheap where it is idle, but not under a loop.
const SHORT: u64 = SECOND / 50;

/// Makes all cores as patient as that, and waits for alarms that were set before.
async fn be_patient(nanoseconds: u64) {
    for core in 0..crate::online_cores() {
        run_on(core, async move { watchdog::set_patience(nanoseconds) }).await;
    }
    pause(2 * PATIENCE).await;
}

async fn pause(nanoseconds: u64) {
    sleep_until(machine::monotonic_ns() + nanoseconds).await;
}

/// Waits for a flag.
async fn set(flag: &AtomicBool, limit: u64) -> bool {
    let end = machine::monotonic_ns() + limit;
    while !flag.load(Ordering::Acquire) {
        if machine::monotonic_ns() > end {
            return false;
        }
        pause(SHORT / 4).await;
    }
    true
}

/// How often `counter` counts while a task on that core runs `work` and for a moment afterwards.
async fn counted(core: usize, counter: &AtomicU64, work: impl FnOnce() + Send + 'static) -> Result<u64, &'static str> {
    let before = counter.load(Ordering::Relaxed);
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    spawn_on(core, async move {
        work();
        flag.store(true, Ordering::Release);
    });
    if !set(&done, 20 * SECOND).await {
        return Err("the work does not end");
    }
    pause(SHORT).await;
    Ok(counter.load(Ordering::Relaxed) - before)
}

async fn a_task_that_keeps_its_core_is_reported_once(_: &Cx) -> Outcome {
    be_patient(SHORT).await;
    for core in 0..crate::online_cores() {
        // A look at its beginning, one that reports, and more that do not. How long the first two take is the machine's matter.
        let keep_core = || {
            let (before, end) = (REPORTS.stuck_tasks.load(Ordering::Relaxed), machine::monotonic_ns() + 10 * SECOND);
            while REPORTS.stuck_tasks.load(Ordering::Relaxed) == before && machine::monotonic_ns() < end {}
            burn(4 * SHORT);
        };
        check_eq!(counted(core, &REPORTS.stuck_tasks, keep_core).await?, 1);
    }
    check_eq!(counted(0, &REPORTS.stuck_tasks, || burn(SHORT / 2)).await?, 0);
    be_patient(PATIENCE).await;
    Ok(())
}

async fn a_stackful_loop_is_no_trouble(_: &Cx) -> Outcome {
    be_patient(SHORT).await;
    let before = REPORTS.stuck_tasks.load(Ordering::Relaxed);
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    let future = stackful(async move {
        burn(6 * SHORT);
        flag.store(true, Ordering::Release);
    });
    Task::new("loop", future.map_err(|error| alloc::format!("{error}"))?).wake();
    check!(set(&done, 20 * SECOND).await, "the loop does not end");
    check_eq!(REPORTS.stuck_tasks.load(Ordering::Relaxed), before);
    be_patient(PATIENCE).await;
    Ok(())
}

async fn a_core_that_takes_no_messages_is_reported(cx: &Cx) -> Outcome {
    let cores = crate::online_cores();
    if cores == 1 {
        return Ok(());
    }
    be_patient(SHORT).await;
    let deaf = cores - 1;
    let began = Arc::new(AtomicBool::new(false));
    let flag = began.clone();
    let count = counted(deaf, &REPORTS.silent_cores, move || {
        let state = machine::mask_interrupts();
        flag.store(true, Ordering::Release);
        burn(6 * SHORT);
        machine::restore_interrupts(state);
    });
    let message = async {
        while !began.load(Ordering::Acquire) {
            pause(SHORT / 100).await;
        }
        // Something for the core that does not listen.
        spawn_on(deaf, async {});
    };
    let (count, ()) = both(count, message).await;
    // Each core that was busy meanwhile has its own view.
    let count = count?;
    cx.report(format_args!("{count} reports"));
    check!(count >= 1 && count < cores as u64, "{count} reports");
    check_eq!(counted(deaf, &REPORTS.silent_cores, || burn(SHORT / 2)).await?, 0);
    be_patient(PATIENCE).await;
    Ok(())
}

async fn a_long_sleep_is_reported_once(_: &Cx) -> Outcome {
    uninterruptible::set_patience(SECOND);
    let before = REPORTS.long_sleeps.load(Ordering::Relaxed);
    let done = Arc::new(Completion::new());
    for interruptible in [true, false] {
        let done = done.clone();
        Task::new("sleeps long", async move {
            if interruptible {
                done.wait().await;
            } else {
                uninterruptible::uninterruptible(done.wait()).await;
            }
        })
        .wake();
    }
    pause(5 * SECOND).await;
    done.complete_all();
    uninterruptible::set_patience(uninterruptible::PATIENCE);
    check_eq!(REPORTS.long_sleeps.load(Ordering::Relaxed) - before, 1);
    Ok(())
}

/// Timer interrupts of all cores so far.
fn timer_interrupts() -> u64 {
    let timer = interrupts::statistics().find(|(_, name, _)| *name == "timer");
    timer.map_or(0, |(_, _, counts)| counts.sum())
}

async fn an_idle_core_keeps_no_tick(cx: &Cx) -> Outcome {
    // The last looks after the tests before.
    pause(5 * SECOND).await;
    let before = timer_interrupts();
    pause(20 * SECOND).await;
    let ticks = timer_interrupts() - before;
    cx.report(format_args!("{ticks} timer interrupts in 20 s on {} idle cores", crate::online_cores()));
    check!(ticks <= 3, "{ticks} timer interrupts");
    Ok(())
}
