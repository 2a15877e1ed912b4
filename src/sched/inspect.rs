//! Looking at a task in a run queue, of this core or of another, which is asked by message.

use alloc::sync::Arc;

use libkernel::machine;
use libkernel::message::{self, remote_call};
use libkernel::sched::{RunQueue, Schedulable};
use libkernel::task::{Runnable, SchedulingFacts, Task};

use super::{QUEUE, honour};

/// How long to wait for the other core's answer, in nanoseconds: it serves messages unless interrupts are masked there.
const PATIENCE: u64 = 20_000_000;

/// The scheduling state of a task that is queued or runs. Spins while the other core answers.
pub(super) fn inspect(task: &Arc<Task>) -> Option<SchedulingFacts> {
    let interrupts = machine::mask_interrupts();
    let home = task.accounting().last_core();
    let here = home == machine::core_id();
    let local = if here { find(task) } else { None };
    machine::restore_interrupts(interrupts);
    if here || home >= crate::online_cores() {
        return local;
    }
    let wanted = task.clone();
    let (question, mut answer) = remote_call(move || find(&wanted));
    message::send(home, question);
    let until = machine::monotonic_ns() + PATIENCE;
    loop {
        if let Some(found) = answer.try_take() {
            return found;
        }
        if machine::monotonic_ns() >= until {
            return None;
        }
        machine::relax();
    }
}

/// Looks in this core's queue.
fn find(task: &Arc<Task>) -> Option<SchedulingFacts> {
    QUEUE.with(|queue: &mut RunQueue<Runnable>| {
        // Charges the running task, whose clock may have stood since its turn began.
        let decision = queue.update(machine::monotonic_ns());
        honour(queue, decision);
        let found = queue.find(task.position(), |runnable| Arc::ptr_eq(runnable.task(), task))?;
        Some(SchedulingFacts::in_queue(found.entity(), queue.fair()))
    })
}
