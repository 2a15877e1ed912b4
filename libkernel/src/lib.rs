//! The part of Lichen that has no hardware in it: scheduling, messages, tasks, memory policy, files,
//! processes, signals and terminals. It compiles and is tested on the host.
#![cfg_attr(all(not(test), target_os = "none"), no_std)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test fails by panicking"
    )
)]

extern crate alloc;

pub mod command_line;
pub mod elf;
pub mod errno;
pub mod fs;
pub mod futex;
pub mod io;
pub mod log_buffer;
pub mod machine;
pub mod memory;
pub mod message;
pub mod net;
pub mod poll;
pub mod process;
pub mod random;
pub mod rcu;
pub mod sched;
pub mod signal;
pub mod sync;
pub mod task;
pub mod time;
pub mod timers;
pub mod tree;
pub mod tty;
pub mod watchdog;
pub mod work;

pub use errno::{Errno, Result};
