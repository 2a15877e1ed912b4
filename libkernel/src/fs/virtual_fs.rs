//! Directories and files that the kernel makes up as they are looked at: the common ground of procfs and sysfs.
//!
//! A file's text is made anew by each read from its beginning, and later reads of the same open go on in that text, so a reader
//! sees one moment. Nothing is cached: each look-up asks what there is now. Nothing here sleeps.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::caller::Caller;
use super::file_object::FileObject;
use super::inode::{DirectoryEntry, Inode, Link};
use super::kernel_fs::{KernelFs, Names};
use super::metadata::{Attributes, DeviceId, FileType};
use super::mount::Path;
use super::name;
use super::open_flags::OpenFlags;
use super::tmpfs::anonymous_device;
use crate::io::{IoSink, IoSource};
use crate::sync::SpinLock;
use crate::{Errno, Result};

/// The most that is taken in one write.
const MAX_WRITE: usize = 4096;

/// The text of a file while it is made.
#[derive(Default)]
pub struct Text {
    bytes: Vec<u8>,
}

impl Text {
    /// Adds bytes as they are.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.try_reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds formatted text.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> Result<()> {
        fmt::write(self, arguments).map_err(|_| Errno::ENOMEM)
    }

    /// What was added so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// What stands behind a file.
pub trait Source: Send + Sync {
    /// Makes the text. `root` is the root directory of who opened the file.
    ///
    /// # Errors
    /// `ENOMEM`; `ESRCH` where what it tells of is gone.
    fn show(&self, root: &Path, text: &mut Text) -> Result<()>;

    /// Whether somebody whom the permission bits let may open it.
    ///
    /// # Errors
    /// `EACCES`.
    fn check_open(&self, caller: &Caller<'_>) -> Result<()> {
        let _ = caller;
        Ok(())
    }

    /// Takes what was written.
    ///
    /// # Errors
    /// `EINVAL`, `EPERM`.
    fn store(&self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        Err(Errno::EPERM)
    }
}

impl<F: Fn(&Path, &mut Text) -> Result<()> + Send + Sync> Source for F {
    fn show(&self, root: &Path, text: &mut Text) -> Result<()> {
        self(root, text)
    }
}

/// What stands behind a directory.
pub trait Listing: Send + Sync {
    /// The entry of this name.
    fn find(&self, name: &[u8]) -> Option<Node>;

    /// Hands entries from position `from` on (the first is 0) to `emit`: the name, the type, and the position after it; until it
    /// returns false.
    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool);
}

/// How a link is followed, for a caller.
pub type Follow = Box<dyn Fn(&Caller<'_>) -> Result<Link> + Send + Sync>;

/// What an entry is.
pub enum Content {
    /// A file with generated text.
    File(Arc<dyn Source>),
    /// A directory.
    Directory(Arc<dyn Listing>),
    /// A symbolic link.
    Link(Follow),
}

/// An entry: what it is, and who may do what with it.
pub struct Node {
    /// What it is.
    pub content: Content,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
}

impl Node {
    /// A file of root's.
    #[must_use]
    pub fn file(mode: u32, source: impl Source + 'static) -> Self {
        Self { content: Content::File(Arc::new(source)), mode, uid: 0, gid: 0 }
    }

    /// A directory of root's that everybody can read.
    #[must_use]
    pub fn directory(listing: impl Listing + 'static) -> Self {
        Self { content: Content::Directory(Arc::new(listing)), mode: 0o555, uid: 0, gid: 0 }
    }

    /// A link.
    #[must_use]
    pub fn link(follow: impl Fn(&Caller<'_>) -> Result<Link> + Send + Sync + 'static) -> Self {
        Self { content: Content::Link(Box::new(follow)), mode: 0o777, uid: 0, gid: 0 }
    }

    /// The same with another owner.
    #[must_use]
    pub fn owned_by(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> FileType {
        match self.content {
            Content::File(_) => FileType::Regular,
            Content::Directory(_) => FileType::Directory,
            Content::Link(_) => FileType::Symlink,
        }
    }
}

/// A directory whose entries are always the same.
pub struct Fixed(pub &'static [(&'static str, FileType, fn() -> Node)]);

impl Listing for Fixed {
    fn find(&self, name: &[u8]) -> Option<Node> {
        self.0.iter().find(|entry| entry.0.as_bytes() == name).map(|entry| (entry.2)())
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) {
        for (position, (name, kind, _)) in (1..).zip(self.0).skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            if !emit(name.as_bytes(), *kind, position) {
                return;
            }
        }
    }
}

struct VirtualInode {
    attributes: Attributes,
    content: Content,
}

fn child_ino(parent: u64, name: &[u8]) -> u64 {
    // Stable while the kernel runs, and unlikely to meet another.
    ((name::hash(name) ^ parent.rotate_left(17)) & 0x7fff_ffff_ffff) | 0x1000
}

impl VirtualInode {
    fn new(device: DeviceId, ino: u64, node: Node) -> Arc<Self> {
        let attributes = Attributes::new(device, ino, node.kind(), node.mode, node.uid, node.gid);
        Arc::new(Self { attributes, content: node.content })
    }

    fn listing(&self) -> Result<&Arc<dyn Listing>> {
        match &self.content {
            Content::Directory(listing) => Ok(listing),
            _ => Err(Errno::ENOTDIR),
        }
    }
}

impl Inode for VirtualInode {
    fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let node = self.listing()?.find(name).ok_or(Errno::ENOENT)?;
        Ok(Self::new(self.attributes.device(), child_ino(self.attributes.ino(), name), node))
    }

    fn read_directory(&self, from: u64, emit: &mut dyn FnMut(&DirectoryEntry<'_>) -> bool) -> Result<()> {
        let parent = self.attributes.ino();
        self.listing()?.list(from, &mut |name, kind, next| {
            emit(&DirectoryEntry { name, ino: child_ino(parent, name), kind, next })
        });
        Ok(())
    }

    fn read_link(&self, caller: &Caller<'_>) -> Result<Link> {
        match &self.content {
            Content::Link(follow) => follow(caller),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(&self, _flags: OpenFlags, caller: &Caller<'_>) -> Result<Option<Arc<dyn FileObject>>> {
        let Content::File(source) = &self.content else { return Ok(None) };
        source.check_open(caller)?;
        let root = caller.context.root();
        Ok(Some(Arc::new(Snapshot { source: source.clone(), root, text: SpinLock::new(None) })))
    }

    /// Opening with `O_TRUNC` is allowed, as shells do it for `>`.
    fn truncate(&self, _size: u64) -> Result<()> {
        Ok(())
    }
}

/// An open file with generated text.
struct Snapshot {
    source: Arc<dyn Source>,
    root: Path,
    text: SpinLock<Option<Arc<Text>>>,
}

impl Snapshot {
    fn text(&self, offset: u64) -> Result<Arc<Text>> {
        if offset > 0
            && let Some(text) = self.text.lock().clone()
        {
            return Ok(text);
        }
        // Made without the lock: it may take a while.
        let mut text = Text::default();
        self.source.show(&self.root, &mut text)?;
        let text = Arc::new(text);
        let old = self.text.lock().replace(text.clone());
        drop(old);
        Ok(text)
    }
}

impl FileObject for Snapshot {
    fn is_positional(&self) -> bool {
        true
    }

    fn read_at(&self, offset: u64, sink: &mut dyn IoSink) -> Result<usize> {
        let text = self.text(offset)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| text.bytes.get(offset..)).unwrap_or_default();
        let wanted = sink.remaining().min(rest.len());
        let count = sink.put(rest.get(..wanted).unwrap_or_default());
        if count == 0 && wanted > 0 { Err(Errno::EFAULT) } else { Ok(count) }
    }

    fn write_at(&self, _offset: u64, source: &mut dyn IoSource) -> Result<usize> {
        let wanted = source.remaining().min(MAX_WRITE);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(wanted)?;
        bytes.resize(wanted, 0);
        if source.take(&mut bytes) < wanted {
            return Err(Errno::EFAULT);
        }
        self.source.store(&bytes)?;
        Ok(wanted)
    }

    fn can_poll(&self) -> bool {
        false
    }
}

/// A file system of generated files with this root directory.
#[must_use]
pub fn file_system(name: &'static str, magic: u64, root: impl Listing + 'static) -> Arc<KernelFs> {
    let root = VirtualInode::new(anonymous_device(), 1, Node::directory(root));
    KernelFs::new(name, magic, root, Names::Transient)
}
