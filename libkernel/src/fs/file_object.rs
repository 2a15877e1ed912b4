//! What an open file reads and writes through when that is not an inode: pipes, devices, counters, sockets.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

use super::caller::Caller;
use super::open_flags::OpenFlags;
use crate::io::{IoSink, IoSource};
use crate::memory::PageSource;
use crate::poll::{PollEvents, PollTable};
use crate::sync::WaitQueue;
use crate::{Errno, Result};

/// Access to the memory of the program that made the call, for operations whose argument is an address.
pub trait UserAccess {
    /// Fills `bytes` from the program's memory at `address`.
    ///
    /// # Errors
    /// `EFAULT`.
    fn read(&self, address: usize, bytes: &mut [u8]) -> Result<()>;

    /// Writes `bytes` to the program's memory at `address`.
    ///
    /// # Errors
    /// `EFAULT`.
    fn write(&self, address: usize, bytes: &[u8]) -> Result<()>;
}

/// The object behind an open file.
///
/// Operations never wait: one that would have to returns `EAGAIN`, and the system-call layer waits by
/// [`poll`](Self::poll) and tries again, or hands `EAGAIN` to the program where it asked for that. The last close drops
/// the object.
pub trait FileObject: Any + Send + Sync {
    /// Reads from where the object itself stands.
    ///
    /// # Errors
    /// `EAGAIN`; `EFAULT` when not one byte could be delivered; `EINVAL` for what cannot be read.
    fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        let _ = sink;
        Err(Errno::EINVAL)
    }

    /// Writes where the object itself stands.
    ///
    /// # Errors
    /// `EAGAIN`; `EFAULT` when not one byte could be taken; `EPIPE` (and the caller raises `SIGPIPE`); `EINVAL` for
    /// what cannot be written.
    fn write(&self, source: &mut dyn IoSource) -> Result<usize> {
        let _ = source;
        Err(Errno::EINVAL)
    }

    /// Whether the object has offsets: then [`read_at`](Self::read_at) and [`write_at`](Self::write_at) are called
    /// with the open file's offset, and lseek(2) works.
    fn is_positional(&self) -> bool {
        false
    }

    /// Reads at an offset.
    ///
    /// # Errors
    /// As [`read`](Self::read); `ESPIPE` without offsets.
    fn read_at(&self, offset: u64, sink: &mut dyn IoSink) -> Result<usize> {
        let _ = (offset, sink);
        Err(Errno::ESPIPE)
    }

    /// Writes at an offset.
    ///
    /// # Errors
    /// As [`write`](Self::write); `ESPIPE` without offsets.
    fn write_at(&self, offset: u64, source: &mut dyn IoSource) -> Result<usize> {
        let _ = (offset, source);
        Err(Errno::ESPIPE)
    }

    /// Length, for seeking from the end.
    fn size(&self) -> u64 {
        0
    }

    /// Registers with the queues that are woken when readiness changes, then tells what is ready.
    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        let _ = table;
        PollEvents::IN | PollEvents::OUT | PollEvents::RDNORM | PollEvents::WRNORM
    }

    /// The one queue that is woken whenever a read (or else a write) that answered `EAGAIN` may succeed, if the object has such a
    /// queue for its whole life, and no [`timeout`](Self::timeout) now. Waiting on it alone is cheaper than [`poll`](Self::poll).
    fn wait_queue(&self, reading: bool) -> Option<&WaitQueue> {
        let _ = reading;
        None
    }

    /// Whether a read (or else a write) would answer `EAGAIN` now; false where only trying can tell.
    fn would_block(&self, reading: bool) -> bool {
        let _ = reading;
        false
    }

    /// How long a read, or else a write, waits before it fails with `EAGAIN`, in nanoseconds; `None`: for ever.
    fn timeout(&self, reading: bool) -> Option<u64> {
        let _ = reading;
        None
    }

    /// Whether a write that fails with `EPIPE`, after `done` bytes, also raises `SIGPIPE`.
    fn signals_broken_pipe(&self, done: usize) -> bool {
        let _ = done;
        true
    }

    /// Whether a single operation can be asked not to wait (`RWF_NOWAIT` of preadv2(2)).
    fn knows_no_wait(&self) -> bool {
        false
    }

    /// Whether it can be waited for at all; epoll(7) refuses what cannot.
    fn can_poll(&self) -> bool {
        true
    }

    /// Does what ioctl(2) asks.
    ///
    /// # Errors
    /// `ENOTTY` for a request that the object does not know; `EAGAIN` where it would have to wait.
    fn ioctl(&self, request: u32, argument: usize, user: &dyn UserAccess, caller: &Caller<'_>) -> Result<usize> {
        let _ = (request, argument, user, caller);
        Err(Errno::ENOTTY)
    }

    /// How many bytes a read would deliver now (`FIONREAD`).
    ///
    /// # Errors
    /// `ENOTTY` where the question makes no sense.
    fn readable_bytes(&self) -> Result<usize> {
        Err(Errno::ENOTTY)
    }

    /// The pages to map with mmap(2); `None` where it cannot be mapped.
    fn page_source(&self) -> Option<Arc<dyn PageSource>> {
        None
    }

    /// Registers like [`poll`](Self::poll) and tells whether the open that made this is complete: opening a FIFO waits for
    /// the other side.
    fn is_open(&self, table: &mut PollTable<'_>, flags: OpenFlags) -> bool {
        let _ = (table, flags);
        true
    }

    /// Lines to show in `/proc/PID/fdinfo/FD`.
    fn describe(&self) -> String {
        String::new()
    }
}
