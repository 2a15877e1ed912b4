//! Replacing the program of a process (execve(2)).
//!
//! The new program is built beside the old one ([`prepare`]), so that until it is complete every failure leaves the
//! old one as it was; then the thread becomes the only one of its process, and takes the new program over
//! ([`NewProgram::take_over`]), which fails only where memory does. What is left to the caller is the registers.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod auxiliary;
mod load;
mod prepare;
pub mod script;
pub mod stack;
mod take_over;
#[cfg(test)]
mod tests;

pub use load::MachineFacts;
pub use prepare::{Environment, NewProgram, ProgramFacts, prepare};
