//! What a core says of itself for as long as it is idle, so that a grace period need not disturb it.
//!
//! # Why a look at a flag is enough
//! ```text
//! updater                                  idle core
//! ───────                                  ─────────
//! takes an object out                      ends its last read
//! fence                                    enter: flag = 1, releasing
//! looks at the flag: 1                     …
//!                                          leave: flag = 0; fence
//!                                          reads
//! ```
//! If the updater sees the flag set, then either the core has not left yet, or its fence comes after the updater's: whatever it reads after
//! the fence, it reads without the object. What it read before it entered is over, by release and acquire. If the updater does not see
//! the flag, it sends a request.

use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// Whether a core is in an extended quiescent state: offline or idle. The core itself writes it.
#[derive(Debug)]
pub struct Quiescence {
    extended: AtomicU32,
}

impl Quiescence {
    /// The state of a core that is not online.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { extended: AtomicU32::new(1) }
    }

    /// The state of a core that is not online.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { extended: AtomicU32::new(1) }
    }

    /// This core reads nothing any more.
    #[inline]
    pub fn enter(&self) {
        self.extended.store(1, Ordering::Release);
    }

    /// This core will read again.
    #[inline]
    pub fn leave(&self) {
        self.extended.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Whether the core cannot see what was taken out before the last [`order_removals`]. For any core.
    #[inline]
    pub fn is_extended(&self) -> bool {
        self.extended.load(Ordering::Acquire) != 0
    }
}

impl Default for Quiescence {
    fn default() -> Self {
        Self::new()
    }
}

/// What an updater does between taking objects out and looking at the cores.
#[inline]
pub fn order_removals() {
    fence(Ordering::SeqCst);
}
