//! Terminals: line discipline, settings, job control, and pseudo-terminals.
//!
//! The line discipline ([`line`], [`input`], `erase`, [`output`]) is pure. A terminal is fed from an interrupt
//! handler, so everything on that path runs under an interrupt-aware lock and allocates nothing.
#![forbid(unsafe_code)]

mod control;
pub mod devices;
pub mod devpts;
mod erase;
mod file;
pub mod input;
mod jobs;
pub mod line;
pub mod output;
pub mod port;
pub mod pty;
pub mod registry;
pub mod ring;
mod screen;
mod terminal;
pub mod termios;

pub use file::TerminalFile;
pub use jobs::{Claim, Use};
pub use port::Port;
pub use registry::Registry;
pub use terminal::Terminal;

#[cfg(test)]
mod job_tests;
#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod pty_tests;
#[cfg(test)]
mod terminal_tests;
