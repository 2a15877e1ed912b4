//! Files, descriptors and pipes.

use super::{Errno, Result};
use crate::call;
use core::ffi::CStr;

/// A file descriptor that the tests pass about by number, since several of them are about numbers.
pub type Fd = i32;

/// `openat(AT_FDCWD, path, flags, mode)`.
pub fn open(path: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    call!(SYS_openat, libc::AT_FDCWD, path, flags, mode).map(|fd| fd as Fd)
}

/// Creates (or empties) `path` with mode 0644 and writes `content`; the file is closed again.
pub fn write_file(path: &CStr, content: &[u8]) -> Result<()> {
    let fd = open(path, libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY, 0o644)?;
    let written = write_all(fd, content);
    close(fd)?;
    written
}

/// Reads all of `path`, in pieces of a size that suits files of `/proc` too.
pub fn read_file(path: &CStr) -> Result<Vec<u8>> {
    let fd = open(path, libc::O_RDONLY, 0)?;
    let content = read_to_end(fd);
    close(fd)?;
    content
}

/// [`read_file`] for text.
pub fn read_text(path: &CStr) -> Result<String> {
    read_file(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads until end of file.
pub fn read_to_end(fd: Fd) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut piece = vec![0u8; 4096];
    loop {
        match read(fd, &mut piece)? {
            0 => return Ok(content),
            n => content.extend(piece.iter().take(n)),
        }
    }
}

/// `close`.
pub fn close(fd: Fd) -> Result<()> {
    call!(SYS_close, fd).map(drop)
}

/// `read`.
pub fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    let length = buffer.len();
    call!(SYS_read, fd, buffer, length)
}

/// `write`.
pub fn write(fd: Fd, data: &[u8]) -> Result<usize> {
    call!(SYS_write, fd, data, data.len())
}

/// Writes all of `data`, in as many calls as it takes.
pub fn write_all(fd: Fd, mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        let n = write(fd, data)?;
        data = data.get(n..).unwrap_or_default();
    }
    Ok(())
}

/// `pread64`.
pub fn pread(fd: Fd, buffer: &mut [u8], offset: i64) -> Result<usize> {
    let length = buffer.len();
    call!(SYS_pread64, fd, buffer, length, offset)
}

/// `pwrite64`.
pub fn pwrite(fd: Fd, data: &[u8], offset: i64) -> Result<usize> {
    call!(SYS_pwrite64, fd, data, data.len(), offset)
}

/// `lseek`.
pub fn lseek(fd: Fd, offset: i64, whence: i32) -> Result<i64> {
    call!(SYS_lseek, fd, offset, whence).map(|position| position as i64)
}

/// `pipe2`: read end, write end.
pub fn pipe2(flags: i32) -> Result<(Fd, Fd)> {
    let mut ends = [-1i32; 2];
    call!(SYS_pipe2, &mut ends, flags)?;
    Ok(ends.into())
}

/// `pipe2` without flags.
pub fn pipe() -> Result<(Fd, Fd)> {
    pipe2(0)
}

/// `fcntl` with an integer argument.
pub fn fcntl(fd: Fd, command: i32, argument: usize) -> Result<usize> {
    call!(SYS_fcntl, fd, command, argument)
}

/// `newfstatat` relative to the working directory.
pub fn fstatat(path: &CStr, flags: i32) -> Result<libc::stat> {
    let mut stat = zeroed::<libc::stat>();
    call!(SYS_newfstatat, libc::AT_FDCWD, path, &mut stat, flags)?;
    Ok(stat)
}

/// `stat`, following symbolic links.
pub fn stat(path: &CStr) -> Result<libc::stat> {
    fstatat(path, 0)
}

/// `fstat`.
pub fn fstat(fd: Fd) -> Result<libc::stat> {
    let mut stat = zeroed::<libc::stat>();
    call!(SYS_fstat, fd, &mut stat)?;
    Ok(stat)
}

/// `mkdirat` in the working directory.
pub fn mkdir(path: &CStr, mode: u32) -> Result<()> {
    call!(SYS_mkdirat, libc::AT_FDCWD, path, mode).map(drop)
}

/// `unlinkat` of a file in the working directory.
pub fn unlink(path: &CStr) -> Result<()> {
    call!(SYS_unlinkat, libc::AT_FDCWD, path, 0).map(drop)
}

/// `unlinkat` of a directory.
pub fn rmdir(path: &CStr) -> Result<()> {
    call!(SYS_unlinkat, libc::AT_FDCWD, path, libc::AT_REMOVEDIR).map(drop)
}

/// `symlinkat` in the working directory.
pub fn symlink(target: &CStr, path: &CStr) -> Result<()> {
    call!(SYS_symlinkat, target, libc::AT_FDCWD, path).map(drop)
}

/// `readlinkat`.
pub fn readlink(path: &CStr) -> Result<Vec<u8>> {
    let mut target = vec![0u8; 4096];
    let n = call!(SYS_readlinkat, libc::AT_FDCWD, path, target.as_mut_slice(), 4096usize)?;
    target.truncate(n);
    Ok(target)
}

/// `renameat2` in the working directory.
pub fn rename(from: &CStr, to: &CStr, flags: u32) -> Result<()> {
    call!(SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, flags).map(drop)
}

/// `linkat` in the working directory.
pub fn link(from: &CStr, to: &CStr) -> Result<()> {
    call!(SYS_linkat, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0).map(drop)
}

/// `chdir`.
pub fn chdir(path: &CStr) -> Result<()> {
    call!(SYS_chdir, path).map(drop)
}

/// `ftruncate`.
pub fn ftruncate(fd: Fd, length: i64) -> Result<()> {
    call!(SYS_ftruncate, fd, length).map(drop)
}

/// `memfd_create`, close-on-exec.
pub fn memfd() -> Result<Fd> {
    call!(SYS_memfd_create, c"usertest", libc::MFD_CLOEXEC).map(|fd| fd as Fd)
}

/// A file of its own in the working directory, open for reading and writing, of `length` zero bytes.
pub fn scratch_file(path: &CStr, length: i64) -> Result<Fd> {
    let fd = open(path, libc::O_CREAT | libc::O_TRUNC | libc::O_RDWR, 0o644)?;
    ftruncate(fd, length)?;
    Ok(fd)
}

/// One entry as `getdents64` returns it.
pub struct DirEntry {
    /// Inode number.
    pub ino: u64,
    /// `DT_` type.
    pub kind: u8,
    /// Name without the terminator.
    pub name: String,
}

/// One `getdents64` of up to `size` bytes; empty at the end of the directory.
pub fn getdents(fd: Fd, size: usize) -> Result<Vec<DirEntry>> {
    let mut buffer = vec![0u8; size];
    let n = call!(SYS_getdents64, fd, buffer.as_mut_slice(), size)?;
    let mut rest = buffer.get(..n).ok_or(Errno(libc::EFAULT))?;
    let mut entries = Vec::new();
    while let Some((header, tail)) = rest.split_first_chunk::<19>() {
        let ino = u64::from_ne_bytes(*header.first_chunk().unwrap_or(&[0; 8]));
        let length = u16::from_ne_bytes([header[16], header[17]]) as usize;
        let name = tail.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        entries.push(DirEntry { ino, kind: header[18], name });
        rest = rest.get(length.max(1)..).unwrap_or_default();
    }
    Ok(entries)
}

/// The names in directory `path`, sorted, without `.` and `..`.
pub fn list(path: &CStr) -> Result<Vec<String>> {
    let fd = open(path, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut names = Vec::new();
    loop {
        let entries = getdents(fd, 4096)?;
        if entries.is_empty() {
            break;
        }
        names.extend(entries.into_iter().map(|entry| entry.name));
    }
    close(fd)?;
    names.retain(|name| name != "." && name != "..");
    names.sort();
    Ok(names)
}

/// `ppoll` without a signal mask; `timeout` in milliseconds, negative for ever. Returns `revents` of each.
pub fn poll(fds: &[(Fd, i16)], timeout: i64) -> Result<Vec<i16>> {
    let mut set: Vec<libc::pollfd> =
        fds.iter().map(|(fd, events)| libc::pollfd { fd: *fd, events: *events, revents: 0 }).collect();
    let limit = super::timespec_of_ns((timeout * 1_000_000).unsigned_abs());
    let limit = if timeout < 0 { core::ptr::null() } else { &raw const limit };
    call!(SYS_ppoll, set.as_mut_ptr(), set.len(), limit, 0, 8)?;
    Ok(set.iter().map(|entry| entry.revents).collect())
}

/// A value of a plain C structure with every byte zero.
pub fn zeroed<T: Copy>() -> T {
    // SAFETY: used with C structures of integers and nullable pointers only, for
    // which the pattern of zeros is a value; `Copy` keeps out most others.
    unsafe { core::mem::zeroed() }
}
