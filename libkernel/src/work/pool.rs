//! Pools: the workers behind the queues, one task for each core and class.
//!
//! A worker polls items one after the other. An item that waits returns `Pending` and leaves the worker to the next one, so a core that has
//! work is busy with it whatever sleeps, and never with more than one item at a time: this is concurrency management without
//! counting workers. What a sleeping item needs is in its own future, so no worker is ever made after the boot, and items
//! progress without memory.
//!
//! Pushing: any context, lock-free. Everything else: the worker's task.

use alloc::sync::Arc;
use core::future::poll_fn;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Poll;

use super::item::{After, Link};
use crate::machine::MAX_CORES;
use crate::message::{Inbox, Reader};
use crate::sync::SetOnce;
use crate::task::Task;

/// Which workers run a queue's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Of the core on which the item is queued.
    Normal,
    /// The same, before other work.
    High,
    /// Of any core: the scheduler moves them.
    Unbound,
}

/// One worker's items.
#[repr(align(128))]
pub struct Pool {
    inbox: Inbox<Link>,
    worker: SetOnce<Arc<Task>>,
    /// Items in the inbox, in the worker's list, or under its poll; a hint.
    load: AtomicUsize,
}

impl Pool {
    const fn new() -> Self {
        Self { inbox: Inbox::new(), worker: SetOnce::new(), load: AtomicUsize::new(0) }
    }

    /// Hands an item to the worker.
    #[inline]
    pub(super) fn push(&self, link: Link) {
        self.load.fetch_add(1, Ordering::Relaxed);
        if self.inbox.push(link)
            && let Some(worker) = self.worker.get()
        {
            worker.wake();
        }
    }

    /// Says which task runs [`serve`](Pool::serve), and wakes it. Items that were queued before wait until then.
    pub fn employ(&self, worker: &Arc<Task>) {
        if self.worker.set(worker.clone()).is_ok() {
            worker.wake();
        }
    }

    /// The worker, once there is one.
    pub fn worker(&self) -> Option<&Arc<Task>> {
        self.worker.get()
    }

    /// What the worker's task does for ever. `reschedule` says, between two items, whether the core should choose again.
    pub async fn serve(&self, reschedule: impl Fn() -> bool) {
        let mut reader = Reader::new();
        poll_fn(|context| {
            loop {
                let Some(link) = reader.next(&self.inbox) else { return Poll::<()>::Pending };
                let again = match link.turn() {
                    After::Gone => false,
                    After::Again(link) => {
                        self.push(link);
                        true
                    }
                };
                self.load.fetch_sub(1, Ordering::Relaxed);
                // An item that only gave way lets other tasks go first when everybody here has had a turn.
                if reschedule() || (again && reader.is_empty()) {
                    if !reader.is_empty() || !self.inbox.is_empty() {
                        context.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
            }
        })
        .await;
    }
}

/// All pools of a machine.
pub struct Pools {
    normal: [Pool; MAX_CORES],
    high: [Pool; MAX_CORES],
    unbound: [Pool; MAX_CORES],
    cores: AtomicUsize,
}

impl Pools {
    /// Pools without workers.
    pub const fn new() -> Self {
        Self {
            normal: [const { Pool::new() }; MAX_CORES],
            high: [const { Pool::new() }; MAX_CORES],
            unbound: [const { Pool::new() }; MAX_CORES],
            cores: AtomicUsize::new(1),
        }
    }

    /// Says how many cores there are; each has, or will have, workers.
    pub fn set_cores(&self, cores: usize) {
        self.cores.store(cores.clamp(1, MAX_CORES), Ordering::Release);
    }

    /// How many cores there are.
    #[inline]
    pub fn cores(&self) -> usize {
        self.cores.load(Ordering::Relaxed)
    }

    /// A core's pool; beyond the last core, the first one's.
    #[inline]
    pub fn pool(&self, class: Class, core: usize) -> &Pool {
        let pools = match class {
            Class::Normal => &self.normal,
            Class::High => &self.high,
            Class::Unbound => &self.unbound,
        };
        let [first, ..] = pools;
        if core < self.cores() { pools.get(core).unwrap_or(first) } else { first }
    }

    /// The pool of unbound workers that has least to do; of equal ones the first from `here` on.
    pub(super) fn least_loaded(&self, here: usize) -> usize {
        let (mut best, mut least) = (here, usize::MAX);
        let cores = self.cores();
        for core in (here..cores).chain(0..here.min(cores)) {
            let load = self.pool(Class::Unbound, core).load.load(Ordering::Relaxed);
            if load < least {
                (best, least) = (core, load);
                if load == 0 {
                    break;
                }
            }
        }
        best
    }
}

impl Default for Pools {
    fn default() -> Self {
        Self::new()
    }
}
