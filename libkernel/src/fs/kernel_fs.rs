//! File systems that the kernel makes up and that hold nothing: their root is all there is to know.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::inode::{FileSystem, Inode, Statistics};
use super::metadata::DeviceId;

/// What the names of its files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Names in directories that come and go by themselves, as below `/proc`.
    Transient,
    /// Descriptions of files that are in no directory, such as `pipe:[7]`.
    Descriptions,
}

/// A file system without files of its own.
pub struct KernelFs {
    name: &'static str,
    magic: u64,
    root: Arc<dyn Inode>,
    names: Names,
}

impl KernelFs {
    /// The file system of this type, with the number that statfs(2) tells and this root.
    #[must_use]
    pub fn new(name: &'static str, magic: u64, root: Arc<dyn Inode>, names: Names) -> Arc<Self> {
        Arc::new(Self { name, magic, root, names })
    }
}

impl FileSystem for KernelFs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn device(&self) -> DeviceId {
        self.root.attributes().device()
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn statistics(&self) -> Statistics {
        Statistics { magic: self.magic, block_size: 4096, ..Statistics::default() }
    }

    fn names_are_stable(&self) -> bool {
        self.names != Names::Transient
    }

    fn names_are_descriptions(&self) -> bool {
        self.names == Names::Descriptions
    }
}
