//! Futexes: sleeping until somebody says that a word in user memory has changed (futex(2)).
//!
//! Waiters stand in hashed buckets, in order of arrival, inside the futures that wait, so that neither waiting nor waking
//! allocates. The word is looked at under the bucket's lock, and wakers take that lock: a change before the wake is either seen by
//! the look, or the wake sees the waiter.
//!
//! Not callable in interrupts. Nothing sleeps but [`Wait`].

mod bucket;
mod key;
mod operation;
mod robust;
mod wait;

#[cfg(test)]
mod tests;

pub use bucket::{requeue, wake};
pub use key::Key;
pub use operation::{WakeOp, word_of};
pub use robust::end_thread;
pub use wait::{Wait, Word, wait};

/// Matches every waiter (`FUTEX_BITSET_MATCH_ANY`).
pub const ANY: u32 = u32::MAX;
