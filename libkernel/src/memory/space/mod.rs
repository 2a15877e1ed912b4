//! [`AddressSpace`]: the memory of a program.
//!
//! It owns the program's mappings and page tables, under one spin lock of its own (never taken in interrupts, never held across an
//! await). Lock order: address space, then page source, then frame allocator. The hardware reads the tables without any
//! lock; whatever is taken out of them is freed only after all TLBs forgot it (see [`Gather`](super::gather)).
//!
//! Two threads that fault on one page take turns: the second finds the entry there and is done.

mod advise;
mod brk;
mod fault;
mod layout;
mod map;
#[cfg(test)]
mod model_tests;
mod remap;
mod remote;
mod report;
#[cfg(test)]
mod tests;

use alloc::sync::{Arc, Weak};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

pub use self::advise::Advice;
pub use self::fault::{Access, FaultSignal};
pub use self::layout::{LOWEST_ADDRESS, Layout, STACK_GUARD_GAP};
pub use self::map::{MapRequest, Placement};
pub use self::remap::Move;
pub use self::report::{Mapping, Usage};

use super::address::{PAGE_SHIFT, PhysAddr, USER_LIMIT};
use super::asid::Asids;
use super::frames;
use super::gather::{Gather, Pages};
use super::page_table::PageTable;
use super::vma::{Vma, VmaFlags};
use super::vma_map::VmaMap;
use crate::sync::SpinLock;
use crate::{Errno, Result};

static ASIDS: Asids = Asids::new();

/// The resource limits that govern memory, in bytes (`u64::MAX`: none). See getrlimit(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryLimits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`.
    pub data: u64,
    /// `RLIMIT_STACK`.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`.
    pub locked: u64,
}

impl MemoryLimits {
    /// What init starts with.
    pub const INITIAL: Self = Self { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, locked: 8 << 20 };
}

/// The memory of a program. See the module's comment.
pub struct AddressSpace {
    /// Itself, for the lists of the objects it maps.
    me: Weak<Self>,
    /// Generation and ASID; see [`Asids`].
    context: AtomicU64,
    root: PhysAddr,
    /// How many [`Tenant`](super::tenant::Tenant)s there are.
    pub(super) tenants: AtomicUsize,
    state: SpinLock<State>,
}

struct State {
    vmas: VmaMap,
    table: PageTable,
    layout: Layout,
    /// No page is free between this address and `layout.map_top`: searches for room start here.
    free_top: u64,
    limits: MemoryLimits,
    brk_start: u64,
    brk: u64,
    counts: Counts,
    resident: Pages,
    peak_resident: u64,
    /// Flags that new mappings get (`mlockall(MCL_FUTURE)`).
    future_flags: VmaFlags,
    /// Locking was last asked for with `CAP_IPC_LOCK`: the limit does not bind.
    unlimited_locks: bool,
}

/// Pages in mappings, resident or not.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts {
    total: u64,
    data: u64,
    locked: u64,
}

impl Counts {
    fn add(&mut self, vma: &Vma) {
        self.total += vma.pages();
        self.data += if vma.is_data() { vma.pages() } else { 0 };
        self.locked += if vma.flags.contains(VmaFlags::LOCKED) { vma.pages() } else { 0 };
    }

    fn remove(&mut self, vma: &Vma) {
        self.total -= vma.pages();
        self.data -= if vma.is_data() { vma.pages() } else { 0 };
        self.locked -= if vma.flags.contains(VmaFlags::LOCKED) { vma.pages() } else { 0 };
    }
}

impl State {
    fn add_resident(&mut self, pages: Pages) {
        self.resident.all += pages.all;
        self.resident.anonymous += pages.anonymous;
        self.peak_resident = self.peak_resident.max(self.resident.all);
    }

    fn remove_resident(&mut self, pages: Pages) {
        self.resident.all = self.resident.all.saturating_sub(pages.all);
        self.resident.anonymous = self.resident.anonymous.saturating_sub(pages.anonymous);
    }

    /// Takes the pages of `[start, end)` out of the tables.
    fn clear(&mut self, start: u64, end: u64, gather: &mut Gather<'_>) {
        self.clear_some(start, end, u64::MAX, gather);
    }

    /// Takes about `limit` pages of `[start, end)` out of the tables; returns the address reached.
    fn clear_some(&mut self, start: u64, end: u64, limit: u64, gather: &mut Gather<'_>) -> u64 {
        let before = gather.removed;
        let reached = self.table.clear_some(start, end, limit, gather);
        self.remove_resident(Pages {
            all: gather.removed.all - before.all,
            anonymous: gather.removed.anonymous - before.anonymous,
        });
        reached
    }
}

impl AddressSpace {
    /// An empty address space whose layout is drawn from `seed` (64 random bits). `ENOMEM`.
    pub fn new(seed: u64, limits: MemoryLimits) -> Result<Arc<Self>> {
        if frames::scarce() {
            return Err(Errno::ENOMEM);
        }
        let layout = Layout::new(seed, limits.stack);
        Ok(Self::with(State {
            vmas: VmaMap::new(),
            table: PageTable::new()?,
            layout,
            free_top: layout.map_top,
            limits,
            brk_start: 0,
            brk: 0,
            counts: Counts::default(),
            resident: Pages::default(),
            peak_resident: 0,
            future_flags: VmaFlags::empty(),
            unlimited_locks: false,
        }))
    }

    fn with(state: State) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            context: AtomicU64::new(0),
            root: state.table.root(),
            tenants: AtomicUsize::new(0),
            state: SpinLock::new(state),
        })
    }

    /// A copy for a forked process: private pages are shared until either side writes. `ENOMEM`.
    ///
    /// Takes time linear in the number of resident pages.
    pub fn fork(&self) -> Result<Arc<Self>> {
        if frames::scarce() {
            return Err(Errno::ENOMEM);
        }
        let table = PageTable::new()?;
        let mut parent = self.state.lock();
        let vmas = parent.vmas.try_clone(|vma| !vma.flags.contains(VmaFlags::DONT_FORK))?;
        let mut child = State {
            vmas,
            table,
            layout: parent.layout,
            // What is not inherited leaves holes.
            free_top: parent.layout.map_top,
            limits: parent.limits,
            brk_start: parent.brk_start,
            brk: parent.brk,
            counts: Counts::default(),
            resident: Pages::default(),
            peak_resident: 0,
            future_flags: VmaFlags::empty(),
            unlimited_locks: false,
        };
        // Locks are not inherited (mlock(2)).
        if parent.counts.locked > 0 {
            child.vmas.change_range(0, u64::MAX, |vma| vma.flags.remove(VmaFlags::LOCKED));
        }
        let mut gather = Gather::new(&self.context);
        let mut copied = Pages::default();
        for vma in child.vmas.iter() {
            child.counts.add(vma);
            if vma.flags.contains(VmaFlags::WIPE_ON_FORK) {
                continue;
            }
            let pages = parent.table.copy_range(&mut child.table, vma.start, vma.end, vma.is_private(), &mut gather)?;
            copied.all += pages.all;
            copied.anonymous += pages.anonymous;
        }
        drop(gather);
        drop(parent);
        child.add_resident(copied);
        let child = Self::with(child);
        child.note_mappings()?;
        Ok(child)
    }

    /// Has all mapped objects note this new address space, which nobody runs yet.
    fn note_mappings(&self) -> Result<()> {
        let mut reached = 0;
        let mut noted = None;
        loop {
            let next = self.state.lock().vmas.iter_from(reached).find(|vma| vma.backing.is_some()).cloned();
            let Some(vma) = next else { return Ok(()) };
            reached = vma.end;
            let Some(backing) = &vma.backing else { continue };
            let Some(mappings) = backing.source.mappings() else { continue };
            let identity = backing.identity();
            if noted.replace(identity) != Some(identity) {
                mappings.add(&self.me)?;
            }
            // The object may have shrunk between the copy and the note.
            let size = backing.source.size();
            if vma.offset_at(vma.end) > size {
                self.unmap_object(identity, size.div_ceil(1 << PAGE_SHIFT)..u64::MAX, true);
            }
        }
    }

    /// Unmaps the pages with these indices of the object with this identity; of private mappings also the copies, if `copies`.
    pub(super) fn unmap_object(&self, identity: usize, indices: Range<u64>, copies: bool) {
        let mut state = self.state.lock();
        let mut gather = Gather::new(&self.context);
        let State { vmas, table, resident, .. } = &mut *state;
        let mapped =
            vmas.iter().filter(|vma| vma.backing.as_ref().is_some_and(|backing| backing.identity() == identity));
        for vma in mapped {
            let first = vma.page_index(vma.start);
            let [from, to] = [indices.start, indices.end].map(|index| index.saturating_sub(first).min(vma.pages()));
            let (start, end) = (vma.start + (from << PAGE_SHIFT), vma.start + (to << PAGE_SHIFT));
            if copies || !vma.is_private() {
                table.clear(start, end, &mut gather);
            } else {
                table.clear_shared(start, end, &mut gather);
            }
        }
        resident.all = resident.all.saturating_sub(gather.removed.all);
        resident.anonymous = resident.anonymous.saturating_sub(gather.removed.anonymous);
    }

    /// Frees about `limit` pages of `[start, end)`, which is about to be unmapped or whose program has ended, and returns where to go on;
    /// `None` when nothing is left. So that freeing much memory can be done in steps, with other tasks in between.
    #[must_use]
    pub fn free_some(&self, start: u64, end: u64, limit: u64) -> Option<u64> {
        let mut state = self.state.lock();
        let mut gather = Gather::new(&self.context);
        let reached = state.clear_some(start, end.min(USER_LIMIT), limit, &mut gather);
        (reached < end.min(USER_LIMIT) && state.resident.all > 0).then_some(reached)
    }

    /// Whether several threads share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.tenants.load(Relaxed) > 1
    }

    /// Takes out all mappings and frees what they hold. Cores may still refer to the tables, so the TLBs are told.
    pub(super) fn evacuate(&self) {
        let mut state = self.state.lock();
        let mut gather = Gather::new(&self.context);
        state.clear(0, USER_LIMIT, &mut gather);
        drop(gather);
        state.counts = Counts::default();
        state.free_top = state.layout.map_top;
        let vmas = core::mem::replace(&mut state.vmas, VmaMap::new());
        drop(state);
        // The objects that were mapped may take locks of their own as they go.
        drop(vmas);
    }

    /// Pages that are present.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.state.lock().resident.all
    }

    /// The physical address of the root table.
    #[must_use]
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// The ASID under which this core may run the address space now. Interrupts are masked.
    #[inline]
    pub(super) fn asid(&self) -> u16 {
        ASIDS.activate(&self.context)
    }

    /// The fixed points of the layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.state.lock().layout
    }

    /// Takes over changed resource limits.
    pub fn set_limits(&self, limits: MemoryLimits) {
        self.state.lock().limits = limits;
    }

    /// What distinguishes this address space from all others alive: for private futexes.
    #[must_use]
    pub fn identity(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// The object and byte offset behind `address` if it is mapped shared, so that other address spaces may map it too; `None`
    /// for private memory. `EFAULT` where nothing is mapped. For shared futexes.
    pub fn shared_identity(&self, address: u64) -> Result<Option<(usize, u64)>> {
        let state = self.state.lock();
        let vma = state.vmas.find(address).ok_or(Errno::EFAULT)?;
        Ok(match &vma.backing {
            Some(backing) if !vma.is_private() => Some((backing.identity(), vma.offset_at(address))),
            _ => None,
        })
    }

    /// Pages of translation tables.
    #[must_use]
    pub fn table_pages(&self) -> usize {
        self.state.lock().table.tables()
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        // No core runs it and its ASID is not used again before all TLBs are invalidated: nothing to invalidate.
        let state = self.state.get_mut();
        let mut gather = Gather::dead();
        for vma in state.vmas.iter() {
            state.table.clear(vma.start, vma.end, &mut gather);
        }
    }
}

const fn pages(bytes: u64) -> u64 {
    bytes >> PAGE_SHIFT
}

/// The context's current value, for tests and traces.
impl core::fmt::Debug for AddressSpace {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "address space with tables at {:?}, context {:#x}", self.root, self.context.load(Relaxed))
    }
}
