//! Terminals: line discipline, settings, job control, and pseudo-terminals.
//!
//! The line discipline ([`line`], [`input`], `erase`, [`output`]) is pure. A terminal is fed from an interrupt
//! handler, so everything on that path runs under an interrupt-aware lock and allocates nothing.
#![forbid(unsafe_code)]

mod erase;
pub mod input;
mod jobs;
pub mod line;
pub mod output;
pub mod port;
pub mod ring;
mod terminal;
pub mod termios;

pub use jobs::Use;
pub use port::Port;
pub use terminal::Terminal;

#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod terminal_tests;
