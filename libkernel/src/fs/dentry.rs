//! The directory-entry cache: names that were looked up, as a tree that mirrors the directories.
//!
//! Each directory's entry owns a hash table of those of its names that are known. The lock of that table
//! serialises all changes of the directory: whoever creates, removes or renames holds it while it calls the inode, so the
//! cache and the directory never disagree. A look-up reads the table under RCU and takes the lock only for what it does not find: it
//! writes nothing but the reference count of what it takes along.
//!
//! What a name leads to is kept in one of two ways. A directory stays until no walk can stand in it any more, a grace period after its name
//! has gone, so that walks pass through directories without counting references. Any other file goes with its last
//! name and user at once, as whoever waits for its space expects; a walk that ends there counts a reference, or finds it gone.
//!
//! Lock order: the rename lock (`namespace.rs`), then tables of children (two at once only under the rename lock),
//! then the place of an entry, then whatever the file system has. Nothing here sleeps.
#![forbid(unsafe_code)]

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use super::inode::{Inode, NAME_MAX};
use super::metadata::FileType;
use super::name::{self, Name};
use crate::rcu::{self, Hashed, RcuBox, RcuTable, ReadGuard, TableGuard};
use crate::sync::SpinLock;
use crate::{Errno, Result};

/// From how many entries on a directory that gains one first drops those of its files' entries that nobody uses.
const MANY: usize = 32 * 1024;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// One name of a file, or the root of a file system.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    place: SpinLock<Place>,
    children: RcuTable<Child>,
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
pub struct Children<'d> {
    table: TableGuard<'d, Child>,
}

/// One known name.
struct Child {
    hash: u64,
    name: Name,
    kept: Kept,
}

/// How an entry of the table keeps the entry that its name leads to.
enum Kept {
    Directory(Arc<Dentry>),
    File {
        dentry: Weak<Dentry>,
        /// Taken out, under the lock of the table, when the name goes.
        own: SpinLock<Option<Arc<Dentry>>>,
    },
}

impl Hashed for Child {
    #[inline]
    fn hash(&self) -> u64 {
        self.hash
    }
}

impl Child {
    fn new(name: Name, dentry: Arc<Dentry>) -> Self {
        let kept = if dentry.inode.attributes().kind() == FileType::Directory {
            Kept::Directory(dentry)
        } else {
            Kept::File { dentry: Arc::downgrade(&dentry), own: SpinLock::new(Some(dentry)) }
        };
        Self { hash: name::hash(&name), name, kept }
    }

    #[inline]
    fn has_name(&self, name: &[u8]) -> bool {
        *self.name == *name
    }

    /// What the name leads to, unless that is gone.
    #[inline]
    fn dentry(&self) -> Option<Arc<Dentry>> {
        match &self.kept {
            Kept::Directory(directory) => Some(directory.clone()),
            Kept::File { dentry, .. } => dentry.upgrade(),
        }
    }

    /// What the name led to, now that it has been taken out of the table.
    fn give_up(&self) -> Option<Arc<Dentry>> {
        match &self.kept {
            Kept::Directory(directory) => Some(directory.clone()),
            Kept::File { own, .. } => own.lock().take(),
        }
    }

    /// Gives up a file that nobody uses, for good: no look-up finds it any more. The table is locked.
    fn give_up_unused(&self) -> bool {
        let Kept::File { own, .. } = &self.kept else { return false };
        let mut own = own.lock();
        match own.take().map(Arc::try_unwrap) {
            Some(Err(used)) => {
                *own = Some(used);
                false
            }
            Some(Ok(_)) | None => true,
        }
    }
}

/// What the cache knows of a name.
pub enum Cached<'g> {
    /// A directory, which stays while the guard lives.
    Directory(&'g Arc<Dentry>),
    /// Another file.
    File(Arc<Dentry>),
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
            children: RcuTable::new(),
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
    pub fn lock_children(&self) -> Children<'_> {
        Children { table: self.children.lock() }
    }

    /// Excludes changes of two directories. There is one guard, the first, where both are the same directory.
    pub fn lock_children_of_both<'d>(first: &'d Self, second: &'d Self) -> (Children<'d>, Option<Children<'d>>) {
        let (first, second) = RcuTable::lock_pair(&first.children, &second.children);
        (Children { table: first }, second.map(|table| Children { table }))
    }

    /// Calls `action` while nobody can remove or move this entry.
    pub fn in_place<R>(&self, action: impl FnOnce() -> R) -> R {
        loop {
            let Some(parent) = self.parent() else { return action() };
            let _still = parent.lock_children();
            // It may have been moved before the lock was there.
            if self.parent().is_some_and(|now| Arc::ptr_eq(&now, &parent)) {
                return action();
            }
        }
    }

    /// What the cache knows of `name` in this directory. It may miss what is being changed; then [`child`](Self::child) knows.
    #[inline]
    pub fn cached<'g>(&'g self, guard: &'g ReadGuard, name: &[u8]) -> Option<Cached<'g>> {
        match &self.find(guard, name)?.kept {
            Kept::Directory(directory) => Some(Cached::Directory(directory)),
            Kept::File { dentry, .. } => dentry.upgrade().map(Cached::File),
        }
    }

    #[inline]
    fn find<'g>(&'g self, guard: &'g ReadGuard, name: &[u8]) -> Option<&'g Child> {
        self.children.find(guard, name::hash(name), |child| child.has_name(name))
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
        let cached = self.find(&rcu::read(), name).and_then(Child::dentry);
        cached.map_or_else(|| self.lock_children().get(self, name), Ok)
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
        let collect = |directory: &Dentry, doomed: &mut Vec<_>| {
            directory.children.lock().clear(|child| {
                if let Some(dentry) = child.give_up()
                    && doomed.try_reserve(1).is_ok()
                {
                    doomed.push(dentry);
                }
            });
        };
        collect(self, &mut doomed);
        while let Some(next) = doomed.pop() {
            collect(&next, &mut doomed);
        }
    }
}

impl<'d> Children<'d> {
    /// The entry of this name in `directory`, whose children these are.
    ///
    /// # Errors
    /// As [`Dentry::child`].
    pub fn get(&mut self, directory: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        let cached = self.table.find(name::hash(name), |child| child.has_name(name));
        if let Some(dentry) = cached.and_then(Child::dentry) {
            return Ok(dentry);
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
        if self.table.is_full() && COUNT.load(Relaxed) > MANY {
            self.table.retain(|child| !child.give_up_unused());
        }
        self.table.insert(RcuBox::try_new(Child::new(name, dentry))?)
    }

    fn take(&mut self, name: &[u8]) -> Option<Arc<Dentry>> {
        self.table.remove(name::hash(name), |child| child.has_name(name))?.give_up()
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
        target: Option<&mut Children<'d>>,
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
        other: Option<&mut Children<'d>>,
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
