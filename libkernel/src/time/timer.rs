//! One timer: shared between its user and the core on whose queue it is.

use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::task::Waker;

use super::state::TimerState;
use crate::message::{Kind, Node};
use crate::sync::IrqSpinLock;
use crate::tree::{Element, Links};

/// A timer; see [`Alarm`](super::Alarm) for its use.
pub struct Timer {
    pub(crate) node: Node<Kind>,
    state: TimerState,
    /// Written by the user while idle; read by anyone who knows the timer to be armed or cancelled.
    home: AtomicU32,
    deadline: AtomicU64,
    sequence: AtomicU64,
    waker: IrqSpinLock<Option<Waker>>,
    /// Its user is told when a cancellation from another core has reached home, to start it again there.
    movable: bool,
    /// Belongs to the [`Armed`] token.
    links: UnsafeCell<Links<Armed>>,
}

// SAFETY: the links are reached only through the one `Armed` token, which lives in the queue of one core.
unsafe impl Send for Timer {}
// SAFETY: as above; the node belongs to the one message that a cancellation sends; the rest is atomic or locked.
unsafe impl Sync for Timer {}

impl Timer {
    /// An idle timer.
    pub(super) fn new() -> Arc<Self> {
        Self::with(false)
    }

    /// An idle timer whose waker is also woken when its home core has let go of it after a cancellation from elsewhere.
    pub(super) fn new_movable() -> Arc<Self> {
        Self::with(true)
    }

    fn with(movable: bool) -> Arc<Self> {
        Arc::new(Self {
            movable,
            node: Node::new(),
            state: TimerState::new(),
            home: Default::default(),
            deadline: Default::default(),
            sequence: Default::default(),
            waker: IrqSpinLock::new(None),
            links: UnsafeCell::new(Links::new()),
        })
    }

    /// The state.
    #[inline]
    pub(super) fn state(&self) -> &TimerState {
        &self.state
    }

    /// Whether it is armed, and goes off at `deadline` or earlier.
    pub(super) fn is_armed_until(&self, deadline: u64) -> bool {
        self.state.is_armed() && self.key().0 <= deadline
    }

    /// Whether its user wants to hear of a cancellation's end.
    pub(super) fn is_movable(&self) -> bool {
        self.movable
    }

    /// Forgets what the expiry wakes.
    pub(super) fn take_waker(&self) -> Option<Waker> {
        self.waker.lock().take()
    }

    /// Sets what the expiry wakes.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        if slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return;
        }
        let old = slot.replace(waker.clone());
        drop(slot);
        drop(old);
    }

    /// Takes an idle timer to armed; the token goes into the queue of core `home`. `None` if it is not idle.
    pub(super) fn arm(self: &Arc<Self>, home: u32, deadline: u64, sequence: u64) -> Option<Armed> {
        if !self.state.is_idle() {
            return None;
        }
        self.home.store(home, Ordering::Relaxed);
        self.deadline.store(deadline, Ordering::Relaxed);
        self.sequence.store(sequence, Ordering::Relaxed);
        self.state.arm().then(|| Armed(self.clone()))
    }

    /// It is out of the queue because it is due: wakes the user, unless it was cancelled elsewhere. Then the message that says so retires it.
    pub(super) fn expire(&self) {
        if self.state.expire() {
            self.wake();
        }
    }

    /// Wakes the user.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }

    pub(super) fn home(&self) -> u32 {
        self.home.load(Ordering::Relaxed)
    }

    pub(super) fn key(&self) -> (u64, u64) {
        (self.deadline.load(Ordering::Relaxed), self.sequence.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timer for {} on core {}", self.key().0, self.home())
    }
}

/// A timer that is in a queue: the only way to its links.
///
/// # Invariants
/// At most one exists for each timer: made when the state left idle, dropped before it returns there.
#[derive(Debug)]
pub(super) struct Armed(Arc<Timer>);

impl Armed {
    /// The timer, out of the queue.
    pub(super) fn into_timer(self) -> Arc<Timer> {
        self.0
    }
}

impl Element for Armed {
    type Key = (u64, u64);

    fn key(&self) -> (u64, u64) {
        self.0.key()
    }

    fn before(a: &(u64, u64), b: &(u64, u64)) -> bool {
        a < b
    }

    fn links(&self) -> &Links<Self> {
        // SAFETY: the links belong to the one token.
        unsafe { &*self.0.links.get() }
    }

    fn links_mut(&mut self) -> &mut Links<Self> {
        // SAFETY: the links belong to the one token, borrowed exclusively.
        unsafe { &mut *self.0.links.get() }
    }

    fn update_aggregate(&mut self) {}
}
