//! Where a process stands in the tree: its root, its working directory, its umask (shared with `CLONE_FS`).
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::ops::Deref;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

use super::mount::Path;
use crate::sync::SpinLock;

/// Root directory, working directory and umask.
pub struct FsContext {
    places: SpinLock<Places>,
    umask: AtomicU32,
    /// How many [`FsShare`]s there are.
    shares: AtomicUsize,
}

#[derive(Clone)]
struct Places {
    root: Path,
    working: Path,
}

impl FsContext {
    /// A context whose root and working directory are `root`, with the umask 022.
    #[must_use]
    pub fn new(root: Path) -> Self {
        Self::at(Places { working: root.clone(), root }, 0o022)
    }

    /// A copy that changes independently, for a new process.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::at(self.places.lock().clone(), self.umask())
    }

    fn at(places: Places, umask: u32) -> Self {
        Self { places: SpinLock::new(places), umask: AtomicU32::new(umask), shares: AtomicUsize::new(0) }
    }

    /// Does more than one thread work here? Said to the only thread of a process it means: another process does.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shares.load(Acquire) > 1
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> Path {
        self.places.lock().root.clone()
    }

    /// The working directory.
    #[must_use]
    pub fn working_directory(&self) -> Path {
        self.places.lock().working.clone()
    }

    /// Changes the root directory.
    pub fn set_root(&self, path: Path) {
        let old = core::mem::replace(&mut self.places.lock().root, path);
        drop(old);
    }

    /// Changes the working directory.
    pub fn set_working_directory(&self, path: Path) {
        let old = core::mem::replace(&mut self.places.lock().working, path);
        drop(old);
    }

    /// The permission bits that new files do not get.
    #[must_use]
    pub fn umask(&self) -> u32 {
        self.umask.load(Relaxed)
    }

    /// Sets the umask and returns the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        self.umask.swap(umask & 0o777, Relaxed)
    }
}

/// A thread's share in a context. Who only looks at another thread's directories refers to the context ([`Arc`]) and does not count.
pub struct FsShare(Arc<FsContext>);

impl FsShare {
    /// The first share in `context`, or one more.
    #[must_use]
    pub fn new(context: Arc<FsContext>) -> Self {
        context.shares.fetch_add(1, Relaxed);
        Self(context)
    }
}

impl Clone for FsShare {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Deref for FsShare {
    type Target = Arc<FsContext>;

    #[inline]
    fn deref(&self) -> &Arc<FsContext> {
        &self.0
    }
}

impl Drop for FsShare {
    fn drop(&mut self) {
        self.0.shares.fetch_sub(1, AcqRel);
    }
}
