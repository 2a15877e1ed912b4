//! Calls about descriptors as such: dup(2), close(2), fcntl(2), ioctl(2), flock(2), memfd_create(2).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::inode::downcast;
use libkernel::fs::locks::{LockKind, Owner, Record, stop_waiting};
use libkernel::fs::pipe::{MAX_CAPACITY, PipeEnd};
use libkernel::fs::tmpfs::TmpInode;
use libkernel::fs::{Fd, FileType, OpenFile, OpenFlags, anonymous};
use libkernel::memory::{FileLock, UserPtr};
use libkernel::poll;
use libkernel::process::capability::Capability;
use libkernel::task::interruptible;
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;
use linux_raw_sys::ioctl::{FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, FIONREAD};

use super::files::{ProgramMemory, as_caller, descriptor_limit, file};
use super::{Context, Outcome};

/// `close_range`: have a table of one's own first.
const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;

/// `close_range`: do not close, but mark to be closed by exec.
const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;

/// close(2).
pub fn close(cx: &mut Context, fd: Fd) -> Result<usize> {
    cx.thread.files().close(fd)?;
    Ok(0)
}

/// close_range(2).
pub fn close_range(cx: &mut Context, first: u32, last: u32, flags: u32) -> Result<usize> {
    if first > last || flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        cx.thread.unshare_files()?;
    }
    cx.thread.files().for_range(first, last, flags & CLOSE_RANGE_CLOEXEC != 0);
    Ok(0)
}

/// dup(2).
pub fn dup(cx: &mut Context, fd: Fd) -> Result<usize> {
    duplicate(cx, fd, 0, false)
}

fn duplicate(cx: &Context, fd: Fd, from: usize, close_on_exec: bool) -> Result<usize> {
    let files = cx.thread.files();
    let file = files.get(fd)?;
    Ok(files.insert(file, close_on_exec, from, descriptor_limit(cx))?.0 as usize)
}

/// dup3(2).
pub fn dup3(cx: &mut Context, old: Fd, new: Fd, flags: u32) -> Result<usize> {
    if flags & !linux::O_CLOEXEC != 0 || old == new {
        return Err(Errno::EINVAL);
    }
    let files = cx.thread.files();
    let file = files.get(old)?;
    files.replace(new, file, flags & linux::O_CLOEXEC != 0, descriptor_limit(cx))?;
    Ok(new.0 as usize)
}

/// fcntl(2).
pub fn fcntl(cx: &mut Context, fd: Fd, command: u32, argument: usize) -> Outcome {
    match command {
        linux::F_SETLKW | linux::F_OFD_SETLKW => match lock(cx, fd, command, argument) {
            Err(Errno::EAGAIN) => Outcome::Block,
            result => result.into(),
        },
        _ => control(cx, fd, command, argument).into(),
    }
}

/// fcntl(2): waits for a lock.
pub async fn fcntl_blocking(cx: &mut Context, fd: Fd, command: u32, argument: usize) -> Result<usize> {
    let file = file(cx, fd)?;
    let released = file.inode().attributes().locks().queue();
    let result = interruptible(poll::wait_for(|table| {
        table.register(&released);
        match lock(cx, fd, command, argument) {
            Err(Errno::EAGAIN) => None,
            result => Some(result),
        }
    }))
    .await;
    stop_waiting(cx.thread.files().lock_owner());
    result.unwrap_or(Err(Errno::ERESTARTSYS))
}

fn control(cx: &Context, fd: Fd, command: u32, argument: usize) -> Result<usize> {
    let files = cx.thread.files();
    let file = files.get(fd)?;
    let named_only = file.flags().contains(OpenFlags::PATH);
    match command {
        linux::F_DUPFD | linux::F_DUPFD_CLOEXEC => {
            if argument >= descriptor_limit(cx) {
                return Err(Errno::EINVAL);
            }
            return duplicate(cx, fd, argument, command == linux::F_DUPFD_CLOEXEC);
        }
        linux::F_GETFD => return Ok(usize::from(files.close_on_exec(fd)?)),
        linux::F_SETFD => {
            files.set_close_on_exec(fd, argument as u32 & linux::FD_CLOEXEC != 0)?;
            return Ok(0);
        }
        linux::F_GETFL => return Ok(file.flags().bits() as usize),
        _ if named_only => return Err(Errno::EBADF),
        linux::F_SETFL => {
            let flags = OpenFlags::from_bits_truncate(argument as u32);
            // Only what has content can be read and written past a cache; a pipe would have to keep packets.
            if flags.contains(OpenFlags::DIRECT) && file.object().is_some() {
                return Err(Errno::EINVAL);
            }
            file.set_flags(flags);
        }
        linux::F_GETOWN => return Ok(file.owner().0 as isize as usize),
        linux::F_SETOWN => file.set_owner((argument as i32, file.owner().1)),
        linux::F_GETSIG => return Ok(file.owner().1 as usize),
        linux::F_SETSIG => file.set_owner((file.owner().0, argument as i32)),
        linux::F_GETLK | linux::F_SETLK | linux::F_OFD_GETLK | linux::F_OFD_SETLK => {
            return lock(cx, fd, command, argument);
        }
        linux::F_GETPIPE_SZ => return Ok(pipe(&file)?.pipe().capacity()),
        linux::F_SETPIPE_SZ => {
            let end = pipe(&file)?;
            if argument > MAX_CAPACITY && !cx.thread.credentials().has(Capability::SysResource) {
                return Err(Errno::EPERM);
            }
            return end.pipe().set_capacity(argument);
        }
        linux::F_GET_SEALS => return Ok(memory_file(&file)?.seals()? as usize),
        linux::F_ADD_SEALS => {
            let inode = memory_file(&file)?;
            file.check_writable().map_err(|_| Errno::EPERM)?;
            inode.add_seals(argument as u32)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn pipe(file: &OpenFile) -> Result<Arc<PipeEnd>> {
    file.object_as::<PipeEnd>().ok_or(Errno::EBADF)
}

fn memory_file(file: &OpenFile) -> Result<Arc<TmpInode>> {
    downcast::<TmpInode>(file.inode()).ok_or(Errno::EINVAL)
}

/// The bytes that a `struct flock` names.
fn range(file: &OpenFile, lock: &FileLock) -> Result<(u64, u64)> {
    let base = match lock.whence as u32 {
        linux::SEEK_SET => 0,
        linux::SEEK_CUR => file.offset(),
        linux::SEEK_END => file.inode().size(),
        _ => return Err(Errno::EINVAL),
    };
    let start = (base as i64).checked_add(lock.start).ok_or(Errno::EOVERFLOW)?;
    let length = lock.length;
    let first = if length < 0 { start.checked_add(length).ok_or(Errno::EINVAL)? } else { start };
    let first = u64::try_from(first).map_err(|_| Errno::EINVAL)?;
    let last = match length {
        0 => u64::MAX,
        1.. => first.checked_add(length as u64 - 1).filter(|last| *last <= i64::MAX as u64).ok_or(Errno::EOVERFLOW)?,
        _ => (start as u64).checked_sub(1).ok_or(Errno::EINVAL)?,
    };
    Ok((first, last))
}

/// Record locks: `F_GETLK`, `F_SETLK` and their relatives. `EAGAIN` for a conflict.
fn lock(cx: &Context, fd: Fd, command: u32, argument: usize) -> Result<usize> {
    let files = cx.thread.files();
    let file = files.get(fd)?;
    let pointer = UserPtr::<FileLock>::new(argument as u64);
    let space = cx.thread.space();
    let mut request = space.read_value(pointer)?;
    let by_file = matches!(command, linux::F_OFD_GETLK | linux::F_OFD_SETLK | linux::F_OFD_SETLKW);
    if by_file && request.process != 0 {
        return Err(Errno::EINVAL);
    }
    let (first, last) = range(&file, &request)?;
    let asks = matches!(command, linux::F_GETLK | linux::F_OFD_GETLK);
    let owner = if by_file { Owner::File(Arc::as_ptr(&file) as usize) } else { files.lock_owner() };
    let process = if by_file { -1 } else { cx.thread.process().pid().raw() };
    let kind = match request.kind as u32 {
        linux::F_RDLCK => {
            if !asks {
                file.check_readable()?;
            }
            LockKind::Shared
        }
        linux::F_WRLCK => {
            if !asks {
                file.check_writable()?;
            }
            LockKind::Exclusive
        }
        linux::F_UNLCK if !asks => {
            file.inode().attributes().locks().clear(owner, first, last)?;
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL),
    };
    let wanted = Record { first, last, kind, owner, process };
    let locks = file.inode().attributes().locks();
    if !asks {
        if command == linux::F_SETLKW {
            locks.set_waiting(wanted)?
        } else {
            locks.set(wanted)?
        }
        // A close in between found nothing to release, and there may be no other to come.
        if !by_file && !files.get(fd).is_ok_and(|now| Arc::ptr_eq(&now, &file)) {
            locks.clear(owner, first, last)?;
            return Err(Errno::EBADF);
        }
        return Ok(0);
    }
    match locks.conflict(&wanted) {
        None => request.kind = linux::F_UNLCK as i16,
        Some(held) => {
            request.kind = if held.kind == LockKind::Shared { linux::F_RDLCK } else { linux::F_WRLCK } as i16;
            request.whence = linux::SEEK_SET as i16;
            request.start = held.first as i64;
            request.length = if held.last == u64::MAX { 0 } else { (held.last - held.first + 1) as i64 };
            request.process = held.process;
        }
    }
    space.write_value(pointer, request)?;
    Ok(0)
}

fn try_flock(cx: &Context, fd: Fd, operation: u32) -> Result<usize> {
    let file = file(cx, fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    let owner = Owner::File(Arc::as_ptr(&file) as usize);
    let locks = file.inode().attributes().locks();
    match operation & !linux::LOCK_NB {
        linux::LOCK_SH => locks.lock_whole(owner, LockKind::Shared)?,
        linux::LOCK_EX => locks.lock_whole(owner, LockKind::Exclusive)?,
        linux::LOCK_UN => locks.unlock_whole(owner),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// flock(2).
pub fn flock(cx: &mut Context, fd: Fd, operation: u32) -> Outcome {
    match try_flock(cx, fd, operation) {
        Err(Errno::EAGAIN) if operation & linux::LOCK_NB == 0 => Outcome::Block,
        result => result.into(),
    }
}

/// flock(2): waits for the lock.
pub async fn flock_blocking(cx: &mut Context, fd: Fd, operation: u32) -> Result<usize> {
    let released = file(cx, fd)?.inode().attributes().locks().queue();
    interruptible(poll::wait_for(|table| {
        table.register(&released);
        match try_flock(cx, fd, operation) {
            Err(Errno::EAGAIN) => None,
            result => Some(result),
        }
    }))
    .await
    .unwrap_or(Err(Errno::ERESTARTSYS))
}

fn try_ioctl(cx: &Context, fd: Fd, request: u32, argument: usize) -> Result<usize> {
    let files = cx.thread.files();
    let file = files.get(fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    let space = cx.thread.space();
    let pointer = UserPtr::<i32>::new(argument as u64);
    match request {
        FIOCLEX | FIONCLEX => files.set_close_on_exec(fd, request == FIOCLEX)?,
        FIONBIO => file.set_non_blocking(space.read_value(pointer)? != 0),
        FIOASYNC => {
            let mut flags = file.flags();
            flags.set(OpenFlags::ASYNC, space.read_value(pointer)? != 0);
            file.set_flags(flags);
        }
        FIONREAD if file.object().is_none() => {
            if file.inode().attributes().kind() != FileType::Regular {
                return Err(Errno::ENOTTY);
            }
            let left = file.inode().size().saturating_sub(file.offset());
            space.write_value(pointer, i32::try_from(left).unwrap_or(i32::MAX))?;
        }
        _ => {
            let object = file.object().ok_or(Errno::ENOTTY)?;
            if request == FIONREAD
                && let Ok(count) = object.readable_bytes()
            {
                space.write_value(pointer, i32::try_from(count).unwrap_or(i32::MAX))?;
                return Ok(0);
            }
            return as_caller(cx, |caller| object.ioctl(request, argument, &ProgramMemory(space), caller));
        }
    }
    Ok(0)
}

/// ioctl(2).
pub fn ioctl(cx: &mut Context, fd: Fd, request: u32, argument: usize) -> Outcome {
    match try_ioctl(cx, fd, request, argument) {
        Err(Errno::EAGAIN) => Outcome::Block,
        result => result.into(),
    }
}

/// ioctl(2): waits for what the object is not ready for.
pub async fn ioctl_blocking(cx: &mut Context, fd: Fd, request: u32, argument: usize) -> Result<usize> {
    let file = file(cx, fd)?;
    interruptible(poll::wait_for(|table| {
        file.poll(table);
        match try_ioctl(cx, fd, request, argument) {
            Err(Errno::EAGAIN) => None,
            result => Some(result),
        }
    }))
    .await
    .unwrap_or(Err(Errno::ERESTARTSYS))
}

/// memfd_create(2).
pub fn memfd_create(cx: &mut Context, name: UserPtr<u8>, flags: u32) -> Result<usize> {
    const KNOWN: u32 = linux::MFD_CLOEXEC | linux::MFD_ALLOW_SEALING | linux::MFD_NOEXEC_SEAL | linux::MFD_EXEC;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let name = cx.thread.space().read_string(name, 250).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        error => error,
    })?;
    let sealing = flags & (linux::MFD_ALLOW_SEALING | linux::MFD_NOEXEC_SEAL) != 0;
    let file = anonymous::open_memory(&name, sealing, &cx.thread.credentials())?;
    let files = cx.thread.files();
    Ok(files.insert(file, flags & linux::MFD_CLOEXEC != 0, 0, descriptor_limit(cx))?.0 as usize)
}
