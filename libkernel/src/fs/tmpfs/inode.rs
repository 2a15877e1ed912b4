//! The files of a tmpfs: inodes of all types.
#![forbid(unsafe_code)]

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use linux_raw_sys::general::FALLOC_FL_PUNCH_HOLE;

use super::Shared;
use super::content::Content;
use super::directory::Directory;
use crate::fs::caller::Caller;
use crate::fs::inode::{DirectoryEntry, Inode, Link, NewInode, RenameMode, WritePosition, downcast};
use crate::fs::metadata::{Attributes, DeviceId, FileType, Metadata};
use crate::fs::pipe::Pipe;
use crate::io::{IoSink, IoSource};
use crate::memory::{Mappings, PAGE_SIZE, Page, PageSource, Writer};
use crate::sync::SpinLock;
use crate::{Errno, Result};

const MAX_LINKS: u32 = 1 << 20;

/// What an entry of a directory costs in `st_size`, as Linux counts it.
const ENTRY_SIZE: u64 = 20;

/// A file of a tmpfs.
pub struct TmpInode {
    attributes: Attributes,
    shared: Arc<Shared>,
    node: Node,
    mappings: Mappings,
}

/// What a file is, besides its attributes.
pub(super) enum Node {
    File(Content),
    Directory(SpinLock<Directory>),
    Symlink(Arc<[u8]>),
    Fifo(SpinLock<Weak<Pipe>>),
    Special,
}

impl Shared {
    /// A new file, already charged for.
    pub(super) fn inode(
        self: &Arc<Self>,
        kind: FileType,
        permissions: u32,
        uid: u32,
        gid: u32,
        device: DeviceId,
        node: Node,
    ) -> Arc<TmpInode> {
        let ino = self.next_ino.fetch_add(1, Relaxed);
        let attributes = Attributes::new(self.device, ino, kind, permissions, uid, gid).with_device(device);
        Arc::new(TmpInode { attributes, shared: self.clone(), node, mappings: Mappings::new() })
    }
}

impl TmpInode {
    fn directory(&self) -> Result<&SpinLock<Directory>> {
        match &self.node {
            Node::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn content(&self) -> Result<&Content> {
        match &self.node {
            Node::File(content) => Ok(content),
            Node::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Makes a file in this directory.
    fn add(&self, name: &[u8], new: &NewInode, node: impl FnOnce() -> Node) -> Result<Arc<TmpInode>> {
        let mut directory = self.directory()?.lock();
        directory.check_free(name)?;
        self.shared.usage.charge_inode()?;
        let inode = self.shared.inode(new.kind, new.permissions, new.uid, new.gid, new.device, node());
        directory.insert(name, inode.clone())?;
        drop(directory);
        if new.kind == FileType::Directory {
            self.attributes.add_link();
        }
        self.attributes.touch_modified();
        Ok(inode)
    }

    /// Makes a regular file that reads as `initial`, without copying it.
    ///
    /// # Errors
    /// As [`Inode::create`].
    pub fn create_from(&self, name: &[u8], new: &NewInode, initial: &'static [u8]) -> Result<Arc<TmpInode>> {
        self.add(name, new, || Node::File(Content::new(initial)))
    }

    /// The seals of a file (`F_GET_SEALS`).
    ///
    /// # Errors
    /// `EINVAL` for what is no regular file.
    pub fn seals(&self) -> Result<u32> {
        Ok(self.content()?.seals())
    }

    /// Adds seals (`F_ADD_SEALS`).
    ///
    /// # Errors
    /// `EPERM`, `EINVAL`, `EBUSY`.
    pub fn add_seals(&self, seals: u32) -> Result<()> {
        self.content()?.add_seals(seals)
    }

    /// Allows seals to be added.
    pub fn allow_sealing(&self) {
        if let Node::File(content) = &self.node {
            content.allow_sealing();
        }
    }

    /// Bookkeeping for a file that lost a name in this directory.
    fn lost_name(&self, inode: &TmpInode) {
        if inode.attributes.kind() == FileType::Directory {
            inode.attributes.clear_links();
            self.attributes.remove_link();
        } else {
            inode.attributes.remove_link();
        }
        inode.attributes.touch_changed();
        self.attributes.touch_modified();
    }

    /// Checks that `existing` can be replaced by `moved`, and if it is a directory makes it refuse new entries.
    fn prepare_replacement(moved: &TmpInode, existing: &TmpInode) -> Result<()> {
        match (&moved.node, &existing.node) {
            (Node::Directory(_), Node::Directory(directory)) => directory.lock().retire(),
            (Node::Directory(_), _) => Err(Errno::ENOTDIR),
            (_, Node::Directory(_)) => Err(Errno::EISDIR),
            _ => Ok(()),
        }
    }

    fn exchange(&self, name: &[u8], target: &TmpInode, new_name: &[u8]) -> Result<()> {
        let find = |directory: &TmpInode, name: &[u8]| -> Result<Arc<TmpInode>> {
            directory.directory()?.lock().get(name).cloned().ok_or(Errno::ENOENT)
        };
        let (first, second) = (find(self, name)?, find(target, new_name)?);
        self.directory()?.lock().replace(name, second.clone());
        target.directory()?.lock().replace(new_name, first.clone());
        let is_directory = |inode: &TmpInode| inode.attributes.kind() == FileType::Directory;
        match (is_directory(&first), is_directory(&second)) {
            (true, false) => {
                self.attributes.remove_link();
                target.attributes.add_link();
            }
            (false, true) => {
                self.attributes.add_link();
                target.attributes.remove_link();
            }
            _ => {}
        }
        for inode in [self, target] {
            inode.attributes.touch_modified();
        }
        for inode in [first, second] {
            inode.attributes.touch_changed();
        }
        Ok(())
    }
}

impl Inode for TmpInode {
    fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    fn metadata(&self) -> Metadata {
        let (size, blocks) = match &self.node {
            Node::File(content) => (content.size(), content.blocks()),
            Node::Directory(directory) => (directory.lock().len() as u64 * ENTRY_SIZE, 0),
            Node::Symlink(target) => (target.len() as u64, 0),
            Node::Fifo(_) | Node::Special => (0, 0),
        };
        self.attributes.metadata(size, blocks)
    }

    fn size(&self) -> u64 {
        match &self.node {
            Node::File(content) => content.size(),
            _ => self.metadata().size,
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        match self.directory()?.lock().get(name) {
            Some(inode) => Ok(inode.clone()),
            None => Err(Errno::ENOENT),
        }
    }

    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<dyn Inode>> {
        let inode = self.add(name, new, || match new.kind {
            FileType::Regular => Node::File(Content::new(&[])),
            FileType::Directory => Node::Directory(SpinLock::default()),
            FileType::Fifo => Node::Fifo(SpinLock::new(Weak::new())),
            _ => Node::Special,
        })?;
        Ok(inode)
    }

    fn symlink(&self, name: &[u8], target: &[u8], uid: u32, gid: u32) -> Result<Arc<dyn Inode>> {
        let new = NewInode { kind: FileType::Symlink, permissions: 0o777, uid, gid, device: DeviceId::default() };
        Ok(self.add(name, &new, || Node::Symlink(target.into()))?)
    }

    fn create_unnamed(&self, new: &NewInode) -> Result<Arc<dyn Inode>> {
        self.shared.usage.charge_inode()?;
        let node = Node::File(Content::new(&[]));
        let inode = self.shared.inode(FileType::Regular, new.permissions, new.uid, new.gid, new.device, node);
        inode.attributes.clear_links();
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = downcast::<TmpInode>(target).ok_or(Errno::EXDEV)?;
        if target.attributes.links() >= MAX_LINKS {
            return Err(Errno::EMLINK);
        }
        {
            let mut directory = self.directory()?.lock();
            directory.insert(name, target.clone())?;
            target.attributes.add_name().inspect_err(|_| drop(directory.remove(name)))?;
        }
        target.attributes.touch_changed();
        self.attributes.touch_modified();
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let inode = {
            let mut directory = self.directory()?.lock();
            match directory.get(name) {
                None => return Err(Errno::ENOENT),
                Some(inode) if inode.attributes.kind() == FileType::Directory => return Err(Errno::EISDIR),
                Some(_) => directory.remove(name),
            }
        };
        if let Some(inode) = inode {
            self.lost_name(&inode);
        }
        Ok(())
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let inode = {
            let mut directory = self.directory()?.lock();
            let inode = directory.get(name).ok_or(Errno::ENOENT)?;
            // Directories are locked from the root down.
            inode.directory()?.lock_nested().retire()?;
            directory.remove(name)
        };
        if let Some(inode) = inode {
            self.lost_name(&inode);
        }
        Ok(())
    }

    fn rename(&self, name: &[u8], new_directory: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let target = downcast::<TmpInode>(new_directory).ok_or(Errno::EXDEV)?;
        if mode == RenameMode::Exchange {
            return self.exchange(name, &target, new_name);
        }
        let moved = self.directory()?.lock().get(name).cloned().ok_or(Errno::ENOENT)?;
        let existing = target.directory()?.lock().get(new_name).cloned();
        match &existing {
            Some(_) if mode == RenameMode::NoReplace => return Err(Errno::EEXIST),
            Some(existing) => {
                Self::prepare_replacement(&moved, existing)?;
                target.directory()?.lock().replace(new_name, moved.clone());
                target.lost_name(existing);
            }
            None => target.directory()?.lock().insert(new_name, moved.clone())?,
        }
        self.directory()?.lock().remove(name);
        if moved.attributes.kind() == FileType::Directory {
            self.attributes.remove_link();
            target.attributes.add_link();
        }
        self.attributes.touch_modified();
        target.attributes.touch_modified();
        moved.attributes.touch_changed();
        Ok(())
    }

    fn read_directory(&self, from: u64, emit: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<()> {
        self.directory()?.lock().read(from, emit);
        Ok(())
    }

    fn read_link(&self, _caller: &Caller<'_>) -> Result<Link> {
        match &self.node {
            Node::Symlink(target) => Ok(Link::Text(target.clone())),
            _ => Err(Errno::EINVAL),
        }
    }

    fn read_at(&self, offset: u64, sink: &mut dyn IoSink) -> Result<usize> {
        self.content()?.read_at(offset, sink)
    }

    fn write_at(&self, position: WritePosition, limit: u64, source: &mut dyn IoSource) -> Result<(usize, u64)> {
        let result = self.content()?.write_at(position, limit, source, &self.shared.usage)?;
        self.attributes.touch_modified();
        Ok(result)
    }

    fn truncate(&self, size: u64) -> Result<()> {
        self.content()?.truncate(size, &self.shared.usage)?;
        self.mappings.unmap_beyond(self, size);
        self.attributes.touch_modified();
        Ok(())
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<u64> {
        let done = self.content()?.allocate(mode, offset, length, &self.shared.usage)?;
        if mode & FALLOC_FL_PUNCH_HOLE != 0 {
            let page = PAGE_SIZE as u64;
            self.mappings.unmap_pages(self, offset.div_ceil(page)..offset.saturating_add(length) / page);
        }
        self.attributes.touch_modified();
        Ok(done)
    }

    fn seek_content(&self, offset: u64, hole: bool) -> Result<u64> {
        self.content()?.seek(offset, hole)
    }

    fn page_source(self: Arc<Self>) -> Option<Arc<dyn PageSource>> {
        matches!(self.node, Node::File(_)).then_some(self as Arc<dyn PageSource>)
    }

    fn pipe(&self) -> Result<Arc<Pipe>> {
        let Node::Fifo(slot) = &self.node else { return Err(Errno::ENXIO) };
        let mut slot = slot.lock();
        if let Some(pipe) = slot.upgrade() {
            return Ok(pipe);
        }
        let pipe = Pipe::for_fifo()?;
        *slot = Arc::downgrade(&pipe);
        Ok(pipe)
    }
}

impl PageSource for TmpInode {
    fn page(&self, index: u64, write: bool) -> Result<Page> {
        self.content()?.page(index, write, &self.shared.usage)
    }

    fn size(&self) -> u64 {
        Inode::size(self)
    }

    fn present_pages(&self, first: u64, pages: &mut [Option<Page>]) {
        if let Node::File(content) = &self.node {
            content.present_pages(first, pages);
        }
    }

    fn mappings(&self) -> Option<&Mappings> {
        Some(&self.mappings)
    }

    fn writer(&self) -> Result<Option<Arc<Writer>>> {
        self.content()?.writer().map(Some)
    }

    fn identity(&self) -> (u64, u64) {
        (self.attributes.device().encode(), self.attributes.ino())
    }
}

impl Drop for TmpInode {
    /// Gives the memory back; a tree of directories is taken apart in a loop, however deep it is.
    fn drop(&mut self) {
        self.shared.usage.release_inode();
        let mut doomed: Vec<Arc<TmpInode>> = Vec::new();
        match &mut self.node {
            Node::File(content) => content.clear(&self.shared.usage),
            Node::Directory(directory) => doomed.extend(directory.get_mut().drain()),
            _ => {}
        }
        while let Some(inode) = doomed.pop() {
            if let Some(mut inode) = Arc::into_inner(inode)
                && let Node::Directory(directory) = &mut inode.node
            {
                doomed.extend(directory.get_mut().drain());
            }
        }
    }
}
