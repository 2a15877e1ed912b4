//! The file tree at boot: a tmpfs as the root, filled from the initramfs.

mod counters;
mod facts;
pub mod mountable;

use alloc::sync::Arc;

use libkernel::fs::metadata::{DeviceId, FileType};
use libkernel::fs::mount::{self, Mount, Path};
use libkernel::fs::tmpfs::Tmpfs;
use libkernel::fs::{Caller, FsContext, initramfs, memory_devices, namespace, procfs};
use libkernel::machine;
use libkernel::memory::{PAGE_SIZE, frames};
use libkernel::net::unix;
use libkernel::process::Credentials;
use libkernel::sync::{SetOnce, WaitQueue};
use libkernel::task::{Task, uninterruptible};

use crate::drivers::device_tree::Platform;
use crate::panic;
use crate::task::stackful;

/// Frames of RAM for each file that the root may hold.
const FRAMES_PER_INODE: usize = 4;

/// Where the first process stands, once the initramfs is unpacked.
static ROOT: SetOnce<Arc<FsContext>> = SetOnce::new();
static UNPACKED: WaitQueue = WaitQueue::new();

/// Makes the root file system, and a task that unpacks the initramfs into it. The task has a stack of its own: what it does takes long,
/// knows no await, and leaves its core to others meanwhile.
pub fn init(platform: &'static Platform) {
    let total = frames::total();
    let root = Tmpfs::new("rootfs", (total / 2 * PAGE_SIZE) as u64, (total / FRAMES_PER_INODE) as u64);
    let mount = Mount::detached(root, "rootfs");
    mount::set_root(&mount);
    let context = Arc::new(FsContext::new(Path::root_of(&mount)));
    memory_devices::register(log_line);
    facts::register();
    counters::register();
    procfs::register("net/unix", 0o444, Arc::new(unix::show));
    make_console(&context);
    let Ok(unpacking) = stackful(async move { unpack(platform, context) }) else {
        panic::give_up(format_args!("too little memory"))
    };
    Task::new("initramfs", unpacking).wake();
}

/// Waits for the root file system to be complete.
pub async fn root() -> Arc<FsContext> {
    uninterruptible(UNPACKED.wait_until(|| ROOT.get().cloned())).await
}

fn unpack(platform: &Platform, context: Arc<FsContext>) {
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
    let _ = ROOT.set(context);
    UNPACKED.wake_all();
}

/// What every root file system has before the initramfs is unpacked, so that the first program has a console.
fn make_console(context: &FsContext) {
    let credentials = Credentials::root();
    let caller = Caller::kernel(context, &credentials);
    let console = DeviceId::new(5, 1);
    let made = namespace::make(&caller, None, b"/dev", FileType::Directory, 0o755, DeviceId::default())
        .and_then(|_| namespace::make(&caller, None, b"/dev/console", FileType::CharDevice, 0o600, console))
        .and_then(|_| namespace::make(&caller, None, b"/root", FileType::Directory, 0o700, DeviceId::default()));
    if made.is_err() {
        panic::give_up(format_args!("too little memory"));
    }
}

/// Takes a line that a program wrote to `/dev/kmsg`.
fn log_line(line: &[u8]) {
    // A priority in front, as syslog(2) has it, is not shown.
    let text = match line.strip_prefix(b"<") {
        Some(rest) => rest.iter().position(|byte| *byte == b'>').and_then(|end| rest.get(end + 1..)).unwrap_or(line),
        None => line,
    };
    log::info!("{}", text.trim_ascii_end().escape_ascii());
}
