//! `stackful`: a future that runs on a stack of its own, where it can be preempted and where synchronous code can sleep.
//!
//! A [`Stackful`] is an ordinary future of an ordinary task: polling it switches to its stack, and it answers `Pending` when the code there
//! switches back, for one of two reasons:
//!
//! - it waits: the future that it was given is pending, or a [`block_on`] anywhere down its calls is. What it waits for wakes the task.
//! - it was preempted: a timer or a message asked for the scheduler, and the interrupt, about to return to this stack, switched to the
//!   executor instead. The interrupted registers stay on this stack. The task stays ready.
//!
//! So run states, wakes, scheduling and accounting know nothing of stacks. What the code on the stack may not do while it could be
//! preempted is held off by [`Hold`](libkernel::sync::Hold): a plain spin lock holds while it is held, and a section with interrupts
//! masked cannot be preempted. It may come back on another core after every preemption and every wait.
//!
//! ```text
//! executor's stack                      the task's own stack (64 KiB, a guard below)
//! Task::poll ▶ Stackful::poll ──enter──▶ first: run(); later: where it left
//!              Pending  ◀───────leave─── wait(): pending      or  leave_interrupt(): preempted
//!              Ready    ◀───────leave─── run(): the future is done
//! ```
//!
//! A `Stackful` runs to its end. Dropped before its first poll, or while its own future (not a `block_on` below it) is what is pending, it
//! drops that future. Dropped in the middle of synchronous code, it leaks its stack with all that is on it, and says so in the log.

use core::cell::{Cell, UnsafeCell};
use core::future::Future;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

use libkernel::task::{StackHead, with_current};
use libkernel::{Result, machine, time};

use crate::arch::{core_local, registers, stack_switch, user_memory};
use crate::memory::kernel_space::STACK_SIZE;
use crate::memory::task_stacks::TaskStack;

/// The part of a stack that the future may take.
const LARGEST: usize = STACK_SIZE as usize / 4;
/// Nanoseconds after which a preemption that was held off is tried again, should the end of the hold pass unnoticed.
const RETRY: u64 = 1_000_000;

/// Where a stack is in its life. Changed by whoever runs on it, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Running,
    Waiting,
    Preempted,
    Finished,
}

/// What is at the top of a stack in use. The head is last, where the stack pointer leads to it.
#[repr(C)]
struct Anchor {
    state: Cell<State>,
    /// The stack pointer of whoever polls, while this stack runs.
    executor: Cell<usize>,
    /// The stack pointer here, while this stack does not run.
    own: Cell<usize>,
    /// How many [`block_on`] are under way.
    blocking: Cell<u32>,
    waker: UnsafeCell<Option<Waker>>,
    head: StackHead,
}

const _: () = assert!(core::mem::offset_of!(Anchor, head) + size_of::<StackHead>() == size_of::<Anchor>());

/// What lies below the anchor.
struct Body<F: Future> {
    /// Initialised until the state is `Finished`.
    future: UnsafeCell<ManuallyDrop<F>>,
    /// Initialised from then on, until it is taken.
    output: UnsafeCell<MaybeUninit<F::Output>>,
}

/// A future on a stack of its own; see the module.
#[must_use = "futures do nothing unless polled"]
pub struct Stackful<F: Future> {
    stack: ManuallyDrop<TaskStack>,
    future: PhantomData<F>,
}

// SAFETY: the stack goes where the future goes, which may be sent; what its code puts on the stack itself follows it as a thread's would.
unsafe impl<F: Future + Send> Send for Stackful<F> {}
/// The future is pinned on the stack, wherever the handle moves.
impl<F: Future> Unpin for Stackful<F> {}

/// Gives `future` a stack of its own to run on. It is to be polled by one task.
///
/// # Errors
/// `ENOMEM`, `EAGAIN`: there is no stack.
pub fn stackful<F: Future + Send>(future: F) -> Result<Stackful<F>> {
    const { assert!(size_of::<Body<F>>() <= LARGEST && align_of::<Body<F>>() <= 4096) };
    let this = Stackful { stack: ManuallyDrop::new(TaskStack::take()?), future: PhantomData::<F> };
    let (anchor, body) = (this.anchor_address(), this.body_address());
    // SAFETY: both places are on the stack, which is ours and unused, aligned, and do not overlap.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<Body<F>>(body).write(Body {
            future: UnsafeCell::new(ManuallyDrop::new(future)),
            output: UnsafeCell::new(MaybeUninit::uninit()),
        });
        core::ptr::with_exposed_provenance_mut::<Anchor>(anchor).write(Anchor {
            state: Cell::new(State::New),
            executor: Cell::new(0),
            own: Cell::new(0),
            blocking: Cell::new(0),
            waker: UnsafeCell::new(None),
            head: StackHead::new(),
        });
    }
    // SAFETY: everything below the body is unused.
    let own = unsafe { stack_switch::prepare(body & !15, run::<F>, core::ptr::with_exposed_provenance(anchor)) };
    this.anchor().own.set(own);
    Ok(this)
}

impl<F: Future> Stackful<F> {
    fn anchor_address(&self) -> usize {
        self.stack.top() - size_of::<Anchor>()
    }

    fn body_address(&self) -> usize {
        body_below::<F>(self.anchor_address())
    }

    fn anchor(&self) -> &Anchor {
        // SAFETY: written by `stackful`, at the top of a stack that we own. It is only touched by the core that polls us, or runs the stack.
        unsafe { &*core::ptr::with_exposed_provenance(self.anchor_address()) }
    }

    fn body(&self) -> &Body<F> {
        // SAFETY: as for the anchor; nothing but the contents of its cells is ever changed.
        unsafe { &*core::ptr::with_exposed_provenance(self.body_address()) }
    }
}

fn body_below<F: Future>(anchor: usize) -> usize {
    (anchor - size_of::<Body<F>>()) & !(align_of::<Body<F>>() - 1)
}

impl<F: Future> Future for Stackful<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let anchor = self.anchor();
        if anchor.state.get() == State::Finished {
            debug_assert!(false, "a stackful future was polled after its end");
            return Poll::Pending;
        }
        if !anchor.enter(context.waker()) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match anchor.state.get() {
            State::Finished => {
                // SAFETY: `run` wrote the output before it said so, and it is taken once: a further poll ends above, and `drop` leaves it alone.
                let output = unsafe { (*self.body().output.get()).assume_init_read() };
                // SAFETY: the code on the stack is over, so nobody else refers to the waker.
                drop(unsafe { (*anchor.waker.get()).take() });
                Poll::Ready(output)
            }
            State::Preempted => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            State::New | State::Running | State::Waiting => Poll::Pending,
        }
    }
}

impl<F: Future> Drop for Stackful<F> {
    fn drop(&mut self) {
        let anchor = self.anchor();
        match anchor.state.get() {
            State::Finished => {}
            // SAFETY: the future is there, and nothing on the stack has begun with it.
            State::New => unsafe { ManuallyDrop::drop(&mut *self.body().future.get()) },
            // SAFETY: `run` waits for the future, so nothing on the stack is in the middle of it or refers to the waker.
            State::Waiting if anchor.blocking.get() == 0 => unsafe {
                ManuallyDrop::drop(&mut *self.body().future.get());
                drop((*anchor.waker.get()).take());
            },
            state => {
                log::warn!("a stackful future was dropped in the middle ({state:?}): its stack is lost");
                return;
            }
        }
        // SAFETY: nothing on the stack is used any more, and the handle goes.
        unsafe { ManuallyDrop::drop(&mut self.stack) };
    }
}

impl Anchor {
    /// Runs the stack until it switches back. On the stack of whoever polls. `false`, running nothing, if the scheduler was asked for since it
    /// chose this task: no interrupt need come to make the code on the stack give way.
    fn enter(&self, waker: &Waker) -> bool {
        // SAFETY: only changed below.
        let same = unsafe { &*self.waker.get() }.as_ref().is_some_and(|kept| kept.will_wake(waker));
        if !same {
            let idle = match self.state.get() {
                State::New => true,
                State::Waiting => self.blocking.get() == 0,
                State::Running | State::Preempted | State::Finished => false,
            };
            debug_assert!(idle, "a stackful future went from one task to another in the middle");
            if idle {
                // SAFETY: no code on this stack refers to the waker: none is in the middle of anything.
                unsafe { *self.waker.get() = Some(waker.clone()) };
            }
        }
        if with_current(|task| self.head.attach(Some(task))).is_none() {
            self.head.attach(None);
        }
        let interrupts = registers::save_and_mask_interrupts();
        let runs = !core_local::this().need_resched();
        if runs {
            self.state.set(State::Running);
            // SAFETY: interrupts are masked; `own` was prepared, or kept when the stack was left, and comes to use once for each.
            unsafe { stack_switch::switch(self.executor.as_ptr(), self.own.get()) };
        }
        registers::restore_interrupts(interrupts);
        runs
    }

    /// Switches back to whoever polls; returns at the next [`enter`](Self::enter), perhaps on another core. Interrupts are masked.
    fn leave(&self, state: State) {
        self.state.set(state);
        // SAFETY: interrupts are masked; `executor` was kept by the switch to this stack.
        unsafe { stack_switch::switch(self.own.as_ptr(), self.executor.get()) };
    }

    /// Polls `future` until it is ready; sleeps in between. On this stack, interrupts enabled.
    fn wait<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        loop {
            // SAFETY: set before this stack ran, and not changed as long as this reference is used: that is, up to the next `leave`.
            let waker = unsafe { &*self.waker.get() }.as_ref().unwrap_or(Waker::noop());
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) {
                return output;
            }
            registers::mask_interrupts();
            self.leave(State::Waiting);
            registers::unmask_interrupts();
        }
    }
}

/// The first function on a stack; its argument is the anchor.
extern "C" fn run<F: Future>(anchor: *const ()) -> ! {
    registers::unmask_interrupts();
    // SAFETY: `stackful` wrote both, and they stay until the state is `Finished` or the handle is gone, when this does not run any more.
    let (anchor, body) = unsafe {
        let body = body_below::<F>(anchor.addr());
        (&*anchor.cast::<Anchor>(), &*core::ptr::with_exposed_provenance::<Body<F>>(body))
    };
    // SAFETY: the future stays in its place until it is dropped; nobody else reaches it while this stack is in use.
    let output = anchor.wait(unsafe { Pin::new_unchecked(&mut **body.future.get()) });
    // SAFETY: as above; both are touched last here.
    unsafe {
        ManuallyDrop::drop(&mut *body.future.get());
        (*body.output.get()).write(output);
    }
    registers::mask_interrupts();
    loop {
        anchor.leave(State::Finished);
    }
}

/// The anchor of the stack that runs this, if that is a task's own.
fn own_anchor() -> Option<&'static Anchor> {
    stack_switch::on_task_stack().then(|| {
        let address = stack_switch::top_of(registers::stack_pointer()) - size_of::<Anchor>();
        // SAFETY: every stack of the pool that runs has its anchor there. It outlives all code on the stack, which is all that gets this.
        unsafe { &*core::ptr::with_exposed_provenance(address) }
    })
}

/// Why [`block_on`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotSleep {
    /// This is a core's stack, as in every future outside [`stackful`]: the core would sleep, not the task.
    NoStack,
    /// A spin lock is held, or preemption is held off for another reason.
    LockHeld,
    /// Interrupts are masked: in an interrupt handler, under an interrupt-aware lock, in a masked section.
    Masked,
}

/// Waits for `future` in synchronous code on a stack of a task's own: the task sleeps meanwhile, its core does not.
///
/// # Errors
/// Where it may not sleep it refuses, without polling the future.
pub fn block_on<F: Future>(future: F) -> core::result::Result<F::Output, CannotSleep> {
    if registers::interrupts_masked() {
        return Err(CannotSleep::Masked);
    }
    let anchor = own_anchor().ok_or(CannotSleep::NoStack)?;
    if !anchor.head.is_preemptible() {
        return Err(CannotSleep::LockHeld);
    }
    anchor.blocking.set(anchor.blocking.get() + 1);
    let output = anchor.wait(pin!(future));
    anchor.blocking.set(anchor.blocking.get() - 1);
    Ok(output)
}

/// An interrupt is about to return to a task's own stack: preempts the task instead, if the scheduler was asked for. Interrupts are masked.
pub fn leave_interrupt() {
    if !core_local::this().need_resched() {
        return;
    }
    let Some(anchor) = own_anchor() else { return };
    if anchor.head.is_preemptible() {
        user_memory::forbid_access();
        anchor.leave(State::Preempted);
    } else {
        time::arm_by(machine::monotonic_ns() + RETRY);
    }
}

/// The last hold on this stack ended: makes up for a preemption that was held off. Where interrupts are masked it comes when they are not.
pub fn preemption_point() {
    if registers::interrupts_masked() {
        let core = core_local::this();
        if core.need_resched() && !core.in_interrupt() {
            time::arm_by(machine::monotonic_ns());
        }
        return;
    }
    let interrupts = registers::save_and_mask_interrupts();
    if core_local::this().need_resched()
        && let Some(anchor) = own_anchor()
    {
        anchor.leave(State::Preempted);
    }
    registers::restore_interrupts(interrupts);
}
