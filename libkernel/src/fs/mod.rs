//! Files: the virtual file system and what is mounted in it.
//!
//! From the outside in: a system call names a file by a descriptor ([`fd_table`]) or by a path ([`walk`]); a path leads through
//! the directory-entry cache ([`dentry`]) across mounts ([`mount`]) to an [`inode`]; opening it ([`open`]) makes an [`open_file`].
//! The file systems are [`tmpfs`] and those made by the kernel itself; [`pipe`] and its kin are files without one.
//!
//! No operation here sleeps. One that would have to wait returns `EAGAIN`; the system-call layer waits by polling and tries again.
#![forbid(unsafe_code)]

pub mod anonymous;
pub mod caller;
pub mod change;
pub mod context;
pub mod dentry;
pub mod devfs;
pub mod device;
pub mod epoll;
pub mod eventfd;
pub mod fd_table;
pub mod fifo;
pub mod file_object;
pub mod initramfs;
pub mod inode;
pub mod kernel_fs;
pub mod locks;
pub mod memory_devices;
pub mod metadata;
pub mod mount;
pub mod name;
pub mod namespace;
pub mod open;
pub mod open_file;
pub mod open_flags;
pub mod permission;
pub mod pipe;
pub mod procfs;
pub mod sysfs;
pub mod tmpfs;
pub mod virtual_fs;
pub mod walk;
pub mod write_count;

#[cfg(test)]
pub(crate) mod testing;

pub use caller::Caller;
pub use context::{FsContext, FsShare};
pub use device::CharDevice;
pub use fd_table::{Fd, FdTable};
pub use file_object::{FileObject, UserAccess};
pub use inode::{FileSystem, Inode};
pub use metadata::{DeviceId, FileType, Metadata};
pub use mount::{Mount, Path};
pub use open_file::OpenFile;
pub use open_flags::OpenFlags;
