//! `/proc`: processes, and what the kernel tells of itself (proc(5)).
//!
//! A directory below `/proc` holds a counted reference to its process, so it can be read while the process ends; what is gone by
//! then reads as `ESRCH`. Walking all processes takes each core's locks one at a time and for a moment. Nothing here sleeps.
#![forbid(unsafe_code)]

mod descriptors;
mod mounts;
mod process;
mod processors;
mod root;
mod scheduling;
mod status;
mod sysctl;
mod system;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::inode::FileSystem;
use super::kernel_fs::KernelFs;
use super::virtual_fs::{self, Source};
use crate::sync::{SetOnce, SpinLock};

pub(crate) use processors::count_birth;
pub use processors::{load_averages, set_interrupt_count};

const MAGIC: u64 = 0x9fa0;

static FILE_SYSTEM: SetOnce<Arc<KernelFs>> = SetOnce::new();

/// Files of `/proc` itself that other parts of the kernel provide, with their permissions.
static REGISTERED: SpinLock<BTreeMap<&'static str, (u32, Arc<dyn Source>)>> = SpinLock::new(BTreeMap::new());

/// Makes `/proc/NAME` a file with the text of `source`. The name may have one folder before it.
pub fn register(name: &'static str, mode: u32, source: Arc<dyn Source>) {
    REGISTERED.lock().insert(name, (mode, source));
}

/// The one procfs.
#[must_use]
pub fn file_system() -> Arc<dyn FileSystem> {
    if FILE_SYSTEM.get().is_none() {
        // Whoever was first made the one that counts.
        let _ = FILE_SYSTEM.set(virtual_fs::file_system("proc", MAGIC, root::Root));
    }
    match FILE_SYSTEM.get() {
        Some(file_system) => file_system.clone(),
        None => virtual_fs::file_system("proc", MAGIC, root::Root),
    }
}
