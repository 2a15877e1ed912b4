//! An open directory: its offset counts entries, from before `.` on (getdents64(2)).
#![forbid(unsafe_code)]

use super::OpenFile;
use crate::fs::inode::DirectoryEntry;
use crate::fs::metadata::FileType;
use crate::{Errno, Result};

impl OpenFile {
    /// Hands the next directory entries to `emit` until it returns false; the offset moves past those that were taken.
    /// `.` and `..` come first.
    ///
    /// # Errors
    /// `ENOTDIR`, `EBADF`, `ENOENT` in a directory that was removed.
    pub fn read_directory(&self, emit: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<()> {
        self.check_readable()?;
        let inode = self.inode();
        if inode.attributes().kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        if self.path.dentry.is_removed() {
            return Err(Errno::ENOENT);
        }
        let mut offset = self.offset.lock();
        let parent = self.path.dentry.parent();
        let dots = [
            (&b"."[..], inode.attributes().ino()),
            (b"..", parent.as_ref().unwrap_or(&self.path.dentry).inode().attributes().ino()),
        ];
        for (position, (name, ino)) in (1u64..).zip(dots) {
            if *offset < position {
                if !emit(&DirectoryEntry { name, ino, kind: FileType::Directory, next: position }) {
                    return Ok(());
                }
                *offset = position;
            }
        }
        // The file system counts from 0, the open file from behind the dots.
        let mut at = *offset;
        let result = inode.read_directory(at.saturating_sub(2), &mut |entry| {
            let next = entry.next.saturating_add(2);
            let taken = emit(&DirectoryEntry { next, ..*entry });
            if taken {
                at = next;
            }
            taken
        });
        *offset = at;
        drop(offset);
        self.touch_accessed(&**inode);
        result
    }
}
