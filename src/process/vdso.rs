//! The vDSO in a program's memory: a page of clock data, and behind it the object.

use alloc::sync::Arc;

use libkernel::memory::{
    AddressSpace, Backing, MapRequest, PAGE_SIZE, Page, PageSource, Placement, Protection, VmaFlags,
};
use libkernel::sync::{SetOnce, SpinLock};
use libkernel::{Errno, Result, machine};

use crate::arch::vdso::{self, ClockData};
use crate::drivers::timer;

/// The data page, then the object's.
struct Pages([Page; 2]);

static PAGES: SetOnce<Arc<Pages>> = SetOnce::new();
static WRITER: SpinLock<()> = SpinLock::new(());

impl PageSource for Pages {
    fn page(&self, index: u64, write: bool) -> Result<Page> {
        if write {
            return Err(Errno::EACCES);
        }
        self.0.get(index as usize).cloned().ok_or(Errno::EIO)
    }

    fn size(&self) -> u64 {
        (self.0.len() * PAGE_SIZE) as u64
    }

    fn present_pages(&self, first: u64, pages: &mut [Option<Page>]) {
        for (slot, page) in pages.iter_mut().zip(self.0.iter().skip(first as usize)) {
            *slot = Some(page.clone());
        }
    }
}

/// Makes the pages. Once, before the first program starts and after the clock was set.
///
/// # Errors
/// `ENOMEM`.
pub fn init() -> Result<()> {
    let [data, object] = [Page::zeroed()?, Page::zeroed()?];
    object.write(0, vdso::image());
    machine::synchronise_instruction_cache(object.bytes(), PAGE_SIZE);
    let _ = PAGES.set(Arc::new(Pages([data, object])));
    update_clock();
    Ok(())
}

/// Brings the clock data up to date after the clock was set.
pub fn update_clock() {
    let Some(pages) = PAGES.get() else { return };
    let [data, _] = &pages.0;
    let _guard = WRITER.lock();
    // SAFETY: the page is the kernel's, zeroed at first, and holds nothing but this structure of atomics.
    let data = unsafe { &*data.bytes().cast::<ClockData>() };
    data.set(timer::start(), timer::scale(), machine::realtime_offset_ns());
}

/// Where the object lies in an address space: behind the data page, right above the program's mappings.
pub fn address(space: &AddressSpace) -> u64 {
    space.layout().map_top + PAGE_SIZE as u64
}

/// Where a signal handler returns to in an address space.
pub fn sigreturn_address(space: &AddressSpace) -> u64 {
    address(space) + vdso::sigreturn_offset()
}

/// Maps both into a new address space; returns where the object is, `None` without memory.
pub fn map(space: &AddressSpace) -> Option<u64> {
    let source: Arc<dyn PageSource> = PAGES.get()?.clone();
    let map = |address, offset, protection| {
        space.map(MapRequest {
            address,
            length: PAGE_SIZE as u64,
            protection,
            placement: Placement::Fixed,
            flags: VmaFlags::KERNEL | VmaFlags::NEVER_WRITE,
            backing: Some(Backing { source: source.clone(), name: None, writer: None }),
            offset,
            populate: true,
        })
    };
    let object = address(space);
    map(object - PAGE_SIZE as u64, 0, Protection::READ).ok()?;
    map(object, PAGE_SIZE as u64, Protection::READ | Protection::EXECUTE).ok()?;
    Some(object)
}
