//! Who may do what to a file: permission bits, capabilities, the sticky bit (path_resolution(7), capabilities(7)).
#![forbid(unsafe_code)]

use bitflags::bitflags;
use linux_raw_sys::general as linux;

use super::metadata::{Attributes, FileType};
use crate::process::capability::Capability;
use crate::process::credentials::Credentials;
use crate::process::id::Gid;
use crate::{Errno, Result};

bitflags! {
    /// What somebody wants to do, with the values of access(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Execute a file, or pass through a directory.
        const EXECUTE = 1;
        /// Write.
        const WRITE = 2;
        /// Read.
        const READ = 4;
    }
}

/// Whether `credentials` may access a file with these attributes.
///
/// # Errors
/// `EACCES`.
pub fn check(attributes: &Attributes, credentials: &Credentials, wanted: Access) -> Result<()> {
    let mode = attributes.permissions();
    let class = if attributes.uid() == credentials.uid.file_system.raw() {
        mode >> 6
    } else if mode & 0o070 != (mode & 0o007) << 3 && in_group(attributes.gid(), credentials) {
        mode >> 3
    } else {
        mode
    };
    if wanted.bits() & !class == 0 {
        return Ok(());
    }
    check_capabilities(attributes.kind(), mode, credentials, wanted)
}

/// Whether `gid` counts among the groups for file access.
#[must_use]
pub fn in_group(gid: u32, credentials: &Credentials) -> bool {
    Gid::new(gid).is_some_and(|gid| credentials.in_file_group(gid))
}

/// What is left when the permission bits forbid it.
fn check_capabilities(kind: FileType, mode: u32, credentials: &Credentials, wanted: Access) -> Result<()> {
    let directory = kind == FileType::Directory;
    let executable = directory || mode & 0o111 != 0;
    if credentials.has(Capability::DacOverride) && (executable || !wanted.contains(Access::EXECUTE)) {
        return Ok(());
    }
    let reading = if directory { !wanted.contains(Access::WRITE) } else { wanted == Access::READ };
    if reading && credentials.has(Capability::DacReadSearch) {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// Whether `credentials` count as the owner of the file.
#[must_use]
pub fn owns(attributes: &Attributes, credentials: &Credentials) -> bool {
    attributes.uid() == credentials.uid.file_system.raw() || credentials.has(Capability::Fowner)
}

/// Whether an entry for a file with attributes `victim` may be taken out of `directory`: write permission on the directory, and
/// where that is sticky, ownership of one of the two.
///
/// # Errors
/// `EACCES`, `EPERM`.
pub fn check_removal(directory: &Attributes, victim: &Attributes, credentials: &Credentials) -> Result<()> {
    check(directory, credentials, Access::WRITE | Access::EXECUTE)?;
    let user = credentials.uid.file_system.raw();
    let sticky = directory.permissions() & linux::S_ISVTX != 0;
    if sticky && victim.uid() != user && directory.uid() != user && !credentials.has(Capability::Fowner) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Takes away the set-id bits of a file whose content is about to be changed, unless `credentials` have the capability to keep them
/// (chmod(2), capabilities(7)).
pub fn drop_set_id_before_change(attributes: &Attributes, credentials: &Credentials) {
    if attributes.has_set_id() && !credentials.has(Capability::Fsetid) {
        attributes.drop_set_id(in_group(attributes.gid(), credentials));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::metadata::DeviceId;
    use crate::fs::testing::user;

    fn file(kind: FileType, mode: u32, uid: u32, gid: u32) -> Attributes {
        Attributes::new(DeviceId::default(), 1, kind, mode, uid, gid)
    }

    #[test]
    fn the_first_class_that_matches_decides() {
        let owned = file(FileType::Regular, 0o077, 10, 20);
        assert_eq!(check(&owned, &user(10, 20), Access::READ), Err(Errno::EACCES));
        assert_eq!(check(&owned, &user(11, 20), Access::READ), Ok(()));
        let grouped = file(FileType::Regular, 0o604, 10, 20);
        assert_eq!(check(&grouped, &user(11, 20), Access::READ), Err(Errno::EACCES));
        assert_eq!(check(&grouped, &user(11, 21), Access::READ), Ok(()));
    }

    #[test]
    fn root_executes_only_what_somebody_may() {
        let root = Credentials::root();
        assert_eq!(check(&file(FileType::Regular, 0o600, 10, 20), &root, Access::EXECUTE), Err(Errno::EACCES));
        assert_eq!(check(&file(FileType::Regular, 0o010, 10, 20), &root, Access::all()), Ok(()));
        assert_eq!(check(&file(FileType::Directory, 0, 10, 20), &root, Access::all()), Ok(()));
    }

    #[test]
    fn a_sticky_directory_protects_the_files_of_others() {
        let tmp = file(FileType::Directory, 0o1777, 0, 0);
        let theirs = file(FileType::Regular, 0o644, 10, 20);
        assert_eq!(check_removal(&tmp, &theirs, &user(11, 20)), Err(Errno::EPERM));
        assert_eq!(check_removal(&tmp, &theirs, &user(10, 20)), Ok(()));
        assert_eq!(check_removal(&tmp, &theirs, &Credentials::root()), Ok(()));
    }
}
