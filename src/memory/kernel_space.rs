//! The kernel half of the address space: what is where, and building its map.
//!
//! | from | what |
//! |---|---|
//! | `0xffff_0000_0000_0000` | all RAM, at its physical address plus this, without what the device tree says must not be mapped |
//! | `0xffff_8000_0000_0000` | the kernel's image |
//! | `0xffff_8100_0000_0000` | device registers |
//! | `0xffff_8200_0000_0000` | the cores' stacks, each with a guard as large below it |
//! | `0xffff_8400_0000_0000` | tasks' own stacks, likewise; one bit of the address tells them from all other stacks |
//!
//! Nothing is writable and executable, not even through the linear map.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use libkernel::machine::MAX_CORES;
use libkernel::memory::descriptor::Attributes;
use libkernel::memory::kernel_map::{self, FrameTables, TableMemory};
use libkernel::memory::{PAGE_SIZE, Page, PhysAddr, frames};
use libkernel::sync::SpinLock;
use libkernel::{Errno, Result};

use crate::arch::{core_local, mmu, tlb};
use crate::drivers::device_tree::Platform;

/// Where physical address 0 is seen.
pub const LINEAR_BASE: u64 = 0xffff_0000_0000_0000;
/// Where the image is linked.
pub const IMAGE_BASE: u64 = 0xffff_8000_0000_0000;
/// Where device registers are mapped.
pub const DEVICE_WINDOW: u64 = 0xffff_8100_0000_0000;
/// Where the cores' stacks are mapped.
const STACK_WINDOW: u64 = 0xffff_8200_0000_0000;
/// Where tasks' own stacks are mapped.
pub const TASK_STACK_WINDOW: u64 = 0xffff_8400_0000_0000;
/// The bit of an address that no other stack has.
pub const TASK_STACK_BIT: u32 = 42;
/// Bytes of a kernel stack, and of the guard below it. `vectors.s` knows it: bit 16 of a good stack pointer is set.
pub const STACK_SIZE: u64 = 1 << 16;

/// Tables for the first map, before there is an allocator: the linear map's, and the image's.
const BOOT_TABLES: usize = 32;

#[repr(C, align(4096))]
struct Tables([[u64; 512]; BOOT_TABLES]);

static mut TABLES: Tables = Tables([[0; 512]; BOOT_TABLES]);
static TABLES_USED: AtomicUsize = AtomicUsize::new(0);
static ROOT: AtomicU64 = AtomicU64::new(0);
static LOAD_ADDRESS: AtomicU64 = AtomicU64::new(0);
/// Serialises changes of the kernel's map.
static MAP: SpinLock<()> = SpinLock::new(());

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __boot_stack_guard: u8;
    static __image_end: u8;
}

/// Takes tables from the pool in the image.
struct BootTables;

impl TableMemory for BootTables {
    fn allocate(&mut self) -> Option<PhysAddr> {
        let index = TABLES_USED.fetch_add(1, Ordering::Relaxed);
        (index < BOOT_TABLES).then(|| {
            let table = (&raw mut TABLES).cast::<[u64; 512]>().wrapping_add(index);
            PhysAddr(image_to_physical(table as u64))
        })
    }

    fn pointer(&self, table: PhysAddr) -> *mut u64 {
        let virt = table.0.wrapping_sub(LOAD_ADDRESS.load(Ordering::Relaxed)).wrapping_add(IMAGE_BASE);
        core::ptr::with_exposed_provenance_mut(virt as usize)
    }
}

/// Takes tables from the frame allocator, or from the pool until it runs; the linear map shows both.
struct KernelTables;

impl TableMemory for KernelTables {
    fn allocate(&mut self) -> Option<PhysAddr> {
        if frames::total() == 0 { BootTables.allocate() } else { FrameTables.allocate() }
    }

    fn pointer(&self, table: PhysAddr) -> *mut u64 {
        libkernel::machine::phys_to_virt(table.0).cast()
    }
}

/// The physical address of something in the image.
pub fn image_to_physical(address: u64) -> u64 {
    address.wrapping_sub(IMAGE_BASE).wrapping_add(LOAD_ADDRESS.load(Ordering::Relaxed))
}

/// The physical memory that the image takes: start, and end.
pub fn image_range() -> (u64, u64) {
    (LOAD_ADDRESS.load(Ordering::Relaxed), image_to_physical(&raw const __image_end as u64))
}

/// The kernel's root table.
pub fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// Builds the kernel's map and switches this core to it. Once, by the boot core; `load_address` is where the image is.
///
/// # Errors
/// `ENOMEM` if the pool of tables is too small for the machine's RAM.
pub fn init(platform: &Platform, load_address: u64) -> Result<()> {
    LOAD_ADDRESS.store(load_address, Ordering::Relaxed);
    let mut tables = BootTables;
    let root = tables.allocate().ok_or(Errno::ENOMEM)?;
    let page = PAGE_SIZE as u64;
    let mut map = |virt: u64, phys: u64, end: u64, attributes| {
        let start = phys.next_multiple_of(page);
        let end = end & !(page - 1);
        if start >= end {
            return Ok(());
        }
        // SAFETY: this core alone runs, and the tables under `root` are new.
        unsafe {
            kernel_map::map_range(&mut tables, root, virt + (start - phys), PhysAddr(start), end - start, attributes)
        }
    };

    let text = &raw const __text_start as u64;
    let text_end = &raw const __text_end as u64;
    let constants_end = &raw const __rodata_end as u64;
    let guard = &raw const __boot_stack_guard as u64;
    let end = &raw const __image_end as u64;
    let mut image =
        |from: u64, to: u64, attributes| map(from, image_to_physical(from), image_to_physical(to), attributes);
    image(text, text_end, Attributes::KERNEL_CODE)?;
    image(text_end, constants_end, Attributes::KERNEL_CONSTANTS)?;
    image(constants_end, guard, Attributes::KERNEL_DATA)?;
    image(guard + STACK_SIZE, end, Attributes::KERNEL_DATA)?;

    let (read_only, read_only_end) = (image_to_physical(text), image_to_physical(constants_end));
    let holes = platform.reserved.iter().filter(|reserved| reserved.unmapped).map(|reserved| reserved.region);
    for region in platform.memory.iter().flat_map(|region| region.without(holes.clone())) {
        let mut linear = |from: u64, to: u64, attributes| map(LINEAR_BASE + from, from, to, attributes);
        linear(region.start, region.end().min(read_only), Attributes::KERNEL_DATA)?;
        if region.start < read_only_end && read_only < region.end() {
            linear(read_only.max(region.start), read_only_end.min(region.end()), Attributes::KERNEL_CONSTANTS)?;
        }
        linear(region.start.max(read_only_end), region.end(), Attributes::KERNEL_DATA)?;
    }

    ROOT.store(root.0, Ordering::Relaxed);
    mmu::switch_kernel_root(root.0);
    Ok(())
}

/// Maps device registers.
///
/// # Errors
/// `ENOMEM` without memory for tables.
pub fn map_device(virt: u64, phys: u64, length: u64) -> Result<()> {
    let _guard = MAP.lock();
    // SAFETY: the kernel's own tables, changed under the lock.
    unsafe {
        kernel_map::map_range(&mut KernelTables, PhysAddr(root()), virt, PhysAddr(phys), length, Attributes::DEVICE)?
    };
    tlb::publish();
    Ok(())
}

/// Allocates and maps the stack of core `core`; returns its top.
///
/// # Errors
/// `ENOMEM`.
pub fn map_stack(core: usize) -> Result<u64> {
    map_stack_in(STACK_WINDOW, core)
}

/// Allocates and maps stack number `index` of a window; returns its top. The guard below it stays unmapped.
///
/// # Errors
/// `ENOMEM`; another attempt at the same number goes on where this one stopped.
pub fn map_stack_in(window: u64, index: usize) -> Result<u64> {
    let _guard = MAP.lock();
    let bottom = window + index as u64 * 2 * STACK_SIZE + STACK_SIZE;
    for offset in (0..STACK_SIZE).step_by(PAGE_SIZE) {
        let page = Page::for_kernel()?;
        let (virt, length) = (bottom + offset, PAGE_SIZE as u64);
        // SAFETY: as in `map_device`; the frame is new.
        match unsafe {
            kernel_map::map_range(
                &mut KernelTables,
                PhysAddr(root()),
                virt,
                page.phys(),
                length,
                Attributes::KERNEL_DATA,
            )
        } {
            Ok(()) => drop(page.into_phys()),
            Err(Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    tlb::publish();
    Ok(bottom + STACK_SIZE)
}

/// Whether the 16 bytes at `address` are on a mapped kernel stack.
pub fn is_stack(address: u64) -> bool {
    let boot_stack = (&raw const __boot_stack_guard as u64 + STACK_SIZE)..(&raw const __image_end as u64 - 15);
    let in_window = (STACK_WINDOW..STACK_WINDOW + MAX_CORES as u64 * 2 * STACK_SIZE).contains(&address);
    boot_stack.contains(&address)
        || in_window
            && address & STACK_SIZE != 0
            && (address - STACK_WINDOW) / (2 * STACK_SIZE) < crate::online_cores() as u64
        || super::task_stacks::contains(address)
        || core_local::is_emergency_stack(address)
}
