//! Starting the other cores.

use core::sync::atomic::{AtomicU64, Ordering};

use libkernel::machine::MAX_CORES;
use libkernel::{Errno, Result};

use super::{cache, psci};
use crate::memory::kernel_space;

/// What a core finds when it arrives in `secondary_start`. The layout is known to `boot.s`.
#[repr(C, align(64))]
struct SecondaryStart {
    kernel_root: AtomicU64,
    stack_top: AtomicU64,
    core: AtomicU64,
}

static STARTS: [SecondaryStart; MAX_CORES] = [const {
    SecondaryStart { kernel_root: AtomicU64::new(0), stack_top: AtomicU64::new(0), core: AtomicU64::new(0) }
}; MAX_CORES];

unsafe extern "C" {
    fn secondary_start();
}

/// Starts core `core`, which has this affinity; it arrives in `secondary_main` on a stack of its own.
///
/// # Errors
/// `ENOMEM` without memory for its stack, `ENODEV` if the firmware refuses.
pub fn start_core(core: usize, affinity: u64) -> Result<()> {
    let start = STARTS.get(core).ok_or(Errno::EINVAL)?;
    start.kernel_root.store(kernel_space::root(), Ordering::Relaxed);
    start.stack_top.store(kernel_space::map_stack(core)?, Ordering::Relaxed);
    start.core.store(core as u64, Ordering::Relaxed);
    let address = core::ptr::from_ref(start) as u64;
    cache::clean_to_memory(address as usize, size_of::<SecondaryStart>());
    let entry = kernel_space::image_to_physical(secondary_start as *const () as u64);
    psci::start_core(affinity, entry, kernel_space::image_to_physical(address)).map_err(|_| Errno::ENODEV)
}
