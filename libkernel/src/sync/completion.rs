//! Completions: "that has happened", said once and heard once, however early it was said.
//!
//! A completion counts what has been completed and not been waited for. It is for handing over an event; for a condition use
//! [`WaitQueue::wait_until`]. Waits sleep, and end by a deadline or a signal where they are wrapped so:
//! `with_timeout(Some(deadline), done.wait())`, `interruptible(done.wait())`.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use super::{WaitQueue, WaitUntil};

/// The count that no wait takes from.
const ALL: u32 = u32::MAX;

/// An event that some tasks wait for and others complete.
pub struct Completion {
    done: AtomicU32,
    waiters: WaitQueue,
}

impl Completion {
    /// Nothing has been completed.
    #[track_caller]
    pub const fn new() -> Self {
        Self { done: AtomicU32::new(0), waiters: WaitQueue::new() }
    }

    /// Lets one waiter go on, now or when it comes. Any context.
    pub fn complete(&self) {
        let more = |done: u32| Some(if done >= ALL - 1 { done } else { done + 1 });
        // The closure always gives a value.
        let _ = self.done.fetch_update(Ordering::Release, Ordering::Relaxed, more);
        self.waiters.wake_one();
    }

    /// Lets all waiters go on, now and whenever they come. Any context.
    pub fn complete_all(&self) {
        self.done.store(ALL, Ordering::Release);
        self.waiters.wake_all();
    }

    /// Takes what one [`complete`](Self::complete) left, if there is any.
    #[must_use]
    pub fn try_wait(&self) -> bool {
        let take = |done: u32| match done {
            0 => None,
            ALL => Some(ALL),
            done => Some(done - 1),
        };
        self.done.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok()
    }

    /// Sleeps until it can take what one [`complete`](Self::complete) leaves.
    #[track_caller]
    pub fn wait(&self) -> WaitUntil<'_, impl FnMut() -> Option<()>> {
        self.waiters.wait_until(|| self.try_wait().then_some(()))
    }

    /// Whether a wait would end at once; a hint.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire) != 0
    }

    /// Forgets what was completed. Only while nobody waits or completes.
    pub fn reset(&self) {
        self.done.store(0, Ordering::Release);
    }
}

impl Default for Completion {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host as machine;
    use crate::task::{Task, host, interruptible};
    use crate::time::{expire, with_timeout};
    use alloc::sync::Arc;
    use core::sync::atomic::AtomicUsize;

    fn waiters(count: usize, completion: &Arc<Completion>) -> Arc<AtomicUsize> {
        let through = Arc::new(AtomicUsize::new(0));
        for _ in 0..count {
            let (completion, through) = (completion.clone(), through.clone());
            Task::new("waiter", async move {
                completion.wait().await;
                through.fetch_add(1, Ordering::Relaxed);
            })
            .wake();
        }
        host::run_until_idle();
        through
    }

    #[test]
    fn each_completion_lets_one_waiter_go_and_early_ones_are_kept() {
        let completion = Arc::new(Completion::new());
        completion.complete();
        let through = waiters(3, &completion);
        assert_eq!(through.load(Ordering::Relaxed), 1);
        completion.complete();
        host::run_until_idle();
        assert_eq!(through.load(Ordering::Relaxed), 2);
        completion.complete_all();
        host::run_until_idle();
        assert_eq!(through.load(Ordering::Relaxed), 3);
        assert!(completion.try_wait() && completion.try_wait());
        completion.reset();
        assert!(!completion.try_wait());
    }

    #[test]
    fn a_wait_ends_by_its_deadline_or_by_an_interruption() {
        std::thread::spawn(|| {
            machine::become_core(22);
            machine::set_clock(Some(0));
            let completion = Arc::new(Completion::new());
            let ended = Arc::new(AtomicUsize::new(0));
            let (late, counted) = (completion.clone(), ended.clone());
            Task::new("late", async move {
                assert!(with_timeout(Some(10), late.wait()).await.is_err());
                counted.fetch_add(1, Ordering::Relaxed);
            })
            .wake();
            let (asked, counted) = (completion.clone(), ended.clone());
            let task = Task::new("asked", async move {
                assert!(interruptible(asked.wait()).await.is_err());
                counted.fetch_add(1, Ordering::Relaxed);
            });
            task.wake();
            host::run_until_idle();
            machine::set_clock(Some(10));
            expire(10);
            task.set_interrupt(true);
            host::run_until_idle();
            assert_eq!(ended.load(Ordering::Relaxed), 2);
            completion.complete();
            assert!(completion.try_wait(), "who gave up took nothing along");
        })
        .join()
        .unwrap();
    }
}
