//! What is done when a grace period is over: an intrusive list of callbacks, so that retiring allocates nothing.

use core::cell::Cell;
use core::ptr::{self, NonNull};

/// What a callback does; consumes what the head is part of.
pub(super) type Run = unsafe fn(NonNull<Head>);

/// The part of an object by which it waits for the end of a grace period.
pub(super) struct Head {
    next: Cell<*const Head>,
    run: Cell<Option<Run>>,
}

impl Head {
    pub(super) const fn new() -> Self {
        Self { next: Cell::new(ptr::null()), run: Cell::new(None) }
    }
}

/// Something to do once, after a grace period. Dropped without having been [`run`](Callback::run), it leaks.
#[must_use = "a callback that is not run leaks"]
pub struct Callback {
    head: NonNull<Head>,
}

// SAFETY: a callback owns what its head is part of, which `new` demands to be fit for any core.
unsafe impl Send for Callback {}

impl Callback {
    /// # Safety
    /// The caller gives up what `head` is part of, which `run` may consume on any core at any later time. Nobody else touches the head;
    /// readers may go on to read the rest until a grace period has passed.
    pub(super) unsafe fn new(head: NonNull<Head>, run: Run) -> Self {
        // SAFETY: the caller's contract: the head is alive and ours.
        unsafe { head.as_ref() }.run.set(Some(run));
        Self { head }
    }

    /// Does it.
    pub fn run(self) {
        // SAFETY: the head is alive until its callback has run, and this is the only one.
        if let Some(run) = unsafe { self.head.as_ref() }.run.take() {
            // SAFETY: the contract of `new`.
            unsafe { run(self.head) }
        }
    }
}

/// Callbacks in the order in which they came. Dropping a list leaks what is in it.
pub struct Callbacks {
    first: *const Head,
    last: *const Head,
    count: usize,
}

// SAFETY: the callbacks of the list may be sent between cores.
unsafe impl Send for Callbacks {}

impl Callbacks {
    /// None.
    pub const fn new() -> Self {
        Self { first: ptr::null(), last: ptr::null(), count: 0 }
    }

    /// Adds one at the end.
    #[inline]
    pub fn push(&mut self, callback: Callback) {
        let head = callback.head;
        // SAFETY: the list owns the callback from here on; its head is alive.
        unsafe { head.as_ref() }.next.set(ptr::null());
        self.append_chain(head.as_ptr(), head.as_ptr(), 1);
    }

    /// Takes the first.
    #[inline]
    pub fn pop(&mut self) -> Option<Callback> {
        let head = NonNull::new(self.first.cast_mut())?;
        // SAFETY: the heads in the list are alive.
        self.first = unsafe { head.as_ref() }.next.get();
        if self.first.is_null() {
            self.last = ptr::null();
        }
        self.count -= 1;
        Some(Callback { head })
    }

    /// Adds all of `other` at the end.
    pub fn append(&mut self, other: Callbacks) {
        if other.count != 0 {
            self.append_chain(other.first, other.last, other.count);
        }
    }

    /// All of them; none are left.
    pub fn take(&mut self) -> Callbacks {
        core::mem::take(self)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    fn append_chain(&mut self, first: *const Head, last: *const Head, count: usize) {
        // SAFETY: `last` is the last head of this list or null.
        match unsafe { self.last.as_ref() } {
            Some(end) => end.next.set(first),
            None => self.first = first,
        }
        self.last = last;
        self.count += count;
    }
}

impl Default for Callbacks {
    fn default() -> Self {
        Self::new()
    }
}
