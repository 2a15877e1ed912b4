//! Tests of where things happen: in interrupts, on idle cores, without memory, and of who may wait.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use libkernel::machine;
use libkernel::memory::{KernelHeap, frames};
use libkernel::message::{self, remote_call};
use libkernel::sync::{Completion, IrqSpinLock};
use libkernel::task::{Activity, with_current};
use libkernel::time::sleep_until;

use super::{MILLISECOND, counting, gated, in_interrupt, interrupt, soon, system};
use crate::selftest::tools::{Tally, pause, run_on, spawn_on};
use crate::selftest::{Cx, Outcome, SelfTest};

pub const TESTS: &[SelfTest] = &[
    self_test!("work", every_waiter_is_told),
    self_test!("work", an_idle_core_has_no_task),
    self_test!("work", a_blocked_task_leaves_its_core),
    self_test!("work", queueing_in_an_interrupt_allocates_nothing),
    self_test!("work", items_progress_without_memory),
];

/// WQ7: no number stands for "nobody", so any task may wait, the first one too.
async fn every_waiter_is_told(_: &Cx) -> Outcome {
    let (completion, told) = (Arc::new(Completion::new()), Tally::new());
    for core in 0..crate::online_cores() {
        for _ in 0..16 {
            let (completion, told) = (completion.clone(), told.clone());
            spawn_on(core, async move {
                completion.wait().await;
                told.add();
            });
        }
    }
    let waiters = 16 * crate::online_cores();
    sleep_until(machine::monotonic_ns() + MILLISECOND).await;
    check_eq!(told.get(), 0);
    for expected in 1..=4 {
        completion.complete();
        told.reach(expected).await;
        sleep_until(machine::monotonic_ns() + MILLISECOND).await;
        check_eq!(told.get(), expected);
    }
    completion.complete_all();
    told.reach(waiters).await;
    completion.wait().await;
    Ok(())
}

/// What an interrupt finds on the core that it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Not in an interrupt.
    NoInterrupt,
    /// The core is idle.
    Nobody,
    /// It interrupted this task.
    Task(Activity),
}

impl Found {
    fn here() -> Self {
        match with_current(|task| task.activity()) {
            _ if !machine::in_interrupt() => Self::NoInterrupt,
            None => Self::Nobody,
            Some(activity) => Self::Task(activity),
        }
    }
}

/// WQ8: being idle is not a task, so it can neither wait nor be queued. Whoever an interrupt finds is being polled; when nothing is to be done
/// it finds nobody.
async fn an_idle_core_has_no_task(_: &Cx) -> Outcome {
    check!(with_current(|_| ()).is_some());
    for core in 0..crate::online_cores() {
        loop {
            let found = if core == machine::core_id() {
                // This task sleeps soon, or is interrupted.
                let (answer, told) = (Arc::new(IrqSpinLock::new(None)), Tally::new());
                let (seen, tell) = (answer.clone(), told.clone());
                in_interrupt(move || {
                    *seen.lock() = Some(Found::here());
                    tell.add();
                });
                told.reach(1).await;
                *answer.lock()
            } else {
                let (message, answer) = remote_call(Found::here);
                message::send(core, message);
                Some(answer.wait().await)
            };
            match found {
                Some(Found::Nobody) => break,
                Some(Found::Task(Activity::Running)) => {}
                _ => return Err(alloc::format!("core {core}: the interrupt found {found:?}")),
            }
            pause(1).await;
        }
    }
    Ok(())
}

/// WQ9.
async fn a_blocked_task_leaves_its_core(_: &Cx) -> Outcome {
    for core in 0..crate::online_cores() {
        let (blocked, freed) = (Tally::new(), Arc::new(Completion::new()));
        let (tell, wait) = (blocked.clone(), freed.clone());
        let task = spawn_on(core, async move {
            tell.add();
            wait.wait().await;
            tell.add();
        });
        blocked.reach(1).await;
        // Another task of the same core gets to run, and only it lets the first one go on.
        run_on(core, async move { freed.complete() }).await;
        blocked.reach(2).await;
        check!(task.accounting().runs.get() <= 3);
    }
    Ok(())
}

/// WQ12.
async fn queueing_in_an_interrupt_allocates_nothing(_: &Cx) -> Outcome {
    let before = KernelHeap::allocations_in_interrupts();
    let mut items = Vec::new();
    for queue in [&system()?.normal, &system()?.high, &system()?.unbound, &system()?.long, &system()?.ordered] {
        let delayed = queue.delayed_work(|| core::future::ready(()));
        items.push((counting(queue), delayed));
    }
    let items = Arc::new(items);
    let (inside, allocated) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(u64::MAX)));
    let (own, seen, counted) = (items.clone(), inside.clone(), allocated.clone());
    let done = Tally::new();
    let tell = done.clone();
    in_interrupt(move || {
        let before = KernelHeap::allocations_of(machine::core_id());
        for ((work, _), delayed) in own.iter() {
            let _ = (work.queue(), work.cancel(), work.queue());
            let _ = (delayed.queue_delayed(MILLISECOND), delayed.modify_delayed(2 * MILLISECOND));
        }
        counted.store(KernelHeap::allocations_of(machine::core_id()) - before, Ordering::SeqCst);
        seen.store(machine::in_interrupt(), Ordering::SeqCst);
        tell.add();
    });
    done.reach(1).await;
    check!(inside.load(Ordering::SeqCst));
    check_eq!(allocated.load(Ordering::SeqCst), 0);
    for ((work, runs), delayed) in items.iter() {
        runs.reach(1).await;
        work.flush().await;
        // Twice, if another core had begun it before it could be cancelled.
        check!((1..=2).contains(&runs.get()));
        delayed.cancel_and_wait().await;
    }
    check_eq!(KernelHeap::allocations_in_interrupts(), before);
    Ok(())
}

/// WQ15.
async fn items_progress_without_memory(cx: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let mut items = Vec::new();
    for queue in [&system()?.normal, &system()?.high, &system()?.unbound, &system()?.ordered] {
        items.push(gated(queue, &gate));
    }
    let items = Arc::new(items);
    let (own, queued) = (items.clone(), Tally::new());
    let tell = queued.clone();
    let queueing = interrupt(move || {
        for (work, ..) in own.iter() {
            let _ = work.queue();
        }
        tell.add();
    });
    // Everything that the heap can give, from large blocks down to the smallest objects.
    let mut hoard: Vec<Vec<u8>> = Vec::with_capacity(1 << 16);
    let mut size = 4 << 20;
    while size >= 8 && hoard.len() < hoard.capacity() {
        let mut block = Vec::new();
        match block.try_reserve_exact(size) {
            Ok(()) => hoard.push(block),
            Err(_) => size /= 2,
        }
    }
    let left = frames::free_count();
    let before = KernelHeap::allocations();
    soon(&queueing);
    queued.reach(1).await;
    for (_, began, _) in items.iter() {
        began.reach(1).await;
        gate.complete();
    }
    for (work, _, ended) in items.iter() {
        work.flush().await;
        ended.reach(1).await;
    }
    let allocations = KernelHeap::allocations() - before;
    drop(hoard);
    cx.report(format_args!("with {left} frames left"));
    check_eq!(allocations, 0);
    Ok(())
}
