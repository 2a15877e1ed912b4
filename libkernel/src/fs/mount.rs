//! Mounts and paths: which file systems are joined where into the one tree that programs see (mount(2)).
//!
//! A [`Path`] is an entry of a file system together with the mount it was reached through. The table of mounts is
//! asked only at entries that are marked as mount points. Nothing here sleeps.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use bitflags::bitflags;
use linux_raw_sys::general as linux;

use super::dentry::Dentry;
use super::inode::{FileSystem, Inode};
use crate::sync::SpinLock;
use crate::{Errno, Result};

bitflags! {
    /// What a mount forbids or leaves out (mount(2)), with the values of `MS_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// Nothing is changed through it.
        const READ_ONLY = linux::MS_RDONLY;
        /// Set-id bits do not count.
        const NO_SET_ID = linux::MS_NOSUID;
        /// Device files cannot be opened.
        const NO_DEVICES = linux::MS_NODEV;
        /// Nothing is executed from it.
        const NO_EXECUTE = linux::MS_NOEXEC;
        /// Access times are left alone.
        const NO_ACCESS_TIME = linux::MS_NOATIME;
        /// Access times of directories are left alone.
        const NO_DIRECTORY_ACCESS_TIME = linux::MS_NODIRATIME;
        /// Access times are kept roughly; the default.
        const RELATIVE_ACCESS_TIME = linux::MS_RELATIME;
    }
}

/// The cached names of one file system, forgotten when the last mount of it goes.
pub struct Tree {
    file_system: Arc<dyn FileSystem>,
    root: Arc<Dentry>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.root.forget_tree();
    }
}

/// One place where a file system, or a part of one, is joined to the tree.
pub struct Mount {
    id: u32,
    tree: Arc<Tree>,
    root: Arc<Dentry>,
    /// What it covers; `None` for the root of everything and for what is not mounted. It changes only under the table's lock.
    place: SpinLock<Option<Path>>,
    /// Whether it was taken out of the tree; then nothing is joined to it any more. Decided under the table's lock.
    gone: AtomicBool,
    flags: AtomicU32,
    source: Box<str>,
}

/// A file, and the way to it.
#[derive(Clone)]
pub struct Path {
    /// The mount it was reached through.
    pub mount: Arc<Mount>,
    /// The entry.
    pub dentry: Arc<Dentry>,
}

/// All mounts that cover something, by the mount and the entry that they cover.
type Table = BTreeMap<(u32, usize), Arc<Mount>>;

/// What a mount that is taken out of the tree leaves to be dropped when no lock is held.
type Leftovers = (Path, Option<Arc<Mount>>);

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

/// Taken after the children of a directory.
static TABLE: SpinLock<Table> = SpinLock::new(BTreeMap::new());

/// The mount that is the root of everything, for the list of mounts.
static ROOT: SpinLock<Option<Arc<Mount>>> = SpinLock::new(None);

impl Mount {
    /// A mount of a whole file system that is not joined to the tree yet.
    #[must_use]
    pub fn detached(file_system: Arc<dyn FileSystem>, source: &str) -> Arc<Self> {
        let root = Dentry::root(file_system.root(), file_system.names_are_stable());
        Self::new(Arc::new(Tree { file_system, root: root.clone() }), root, source)
    }

    /// A mount of what lies at and below `path`, in the same file system.
    #[must_use]
    pub fn of_part(path: &Path) -> Arc<Self> {
        let mount = Self::new(path.mount.tree.clone(), path.dentry.clone(), &path.mount.source);
        mount.set_flags(path.mount.flags());
        mount
    }

    fn new(tree: Arc<Tree>, root: Arc<Dentry>, source: &str) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            tree,
            root,
            place: SpinLock::new(None),
            gone: AtomicBool::new(false),
            flags: AtomicU32::new(MountFlags::RELATIVE_ACCESS_TIME.bits()),
            source: source.into(),
        })
    }

    /// Its number in `/proc/PID/mountinfo`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The file system.
    #[must_use]
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.tree.file_system
    }

    /// The entry that is seen at the mount point.
    #[must_use]
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    /// What was named as the source when it was mounted.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it covers.
    #[must_use]
    pub fn place(&self) -> Option<Path> {
        self.place.lock().clone()
    }

    /// Some mount that covers a part of this one.
    fn child(&self, table: &Table) -> Option<Arc<Mount>> {
        table.range((self.id, 0)..=(self.id, usize::MAX)).next().map(|(_, child)| child.clone())
    }

    /// Takes it out of the tree.
    fn take_out(&self, table: &mut Table) -> Result<Leftovers> {
        let Some(place) = self.place.lock().take() else {
            return Err(if self.gone.load(Relaxed) { Errno::EINVAL } else { Errno::EBUSY });
        };
        self.gone.store(true, Relaxed);
        place.dentry.remove_mount();
        let own = table.remove(&place.key());
        Ok((place, own))
    }

    /// What it forbids.
    #[must_use]
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Relaxed))
    }

    /// Sets what it forbids.
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Relaxed);
    }

    /// Whether something may be changed through it.
    ///
    /// # Errors
    /// `EROFS`.
    #[inline]
    pub fn check_writable(&self) -> Result<()> {
        if self.flags.load(Relaxed) & MountFlags::READ_ONLY.bits() != 0 {
            return Err(Errno::EROFS);
        }
        Ok(())
    }
}

impl Path {
    /// The root directory of a mount.
    #[must_use]
    pub fn root_of(mount: &Arc<Mount>) -> Self {
        Self { mount: mount.clone(), dentry: mount.root.clone() }
    }

    /// The file.
    #[must_use]
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// Whether its mount lets programs be executed.
    #[must_use]
    #[inline]
    pub fn allows_execution(&self) -> bool {
        !self.mount.flags().contains(MountFlags::NO_EXECUTE)
    }

    /// Whether both lead to the same entry through the same mount.
    #[must_use]
    pub fn is_same(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }

    fn key(&self) -> (u32, usize) {
        (self.mount.id, Arc::as_ptr(&self.dentry) as usize)
    }

    /// Goes to the root of what is mounted here, if anything is; through several mounts if they are stacked.
    #[inline]
    pub fn enter_mounts(&mut self) {
        while self.dentry.is_mount_point() {
            let Some(mount) = TABLE.lock().get(&self.key()).cloned() else { return };
            *self = Path::root_of(&mount);
        }
    }

    /// Goes to the directory above, not beyond `root`, across mounts.
    pub fn ascend(&mut self, root: &Path) {
        loop {
            if self.is_same(root) {
                return;
            }
            if !Arc::ptr_eq(&self.dentry, &self.mount.root) {
                if let Some(parent) = self.dentry.parent() {
                    self.dentry = parent;
                    self.enter_mounts();
                }
                return;
            }
            let Some(place) = self.mount.place() else { return };
            *self = place;
        }
    }

    /// Writes the absolute path as seen from `root` to a vector; `None` where the file is not below `root`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn text(&self, root: &Path) -> Result<Option<Vec<u8>>> {
        let (text, inside) = self.text_and_reach(root)?;
        Ok(inside.then_some(text))
    }

    /// The path as far as it can be followed upwards, and whether it leads to `root`.
    fn text_and_reach(&self, root: &Path) -> Result<(Vec<u8>, bool)> {
        let mut names = Vec::new();
        let mut at = self.clone();
        let mut inside = true;
        while !at.is_same(root) {
            if Arc::ptr_eq(&at.dentry, &at.mount.root) {
                let Some(place) = at.mount.place() else {
                    inside = false;
                    break;
                };
                at = place;
                continue;
            }
            let (parent, name) = at.dentry.place();
            names.try_reserve(1)?;
            names.push(name);
            let Some(parent) = parent else {
                inside = false;
                break;
            };
            at.dentry = parent;
        }
        let mut text = Vec::new();
        text.try_reserve(names.iter().map(|name| name.len() + 1).sum::<usize>().max(1))?;
        for name in names.iter().rev() {
            text.push(b'/');
            text.extend_from_slice(name);
        }
        if text.is_empty() {
            text.push(b'/');
        }
        Ok((text, inside))
    }
}

impl Path {
    /// The path as the links below `/proc/PID` and getcwd(2) show it: with a note where the file was removed, or is outside of `root`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn display(&self, root: &Path) -> Result<Vec<u8>> {
        if self.mount.file_system().names_are_descriptions() {
            return Ok(self.dentry.name().to_vec());
        }
        let (mut text, inside) = self.text_and_reach(root)?;
        let unnamed = self.dentry.parent().is_none() && !Arc::ptr_eq(&self.dentry, &self.mount.root);
        if !inside && !unnamed {
            text.splice(..0, *b"(unreachable)");
        }
        if self.dentry.is_removed() || unnamed {
            text.extend_from_slice(b" (deleted)");
        }
        Ok(text)
    }
}

/// Makes `mount` the root of everything.
pub fn set_root(mount: &Arc<Mount>) {
    *ROOT.lock() = Some(mount.clone());
}

/// Joins `mount` to the tree at `place`, above whatever is mounted there already.
///
/// # Errors
/// `ENOTDIR` where one is a directory and the other is not, `ENOENT` for a removed place and in a mount that was taken out of the tree,
/// `EBUSY` where the place comes and goes by itself.
pub fn attach(mount: &Arc<Mount>, mut place: Path) -> Result<()> {
    use super::metadata::FileType::Directory;
    place.enter_mounts();
    let is_directory = |dentry: &Arc<Dentry>| dentry.inode().attributes().kind() == Directory;
    if is_directory(&place.dentry) != is_directory(&mount.root) {
        return Err(Errno::ENOTDIR);
    }
    if !place.dentry.can_be_covered() {
        return Err(Errno::EBUSY);
    }
    // Whoever removes or moves a name looks for mounts with the same lock held.
    place.dentry.in_place(|| {
        if place.dentry.is_removed() {
            return Err(Errno::ENOENT);
        }
        let mut table = TABLE.lock();
        if place.mount.gone.load(Relaxed) {
            return Err(Errno::ENOENT);
        }
        if table.contains_key(&place.key()) {
            return Err(Errno::EBUSY);
        }
        place.dentry.add_mount();
        table.insert(place.key(), mount.clone());
        *mount.place.lock() = Some(place.clone());
        Ok(())
    })
}

/// Takes the mount whose root `path` is out of the tree. `lazy` does so though it is in use, and takes all mounts below it along.
///
/// # Errors
/// `EINVAL` where `path` is not the root of a mount of the tree, `EBUSY` while it is in use or is the root of everything.
pub fn detach(path: Path, lazy: bool) -> Result<()> {
    if !Arc::ptr_eq(&path.dentry, &path.mount.root) {
        return Err(Errno::EINVAL);
    }
    let mount = path.mount.clone();
    drop(path);
    let removed = {
        let mut table = TABLE.lock();
        // The table and this function hold one each; anybody else is a user.
        let used = mount.child(&table).is_some() || Arc::strong_count(&mount) > 2;
        if used && !lazy && !mount.gone.load(Relaxed) {
            return Err(Errno::EBUSY);
        }
        mount.take_out(&mut table)
    };
    removed.map(drop)?;
    take_out_below(&mount);
    Ok(())
}

/// Takes everything out that is mounted below `top`, where nobody can reach it any more, from the leaves up.
fn take_out_below(top: &Arc<Mount>) {
    let mut at = top.clone();
    loop {
        let removed = {
            let mut table = TABLE.lock();
            while let Some(child) = at.child(&table) {
                at = child;
            }
            if Arc::ptr_eq(&at, top) {
                return;
            }
            at.take_out(&mut table)
        };
        // Where somebody else took it out, there is less to do from the top on.
        at = removed.map_or_else(|_| top.clone(), |(place, _)| place.mount);
    }
}

/// All mounts of the tree, the oldest first.
#[must_use]
pub fn all() -> Vec<Arc<Mount>> {
    let mut mounts: Vec<_> = ROOT.lock().iter().cloned().collect();
    mounts.extend(TABLE.lock().values().cloned());
    mounts.sort_by_key(|mount| mount.id);
    mounts
}
