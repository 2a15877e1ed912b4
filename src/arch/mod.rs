//! The processor architecture.

mod aarch64;
pub use aarch64::*;
