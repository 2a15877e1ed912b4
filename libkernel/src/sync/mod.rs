//! Locks and waiting.
//!
//! Two lock types, told apart by type: [`SpinLock`] may never be taken in an interrupt handler; [`IrqSpinLock`] may be, and so
//! masks interrupts while it is held. Neither is ever held across an await: their guards are not [`Send`], and the
//! futures of tasks have to be.

pub(crate) mod atomic;
mod completion;
mod lockdep;
mod once;
mod per_cpu;
mod preemption;
mod spin;
mod wait_queue;

pub use completion::Completion;
pub use once::SetOnce;
pub use per_cpu::PerCpu;
pub use preemption::Hold;
pub use spin::{IrqSpinLock, IrqSpinLockGuard, SpinLock, SpinLockGuard};
pub use wait_queue::{Listener, QueueRef, WaitMode, WaitQueue, WaitUntil};
