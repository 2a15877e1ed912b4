//! Terminals: line discipline, settings, job control, and pseudo-terminals.
//!
//! The line discipline ([`line`], [`input`], `erase`, [`output`]) is pure. A terminal is fed from an interrupt
//! handler, so everything on that path runs under an interrupt-aware lock and allocates nothing.
#![forbid(unsafe_code)]

mod erase;
pub mod input;
pub mod line;
pub mod output;
pub mod ring;
pub mod termios;

#[cfg(test)]
mod line_tests;
