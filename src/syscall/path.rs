//! Calls that name a file by a path: openat(2), stat and its relatives, and changes of what is known about a file.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;

use libkernel::fs::change::{self, NewTime};
use libkernel::fs::fifo::Patience;
use libkernel::fs::inode::Link;
use libkernel::fs::permission::{self, Access};
use libkernel::fs::walk::{self, LastLink};
use libkernel::fs::{Caller, Fd, FileType, Metadata, OpenFile, OpenFlags, Path, namespace, open};
use libkernel::memory::UserPtr;
use libkernel::poll;
use libkernel::task::interruptible;
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::file::check_size;
use super::files::{PathText, as_caller, base, descriptor_limit};
use super::{Context, Outcome};

const EMPTY_PATH: u32 = linux::AT_EMPTY_PATH;
const NO_FOLLOW: u32 = linux::AT_SYMLINK_NOFOLLOW;

/// What an open asks for.
#[derive(Clone, Copy)]
struct OpenRequest {
    directory: Fd,
    path: UserPtr<u8>,
    flags: u32,
    mode: u32,
}

impl OpenRequest {
    fn open(&self, cx: &Context, patience: Patience) -> Result<Arc<OpenFile>> {
        // Unknown flags are ignored, as open(2) always did.
        let flags = OpenFlags::from_bits_truncate(self.flags);
        let mut text = PathText::new();
        let text = text.read(cx, self.path)?;
        let base = base(cx, self.directory, text)?;
        as_caller(cx, |caller| open::open_incomplete(caller, base.as_ref(), text, flags, self.mode, patience))
    }

    fn install(&self, cx: &Context, file: Arc<OpenFile>) -> Result<usize> {
        let close_on_exec = self.flags & linux::O_CLOEXEC != 0;
        Ok(cx.thread.files().insert(file, close_on_exec, 0, descriptor_limit(cx))?.0 as usize)
    }

    fn start(&self, cx: &mut Context) -> Outcome {
        match self.open(cx, Patience::Refuse) {
            Ok(file) => self.install(cx, file).into(),
            Err(Errno::EAGAIN) if self.flags & linux::O_NONBLOCK == 0 => Outcome::Block,
            Err(error) => Outcome::Done(Err(error)),
        }
    }

    /// Waits for the other side of a FIFO.
    async fn finish(self, cx: &mut Context) -> Result<usize> {
        let file = self.open(cx, Patience::Wait)?;
        let open = poll::wait_for(|table| file.is_open(table).then_some(()));
        interruptible(open).await.map_err(|_| Errno::ERESTARTSYS)?;
        self.install(cx, file)
    }
}

/// openat(2).
pub fn openat(cx: &mut Context, directory: Fd, path: UserPtr<u8>, flags: u32, mode: u32) -> Outcome {
    OpenRequest { directory, path, flags, mode }.start(cx)
}

/// openat(2): waits for the other side of a FIFO.
pub async fn openat_blocking(
    cx: &mut Context,
    directory: Fd,
    path: UserPtr<u8>,
    flags: u32,
    mode: u32,
) -> Result<usize> {
    OpenRequest { directory, path, flags, mode }.finish(cx).await
}

/// The file that a call with `AT_*` flags names. `flags` have been checked.
fn named(cx: &Context, directory: Fd, path: UserPtr<u8>, flags: u32) -> Result<Path> {
    if flags & EMPTY_PATH != 0 && path.is_null() {
        return directory_itself(cx, directory);
    }
    let mut text = PathText::new();
    let text = text.read(cx, path)?;
    if text.is_empty() && flags & EMPTY_PATH != 0 {
        return directory_itself(cx, directory);
    }
    let base = base(cx, directory, text)?;
    let last = if flags & NO_FOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    as_caller(cx, |caller| walk::resolve(caller, base.as_ref(), text, last))
}

fn directory_itself(cx: &Context, directory: Fd) -> Result<Path> {
    if directory.0 == linux::AT_FDCWD {
        return Ok(cx.thread.fs().working_directory());
    }
    Ok(cx.thread.files().get(directory)?.path().clone())
}

fn check_flags(flags: u32, known: u32) -> Result<()> {
    if flags & !known != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Seconds and nanoseconds of a time stamp.
fn split(time: i64) -> (i64, u32) {
    (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000) as u32)
}

fn to_stat(metadata: &Metadata) -> linux::stat {
    let (accessed, modified, changed) = (split(metadata.accessed), split(metadata.modified), split(metadata.changed));
    linux::stat {
        st_dev: metadata.device.encode() as _,
        st_ino: metadata.ino as _,
        st_mode: metadata.mode(),
        st_nlink: metadata.links,
        st_uid: metadata.uid,
        st_gid: metadata.gid,
        st_rdev: metadata.represents.encode() as _,
        __pad1: 0,
        st_size: metadata.size as _,
        st_blksize: metadata.block_size as _,
        __pad2: 0,
        st_blocks: metadata.blocks as _,
        st_atime: accessed.0 as _,
        st_atime_nsec: accessed.1 as _,
        st_mtime: modified.0 as _,
        st_mtime_nsec: modified.1 as _,
        st_ctime: changed.0 as _,
        st_ctime_nsec: changed.1 as _,
        __unused4: 0,
        __unused5: 0,
    }
}

/// newfstatat(2).
pub fn newfstatat(
    cx: &mut Context,
    directory: Fd,
    path: UserPtr<u8>,
    buffer: UserPtr<linux::stat>,
    flags: u32,
) -> Result<usize> {
    check_flags(flags, EMPTY_PATH | NO_FOLLOW | linux::AT_NO_AUTOMOUNT)?;
    let metadata = named(cx, directory, path, flags)?.inode().metadata();
    cx.thread.space().write_value(buffer, to_stat(&metadata))?;
    Ok(0)
}

/// fstat(2).
pub fn fstat(cx: &mut Context, fd: Fd, buffer: UserPtr<linux::stat>) -> Result<usize> {
    let metadata = cx.thread.files().get(fd)?.inode().metadata();
    cx.thread.space().write_value(buffer, to_stat(&metadata))?;
    Ok(0)
}

fn statx_time(time: i64) -> linux::statx_timestamp {
    let (seconds, nanoseconds) = split(time);
    linux::statx_timestamp { tv_sec: seconds, tv_nsec: nanoseconds, __reserved: 0 }
}

/// statx(2).
pub fn statx(
    cx: &mut Context,
    directory: Fd,
    path: UserPtr<u8>,
    flags: u32,
    mask: u32,
    buffer: UserPtr<linux::statx>,
) -> Result<usize> {
    const SYNC: u32 = linux::AT_STATX_FORCE_SYNC | linux::AT_STATX_DONT_SYNC;
    check_flags(flags, EMPTY_PATH | NO_FOLLOW | linux::AT_NO_AUTOMOUNT | SYNC)?;
    if mask & linux::STATX__RESERVED != 0 || flags & SYNC == SYNC {
        return Err(Errno::EINVAL);
    }
    let path = named(cx, directory, path, flags)?;
    let metadata = path.inode().metadata();
    let space = cx.thread.space();
    space.zero_bytes(buffer.cast(), size_of::<linux::statx>())?;
    let mut result = space.read_value(buffer)?;
    result.stx_mask = linux::STATX_BASIC_STATS | linux::STATX_BTIME | linux::STATX_MNT_ID;
    result.stx_blksize = metadata.block_size;
    result.stx_nlink = metadata.links;
    result.stx_uid = metadata.uid;
    result.stx_gid = metadata.gid;
    result.stx_mode = metadata.mode() as u16;
    result.stx_ino = metadata.ino;
    result.stx_size = metadata.size;
    result.stx_blocks = metadata.blocks;
    result.stx_atime = statx_time(metadata.accessed);
    result.stx_mtime = statx_time(metadata.modified);
    result.stx_ctime = statx_time(metadata.changed);
    result.stx_btime = statx_time(metadata.created);
    result.stx_rdev_major = metadata.represents.major;
    result.stx_rdev_minor = metadata.represents.minor;
    result.stx_dev_major = metadata.device.major;
    result.stx_dev_minor = metadata.device.minor;
    result.stx_mnt_id = path.mount.id().into();
    if alloc::sync::Arc::ptr_eq(&path.dentry, path.mount.root()) {
        result.stx_attributes |= u64::from(linux::STATX_ATTR_MOUNT_ROOT);
    }
    result.stx_attributes_mask = linux::STATX_ATTR_MOUNT_ROOT.into();
    space.write_value(buffer, result)?;
    Ok(0)
}

/// readlinkat(2).
pub fn readlinkat(cx: &mut Context, directory: Fd, path: UserPtr<u8>, buffer: UserPtr<u8>, size: i32) -> Result<usize> {
    let size = usize::try_from(size).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let mut text = PathText::new();
    let text = text.read(cx, path)?;
    let base = base(cx, directory, text)?;
    let target: Vec<u8> = as_caller(cx, |caller| {
        let link = match base {
            Some(path) if text.is_empty() => {
                let is_link = path.inode().attributes().kind() == FileType::Symlink;
                if is_link { Ok(path) } else { Err(Errno::ENOENT) }
            }
            base => namespace::read_link(caller, base.as_ref(), text),
        }?;
        link.inode().attributes().touch_accessed();
        match link.inode().read_link(caller)? {
            Link::Text(target) => Ok(target.to_vec()),
            Link::Jump(path) => path.display(&caller.context.root()),
        }
    })?;
    let target = target.get(..size).unwrap_or(&target);
    cx.thread.space().write_bytes(buffer, target)?;
    Ok(target.len())
}

/// faccessat(2).
pub fn faccessat(cx: &mut Context, directory: Fd, path: UserPtr<u8>, mode: u32) -> Result<usize> {
    faccessat2(cx, directory, path, mode, 0)
}

/// faccessat2(2).
pub fn faccessat2(cx: &mut Context, directory: Fd, path: UserPtr<u8>, mode: u32, flags: u32) -> Result<usize> {
    check_flags(flags, EMPTY_PATH | NO_FOLLOW | linux::AT_EACCESS)?;
    let access = Access::from_bits(mode).ok_or(Errno::EINVAL)?;
    let effective = cx.thread.credentials();
    let credentials =
        if flags & linux::AT_EACCESS != 0 { effective } else { Arc::new(change::real_credentials(&effective)) };
    let mut text = PathText::new();
    let text = text.read(cx, path)?;
    let base = base(cx, directory, text)?;
    let last = if flags & NO_FOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    as_caller(cx, |caller| {
        let caller = Caller { credentials: &credentials, ..*caller };
        let path = match base {
            Some(path) if text.is_empty() && flags & EMPTY_PATH != 0 => path,
            base => walk::resolve(&caller, base.as_ref(), text, last)?,
        };
        let attributes = path.inode().attributes();
        if access.contains(Access::EXECUTE) && attributes.kind() == FileType::Regular && !path.allows_execution() {
            return Err(Errno::EACCES);
        }
        if access.contains(Access::WRITE) && matches!(attributes.kind(), FileType::Regular | FileType::Directory) {
            path.mount.check_writable()?;
        }
        permission::check(attributes, &credentials, access)
    })?;
    Ok(0)
}

/// fchmodat(2).
pub fn fchmodat(cx: &mut Context, directory: Fd, path: UserPtr<u8>, mode: u32) -> Result<usize> {
    fchmodat2(cx, directory, path, mode, 0)
}

/// fchmodat2(2).
pub fn fchmodat2(cx: &mut Context, directory: Fd, path: UserPtr<u8>, mode: u32, flags: u32) -> Result<usize> {
    check_flags(flags, EMPTY_PATH | NO_FOLLOW)?;
    let path = named(cx, directory, path, flags)?;
    as_caller(cx, |caller| change::set_mode(caller, &path, mode))?;
    Ok(0)
}

/// The path of an open file that may be changed: not of one that is only named. `EBADF`.
fn open_path(cx: &Context, fd: Fd) -> Result<Path> {
    let file = cx.thread.files().get(fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    Ok(file.path().clone())
}

/// fchmod(2).
pub fn fchmod(cx: &mut Context, fd: Fd, mode: u32) -> Result<usize> {
    let path = open_path(cx, fd)?;
    as_caller(cx, |caller| change::set_mode(caller, &path, mode))?;
    Ok(0)
}

/// A user or group id as chown(2) takes it: all ones leaves the id alone.
fn id(raw: u32) -> Option<u32> {
    (raw != u32::MAX).then_some(raw)
}

/// fchownat(2).
pub fn fchownat(cx: &mut Context, directory: Fd, path: UserPtr<u8>, uid: u32, gid: u32, flags: u32) -> Result<usize> {
    check_flags(flags, EMPTY_PATH | NO_FOLLOW)?;
    let path = named(cx, directory, path, flags)?;
    as_caller(cx, |caller| change::set_owner(caller, &path, id(uid), id(gid)))?;
    Ok(0)
}

/// fchown(2).
pub fn fchown(cx: &mut Context, fd: Fd, uid: u32, gid: u32) -> Result<usize> {
    let path = open_path(cx, fd)?;
    as_caller(cx, |caller| change::set_owner(caller, &path, id(uid), id(gid)))?;
    Ok(0)
}

/// One time of utimensat(2).
fn new_time([seconds, nanoseconds]: [i64; 2]) -> Result<NewTime> {
    Ok(match nanoseconds as u32 {
        linux::UTIME_NOW => NewTime::Now,
        linux::UTIME_OMIT => NewTime::Keep,
        0..1_000_000_000 if (0..1_000_000_000).contains(&nanoseconds) => {
            NewTime::At(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
        }
        _ => return Err(Errno::EINVAL),
    })
}

/// utimensat(2).
pub fn utimensat(
    cx: &mut Context,
    directory: Fd,
    path: UserPtr<u8>,
    times: UserPtr<[[i64; 2]; 2]>,
    flags: u32,
) -> Result<usize> {
    check_flags(flags, EMPTY_PATH | NO_FOLLOW)?;
    let (accessed, modified) = match times.non_null() {
        None => (NewTime::Now, NewTime::Now),
        Some(times) => {
            let [accessed, modified] = cx.thread.space().read_value(times)?;
            (new_time(accessed)?, new_time(modified)?)
        }
    };
    let path = if path.is_null() && directory.0 != linux::AT_FDCWD {
        open_path(cx, directory)?
    } else {
        named(cx, directory, path, flags)?
    };
    as_caller(cx, |caller| change::set_times(caller, &path, accessed, modified))?;
    Ok(0)
}

/// truncate(2).
pub fn truncate(cx: &mut Context, path: UserPtr<u8>, size: i64) -> Result<usize> {
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    let path = named(cx, Fd(linux::AT_FDCWD), path, 0)?;
    check_size(cx, size)?;
    as_caller(cx, |caller| change::truncate(caller, &path, size))?;
    Ok(0)
}

/// setxattr(2): no file system here keeps extended attributes.
pub fn setxattr(cx: &mut Context, path: UserPtr<u8>) -> Result<usize> {
    named(cx, Fd(linux::AT_FDCWD), path, 0)?;
    Err(Errno::EOPNOTSUPP)
}

/// lsetxattr(2).
pub fn lsetxattr(cx: &mut Context, path: UserPtr<u8>) -> Result<usize> {
    named(cx, Fd(linux::AT_FDCWD), path, NO_FOLLOW)?;
    Err(Errno::EOPNOTSUPP)
}

/// fsetxattr(2).
pub fn fsetxattr(cx: &mut Context, fd: Fd) -> Result<usize> {
    open_path(cx, fd)?;
    Err(Errno::EOPNOTSUPP)
}

/// getxattr(2).
pub fn getxattr(cx: &mut Context, path: UserPtr<u8>) -> Result<usize> {
    setxattr(cx, path)
}

/// lgetxattr(2).
pub fn lgetxattr(cx: &mut Context, path: UserPtr<u8>) -> Result<usize> {
    lsetxattr(cx, path)
}

/// fgetxattr(2).
pub fn fgetxattr(cx: &mut Context, fd: Fd) -> Result<usize> {
    fsetxattr(cx, fd)
}

/// listxattr(2): there are none.
pub fn listxattr(cx: &mut Context, path: UserPtr<u8>) -> Result<usize> {
    named(cx, Fd(linux::AT_FDCWD), path, 0)?;
    Ok(0)
}

/// llistxattr(2).
pub fn llistxattr(cx: &mut Context, path: UserPtr<u8>) -> Result<usize> {
    named(cx, Fd(linux::AT_FDCWD), path, NO_FOLLOW)?;
    Ok(0)
}

/// flistxattr(2).
pub fn flistxattr(cx: &mut Context, fd: Fd) -> Result<usize> {
    open_path(cx, fd)?;
    Ok(0)
}
