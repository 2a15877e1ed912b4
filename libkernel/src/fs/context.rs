//! Where a process stands in the tree: its root, its working directory, its umask (shared with `CLONE_FS`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::mount::Path;
use crate::sync::SpinLock;

/// Root directory, working directory and umask.
pub struct FsContext {
    places: SpinLock<Places>,
    umask: AtomicU32,
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
        Self { places: SpinLock::new(Places { working: root.clone(), root }), umask: AtomicU32::new(0o022) }
    }

    /// A copy that changes independently, for a new process.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { places: SpinLock::new(self.places.lock().clone()), umask: AtomicU32::new(self.umask()) }
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
