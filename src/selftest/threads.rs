//! Tests of kernel threads on the real executors: row WQ16 of what has to be shown.
#![forbid(unsafe_code)]

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use libkernel::machine;
use libkernel::memory::frames;
use libkernel::process::{Process, table};
use libkernel::rcu;
use libkernel::sync::{Completion, WaitQueue};
use libkernel::task::kernel_thread::{Control, Exit, KernelThread};
use libkernel::task::yield_now;
use libkernel::time::sleep_until;

use super::tools::{CACHED_FRAMES, Tally, burn, spawn_on};
use super::{Cx, Outcome, SelfTest};
use crate::task::kernel_thread::{Placement, prepare, spawn};

pub const TESTS: &[SelfTest] = &[
    self_test!("threads", a_thread_stopped_before_its_first_run_never_runs),
    self_test!("threads", stopping_twice_and_joining_late_give_the_value),
    self_test!("threads", an_early_unpark_is_remembered),
    self_test!("threads", a_parked_thread_sleeps_through_wakes),
    self_test!("threads", hundred_threads_under_stress).within(60),
    self_test!("threads", a_thread_is_a_process_and_its_time_is_counted),
    self_test!("threads", threads_stay_where_they_are_bound),
    self_test!("threads", ten_thousand_threads_leave_nothing).within(60),
];

const MILLISECOND: u64 = 1_000_000;

fn error(error: libkernel::Errno) -> alloc::string::String {
    format!("{error}")
}

/// The process that stands for the kernel thread of this name.
fn process_named(name: &str) -> Option<Arc<Process>> {
    table::processes().find(|process| process.is_kernel() && process.name().as_bytes() == name.as_bytes())
}

/// Waits until `kthreadd` has taken the thread's entry out.
async fn reaped(name: &str) {
    while process_named(name).is_some() {
        yield_now().await;
    }
}

/// Counts rounds until it is stopped; each round takes one completion.
fn counter(name: &str, placement: Placement, gate: &Arc<Completion>) -> libkernel::Result<KernelThread<usize>> {
    let gate = gate.clone();
    spawn(name, placement, |control: Control| async move {
        let mut rounds = 0;
        while !control.should_stop() {
            control.park_if_asked().await;
            rounds += usize::from(control.wait(gate.wait()).await.is_ok());
        }
        rounds
    })
}

async fn a_thread_stopped_before_its_first_run_never_runs(_: &Cx) -> Outcome {
    let runs = Tally::new();
    for core in 0..crate::online_cores() {
        let counted = runs.clone();
        let thread = prepare("unborn", Placement::on(core), |_| async move { counted.add() }).map_err(error)?;
        check!(process_named("unborn").is_some());
        check_eq!(thread.stop().await, Exit::NeverRan);
        check_eq!(thread.stop().await, Exit::NeverRan);
        check_eq!(thread.join().await, Exit::NeverRan);
        reaped("unborn").await;
    }
    check_eq!(runs.get(), 0);
    Ok(())
}

async fn stopping_twice_and_joining_late_give_the_value(_: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let thread = Arc::new(counter("counter", Placement::ANYWHERE, &gate).map_err(error)?);
    (0..7).for_each(|_| gate.complete());
    while gate.is_done() {
        yield_now().await;
    }
    let joined = Tally::new();
    for core in 0..crate::online_cores() {
        let (thread, joined) = (thread.clone(), joined.clone());
        spawn_on(core, async move {
            if thread.join().await == Exit::Value(7) {
                joined.add();
            }
        });
    }
    yield_now().await;
    check_eq!(joined.get(), 0);
    for _ in 0..2 {
        check_eq!(thread.stop().await, Exit::Value(7));
    }
    joined.reach(crate::online_cores()).await;
    check_eq!(thread.join().await, Exit::Value(7));
    check_eq!(thread.park().await, false);
    Ok(())
}

async fn an_early_unpark_is_remembered(_: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    for core in 0..crate::online_cores() {
        let thread = counter("early", Placement::on(core), &gate).map_err(error)?;
        thread.unpark();
        check_eq!(thread.park().await, false);
        check!(!thread.is_parked());
        check_eq!(thread.park().await, true);
        check!(thread.is_parked());
        thread.unpark();
        thread.stop().await;
    }
    Ok(())
}

async fn a_parked_thread_sleeps_through_wakes(_: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let thread = counter("parked", Placement::on(crate::online_cores() - 1), &gate).map_err(error)?;
    check_eq!(thread.park().await, true);
    gate.complete();
    for _ in 0..100 {
        thread.task().wake();
        yield_now().await;
    }
    sleep_until(machine::monotonic_ns() + MILLISECOND).await;
    check!(gate.is_done(), "it went on while it was parked");
    thread.unpark();
    while gate.is_done() {
        yield_now().await;
    }
    check_eq!(thread.park().await, true);
    check_eq!(thread.stop().await, Exit::Value(1));
    Ok(())
}

/// 100 threads, and on every core tasks that park, unpark and wake them, until all are stopped.
async fn hundred_threads_under_stress(cx: &Cx) -> Outcome {
    const THREADS: usize = 100;
    const ROUNDS: usize = 200;
    let cores = crate::online_cores();
    let gate = Arc::new(Completion::new());
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let placement = if number % 3 == 0 { Placement::ANYWHERE } else { Placement::on(number % cores) };
            counter("stressed", placement, &gate)
        })
        .collect::<Result<_, _>>()
        .map_err(error)?;
    let (threads, done) = (Arc::new(threads), Tally::new());
    let parked = Arc::new(AtomicUsize::new(0));
    for core in 0..cores {
        let (threads, done, gate, parked) = (threads.clone(), done.clone(), gate.clone(), parked.clone());
        spawn_on(core, async move {
            for round in 0..ROUNDS {
                for thread in threads.iter().skip((round + core) % 7).step_by(7) {
                    // Now and then an unpark that comes too early.
                    if round % 8 == 0 {
                        thread.unpark();
                    }
                    if thread.park().await {
                        parked.fetch_add(1, Ordering::Relaxed);
                        thread.unpark();
                    }
                    gate.complete();
                }
            }
            done.add();
        });
    }
    // A park that waits for a thread that another core unparked again has ended with that: nobody hangs.
    done.reach(cores).await;
    cx.report(format_args!("parked {} times", parked.load(Ordering::Relaxed)));
    let mut rounds = 0;
    for thread in threads.iter() {
        thread.unpark();
        match thread.stop().await {
            Exit::Value(count) => rounds += count,
            Exit::NeverRan => {}
        }
    }
    while gate.try_wait() {
        rounds += 1;
    }
    let given = |round| (0..cores).map(|core| taken(THREADS, round + core)).sum::<usize>();
    check_eq!(rounds, (0..ROUNDS).map(given).sum::<usize>());
    reaped("stressed").await;
    Ok(())
}

/// How many of `count` things a stride of seven meets that starts at `start % 7`.
fn taken(count: usize, start: usize) -> usize {
    (count - start % 7).div_ceil(7)
}

async fn a_thread_is_a_process_and_its_time_is_counted(_: &Cx) -> Outcome {
    let thread = spawn("busy", Placement::ANYWHERE.nice(5), |control: Control| async move {
        burn(20 * MILLISECOND);
        let never = WaitQueue::new();
        let _ = control.wait(never.wait_until(|| None::<()>)).await;
    })
    .map_err(error)?;
    sleep_until(machine::monotonic_ns() + 30 * MILLISECOND).await;
    let process = process_named("busy").ok_or("it is not in the table")?;
    let parent = process_named("kthreadd").ok_or("there is no kthreadd")?;
    check_eq!(process.parent_pid(), Some(parent.pid()));
    check_eq!(parent.parent_pid(), None);
    let used = process.usage();
    check_eq!(used.user_ns, 0);
    check!((20 * MILLISECOND..40 * MILLISECOND).contains(&used.system_ns), "{} ns", used.system_ns);
    check_eq!(thread.task().parameters().nice(), 5);
    drop(process);
    thread.stop().await;
    reaped("busy").await;
    Ok(())
}

async fn threads_stay_where_they_are_bound(_: &Cx) -> Outcome {
    let cores = crate::online_cores();
    let wrong = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    for number in 0..4 * cores {
        let (core, wrong) = (number % cores, wrong.clone());
        let thread = spawn("bound", Placement::on(core), move |control: Control| async move {
            while !control.should_stop() {
                wrong.fetch_add(usize::from(machine::core_id() != core), Ordering::Relaxed);
                burn(10_000);
                yield_now().await;
            }
        });
        threads.push(thread.map_err(error)?);
    }
    sleep_until(machine::monotonic_ns() + 20 * MILLISECOND).await;
    for thread in &threads {
        check_eq!(thread.stop().await, Exit::Value(()));
    }
    check_eq!(wrong.load(Ordering::Relaxed), 0);
    Ok(())
}

async fn ten_thousand_threads_leave_nothing(_: &Cx) -> Outcome {
    async fn wave(count: usize) -> Outcome {
        let threads: Vec<_> = (0..count)
            .map(|number| spawn("short", Placement::ANYWHERE, move |_| async move { number }))
            .collect::<Result<_, _>>()
            .map_err(error)?;
        for (number, thread) in threads.iter().enumerate() {
            check_eq!(thread.join().await, Exit::Value(number));
        }
        drop(threads);
        reaped("short").await;
        // What the process table let go of is freed by now.
        rcu::barrier().await.map_err(error)
    }
    wave(1000).await?;
    let before = frames::free_count();
    for _ in 0..10 {
        wave(1000).await?;
    }
    let lost = before.saturating_sub(frames::free_count());
    check!(lost <= CACHED_FRAMES, "{lost} frames did not come back");
    Ok(())
}
