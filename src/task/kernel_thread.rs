//! Kernel threads of this kernel: how they start, and how `ps` sees them.
//!
//! What a kernel thread is, is `libkernel::task::kernel_thread`'s. Here each gets an entry in the table of processes, as a child of
//! `kthreadd`, which takes the entries of ended threads out again.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;

use libkernel::process::kernel_thread::Entry;
use libkernel::sync::{SetOnce, SpinLock, WaitQueue};
use libkernel::task::kernel_thread::{Control, KernelThread};
use libkernel::task::{AffinityMask, Task};
use libkernel::{Errno, Result};

/// Where a kernel thread may run, and how it is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The one core that it is bound to, or any.
    pub core: Option<usize>,
    /// The nice value, -20 to 19.
    pub nice: i8,
}

impl Placement {
    /// On any core, with the nice value 0.
    pub const ANYWHERE: Self = Self { core: None, nice: 0 };

    /// On that core alone.
    pub const fn on(core: usize) -> Self {
        Self { core: Some(core), nice: 0 }
    }

    /// With another nice value.
    pub const fn nice(self, nice: i8) -> Self {
        Self { nice, ..self }
    }

    fn apply(self, task: &Task) {
        let parameters = task.parameters();
        parameters.set_nice(self.nice);
        if let Some(core) = self.core {
            parameters.set_affinity(AffinityMask::only(core));
        }
    }
}

/// The parent of all kernel threads: its entry, and the entries of those that have ended.
struct Parent {
    entry: Entry,
    ended: SpinLock<Vec<Entry>>,
    changed: WaitQueue,
}

static PARENT: SetOnce<Parent> = SetOnce::new();

/// Starts `kthreadd`. After the first process has taken its number, before the first [`spawn`].
///
/// # Errors
/// `ENOMEM`.
pub fn init() -> Result<()> {
    let task = Task::new("kthreadd", reap());
    let entry = Entry::new(&task, None)?;
    let parent = Parent { entry, ended: SpinLock::new(Vec::new()), changed: WaitQueue::new() };
    PARENT.set(parent).map_err(|_| Errno::EEXIST)?;
    task.wake();
    Ok(())
}

/// What `kthreadd` does.
async fn reap() {
    let Some(parent) = PARENT.get() else { return };
    loop {
        let entry = parent.changed.wait_until(|| parent.ended.lock().pop()).await;
        entry.remove();
    }
}

/// Makes and starts a kernel thread. May allocate; may not be called in an interrupt.
///
/// # Errors
/// `EAGAIN` without a free number, `ENOMEM`, `ESRCH` before [`init`].
pub fn spawn<T, F, R>(name: &str, placement: Placement, function: F) -> Result<KernelThread<T>>
where
    T: Clone + Send + 'static,
    F: FnOnce(Control) -> R + Send + 'static,
    R: Future<Output = T> + Send,
{
    let thread = prepare(name, placement, function)?;
    thread.start();
    Ok(thread)
}

/// As [`spawn`], but the thread starts when it is told to, or is stopped.
///
/// # Errors
/// As for [`spawn`].
pub fn prepare<T, F, R>(name: &str, placement: Placement, function: F) -> Result<KernelThread<T>>
where
    T: Clone + Send + 'static,
    F: FnOnce(Control) -> R + Send + 'static,
    R: Future<Output = T> + Send,
{
    let parent = PARENT.get().ok_or(Errno::ESRCH)?;
    let slot: Arc<SpinLock<Option<Entry>>> = Arc::new(SpinLock::new(None));
    let own = Leaving(slot.clone());
    let thread = KernelThread::new(name, move |control| async move {
        let _leaving = own;
        function(control).await
    });
    placement.apply(thread.task());
    let entry = Entry::new(thread.task(), Some(&parent.entry))?;
    *slot.lock() = Some(entry);
    Ok(thread)
}

/// Hands the entry of an ending thread to `kthreadd`, also if its function never ran.
struct Leaving(Arc<SpinLock<Option<Entry>>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let (Some(parent), Some(entry)) = (PARENT.get(), self.0.lock().take()) else { return };
        parent.ended.lock().push(entry);
        parent.changed.wake_all();
    }
}
