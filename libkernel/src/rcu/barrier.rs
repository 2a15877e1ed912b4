//! Waiting for grace periods.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{backend, owned};
use crate::Result;
use crate::sync::WaitQueue;
use crate::task::uninterruptible;

/// Who waits, and for how many things.
pub(super) struct Countdown {
    left: AtomicUsize,
    queue: WaitQueue,
}

impl Countdown {
    pub(super) fn new(left: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(left), queue: WaitQueue::new() })
    }

    pub(super) fn step(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.queue.wake_all();
        }
    }

    async fn wait(&self) {
        uninterruptible(self.queue.wait_until(|| (self.left.load(Ordering::Acquire) == 0).then_some(()))).await;
    }
}

/// Sleeps until every reader that is reading now has ended. Not under a guard.
///
/// # Errors
/// `ENOMEM`, before anything was waited for.
pub async fn synchronize() -> Result<()> {
    let end = Countdown::new(1);
    let step = end.clone();
    backend::notify(owned::callback(move || step.step())?);
    end.wait().await;
    Ok(())
}

/// Sleeps until everything that was retired or deferred before, on any core, has been dropped or run.
///
/// # Errors
/// `ENOMEM`.
pub async fn barrier() -> Result<()> {
    backend::barrier()?.wait().await;
    Ok(())
}
