//! `/dev`: a tmpfs that is born with the devices every Linux system has (where `/dev/pts` is mounted, pseudo-terminals appear).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::inode::{Inode, NewInode};
use super::metadata::{DeviceId, FileType};
use super::mount::{Mount, Path};
use super::tmpfs::Tmpfs;
use crate::sync::SetOnce;
use crate::{Errno, Result};

const SIZE: u64 = 64 << 20;
const FILES: u64 = 64 * 1024;

/// Character devices: name, permissions, major, minor.
const NODES: [(&str, u32, u32, u32); 10] = [
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("full", 0o666, 1, 7),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("kmsg", 0o644, 1, 11),
    ("tty", 0o666, 5, 0),
    ("console", 0o600, 5, 1),
    ("ptmx", 0o666, 5, 2),
    ("ttyAMA0", 0o600, 204, 64),
];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

const DIRECTORIES: [(&str, u32); 2] = [("pts", 0o755), ("shm", 0o1777)];

static DEVICES: SetOnce<Arc<Tmpfs>> = SetOnce::new();
static MOUNT: SetOnce<Arc<Mount>> = SetOnce::new();

fn new(kind: FileType, permissions: u32, device: DeviceId) -> NewInode {
    NewInode { kind, permissions, uid: 0, gid: 0, device }
}

fn populate(devices: &Tmpfs) -> Result<()> {
    let root = devices.root_directory();
    for (name, permissions, major, minor) in NODES {
        root.create(name.as_bytes(), &new(FileType::CharDevice, permissions, DeviceId::new(major, minor)))?;
    }
    for (name, target) in LINKS {
        root.symlink(name.as_bytes(), target.as_bytes(), 0, 0)?;
    }
    for (name, permissions) in DIRECTORIES {
        root.create(name.as_bytes(), &new(FileType::Directory, permissions, DeviceId::default()))?;
    }
    Ok(())
}

/// The one devtmpfs, made at the first call.
///
/// # Errors
/// `ENOMEM`.
pub fn devices() -> Result<Arc<Tmpfs>> {
    if let Some(devices) = DEVICES.get() {
        return Ok(devices.clone());
    }
    let devices = Tmpfs::new("devtmpfs", SIZE, FILES);
    populate(&devices)?;
    // Whoever was first made the one that counts.
    let _ = DEVICES.set(devices.clone());
    Ok(DEVICES.get().cloned().unwrap_or(devices))
}

/// Makes a device file in `/dev`.
///
/// # Errors
/// `EEXIST`, `ENOSPC`, `ENOMEM`.
pub fn add_device(name: &str, permissions: u32, device: DeviceId) -> Result<()> {
    devices()?.root_directory().create(name.as_bytes(), &new(FileType::CharDevice, permissions, device))?;
    Ok(())
}

/// A mount of `/dev`. All mounts of it share one tree of cached names.
///
/// # Errors
/// `ENOMEM`.
pub fn mount_devices() -> Result<Arc<Mount>> {
    if MOUNT.get().is_none() {
        // Whoever was first made the one that counts.
        let _ = MOUNT.set(Mount::detached(devices()?, "devtmpfs"));
    }
    let first = MOUNT.get().ok_or(Errno::ENOMEM)?;
    Ok(Mount::of_part(&Path::root_of(first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::mount::attach;
    use crate::fs::open::open;
    use crate::fs::open_flags::OpenFlags;
    use crate::fs::testing::World;
    use crate::fs::walk::{LastLink, resolve};
    use crate::fs::{memory_devices, namespace};
    use crate::io::{SliceSink, SliceSource};

    fn world() -> World {
        memory_devices::register(|_| {});
        let world = World::new();
        namespace::make(&world.caller(), None, b"/dev", FileType::Directory, 0o755, DeviceId::default()).unwrap();
        let place = resolve(&world.caller(), None, b"/dev", LastLink::Follow).unwrap();
        attach(&mount_devices().unwrap(), place).unwrap();
        world
    }

    #[test]
    fn the_memory_devices_do_what_their_names_say() {
        let world = world();
        let file = |name: &str| open(&world.caller(), None, name.as_bytes(), OpenFlags::READ_WRITE, 0).unwrap();
        let mut bytes = [7; 100];
        assert_eq!(file("/dev/null").read(&mut SliceSink::new(&mut bytes)), Ok(0));
        assert_eq!(file("/dev/null").write(0, &mut SliceSource::new(&bytes)), Ok(100));
        assert_eq!(file("/dev/full").write(0, &mut SliceSource::new(&bytes)), Err(Errno::ENOSPC));
        assert_eq!(file("/dev/zero").read(&mut SliceSink::new(&mut bytes)), Ok(100));
        assert_eq!(bytes, [0; 100]);
        assert_eq!(file("/dev/urandom").read(&mut SliceSink::new(&mut bytes)), Ok(100));
        assert_ne!(bytes, [0; 100]);
        assert_eq!(open(&world.caller(), None, b"/dev/nothing", OpenFlags::empty(), 0).err(), Some(Errno::ENOENT));
    }
}
