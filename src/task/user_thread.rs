//! A user thread: an async loop around [`enter_user`], which is a function call.
//!
//! ```text
//! loop { whatever is due before user mode;  enter user mode;  serve the trap }
//! ```
//!
//! A call that answers at once costs no future; one that waits is awaited in place, inside the thread's one future.

use alloc::sync::Arc;
use core::future::Future;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;

use libkernel::process::Thread;
use libkernel::rcu;
use libkernel::task::{AffinityMask, Task};
use libkernel::timers;

use super::context::Context;
use super::user_state::UserState;
use super::work;
use crate::arch::context::UserContext;
use crate::arch::fp::FpState;
use crate::arch::user::{Trap, enter_user};
use crate::arch::{core_local, registers};
use crate::drivers::interrupts;
use crate::syscall::{self, Served};
use crate::{milestones, sched};

/// Makes the task of a thread that is to begin with these registers. The thread is not started: wake the task for that.
pub fn spawn_user(thread: &Arc<Thread>, registers: UserContext, fp: FpState) -> Arc<Task> {
    spawn(thread, registers, fp, false)
}

/// As [`spawn_user`], for the first program of all: it begins on core 0, and is free to leave it from its first instruction on.
pub fn spawn_first(thread: &Arc<Thread>, registers: UserContext, fp: FpState) -> Arc<Task> {
    let task = spawn(thread, registers, fp, true);
    task.parameters().set_affinity(AffinityMask::only(0));
    task
}

fn spawn(thread: &Arc<Thread>, registers: UserContext, fp: FpState, first: bool) -> Arc<Task> {
    let state = Arc::new(UserState::new(fp));
    let context = Context::new(thread.clone(), registers, state.clone());
    let name = thread.name();
    Task::new(
        core::str::from_utf8(name.as_bytes()).unwrap_or(""),
        UserThread { body: body(context, first), thread: thread.clone(), state },
    )
}

/// Wraps a thread's loop: binds core-bound state (address space, FP registers) to the core for the time of each poll.
struct UserThread<F> {
    body: F,
    thread: Arc<Thread>,
    state: Arc<UserState>,
}

impl<F: Future<Output = ()>> Future for UserThread<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut core::task::Context<'_>) -> Poll<()> {
        // SAFETY: `body` is never moved out of, and the type has no `Drop` of its own.
        let this = unsafe { self.get_unchecked_mut() };
        work::activate(&this.thread);
        this.state.begin_poll();
        timers::begin_turn(&this.thread);
        // SAFETY: structural pinning of the one field that needs it.
        let result = unsafe { Pin::new_unchecked(&mut this.body) }.poll(context);
        timers::end_turn(&this.thread);
        this.state.end_poll();
        result
    }
}

/// Lets the first program leave the core it was bound to, when nothing can come between it and user mode any more: returns with interrupts
/// masked.
async fn begin_first(cx: &mut Context, task: &Task) {
    while work::before_user(cx).await.is_continue() {
        registers::mask_interrupts();
        if !core_local::this().need_resched() && !task.interrupted() {
            break;
        }
        registers::unmask_interrupts();
    }
    milestones::user_mode();
    task.parameters().set_affinity(AffinityMask::ALL);
}

/// The thread's loop.
#[expect(clippy::manual_async_fn, reason = "an async function would keep room for a second context")]
fn body(mut cx: Context, first: bool) -> impl Future<Output = ()> + Send {
    async move {
        // A signal may wake the task before its creator has told the thread about it. The creator wakes it then.
        let task = poll_fn(|_| cx.thread.task().cloned().map_or(Poll::Pending, Poll::Ready)).await;
        if first {
            begin_first(&mut cx, &task).await;
        }
        while work::before_user(&mut cx).await.is_continue() {
            loop {
                registers::mask_interrupts();
                if core_local::this().need_resched() || task.interrupted() {
                    registers::unmask_interrupts();
                    break;
                }
                task.accounting().times.enter_user();
                let syndrome = enter_user(&mut cx.registers);
                task.accounting().times.leave_user();
                if syndrome.is_system_call() {
                    registers::unmask_interrupts();
                    let served = match syscall::serve(&mut cx) {
                        Served::Waits => syscall::wait(&mut cx).await,
                        served => served,
                    };
                    if served == Served::Interrupted {
                        break;
                    }
                    continue;
                }
                match syndrome.decode() {
                    Trap::Interrupt => {
                        sched::check_request();
                        interrupts::handle();
                        rcu::quiescent();
                        registers::unmask_interrupts();
                    }
                    Trap::FpAccess => {
                        cx.state.load_fp();
                        registers::unmask_interrupts();
                    }
                    trap => {
                        registers::unmask_interrupts();
                        work::fault(&mut cx, trap);
                    }
                }
            }
        }
    }
}
