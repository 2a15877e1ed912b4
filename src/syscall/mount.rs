//! mount(2), umount2(2), statfs(2).
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use libkernel::fs::mount::{self, Mount, MountFlags};
use libkernel::fs::walk::{self, LastLink};
use libkernel::fs::{Fd, Path};
use libkernel::memory::UserPtr;
use libkernel::process::capability::Capability;
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::Context;
use super::files::{PathText, as_caller, file};
use crate::fs::mountable;

/// Flags that ask for something else than a new mount, or that mean nothing here.
const IGNORED: u32 = linux::MS_SILENT | linux::MS_STRICTATIME | linux::MS_LAZYTIME | linux::MS_SYNCHRONOUS;

fn found(cx: &Context, path: UserPtr<u8>, last: LastLink) -> Result<Path> {
    let mut text = PathText::new();
    let text = text.read(cx, path)?;
    as_caller(cx, |caller| walk::resolve(caller, None, text, last))
}

fn string(cx: &Context, pointer: UserPtr<u8>) -> Result<String> {
    let bytes = match pointer.non_null() {
        Some(pointer) => cx.thread.space().read_string(pointer, 4096)?,
        None => Vec::new(),
    };
    String::from_utf8(bytes).map_err(|_| Errno::EINVAL)
}

/// mount(2): a new mount, a bind mount, or other flags for a mount.
pub fn mount(
    cx: &mut Context,
    source: UserPtr<u8>,
    target: UserPtr<u8>,
    kind: UserPtr<u8>,
    flags: usize,
    options: UserPtr<u8>,
) -> Result<usize> {
    if !cx.thread.credentials().has(Capability::SysAdmin) {
        return Err(Errno::EPERM);
    }
    let flags = flags as u32;
    let place = found(cx, target, LastLink::Follow)?;
    let mount_flags = MountFlags::from_bits_truncate(flags) | MountFlags::RELATIVE_ACCESS_TIME;
    if flags & linux::MS_REMOUNT != 0 {
        place.mount.set_flags(mount_flags);
        return Ok(0);
    }
    if flags & (linux::MS_PRIVATE | linux::MS_SLAVE | linux::MS_SHARED | linux::MS_UNBINDABLE) != 0 {
        // With one namespace, nothing propagates in any case.
        return Ok(0);
    }
    if flags & linux::MS_MOVE != 0
        || flags & !(IGNORED | MountFlags::all().bits() | linux::MS_BIND | linux::MS_REC) != 0
    {
        return Err(Errno::EINVAL);
    }
    let new: Arc<Mount> = if flags & linux::MS_BIND != 0 {
        Mount::of_part(&found(cx, source, LastLink::Follow)?)
    } else {
        let (kind, options, source) = (string(cx, kind)?, string(cx, options)?, string(cx, source)?);
        let new = mountable::make(&kind, &options, if source.is_empty() { "none" } else { &source })?;
        new.set_flags(mount_flags);
        new
    };
    mount::attach(&new, place)?;
    Ok(0)
}

/// umount2(2).
pub fn umount2(cx: &mut Context, target: UserPtr<u8>, flags: u32) -> Result<usize> {
    const KNOWN: u32 = linux::MNT_FORCE | linux::MNT_DETACH | linux::MNT_EXPIRE | linux::UMOUNT_NOFOLLOW;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if !cx.thread.credentials().has(Capability::SysAdmin) {
        return Err(Errno::EPERM);
    }
    let last = if flags & linux::UMOUNT_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    let path = found(cx, target, last)?;
    mount::detach(path, flags & linux::MNT_DETACH != 0)?;
    Ok(0)
}

fn to_statfs(path: &Path) -> linux::statfs {
    let statistics = path.mount.file_system().statistics();
    let device = path.mount.file_system().device();
    linux::statfs {
        f_type: statistics.magic as _,
        f_bsize: statistics.block_size as _,
        f_blocks: statistics.blocks as _,
        f_bfree: statistics.free_blocks as _,
        f_bavail: statistics.free_blocks as _,
        f_files: statistics.files as _,
        f_ffree: statistics.free_files as _,
        f_fsid: linux::__kernel_fsid_t { val: [device.major as i32, device.minor as i32] },
        f_namelen: libkernel::fs::inode::NAME_MAX as _,
        f_frsize: statistics.block_size as _,
        // The low mount flags are those of statvfs; 0x20 says that they are valid.
        f_flags: (path.mount.flags().bits() & 0xf | 0x20) as _,
        f_spare: [0; 4],
    }
}

/// statfs(2).
pub fn statfs(cx: &mut Context, path: UserPtr<u8>, buffer: UserPtr<linux::statfs>) -> Result<usize> {
    let path = found(cx, path, LastLink::Follow)?;
    cx.thread.space().write_value(buffer, to_statfs(&path))?;
    Ok(0)
}

/// fstatfs(2).
pub fn fstatfs(cx: &mut Context, fd: Fd, buffer: UserPtr<linux::statfs>) -> Result<usize> {
    let file = file(cx, fd)?;
    cx.thread.space().write_value(buffer, to_statfs(file.path()))?;
    Ok(0)
}
