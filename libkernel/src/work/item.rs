//! Work items: a function with a state, and the handle that users hold.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

use super::body::{Body, Function};
use super::queue::WorkQueue;
use super::state::{ItemState, Queueing, Ticket, Turn};
use crate::machine;
use crate::message::{Envelope, Node, Post};
use crate::sync::WaitQueue;
use crate::task::uninterruptible;

/// Why an item was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its queue was destroyed.
    Destroyed,
    /// It is being cancelled, by somebody who waits for that.
    Cancelling,
    /// That core is not online, or the queue is not one of cores.
    NoSuchCore,
}

/// An item of work for one queue, whose [`WorkQueue::work`] made it: a function that makes a future, run by the queue's workers.
///
/// This is a counted handle. Dropping it neither cancels a run that was accepted nor leaks anything. An item runs once for each accepted
/// request, never on two cores at once, and a run sees everything that happened before the request. It may be queued again when it
/// has finished, while it runs (it runs once more then), and by itself.
#[derive(Clone)]
pub struct Work(Arc<Item>);

impl Work {
    pub(super) fn new<F, R>(queue: &Arc<WorkQueue>, function: F) -> Self
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(Item {
            node: Node::new(),
            state: ItemState::new(),
            home: AtomicUsize::new(0),
            queue: queue.clone(),
            changed: WaitQueue::new(),
            body: UnsafeCell::new(Box::pin(Function::new(function))),
        }))
    }

    /// Asks for a run, on this core if the queue is one of cores. `Ok(false)`: it is queued already, and the run to come will do.
    ///
    /// Any context, interrupt handlers too. Allocates nothing, does not wait.
    ///
    /// # Errors
    /// [`Refused::Destroyed`], [`Refused::Cancelling`].
    #[inline]
    pub fn queue(&self) -> Result<bool, Refused> {
        self.0.queue_at(self.0.queue.home())
    }

    /// As [`queue`](Work::queue), on the given core. If the item has a home at the moment (it is queued, or runs) it stays there.
    ///
    /// # Errors
    /// As above, and [`Refused::NoSuchCore`].
    pub fn queue_on(&self, core: usize) -> Result<bool, Refused> {
        if !self.0.queue.has_core(core) {
            return Err(Refused::NoSuchCore);
        }
        self.0.queue_at(core)
    }

    /// Takes a request back that has led to no run yet. `true`: there was one. A run that has begun goes on. Any context.
    pub fn cancel(&self) -> bool {
        self.0.give_back(self.0.state.cancel())
    }

    /// Takes a request back, refuses others, and sleeps until no run goes on: afterwards the item is idle, until it is queued again.
    /// `true`: a request was taken back. Not for the item's own run, which it would wait for.
    pub async fn cancel_and_wait(&self) -> bool {
        self.quiesce(|| ()).await
    }

    /// As [`cancel_and_wait`](Work::cancel_and_wait), with something done at the end while requests are still refused.
    pub(super) async fn quiesce(&self, last: impl FnOnce()) -> bool {
        let item = &self.0;
        let cancelled = item.give_back(item.state.block());
        let _unblock = Unblock(item);
        uninterruptible(item.changed.wait_until(|| item.state.is_at_rest().then_some(()))).await;
        last();
        cancelled
    }

    /// Sleeps until every run that was asked for before this call has ended or was cancelled. Not for the item's own run.
    pub async fn flush(&self) {
        let item = &self.0;
        if let Some(target) = item.state.target() {
            uninterruptible(item.changed.wait_until(|| item.state.has_reached(target).then_some(()))).await;
        }
    }

    /// Whether a run is wanted that has not begun; a hint.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.0.state.is_queued()
    }

    /// The queue it belongs to.
    #[must_use]
    pub fn work_queue(&self) -> &Arc<WorkQueue> {
        &self.0.queue
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "work of {:?}: {:?}", self.0.queue.name(), self.0.state)
    }
}

/// Lets an item be queued again.
struct Unblock<'a>(&'a Item);

impl Drop for Unblock<'_> {
    fn drop(&mut self) {
        self.0.state.unblock();
    }
}

/// What stands behind a [`Work`].
pub(super) struct Item {
    /// Belongs to the [`Link`].
    node: Node<()>,
    state: ItemState,
    /// The core of its pool. Written by who makes the link of an idle item.
    home: AtomicUsize,
    queue: Arc<WorkQueue>,
    /// Woken when a run ends and when a request is taken back.
    changed: WaitQueue,
    /// Belongs to the link's holder while the item is polled.
    body: UnsafeCell<Pin<Box<dyn Body>>>,
}

// SAFETY: the body is `Send` and reached only by the holder of the one link; the state's operations hand it over with release and acquire.
// Everything else is atomic or locked.
unsafe impl Sync for Item {}

impl Item {
    #[inline]
    fn queue_at(self: &Arc<Self>, home: usize) -> Result<bool, Refused> {
        let refused = |queueing| match queueing {
            Queueing::Blocked => Err(Refused::Cancelling),
            _ => Ok(false),
        };
        if let Some(refusal) = self.state.refusal() {
            return refused(refusal);
        }
        let ticket = self.queue.enter().ok_or(Refused::Destroyed)?;
        match self.state.queue(ticket) {
            Queueing::Link => {
                self.home.store(home, Ordering::Relaxed);
                self.queue.link(Link(self.clone()), home);
                Ok(true)
            }
            Queueing::Accepted => Ok(true),
            other => {
                self.queue.leave(ticket);
                refused(other)
            }
        }
    }

    /// A request was taken back, if there is a ticket of it.
    fn give_back(&self, ticket: Option<Ticket>) -> bool {
        if let Some(ticket) = ticket {
            self.queue.leave(ticket);
            self.changed.wake_all();
        }
        ticket.is_some()
    }
}

impl alloc::task::Wake for Item {
    fn wake(self: Arc<Self>) {
        if self.state.wake() {
            let home = self.home.load(Ordering::Relaxed);
            let queue = self.queue.clone();
            queue.link(Link(self), home);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.wake() {
            self.queue.link(Link(self.clone()), self.home.load(Ordering::Relaxed));
        }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        // What a run waited for went away without waking it: the run is over.
        self.state.tickets().into_iter().flatten().for_each(|ticket| self.queue.leave(ticket));
    }
}

/// An item in its pool's hands: in the inbox, in the list, or about to be polled.
///
/// # Invariants
/// There is one exactly while the item's state is linked.
pub(super) struct Link(Arc<Item>);

/// What became of an item's turn.
pub(super) enum After {
    /// The pool has let go of it.
    Gone,
    /// The run goes on at once, or another one is wanted: put it at the back.
    Again(Link),
}

impl Link {
    /// One poll of the run that goes on or is wanted.
    pub(super) fn turn(self) -> After {
        let Self(item) = self;
        match item.state.take() {
            Turn::Start => item.start(),
            Turn::Resume => {}
            Turn::Nothing => return After::Gone,
        }
        let waker = Waker::from(item.clone());
        match item.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => item.finish(),
            Poll::Pending if item.state.end_poll() => After::Again(Self(item)),
            Poll::Pending => After::Gone,
        }
    }

    /// The run that is wanted, from its beginning to its end, as part of the caller's.
    pub(super) async fn whole_run(self) -> After {
        let Self(item) = self;
        match item.state.take() {
            Turn::Start => item.start(),
            Turn::Resume => {}
            Turn::Nothing => return After::Gone,
        }
        core::future::poll_fn(|context| item.poll(context)).await;
        item.finish()
    }

    /// Where it belongs.
    pub(super) fn queue(&self) -> &Arc<WorkQueue> {
        &self.0.queue
    }
}

impl Item {
    fn start(&self) {
        // SAFETY: the caller took the link apart and holds the item; no other reference to the body exists.
        unsafe { &mut *self.body.get() }.as_mut().start();
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: as in `start`; the link is made anew only after the poll.
        unsafe { &mut *self.body.get() }.as_mut().poll(context)
    }

    /// The run is over.
    fn finish(self: Arc<Self>) -> After {
        let ended = self.state.finish();
        self.queue.leave(ended.ticket);
        self.changed.wake_all();
        if ended.again { After::Again(Link(self)) } else { After::Gone }
    }
}

impl Post for Link {
    type Tag = ();

    fn into_envelope(self) -> Envelope<()> {
        let item = Arc::into_raw(self.0);
        // SAFETY: the pointer comes from an `Arc`, whose reference the message keeps.
        let node = unsafe { NonNull::from(&(*item).node) };
        Envelope { node, content: item.cast(), tag: () }
    }

    unsafe fn from_envelope(envelope: Envelope<()>) -> Self {
        // SAFETY: by the caller's contract `into_envelope` made it, and it is used once.
        Self(unsafe { Arc::from_raw(envelope.content.cast::<Item>()) })
    }
}

/// The core to queue on, for queues of cores.
#[inline]
pub(super) fn here() -> usize {
    machine::core_id()
}
