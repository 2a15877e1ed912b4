//! System calls: one table, typed arguments, a synchronous fast path for each, and a future only for those that wait.
//!
//! A handler is a plain function that answers at once, or says [`Outcome::Block`]; then its `*_blocking` namesake, an async function, is
//! polled inside the thread's own future. Handlers decode, call down, and encode; the semantics live below.
#![forbid(unsafe_code)]

mod argument;
mod barrier;
mod clone;
mod control_message;
mod credentials;
mod descriptor;
mod directory;
mod dispatch;
mod epoll;
mod event;
mod exec;
mod file;
mod files;
mod futex;
mod limits;
mod memory;
mod mount;
mod outcome;
mod path;
mod pidfd;
mod pipe;
mod poll;
mod prctl;
mod process;
mod read_write;
mod remote_memory;
mod schedule;
mod signal;
mod socket;
mod socket_message;
mod socket_option;
mod system;
mod table;
mod time;
mod timer;
mod transfer;
mod wait;

pub use argument::Argument;
pub use dispatch::{serve, wait};
pub use futex::Wait as FutexWait;
pub use outcome::{Outcome, Served};
pub use read_write::Transfer;

pub use crate::task::Context;
