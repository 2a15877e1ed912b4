//! What a thread works with: its memory, its open files, its place in the file tree. Threads share these by reference as
//! clone(2) says, and give them up when they end.
#![forbid(unsafe_code)]

use super::running::Running;
use super::thread::Thread;
use crate::fs::{FdTable, FsContext, FsShare};
use crate::memory::{AddressSpace, Tenant, frames};
use crate::sync::SetOnce;
use crate::{Errno, Result};
use alloc::sync::Arc;

/// A thread's memory, open files, and directories.
#[derive(Clone)]
pub struct Resources {
    /// Open files.
    pub files: Arc<FdTable>,
    /// Root and working directory, umask.
    pub fs: FsShare,
    /// Memory.
    pub space: Tenant,
    /// The program in it, if it was loaded from a file.
    pub program: Option<Arc<Running>>,
}

/// What threads hold that have given everything up: nothing, of each kind. Made with the first process.
static NOTHING: SetOnce<Resources> = SetOnce::new();

/// Says what an ended thread holds: empty resources that stand for none. Only the first call counts.
pub fn set_nothing(nothing: Resources) {
    // A second set of empty resources would serve as well as the first.
    let _ = NOTHING.set(nothing);
}

/// What stands for nothing, once that has been said.
pub(super) fn nothing() -> Option<Resources> {
    NOTHING.get().cloned()
}

impl Thread {
    /// Its open files.
    #[must_use]
    #[inline]
    pub fn files(&self) -> Arc<FdTable> {
        self.resources.lock().files.clone()
    }

    /// Its root and working directory and its umask.
    #[must_use]
    #[inline]
    pub fn fs(&self) -> Arc<FsContext> {
        Arc::clone(&self.resources.lock().fs)
    }

    /// Its memory.
    #[must_use]
    #[inline]
    pub fn space(&self) -> Arc<AddressSpace> {
        Arc::clone(&self.resources.lock().space)
    }

    /// Looks at its open files without keeping them. Nothing that may close one.
    #[inline]
    pub fn with_files<R>(&self, look: impl FnOnce(&FdTable) -> R) -> R {
        look(&self.resources.lock().files)
    }

    /// Looks at its memory without keeping it.
    #[inline]
    pub fn with_space<R>(&self, look: impl FnOnce(&Arc<AddressSpace>) -> R) -> R {
        look(&self.resources.lock().space)
    }

    /// References to all of it.
    #[must_use]
    pub fn resources(&self) -> Resources {
        self.resources.lock().clone()
    }

    /// Takes other resources; returns the old ones. For the thread itself only.
    pub fn replace_resources(&self, new: Resources) -> Resources {
        core::mem::replace(&mut *self.resources.lock(), new)
    }

    /// Has open files of its own from now on, a copy of those it shared (unshare(2), exec).
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn unshare_files(&self) -> Result<()> {
        let files = self.files();
        // One reference here, one in the thread.
        if Arc::strong_count(&files) > 2 {
            let own = files.fork()?;
            let old = core::mem::replace(&mut self.resources.lock().files, own);
            drop(old);
        }
        Ok(())
    }

    /// Has directories and a umask of its own from now on.
    pub fn unshare_fs(&self) {
        let fs = self.fs();
        if fs.is_shared() {
            let own = FsShare::new(Arc::new(fs.fork()));
            let old = core::mem::replace(&mut self.resources.lock().fs, own);
            drop(old);
        }
    }

    /// Gives everything up, at the thread's end. What nobody else holds is gone on return: files are closed, memory is free.
    pub fn give_up_resources(&self) {
        if let Some(nothing) = NOTHING.get() {
            let old = self.replace_resources(nothing.clone());
            self.process().note_resident(&old.space);
            drop(old);
        }
    }
}

/// What a new thread or process gets of `creator`'s.
///
/// # Errors
/// `ENOMEM`.
pub fn inherit(creator: &Thread, share_files: bool, share_fs: bool, share_space: bool) -> Result<Resources> {
    // The last frames are the kernel's: a bomb of forks or threads is told so in time.
    if frames::scarce() {
        return Err(Errno::ENOMEM);
    }
    let Resources { files, fs, space, program } = creator.resources();
    Ok(Resources {
        files: if share_files { files } else { files.fork()? },
        fs: if share_fs { fs } else { FsShare::new(Arc::new(fs.fork())) },
        space: if share_space { space } else { Tenant::new(space.fork().map_err(|_| Errno::ENOMEM)?) },
        program,
    })
}
