//! Work queues: what items have in common, that is, which workers run them, in which order, and when all of them are done.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::sync::atomic::{AtomicBool, Ordering};

use super::item::{Link, here};
use super::lane::Lane;
use super::pool::{Class, Pools};
use super::state::Ticket;
use super::strand::Strand;
use super::{DelayedWork, Work};
use crate::sync::WaitQueue;
use crate::task::uninterruptible;

/// Where a queue's items go.
enum Runner {
    Pool(Class),
    /// One after the other, each to its end, in the order of their acceptance.
    Strand(Strand),
}

/// A work queue. It lives as long as a handle, an item, or a run of one does.
///
/// Runs are counted from their acceptance to their end; [`flush`](WorkQueue::flush), [`drain`](WorkQueue::drain) and
/// [`destroy`](WorkQueue::destroy) sleep until the count says so, hold nothing that an item needs meanwhile, and may not be called by an item of
/// the same queue, which they would wait for.
pub struct WorkQueue {
    name: &'static str,
    pools: &'static Pools,
    runner: Runner,
    lanes: Vec<Lane>,
    flushing: AtomicBool,
    /// Woken when a lane's colour is used up, and when a flush ends.
    changed: WaitQueue,
}

impl WorkQueue {
    /// A queue whose items the workers of `class` run.
    pub fn new(pools: &'static Pools, name: &'static str, class: Class) -> Arc<Self> {
        Self::with_runner(pools, name, Runner::Pool(class), pools.cores())
    }

    /// A queue whose items run one after the other, in the order in which they were accepted, on any core.
    pub fn new_ordered(pools: &'static Pools, name: &'static str) -> Arc<Self> {
        Self::with_runner(pools, name, Runner::Strand(Strand::new(pools, name)), 1)
    }

    fn with_runner(pools: &'static Pools, name: &'static str, runner: Runner, lanes: usize) -> Arc<Self> {
        let lanes = (0..lanes.clamp(1, Ticket::MAX_LANES)).map(|_| Lane::new()).collect();
        Arc::new(Self { name, pools, runner, lanes, flushing: AtomicBool::new(false), changed: WaitQueue::new() })
    }

    /// An item of this queue: each run is a call of `function`, and the future it returns, polled to its end.
    ///
    /// The one allocation in an item's life is here.
    pub fn work<F, R>(self: &Arc<Self>, function: F) -> Work
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Work::new(self, function)
    }

    /// An item of this queue that can be queued for later.
    pub fn delayed_work<F, R>(self: &Arc<Self>, function: F) -> DelayedWork
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        DelayedWork::new(Work::new(self, function))
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs accepted so far, and those of them that are not over; a hint.
    pub fn counts(&self) -> (u64, u64) {
        self.lanes.iter().fold((0, 0), |(accepted, left), lane| (accepted + lane.accepted(), left + lane.outstanding()))
    }

    /// Sleeps until every run that was accepted before this call has ended or was cancelled. Runs accepted later are not waited for,
    /// those that items ask for meanwhile included.
    pub async fn flush(&self) {
        let begin = || self.flushing.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).ok();
        uninterruptible(self.changed.wait_until(begin)).await;
        let _done = Flush(self);
        // What a flush left behind that was given up in the middle has to be over before a colour means "before" again.
        self.settled().await;
        self.lanes.iter().for_each(Lane::flip);
        self.settled().await;
    }

    async fn settled(&self) {
        uninterruptible(self.changed.wait_until(|| self.lanes.iter().all(Lane::is_settled).then_some(()))).await;
    }

    /// Sleeps until there is a moment without any run, those that items asked for meanwhile included.
    pub async fn drain(&self) {
        uninterruptible(self.changed.wait_until(|| self.is_empty().then_some(()))).await;
    }

    /// Whether there was a moment, during this call, without any run.
    fn is_empty(&self) -> bool {
        let look = || self.lanes.iter().try_fold(0u64, |sum, lane| Some(sum.wrapping_add(lane.look()?)));
        look().is_some_and(|first| look() == Some(first))
    }

    /// Accepts no run any more, and sleeps until all that were accepted have ended. May be called again, and by many.
    pub async fn destroy(&self) {
        self.lanes.iter().for_each(Lane::close);
        self.drain().await;
    }

    /// Whether it was destroyed.
    pub fn is_destroyed(&self) -> bool {
        self.lanes.iter().all(Lane::is_closed)
    }

    /// Where an idle item goes that is queued now.
    #[inline]
    pub(super) fn home(&self) -> usize {
        match self.runner {
            Runner::Pool(Class::Normal | Class::High) => here(),
            Runner::Pool(Class::Unbound) => self.pools.least_loaded(here()),
            Runner::Strand(_) => 0,
        }
    }

    /// Whether items can be queued on that core.
    pub(super) fn has_core(&self, core: usize) -> bool {
        matches!(self.runner, Runner::Pool(Class::Normal | Class::High)) && core < self.pools.cores()
    }

    /// Counts a run; `None` if the queue was destroyed.
    #[inline]
    pub(super) fn enter(&self) -> Option<Ticket> {
        let index = here() % self.lanes.len().max(1);
        let colour = self.lanes.get(index)?.enter()?;
        Some(Ticket::new(index, colour))
    }

    /// A run is over, or was taken back.
    #[inline]
    pub(super) fn leave(&self, ticket: Ticket) {
        if self.lanes.get(ticket.lane()).is_some_and(|lane| lane.leave(ticket.colour())) {
            self.changed.wake_all();
        }
    }

    /// Hands an item to its workers.
    #[inline]
    pub(super) fn link(&self, link: Link, home: usize) {
        match &self.runner {
            Runner::Pool(class) => self.pools.pool(*class, home).push(link),
            Runner::Strand(strand) => strand.push(link),
        }
    }
}

/// Lets the next flush begin.
struct Flush<'a>(&'a WorkQueue);

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        self.0.flushing.store(false, Ordering::Release);
        self.0.changed.wake_all();
    }
}

impl fmt::Debug for WorkQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (accepted, left) = self.counts();
        write!(f, "work queue {}: {accepted} accepted, {left} left", self.name)
    }
}
