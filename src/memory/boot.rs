//! Handing RAM to the frame allocator: all that the device tree names, without the image, the device tree, the initramfs, and
//! the allocator's own table.

use libkernel::memory::{KernelHeap, PAGE_SIZE, PhysAddr, frames};
use libkernel::{Errno, Result};

use super::kernel_space::{self, LINEAR_BASE};
use crate::drivers::device_tree::{Platform, Region};

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
/// `ENOMEM`: there is too little RAM for the kernel and its initramfs.
pub fn start_frames(platform: &Platform) -> Result<()> {
    let regions = || platform.memory.iter().filter(|region| region.size > 0);
    let start = regions().map(|region| region.start).min().ok_or(Errno::ENOMEM)?;
    let end = regions().map(|region| region.end()).max().ok_or(Errno::ENOMEM)?;
    if regions().map(|region| region.size).sum::<u64>() < MINIMUM {
        return Err(Errno::ENOMEM);
    }
    let (image_start, image_end) = kernel_space::image_range();
    let table_size = frames::table_size(PhysAddr(start), PhysAddr(end)) as u64;
    let initrd = platform.initrd.unwrap_or_default();
    let mut reserved =
        [Region { start: image_start, size: image_end - image_start }, platform.tree, initrd, Region::default()];
    let table = find_room(platform, &reserved, table_size).ok_or(Errno::ENOMEM)?;
    reserved[3] = Region { start: table, size: table_size };

    // SAFETY: the room is RAM, mapped in the linear map, and reserved from here on.
    unsafe { frames::start(linear(table), PhysAddr(start), PhysAddr(end)) };
    for region in regions() {
        for free in without(*region, &reserved) {
            // SAFETY: RAM in the linear map that overlaps nothing in use.
            unsafe { frames::release(PhysAddr(free.start), PhysAddr(free.end())) };
        }
    }
    Ok(())
}

fn linear(physical: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut((physical + LINEAR_BASE) as usize)
}

/// The start of `size` free bytes.
fn find_room(platform: &Platform, reserved: &[Region], size: u64) -> Option<u64> {
    let regions = platform.memory.iter().filter(|region| region.size > 0);
    regions.flat_map(|region| without(*region, reserved)).find(|free| free.size >= size).map(|free| free.start)
}

/// The whole pages of `region` that none of `reserved` touches, in order.
fn without(region: Region, reserved: &[Region]) -> impl Iterator<Item = Region> {
    let page = PAGE_SIZE as u64;
    let mut next = region.start.next_multiple_of(page);
    let end = region.end() & !(page - 1);
    core::iter::from_fn(move || {
        while next < end {
            let from = next;
            if let Some(inside) = reserved.iter().find(|used| used.size > 0 && used.start <= from && from < used.end())
            {
                next = inside.end().next_multiple_of(page);
                continue;
            }
            let used = reserved.iter().filter(|used| used.size > 0 && used.start > from);
            let to = used.map(|used| used.start & !(page - 1)).min().unwrap_or(end).min(end);
            next = to.max(from + page);
            if to > from {
                return Some(Region { start: from, size: to - from });
            }
        }
        None
    })
}
