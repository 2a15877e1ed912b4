//! Deliberate panics, five calls deep. Each is run by its own name and ends the kernel; `scripts/panic-test.sh` reads the report.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::Waker;

use libkernel::machine;
use libkernel::task::{AffinityMask, Task};
use libkernel::time::{Alarm, sleep_until};

use super::{Cx, Outcome, SelfTest};
use crate::task::stackful;

pub const TESTS: &[SelfTest] = &[
    self_test!("panics", on_the_first_core).by_name(),
    self_test!("panics", on_the_last_core).by_name(),
    self_test!("panics", in_an_interrupt).by_name(),
    self_test!("panics", on_a_stack_of_its_own).by_name(),
    self_test!("panics", of_an_endless_recursion).by_name(),
];

#[inline(never)]
#[expect(clippy::panic, reason = "its purpose")]
fn fifth(argument: u64) -> u64 {
    assert!(argument == 0, "deliberate, with {argument:#x}");
    panic!("deliberate")
}

#[inline(never)]
fn fourth(argument: u64) -> u64 {
    core::hint::black_box(fifth(argument + 1)) + 1
}

#[inline(never)]
fn third(argument: u64) -> u64 {
    core::hint::black_box(fourth(argument + 1)) + 1
}

#[inline(never)]
fn second(argument: u64) -> u64 {
    core::hint::black_box(third(argument + 1)) + 1
}

#[inline(never)]
fn first(argument: u64) -> u64 {
    core::hint::black_box(second(argument + 1)) + 1
}

/// Starts the task and waits for the end.
async fn end_with(core: usize, task: Arc<Task>) -> Outcome {
    task.parameters().set_affinity(AffinityMask::only(core));
    task.wake();
    sleep_until(machine::monotonic_ns() + 5_000_000_000).await;
    Err("no panic".into())
}

async fn on_the_first_core(_: &Cx) -> Outcome {
    end_with(
        0,
        Task::new("panics", async {
            core::hint::black_box(first(1));
        }),
    )
    .await
}

async fn on_the_last_core(_: &Cx) -> Outcome {
    end_with(
        crate::online_cores() - 1,
        Task::new("panics", async {
            core::hint::black_box(first(1));
        }),
    )
    .await
}

struct PanicInInterrupt;

impl Wake for PanicInInterrupt {
    fn wake(self: Arc<Self>) {
        if machine::in_interrupt() {
            first(1);
        }
    }
}

async fn in_an_interrupt(_: &Cx) -> Outcome {
    let mut alarm = Alarm::new();
    alarm.set(machine::monotonic_ns() + 1_000_000, &Waker::from(Arc::new(PanicInInterrupt)));
    sleep_until(machine::monotonic_ns() + 5_000_000_000).await;
    Err("no panic".into())
}

async fn on_a_stack_of_its_own(_: &Cx) -> Outcome {
    let future = stackful(async {
        core::hint::black_box(first(1));
    })
    .map_err(|error| alloc::format!("{error}"))?;
    end_with(crate::online_cores() - 1, Task::new("panics", future)).await
}

#[expect(unconditional_recursion, reason = "its purpose")]
#[inline(never)]
fn endless(depth: u64) -> u64 {
    core::hint::black_box(endless(core::hint::black_box(depth + 1))) + 1
}

async fn of_an_endless_recursion(_: &Cx) -> Outcome {
    let future = stackful(async {
        core::hint::black_box(endless(1));
    })
    .map_err(|error| alloc::format!("{error}"))?;
    end_with(crate::online_cores() - 1, Task::new("overflowing", future)).await
}
