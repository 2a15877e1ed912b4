//! What a file system implements: inodes, and the file system they belong to.
//!
//! Every operation is synchronous and may be called under the VFS's spin locks: it never sleeps. One that would have
//! to wait returns `EAGAIN`. Permissions, mounts and the directory-entry cache are the VFS's business; an inode sees
//! only calls that are allowed, and checks only what concerns its own structure. The VFS holds the lock of a directory's
//! entry while it calls an operation that looks up or changes names in that directory.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

use super::caller::Caller;
use super::file_object::FileObject;
use super::metadata::{Attributes, DeviceId, FileType, Metadata, Timestamp};
use super::mount::Path;
use super::open_flags::OpenFlags;
use super::pipe::Pipe;
use crate::io::{IoSink, IoSource};
use crate::memory::PageSource;
use crate::{Errno, Result};

/// The longest name of a directory entry, in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// What a new directory entry becomes.
#[derive(Clone, Copy, Debug)]
pub struct NewInode {
    /// Its type; symbolic links are made by [`Inode::symlink`].
    pub kind: FileType,
    /// Permission bits, the umask already taken off.
    pub permissions: u32,
    /// The owner.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// For device files, the device.
    pub device: DeviceId,
}

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePosition {
    /// To this offset.
    At(u64),
    /// To the end, wherever that is when the write happens.
    Append,
}

/// What a symbolic link leads to.
pub enum Link {
    /// A path, as symlink(2) stored it.
    Text(Arc<[u8]>),
    /// A place with perhaps no path at all, as the links below `/proc/PID` have it.
    Jump(Path),
}

/// What a directory tells of one entry.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode number.
    pub ino: u64,
    /// The type.
    pub kind: FileType,
    /// The position after this entry: reading from it goes on with the next one, whatever was removed meanwhile.
    pub next: u64,
}

/// How a rename treats the new name (rename(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// What has the new name disappears.
    Replace,
    /// The new name must be free.
    NoReplace,
    /// Both exist and change places.
    Exchange,
}

/// A change of attributes; `None` leaves a field alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttributeChange {
    /// Permission, set-id and sticky bits.
    pub permissions: Option<u32>,
    /// The owner.
    pub uid: Option<u32>,
    /// The owning group.
    pub gid: Option<u32>,
    /// Last access.
    pub accessed: Option<Timestamp>,
    /// Last change of content.
    pub modified: Option<Timestamp>,
}

/// The figures of statfs(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// The number that tells the file system's type (`TMPFS_MAGIC` and so on).
    pub magic: u64,
    /// The unit of the block counts, in bytes.
    pub block_size: u64,
    /// Blocks in all; 0 means no limit.
    pub blocks: u64,
    /// Blocks free.
    pub free_blocks: u64,
    /// Inodes in all; 0 means no limit.
    pub files: u64,
    /// Inodes free.
    pub free_files: u64,
}

/// One mounted or mountable file system.
pub trait FileSystem: Send + Sync {
    /// The type's name as `/proc/filesystems` and mount(2) know it.
    fn name(&self) -> &'static str;

    /// The device number that its files report.
    fn device(&self) -> DeviceId;

    /// The root directory.
    fn root(&self) -> Arc<dyn Inode>;

    /// The figures of statfs(2).
    fn statistics(&self) -> Statistics;

    /// Whether names, once looked up, stay until the VFS itself removes them. Where they come and go by themselves
    /// (processes below `/proc`) every look-up asks the inode.
    fn names_are_stable(&self) -> bool {
        true
    }

    /// Whether the files are in no directory and their names only say what they are, such as `pipe:[7]`.
    fn names_are_descriptions(&self) -> bool {
        false
    }

    /// Options to show in `/proc/mounts`, each with a leading comma.
    fn options(&self) -> String {
        String::new()
    }

    /// Starts and awaits nothing: brings what is dirty to stable storage as far as that needs no waiting.
    ///
    /// # Errors
    /// `EAGAIN` while there is more to do, `EIO` for what could not be written.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// A file, whatever its names.
///
/// Defaults answer as Linux does for a type of file that lacks the operation.
pub trait Inode: Any + Send + Sync {
    /// The common attributes.
    fn attributes(&self) -> &Attributes;

    /// Everything `stat` tells.
    fn metadata(&self) -> Metadata {
        self.attributes().metadata(0, 0)
    }

    /// Length in bytes.
    fn size(&self) -> u64 {
        self.metadata().size
    }

    /// Changes attributes. The VFS has checked that the caller may.
    ///
    /// # Errors
    /// `EPERM` where the file system keeps them fixed.
    fn change_attributes(&self, change: &AttributeChange) -> Result<()> {
        let attributes = self.attributes();
        if change.uid.is_some() || change.gid.is_some() {
            let uid = change.uid.unwrap_or_else(|| attributes.uid());
            attributes.set_owner(uid, change.gid.unwrap_or_else(|| attributes.gid()));
        }
        if let Some(permissions) = change.permissions {
            attributes.set_permissions(permissions);
        }
        attributes.set_times(change.accessed, change.modified);
        Ok(())
    }

    /// Finds `name` in this directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let _ = name;
        Err(Errno::ENOTDIR)
    }

    /// Makes a file of any type but a symbolic link.
    ///
    /// # Errors
    /// `EEXIST`, `ENOSPC`, `ENOMEM`; `EPERM` where files cannot be made; `ENOENT` in a directory that was removed.
    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<dyn Inode>> {
        let _ = (name, new);
        Err(Errno::EPERM)
    }

    /// Makes a symbolic link with the given target.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    fn symlink(&self, name: &[u8], target: &[u8], uid: u32, gid: u32) -> Result<Arc<dyn Inode>> {
        let _ = (name, target, uid, gid);
        Err(Errno::EPERM)
    }

    /// Makes a file that has no name (`O_TMPFILE`) on this directory's file system.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where there is no such thing.
    fn create_unnamed(&self, new: &NewInode) -> Result<Arc<dyn Inode>> {
        let _ = new;
        Err(Errno::EOPNOTSUPP)
    }

    /// Gives `target`, of the same file system, another name.
    ///
    /// # Errors
    /// `EEXIST`, `EMLINK`, `EPERM`, `ENOSPC`, `ENOENT` for a file that has lost its last name.
    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let _ = (name, target);
        Err(Errno::EPERM)
    }

    /// Takes away a name of a file that is no directory.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EPERM`.
    fn unlink(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOTEMPTY`, `ENOTDIR`, `ENOENT`, `EPERM`.
    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM)
    }

    /// Moves `name` to `new_name` in `new_directory`, of the same file system. The VFS has excluded making a
    /// directory its own descendant.
    ///
    /// # Errors
    /// `EEXIST`, `ENOTEMPTY`, `ENOTDIR`, `EISDIR`, `ENOENT`, `EPERM`.
    fn rename(&self, name: &[u8], new_directory: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let _ = (name, new_directory, new_name, mode);
        Err(Errno::EPERM)
    }

    /// Hands entries to `emit`, from position `from` (0 is the first) until it returns false. `.` and `..` are
    /// the VFS's and not among them; positions are at least 1 after the first.
    ///
    /// # Errors
    /// `ENOTDIR`.
    fn read_directory(&self, from: u64, emit: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<()> {
        let _ = (from, emit);
        Err(Errno::ENOTDIR)
    }

    /// What this symbolic link leads to, for this caller.
    ///
    /// # Errors
    /// `EINVAL` where it is none.
    fn read_link(&self, caller: &Caller<'_>) -> Result<Link> {
        let _ = caller;
        Err(Errno::EINVAL)
    }

    /// Makes what an open of this file reads and writes through, where that is not the inode itself.
    ///
    /// # Errors
    /// `ENXIO` where there is no device behind a device file, and what the object's kind demands.
    fn open(&self, flags: OpenFlags, caller: &Caller<'_>) -> Result<Option<Arc<dyn FileObject>>> {
        let _ = (flags, caller);
        Ok(None)
    }

    /// Reads from `offset`; 0 at and beyond the end.
    ///
    /// # Errors
    /// `EFAULT` when not one byte could be delivered, `EINVAL` for a file that cannot be read so.
    fn read_at(&self, offset: u64, sink: &mut dyn IoSink) -> Result<usize> {
        let _ = (offset, sink);
        Err(Errno::EINVAL)
    }

    /// Writes, not beyond `limit` (a file-size limit in bytes), and returns how much, and the offset after it.
    ///
    /// # Errors
    /// `EFAULT`, `ENOSPC`, `ENOMEM`, `EFBIG`.
    fn write_at(&self, position: WritePosition, limit: u64, source: &mut dyn IoSource) -> Result<(usize, u64)> {
        let _ = (position, limit, source);
        Err(Errno::EINVAL)
    }

    /// Sets the length; what is added reads as zeros.
    ///
    /// # Errors
    /// `EINVAL` for what has no length, `EFBIG`, `EPERM`.
    fn truncate(&self, size: u64) -> Result<()> {
        let _ = size;
        Err(Errno::EINVAL)
    }

    /// Allocates, or with the modes of fallocate(2) punches or zeroes, a range; returns how many bytes of it are done: the rest is for
    /// another call, after others have had a turn. The size changes with the last one.
    ///
    /// # Errors
    /// `EOPNOTSUPP`, `ENOSPC`, `EFBIG`.
    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<u64> {
        let _ = (mode, offset, length);
        Err(Errno::EOPNOTSUPP)
    }

    /// The next offset from `offset` on that holds data, or is a hole.
    ///
    /// # Errors
    /// `ENXIO` beyond the end.
    fn seek_content(&self, offset: u64, hole: bool) -> Result<u64> {
        let size = self.size();
        match (offset < size, hole) {
            (false, _) => Err(Errno::ENXIO),
            (true, true) => Ok(size),
            (true, false) => Ok(offset),
        }
    }

    /// The pages to map with mmap(2); `None` where a file cannot be mapped.
    fn page_source(self: Arc<Self>) -> Option<Arc<dyn PageSource>> {
        None
    }

    /// The pipe behind a FIFO, made when the first open needs it.
    ///
    /// # Errors
    /// `ENXIO` for what is no FIFO, `ENOMEM`.
    fn pipe(&self) -> Result<Arc<Pipe>> {
        Err(Errno::ENXIO)
    }

    /// Brings content (and with it, length) to stable storage.
    ///
    /// # Errors
    /// `EAGAIN` while that is under way, `EIO`.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// The inode as the file system's own type; `None` for one of another file system.
#[must_use]
pub fn downcast<T: Inode>(inode: &Arc<dyn Inode>) -> Option<Arc<T>> {
    let any: Arc<dyn Any + Send + Sync> = inode.clone();
    any.downcast::<T>().ok()
}
