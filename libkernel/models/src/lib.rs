//! The lock-free parts of `libkernel`, compiled with loom's atomics: the very same source files.
//!
//! The tests run each model through every interleaving that the memory model allows.

/// What the shared sources know as `crate::sync`.
pub mod sync {
    /// Loom's stand-ins.
    pub mod atomic {
        pub use loom::cell::Cell;
        pub use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
    }
}

#[path = "../../src/message/inbox.rs"]
pub mod inbox;
#[path = "../../src/task/news.rs"]
pub mod news;
#[path = "../../src/rcu/quiescence.rs"]
pub mod quiescence;
#[path = "../../src/task/state.rs"]
pub mod task_state;
#[path = "../../src/task/kernel_thread/state.rs"]
pub mod thread_state;
#[path = "../../src/time/state.rs"]
pub mod timer_state;
#[path = "../../src/work/lane.rs"]
pub mod work_lane;
#[path = "../../src/work/state.rs"]
pub mod work_state;
