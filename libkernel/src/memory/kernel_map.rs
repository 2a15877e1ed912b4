//! Builds the kernel's own translation tables, with the largest blocks that fit.
//!
//! Used while booting (before the frame allocator runs) and for device registers later. It only adds entries;
//! making them visible to the walkers, and switching to the tables, is the caller's part.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::address::{PAGE_SIZE, PhysAddr};
use super::descriptor::{Attributes, Descriptor};
use crate::{Errno, Result};

/// Entries of a translation table.
pub const TABLE_ENTRIES: usize = 512;

/// Where the tables of a kernel map live, and how they are reached at this point of the boot.
pub trait TableMemory {
    /// A zeroed frame for a new table; `None` when there is none.
    fn allocate(&mut self) -> Option<PhysAddr>;

    /// Where the table at this address is visible, mapped or identity, to the running code.
    fn pointer(&self, table: PhysAddr) -> *mut u64;
}

/// Maps `length` bytes at `virt` to `phys` with `attributes` in the tables under `root`.
///
/// All three numbers are multiples of the page size. 1 GiB and 2 MiB blocks are used wherever both addresses are
/// aligned to them. `EINVAL`: not aligned. `EEXIST`: something is mapped there already (the part before it
/// stays mapped). `ENOMEM`: no frame for a table.
///
/// # Safety
/// `root` and all tables under it must be this map's own, reachable through [`TableMemory::pointer`] and changed by
/// nobody else meanwhile.
pub unsafe fn map_range(
    memory: &mut dyn TableMemory,
    root: PhysAddr,
    virt: u64,
    phys: PhysAddr,
    length: u64,
    attributes: Attributes,
) -> Result<()> {
    if (virt | phys.0 | length) & (PAGE_SIZE as u64 - 1) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut done = 0;
    while done < length {
        let (virt, phys) = (virt.wrapping_add(done), phys.add(done));
        let level = (1..3)
            .find(|&level| (virt | phys.0) & (entry_size(level) - 1) == 0 && length - done >= entry_size(level))
            .unwrap_or(3);
        // SAFETY: as the caller promises.
        let entry = unsafe { entry_at(memory, root, virt, level)? };
        if !Descriptor(entry.load(Relaxed)).is_empty() {
            return Err(Errno::EEXIST);
        }
        entry.store(Descriptor::kernel(phys, attributes, level).0, Relaxed);
        done += entry_size(level);
    }
    Ok(())
}

/// Bytes that one entry of a table of `level` (0 to 3) covers.
#[must_use]
pub const fn entry_size(level: u32) -> u64 {
    1 << (12 + 9 * (3 - level))
}

/// Index of the entry of a `level` table that translates `virt`.
#[must_use]
pub const fn entry_index(virt: u64, level: u32) -> usize {
    (virt >> (12 + 9 * (3 - level))) as usize % TABLE_ENTRIES
}

/// The entry for `virt` at `level`, with the tables above it made as needed.
///
/// # Safety
/// As for [`map_range`].
unsafe fn entry_at(memory: &mut dyn TableMemory, root: PhysAddr, virt: u64, level: u32) -> Result<&'static AtomicU64> {
    let mut table = root;
    for above in 0..=level {
        // SAFETY: the pointer leads to a table of 512 entries, which lives as long as the kernel runs.
        let entry = unsafe { AtomicU64::from_ptr(memory.pointer(table).add(entry_index(virt, above))) };
        if above == level {
            return Ok(entry);
        }
        let found = Descriptor(entry.load(Relaxed));
        table = if found.is_table() {
            found.address()
        } else if found.is_empty() {
            let new = memory.allocate().ok_or(Errno::ENOMEM)?;
            entry.store(Descriptor::table(new).0, Relaxed);
            new
        } else {
            return Err(Errno::EEXIST);
        };
    }
    Err(Errno::EINVAL)
}

/// The kernel's tables once the frame allocator and the linear map are there.
pub struct FrameTables;

impl TableMemory for FrameTables {
    fn allocate(&mut self) -> Option<PhysAddr> {
        super::Page::for_kernel().ok().map(super::Page::into_phys)
    }

    fn pointer(&self, table: PhysAddr) -> *mut u64 {
        crate::machine::phys_to_virt(table.0).cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Page;

    fn translate(root: PhysAddr, virt: u64) -> Option<(PhysAddr, u32)> {
        let mut table = root;
        for level in 0..4 {
            // SAFETY: the test's own tables.
            let entry = unsafe { FrameTables.pointer(table).add(entry_index(virt, level)).read() };
            let entry = Descriptor(entry);
            if entry.is_empty() {
                return None;
            }
            if level == 3 || !entry.is_table() {
                return Some((entry.address().add(virt % entry_size(level)), level));
            }
            table = entry.address();
        }
        None
    }

    #[test]
    fn the_largest_blocks_that_fit_are_used() {
        let root = Page::for_kernel().unwrap().into_phys();
        let (virt, phys) = (0xffff_8000_3fe0_1000, PhysAddr(0x3fe0_1000));
        // 511 pages to the next 2 MiB boundary (which is a GiB boundary too), 1 GiB, 2 MiB, one page.
        let length = 511 * 0x1000 + (1 << 30) + (1 << 21) + 0x1000;
        // SAFETY: the test's own table.
        unsafe { map_range(&mut FrameTables, root, virt, phys, length, Attributes::KERNEL_DATA).unwrap() };
        assert_eq!(translate(root, virt - 1), None);
        assert_eq!(translate(root, virt), Some((phys, 3)));
        let at = |offset: u64| translate(root, 0xffff_8000_4000_0000 + offset);
        assert_eq!(at(0x123_4567), Some((PhysAddr(0x4123_4567), 1)));
        assert_eq!(at((1 << 30) + 5), Some((PhysAddr(0x8000_0005), 2)));
        assert_eq!(at((1 << 30) + (1 << 21)), Some((PhysAddr(0x8020_0000), 3)));
        assert_eq!(at((1 << 30) + (1 << 21) + 0x1000), None);
    }

    #[test]
    fn what_is_mapped_is_not_replaced() {
        let root = Page::for_kernel().unwrap().into_phys();
        // SAFETY: the test's own table.
        unsafe {
            let map = |virt, len| map_range(&mut FrameTables, root, virt, PhysAddr(0), len, Attributes::DEVICE);
            assert_eq!(map(0x20_0000, 0x20_0000), Ok(()));
            assert_eq!(map(0x20_1000, 0x1000), Err(Errno::EEXIST));
            assert_eq!(map(0x40_0000, 0x800), Err(Errno::EINVAL));
        }
    }
}
