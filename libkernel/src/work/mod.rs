//! Work queues: handing work from any context, an interrupt handler for instance, to where it may sleep.
//!
//! ```text
//! let queue = WorkQueue::new(pools, "disk", Class::Normal);
//! let work = queue.work(move || { let disk = disk.clone(); async move { disk.finish_requests().await } });
//! ...
//! work.queue()?;              // in the interrupt handler: no allocation, no lock
//! ```
//!
//! A [`Work`] is a function and the place for its future ([`body`]); its [`state`] is one atomic word that says who may take it where. A
//! [`WorkQueue`] says which [`Pool`]s run its items and counts runs ([`lane`]). A pool is an inbox and one worker task. Ordered queues
//! run on a [`strand`].
//!
//! # A rescuer is not needed
//! Linux runs each item on a worker's stack, so an item that sleeps needs another worker, which needs memory; a rescuer thread stands by for
//! when there is none. Here an item that sleeps leaves its worker, and waits in a future that was part of the item from the
//! beginning. All workers exist from the boot on, and queueing, running, sleeping and waking allocate nothing.

mod body;
mod delayed;
mod item;
mod lane;
mod pool;
mod queue;
mod state;
mod strand;

#[cfg(test)]
mod tests;

pub use delayed::DelayedWork;
pub use item::{Refused, Work};
pub use pool::{Class, Pool, Pools};
pub use queue::WorkQueue;
