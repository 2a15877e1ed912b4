//! The scheduler's shell: each core's run queue, which that core alone touches, and where a task that became ready goes.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use libkernel::message::{self, Message};
use libkernel::task::{Decision, Runnable, Scheduler, Task};
use libkernel::{machine, per_cpu, time};

use crate::arch::core_local;

struct Queue {
    waiting: VecDeque<Runnable>,
    current: Option<Runnable>,
}

per_cpu! {
    static QUEUE: Queue = Queue { waiting: VecDeque::new(), current: None };
}

const SLICE: u64 = 2_800_000;

struct Cores;

libkernel::install_scheduler!(Cores);

impl Scheduler for Cores {
    fn enqueue(runnable: Runnable) {
        let target = place(&runnable);
        if target == machine::core_id() {
            enqueue_here(runnable);
        } else {
            message::send(target, Message::Placed(runnable));
        }
    }
}

/// Where a task goes: round robin at birth, afterwards where it ran last.
fn place(runnable: &Runnable) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let task = runnable.task();
    let online = crate::online_cores();
    let allowed = task.parameters().affinity();
    let last = task.accounting().last_core();
    if task.accounting().runs.get() > 0 && allowed.contains(last) {
        return last;
    }
    let first = NEXT.fetch_add(1, Ordering::Relaxed);
    (first..first + online).map(|core| core % online).find(|core| allowed.contains(*core)).unwrap_or(last)
}

fn enqueue_here(runnable: Runnable) {
    QUEUE.with(|queue| {
        queue.waiting.push_back(runnable);
        if queue.current.is_some() {
            time::set_slice_end(Some(machine::monotonic_ns() + SLICE));
        }
    });
}

/// Takes in what other cores sent. Any context of this core.
pub fn receive_messages() {
    while let Some(message) = message::receive() {
        match message {
            Message::Placed(runnable) | Message::Moved(runnable) => enqueue_here(runnable),
            Message::TimerCancelled(timer) => time::cancelled(&timer),
            Message::Call(call) => call.run(),
            Message::Steal(_) | Message::StealAnswer(_) => {}
        }
    }
}

/// The task to poll next, if there is one; it is the core's current one until [`finish_turn`].
pub fn next() -> Option<Arc<Task>> {
    core_local::this().take_need_resched();
    QUEUE.with(|queue| {
        let runnable = queue.waiting.pop_front()?;
        let task = runnable.task().clone();
        task.accounting().set_last_core(machine::core_id());
        task.accounting().runs.add(1);
        queue.current = Some(runnable);
        time::set_slice_end((!queue.waiting.is_empty()).then(|| machine::monotonic_ns() + SLICE));
        Some(task)
    })
}

/// Does what the poll of the current task decided.
pub fn finish_turn(decision: Decision) {
    let Some(runnable) = QUEUE.with(|queue| queue.current.take()) else { return };
    match decision {
        Decision::Requeue => enqueue_here(runnable),
        Decision::Sleep => runnable.park().into_iter().for_each(enqueue_here),
        Decision::Finished => drop(runnable),
    }
}

/// Whether a task waits for this core.
pub fn has_work() -> bool {
    QUEUE.with(|queue| !queue.waiting.is_empty())
}
