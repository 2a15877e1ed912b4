//! Calls on one open file besides reading and writing: offsets, sizes, syncing, advice.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::open_file::Whence;
use libkernel::fs::{Fd, OpenFile};
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::files::{file, file_size_limit};
use super::read_write::signal_for;
use super::{Context, Outcome};
use crate::task::cond_resched;

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
    if size > file_size_limit(&cx.thread) {
        signal_for(&cx.thread, Errno::EFBIG, 0);
        return Err(Errno::EFBIG);
    }
    Ok(())
}

/// fallocate(2): what is done at once.
pub fn fallocate(cx: &mut Context, fd: Fd, mode: u32, offset: i64, length: i64) -> Outcome {
    match check_allocation(cx, fd, offset, length) {
        Ok((file, offset, length)) => match file.inode().allocate(mode, offset, length) {
            Ok(done) if done < length => Outcome::Block,
            result => result.map(|_| 0).into(),
        },
        Err(error) => Err(error).into(),
    }
}

/// fallocate(2) of so much that others have to run in between. What is allocated when it fails or a signal comes stays allocated.
pub async fn fallocate_blocking(cx: &mut Context, fd: Fd, mode: u32, offset: i64, length: i64) -> Result<usize> {
    let (file, mut at, mut left) = check_allocation(cx, fd, offset, length)?;
    loop {
        let done = file.inode().allocate(mode, at, left)?;
        (at, left) = (at + done, left - done);
        if left == 0 {
            return Ok(0);
        }
        if cx.is_interrupted() {
            return Err(Errno::EINTR);
        }
        cond_resched().await;
    }
}

/// The file, and the range in it, that may be allocated.
fn check_allocation(cx: &Context, fd: Fd, offset: i64, length: i64) -> Result<(Arc<OpenFile>, u64, u64)> {
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
    file.begin_change();
    Ok((file, offset, length))
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
