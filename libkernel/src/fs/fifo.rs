//! Opening FIFOs: pipes with a name (fifo(7)).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::file_object::FileObject;
use super::inode::Inode;
use super::open_flags::OpenFlags;
use crate::{Errno, Result};

/// Opens a FIFO. Unless it is non-blocking, the open is complete only when the other side is open too
/// ([`FileObject::is_open`]); the side being opened counts from now on.
///
/// # Errors
/// `ENXIO` for a non-blocking writer without a reader, `EINVAL` for neither reading nor writing, `ENOMEM`.
pub fn open(inode: &Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn FileObject>> {
    let pipe = inode.pipe()?;
    let (reads, writes) = (flags.readable(), flags.writable());
    match (reads, writes) {
        (false, false) => return Err(Errno::EINVAL),
        (false, true) if flags.contains(OpenFlags::NON_BLOCKING) && !pipe.has_readers() => return Err(Errno::ENXIO),
        _ => {}
    }
    Ok(Arc::new(pipe.open(reads, writes)))
}
