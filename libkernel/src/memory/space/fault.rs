//! Page faults: making a page present, copying it on write, growing the stack; or the signal that tells the program.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use linux_raw_sys::general as linux;

use super::layout::{LOWEST_ADDRESS, STACK_GUARD_GAP};
use super::{AddressSpace, State};
use crate::Errno;
use crate::machine;
use crate::memory::address::{PAGE_SHIFT, PAGE_SIZE, USER_LIMIT, VirtAddr, page_floor};
use crate::memory::descriptor::{Descriptor, PageAccess};
use crate::memory::gather::Pages;
use crate::memory::page::Page;
use crate::memory::page_table::LEAF_SPAN;
use crate::memory::vma::{Backing, Protection, Vma, VmaFlags};

/// Pages around a fault on a file that are mapped with it if they are at hand.
const AROUND: u64 = 16;

/// What was attempted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// The signal that a fault ends in, as `siginfo_t` wants it (sigaction(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultSignal {
    /// `SIGSEGV`, `SIGBUS`; or `SIGKILL` when there is no memory left to go on.
    pub signal: u32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: VirtAddr,
}

impl FaultSignal {
    fn unmapped(address: u64) -> Self {
        Self { signal: linux::SIGSEGV, code: linux::SEGV_MAPERR as i32, address: VirtAddr(address) }
    }

    fn forbidden(address: u64) -> Self {
        Self { signal: linux::SIGSEGV, code: linux::SEGV_ACCERR as i32, address: VirtAddr(address) }
    }

    fn no_object(address: u64) -> Self {
        Self { signal: linux::SIGBUS, code: linux::BUS_ADRERR as i32, address: VirtAddr(address) }
    }

    fn out_of_memory(address: u64) -> Self {
        Self { signal: linux::SIGKILL, code: linux::SI_KERNEL as i32, address: VirtAddr(address) }
    }

    fn from_source(error: Errno, address: u64) -> Self {
        if error == Errno::ENOMEM { Self::out_of_memory(address) } else { Self::no_object(address) }
    }
}

type Outcome = core::result::Result<(), FaultSignal>;

impl AddressSpace {
    /// Makes `address` accessible in the way that just faulted; after `Ok` the access is to be tried again.
    ///
    /// Does not sleep. Another thread may have resolved the same fault meanwhile: that is success too.
    pub fn fault(&self, address: VirtAddr, access: Access) -> Outcome {
        let address = address.untagged().0;
        if address >= USER_LIMIT {
            return Err(FaultSignal::unmapped(address));
        }
        self.state.lock().fault(&self.context, address, access)
    }
}

impl State {
    pub(super) fn fault(&mut self, context: &AtomicU64, address: u64, access: Access) -> Outcome {
        let page = page_floor(address);
        if self.vmas.find(address).is_none() {
            self.grow_stack(address)?;
        }
        let Some(vma) = self.vmas.find(address) else { return Err(FaultSignal::unmapped(address)) };
        let permitted = match access {
            Access::Read => !vma.protection.is_empty(),
            Access::Write => vma.protection.contains(Protection::WRITE),
            Access::Execute => vma.protection.contains(Protection::EXECUTE),
        };
        if !permitted {
            return Err(FaultSignal::forbidden(address));
        }
        let entry = self.table.get(page);
        let change = Change { context, page, address };
        if entry.is_empty() {
            match vma.backing.clone() {
                None => self.map_anonymous(change, vma.access()),
                Some(backing) => {
                    let vma = vma.clone();
                    self.map_from_source(change, &vma, &backing, access)
                }
            }
        } else if access == Access::Write && !entry.access().write {
            if vma.is_private() {
                let allowed = vma.access();
                self.copy_on_write(change, entry, allowed)
            } else {
                let vma = vma.clone();
                self.write_shared(change, entry, &vma)
            }
        } else {
            // Resolved by another thread, or an entry that this core's TLB had not seen yet.
            machine::publish_page_table();
            Ok(())
        }
    }

    /// Zero-filled memory on first touch.
    fn map_anonymous(&mut self, change: Change<'_>, access: PageAccess) -> Outcome {
        let out_of_memory = |_| FaultSignal::out_of_memory(change.address);
        self.table.prepare(change.page).map_err(out_of_memory)?;
        let page = Page::zeroed().map_err(out_of_memory)?;
        self.install(change.page, page, access, true);
        Ok(())
    }

    /// Puts `page` where nothing is mapped, and the table exists.
    fn install(&mut self, at: u64, page: Page, access: PageAccess, anonymous: bool) {
        if access.execute {
            page.sync_instructions();
        }
        self.table.map(at, page, access, anonymous);
        machine::publish_page_table();
        self.add_resident(Pages { all: 1, anonymous: u64::from(anonymous) });
    }

    /// The first touch of a page of a mapped object.
    fn map_from_source(&mut self, change: Change<'_>, vma: &Vma, backing: &Backing, access: Access) -> Outcome {
        let index = vma.page_index(change.page);
        if index.checked_shl(PAGE_SHIFT).is_none_or(|start| start >= backing.source.size()) {
            return Err(FaultSignal::no_object(change.address));
        }
        let write = access == Access::Write;
        let failed = |error| FaultSignal::from_source(error, change.address);
        let page = backing.source.page(index, write && !vma.is_private()).map_err(failed)?;
        self.table.prepare(change.page).map_err(failed)?;
        if !write {
            let allowed = PageAccess { write: false, ..vma.access() };
            self.install(change.page, page, allowed, false);
            self.map_around(change.page, vma, backing, allowed);
        } else if vma.is_private() {
            let copy = page.duplicate().map_err(failed)?;
            self.install(change.page, copy, vma.access(), true);
        } else {
            self.install(change.page, page, vma.access(), false);
        }
        Ok(())
    }

    /// Maps, read-only, what the object has at hand around `page`: within the mapping, its size and one table.
    fn map_around(&mut self, page: u64, vma: &Vma, backing: &Backing, access: PageAccess) {
        const SPAN: u64 = AROUND * PAGE_SIZE as u64;
        const _: () = assert!(LEAF_SPAN.is_multiple_of(SPAN));
        let start = (page & !(SPAN - 1)).max(vma.start);
        let end = ((page & !(SPAN - 1)) + SPAN).min(vma.end);
        let first = vma.page_index(start);
        let in_object = backing.source.size().div_ceil(PAGE_SIZE as u64).saturating_sub(first);
        let count = ((end - start) >> PAGE_SHIFT).min(in_object) as usize;
        let mut pages = [const { None }; AROUND as usize];
        let Some(pages) = pages.get_mut(..count) else { return };
        backing.source.present_pages(first, pages);
        if access.execute {
            pages.iter().flatten().for_each(Page::sync_instructions);
        }
        if let Ok(mapped) = self.table.fill(start, pages, |frame| Descriptor::user(frame, access, false)) {
            machine::publish_page_table();
            self.add_resident(Pages { all: mapped, anonymous: 0 });
        }
    }

    /// A write to a private page that may be shared with others: with a file, or since a fork.
    fn copy_on_write(&mut self, change: Change<'_>, entry: Descriptor, access: PageAccess) -> Outcome {
        let Some(page) = self.table.page(change.page) else { return Ok(()) };
        // One reference is the entry's, one is the line above's; if there is no third, nobody can make one.
        if entry.is_anonymous() && page.references() == 2 {
            self.table.protect(change.page, access);
            change.invalidate();
            return Ok(());
        }
        let copy = page.duplicate().map_err(|_| FaultSignal::out_of_memory(change.address))?;
        drop(page);
        self.replace(change, copy, access, true);
        self.resident.anonymous += u64::from(!entry.is_anonymous());
        Ok(())
    }

    /// The first write to a page of a shared mapping: the object learns that it gets dirty.
    fn write_shared(&mut self, change: Change<'_>, entry: Descriptor, vma: &Vma) -> Outcome {
        let Some(backing) = &vma.backing else { return Err(FaultSignal::no_object(change.address)) };
        let index = vma.page_index(change.page);
        if index.checked_shl(PAGE_SHIFT).is_none_or(|start| start >= backing.source.size()) {
            return Err(FaultSignal::no_object(change.address));
        }
        let page = backing.source.page(index, true).map_err(|error| FaultSignal::from_source(error, change.address))?;
        if page.phys() == entry.address() {
            self.table.protect(change.page, vma.access());
            change.invalidate();
        } else {
            self.replace(change, page, vma.access(), false);
        }
        Ok(())
    }

    /// Replaces the page that is mapped by another: break, invalidate, make (ARM ARM D8.14.1).
    fn replace(&mut self, change: Change<'_>, page: Page, access: PageAccess, anonymous: bool) {
        if access.execute {
            page.sync_instructions();
        }
        let old = self.table.take(change.page);
        change.invalidate();
        self.table.map(change.page, page, access, anonymous);
        machine::publish_page_table();
        drop(old);
    }

    /// Extends a stack down to `address`, if that lies below one and within its limits.
    fn grow_stack(&mut self, address: u64) -> Outcome {
        let unmapped = FaultSignal::unmapped(address);
        let Some(stack) = self.vmas.iter_from(address).next() else { return Err(unmapped) };
        if !stack.flags.contains(VmaFlags::GROWS_DOWN) {
            return Err(unmapped);
        }
        let (start, new_start) = (stack.start, page_floor(address));
        let growth = super::pages(start - new_start);
        let total = (self.counts.total + growth) << PAGE_SHIFT;
        let locked = if stack.flags.contains(VmaFlags::LOCKED) { growth } else { 0 };
        if new_start < LOWEST_ADDRESS
            || stack.end - new_start > self.limits.stack
            || total > self.limits.address_space
            || locked > 0 && !self.may_lock(locked)
        {
            return Err(unmapped);
        }
        if let Some(below) = self.vmas.find_below(start)
            && !below.protection.is_empty()
            && new_start < below.end.saturating_add(STACK_GUARD_GAP)
        {
            return Err(unmapped);
        }
        if self.vmas.find_below(start).is_some_and(|below| below.end > new_start) {
            return Err(unmapped);
        }
        self.vmas.extend_down(start, new_start);
        self.counts.total += growth;
        self.counts.locked += locked;
        Ok(())
    }
}

/// Where a fault is being resolved.
#[derive(Clone, Copy)]
struct Change<'a> {
    context: &'a AtomicU64,
    page: u64,
    address: u64,
}

impl Change<'_> {
    /// Publishes the page's entry and makes all cores forget the old one.
    fn invalidate(&self) {
        machine::publish_page_table();
        let asid = self.context.load(Relaxed) as u16;
        if asid != 0 {
            machine::invalidate_user_range(asid, self.page as usize, 1);
        }
    }
}
