//! tmpfs: files in memory (tmpfs(5)).
//!
//! It is the root file system, `/tmp`, `/dev` and the home of memfds. File content is pages, shared with whoever maps
//! them, so reads, writes and mappings see one another at once. Nothing here sleeps.
#![forbid(unsafe_code)]

mod content;
mod directory;
mod inode;
mod usage;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use content::Content;
use inode::Node;
use usage::Usage;

pub use inode::TmpInode;

use super::inode::{FileSystem, Inode, Statistics};
use super::metadata::{DeviceId, FileType};
use crate::Result;
use crate::memory::PAGE_SIZE;
use crate::sync::SpinLock;

const MAGIC: u64 = 0x0102_1994;

static NEXT_MINOR: AtomicU64 = AtomicU64::new(20);

/// A device number for a file system that has no device.
#[must_use]
pub fn anonymous_device() -> DeviceId {
    DeviceId::new(0, NEXT_MINOR.fetch_add(1, Relaxed) as u32)
}

/// One tmpfs.
pub struct Tmpfs {
    name: &'static str,
    shared: Arc<Shared>,
    root: Arc<TmpInode>,
}

/// What the inodes of one tmpfs have in common.
struct Shared {
    device: DeviceId,
    usage: Usage,
    next_ino: AtomicU64,
}

impl Tmpfs {
    /// An empty tmpfs that holds at most `bytes` bytes and `inodes` files. Its type is shown as `name`.
    #[must_use]
    pub fn new(name: &'static str, bytes: u64, inodes: u64) -> Arc<Self> {
        let shared = Arc::new(Shared {
            device: anonymous_device(),
            usage: Usage::new(bytes.div_ceil(PAGE_SIZE as u64), inodes.max(1)),
            next_ino: AtomicU64::new(1),
        });
        // The root's inode: there is room for one.
        let _ = shared.usage.charge_inode();
        let root =
            shared.inode(FileType::Directory, 0o755, 0, 0, DeviceId::default(), Node::Directory(SpinLock::default()));
        Arc::new(Self { name, shared, root })
    }

    /// The root directory.
    #[must_use]
    pub fn root_directory(&self) -> &Arc<TmpInode> {
        &self.root
    }

    /// A file that has no name, for memfd_create(2) and shared anonymous memory.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub fn unnamed_file(&self, permissions: u32, uid: u32, gid: u32) -> Result<Arc<TmpInode>> {
        self.shared.usage.charge_inode()?;
        let node = Node::File(Content::new(&[]));
        let inode = self.shared.inode(FileType::Regular, permissions, uid, gid, DeviceId::default(), node);
        inode.attributes().clear_links();
        Ok(inode)
    }
}

impl FileSystem for Tmpfs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn device(&self) -> DeviceId {
        self.shared.device
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statistics(&self) -> Statistics {
        let usage = &self.shared.usage;
        Statistics {
            magic: MAGIC,
            block_size: PAGE_SIZE as u64,
            blocks: usage.page_limit(),
            free_blocks: usage.free_pages(),
            files: usage.inode_limit(),
            free_files: usage.free_inodes(),
        }
    }

    fn options(&self) -> String {
        format!(",size={}k,nr_inodes={}", self.shared.usage.page_limit() * 4, self.shared.usage.inode_limit())
    }
}
