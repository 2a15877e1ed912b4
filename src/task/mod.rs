//! What the cores run: the executor, the loop of a user thread, and the idle state.

mod context;
mod executor;
mod user_state;
mod user_thread;
mod work;

pub use context::Context;
pub use executor::{init, run};
pub use user_thread::spawn_user;
