//! Changing what is known about a file: mode, owner, times, length (chmod(2), chown(2), utimensat(2), truncate(2)).
#![forbid(unsafe_code)]

use linux_raw_sys::general as linux;

use super::caller::Caller;
use super::inode::AttributeChange;
use super::metadata::{FileType, Timestamp, now};
use super::mount::Path;
use super::permission::{self, Access};
use crate::process::capability::{Capability, CapabilitySet};
use crate::process::credentials::Credentials;
use crate::{Errno, Result};

/// Sets the permission, set-id and sticky bits.
///
/// # Errors
/// `EPERM` for who does not own the file, `EROFS`.
pub fn set_mode(caller: &Caller<'_>, path: &Path, mode: u32) -> Result<()> {
    path.mount.check_writable()?;
    let attributes = path.inode().attributes();
    if !permission::owns(attributes, caller.credentials) {
        return Err(Errno::EPERM);
    }
    if attributes.kind() == FileType::Symlink {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut permissions = mode & 0o7777;
    let foreign_group = !permission::in_group(attributes.gid(), caller.credentials);
    if foreign_group && !caller.credentials.has(Capability::Fsetid) {
        permissions &= !linux::S_ISGID;
    }
    path.inode().change_attributes(&AttributeChange { permissions: Some(permissions), ..AttributeChange::default() })
}

/// Sets owner and group; `None` leaves one alone.
///
/// # Errors
/// `EPERM`, `EROFS`.
pub fn set_owner(caller: &Caller<'_>, path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    path.mount.check_writable()?;
    let attributes = path.inode().attributes();
    let credentials = caller.credentials;
    if !credentials.has(Capability::Chown) {
        let own = attributes.uid() == credentials.uid.file_system.raw();
        let may_uid = uid.is_none_or(|uid| own && uid == attributes.uid());
        let may_gid = gid.is_none_or(|gid| own && (gid == attributes.gid() || permission::in_group(gid, credentials)));
        if !may_uid || !may_gid {
            return Err(Errno::EPERM);
        }
    }
    // First, so that nobody ever runs it with the new owner's rights.
    if attributes.kind() != FileType::Directory {
        let in_group = permission::in_group(attributes.gid(), credentials) || credentials.has(Capability::Fsetid);
        attributes.drop_set_id(in_group);
    }
    path.inode().change_attributes(&AttributeChange { uid, gid, ..AttributeChange::default() })
}

/// A time for [`set_times`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    /// Now.
    Now,
    /// This time.
    At(Timestamp),
    /// The time stays.
    Keep,
}

/// Sets the times of access and modification.
///
/// # Errors
/// `EPERM` for who does not own the file; `EACCES` for who may not write it either, where both are now; `EROFS`.
pub fn set_times(caller: &Caller<'_>, path: &Path, accessed: NewTime, modified: NewTime) -> Result<()> {
    if accessed == NewTime::Keep && modified == NewTime::Keep {
        return Ok(());
    }
    path.mount.check_writable()?;
    let attributes = path.inode().attributes();
    if !permission::owns(attributes, caller.credentials) {
        if accessed != NewTime::Now || modified != NewTime::Now {
            return Err(Errno::EPERM);
        }
        permission::check(attributes, caller.credentials, Access::WRITE)?;
    }
    let time = |new| match new {
        NewTime::Now => Some(now()),
        NewTime::At(time) => Some(time),
        NewTime::Keep => None,
    };
    let change = AttributeChange { accessed: time(accessed), modified: time(modified), ..AttributeChange::default() };
    path.inode().change_attributes(&change)
}

/// Sets the length of the file at `path`.
///
/// # Errors
/// `EISDIR`, `EINVAL` for what has no length, `EACCES`, `EROFS`, `EFBIG`, `ETXTBSY` for a program that runs.
pub fn truncate(caller: &Caller<'_>, path: &Path, size: u64) -> Result<()> {
    let attributes = path.inode().attributes();
    match attributes.kind() {
        FileType::Regular => {}
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    path.mount.check_writable()?;
    permission::check(attributes, caller.credentials, Access::WRITE)?;
    attributes.write_count().while_writing(|| {
        permission::drop_set_id_before_change(attributes, caller.credentials);
        path.inode().truncate(size)
    })
}

/// The credentials with which access(2) checks: those of the real user and group.
#[must_use]
pub fn real_credentials(credentials: &Credentials) -> Credentials {
    let mut real = credentials.clone();
    real.uid.file_system = real.uid.real;
    real.gid.file_system = real.gid.real;
    real.capabilities.effective =
        if real.uid.real.is_root() { real.capabilities.permitted } else { CapabilitySet::EMPTY };
    real
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::metadata::DeviceId;
    use crate::fs::namespace;
    use crate::fs::testing::{World, user};

    fn file(world: &World, mode: u32) -> Path {
        world.context.set_umask(0);
        namespace::make(&world.caller(), None, b"f", FileType::Regular, mode, DeviceId::default()).unwrap()
    }

    #[test]
    fn only_the_owner_changes_the_mode() {
        let mut world = World::new();
        let path = file(&world, 0o644);
        world.credentials = user(10, 10);
        assert_eq!(set_mode(&world.caller(), &path, 0o777), Err(Errno::EPERM));
        path.inode().attributes().set_owner(10, 99);
        assert_eq!(set_mode(&world.caller(), &path, 0o2755), Ok(()));
        assert_eq!(path.inode().attributes().permissions(), 0o755, "the group is not the caller's");
    }

    #[test]
    fn a_change_of_owner_takes_the_set_id_bits() {
        let mut world = World::new();
        let path = file(&world, 0o6755);
        set_owner(&world.caller(), &path, Some(10), Some(10)).unwrap();
        assert_eq!(path.inode().attributes().permissions(), 0o755);
        world.credentials = user(10, 10);
        assert_eq!(set_owner(&world.caller(), &path, Some(11), None), Err(Errno::EPERM));
        assert_eq!(set_owner(&world.caller(), &path, None, Some(10)), Ok(()));
        assert_eq!(set_owner(&world.caller(), &path, None, Some(11)), Err(Errno::EPERM));
    }

    #[test]
    fn times_are_set_by_the_owner_and_to_now_by_writers() {
        let mut world = World::new();
        let path = file(&world, 0o666);
        world.credentials = user(10, 10);
        assert_eq!(set_times(&world.caller(), &path, NewTime::At(5), NewTime::Keep), Err(Errno::EPERM));
        assert_eq!(set_times(&world.caller(), &path, NewTime::Now, NewTime::Now), Ok(()));
        world.credentials = Credentials::root();
        assert_eq!(set_times(&world.caller(), &path, NewTime::At(5), NewTime::Keep), Ok(()));
        assert_eq!(path.inode().metadata().accessed, 5);
    }
}
