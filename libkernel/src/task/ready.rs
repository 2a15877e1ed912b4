//! Where a wake hands a task that became ready: to the kernel's scheduler, or, on a hosted target, to the thread's test queue.
//!
//! The kernel implements [`Scheduler`] once and installs it with [`install_scheduler!`](crate::install_scheduler); the linker
//! resolves the call, there is no table of pointers.

use super::{Runnable, SchedulingFacts, Task};
use alloc::sync::Arc;

/// What receives the tasks that become ready.
pub trait Scheduler {
    /// Queues a task that was asleep on some core. Called in any context, interrupt handlers too, possibly under an
    /// interrupt-masking lock; may not sleep or allocate.
    fn enqueue(runnable: Runnable);

    /// Asks for the scheduler at this core's next scheduling point. Any context.
    fn preempt();

    /// Looks at the scheduling state of a task that is queued or runs, here or, for a moment, by asking its core. `None`: it is
    /// neither, or its core did not answer in time.
    fn inspect(task: &Arc<Task>) -> Option<SchedulingFacts>;
}

#[cfg(target_os = "none")]
mod linked {
    use super::{Arc, Runnable, SchedulingFacts, Task};
    // SAFETY: `install_scheduler!` defines it with the same signature, in safe code.
    unsafe extern "Rust" {
        pub(super) safe fn __scheduler_enqueue(runnable: Runnable);
        pub(super) safe fn __scheduler_preempt();
        pub(super) safe fn __scheduler_inspect(task: &Arc<Task>) -> Option<SchedulingFacts>;
    }
}

/// Hands over a task that became ready.
#[inline]
pub fn enqueue(runnable: Runnable) {
    #[cfg(target_os = "none")]
    linked::__scheduler_enqueue(runnable);
    #[cfg(not(target_os = "none"))]
    host::Queue::enqueue(runnable);
}

/// Makes the current task of this core go through the scheduler before it runs on in user mode.
pub fn preempt() {
    #[cfg(target_os = "none")]
    linked::__scheduler_preempt();
    #[cfg(not(target_os = "none"))]
    host::Queue::preempt();
}

/// Looks at a task's scheduling state, wherever it is. May wait for an answer of its core, without sleeping: task context, with
/// no lock held that an interrupt handler takes. `None` if the task moves too fast.
pub fn inspect(task: &Arc<Task>) -> Option<SchedulingFacts> {
    const ATTEMPTS: usize = 8;
    (0..ATTEMPTS).find_map(|_| task.inspect_asleep().or_else(|| inspect_queued(task)))
}

fn inspect_queued(task: &Arc<Task>) -> Option<SchedulingFacts> {
    #[cfg(target_os = "none")]
    return linked::__scheduler_inspect(task);
    #[cfg(not(target_os = "none"))]
    host::Queue::inspect(task)
}

/// Makes a type that implements [`Scheduler`](task::Scheduler) the scheduler of this kernel.
#[macro_export]
macro_rules! install_scheduler {
    ($scheduler:ty) => {
        #[unsafe(no_mangle)]
        #[inline]
        extern "Rust" fn __scheduler_enqueue(runnable: $crate::task::Runnable) {
            <$scheduler as $crate::task::Scheduler>::enqueue(runnable)
        }

        #[unsafe(no_mangle)]
        extern "Rust" fn __scheduler_preempt() {
            <$scheduler as $crate::task::Scheduler>::preempt()
        }

        #[unsafe(no_mangle)]
        extern "Rust" fn __scheduler_inspect(
            task: &::alloc::sync::Arc<$crate::task::Task>,
        ) -> Option<$crate::task::SchedulingFacts> {
            <$scheduler as $crate::task::Scheduler>::inspect(task)
        }
    };
}

/// A scheduler for tests: one first-in-first-out queue per thread.
#[cfg(not(target_os = "none"))]
pub mod host {
    extern crate std;

    use super::{Arc, Runnable, Scheduler, SchedulingFacts, Task};
    use crate::task::Decision;
    use alloc::collections::VecDeque;
    use core::cell::RefCell;

    std::thread_local! {
        static READY: RefCell<VecDeque<Runnable>> = const { RefCell::new(VecDeque::new()) };
    }

    /// The calling thread's queue.
    pub struct Queue;

    impl Scheduler for Queue {
        fn enqueue(runnable: Runnable) {
            READY.with_borrow_mut(|ready| ready.push_back(runnable));
        }

        fn preempt() {}

        fn inspect(_task: &Arc<Task>) -> Option<SchedulingFacts> {
            None
        }
    }

    /// The task that has been ready longest on this thread.
    pub fn next() -> Option<Runnable> {
        READY.with_borrow_mut(VecDeque::pop_front)
    }

    /// Polls a task once and does what the decision says; returns the decision.
    pub fn run_once(runnable: Runnable) -> Decision {
        let decision = runnable.task().clone().poll();
        match decision {
            Decision::Requeue => Queue::enqueue(runnable),
            Decision::Sleep => runnable.park().into_iter().for_each(Queue::enqueue),
            Decision::Finished => drop(runnable),
        }
        decision
    }

    /// Runs this thread's ready tasks until none is left; returns the number of polls.
    pub fn run_until_idle() -> usize {
        core::iter::from_fn(|| next().map(run_once)).count()
    }
}
