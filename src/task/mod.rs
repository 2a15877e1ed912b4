//! What the cores run: the executor, the loop of a user thread, and the idle state.

mod context;
mod executor;
pub mod kernel_thread;
mod stackful;
mod user_state;
mod user_thread;
mod work;

pub use context::Context;
pub use executor::{init, run};
pub use stackful::{CannotSleep, block_on, leave_interrupt, preemption_point, stackful};
pub use user_thread::{spawn_first, spawn_user};
pub use work::cond_resched;
