//! Open files that are in no directory: pipes, counters, memfds and the like.
//!
//! Their inodes live in file systems that are mounted nowhere.
#![forbid(unsafe_code)]

use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::dentry::Dentry;
use super::file_object::FileObject;
use super::inode::Inode;
use super::kernel_fs::{KernelFs, Names};
use super::metadata::{Attributes, DeviceId, FileType};
use super::mount::{Mount, Path};
use super::open_file::OpenFile;
use super::open_flags::OpenFlags;
use super::pipe::Pipe;
use super::tmpfs::{Tmpfs, anonymous_device};
use crate::process::credentials::Credentials;
use crate::sync::SetOnce;
use crate::{Errno, Result};

/// The largest length of a memfd's name.
const MAX_NAME: usize = 249;

struct Node {
    attributes: Attributes,
    /// For a pipe: opening it anew, through `/proc/self/fd`, makes another end.
    pipe: Option<Arc<Pipe>>,
}

impl Inode for Node {
    fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    fn pipe(&self) -> Result<Arc<Pipe>> {
        self.pipe.clone().ok_or(Errno::ENXIO)
    }
}

static OBJECTS: SetOnce<Arc<Mount>> = SetOnce::new();
static PIPES: SetOnce<Arc<Mount>> = SetOnce::new();
static SOCKETS: SetOnce<Arc<Mount>> = SetOnce::new();
static MEMORY: SetOnce<(Arc<Tmpfs>, Arc<Mount>)> = SetOnce::new();
static NEXT_INO: AtomicU64 = AtomicU64::new(2);

fn node(device: DeviceId, ino: u64, kind: FileType, (uid, gid): (u32, u32), pipe: Option<Arc<Pipe>>) -> Arc<dyn Inode> {
    let permissions = if kind == FileType::Socket { 0o777 } else { 0o600 };
    Arc::new(Node { attributes: Attributes::new(device, ino, kind, permissions, uid, gid), pipe })
}

fn mount(slot: &'static SetOnce<Arc<Mount>>, name: &'static str, magic: u64) -> Result<Arc<Mount>> {
    if slot.get().is_none() {
        let device = anonymous_device();
        let root = node(device, 1, FileType::Regular, (0, 0), None);
        // Whoever was first made the one that counts.
        let _ = slot.set(Mount::detached(KernelFs::new(name, magic, root, Names::Descriptions), name));
    }
    slot.get().cloned().ok_or(Errno::ENOMEM)
}

/// An open file for an object of the kernel; `name` is what `/proc/PID/fd` shows, such as `anon_inode:[eventfd]`.
///
/// # Errors
/// `ENOMEM`.
pub fn open(object: Arc<dyn FileObject>, name: &str, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    let mount = mount(&OBJECTS, "anon_inodefs", 0x0904_1934)?;
    let dentry = Dentry::unnamed(mount.root().inode().clone(), name.as_bytes());
    OpenFile::new(Path { mount, dentry }, Some(object), flags)
}

/// The two ends of a new pipe: first for reading, then for writing.
///
/// # Errors
/// `ENOMEM`.
pub fn open_pipe(flags: OpenFlags, credentials: &Credentials) -> Result<(Arc<OpenFile>, Arc<OpenFile>)> {
    let mount = mount(&PIPES, "pipefs", 0x5049_5045)?;
    let pipe = Pipe::new()?;
    let path = new_path(&mount, "pipe", FileType::Fifo, credentials, Some(pipe.clone()));
    let reader = Arc::new(pipe.open(true, false));
    let writer = Arc::new(pipe.open(false, true));
    let kept = flags & OpenFlags::NON_BLOCKING;
    Ok((
        OpenFile::new(path.clone(), Some(reader), kept)?,
        OpenFile::new(path, Some(writer), kept | OpenFlags::WRITE_ONLY)?,
    ))
}

/// An open file for a socket.
///
/// # Errors
/// `ENOMEM`.
pub fn open_socket(object: Arc<dyn FileObject>, flags: OpenFlags, credentials: &Credentials) -> Result<Arc<OpenFile>> {
    let mount = mount(&SOCKETS, "sockfs", 0x534f_434b)?;
    let path = new_path(&mount, "socket", FileType::Socket, credentials, None);
    OpenFile::new(path, Some(object), flags | OpenFlags::READ_WRITE)
}

fn new_path(
    mount: &Arc<Mount>,
    what: &str,
    kind: FileType,
    credentials: &Credentials,
    pipe: Option<Arc<Pipe>>,
) -> Path {
    let ino = NEXT_INO.fetch_add(1, Relaxed);
    let owner = (credentials.uid.file_system.raw(), credentials.gid.file_system.raw());
    let inode = node(mount.file_system().device(), ino, kind, owner, pipe);
    Path { mount: mount.clone(), dentry: Dentry::unnamed(inode, format!("{what}:[{ino}]").as_bytes()) }
}

/// A file in memory without a name (memfd_create(2)); `name` is only shown.
///
/// # Errors
/// `EINVAL` for a name that is too long, `ENOMEM`.
pub fn open_memory(name: &[u8], allow_sealing: bool, credentials: &Credentials) -> Result<Arc<OpenFile>> {
    if name.len() > MAX_NAME {
        return Err(Errno::EINVAL);
    }
    if MEMORY.get().is_none() {
        let memory = Tmpfs::new("tmpfs", u64::MAX, u64::MAX);
        let mount = Mount::detached(memory.clone(), "tmpfs");
        // Whoever was first made the one that counts.
        let _ = MEMORY.set((memory, mount));
    }
    let (memory, mount) = MEMORY.get().ok_or(Errno::ENOMEM)?;
    let (uid, gid) = (credentials.uid.file_system.raw(), credentials.gid.file_system.raw());
    let inode = memory.unnamed_file(0o777, uid, gid)?;
    if allow_sealing {
        inode.allow_sealing();
    }
    let dentry = Dentry::unnamed(inode, &[b"memfd:", name].concat());
    let path = Path { mount: mount.clone(), dentry };
    OpenFile::new(path, None, OpenFlags::READ_WRITE | OpenFlags::LARGE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::World;
    use crate::io::{SliceSink, SliceSource};

    #[test]
    fn both_ends_of_a_pipe_are_one_file_and_say_so() {
        let (reader, writer) = open_pipe(OpenFlags::empty(), &Credentials::root()).unwrap();
        writer.write(u64::MAX, &mut SliceSource::new(b"abc")).unwrap();
        let mut bytes = [0; 3];
        assert_eq!(reader.read(&mut SliceSink::new(&mut bytes)), Ok(3));
        assert_eq!(reader.write(u64::MAX, &mut SliceSource::new(b"x")), Err(Errno::EBADF));
        assert_eq!(reader.inode().metadata().ino, writer.inode().metadata().ino);
        let name = reader.path().display(&World::new().context.root()).unwrap();
        assert!(name.starts_with(b"pipe:[") && name.ends_with(b"]"));
        let again = reader.inode().pipe().unwrap().open(false, true);
        drop(writer);
        assert_eq!(reader.read(&mut SliceSink::new(&mut bytes)), Err(Errno::EAGAIN), "opened anew, it has a writer");
        drop(again);
        assert_eq!(reader.read(&mut SliceSink::new(&mut bytes)), Ok(0));
        assert_eq!(reader.seek(0, crate::fs::open_file::Whence::Start), Err(Errno::ESPIPE));
    }

    #[test]
    fn a_sealed_memfd_refuses_what_was_sealed() {
        use crate::fs::inode::downcast;
        use crate::fs::tmpfs::TmpInode;
        use linux_raw_sys::general::{F_SEAL_GROW, F_SEAL_WRITE};
        let file = open_memory(b"test", true, &Credentials::root()).unwrap();
        file.write(u64::MAX, &mut SliceSource::new(b"abc")).unwrap();
        let inode = downcast::<TmpInode>(file.inode()).unwrap();
        inode.add_seals(F_SEAL_GROW).unwrap();
        assert_eq!(file.truncate(100), Err(Errno::EPERM));
        inode.add_seals(F_SEAL_WRITE).unwrap();
        assert_eq!(file.write_at(0, u64::MAX, &mut SliceSource::new(b"x")), Err(Errno::EPERM));
        let name = file.path().display(&World::new().context.root()).unwrap();
        assert_eq!(name, b"/memfd:test (deleted)");
        let plain = open_memory(b"", false, &Credentials::root()).unwrap();
        assert_eq!(downcast::<TmpInode>(plain.inode()).unwrap().add_seals(F_SEAL_GROW), Err(Errno::EPERM));
    }
}
