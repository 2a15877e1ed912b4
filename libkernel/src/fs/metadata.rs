//! What is known about a file without opening it: type, device numbers, `Metadata`, and `Attributes`,
//! the part of an inode that every file system has in common.
//!
//! `Attributes` are atomics, so that `stat` and permission checks read them without a lock; a check that
//! races with `chmod` sees the old or the new mode, as on Linux. Nothing here sleeps or allocates.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};

use linux_raw_sys::general as linux;

use super::locks::FileLocks;
use super::write_count::WriteCount;
use crate::machine;
use crate::{Errno, Result};

/// The bits of a mode that `chmod` may change: permissions, set-id and sticky (inode(7)).
pub const MODE_BITS: u32 = 0o7777;

/// The type of a file (inode(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named or unnamed pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileType {
    /// The `S_IFMT` bits of this type.
    #[must_use]
    pub const fn mode_bits(self) -> u32 {
        match self {
            Self::Regular => linux::S_IFREG,
            Self::Directory => linux::S_IFDIR,
            Self::Symlink => linux::S_IFLNK,
            Self::CharDevice => linux::S_IFCHR,
            Self::BlockDevice => linux::S_IFBLK,
            Self::Fifo => linux::S_IFIFO,
            Self::Socket => linux::S_IFSOCK,
        }
    }

    /// The type that the `S_IFMT` bits of `mode` name; `None` for bits that name none.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & linux::S_IFMT {
            linux::S_IFREG => Self::Regular,
            linux::S_IFDIR => Self::Directory,
            linux::S_IFLNK => Self::Symlink,
            linux::S_IFCHR => Self::CharDevice,
            linux::S_IFBLK => Self::BlockDevice,
            linux::S_IFIFO => Self::Fifo,
            linux::S_IFSOCK => Self::Socket,
            _ => return None,
        })
    }

    /// `d_type` of getdents64(2): the mode's type bits, shifted down.
    #[must_use]
    pub const fn dirent_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// The number of a device, of which a file can be the name or the home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl DeviceId {
    /// The device with these numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The 64-bit form that `stat` reports and `mknod` takes (makedev(3)).
    #[must_use]
    pub const fn encode(self) -> u64 {
        let (major, minor) = (self.major as u64, self.minor as u64);
        (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
    }

    /// The inverse of [`encode`](Self::encode).
    #[must_use]
    pub const fn decode(value: u64) -> Self {
        Self {
            major: (((value >> 8) & 0xfff) | ((value >> 32) & !0xfff)) as u32,
            minor: ((value & 0xff) | ((value >> 12) & 0xffff_ff00)) as u32,
        }
    }
}

/// A point in time: nanoseconds since 1970, UTC.
pub type Timestamp = i64;

/// The time that a change made now is stamped with.
#[must_use]
pub fn now() -> Timestamp {
    let nanoseconds = machine::monotonic_ns().wrapping_add(machine::realtime_offset_ns());
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}

/// What `stat` tells of a file (inode(7)).
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// The device that holds the file.
    pub device: DeviceId,
    /// The inode number, unique on that device.
    pub ino: u64,
    /// The file's type.
    pub kind: FileType,
    /// Permission, set-id and sticky bits.
    pub permissions: u32,
    /// How many names the file has.
    pub links: u32,
    /// The owner.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// The device that the file stands for, where it is a device file.
    pub represents: DeviceId,
    /// Length in bytes.
    pub size: u64,
    /// The unit in which reading is efficient, in bytes.
    pub block_size: u32,
    /// Memory or disk used, in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub accessed: Timestamp,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of the inode.
    pub changed: Timestamp,
    /// Creation.
    pub created: Timestamp,
}

impl Metadata {
    /// Type and permissions in one word: `st_mode`.
    #[must_use]
    pub const fn mode(&self) -> u32 {
        self.kind.mode_bits() | self.permissions
    }
}

/// Stands for no name at all, of a file that may still get its first (`O_TMPFILE`).
const FIRST_NAME_AWAITED: u32 = u32::MAX;

/// The part of an inode that every file system keeps alike.
#[derive(Debug)]
pub struct Attributes {
    device: DeviceId,
    ino: u64,
    kind: FileType,
    represents: DeviceId,
    mode: AtomicU32,
    uid: AtomicU32,
    gid: AtomicU32,
    links: AtomicU32,
    accessed: AtomicI64,
    modified: AtomicI64,
    changed: AtomicI64,
    created: i64,
    write_count: WriteCount,
    /// Whether anybody ever asked for the locks.
    locks_used: AtomicBool,
    locks: FileLocks,
}

impl Attributes {
    /// The attributes of a new file, made now, with one name (two for a directory).
    #[must_use]
    pub fn new(device: DeviceId, ino: u64, kind: FileType, permissions: u32, uid: u32, gid: u32) -> Self {
        let now = now();
        Self {
            device,
            ino,
            kind,
            represents: DeviceId::default(),
            mode: AtomicU32::new(permissions & MODE_BITS),
            uid: AtomicU32::new(uid),
            gid: AtomicU32::new(gid),
            links: AtomicU32::new(if kind == FileType::Directory { 2 } else { 1 }),
            accessed: AtomicI64::new(now),
            modified: AtomicI64::new(now),
            changed: AtomicI64::new(now),
            created: now,
            write_count: WriteCount::default(),
            locks_used: AtomicBool::new(false),
            locks: FileLocks::new(),
        }
    }

    /// The same, standing for the device `represents`.
    #[must_use]
    pub fn with_device(mut self, represents: DeviceId) -> Self {
        self.represents = represents;
        self
    }

    /// Who may write to it, or runs from it.
    #[must_use]
    pub fn write_count(&self) -> &WriteCount {
        &self.write_count
    }

    /// The device that holds the file.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The inode number.
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// The file's type, which never changes.
    #[must_use]
    pub fn kind(&self) -> FileType {
        self.kind
    }

    /// The device that a device file stands for.
    #[must_use]
    pub fn represents(&self) -> DeviceId {
        self.represents
    }

    /// Permission, set-id and sticky bits.
    #[must_use]
    pub fn permissions(&self) -> u32 {
        self.mode.load(Relaxed)
    }

    /// The owner.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid.load(Relaxed)
    }

    /// The owning group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid.load(Relaxed)
    }

    /// How many names the file has.
    #[must_use]
    pub fn links(&self) -> u32 {
        match self.links.load(Relaxed) {
            FIRST_NAME_AWAITED => 0,
            links => links,
        }
    }

    /// One name more, for a directory that has gained one below it.
    pub fn add_link(&self) {
        self.links.fetch_add(1, Relaxed);
    }

    /// One name more, unless the file has lost its last one.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn add_name(&self) -> Result<()> {
        let next = |links: u32| match links {
            FIRST_NAME_AWAITED => Some(1),
            0 => None,
            links => links.checked_add(1),
        };
        self.links.fetch_update(Relaxed, Relaxed, next).map(drop).map_err(|_| Errno::ENOENT)
    }

    /// One name fewer; never below none.
    pub fn remove_link(&self) {
        let _ = self.links.fetch_update(Relaxed, Relaxed, |links| links.checked_sub(1));
    }

    /// No name at all.
    pub fn clear_links(&self) {
        self.links.store(0, Relaxed);
    }

    /// No name yet, but it may get one.
    pub fn await_first_name(&self) {
        self.links.store(FIRST_NAME_AWAITED, Relaxed);
    }

    /// Sets the permission, set-id and sticky bits.
    pub fn set_permissions(&self, permissions: u32) {
        self.mode.store(permissions & MODE_BITS, Relaxed);
    }

    /// Sets owner and group.
    pub fn set_owner(&self, uid: u32, gid: u32) {
        self.uid.store(uid, Relaxed);
        self.gid.store(gid, Relaxed);
    }

    /// Stamps a read of the content: at most once after a change, and once a day, as `relatime` of mount(8) has it.
    pub fn touch_accessed(&self) {
        const DAY: i64 = 86_400_000_000_000;
        let accessed = self.accessed.load(Relaxed);
        if accessed > self.modified.load(Relaxed) && accessed > self.changed.load(Relaxed) {
            let now = now();
            if now.wrapping_sub(accessed) >= DAY {
                self.accessed.store(now, Relaxed);
            }
            return;
        }
        self.accessed.store(now(), Relaxed);
    }

    /// Stamps a change of the content.
    pub fn touch_modified(&self) {
        let now = now();
        self.modified.store(now, Relaxed);
        self.changed.store(now, Relaxed);
    }

    /// Stamps a change of the inode.
    pub fn touch_changed(&self) {
        self.changed.store(now(), Relaxed);
    }

    /// Sets the times of access and modification; `None` leaves one alone.
    pub fn set_times(&self, accessed: Option<Timestamp>, modified: Option<Timestamp>) {
        if let Some(time) = accessed {
            self.accessed.store(time, Relaxed);
        }
        if let Some(time) = modified {
            self.modified.store(time, Relaxed);
        }
        self.touch_changed();
    }

    /// The record and whole-file locks held on the file, marked as looked at.
    #[must_use]
    pub fn locks(&self) -> &FileLocks {
        self.locks_used.store(true, Relaxed);
        &self.locks
    }

    /// The locks, if anybody ever set one.
    #[must_use]
    pub fn locks_if_used(&self) -> Option<&FileLocks> {
        self.locks_used.load(Relaxed).then_some(&self.locks)
    }

    /// Whether a write or a change of owner has set-id bits to take away.
    #[inline]
    #[must_use]
    pub fn has_set_id(&self) -> bool {
        self.permissions() & (linux::S_ISUID | linux::S_ISGID) != 0
    }

    /// Removes the set-id bits that a write or a change of owner takes away (chown(2)): set-user-id always, set-group-id where the group
    /// may execute or the caller is not `in_group`.
    pub fn drop_set_id(&self, in_group: bool) {
        let mode = self.permissions();
        let mut cleared = mode & !linux::S_ISUID;
        if mode & linux::S_IXGRP != 0 || !in_group {
            cleared &= !linux::S_ISGID;
        }
        if cleared != mode {
            self.set_permissions(cleared);
        }
    }

    /// All of it, with what only the inode knows: size and used blocks of 512 bytes.
    #[must_use]
    pub fn metadata(&self, size: u64, blocks: u64) -> Metadata {
        Metadata {
            device: self.device,
            ino: self.ino,
            kind: self.kind,
            permissions: self.permissions(),
            links: self.links(),
            uid: self.uid(),
            gid: self.gid(),
            represents: self.represents,
            size,
            block_size: 4096,
            blocks,
            accessed: self.accessed.load(Relaxed),
            modified: self.modified.load(Relaxed),
            changed: self.changed.load(Relaxed),
            created: self.created,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_encoding() {
        for device in [DeviceId::new(5, 1), DeviceId::new(136, 1000), DeviceId::new(0xfffff, 0xfffff)] {
            assert_eq!(DeviceId::decode(device.encode()), device);
        }
        assert_eq!(DeviceId::new(5, 1).encode(), 0x501);
    }

    #[test]
    fn types_are_told_by_the_mode() {
        assert_eq!(FileType::from_mode(0o100_644), Some(FileType::Regular));
        assert_eq!(FileType::from_mode(0o644), None);
        assert_eq!(FileType::Directory.dirent_type(), 4);
    }
}
