//! Mapping of device registers into the kernel's device window.

use core::sync::atomic::{AtomicU64, Ordering};

use libkernel::memory::{PAGE_SIZE, Region};
use libkernel::{Errno, Result};

use crate::memory::kernel_space;

static NEXT: AtomicU64 = AtomicU64::new(kernel_space::DEVICE_WINDOW);

/// Maps a device's registers, for good.
///
/// # Errors
/// `EINVAL` for an empty frame, `ENOMEM` without memory for translation tables.
pub fn map(region: Region) -> Result<*mut u8> {
    let page = PAGE_SIZE as u64;
    let start = region.start & !(page - 1);
    let length = region.end().checked_next_multiple_of(page).ok_or(Errno::EINVAL)? - start;
    if region.size == 0 {
        return Err(Errno::EINVAL);
    }
    let virt = NEXT.fetch_add(length + page, Ordering::Relaxed);
    kernel_space::map_device(virt, start, length)?;
    Ok(core::ptr::with_exposed_provenance_mut((virt + (region.start - start)) as usize))
}
