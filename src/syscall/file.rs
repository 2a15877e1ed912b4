//! Reading and writing: read(2), write(2) and all their relatives.
//!
//! One engine serves them all. It tries; makes user pages present where a copy faulted, and tries again; and waits, in the blocking part,
//! for what the file is not ready for. How far a call came before it had to wait is kept in the context, so that no byte is moved twice.
#![forbid(unsafe_code)]

use libkernel::fs::open_file::Whence;
use libkernel::fs::{Fd, OpenFile};
use libkernel::memory::{UserBuffer, UserBytes, UserPtr, UserSlice};
use libkernel::poll::{self, PollTable};
use libkernel::signal::Signal;
use libkernel::task::{interruptible, yield_now};
use libkernel::{Errno, Result};
use linux_raw_sys::general::{self as linux, iovec};

use super::files::{file, file_size_limit};
use super::{Context, Outcome};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// One call: which way, and where in the file (`None`: at the file's own offset).
#[derive(Clone, Copy)]
struct Request {
    direction: Direction,
    position: Option<u64>,
}

/// What one try came to.
enum Step {
    Done(Result<usize>),
    /// There is more to move, but this core should look for other work first.
    Again,
    /// The file is not ready.
    Wait,
}

/// A call under way.
struct Transfer<'a, B> {
    request: Request,
    cx: &'a Context,
    file: &'a OpenFile,
    bytes: B,
    /// How many bytes were moved.
    done: usize,
}

impl<B: UserBytes> Transfer<'_, B> {
    #[inline]
    fn attempt(&mut self) -> Result<usize> {
        let Self { request, cx, file, bytes, done } = self;
        let position = request.position.map(|position| position.saturating_add(*done as u64));
        // Only what is written to regular files has a size to limit.
        let limited = request.direction == Direction::Write && file.object().is_none();
        let limit = if limited { file_size_limit(cx) } else { u64::MAX };
        match (request.direction, position) {
            (Direction::Read, None) => file.read(bytes),
            (Direction::Read, Some(position)) => file.read_at(position, bytes),
            (Direction::Write, None) => file.write(limit, bytes),
            (Direction::Write, Some(position)) => file.write_at(position, limit, bytes),
        }
    }

    /// Moves bytes as far as that needs no waiting.
    fn step(&mut self) -> Step {
        let reads = self.request.direction == Direction::Read;
        loop {
            match self.attempt() {
                Ok(count) => {
                    self.done += count;
                    if self.bytes.left() == 0 || count == 0 {
                        return Step::Done(Ok(self.done));
                    }
                    if self.bytes.faulted() {
                        if self.bytes.resolve(&self.cx.thread.space()).is_err() {
                            return Step::Done(Ok(self.done));
                        }
                        continue;
                    }
                    let regular = self.file.object().is_none();
                    if regular && count < libkernel::fs::open_file::MAX_TRANSFER {
                        return Step::Done(Ok(self.done));
                    }
                    if self.file.is_stream() && reads {
                        return Step::Done(Ok(self.done));
                    }
                    if !self.file.is_stream() {
                        return Step::Again;
                    }
                }
                Err(Errno::EFAULT) if self.bytes.faulted() => {
                    if let Err(error) = self.bytes.resolve(&self.cx.thread.space()) {
                        return Step::Done(partial(self.done, error));
                    }
                    self.bytes.seek(self.done);
                }
                Err(Errno::EAGAIN) if self.file.is_non_blocking() => {
                    return Step::Done(partial(self.done, Errno::EAGAIN));
                }
                Err(Errno::EAGAIN) if self.done > 0 && reads => return Step::Done(Ok(self.done)),
                Err(Errno::EAGAIN) => {
                    // The object may have looked at the bytes before it found that it has no room.
                    self.bytes.seek(self.done);
                    return Step::Wait;
                }
                Err(error) => {
                    signal_for(self.cx, error, self.done);
                    return Step::Done(partial(self.done, error));
                }
            }
        }
    }

    /// One try of a call that waits; `None`: it has to wait on.
    fn retry(&mut self) -> Option<Step> {
        match self.step() {
            Step::Wait => None,
            step => Some(step),
        }
    }
}

impl Request {
    /// The synchronous part.
    fn start<B: UserBytes>(self, cx: &mut Context, fd: Fd, bytes: impl FnOnce(&Context) -> Result<B>) -> Outcome {
        let tried = || -> Result<(Step, usize)> {
            let file = file(cx, fd)?;
            let bytes = bytes(cx)?;
            if self.position.is_some_and(|at| at.saturating_add(bytes.left() as u64) > i64::MAX as u64) {
                return Err(Errno::EINVAL);
            }
            let mut transfer = Transfer { request: self, cx, file: &file, bytes, done: 0 };
            Ok((transfer.step(), transfer.done))
        };
        match tried() {
            Ok((Step::Done(result), _)) => Outcome::Done(result),
            Ok((Step::Again | Step::Wait, done)) => {
                cx.progress = done;
                Outcome::Block
            }
            Err(error) => Outcome::Done(Err(error)),
        }
    }

    /// The waiting part: goes on where the synchronous part came to.
    async fn finish<B: UserBytes>(
        self,
        cx: &mut Context,
        fd: Fd,
        bytes: impl FnOnce(&Context) -> Result<B>,
    ) -> Result<usize> {
        let cx: &Context = cx;
        let file = file(cx, fd)?;
        let mut transfer = Transfer { request: self, cx, file: &file, bytes: bytes(cx)?, done: cx.progress };
        transfer.bytes.seek(transfer.done);
        loop {
            let step = match file.wait_queue(self.direction == Direction::Read) {
                Some(queue) => interruptible(queue.retry_until(|| transfer.retry())).await,
                None => {
                    let wait = poll::wait_for(|table: &mut PollTable<'_>| {
                        file.poll(table);
                        transfer.retry()
                    });
                    interruptible(wait).await
                }
            };
            match step {
                Ok(Step::Done(result)) => return result,
                Ok(_) => yield_now().await,
                Err(_) => return partial(transfer.done, Errno::ERESTARTSYS),
            }
        }
    }
}

/// A call that moved something succeeds, whatever stopped it.
fn partial(done: usize, error: Errno) -> Result<usize> {
    if done > 0 { Ok(done) } else { Err(error) }
}

/// One buffer.
#[inline]
fn buffer_at(address: UserPtr<u8>, length: usize) -> impl FnOnce(&Context) -> Result<UserBuffer> {
    move |_| UserBuffer::new(address, length)
}

/// The buffers of an I/O vector.
fn buffers_of(vector: UserPtr<iovec>, count: usize) -> impl FnOnce(&Context) -> Result<UserSlice> {
    move |cx| UserSlice::from_iovec(&cx.thread.space(), vector, count)
}

/// The signals that come with some errors of writing.
fn signal_for(cx: &Context, error: Errno, done: usize) {
    match error {
        Errno::EPIPE => cx.thread.signals().send_kernel(Signal::PIPE),
        // Beyond what any file can have, there is only the error.
        Errno::EFBIG if done == 0 && file_size_limit(cx) < i64::MAX as u64 => {
            cx.thread.signals().send_kernel(Signal::XFSZ)
        }
        _ => {}
    }
}

fn at(offset: i64) -> Result<Option<u64>> {
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

/// The offset of preadv2(2): -1 is the file's own.
fn at_or_current(offset: i64, flags: u32) -> Result<Option<u64>> {
    const KNOWN: u32 = linux::RWF_HIPRI | linux::RWF_DSYNC | linux::RWF_SYNC | linux::RWF_NOWAIT | linux::RWF_APPEND;
    if flags & !KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if offset == -1 { Ok(None) } else { at(offset) }
}

macro_rules! transfers {
    ($($(#[$doc:meta])* $name:ident / $blocking:ident ($($argument:ident: $type:ty),*): $direction:ident, $buffers:expr, $position:expr;)*) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name(cx: &mut Context, fd: Fd, $($argument: $type),*) -> Outcome {
                match $position {
                    Ok(position) => {
                        Request { direction: Direction::$direction, position }.start(cx, fd, $buffers)
                    }
                    Err(error) => Outcome::Done(Err(error)),
                }
            }

            $(#[$doc])*
            pub async fn $blocking(cx: &mut Context, fd: Fd, $($argument: $type),*) -> Result<usize> {
                let position = $position?;
                Request { direction: Direction::$direction, position }.finish(cx, fd, $buffers).await
            }
        )*
    };
}

transfers! {
    /// read(2).
    read / read_blocking(buffer: UserPtr<u8>, length: usize): Read, buffer_at(buffer, length), Ok::<_, Errno>(None);
    /// write(2).
    write / write_blocking(buffer: UserPtr<u8>, length: usize): Write, buffer_at(buffer, length), Ok::<_, Errno>(None);
    /// readv(2).
    readv / readv_blocking(vector: UserPtr<iovec>, count: usize): Read, buffers_of(vector, count), Ok::<_, Errno>(None);
    /// writev(2).
    writev / writev_blocking(vector: UserPtr<iovec>, count: usize): Write, buffers_of(vector, count), Ok::<_, Errno>(None);
    /// pread(2).
    pread64 / pread64_blocking(buffer: UserPtr<u8>, length: usize, offset: i64): Read, buffer_at(buffer, length), at(offset);
    /// pwrite(2).
    pwrite64 / pwrite64_blocking(buffer: UserPtr<u8>, length: usize, offset: i64): Write, buffer_at(buffer, length), at(offset);
    /// preadv(2).
    preadv / preadv_blocking(vector: UserPtr<iovec>, count: usize, offset: i64): Read, buffers_of(vector, count), at(offset);
    /// pwritev(2).
    pwritev / pwritev_blocking(vector: UserPtr<iovec>, count: usize, offset: i64): Write, buffers_of(vector, count), at(offset);
    /// preadv2(2).
    preadv2 / preadv2_blocking(vector: UserPtr<iovec>, count: usize, offset: i64, _high: usize, flags: u32): Read, buffers_of(vector, count), at_or_current(offset, flags);
    /// pwritev2(2).
    pwritev2 / pwritev2_blocking(vector: UserPtr<iovec>, count: usize, offset: i64, _high: usize, flags: u32): Write, buffers_of(vector, count), at_or_current(offset, flags);
}

/// lseek(2).
pub fn lseek(cx: &mut Context, fd: Fd, distance: i64, whence: u32) -> Result<usize> {
    let whence = match whence {
        linux::SEEK_SET => Whence::Start,
        linux::SEEK_CUR => Whence::Current,
        linux::SEEK_END => Whence::End,
        linux::SEEK_DATA => Whence::Data,
        linux::SEEK_HOLE => Whence::Hole,
        _ => return Err(Errno::EINVAL),
    };
    Ok(file(cx, fd)?.seek(distance, whence)? as usize)
}

/// ftruncate(2).
pub fn ftruncate(cx: &mut Context, fd: Fd, size: i64) -> Result<usize> {
    let file = file(cx, fd)?;
    if file.flags().contains(libkernel::fs::OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    check_size(cx, size)?;
    file.truncate(size)?;
    Ok(0)
}

/// Fails, with the signal, where a file would become larger than the process may make it.
pub(super) fn check_size(cx: &Context, size: u64) -> Result<()> {
    if size > file_size_limit(cx) {
        signal_for(cx, Errno::EFBIG, 0);
        return Err(Errno::EFBIG);
    }
    Ok(())
}

/// fallocate(2).
pub fn fallocate(cx: &mut Context, fd: Fd, mode: u32, offset: i64, length: i64) -> Result<usize> {
    let file = file(cx, fd)?;
    file.check_writable()?;
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let length = u64::try_from(length).ok().filter(|length| *length > 0).ok_or(Errno::EINVAL)?;
    if file.is_stream() {
        return Err(Errno::ESPIPE);
    }
    if file.object().is_some() {
        return Err(Errno::ENODEV);
    }
    check_size(cx, offset.saturating_add(length))?;
    file.inode().allocate(mode, offset, length)?;
    Ok(0)
}

/// fsync(2).
pub fn fsync(cx: &mut Context, fd: Fd) -> Result<usize> {
    let file = file(cx, fd)?;
    if file.is_stream() {
        return Err(Errno::EINVAL);
    }
    file.inode().sync()?;
    Ok(0)
}

/// fdatasync(2).
pub fn fdatasync(cx: &mut Context, fd: Fd) -> Result<usize> {
    fsync(cx, fd)
}

/// sync(2).
pub fn sync(_cx: &mut Context) -> Result<usize> {
    for mount in libkernel::fs::mount::all() {
        // sync(2) reports nothing.
        let _ = mount.file_system().sync();
    }
    Ok(0)
}

/// syncfs(2).
pub fn syncfs(cx: &mut Context, fd: Fd) -> Result<usize> {
    file(cx, fd)?.path().mount.file_system().sync()?;
    Ok(0)
}

/// sync_file_range(2).
pub fn sync_file_range(cx: &mut Context, fd: Fd, offset: i64, length: i64, flags: u32) -> Result<usize> {
    if flags & !7 != 0 || offset < 0 || length < 0 {
        return Err(Errno::EINVAL);
    }
    fsync(cx, fd)
}

/// posix_fadvise(2): all files are in memory, so advice changes nothing.
pub fn fadvise64(cx: &mut Context, fd: Fd, _offset: i64, _length: i64, advice: u32) -> Result<usize> {
    let file = file(cx, fd)?;
    if file.is_stream() {
        return Err(Errno::ESPIPE);
    }
    if advice > linux::POSIX_FADV_NOREUSE { Err(Errno::EINVAL) } else { Ok(0) }
}

/// readahead(2): as [`fadvise64`].
pub fn readahead(cx: &mut Context, fd: Fd, _offset: i64, _count: usize) -> Result<usize> {
    file(cx, fd)?.check_readable()?;
    Ok(0)
}
