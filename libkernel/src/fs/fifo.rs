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
        _ if !pipe.opens_wait() => return Ok(Arc::new(pipe.open(reads, writes))),
        (false, true) if flags.contains(OpenFlags::NON_BLOCKING) && !pipe.has_readers() => return Err(Errno::ENXIO),
        _ => {}
    }
    let lonely = (reads && !writes && !pipe.has_writers()) || (writes && !reads && !pipe.has_readers());
    if lonely && patience == Patience::Refuse && !flags.contains(OpenFlags::NON_BLOCKING) {
        return Err(Errno::EAGAIN);
    }
    Ok(Arc::new(pipe.open(reads, writes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::anonymous::open_pipe;
    use crate::fs::metadata::{DeviceId, FileType};
    use crate::fs::namespace;
    use crate::fs::testing::World;
    use crate::poll::PollTable;
    use crate::process::Credentials;

    #[test]
    fn a_fifo_waits_for_its_other_side_and_a_pipe_opened_anew_does_not() {
        let world = World::new();
        let fifo = namespace::make(&world.caller(), None, b"/f", FileType::Fifo, 0o600, DeviceId::default()).unwrap();
        let read_only = OpenFlags::empty();
        let refused = |flags| open(fifo.inode(), flags, Patience::Refuse).err();
        assert_eq!(refused(read_only), Some(Errno::EAGAIN));
        assert_eq!(refused(OpenFlags::WRITE_ONLY | OpenFlags::NON_BLOCKING), Some(Errno::ENXIO));
        let reader = open(fifo.inode(), read_only, Patience::Wait).unwrap();
        assert!(!reader.is_open(&mut PollTable::query(), read_only));
        drop(open(fifo.inode(), OpenFlags::WRITE_ONLY, Patience::Refuse).unwrap());
        assert!(reader.is_open(&mut PollTable::query(), read_only), "a writer came, though it is gone");

        let (reader, writer) = open_pipe(OpenFlags::empty(), &Credentials::root()).unwrap();
        drop(writer);
        assert!(open(reader.inode(), read_only, Patience::Refuse).is_ok());
    }
}
