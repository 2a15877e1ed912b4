//! The inbox of a core: an intrusive lock-free stack with many senders, emptied whole by its owner and turned round to arrival order.
//!
//! Senders: any context, no allocation, lock-free. Owner: any context of its core, one at a time.
//!
//! # Why one interrupt is enough
//! A push and the owner's swap are read-modify-write operations on one word, so they have one order. A push that finds the inbox empty
//! raises the interrupt; one that finds it filled comes before the swap of an owner who has still to come, because of the interrupt
//! that the first one raised. An owner that goes idle masks interrupts, looks once more, and sleeps in a state that a pending
//! interrupt ends: no message is left behind by a core that sleeps.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use crate::sync::atomic::{AtomicPtr, Cell, Ordering};

/// What links a message into an inbox; part of what is sent.
#[derive(Debug)]
pub struct Node<T: Copy> {
    next: Cell<*const Node<T>>,
    content: Cell<*const ()>,
    tag: Cell<Option<T>>,
}

impl<T: Copy> Node<T> {
    /// A node that is in no inbox.
    pub fn new() -> Self {
        Self { next: Cell::new(ptr::null()), content: Cell::new(ptr::null()), tag: Cell::new(None) }
    }
}

impl<T: Copy> Default for Node<T> {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: a node is reached only by the owner of what it is part of: the sender before the push, the receiver after the swap. The
// push releases and the swap acquires.
unsafe impl<T: Copy + Send> Send for Node<T> {}
// SAFETY: as above; there are no shared accesses.
unsafe impl<T: Copy + Send> Sync for Node<T> {}

/// A message taken apart: a node, and the pointer and the tag that make it whole again.
#[derive(Debug)]
pub struct Envelope<T: Copy> {
    /// The node inside what is sent.
    pub node: NonNull<Node<T>>,
    /// The owning pointer of what is sent.
    pub content: *const (),
    /// Which kind of message it is.
    pub tag: T,
}

/// Something that can be sent.
pub trait Post: Send + Sized {
    /// What tells the kinds of messages apart.
    type Tag: Copy + Send;

    /// Takes the message apart. The node belongs to it alone and stays valid until it is put together again.
    fn into_envelope(self) -> Envelope<Self::Tag>;

    /// Puts a message together.
    ///
    /// # Safety
    /// The envelope comes from [`into_envelope`](Post::into_envelope) of the same type, and is used once.
    unsafe fn from_envelope(envelope: Envelope<Self::Tag>) -> Self;
}

/// The inbox.
#[derive(Debug)]
pub struct Inbox<M: Post> {
    last: AtomicPtr<Node<M::Tag>>,
    marker: PhantomData<M>,
}

// SAFETY: messages may be sent between cores, and the inbox does nothing else with them.
unsafe impl<M: Post> Send for Inbox<M> {}
// SAFETY: as above.
unsafe impl<M: Post> Sync for Inbox<M> {}

impl<M: Post> Inbox<M> {
    /// An empty inbox.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { last: AtomicPtr::new(ptr::null_mut()), marker: PhantomData }
    }

    /// An empty inbox.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { last: AtomicPtr::new(ptr::null_mut()), marker: PhantomData }
    }

    /// Sends a message. `true`: the inbox was empty, and the caller has to interrupt its owner.
    #[inline]
    #[must_use = "an inbox that was empty needs its owner interrupted"]
    pub fn push(&self, message: M) -> bool {
        let Envelope { node, content, tag } = message.into_envelope();
        // SAFETY: the node is part of the message that we own.
        let fields = unsafe { node.as_ref() };
        fields.content.set(content);
        fields.tag.set(Some(tag));
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            fields.next.set(last);
            match self.last.compare_exchange_weak(last, node.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return last.is_null(),
                Err(current) => last = current,
            }
        }
    }

    /// Whether nothing has arrived since the owner looked last. Exact for the owner with interrupts masked, a hint for others.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.last.load(Ordering::Relaxed).is_null()
    }
}

impl<M: Post> Default for Inbox<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Post> Drop for Inbox<M> {
    fn drop(&mut self) {
        let mut reader = Reader::new();
        while reader.next(self).is_some() {}
    }
}

/// The owner's end: what has been taken out of the inbox and not been read yet, in order of arrival.
#[derive(Debug)]
pub struct Reader<M: Post> {
    first: *const Node<M::Tag>,
    marker: PhantomData<M>,
}

// SAFETY: the messages it holds may be sent between cores.
unsafe impl<M: Post> Send for Reader<M> {}

impl<M: Post> Reader<M> {
    /// A reader that holds nothing.
    pub const fn new() -> Self {
        Self { first: ptr::null(), marker: PhantomData }
    }

    /// The next message, if there is one. A bounded drain calls it a bounded number of times, and does not sleep unless inbox and reader
    /// are empty then.
    #[inline]
    pub fn next(&mut self, inbox: &Inbox<M>) -> Option<M> {
        if self.first.is_null() {
            if inbox.is_empty() {
                return None;
            }
            self.take_all(inbox);
        }
        let node = NonNull::new(self.first.cast_mut())?;
        // SAFETY: the node was pushed and taken out; the message is ours.
        let fields = unsafe { node.as_ref() };
        self.first = fields.next.get();
        let (content, tag) = (fields.content.get(), fields.tag.take()?);
        // SAFETY: `push` took this message apart, and it is out of the list now.
        Some(unsafe { M::from_envelope(Envelope { node, content, tag }) })
    }

    /// Whether the reader holds nothing; the inbox may.
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    fn take_all(&mut self, inbox: &Inbox<M>) {
        let mut node = inbox.last.swap(ptr::null_mut(), Ordering::Acquire).cast_const();
        let mut reversed = ptr::null();
        while !node.is_null() {
            // SAFETY: the swap made every node of the list ours.
            let fields = unsafe { &*node };
            let earlier = fields.next.replace(reversed);
            reversed = node;
            node = earlier;
        }
        self.first = reversed;
    }
}

impl<M: Post> Default for Reader<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Post> Drop for Reader<M> {
    fn drop(&mut self) {
        let nothing_new = Inbox::<M>::new();
        while !self.first.is_null() {
            drop(self.next(&nothing_new));
        }
        core::mem::forget(nothing_new);
    }
}
