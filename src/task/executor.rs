//! The executor: what every core does for ever, on its one kernel stack.

use alloc::sync::Arc;

use libkernel::task::Task;
use libkernel::{rcu, time};

use crate::arch::registers;
use crate::drivers::interrupts;
use crate::{sched, watchdog};

/// Installs the interrupts that drive the executors: messages, and time.
pub fn init() {
    interrupts::register_sgi(interrupts::SGI_MESSAGE, "message", sched::receive_messages);
}

/// Runs this core's tasks, and sleeps while there are none.
pub fn run() -> ! {
    let mut next = None;
    loop {
        rcu::quiescent();
        sched::receive_rest();
        next = match next {
            Some(task) => turn(&task),
            None => {
                idle();
                sched::next()
            }
        };
    }
}

/// Polls a task once; returns the one to poll next.
#[inline]
fn turn(task: &Arc<Task>) -> Option<Arc<Task>> {
    task.accounting().times.begin();
    let decision = task.poll();
    task.accounting().times.end();
    sched::finish_turn(task, decision)
}

/// Waits for an interrupt, unless something is to be done. Nothing can come between the look and the wait: interrupts are masked, and a
/// pending one ends the wait all the same.
fn idle() {
    watchdog::enter_idle();
    let state = registers::save_and_mask_interrupts();
    // The last handler before the mask may have taken a request in.
    rcu::quiescent();
    if !libkernel::message::pending() && !sched::has_work() {
        time::rearm();
        sched::enter_idle();
        if !libkernel::message::pending() {
            rcu::enter_idle();
            registers::wait_for_interrupt();
            rcu::leave_idle();
        }
        sched::leave_idle();
    }
    registers::restore_interrupts(state);
    watchdog::leave_idle();
}
