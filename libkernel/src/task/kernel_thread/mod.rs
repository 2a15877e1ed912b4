//! Kernel threads: tasks with a name and a handle, that can be stopped, parked, and joined.
//!
//! The thread's function is async and gets a [`Control`], by which it learns what is asked of it; it sleeps in [`Control::wait`], which
//! ends when something is asked. Nobody is stopped by force: a thread ends by returning.
//!
//! ```text
//! let thread = KernelThread::new("flusher", |control| async move {
//!     let mut flushed = 0;
//!     while !control.should_stop() {
//!         control.park_if_asked().await;
//!         if let Ok(page) = control.wait(dirty.next()).await { page.write().await; flushed += 1 }
//!     }
//!     flushed
//! });
//! thread.start();
//! ...
//! let flushed = thread.stop().await;
//! ```
#![forbid(unsafe_code)]

mod state;

#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use self::state::{Parking, ThreadState};
use super::{Task, uninterruptible};
use crate::sync::{SpinLock, WaitQueue};

/// How a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit<T> {
    /// Its function returned this.
    Value(T),
    /// It was stopped before it ran for the first time, and did nothing.
    NeverRan,
}

/// Something was asked of the thread while it waited: see [`Control::should_stop`], [`Control::park_if_asked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked;

/// What the thread and its handles share, apart from the result.
struct Shared {
    state: ThreadState,
    /// Woken when the thread has parked, was unparked, or has ended.
    changed: WaitQueue,
}

/// What a thread knows of its handles' wishes.
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    /// Whether the thread is asked to end.
    #[must_use]
    pub fn should_stop(&self) -> bool {
        self.shared.state.should_stop()
    }

    /// Whether the thread is asked to park.
    #[must_use]
    pub fn should_park(&self) -> bool {
        self.shared.state.should_park()
    }

    /// Waits for `future`, or until something is asked of the thread. A future that is ready wins.
    ///
    /// # Errors
    /// [`Asked`].
    pub async fn wait<F: Future>(&self, future: F) -> Result<F::Output, Asked> {
        let mut future = pin!(future);
        let state = &self.shared.state;
        // A handle changes the state and then wakes the task; here the future registers and then the state is looked at.
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if state.should_stop() || state.should_park() => Poll::Ready(Err(Asked)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// If the thread is asked to park, it does: it sleeps here until it is unparked, or asked to end. Other wakes leave it asleep.
    pub async fn park_if_asked(&self) {
        poll_fn(|_| {
            if !self.shared.state.stay() {
                return Poll::Ready(());
            }
            self.shared.changed.wake_all();
            Poll::Pending
        })
        .await;
    }
}

/// A kernel thread's handle. Dropping it leaves the thread alone.
pub struct KernelThread<T> {
    task: Arc<Task>,
    shared: Arc<Shared>,
    exit: Arc<SpinLock<Option<Exit<T>>>>,
}

impl<T: Clone + Send + 'static> KernelThread<T> {
    /// A thread that has not started; `function` makes what it does. The name is cut to 15 bytes.
    pub fn new<F, R>(name: &str, function: F) -> Self
    where
        F: FnOnce(Control) -> R + Send + 'static,
        R: Future<Output = T> + Send,
    {
        let shared = Arc::new(Shared { state: ThreadState::new(), changed: WaitQueue::new() });
        let exit = Arc::new(SpinLock::new(None));
        let (own, result) = (shared.clone(), exit.clone());
        let task = Task::new(name, async move {
            let control = Control { shared: own.clone() };
            let value = if own.state.begin() { Exit::Value(function(control).await) } else { Exit::NeverRan };
            *result.lock() = Some(value);
            own.state.finish();
            own.changed.wake_all();
        });
        Self { task, shared, exit }
    }

    /// Starts it, or wakes it.
    pub fn start(&self) {
        self.task.wake();
    }

    /// The task, for its parameters and its accounts.
    #[must_use]
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Asks the thread to end, starts it if it was not, and sleeps until it has. May be called again, and by many.
    ///
    /// Not by the thread itself.
    pub async fn stop(&self) -> Exit<T> {
        self.ask_stop();
        self.join().await
    }

    /// Asks the thread to end. Any context.
    pub fn ask_stop(&self) {
        self.shared.state.ask_stop();
        self.task.wake();
    }

    /// Sleeps until the thread has ended; at once if it has already.
    pub async fn join(&self) -> Exit<T> {
        let ended = || if self.shared.state.is_finished() { self.exit.lock().clone() } else { None };
        uninterruptible(self.shared.changed.wait_until(ended)).await
    }

    /// Asks the thread to park, and sleeps until it has. `false`: it was unparked before or meanwhile, or has ended.
    pub async fn park(&self) -> bool {
        match self.shared.state.ask_park() {
            Parking::Remembered | Parking::Over => false,
            Parking::Asked => {
                self.task.wake();
                let settled = || self.shared.state.has_settled().then(|| self.shared.state.is_parked());
                uninterruptible(self.shared.changed.wait_until(settled)).await
            }
        }
    }

    /// Lets a parked thread go on. One that comes before the request to park is remembered, and cancels it. Any context.
    pub fn unpark(&self) {
        if self.shared.state.unpark() {
            self.shared.changed.wake_all();
            self.task.wake();
        }
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.shared.state.is_finished()
    }

    /// Whether the thread is parked.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.shared.state.is_parked()
    }
}

impl<T> fmt::Debug for KernelThread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel thread {:?}, {:?}", self.task, self.shared.state)
    }
}
