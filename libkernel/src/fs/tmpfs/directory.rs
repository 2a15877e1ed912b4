//! A tmpfs directory: entries by name, and in the order in which they were made.
//!
//! Each entry has a cookie that is never given again, so that reading goes on at the right place whatever is added or removed
//! meanwhile: an entry that is there all the time is seen exactly once.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Bound;

use hashbrown::HashTable;

use super::TmpInode;
use crate::fs::inode::{DirectoryEntry, Inode};
use crate::fs::metadata::FileType;
use crate::fs::name::{self, Name};
use crate::memory::frames;
use crate::{Errno, Result};

struct Entry {
    hash: u64,
    cookie: u64,
    name: Name,
    inode: Arc<TmpInode>,
}

/// The entries of a directory.
#[derive(Default)]
pub struct Directory {
    entries: HashTable<Entry>,
    order: BTreeMap<u64, (Name, u64, FileType)>,
    last_cookie: u64,
    removed: bool,
}

impl Directory {
    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The file of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<TmpInode>> {
        let hash = name::hash(name);
        Some(&self.entries.find(hash, |entry| entry.hash == hash && *entry.name == *name)?.inode)
    }

    /// Fails in a directory that was removed, or if it has the name.
    ///
    /// # Errors
    /// `ENOENT`, `EEXIST`.
    pub fn check_free(&self, name: &[u8]) -> Result<()> {
        if self.removed {
            return Err(Errno::ENOENT);
        }
        if self.get(name).is_some() { Err(Errno::EEXIST) } else { Ok(()) }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// As [`check_free`](Self::check_free); `ENOMEM`.
    pub fn insert(&mut self, name: &[u8], inode: Arc<TmpInode>) -> Result<()> {
        self.check_free(name)?;
        if frames::low() {
            return Err(Errno::ENOMEM);
        }
        self.entries.try_reserve(1, |entry| entry.hash).map_err(|_| Errno::ENOMEM)?;
        let name = Name::from(name);
        let hash = name::hash(&name);
        self.last_cookie += 1;
        let attributes = inode.attributes();
        self.order.insert(self.last_cookie, (name.clone(), attributes.ino(), attributes.kind()));
        let entry = Entry { hash, cookie: self.last_cookie, name, inode };
        self.entries.insert_unique(hash, entry, |entry| entry.hash);
        Ok(())
    }

    /// Takes an entry out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<TmpInode>> {
        let hash = name::hash(name);
        let found = self.entries.find_entry(hash, |entry| entry.hash == hash && *entry.name == *name).ok()?;
        let (entry, _) = found.remove();
        self.order.remove(&entry.cookie);
        Some(entry.inode)
    }

    /// Puts another file behind an existing name; returns the old one.
    pub fn replace(&mut self, name: &[u8], inode: Arc<TmpInode>) -> Option<Arc<TmpInode>> {
        let hash = name::hash(name);
        let entry = self.entries.find_mut(hash, |entry| entry.hash == hash && *entry.name == *name)?;
        if let Some((_, ino, kind)) = self.order.get_mut(&entry.cookie) {
            (*ino, *kind) = (inode.attributes().ino(), inode.attributes().kind());
        }
        Some(core::mem::replace(&mut entry.inode, inode))
    }

    /// Declares an empty directory removed: nothing can be added any more.
    ///
    /// # Errors
    /// `ENOTEMPTY`.
    pub fn retire(&mut self) -> Result<()> {
        if !self.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.removed = true;
        Ok(())
    }

    /// Hands the entries after `from` to `emit` until it returns false.
    pub fn read(&self, from: u64, emit: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) {
        for (&cookie, (name, ino, kind)) in self.order.range((Bound::Excluded(from), Bound::Unbounded)) {
            if !emit(&DirectoryEntry { name, ino: *ino, kind: *kind, next: cookie }) {
                return;
            }
        }
    }

    /// Takes all entries out.
    pub fn drain(&mut self) -> impl Iterator<Item = Arc<TmpInode>> + '_ {
        self.order.clear();
        self.entries.drain().map(|entry| entry.inode)
    }
}
