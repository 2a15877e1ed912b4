//! The atomics of the lock-free parts: the machine's own, or loom's when a model of them is checked.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, Ordering};
