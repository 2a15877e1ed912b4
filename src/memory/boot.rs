//! Handing RAM to the frame allocator: all that the device tree names, without what it reserves, the image, the device tree, the
//! initramfs, and the allocator's own table.

use libkernel::memory::{KernelHeap, PhysAddr, Region, frames};
use libkernel::{Errno, Result};

use super::kernel_space::{self, LINEAR_BASE};
use crate::drivers::device_tree::Platform;

/// The first heap, in the image, until there are frames.
const BOOT_HEAP: usize = 128 << 10;
/// Less RAM than this is not worth a boot.
const MINIMUM: u64 = 64 << 20;

#[repr(align(4096))]
struct BootHeap(#[expect(dead_code, reason = "only its address is used")] [u8; BOOT_HEAP]);

static mut HEAP_REGION: BootHeap = BootHeap([0; BOOT_HEAP]);

#[global_allocator]
static HEAP: KernelHeap = KernelHeap;

/// Makes the kernel's heap usable. Once, before anything allocates.
pub fn start_heap() {
    // SAFETY: the region is in the image and used for nothing else; this is its only use.
    unsafe { KernelHeap::start((&raw mut HEAP_REGION).cast(), BOOT_HEAP) };
}

/// Starts the frame allocator.
///
/// # Errors
/// `ENOMEM`: there is too little RAM for the kernel and its initramfs. `E2BIG`: more of it is reserved than Lichen can keep in mind.
pub fn start_frames(platform: &Platform) -> Result<()> {
    if platform.reserved_left_out > 0 {
        return Err(Errno::E2BIG);
    }
    let regions = || platform.memory.iter().filter(|region| region.size > 0);
    let start = regions().map(|region| region.start).min().ok_or(Errno::ENOMEM)?;
    let end = regions().map(|region| region.end()).max().ok_or(Errno::ENOMEM)?;
    if regions().map(|region| region.size).sum::<u64>() < MINIMUM {
        return Err(Errno::ENOMEM);
    }
    let (image_start, image_end) = kernel_space::image_range();
    let image = Region { start: image_start, size: image_end - image_start };
    let used = platform.reserved.iter().map(|reserved| reserved.region);
    let used = used.chain([image, platform.tree, platform.initrd.unwrap_or_default()]);
    let table_size = frames::table_size(PhysAddr(start), PhysAddr(end)) as u64;
    let free = || regions().flat_map(|region| region.without(used.clone()));
    let room = free().find(|free| free.size >= table_size).ok_or(Errno::ENOMEM)?;
    let table = Region { size: table_size, ..room };

    // SAFETY: the room is RAM, mapped in the linear map, and reserved from here on.
    unsafe { frames::start(linear(table.start), PhysAddr(start), PhysAddr(end)) };
    for free in free().flat_map(|free| free.without(core::iter::once(table))) {
        // SAFETY: RAM in the linear map that overlaps nothing in use.
        unsafe { frames::release(PhysAddr(free.start), PhysAddr(free.end())) };
    }
    Ok(())
}

fn linear(physical: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut((physical + LINEAR_BASE) as usize)
}
