//! Opening FIFOs: pipes with a name (fifo(7)).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::file_object::FileObject;
use super::inode::Inode;
use super::open_flags::OpenFlags;
use crate::{Errno, Result};

/// What an open does while the other side of a FIFO is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Fails with `EAGAIN` and leaves no trace.
    Refuse,
    /// Counts as open, and the caller waits.
    Wait,
}

/// Opens a FIFO. Unless it is non-blocking, the open is complete only when the other side is open too
/// ([`FileObject::is_open`]); the side being opened counts from now on.
///
/// # Errors
/// `ENXIO` for a non-blocking writer without a reader, `EAGAIN` without the other side and without patience, `EINVAL` for neither reading nor writing, `ENOMEM`.
pub fn open(inode: &Arc<dyn Inode>, flags: OpenFlags, patience: Patience) -> Result<Arc<dyn FileObject>> {
    let pipe = inode.pipe()?;
    let (reads, writes) = (flags.readable(), flags.writable());
    match (reads, writes) {
        (false, false) => return Err(Errno::EINVAL),
        (false, true) if flags.contains(OpenFlags::NON_BLOCKING) && !pipe.has_readers() => return Err(Errno::ENXIO),
        _ => {}
    }
    let lonely = (reads && !writes && !pipe.has_writers()) || (writes && !reads && !pipe.has_readers());
    if lonely && patience == Patience::Refuse && !flags.contains(OpenFlags::NON_BLOCKING) {
        return Err(Errno::EAGAIN);
    }
    Ok(Arc::new(pipe.open(reads, writes)))
}
