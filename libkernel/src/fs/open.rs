//! Opening files: open(2) with all its flags.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::caller::Caller;
use super::file_object::FileObject;
use super::inode::Link;
use super::metadata::{DeviceId, FileType};
use super::mount::{MountFlags, Path};
use super::namespace;
use super::open_file::OpenFile;
use super::open_flags::OpenFlags;
use super::permission::{self, Access};
use super::walk::{Last, LastLink, Walk};
use super::{dentry::Dentry, device, fifo};
use crate::{Errno, Result};

/// How something is opened.
#[derive(Clone, Copy)]
struct How {
    flags: OpenFlags,
    mode: u32,
    patience: fifo::Patience,
}

/// Opens what `path` names, from `base` or else the working directory; `mode` is for a file that is made.
///
/// # Errors
/// Those of open(2); `EAGAIN`, with nothing done, for a FIFO whose other side is not open while waiting for it is asked for
/// (see [`open_incomplete`]).
pub fn open(
    caller: &Caller<'_>,
    base: Option<&Path>,
    path: &[u8],
    flags: OpenFlags,
    mode: u32,
) -> Result<Arc<OpenFile>> {
    open_incomplete(caller, base, path, flags, mode, fifo::Patience::Refuse)
}

/// Opens as [`open`] does; with [`fifo::Patience::Wait`] a FIFO is opened though its other side is not, and the caller waits until
/// [`OpenFile::is_open`].
///
/// # Errors
/// Those of open(2).
pub fn open_incomplete(
    caller: &Caller<'_>,
    base: Option<&Path>,
    path: &[u8],
    flags: OpenFlags,
    mode: u32,
    patience: fifo::Patience,
) -> Result<Arc<OpenFile>> {
    let how = How { flags, mode, patience };
    if flags.contains(OpenFlags::PATH) {
        let keep = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NO_FOLLOW | OpenFlags::CLOSE_ON_EXEC;
        return open_path(caller, base, path, flags & keep);
    }
    if flags.contains(OpenFlags::UNNAMED) {
        return open_unnamed(caller, base, path, how);
    }
    if flags.contains(OpenFlags::CREATE) {
        if flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        return open_or_create(caller, base, path, how);
    }
    let last = if flags.contains(OpenFlags::NO_FOLLOW) { LastLink::Keep } else { LastLink::Follow };
    let found = Walk::new(caller).resolve(base, path, last)?;
    open_found(caller, found, how, false)
}

fn open_path(caller: &Caller<'_>, base: Option<&Path>, path: &[u8], flags: OpenFlags) -> Result<Arc<OpenFile>> {
    let last = if flags.contains(OpenFlags::NO_FOLLOW) { LastLink::Keep } else { LastLink::Follow };
    let found = Walk::new(caller).resolve(base, path, last)?;
    if flags.contains(OpenFlags::DIRECTORY) && found.inode().attributes().kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    OpenFile::opened_by(caller.opener, found, None, flags)
}

fn open_unnamed(caller: &Caller<'_>, base: Option<&Path>, path: &[u8], how: How) -> Result<Arc<OpenFile>> {
    let How { flags, mode, .. } = how;
    if !flags.contains(OpenFlags::DIRECTORY) || !flags.writable() {
        return Err(Errno::EINVAL);
    }
    let directory = Walk::new(caller).resolve(base, path, LastLink::Follow)?;
    if directory.inode().attributes().kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    namespace::check_addition(&directory, caller)?;
    let new = namespace::new_inode(&directory, caller, FileType::Regular, mode, DeviceId::default());
    let inode = directory.inode().create_unnamed(&new)?;
    if !flags.contains(OpenFlags::EXCLUSIVE) {
        inode.attributes().await_first_name();
    }
    let mut name = *b"#00000000";
    for (digit, shift) in name.iter_mut().skip(1).zip((0..8).rev()) {
        *digit =
            b"0123456789abcdef".get((inode.attributes().ino() >> (shift * 4)) as usize & 15).copied().unwrap_or(b'0');
    }
    let path = Path { mount: directory.mount, dentry: Dentry::unnamed(inode, &name) };
    OpenFile::opened_by(caller.opener, path, None, flags.difference(OpenFlags::UNNAMED | OpenFlags::DIRECTORY))
}

/// Open with `O_CREAT`: goes along the links that the last component leads through, and makes what the last one names.
fn open_or_create(caller: &Caller<'_>, base: Option<&Path>, path: &[u8], how: How) -> Result<Arc<OpenFile>> {
    let mut walk = Walk::new(caller);
    let mut next = match create_step(caller, &mut walk, base, path, how)? {
        Step::Open(file) => return Ok(file),
        Step::Link(directory, target) => (directory, target),
    };
    loop {
        next = match create_step(caller, &mut walk, Some(&next.0), &next.1, how)? {
            Step::Open(file) => return Ok(file),
            Step::Link(directory, target) => (directory, target),
        };
    }
}

/// Where one path of an `O_CREAT` open leads.
enum Step {
    /// To the file.
    Open(Arc<OpenFile>),
    /// To a symbolic link, in this directory, with this target.
    Link(Path, Arc<[u8]>),
}

fn create_step(caller: &Caller<'_>, walk: &mut Walk<'_>, base: Option<&Path>, path: &[u8], how: How) -> Result<Step> {
    let flags = how.flags;
    let parent = walk.resolve_parent(base, path)?;
    let Last::Name { name, slash: false } = parent.last else { return Err(Errno::EISDIR) };
    let (found, made) = find_or_create(caller, &parent.directory, name, how)?;
    if made {
        return open_found(caller, found, how, true).map(Step::Open);
    }
    if flags.contains(OpenFlags::EXCLUSIVE) {
        return Err(Errno::EEXIST);
    }
    if found.inode().attributes().kind() != FileType::Symlink {
        return open_found(caller, found, how, false).map(Step::Open);
    }
    if flags.contains(OpenFlags::NO_FOLLOW) {
        return Err(Errno::ELOOP);
    }
    walk.count_link()?;
    match found.inode().read_link(caller)? {
        Link::Jump(path) => open_found(caller, path, how, false).map(Step::Open),
        Link::Text(target) => Ok(Step::Link(parent.directory, target)),
    }
}

fn find_or_create(caller: &Caller<'_>, directory: &Path, name: &[u8], how: How) -> Result<(Path, bool)> {
    let How { flags, mode, .. } = how;
    let attributes = directory.inode().attributes();
    permission::check(attributes, caller.credentials, Access::EXECUTE)?;
    let mut children = directory.dentry.lock_children();
    let (dentry, made) = match children.get(&directory.dentry, name) {
        Ok(dentry) => (dentry, false),
        Err(Errno::ENOENT) => {
            namespace::check_addition(directory, caller)?;
            let new = namespace::new_inode(directory, caller, FileType::Regular, mode, DeviceId::default());
            let inode = directory.inode().create(name, &new)?;
            (children.add(&directory.dentry, name, inode)?, true)
        }
        Err(error) => return Err(error),
    };
    drop(children);
    let mut path = Path { mount: directory.mount.clone(), dentry };
    if !flags.contains(OpenFlags::EXCLUSIVE) {
        path.enter_mounts();
    }
    Ok((path, made))
}

/// Opens a file that was found. One that was `made` by this open is open as asked, whatever its mode (open(2)).
fn open_found(caller: &Caller<'_>, path: Path, how: How, made: bool) -> Result<Arc<OpenFile>> {
    let flags = how.flags;
    let inode = path.inode();
    let attributes = inode.attributes();
    let writes = flags.writable() || flags.contains(OpenFlags::TRUNCATE);
    match attributes.kind() {
        FileType::Symlink if !flags.contains(OpenFlags::DIRECTORY) => return Err(Errno::ELOOP),
        FileType::Directory if writes || flags.contains(OpenFlags::CREATE) => return Err(Errno::EISDIR),
        FileType::Directory => {}
        _ if flags.contains(OpenFlags::DIRECTORY) => return Err(Errno::ENOTDIR),
        FileType::Socket => return Err(Errno::ENXIO),
        FileType::CharDevice | FileType::BlockDevice if path.mount.flags().contains(MountFlags::NO_DEVICES) => {
            return Err(Errno::EACCES);
        }
        FileType::Regular if writes => path.mount.check_writable()?,
        _ => {}
    }
    if !made {
        let mut access = Access::empty();
        access.set(Access::READ, flags.readable());
        access.set(Access::WRITE, writes);
        permission::check(attributes, caller.credentials, access)?;
        if flags.contains(OpenFlags::NO_ACCESS_TIME) && !permission::owns(attributes, caller.credentials) {
            return Err(Errno::EPERM);
        }
    }
    let object: Option<Arc<dyn FileObject>> = match attributes.kind() {
        FileType::Fifo => Some(fifo::open(inode, flags, how.patience)?),
        FileType::CharDevice => match inode.open(flags, caller)? {
            Some(object) => Some(object),
            None => Some(device::open(attributes.represents(), flags, caller)?),
        },
        FileType::BlockDevice => return Err(Errno::ENXIO),
        _ => inode.open(flags, caller)?,
    };
    let truncates = flags.contains(OpenFlags::TRUNCATE) && !made && object.is_none();
    let file = OpenFile::opened_by(caller.opener, path, object, flags)?;
    let inode = file.inode();
    let attributes = inode.attributes();
    if truncates && attributes.kind() == FileType::Regular {
        attributes.write_count().while_writing(|| {
            permission::drop_set_id_before_change(attributes, caller.credentials);
            inode.truncate(0)
        })?;
    }
    Ok(file)
}
