//! Making, removing and moving names: what mkdir(2), mknod(2), link(2), symlink(2), unlink(2), rmdir(2) and rename(2) do.
//!
//! Each holds the children of the directories it changes while it checks and acts, so that what was checked is what is changed.
//! What is removed is dropped after the locks. Nothing here sleeps.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use linux_raw_sys::general as linux;

use super::caller::Caller;
use super::dentry::{Children, Dentry};
use super::inode::{NewInode, RenameMode};
use super::metadata::{DeviceId, FileType};
use super::mount::Path;
use super::permission::{self, Access};
use super::walk::{Last, LastLink, Parent, Walk};
use crate::process::capability::Capability;
use crate::sync::SpinLock;
use crate::{Errno, Result};

/// Held over every rename: while it is, the tree's shape is still, so that no directory is moved below itself.
static RENAME: SpinLock<()> = SpinLock::new(());

/// Fails unless `caller` may add a name to `directory`.
pub(super) fn check_addition(directory: &Path, caller: &Caller<'_>) -> Result<()> {
    directory.mount.check_writable()?;
    if directory.dentry.is_removed() {
        return Err(Errno::ENOENT);
    }
    permission::check(directory.inode().attributes(), caller.credentials, Access::WRITE | Access::EXECUTE)
}

/// What a file of this type and mode, made by `caller` in `directory`, starts with: umask and set-group-id directories
/// are taken into account (inode(7)).
#[must_use]
pub fn new_inode(directory: &Path, caller: &Caller<'_>, kind: FileType, mode: u32, device: DeviceId) -> NewInode {
    let above = directory.inode().attributes();
    let mut permissions = mode & 0o7777 & !caller.context.umask();
    let mut gid = caller.credentials.gid.file_system.raw();
    if above.permissions() & linux::S_ISGID != 0 {
        gid = above.gid();
        if kind == FileType::Directory {
            permissions |= linux::S_ISGID;
        } else if permissions & (linux::S_ISGID | linux::S_IXGRP) == linux::S_ISGID | linux::S_IXGRP
            && !permission::in_group(gid, caller.credentials)
            && !caller.credentials.has(Capability::Fsetid)
        {
            permissions &= !linux::S_ISGID;
        }
    }
    NewInode { kind, permissions, uid: caller.credentials.uid.file_system.raw(), gid, device }
}

/// The name that a path gives to something new. `EEXIST` where it ends in something that is always there.
fn new_name<'p>(last: Last<'p>, directory_wanted: bool) -> Result<&'p [u8]> {
    match last {
        Last::Name { name, slash } if directory_wanted || !slash => Ok(name),
        Last::Name { .. } => Err(Errno::ENOENT),
        Last::Dot | Last::DotDot | Last::Root => Err(Errno::EEXIST),
    }
}

/// Makes a directory, a device file, a FIFO, a socket or an empty regular file; `mode` carries permission bits.
///
/// # Errors
/// `EEXIST`, `EPERM` for device files without the capability, and those of looking up the path.
pub fn make(
    caller: &Caller<'_>,
    base: Option<&Path>,
    path: &[u8],
    kind: FileType,
    mode: u32,
    device: DeviceId,
) -> Result<Path> {
    let parent = Walk::new(caller).resolve_parent(base, path)?;
    if matches!(kind, FileType::CharDevice | FileType::BlockDevice) && !caller.credentials.has(Capability::Mknod) {
        return Err(Errno::EPERM);
    }
    let name = new_name(parent.last, kind == FileType::Directory)?;
    let new = new_inode(&parent.directory, caller, kind, mode, device);
    let dentry = add_name(&parent.directory, name, caller, |directory, children| {
        let inode = directory.inode().create(name, &new)?;
        children.add(directory, name, inode)
    })?;
    Ok(Path { mount: parent.directory.mount, dentry })
}

/// Adds a name by `make` after the checks that all additions share, an existing name taking precedence over the permission.
fn add_name(
    directory: &Path,
    name: &[u8],
    caller: &Caller<'_>,
    make: impl FnOnce(&Arc<Dentry>, &mut Children<'_>) -> Result<Arc<Dentry>>,
) -> Result<Arc<Dentry>> {
    permission::check(directory.inode().attributes(), caller.credentials, Access::EXECUTE)?;
    let mut children = directory.dentry.lock_children();
    match children.get(&directory.dentry, name) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    check_addition(directory, caller)?;
    make(&directory.dentry, &mut children)
}

/// Makes a symbolic link to `target`.
///
/// # Errors
/// `EEXIST`, `ENOENT` for an empty target, `ENAMETOOLONG`, and those of looking up the path.
pub fn symlink(caller: &Caller<'_>, target: &[u8], base: Option<&Path>, path: &[u8]) -> Result<()> {
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let parent = Walk::new(caller).resolve_parent(base, path)?;
    let name = new_name(parent.last, false)?;
    let new = new_inode(&parent.directory, caller, FileType::Symlink, 0o777, DeviceId::default());
    add_name(&parent.directory, name, caller, |directory, children| {
        let inode = directory.inode().symlink(name, target, new.uid, new.gid)?;
        children.add(directory, name, inode)
    })?;
    Ok(())
}

/// Gives the file at `file` another name.
///
/// # Errors
/// `EEXIST`, `EXDEV`, `EPERM` for directories, `ENOENT` for a file that lost its last name, and those of looking up the path.
pub fn link(caller: &Caller<'_>, file: &Path, base: Option<&Path>, path: &[u8]) -> Result<()> {
    let parent = Walk::new(caller).resolve_parent(base, path)?;
    let name = new_name(parent.last, false)?;
    if !Arc::ptr_eq(&file.mount, &parent.directory.mount) {
        return Err(Errno::EXDEV);
    }
    add_name(&parent.directory, name, caller, |directory, children| {
        if file.inode().attributes().kind() == FileType::Directory {
            return Err(Errno::EPERM);
        }
        directory.inode().link(name, file.inode())?;
        children.add(directory, name, file.inode().clone())
    })?;
    Ok(())
}

/// Removes a name: of a directory (rmdir(2)) or of anything else (unlink(2)).
///
/// # Errors
/// `ENOENT`, `EISDIR`, `ENOTDIR`, `ENOTEMPTY`, `EBUSY` for a mount point, `EINVAL` for `.`, and those of looking up the path.
pub fn remove(caller: &Caller<'_>, base: Option<&Path>, path: &[u8], directory_wanted: bool) -> Result<()> {
    let parent = Walk::new(caller).resolve_parent(base, path)?;
    let (name, slash) = match parent.last {
        Last::Name { name, slash } => (name, slash),
        _ if !directory_wanted => return Err(Errno::EISDIR),
        Last::Dot => return Err(Errno::EINVAL),
        Last::DotDot => return Err(Errno::ENOTEMPTY),
        Last::Root => return Err(Errno::EBUSY),
    };
    let directory = &parent.directory;
    permission::check(directory.inode().attributes(), caller.credentials, Access::EXECUTE)?;
    let mut children = directory.dentry.lock_children();
    let victim = children.get(&directory.dentry, name)?;
    let attributes = victim.inode().attributes();
    let is_directory = attributes.kind() == FileType::Directory;
    directory.mount.check_writable()?;
    if slash && !is_directory {
        return Err(Errno::ENOTDIR);
    }
    permission::check_removal(directory.inode().attributes(), attributes, caller.credentials)?;
    match (directory_wanted, is_directory) {
        (true, false) => return Err(Errno::ENOTDIR),
        (false, true) => return Err(Errno::EISDIR),
        _ => {}
    }
    if victim.is_mount_point() {
        return Err(Errno::EBUSY);
    }
    if directory_wanted {
        directory.inode().rmdir(name)?;
    } else {
        directory.inode().unlink(name)?;
    }
    let removed = children.remove(name);
    drop(children);
    drop((removed, victim));
    Ok(())
}

/// Gives a file a new name, in the same directory or another (rename(2), renameat2(2)).
///
/// # Errors
/// `EXDEV`, `EBUSY`, `EINVAL` for a directory that would come to lie below itself, `EEXIST`, `ENOTEMPTY`, `EISDIR`, `ENOTDIR`, and
/// those of looking up the paths.
pub fn rename(
    caller: &Caller<'_>,
    old_base: Option<&Path>,
    old_path: &[u8],
    new_base: Option<&Path>,
    new_path: &[u8],
    mode: RenameMode,
) -> Result<()> {
    let old = Walk::new(caller).resolve_parent(old_base, old_path)?;
    let new = Walk::new(caller).resolve_parent(new_base, new_path)?;
    if !Arc::ptr_eq(&old.directory.mount, &new.directory.mount) {
        return Err(Errno::EXDEV);
    }
    let (Last::Name { .. }, Last::Name { .. }) = (old.last, new.last) else {
        return Err(if mode == RenameMode::NoReplace { Errno::EEXIST } else { Errno::EBUSY });
    };
    let still = RENAME.lock();
    let (mut from, mut to) = Dentry::lock_children_of_both(&old.directory.dentry, &new.directory.dentry);
    let result = rename_locked(caller, &old, &new, &mut from, to.as_mut(), mode);
    // What falls out of the cache is kept until the locks are gone.
    drop((from, to, still));
    result.map(drop)
}

/// What a rename leaves to be dropped when the locks are gone.
type Leftovers = (Arc<Dentry>, Option<Arc<Dentry>>, Option<Arc<Dentry>>);

fn rename_locked<'d>(
    caller: &Caller<'_>,
    old: &Parent<'_>,
    new: &Parent<'_>,
    from: &mut Children<'d>,
    mut to: Option<&mut Children<'d>>,
    mode: RenameMode,
) -> Result<Leftovers> {
    let (Last::Name { name, slash }, Last::Name { name: new_name, slash: new_slash }) = (old.last, new.last) else {
        return Err(Errno::EBUSY);
    };
    let (source, target) = (&old.directory, &new.directory);
    let moved = from.get(&source.dentry, name)?;
    let existing = match to.as_deref_mut() {
        Some(to) => to.get(&target.dentry, new_name),
        None => from.get(&target.dentry, new_name),
    };
    let existing = match existing {
        Ok(existing) => Some(existing),
        Err(Errno::ENOENT) => None,
        Err(error) => return Err(error),
    };
    check_rename(caller, source, target, &moved, existing.as_ref(), mode, (slash, new_slash))?;
    if let Some(existing) = &existing
        && Arc::ptr_eq(existing.inode(), moved.inode())
    {
        return Ok((moved, None, None));
    }
    source.inode().rename(name, target.inode(), new_name, mode)?;
    let replaced = if mode == RenameMode::Exchange {
        from.exchange(name, &source.dentry, to, new_name, &target.dentry)?;
        None
    } else {
        from.rename(name, &target.dentry, to, new_name)?
    };
    Ok((moved, existing, replaced))
}

fn check_rename(
    caller: &Caller<'_>,
    source: &Path,
    target: &Path,
    moved: &Arc<Dentry>,
    existing: Option<&Arc<Dentry>>,
    mode: RenameMode,
    (slash, new_slash): (bool, bool),
) -> Result<()> {
    let is_directory = |dentry: &Arc<Dentry>| dentry.inode().attributes().kind() == FileType::Directory;
    source.mount.check_writable()?;
    match (mode, existing) {
        (RenameMode::NoReplace, Some(_)) => return Err(Errno::EEXIST),
        (RenameMode::Exchange, None) => return Err(Errno::ENOENT),
        _ => {}
    }
    if (slash || new_slash && mode != RenameMode::Exchange) && !is_directory(moved) {
        return Err(Errno::ENOTDIR);
    }
    if is_directory(moved) && target.dentry.is_within(moved) {
        return Err(Errno::EINVAL);
    }
    let source_attributes = source.inode().attributes();
    permission::check_removal(source_attributes, moved.inode().attributes(), caller.credentials)?;
    let across = !Arc::ptr_eq(&source.dentry, &target.dentry);
    let check_move = |dentry: &Arc<Dentry>| {
        // A directory that gets another parent has its `..` changed.
        if across && is_directory(dentry) {
            permission::check(dentry.inode().attributes(), caller.credentials, Access::WRITE)?;
        }
        if dentry.is_mount_point() { Err(Errno::EBUSY) } else { Ok(()) }
    };
    check_move(moved)?;
    let Some(existing) = existing else { return check_addition(target, caller) };
    permission::check_removal(target.inode().attributes(), existing.inode().attributes(), caller.credentials)?;
    if existing.is_mount_point() {
        return Err(Errno::EBUSY);
    }
    if mode == RenameMode::Exchange {
        if is_directory(existing) && source.dentry.is_within(existing) {
            return Err(Errno::EINVAL);
        }
        return check_move(existing);
    }
    match (is_directory(moved), is_directory(existing)) {
        (true, false) => Err(Errno::ENOTDIR),
        (false, true) => Err(Errno::EISDIR),
        (_, true) if source.dentry.is_within(existing) => Err(Errno::ENOTEMPTY),
        _ => Ok(()),
    }
}

/// The target of the symbolic link that `path` names.
///
/// # Errors
/// `EINVAL` where it is no symbolic link, and those of looking up the path.
pub fn read_link(caller: &Caller<'_>, base: Option<&Path>, path: &[u8]) -> Result<Path> {
    let path = Walk::new(caller).resolve(base, path, LastLink::Keep)?;
    if path.inode().attributes().kind() != FileType::Symlink {
        return Err(Errno::EINVAL);
    }
    Ok(path)
}
