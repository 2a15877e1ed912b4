//! The atomics and cells of the lock-free parts. The models in `libkernel/models` compile those parts with loom's instead.

pub use core::cell::Cell;
pub use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
