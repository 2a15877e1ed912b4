//! Whether the news about a task's parameters is under way: one word, and the only code that changes it.
//!
//! ```text
//! who changes                           the task's core                       a core that the task moves to
//! ───────────                           ───────────────                       ─────────────────────────────
//! parameters = new                      receive                               home = this one
//! fence                                 fence                                 fence
//! home?                                 home? not here: to be told there      parameters?
//! announce: already under way           parameters?
//! ```
//! Whoever finds the news under way comes before its receiver's `receive`, which takes over what was stored before. Of the two fences between
//! home and parameters one is first: the other side sees what was stored before it.

use crate::sync::atomic::{AtomicU32, Ordering};

/// The word.
#[derive(Debug)]
pub struct NewsState(AtomicU32);

impl NewsState {
    /// There is none.
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// There is news. `true`: the caller has to send it; else it is under way.
    #[must_use]
    pub fn announce(&self) -> bool {
        self.0.swap(1, Ordering::AcqRel) == 0
    }

    /// The news has arrived: look at the parameters after this.
    pub fn receive(&self) {
        self.0.swap(0, Ordering::AcqRel);
    }
}

impl Default for NewsState {
    fn default() -> Self {
        Self::new()
    }
}
