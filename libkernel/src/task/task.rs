//! The task itself.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::cell::UnsafeCell;
use core::fmt;
use core::future::Future;
use core::mem::ManuallyDrop;
use core::num::NonZeroU64;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

use super::changed::News;
#[cfg(debug_assertions)]
use super::registry;
use super::state::{Activity, TaskState};
use super::{Accounting, Parameters, Runnable, WaitLocation, current, ready, waker};
use crate::machine;
use crate::message;
use crate::sched::{Entity, NotedPosition, Position};
use crate::sync::{Hold, SetOnce};

/// A number that no other task ever has; it breaks ties between equal deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        Self(NonZeroU64::new(id).unwrap_or(NonZeroU64::MAX))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// What the executor has to do after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the executor has to carry the decision out"]
pub enum Decision {
    /// The task is ready: put it back among the waiting.
    Requeue,
    /// The task waits: take it off the run queue, then [`Runnable::park`] it.
    Sleep,
    /// The task is done: take it off the run queue and drop it.
    Finished,
}

type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A future with a run state, scheduling state, and what `/proc` tells about it.
pub struct Task {
    state: TaskState,
    interrupt: AtomicBool,
    /// How many waits are under way that no signal handler ends.
    unyielding: AtomicU32,
    id: TaskId,
    /// Belongs to whoever polls the task, that is, to whoever took the state from ready to running.
    future: UnsafeCell<Option<TaskFuture>>,
    /// Belongs to the holder of the [`Runnable`].
    scheduling: UnsafeCell<Scheduling>,
    parameters: Parameters,
    position: NotedPosition,
    news: News,
    accounting: Accounting,
    waiting: WaitLocation,
    name: [AtomicU64; 2],
    owner: SetOnce<Weak<dyn Any + Send + Sync>>,
    #[cfg(debug_assertions)]
    registered: registry::Place,
}

/// What only the holder of a task's [`Runnable`] reaches.
#[derive(Debug)]
pub struct Scheduling {
    /// The run queue's part.
    pub entity: Entity<Runnable>,
    /// Links the task into an inbox while it travels.
    pub(crate) node: message::Node<message::Kind>,
}

// SAFETY: the future is `Send` and is reached only by the core that polls it; the scheduling state is reached only through the
// one `Runnable`; both change hands by the release and acquire operations of the run state; the node of the news is reached only through
// the one `Changed`. Everything else is atomic.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    /// A task that has not started; the first [`wake`](Task::wake) starts it. The name is cut to 15 bytes.
    pub fn new(name: &str, future: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        Self::from_boxed(name, Box::pin(future))
    }

    /// As [`Task::new`], from a future that is on the heap already.
    pub fn from_boxed(name: &str, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Arc<Self> {
        let id = TaskId::next();
        let task = Self {
            state: TaskState::new(),
            interrupt: AtomicBool::new(false),
            unyielding: AtomicU32::new(0),
            id,
            future: UnsafeCell::new(Some(future)),
            scheduling: UnsafeCell::new(Scheduling { entity: Entity::new(id.get()), node: message::Node::new() }),
            parameters: Parameters::default(),
            position: NotedPosition::default(),
            news: News::new(),
            accounting: Accounting::default(),
            waiting: WaitLocation::default(),
            name: [const { AtomicU64::new(0) }; 2],
            owner: SetOnce::new(),
            #[cfg(debug_assertions)]
            registered: registry::Place::take(),
        };
        task.set_name(name.as_bytes());
        let task = Arc::new(task);
        #[cfg(debug_assertions)]
        task.registered.fill(Arc::as_ptr(&task).addr());
        task
    }

    /// The task's number.
    #[inline]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The name, padded with zeros; the last byte is always zero.
    pub fn name(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&self.name) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        bytes
    }

    /// Changes the name, cut to 15 bytes. A reader at the same time may see half of each.
    pub fn set_name(&self, name: &[u8]) {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(name).take(15).for_each(|(to, from)| *to = *from);
        let (words, _) = bytes.as_chunks::<8>();
        for (word, chunk) in self.name.iter().zip(words) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
    }

    /// Says on whose behalf the task runs, for instance a user thread; only the first counts.
    pub fn set_owner(&self, owner: Weak<dyn Any + Send + Sync>) {
        // A second owner would be dropped unused.
        let _ = self.owner.set(owner);
    }

    /// On whose behalf the task runs, if that is a living `T`.
    pub fn owner<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.owner.get()?.upgrade()?.downcast().ok()
    }

    /// What the task is doing, as a hint.
    #[inline]
    pub fn activity(&self) -> Activity {
        self.state.activity()
    }

    /// Nice value, policy, affinity and the like.
    #[inline]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where it waits in the run queue of the calling core, if it does: see [`RunQueue::refresh`](crate::sched::RunQueue::refresh).
    pub fn position(&self) -> Position {
        self.position.get()
    }

    /// Times and counters.
    #[inline]
    pub fn accounting(&self) -> &Accounting {
        &self.accounting
    }

    /// Where the task sleeps, when it sleeps.
    #[inline]
    pub fn waiting(&self) -> &WaitLocation {
        &self.waiting
    }

    /// Wakes the task: it will be polled after everything the caller did before. Any context.
    #[inline]
    pub fn wake(self: &Arc<Self>) {
        if self.state.wake() {
            ready::enqueue(Runnable::claimed(self.clone()));
        }
    }

    /// As [`wake`](Task::wake), giving the reference away.
    #[inline]
    pub fn wake_owned(self: Arc<Self>) {
        if self.state.wake() {
            ready::enqueue(Runnable::claimed(self));
        }
    }

    /// Asks interruptible waits of this task to end (or no longer), and wakes it if so; on another core it is interrupted in user mode.
    pub fn set_interrupt(self: &Arc<Self>, requested: bool) {
        self.interrupt.store(requested, Ordering::SeqCst);
        if !requested {
            return;
        }
        self.wake();
        let _here = Hold::new();
        // A task that starts to run after this look sees the request before it enters user mode.
        let core = self.accounting.last_core();
        if self.activity() == Activity::Running && core != machine::core_id() {
            machine::raise_ipi(core);
        }
    }

    /// Whether interruptible waits of this task should end.
    #[inline]
    pub fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Acquire)
    }

    /// Whether it is in a wait that no signal handler ends: see [`uninterruptible`](super::uninterruptible).
    pub fn is_uninterruptible(&self) -> bool {
        self.unyielding.load(Ordering::Relaxed) > 0
    }

    pub(super) fn begin_uninterruptible(&self) {
        self.unyielding.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_uninterruptible(&self) {
        self.unyielding.fetch_sub(1, Ordering::Relaxed);
    }

    /// A waker of this task.
    pub fn waker(self: &Arc<Self>) -> Waker {
        waker::from_arc(self.clone())
    }

    /// The task that a waker wakes, if it is a task's.
    #[inline]
    pub fn from_waker(waker: &Waker) -> Option<&Self> {
        waker::task_of(waker)
    }

    /// Polls the task once. For an executor that holds its [`Runnable`] as the current one of its core.
    ///
    /// Interrupts are enabled and no scheduler state is borrowed meanwhile. A future that is done is dropped in here.
    pub fn poll(self: &Arc<Self>) -> Decision {
        if !self.state.begin_poll() {
            debug_assert!(false, "a task that was not ready was polled");
            return Decision::Finished;
        }
        // SAFETY: the state went from ready to running in our hands; until it leaves running nobody else reaches the future.
        let future = unsafe { &mut *self.future.get() };
        // SAFETY: the pointer comes from an `Arc`; `ManuallyDrop` leaves its reference count alone.
        let waker = ManuallyDrop::new(unsafe { waker::from_raw(Arc::as_ptr(self)) });
        let done = {
            let _current = current::Entered::new(self);
            let done = match future {
                Some(future) => matches!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(())),
                None => true,
            };
            if done {
                *future = None;
            }
            done
        };
        if done {
            self.state.finish();
            Decision::Finished
        } else if self.state.end_poll() {
            Decision::Requeue
        } else {
            Decision::Sleep
        }
    }

    #[inline]
    pub(crate) fn news(&self) -> &News {
        &self.news
    }

    #[inline]
    pub(super) fn noted_position(&self) -> &NotedPosition {
        &self.position
    }

    #[inline]
    pub(super) fn state(&self) -> &TaskState {
        &self.state
    }

    #[inline]
    pub(crate) fn scheduling(&self) -> *mut Scheduling {
        self.scheduling.get()
    }
}

impl Drop for Task {
    #[inline]
    fn drop(&mut self) {
        current::wait_for_observer(self);
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        let name = name.get(..length).unwrap_or_default();
        write!(f, "task {} ({}) {:?}", self.id.get(), name.escape_ascii(), self.activity())?;
        if self.activity() == Activity::Asleep { write!(f, " at {}", self.waiting) } else { Ok(()) }
    }
}
