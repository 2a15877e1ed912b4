//! Running a closure on another core and waiting for what it returns.

use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{Kind, Message, Node};
use crate::sync::WaitQueue;

/// How to run the closure behind the pointer; consumes the pointer's reference.
pub type Entry = unsafe fn(*const ());

/// A closure on its way to the core that has to [`run`](Call::run) it: its caller waits for that.
#[must_use]
pub struct Call {
    node: NonNull<Node<Kind>>,
    content: *const (),
    entry: Entry,
}

// SAFETY: a call owns a reference to a `Shared`, whose closure and result are `Send`.
unsafe impl Send for Call {}

impl Call {
    /// Runs the closure here. Interrupts are as the caller has them; the closure may not sleep.
    pub fn run(self) {
        // SAFETY: `entry` belongs to `content`, whose reference this call owns and gives up here.
        unsafe { (self.entry)(self.content) }
    }

    pub(super) fn into_parts(self) -> (NonNull<Node<Kind>>, *const (), Entry) {
        (self.node, self.content, self.entry)
    }

    /// # Safety
    /// The parts come from [`into_parts`](Call::into_parts), and are used once.
    pub(super) unsafe fn from_parts(node: NonNull<Node<Kind>>, content: *const (), entry: Entry) -> Self {
        Self { node, content, entry }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({:p})", self.content)
    }
}

struct Shared<F, R> {
    node: Node<Kind>,
    /// Belongs to the call, then (after `done`) nobody.
    closure: UnsafeCell<Option<F>>,
    /// Belongs to the call until `done`, then to the waiting future.
    result: UnsafeCell<Option<R>>,
    done: AtomicBool,
    queue: WaitQueue,
}

// SAFETY: closure and result each have one owner at a time, handed over by `done` and by the message.
unsafe impl<F: Send, R: Send> Sync for Shared<F, R> {}

impl<F: FnOnce() -> R + Send, R: Send> Shared<F, R> {
    /// # Safety
    /// The pointer comes from `Arc::into_raw` and gives that reference up; no other call of this for the same value.
    unsafe fn run(content: *const ()) {
        // SAFETY: the caller's contract.
        let shared = unsafe { Arc::from_raw(content.cast::<Self>()) };
        // SAFETY: only the one call reaches the closure.
        let closure = unsafe { (*shared.closure.get()).take() };
        let result = closure.map(|closure| closure());
        // SAFETY: `done` is not set, so the result is ours.
        unsafe { *shared.result.get() = result };
        shared.done.store(true, Ordering::Release);
        shared.queue.wake_all();
    }
}

/// Prepares `closure` to run on another core: send the message, then wait for the result.
///
/// Allocates one shared cell. Who does not want the answer any more may drop the [`RemoteCall`].
pub fn remote_call<F, R>(closure: F) -> (Message, RemoteCall<F, R>)
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let shared = Arc::new(Shared {
        node: Node::new(),
        closure: UnsafeCell::new(Some(closure)),
        result: UnsafeCell::new(None),
        done: AtomicBool::new(false),
        queue: WaitQueue::new(),
    });
    let call = Call {
        node: NonNull::from(&shared.node),
        content: Arc::into_raw(shared.clone()).cast(),
        entry: Shared::<F, R>::run,
    };
    (Message::Call(call), RemoteCall { shared })
}

/// The answer of a [`remote_call`], which may still be to come.
#[must_use]
pub struct RemoteCall<F, R> {
    shared: Arc<Shared<F, R>>,
}

impl<F, R> RemoteCall<F, R> {
    /// The result if the closure has run. For callers that cannot sleep.
    pub fn try_take(&mut self) -> Option<R> {
        if !self.shared.done.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: `done` was set, so the result belongs to the one future, borrowed exclusively.
        unsafe { (*self.shared.result.get()).take() }
    }

    /// Sleeps until the closure has run, and returns what it returned.
    pub async fn wait(mut self) -> R {
        let shared = self.shared.clone();
        shared.queue.wait_until(|| self.try_take()).await
    }
}

// SAFETY: the result is reached by one thread at a time, through the one `RemoteCall`; the closure not at all.
unsafe impl<F: Send, R: Send> Send for RemoteCall<F, R> {}
