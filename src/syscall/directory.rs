//! Calls about directories and the names in them: getdents64(2), chdir(2), mkdirat(2), unlinkat(2), renameat2(2) and so on.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use libkernel::fs::inode::RenameMode;
use libkernel::fs::permission::{self, Access};
use libkernel::fs::walk::{self, LastLink};
use libkernel::fs::{DeviceId, Fd, FileType, Path, namespace};
use libkernel::memory::UserPtr;
use libkernel::process::capability::Capability;
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::Context;
use super::files::{PathText, as_caller, base, file};

/// Bytes before the name in `struct linux_dirent64`.
const ENTRY_HEADER: usize = 19;

/// The most that one getdents64 delivers.
const MOST: usize = 32 * 1024;

/// getdents64(2).
pub fn getdents64(cx: &mut Context, fd: Fd, buffer: UserPtr<u8>, length: u32) -> Result<usize> {
    let file = file(cx, fd)?;
    let room = (length as usize).min(MOST);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(room)?;
    let mut refused = false;
    file.read_directory(&mut |entry| {
        let size = (ENTRY_HEADER + entry.name.len() + 1).next_multiple_of(8);
        refused = bytes.len() + size > room;
        if refused {
            return false;
        }
        let end = bytes.len() + size;
        bytes.extend_from_slice(&entry.ino.to_ne_bytes());
        bytes.extend_from_slice(&entry.next.to_ne_bytes());
        bytes.extend_from_slice(&(size as u16).to_ne_bytes());
        bytes.push(entry.kind.dirent_type());
        bytes.extend_from_slice(entry.name);
        bytes.resize(end, 0);
        true
    })?;
    if bytes.is_empty() && refused {
        return Err(Errno::EINVAL);
    }
    cx.thread.space().write_bytes(buffer, &bytes)?;
    Ok(bytes.len())
}

/// getcwd(2): the length, with the NUL.
pub fn getcwd(cx: &mut Context, buffer: UserPtr<u8>, size: usize) -> Result<usize> {
    let context = cx.thread.fs();
    let directory = context.working_directory();
    if directory.dentry.is_removed() {
        return Err(Errno::ENOENT);
    }
    let mut text = directory.display(&context.root())?;
    text.push(0);
    if text.len() > size {
        return Err(Errno::ERANGE);
    }
    cx.thread.space().write_bytes(buffer, &text)?;
    Ok(text.len())
}

fn enter(cx: &Context, path: &Path) -> Result<()> {
    let attributes = path.inode().attributes();
    if attributes.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    cx.thread.with_credentials(|credentials| permission::check(attributes, credentials, Access::EXECUTE))
}

fn found(cx: &Context, path: UserPtr<u8>) -> Result<Path> {
    let mut text = PathText::new();
    let text = text.read(cx, path)?;
    as_caller(cx, |caller| walk::resolve(caller, None, text, LastLink::Follow))
}

/// chdir(2).
pub fn chdir(cx: &mut Context, path: UserPtr<u8>) -> Result<usize> {
    let path = found(cx, path)?;
    enter(cx, &path)?;
    cx.thread.fs().set_working_directory(path);
    Ok(0)
}

/// fchdir(2).
pub fn fchdir(cx: &mut Context, fd: Fd) -> Result<usize> {
    let path = file(cx, fd)?.path().clone();
    enter(cx, &path)?;
    cx.thread.fs().set_working_directory(path);
    Ok(0)
}

/// chroot(2).
pub fn chroot(cx: &mut Context, path: UserPtr<u8>) -> Result<usize> {
    let path = found(cx, path)?;
    enter(cx, &path)?;
    if !cx.thread.credentials().has(Capability::SysChroot) {
        return Err(Errno::EPERM);
    }
    cx.thread.fs().set_root(path);
    Ok(0)
}

/// umask(2).
pub fn umask(cx: &mut Context, mask: u32) -> Result<usize> {
    Ok(cx.thread.fs().set_umask(mask) as usize)
}

/// mkdirat(2).
pub fn mkdirat(cx: &mut Context, directory: Fd, path: UserPtr<u8>, mode: u32) -> Result<usize> {
    let mut text = PathText::new();
    let text = text.read(cx, path)?;
    let base = base(cx, directory, text)?;
    // Of the special bits, mkdir takes the sticky one alone.
    let mode = mode & 0o1777;
    as_caller(cx, |caller| {
        namespace::make(caller, base.as_ref(), text, FileType::Directory, mode, DeviceId::default())
    })?;
    Ok(0)
}

/// mknodat(2).
pub fn mknodat(cx: &mut Context, directory: Fd, path: UserPtr<u8>, mode: u32, device: u32) -> Result<usize> {
    let mut text = PathText::new();
    let text = text.read(cx, path)?;
    let base = base(cx, directory, text)?;
    let kind = match FileType::from_mode(mode) {
        None if mode & linux::S_IFMT == 0 => FileType::Regular,
        None | Some(FileType::Symlink) => return Err(Errno::EINVAL),
        Some(FileType::Directory) => return Err(Errno::EPERM),
        Some(kind) => kind,
    };
    let device = DeviceId::decode(device.into());
    as_caller(cx, |caller| namespace::make(caller, base.as_ref(), text, kind, mode, device))?;
    Ok(0)
}

/// unlinkat(2).
pub fn unlinkat(cx: &mut Context, directory: Fd, path: UserPtr<u8>, flags: u32) -> Result<usize> {
    if flags & !linux::AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    let mut text = PathText::new();
    let text = text.read(cx, path)?;
    let base = base(cx, directory, text)?;
    let of_directory = flags & linux::AT_REMOVEDIR != 0;
    as_caller(cx, |caller| namespace::remove(caller, base.as_ref(), text, of_directory))?;
    Ok(0)
}

/// symlinkat(2).
pub fn symlinkat(cx: &mut Context, target: UserPtr<u8>, directory: Fd, path: UserPtr<u8>) -> Result<usize> {
    let mut target_text = PathText::new();
    let target = target_text.read(cx, target)?;
    let mut text = PathText::new();
    let text = text.read(cx, path)?;
    let base = base(cx, directory, text)?;
    as_caller(cx, |caller| namespace::symlink(caller, target, base.as_ref(), text))?;
    Ok(0)
}

/// linkat(2).
pub fn linkat(
    cx: &mut Context,
    old_directory: Fd,
    old: UserPtr<u8>,
    new_directory: Fd,
    new: UserPtr<u8>,
    flags: u32,
) -> Result<usize> {
    if flags & !(linux::AT_SYMLINK_FOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut old_text = PathText::new();
    let old = old_text.read(cx, old)?;
    let mut new_text = PathText::new();
    let new = new_text.read(cx, new)?;
    let old_base = base(cx, old_directory, old)?;
    let by_descriptor = old.is_empty() && flags & linux::AT_EMPTY_PATH != 0;
    if by_descriptor && old_base.is_some() {
        let (opened, credentials) = (file(cx, old_directory)?, cx.thread.credentials());
        // Who was given a descriptor, and could not have opened the file, gets no name for it.
        if !opened.was_opened_with(&credentials) && !credentials.has(Capability::DacReadSearch) {
            return Err(Errno::ENOENT);
        }
    }
    let new_base = base(cx, new_directory, new)?;
    let last = if flags & linux::AT_SYMLINK_FOLLOW != 0 { LastLink::Follow } else { LastLink::Keep };
    as_caller(cx, |caller| {
        let file = match old_base {
            Some(path) if by_descriptor => path,
            _ => walk::resolve(caller, old_base.as_ref(), old, last)?,
        };
        namespace::link(caller, &file, new_base.as_ref(), new)
    })?;
    Ok(0)
}

/// renameat(2).
pub fn renameat(
    cx: &mut Context,
    old_directory: Fd,
    old: UserPtr<u8>,
    new_directory: Fd,
    new: UserPtr<u8>,
) -> Result<usize> {
    renameat2(cx, old_directory, old, new_directory, new, 0)
}

/// renameat2(2).
pub fn renameat2(
    cx: &mut Context,
    old_directory: Fd,
    old: UserPtr<u8>,
    new_directory: Fd,
    new: UserPtr<u8>,
    flags: u32,
) -> Result<usize> {
    let mode = match flags {
        0 => RenameMode::Replace,
        linux::RENAME_NOREPLACE => RenameMode::NoReplace,
        linux::RENAME_EXCHANGE => RenameMode::Exchange,
        _ => return Err(Errno::EINVAL),
    };
    let mut old_text = PathText::new();
    let old = old_text.read(cx, old)?;
    let mut new_text = PathText::new();
    let new = new_text.read(cx, new)?;
    let old_base = base(cx, old_directory, old)?;
    let new_base = base(cx, new_directory, new)?;
    as_caller(cx, |caller| namespace::rename(caller, old_base.as_ref(), old, new_base.as_ref(), new, mode))?;
    Ok(0)
}
