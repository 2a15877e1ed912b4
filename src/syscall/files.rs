//! What the calls about files share: paths from user memory, directories to start from, the caller, user memory for ioctl.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;

use libkernel::fs::{Caller, Fd, OpenFile, Path, UserAccess};
use libkernel::memory::{AddressSpace, UserPtr};
use libkernel::process::Thread;
use libkernel::process::limits::Resource;
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::Context;

/// The longest path, with its NUL.
const PATH_MAX: usize = linux::PATH_MAX as usize;

/// Most paths are shorter than this and need no heap.
const SHORT: usize = 192;

/// Room for a path copied from a program.
pub struct PathText {
    short: [u8; SHORT],
    /// Used for longer ones.
    long: Vec<u8>,
}

impl PathText {
    /// No path yet.
    #[inline(always)]
    pub const fn new() -> Self {
        Self { short: [0; SHORT], long: Vec::new() }
    }

    /// Copies a path; returns it without its NUL. `EFAULT`, `ENAMETOOLONG`, `ENOMEM`.
    #[inline]
    pub fn read(&mut self, cx: &Context, pointer: UserPtr<u8>) -> Result<&[u8]> {
        let space = cx.thread.space();
        match space.read_string_into(pointer, &mut self.short) {
            Ok(length) => self.short.get(..length).ok_or(Errno::ENAMETOOLONG),
            Err(Errno::ENAMETOOLONG) => {
                self.long = space.read_string(pointer, PATH_MAX)?;
                Ok(&self.long)
            }
            Err(error) => Err(error),
        }
    }
}

/// The open file behind a descriptor. `EBADF`.
#[inline]
pub fn file(cx: &Context, fd: Fd) -> Result<Arc<OpenFile>> {
    cx.thread.with_files(|files| files.get(fd))
}

/// Where a relative path begins: `None` for the working directory. `EBADF`.
pub fn base(cx: &Context, directory: Fd, path: &[u8]) -> Result<Option<Path>> {
    if directory.0 == linux::AT_FDCWD || path.first() == Some(&b'/') {
        return Ok(None);
    }
    Ok(Some(file(cx, directory)?.path().clone()))
}

/// Calls `action` on behalf of the thread.
pub fn as_caller<R>(cx: &Context, action: impl FnOnce(&Caller<'_>) -> R) -> R {
    let thread = &cx.thread;
    let (context, credentials, files) = (thread.fs(), thread.credentials(), thread.files());
    action(&Caller {
        context: &context,
        credentials: &credentials,
        opener: Some(&credentials),
        files: Some(&files),
        process: Some(thread.process().pid()),
        thread: Some(thread.tid()),
    })
}

/// The most descriptors that the process may have.
pub fn descriptor_limit(cx: &Context) -> usize {
    cx.thread.process().soft_limit(Resource::OpenFiles).map_or(usize::MAX, |limit| limit as usize)
}

/// The largest file that the process may make.
pub fn file_size_limit(thread: &Thread) -> u64 {
    thread.process().soft_limit(Resource::FileSize).unwrap_or(u64::MAX)
}

/// A program's memory, for operations whose argument is an address.
pub struct ProgramMemory(pub Arc<AddressSpace>);

impl UserAccess for ProgramMemory {
    fn read(&self, address: usize, bytes: &mut [u8]) -> Result<()> {
        self.0.read_bytes(UserPtr::new(address as u64), bytes)
    }

    fn write(&self, address: usize, bytes: &[u8]) -> Result<()> {
        self.0.write_bytes(UserPtr::new(address as u64), bytes)
    }
}
