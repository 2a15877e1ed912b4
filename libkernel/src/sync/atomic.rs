//! The atomics and cells of the lock-free parts: the machine's own, or loom's when a model of them is checked.

#[cfg(not(loom))]
pub use core::cell::Cell;
#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
#[cfg(loom)]
pub use loom::cell::Cell;
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
