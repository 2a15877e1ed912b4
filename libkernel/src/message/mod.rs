//! Messages between cores: the only way in which they interact.
//!
//! Each core has one [`Inbox`]. A sender pushes a [`Message`] and raises one interrupt at the receiver if the inbox was empty
//! ([`Inbox::push`] says so). A message carries the ownership of what it names; while it travels, that is in no other place. The
//! nodes live in what is sent, so sending neither allocates nor fails. A core never sends to itself.
//!
//! A drain takes a batch. What is left stays with the receiver, in order, and the receiver comes back for it at each scheduling point and before
//! it sleeps ([`receive_batch`]). How much can pile up is limited by how many tasks and timers concern the core, because whatever is sent
//! is under way once: a task is sent again only after it has run, the news about one after it was received, a timer after it was let go of,
//! a request after its answer. Calls are made by tasks, one at a time.

mod call;
mod cores;
mod inbox;
mod steal;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ptr::NonNull;

pub use call::{Call, Entry, RemoteCall, remote_call};
pub use cores::{BATCH, Statistics, pending, receive, receive_batch, send, statistics, waiting};
pub use inbox::{Envelope, Inbox, Node, Post, Reader};
pub use steal::StealRequest;

use crate::rcu::GraceRequest;
use crate::task::{Changed, Runnable, Task};
use crate::time::Timer;

/// Everything that one core tells another.
#[derive(Debug)]
pub enum Message {
    /// A task that slept, or is new, is to run on the receiver.
    Placed(Runnable),
    /// A task that was queued elsewhere, with its lag and its relative deadline.
    Moved(Runnable),
    /// The sender has nothing to do and asks for tasks.
    Steal(Box<StealRequest>),
    /// The answer to the receiver's request: the tasks given, or none.
    StealAnswer(Box<StealRequest>),
    /// The requested parameters of a task that is, or was, on the receiver have changed.
    Changed(Changed),
    /// A timer of the receiver's queue was cancelled elsewhere.
    TimerCancelled(Arc<Timer>),
    /// The sender's grace period waits for a quiescent state of the receiver.
    GraceRequest(Box<GraceRequest>),
    /// The answer to the receiver's request: the sender was without a reader.
    GraceAnswer(Box<GraceRequest>),
    /// A closure to run on the receiver.
    Call(Call),
}

/// Which message a node carries.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "as the messages of the same names")]
pub enum Kind {
    Placed,
    Moved,
    Steal,
    StealAnswer,
    Changed,
    TimerCancelled,
    GraceRequest,
    GraceAnswer,
    Call(Entry),
}

impl Post for Message {
    type Tag = Kind;

    fn into_envelope(self) -> Envelope<Kind> {
        match self {
            Self::Placed(runnable) => task_envelope(runnable, Kind::Placed),
            Self::Moved(runnable) => task_envelope(runnable, Kind::Moved),
            Self::Steal(request) => steal_envelope(request, Kind::Steal),
            Self::StealAnswer(request) => steal_envelope(request, Kind::StealAnswer),
            Self::Changed(news) => {
                let task = Arc::into_raw(news.into_task());
                // SAFETY: the pointer comes from an `Arc`, whose reference the message keeps.
                let node = unsafe { NonNull::from(&(*task).news().node) };
                Envelope { node, content: task.cast(), tag: Kind::Changed }
            }
            Self::TimerCancelled(timer) => {
                let timer = Arc::into_raw(timer);
                // SAFETY: the pointer comes from an `Arc`, whose reference the message keeps.
                let node = unsafe { NonNull::from(&(*timer).node) };
                Envelope { node, content: timer.cast(), tag: Kind::TimerCancelled }
            }
            Self::GraceRequest(request) => grace_envelope(request, Kind::GraceRequest),
            Self::GraceAnswer(answer) => grace_envelope(answer, Kind::GraceAnswer),
            Self::Call(call) => {
                let (node, content, entry) = call.into_parts();
                Envelope { node, content, tag: Kind::Call(entry) }
            }
        }
    }

    unsafe fn from_envelope(Envelope { node, content, tag }: Envelope<Kind>) -> Self {
        // SAFETY: by the caller's contract `into_envelope` made the envelope, so `content` is what the tag says, given back once.
        unsafe {
            let task =
                |content: *const ()| Runnable::from_raw(NonNull::new_unchecked(content.cast::<Task>().cast_mut()));
            match tag {
                Kind::Placed => Self::Placed(task(content)),
                Kind::Moved => Self::Moved(task(content)),
                Kind::Steal => Self::Steal(Box::from_raw(content.cast::<StealRequest>().cast_mut())),
                Kind::StealAnswer => Self::StealAnswer(Box::from_raw(content.cast::<StealRequest>().cast_mut())),
                Kind::Changed => Self::Changed(Changed::from_task(Arc::from_raw(content.cast::<Task>()))),
                Kind::TimerCancelled => Self::TimerCancelled(Arc::from_raw(content.cast::<Timer>())),
                Kind::GraceRequest => Self::GraceRequest(Box::from_raw(content.cast::<GraceRequest>().cast_mut())),
                Kind::GraceAnswer => Self::GraceAnswer(Box::from_raw(content.cast::<GraceRequest>().cast_mut())),
                Kind::Call(entry) => Self::Call(Call::from_parts(node, content, entry)),
            }
        }
    }
}

fn task_envelope(runnable: Runnable, tag: Kind) -> Envelope<Kind> {
    let task = runnable.into_raw();
    // SAFETY: the runnable was the only way to the scheduling state, and its pointer keeps the task alive.
    let node = unsafe { NonNull::from(&(*Task::scheduling(task.as_ref())).node) };
    Envelope { node, content: task.as_ptr().cast_const().cast(), tag }
}

fn steal_envelope(request: Box<StealRequest>, tag: Kind) -> Envelope<Kind> {
    let request = Box::into_raw(request);
    // SAFETY: the pointer was a box's a moment ago; the box's ownership is the message's now.
    let node = unsafe { NonNull::from(&(*request).node) };
    Envelope { node, content: request.cast_const().cast(), tag }
}

fn grace_envelope(request: Box<GraceRequest>, tag: Kind) -> Envelope<Kind> {
    let request = Box::into_raw(request);
    // SAFETY: as for steal requests.
    let node = unsafe { NonNull::from(&(*request).node) };
    Envelope { node, content: request.cast_const().cast(), tag }
}
