//! The file tree at boot: a tmpfs as the root, filled from the initramfs.

use alloc::sync::Arc;

use libkernel::fs::initramfs;
use libkernel::fs::mount::{self, Mount, Path};
use libkernel::fs::tmpfs::Tmpfs;
use libkernel::fs::{Caller, FsContext};
use libkernel::machine;
use libkernel::memory::{PAGE_SIZE, frames};
use libkernel::process::Credentials;

use crate::drivers::device_tree::Platform;
use crate::panic;

/// Frames of RAM for each file that the root may hold.
const FRAMES_PER_INODE: usize = 4;

/// Makes the root file system, unpacks the initramfs into it, and returns where the first process stands.
pub fn init(platform: &Platform) -> Arc<FsContext> {
    let total = frames::total();
    let root = Tmpfs::new("rootfs", (total / 2 * PAGE_SIZE) as u64, (total / FRAMES_PER_INODE) as u64);
    let mount = Mount::detached(root, "rootfs");
    mount::set_root(&mount);
    let context = Arc::new(FsContext::new(Path::root_of(&mount)));
    if let Some(initrd) = platform.initrd {
        // SAFETY: the loader left the archive there, and the frame allocator was not given this memory. It stays, because files refer to it.
        let image = unsafe {
            core::slice::from_raw_parts(machine::phys_to_virt(initrd.start).cast_const(), initrd.size as usize)
        };
        // As an archive's modes say, and not as a process's umask would have it.
        let umask = context.set_umask(0);
        let unpacked = initramfs::unpack(image, &Caller::kernel(&context, &Credentials::root()));
        context.set_umask(umask);
        match unpacked {
            Ok(unpacked) => log::info!("initramfs: {} files, {} KiB", unpacked.files, unpacked.bytes / 1024),
            Err(error) => panic::give_up(format_args!("{error}")),
        }
    }
    context
}
