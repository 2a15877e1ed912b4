//! [`Page`]: a counted reference to one page frame.
//!
//! The last reference frees the frame. Page tables hold references too: a mapped page is one whose
//! reference was turned into an entry by [`Page::into_phys`]. Nothing here sleeps.
//!
//! Contents are shared memory: programs that map the page, and other cores, may change them at any time. So
//! they are only ever copied in and out, and no reference to them outlives a call.

use core::fmt;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU32, Ordering};

use super::address::{PAGE_SIZE, PhysAddr};
use super::frame::FLAG_INSTRUCTIONS_SYNCED;
use super::frames::{self, Need};
use crate::io::{IoSink, IoSource};
use crate::machine;
use crate::{Errno, Result};

/// A counted reference to one page frame of [`PAGE_SIZE`] bytes.
///
/// # Invariants
/// The frame is allocated, and this value stands for one unit of its reference count.
#[repr(transparent)]
pub struct Page(NonZeroU64);

impl Page {
    /// A page of zeros. `ENOMEM` when programs may take no more.
    #[inline]
    pub fn zeroed() -> Result<Self> {
        let page = Self::uninit()?;
        page.clear();
        Ok(page)
    }

    /// A page with the contents that its frame last had: the caller must overwrite it before any program sees it.
    /// `ENOMEM` when programs may take no more.
    #[inline]
    pub fn uninit() -> Result<Self> {
        frames::alloc(Need::User).and_then(Self::adopt).ok_or(Errno::ENOMEM)
    }

    /// A page of zeros for the kernel's own use: may dip into its reserve.
    pub fn for_kernel() -> Result<Self> {
        let page = frames::alloc(Need::Kernel).and_then(Self::adopt).ok_or(Errno::ENOMEM)?;
        page.clear();
        Ok(page)
    }

    fn adopt(address: PhysAddr) -> Option<Self> {
        NonZeroU64::new(address.0).map(Self)
    }

    /// A new page with the same contents.
    #[inline]
    pub fn duplicate(&self) -> Result<Self> {
        let copy = Self::uninit()?;
        // SAFETY: both pointers lead to whole frames; the new frame is nobody else's, so they do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(self.bytes(), copy.bytes(), PAGE_SIZE) };
        Ok(copy)
    }

    fn clear(&self) {
        // SAFETY: the frame was just allocated: nobody else knows it, and its bytes are writable memory.
        machine::zero_page(unsafe { &mut *self.bytes().cast::<[u8; PAGE_SIZE]>() });
    }

    /// The frame's physical address.
    #[must_use]
    #[inline]
    pub fn phys(&self) -> PhysAddr {
        PhysAddr(self.0.get())
    }

    /// Where the kernel sees the page: [`PAGE_SIZE`] bytes, valid as long as a reference to the page lives.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> *mut u8 {
        machine::phys_to_virt(self.0.get())
    }

    /// Turns the reference into a bare address, for a page-table entry; [`Page::from_phys`] takes it back.
    #[must_use]
    #[inline]
    pub fn into_phys(self) -> PhysAddr {
        let address = self.phys();
        core::mem::forget(self);
        address
    }

    /// The reference that [`Page::into_phys`] gave up.
    ///
    /// # Safety
    /// `address` must come from [`Page::into_phys`], once for each call.
    #[must_use]
    #[inline]
    pub unsafe fn from_phys(address: PhysAddr) -> Self {
        // SAFETY: the address of a page is never zero.
        Self(unsafe { NonZeroU64::new_unchecked(address.0) })
    }

    #[inline]
    fn count(&self) -> &'static AtomicU32 {
        frames::frame(self.phys()).count()
    }

    /// How many references there are, page-table entries included. A value of 1 is stable: it is the caller's own.
    #[must_use]
    #[inline]
    pub fn references(&self) -> u32 {
        self.count().load(Ordering::Acquire)
    }

    /// Copies from the page at `offset` into `bytes`; returns how many there were before the page's end.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> usize {
        let offset = offset.min(PAGE_SIZE);
        let length = bytes.len().min(PAGE_SIZE - offset);
        // SAFETY: the source stays within the frame, the destination within the slice; they are different memory.
        unsafe { core::ptr::copy_nonoverlapping(self.bytes().add(offset), bytes.as_mut_ptr(), length) };
        length
    }

    /// Copies `bytes` to the page at `offset`; returns how many there was room for before the page's end.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> usize {
        let offset = offset.min(PAGE_SIZE);
        let length = bytes.len().min(PAGE_SIZE - offset);
        // SAFETY: the destination stays within the frame, the source within the slice; they are different memory.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes().add(offset), length) };
        self.contents_changed();
        length
    }

    /// Fills `len` bytes at `offset` with zeros.
    pub fn zero(&self, offset: usize, len: usize) {
        let offset = offset.min(PAGE_SIZE);
        // SAFETY: the range stays within the frame.
        unsafe { core::ptr::write_bytes(self.bytes().add(offset), 0, len.min(PAGE_SIZE - offset)) };
        self.contents_changed();
    }

    /// Takes up to `len` bytes from `source` into the page at `offset`; returns how many came.
    pub fn fill_from(&self, source: &mut dyn IoSource, offset: usize, len: usize) -> usize {
        let offset = offset.min(PAGE_SIZE);
        let length = len.min(PAGE_SIZE - offset);
        // SAFETY: the slice stays within the frame, which the kernel touches through no other reference during the
        // call. (Programs may write it meanwhile, like any device: what is read is then either value.)
        let taken = source.take(unsafe { core::slice::from_raw_parts_mut(self.bytes().add(offset), length) });
        self.contents_changed();
        taken
    }

    /// Puts up to `len` bytes of the page at `offset` into `sink`; returns how many it took.
    pub fn copy_to(&self, sink: &mut dyn IoSink, offset: usize, len: usize) -> usize {
        let offset = offset.min(PAGE_SIZE);
        let length = len.min(PAGE_SIZE - offset);
        // SAFETY: the slice stays within the frame. (Programs may write it meanwhile, like any device.)
        sink.put(unsafe { core::slice::from_raw_parts(self.bytes().add(offset), length) })
    }

    /// To be called after the kernel wrote: a synchronisation that went on meanwhile may have missed some of it.
    #[inline]
    fn contents_changed(&self) {
        frames::frame(self.phys()).clear_flag(FLAG_INSTRUCTIONS_SYNCED);
    }

    /// Makes the contents executable: to be called before the page is mapped for execution. Cheap when repeated.
    ///
    /// Two cores may do it at once; either finds the flag only after the other's maintenance is complete on all cores.
    pub fn sync_instructions(&self) {
        let frame = frames::frame(self.phys());
        if !frame.has_flag(FLAG_INSTRUCTIONS_SYNCED) {
            machine::synchronise_instruction_cache(self.bytes(), PAGE_SIZE);
            frame.set_flag(FLAG_INSTRUCTIONS_SYNCED);
        }
    }
}

impl Clone for Page {
    #[inline]
    fn clone(&self) -> Self {
        // A reference already exists, so the count cannot reach zero meanwhile. It cannot overflow: each unit is a
        // page-table entry or a kernel object, both of which take memory.
        self.count().fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl Drop for Page {
    #[inline]
    fn drop(&mut self) {
        let count = self.count();
        // A count of one is ours: nobody else can raise it. That spares the atomic read-modify-write.
        if count.load(Ordering::Acquire) == 1 || count.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: this was the last reference, and page tables hold references until their TLB entries are gone.
            unsafe { frames::free(self.phys()) };
        }
    }
}

impl PartialEq for Page {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page at {:?}", self.phys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{SliceSink, SliceSource};

    #[test]
    fn a_recycled_page_is_zeroed_again() {
        let page = Page::zeroed().unwrap();
        assert_eq!(page.write(4090, b"longer than the rest"), 6);
        let address = page.phys();
        drop(page);
        // The frame cache is a stack, so this core gets the same frame back (unless another test runs on it).
        let again = Page::zeroed().unwrap();
        let mut bytes = [1; 6];
        assert_eq!(again.read(4090, &mut bytes), 6);
        assert_eq!(bytes, [0; 6], "at {address:?} and {again:?}");
    }

    #[test]
    fn references_are_counted_and_survive_a_page_table_entry() {
        let page = Page::zeroed().unwrap();
        let entry = page.clone().into_phys();
        assert_eq!(page.references(), 2);
        // SAFETY: given up two lines above.
        drop(unsafe { Page::from_phys(entry) });
        assert_eq!(page.references(), 1);
    }

    #[test]
    fn bytes_travel_through_sources_and_sinks_and_stop_at_the_end() {
        let page = Page::zeroed().unwrap();
        assert_eq!(page.fill_from(&mut SliceSource::new(b"hello, world"), 4091, 12), 5);
        let mut out = [0; 8];
        assert_eq!(page.copy_to(&mut SliceSink::new(&mut out), 4091, 8), 5);
        assert_eq!(&out, b"hello\0\0\0");
        assert_eq!(page.read(9999, &mut out), 0);
        let copy = page.duplicate().unwrap();
        page.zero(4091, 2);
        assert_eq!(copy.read(4091, &mut out), 5);
        assert_eq!(&out[..5], b"hello");
    }
}
