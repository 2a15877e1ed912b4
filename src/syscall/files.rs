//! What the calls about files share: paths from user memory, directories to start from, the caller, user memory for ioctl.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;

use libkernel::fs::{Caller, Fd, OpenFile, Path, UserAccess};
use libkernel::memory::{AddressSpace, UserPtr};
use libkernel::process::limits::Resource;
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::Context;

/// The longest path, with its NUL.
const PATH_MAX: usize = linux::PATH_MAX as usize;

/// Most paths are shorter than this and need no heap.
const SHORT: usize = 192;

/// A path copied from a program.
pub enum PathText {
    /// One that fits here.
    Short([u8; SHORT], usize),
    /// A longer one.
    Long(Vec<u8>),
}

impl PathText {
    /// Copies a path. `EFAULT`, `ENAMETOOLONG`, `ENOMEM`.
    pub fn read(cx: &Context, pointer: UserPtr<u8>) -> Result<Self> {
        let space = cx.thread.space();
        let mut short = [0; SHORT];
        match space.read_string_into(pointer, &mut short) {
            Ok(length) => Ok(Self::Short(short, length)),
            Err(Errno::ENAMETOOLONG) => Ok(Self::Long(space.read_string(pointer, PATH_MAX)?)),
            Err(error) => Err(error),
        }
    }

    /// The path without its NUL.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes, length) => bytes.get(..*length).unwrap_or_default(),
            Self::Long(bytes) => bytes,
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
pub fn file_size_limit(cx: &Context) -> u64 {
    cx.thread.process().soft_limit(Resource::FileSize).unwrap_or(u64::MAX)
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
