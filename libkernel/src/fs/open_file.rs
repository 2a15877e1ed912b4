//! Open files: what a descriptor stands for (open(2), "open file description").
//!
//! One is shared by everything that `dup` and `fork` made of the descriptor: offset and status flags live here. For regular
//! files and directories it works on the inode directly; everything else brings a [`FileObject`]. Operations never sleep.
#![forbid(unsafe_code)]

mod directory;

use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::file_object::FileObject;
use super::inode::{Inode, WritePosition};
use super::metadata::{Attributes, FileType};
use super::mount::{MountFlags, Path};
use super::open_flags::OpenFlags;
use super::permission;
use crate::io::{IoSink, IoSource};
use crate::memory::PageSource;
use crate::poll::{PollEvents, PollTable};
use crate::process::credentials::Credentials;
use crate::process::current;
use crate::sync::{SpinLock, WaitQueue};
use crate::{Errno, Result};

/// The most that one operation moves, so that no call keeps its core for long; the system-call layer goes on in steps.
pub const MAX_TRANSFER: usize = 1 << 20;

/// Where lseek(2) counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The beginning.
    Start,
    /// The present offset.
    Current,
    /// The end.
    End,
    /// The next data from the given offset on.
    Data,
    /// The next hole from the given offset on.
    Hole,
}

/// What reads and writes go to; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// An object without offsets.
    Stream,
    /// An object with offsets.
    Positional,
    /// A directory, which has no content.
    Directory,
    /// The content of the inode.
    Content,
}

/// An open file.
pub struct OpenFile {
    path: Path,
    object: Option<Arc<dyn FileObject>>,
    target: Target,
    /// Whether it may change the content of a regular file: no program may run from that meanwhile.
    writes_content: bool,
    flags: AtomicU32,
    offset: SpinLock<u64>,
    /// Who opened it by its path; `None`: the kernel.
    opener: Option<Arc<Credentials>>,
    /// The process or group that gets `SIGIO` (`F_SETOWN`), and the signal to send instead (`F_SETSIG`).
    owner: SpinLock<(i32, i32)>,
}

impl OpenFile {
    /// An open of what `path` names, through `object` where the inode itself is not enough.
    ///
    /// # Errors
    /// `ETXTBSY` for writing to a program that runs.
    pub fn new(path: Path, object: Option<Arc<dyn FileObject>>, flags: OpenFlags) -> Result<Arc<Self>> {
        Self::opened_by(None, path, object, flags)
    }

    /// As [`new`](Self::new), for somebody who may give the file another name by this open (linkat(2)).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn opened_by(
        opener: Option<&Arc<Credentials>>,
        path: Path,
        object: Option<Arc<dyn FileObject>>,
        flags: OpenFlags,
    ) -> Result<Arc<Self>> {
        let kept = flags.difference(OpenFlags::TRANSIENT);
        let attributes = path.inode().attributes();
        let target = match &object {
            Some(object) if object.is_positional() => Target::Positional,
            Some(_) => Target::Stream,
            None if attributes.kind() == FileType::Directory => Target::Directory,
            None => Target::Content,
        };
        let writes_content =
            flags.writable() && !flags.contains(OpenFlags::PATH) && attributes.kind() == FileType::Regular;
        if writes_content {
            attributes.write_count().begin_writing()?;
        }
        Ok(Arc::new(Self {
            path,
            object,
            target,
            writes_content,
            flags: AtomicU32::new(kept.bits()),
            offset: SpinLock::new(0),
            opener: opener.cloned(),
            owner: SpinLock::new((0, 0)),
        }))
    }

    /// What was opened, and by what way.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    #[must_use]
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.path.inode()
    }

    /// The object, where there is one.
    #[must_use]
    #[inline]
    pub fn object(&self) -> Option<&Arc<dyn FileObject>> {
        self.object.as_ref()
    }

    /// Whether it is read and written without offsets: a pipe, a terminal, but no regular file.
    #[must_use]
    #[inline]
    pub fn is_stream(&self) -> bool {
        self.target == Target::Stream
    }

    /// The one queue that is woken when a read, or else a write, that had to wait may be tried again; `None`: [`poll`](Self::poll)
    /// knows the queues, or the wait has a timeout.
    #[must_use]
    pub fn wait_queue(&self, reading: bool) -> Option<&WaitQueue> {
        self.object.as_ref()?.wait_queue(reading)
    }

    /// Whether a read, or else a write, would answer `EAGAIN` now; false where only trying can tell.
    #[must_use]
    pub fn would_block(&self, reading: bool) -> bool {
        self.object.as_ref().is_some_and(|object| object.would_block(reading))
    }

    /// The object as a type that the caller expects; `None` if it is something else.
    #[must_use]
    pub fn object_as<T: FileObject>(&self) -> Option<Arc<T>> {
        let any: Arc<dyn Any + Send + Sync> = self.object.clone()?;
        any.downcast().ok()
    }

    /// Access mode and status flags.
    #[must_use]
    #[inline]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_truncate(self.flags.load(Relaxed))
    }

    /// Changes those status flags that fcntl(2) `F_SETFL` may change.
    pub fn set_flags(&self, flags: OpenFlags) {
        let kept = self.flags().difference(OpenFlags::CHANGEABLE);
        self.flags.store((kept | flags.intersection(OpenFlags::CHANGEABLE)).bits(), Relaxed);
    }

    /// Sets or clears `O_NONBLOCK`.
    pub fn set_non_blocking(&self, on: bool) {
        let mut flags = self.flags();
        flags.set(OpenFlags::NON_BLOCKING, on);
        self.set_flags(flags);
    }

    /// Whether one operation can be asked not to wait (`RWF_NOWAIT`).
    #[must_use]
    pub fn knows_no_wait(&self) -> bool {
        self.object.as_ref().is_some_and(|object| object.knows_no_wait())
    }

    /// Whether operations fail with `EAGAIN` rather than wait.
    #[must_use]
    #[inline]
    pub fn is_non_blocking(&self) -> bool {
        self.flags.load(Relaxed) & OpenFlags::NON_BLOCKING.bits() != 0
    }

    /// Whether it was opened with just these credentials, which did not change since.
    #[must_use]
    pub fn was_opened_with(&self, credentials: &Arc<Credentials>) -> bool {
        self.opener.as_ref().is_some_and(|opener| Arc::ptr_eq(opener, credentials))
    }

    /// Whom `SIGIO` goes to, and which signal stands for it.
    #[must_use]
    pub fn owner(&self) -> (i32, i32) {
        *self.owner.lock()
    }

    /// Sets whom `SIGIO` goes to, and which signal stands for it.
    pub fn set_owner(&self, owner: (i32, i32)) {
        *self.owner.lock() = owner;
    }

    /// Fails unless the file is open for reading.
    ///
    /// # Errors
    /// `EBADF`.
    #[inline]
    pub fn check_readable(&self) -> Result<()> {
        if self.flags().readable() { Ok(()) } else { Err(Errno::EBADF) }
    }

    /// Fails unless the file is open for writing.
    ///
    /// # Errors
    /// `EBADF`.
    #[inline]
    pub fn check_writable(&self) -> Result<()> {
        if self.flags().writable() { Ok(()) } else { Err(Errno::EBADF) }
    }

    /// Reads on from the present offset.
    ///
    /// # Errors
    /// `EBADF`, `EISDIR`, `EAGAIN`, `EFAULT`, and what the object says.
    #[inline]
    pub fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        self.check_readable()?;
        match &self.object {
            Some(object) if self.is_stream() => object.read(sink),
            _ => self.read_on(sink),
        }
    }

    fn read_on(&self, sink: &mut dyn IoSink) -> Result<usize> {
        let mut offset = self.offset.lock();
        let count = self.read_content(*offset, sink)?;
        *offset += count as u64;
        Ok(count)
    }

    /// Reads from `offset`; the open file's own offset stays.
    ///
    /// # Errors
    /// As [`read`](Self::read); `ESPIPE` for what has no offsets.
    pub fn read_at(&self, offset: u64, sink: &mut dyn IoSink) -> Result<usize> {
        self.check_positional()?;
        self.check_readable()?;
        self.read_content(offset, sink)
    }

    fn read_content(&self, offset: u64, sink: &mut dyn IoSink) -> Result<usize> {
        if let Some(object) = &self.object {
            return object.read_at(offset, sink);
        }
        if self.target == Target::Directory {
            return Err(Errno::EISDIR);
        }
        let inode = self.inode();
        let count = inode.read_at(offset, sink)?;
        self.touch_accessed(&**inode);
        Ok(count)
    }

    #[inline]
    fn touch_accessed(&self, inode: &dyn Inode) {
        if self.flags.load(Relaxed) & OpenFlags::NO_ACCESS_TIME.bits() == 0
            && !self.path.mount.flags().intersects(MountFlags::NO_ACCESS_TIME | MountFlags::READ_ONLY)
        {
            inode.attributes().touch_accessed();
        }
    }

    /// Writes on from the present offset, or to the end with `O_APPEND`; not beyond `limit` (`RLIMIT_FSIZE`).
    ///
    /// # Errors
    /// `EBADF`, `EAGAIN`, `EFAULT`, `ENOSPC`, `EFBIG`, `EPIPE`, and what the object says.
    #[inline]
    pub fn write(&self, limit: u64, source: &mut dyn IoSource) -> Result<usize> {
        self.check_writable()?;
        match &self.object {
            Some(object) if self.is_stream() => object.write(source),
            _ => self.write_on(self.appends(), limit, source),
        }
    }

    #[inline]
    fn appends(&self) -> bool {
        self.flags.load(Relaxed) & OpenFlags::APPEND.bits() != 0
    }

    fn write_on(&self, append: bool, limit: u64, source: &mut dyn IoSource) -> Result<usize> {
        if self.object.is_none() && source.remaining() > 0 {
            self.begin_change();
        }
        let mut offset = self.offset.lock();
        if let Some(object) = &self.object {
            let count = object.write_at(*offset, source)?;
            *offset += count as u64;
            return Ok(count);
        }
        let position = if append { WritePosition::Append } else { WritePosition::At(*offset) };
        let (count, end) = self.inode().write_at(position, limit, source)?;
        *offset = end;
        Ok(count)
    }

    /// Writes at `offset` (to the end with `O_APPEND`, as Linux does); the open file's own offset stays.
    ///
    /// # Errors
    /// As [`write`](Self::write); `ESPIPE` for what has no offsets.
    pub fn write_at(&self, offset: u64, limit: u64, source: &mut dyn IoSource) -> Result<usize> {
        self.write_there(offset, self.appends(), limit, source)
    }

    /// Writes as [`write_at`](Self::write_at), or without an offset as [`write`](Self::write), but to the end just where `append` says so
    /// (pwritev2(2)).
    ///
    /// # Errors
    /// As these two.
    pub fn write_or_append(
        &self,
        offset: Option<u64>,
        append: bool,
        limit: u64,
        source: &mut dyn IoSource,
    ) -> Result<usize> {
        match offset {
            Some(offset) => self.write_there(offset, append, limit, source),
            None if self.is_stream() => self.write(limit, source),
            None => self.check_writable().and_then(|()| self.write_on(append, limit, source)),
        }
    }

    fn write_there(&self, offset: u64, append: bool, limit: u64, source: &mut dyn IoSource) -> Result<usize> {
        self.check_positional()?;
        self.check_writable()?;
        if let Some(object) = &self.object {
            return object.write_at(offset, source);
        }
        if source.remaining() > 0 {
            self.begin_change();
        }
        let position = if append { WritePosition::Append } else { WritePosition::At(offset) };
        Ok(self.inode().write_at(position, limit, source)?.0)
    }

    /// To be called before the content of the file is changed for the current thread: takes away its set-id bits.
    #[inline]
    pub fn begin_change(&self) {
        let attributes = self.inode().attributes();
        if attributes.has_set_id() {
            Self::drop_set_id(attributes);
        }
    }

    #[cold]
    fn drop_set_id(attributes: &Attributes) {
        // The kernel keeps them.
        if let Some(thread) = current() {
            thread.with_credentials(|credentials| permission::drop_set_id_before_change(attributes, credentials));
        }
    }

    fn check_positional(&self) -> Result<()> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if self.is_stream() { Err(Errno::ESPIPE) } else { Ok(()) }
    }

    /// Moves the offset and returns it.
    ///
    /// # Errors
    /// `ESPIPE`, `EBADF`, `EINVAL` for a place before the beginning, `EOVERFLOW`, `ENXIO` for `Data` and `Hole` beyond the end.
    pub fn seek(&self, distance: i64, whence: Whence) -> Result<u64> {
        self.check_positional()?;
        let mut offset = self.offset.lock();
        let base = match whence {
            Whence::Start => 0,
            Whence::Current => *offset,
            Whence::End => match &self.object {
                Some(object) => object.size(),
                None => self.inode().size(),
            },
            Whence::Data | Whence::Hole => {
                let from = u64::try_from(distance).map_err(|_| Errno::ENXIO)?;
                *offset = self.inode().seek_content(from, whence == Whence::Hole)?;
                return Ok(*offset);
            }
        };
        let target = base.checked_add_signed(distance).ok_or(Errno::EINVAL)?;
        if target > i64::MAX as u64 {
            return Err(if distance < 0 { Errno::EINVAL } else { Errno::EOVERFLOW });
        }
        *offset = target;
        Ok(target)
    }

    /// The present offset.
    #[must_use]
    pub fn offset(&self) -> u64 {
        *self.offset.lock()
    }

    /// Registers for changes of readiness, then tells what is ready. Regular files and directories always are.
    pub fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        match &self.object {
            Some(object) => object.poll(table),
            None if self.flags().contains(OpenFlags::PATH) => PollEvents::NVAL,
            None => PollEvents::IN | PollEvents::OUT | PollEvents::RDNORM | PollEvents::WRNORM,
        }
    }

    /// Whether epoll(7) can watch it.
    #[must_use]
    pub fn can_poll(&self) -> bool {
        self.object.as_ref().is_some_and(|object| object.can_poll())
    }

    /// Whether the open is complete (see [`FileObject::is_open`]).
    pub fn is_open(&self, table: &mut PollTable<'_>) -> bool {
        self.object.as_ref().is_none_or(|object| object.is_open(table, self.flags()))
    }

    /// The pages to map with mmap(2).
    ///
    /// # Errors
    /// `ENODEV` where it cannot be mapped, `EBADF` for an `O_PATH` descriptor.
    pub fn page_source(&self) -> Result<Arc<dyn PageSource>> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        let source = match &self.object {
            Some(object) => object.page_source(),
            None => self.inode().clone().page_source(),
        };
        source.ok_or(Errno::ENODEV)
    }

    /// Sets the length of a file that is open for writing.
    ///
    /// # Errors
    /// `EINVAL` (also when it is not open for writing, as ftruncate(2) has it), `EFBIG`, `EBADF` for an `O_PATH` descriptor.
    pub fn truncate(&self, size: u64) -> Result<()> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if self.object.is_some() || !self.flags().writable() {
            return Err(Errno::EINVAL);
        }
        self.begin_change();
        self.inode().truncate(size)
    }
}

impl Drop for OpenFile {
    /// Whole-file locks and open-file-description locks end with the last descriptor.
    fn drop(&mut self) {
        let attributes = self.path.inode().attributes();
        if self.writes_content {
            attributes.write_count().end_writing();
        }
        if let Some(locks) = attributes.locks_if_used() {
            locks.release(super::locks::Owner::File(core::ptr::from_ref(self) as usize));
        }
    }
}
