//! Tests of tasks and timers on the real executors: lives, wakes, sleeps.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::Poll;

use libkernel::machine;
use libkernel::memory::frames;
use libkernel::task::{Activity, AffinityMask, Task, yield_now};
use libkernel::time::sleep_until;

use super::tools::{CACHED_FRAMES, Tally, gone};
use super::{Cx, Outcome, SelfTest};

pub const TESTS: &[SelfTest] = &[
    self_test!("tasks", hundred_thousand_tasks_leave_nothing).within(60),
    self_test!("tasks", a_wake_during_a_poll_polls_once_more),
    self_test!("tasks", waking_a_finished_task_does_nothing),
    self_test!("tasks", ten_thousand_sleepers_wake_at_one_instant).within(30),
    self_test!("tasks", cancelled_sleepers_leave_nothing),
    self_test!("tasks", waves_without_end).by_name(),
];

async fn wave(count: usize) {
    let tally = Tally::new();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let tally = tally.clone();
            Task::new("short", async move {
                yield_now().await;
                tally.add();
            })
        })
        .collect();
    tasks.iter().for_each(|task| task.wake());
    tally.reach(count).await;
    for task in &tasks {
        gone(task).await;
    }
}

async fn hundred_thousand_tasks_leave_nothing(cx: &Cx) -> Outcome {
    const WAVE: usize = 1000;
    wave(WAVE).await;
    let before = frames::free_count();
    for _ in 0..100 {
        wave(WAVE).await;
    }
    let lost = before.saturating_sub(frames::free_count());
    cx.report(format_args!("{lost} frames fewer free after 100,000 tasks"));
    check!(lost <= CACHED_FRAMES, "{lost} frames did not come back");
    Ok(())
}

/// Lives and ends of tasks for as long as asked.
async fn waves_without_end(cx: &Cx) -> Outcome {
    let end = machine::monotonic_ns() + cx.duration.unwrap_or(1_000_000_000);
    let mut waves = 0;
    wave(1000).await;
    let before = frames::free_count();
    while machine::monotonic_ns() < end {
        wave(1000).await;
        waves += 1;
    }
    let lost = before.saturating_sub(frames::free_count());
    check!(lost <= CACHED_FRAMES, "{lost} frames did not come back");
    cx.report(format_args!("{waves},000 tasks"));
    Ok(())
}

async fn a_wake_during_a_poll_polls_once_more(_: &Cx) -> Outcome {
    for core in 0..crate::online_cores() {
        let polls = Tally::new();
        let task = {
            let polls = polls.clone();
            Task::new(
                "woken",
                poll_fn(move |context| {
                    polls.add();
                    match polls.get() {
                        // Twice in one poll: one more poll, not two.
                        1 => {
                            context.waker().wake_by_ref();
                            context.waker().wake_by_ref();
                            Poll::Pending
                        }
                        2 => Poll::Pending,
                        _ => Poll::Ready(()),
                    }
                }),
            )
        };
        task.parameters().set_affinity(AffinityMask::only(core));
        task.wake();
        polls.reach(2).await;
        sleep_until(machine::monotonic_ns() + 1_000_000).await;
        check_eq!(polls.get(), 2);
        check_eq!(task.activity(), Activity::Asleep);
        task.wake();
        polls.reach(3).await;
        gone(&task).await;
        check_eq!(task.activity(), Activity::Finished);
    }
    Ok(())
}

async fn waking_a_finished_task_does_nothing(_: &Cx) -> Outcome {
    let tally = Tally::new();
    let task = {
        let tally = tally.clone();
        Task::new("done", async move { tally.add() })
    };
    task.wake();
    tally.reach(1).await;
    gone(&task).await;
    for _ in 0..1000 {
        task.wake();
        check_eq!(Arc::strong_count(&task), 1);
    }
    check_eq!(task.activity(), Activity::Finished);
    check_eq!(tally.get(), 1);
    Ok(())
}

async fn ten_thousand_sleepers_wake_at_one_instant(_: &Cx) -> Outcome {
    const SLEEPERS: usize = 10_000;
    let tally = Tally::new();
    let instant = machine::monotonic_ns() + 500_000_000;
    for _ in 0..SLEEPERS {
        let tally = tally.clone();
        Task::new("sleeper", async move {
            sleep_until(instant).await;
            tally.add();
        })
        .wake();
    }
    tally.reach(SLEEPERS).await;
    check!(machine::monotonic_ns() >= instant, "a sleeper woke early");
    Ok(())
}

async fn cancelled_sleepers_leave_nothing(_: &Cx) -> Outcome {
    async fn cancel_many() {
        for _ in 0..1000 {
            let far = sleep_until(machine::monotonic_ns() + 3_600_000_000_000);
            let near = sleep_until(machine::monotonic_ns() + 1);
            let mut both = (core::pin::pin!(far), core::pin::pin!(near));
            poll_fn(|context| {
                if both.0.as_mut().poll(context).is_ready() { Poll::Ready(()) } else { both.1.as_mut().poll(context) }
            })
            .await;
        }
    }
    cancel_many().await;
    let before = frames::free_count();
    for _ in 0..20 {
        cancel_many().await;
    }
    let lost = before.saturating_sub(frames::free_count());
    check!(lost <= CACHED_FRAMES, "{lost} frames did not come back");
    Ok(())
}
