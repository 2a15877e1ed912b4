//! The directory-entry cache: names that were looked up, as a tree that mirrors the directories.
//!
//! Each directory's entry owns a hash table of those of its names that are known. The lock of that table also
//! serialises all changes of the directory: whoever creates, removes or renames holds it while it calls the inode, so the
//! cache and the directory never disagree. A look-up that hits takes that lock, compares one name and leaves.
//!
//! Lock order: the rename lock (`namespace.rs`), then tables of children (two at once only under the rename lock),
//! then the place of an entry, then whatever the file system has. Nothing here sleeps.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use hashbrown::HashTable;

use super::inode::{Inode, NAME_MAX};
use super::name::{self, Name};
use crate::sync::{SpinLock, SpinLockGuard};
use crate::{Errno, Result};

/// From how many entries on a directory that gains one first drops those of its entries that nobody uses.
const MANY: usize = 32 * 1024;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// One name of a file, or the root of a file system.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    place: SpinLock<Place>,
    children: SpinLock<Children>,
    /// Whether this directory's names stay until the VFS removes them.
    caches: bool,
    /// How many mounts cover this entry.
    mounts: AtomicU32,
    removed: AtomicBool,
}

struct Place {
    parent: Option<Arc<Dentry>>,
    name: Name,
}

/// The known names of one directory; holding it excludes changes of the directory.
pub struct Children {
    table: HashTable<Child>,
}

struct Child {
    hash: u64,
    name: Name,
    dentry: Arc<Dentry>,
}

impl Dentry {
    /// The root of a file system. `caches` says that names below stay until the VFS removes them.
    #[must_use]
    pub fn root(inode: Arc<dyn Inode>, caches: bool) -> Arc<Self> {
        Self::new(inode, None, Name::from([]), caches)
    }

    fn new(inode: Arc<dyn Inode>, parent: Option<Arc<Dentry>>, name: Name, caches: bool) -> Arc<Self> {
        COUNT.fetch_add(1, Relaxed);
        Arc::new(Self {
            inode,
            place: SpinLock::new(Place { parent, name }),
            children: SpinLock::new(Children { table: HashTable::new() }),
            caches,
            mounts: AtomicU32::new(0),
            removed: AtomicBool::new(false),
        })
    }

    /// An entry that is in no directory: for files without a name.
    #[must_use]
    pub fn unnamed(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Self> {
        Self::new(inode, None, Name::from(name), false)
    }

    /// The file.
    #[must_use]
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The directory that has this entry; `None` for a root.
    #[must_use]
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// The name in that directory.
    #[must_use]
    pub fn name(&self) -> Name {
        self.place.lock().name.clone()
    }

    /// Directory and name, of one moment.
    #[must_use]
    pub fn place(&self) -> (Option<Arc<Dentry>>, Name) {
        let place = self.place.lock();
        (place.parent.clone(), place.name.clone())
    }

    /// Whether the name was taken away since.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Relaxed)
    }

    /// Whether the entry is the only one for its file and stays, so that something can be mounted on it.
    #[must_use]
    pub fn can_be_covered(&self) -> bool {
        self.caches || self.place.lock().parent.is_none()
    }

    /// Whether something is mounted here, in whichever mount the entry is reached.
    #[must_use]
    #[inline]
    pub fn is_mount_point(&self) -> bool {
        self.mounts.load(Relaxed) != 0
    }

    /// One mount more covers this entry.
    pub fn add_mount(&self) {
        self.mounts.fetch_add(1, Relaxed);
    }

    /// One mount fewer covers this entry.
    pub fn remove_mount(&self) {
        self.mounts.fetch_sub(1, Relaxed);
    }

    /// Excludes changes of this directory.
    pub fn lock_children(&self) -> SpinLockGuard<'_, Children> {
        self.children.lock()
    }

    /// Finds `name` in this directory, in the cache or by asking the inode.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`, `ENOMEM`.
    #[inline]
    pub fn child(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Dentry>> {
        if !self.caches {
            return self.transient_child(name);
        }
        self.children.lock().get(self, name)
    }

    fn transient_child(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Dentry>> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let inode = self.inode.lookup(name)?;
        Ok(Self::new(inode, Some(self.clone()), Name::from(name), false))
    }

    /// Whether this is `other` or lies below it, mounts left aside.
    #[must_use]
    pub fn is_within(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = self.clone();
        loop {
            if Arc::ptr_eq(&at, other) {
                return true;
            }
            let Some(parent) = at.parent() else { return false };
            at = parent;
        }
    }

    /// Drops the cached names below this root, which nobody can reach any more.
    pub fn forget_tree(&self) {
        let mut doomed: Vec<Arc<Dentry>> = Vec::new();
        let mut table = core::mem::take(&mut self.children.lock().table);
        loop {
            for child in table.drain() {
                if doomed.try_reserve(1).is_ok() {
                    doomed.push(child.dentry);
                }
            }
            let Some(next) = doomed.pop() else { break };
            table = core::mem::take(&mut next.children.lock().table);
        }
    }
}

impl Children {
    fn find(&self, hash: u64, name: &[u8]) -> Option<&Child> {
        self.table.find(hash, |child| child.hash == hash && *child.name == *name)
    }

    /// The entry of this name in `directory`, whose children these are.
    ///
    /// # Errors
    /// As [`Dentry::child`].
    pub fn get(&mut self, directory: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        let hash = name::hash(name);
        if let Some(child) = self.find(hash, name) {
            return Ok(child.dentry.clone());
        }
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let inode = directory.inode.lookup(name)?;
        self.add(directory, name, inode)
    }

    /// Enters a name that the directory has just gained, or was just found to have.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn add(&mut self, directory: &Arc<Dentry>, name: &[u8], inode: Arc<dyn Inode>) -> Result<Arc<Dentry>> {
        let stored = Name::from(name);
        let dentry = Dentry::new(inode, Some(directory.clone()), stored.clone(), directory.caches);
        if directory.caches {
            self.insert(stored, dentry.clone())?;
        }
        Ok(dentry)
    }

    fn insert(&mut self, name: Name, dentry: Arc<Dentry>) -> Result<()> {
        if self.table.len() == self.table.capacity() && COUNT.load(Relaxed) > MANY {
            self.table.retain(|child| Arc::strong_count(&child.dentry) > 1 || child.dentry.is_mount_point());
        }
        self.table.try_reserve(1, |child| child.hash).map_err(|_| Errno::ENOMEM)?;
        let hash = name::hash(&name);
        self.table.insert_unique(hash, Child { hash, name, dentry }, |child| child.hash);
        Ok(())
    }

    fn take(&mut self, name: &[u8]) -> Option<Arc<Dentry>> {
        let hash = name::hash(name);
        let found = self.table.find_entry(hash, |child| child.hash == hash && *child.name == *name);
        Some(found.ok()?.remove().0.dentry)
    }

    /// Takes out a name that the directory has lost. The caller drops the result when it holds no lock any more.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Dentry>> {
        let dentry = self.take(name)?;
        dentry.removed.store(true, Relaxed);
        Some(dentry)
    }

    /// Moves an entry from `name` here to `new_name`, here (`target` is `None`) or in another directory. What had
    /// the new name is returned, to be dropped without locks.
    ///
    /// # Errors
    /// `ENOMEM`, and nothing is changed in the cache but that the old name has to be looked up again.
    pub fn rename(
        &mut self,
        name: &[u8],
        new_directory: &Arc<Dentry>,
        target: Option<&mut Children>,
        new_name: &[u8],
    ) -> Result<Option<Arc<Dentry>>> {
        let moved = self.take(name);
        let target = target.unwrap_or(self);
        let replaced = target.remove(new_name);
        if let Some(moved) = moved {
            let stored = Name::from(new_name);
            let old = {
                let mut place = moved.place.lock();
                place.name = stored.clone();
                place.parent.replace(new_directory.clone())
            };
            // The moved entry held its old directory; somebody holds that still, for its children are locked.
            drop(old);
            target.insert(stored, moved)?;
        }
        Ok(replaced)
    }

    /// Lets two entries change places; `other` is the children of the second directory where that is another one.
    ///
    /// # Errors
    /// `ENOMEM`, and both names have to be looked up again.
    pub fn exchange(
        &mut self,
        name: &[u8],
        directory: &Arc<Dentry>,
        other: Option<&mut Children>,
        other_name: &[u8],
        other_directory: &Arc<Dentry>,
    ) -> Result<()> {
        let first = self.take(name);
        let (second, other) = match other {
            Some(other) => (other.take(other_name), Some(other)),
            None => (self.take(other_name), None),
        };
        let settle = |dentry: &Arc<Dentry>, name: &[u8], directory: &Arc<Dentry>| {
            let stored = Name::from(name);
            let mut place = dentry.place.lock();
            place.name = stored.clone();
            place.parent = Some(directory.clone());
            stored
        };
        if let Some(second) = second {
            let stored = settle(&second, name, directory);
            self.insert(stored, second)?;
        }
        if let Some(first) = first {
            let stored = settle(&first, other_name, other_directory);
            other.unwrap_or(self).insert(stored, first)?;
        }
        Ok(())
    }
}

impl Drop for Dentry {
    /// Lets go of the chain of parents in a loop: a deep path must not become a deep recursion.
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Relaxed);
        let mut next = self.place.get_mut().parent.take();
        while let Some(mut parent) = next.and_then(Arc::into_inner) {
            next = parent.place.get_mut().parent.take();
        }
    }
}
