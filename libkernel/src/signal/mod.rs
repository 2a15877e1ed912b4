//! Signals: sending, queueing, blocking, stopping and continuing, and what a thread has to do about them on its way
//! back to user mode (signal(7)).
//!
//! * [`number`], [`info`], [`action`] are the vocabulary.
//! * [`ProcessSignals`] holds what the threads of a process share; [`ThreadSignals`] what each has for itself. One
//!   interrupt-aware lock in the former orders everything, so a signal may be sent from an interrupt handler (a key, a
//!   timer); such a sending never allocates.
//! * `send` decides who gets a signal; [`delivery`] decides what the receiver does with it.
//!
//! Nothing here knows the machine: building the handler's frame is `src/arch`'s, telling parents is the process room's.
#![forbid(unsafe_code)]

pub mod action;
mod delivery;
mod descriptor;
pub mod info;
pub mod number;
mod process;
mod queue;
mod send;
mod stop;
mod thread;
mod wait;

#[cfg(test)]
mod tests;

pub use action::{Action, Actions, Disposition};
pub use delivery::Next;
pub use descriptor::SignalFile;
pub use info::SignalInfo;
pub use number::{DefaultAction, Signal, SignalSet};
pub use process::{ChildPolicy, ProcessSignals};
pub use stop::StateChange;
pub use thread::{AlternateStack, RestartBlock, ThreadSignals};
