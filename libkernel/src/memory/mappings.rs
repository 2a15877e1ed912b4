//! [`Mappings`]: which address spaces map an object, so that pages can be taken away from them when it shrinks.
//!
//! Lock order: this list, then an address space, then the object's own locks. So the list is never touched with an address space
//! locked, and an object calls [`Mappings::unmap_beyond`] with none of its locks held.
#![forbid(unsafe_code)]

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;

use super::address::PAGE_SIZE;
use super::space::AddressSpace;
use crate::sync::SpinLock;
use crate::{Errno, Result};

/// The address spaces that map, or mapped, one object.
#[derive(Default)]
pub struct Mappings {
    spaces: SpinLock<Vec<Weak<AddressSpace>>>,
}

impl Mappings {
    /// Mapped nowhere.
    #[must_use]
    pub const fn new() -> Self {
        Self { spaces: SpinLock::new(Vec::new()) }
    }

    /// Notes an address space; twice is harmless. `ENOMEM`.
    pub(super) fn add(&self, space: &Weak<AddressSpace>) -> Result<()> {
        let mut spaces = self.spaces.lock();
        if spaces.len() == spaces.capacity() {
            // Before growing, forget those that are gone, and repetitions.
            spaces.retain(|space| space.strong_count() > 0);
            spaces.sort_unstable_by_key(|space| space.as_ptr().addr());
            spaces.dedup_by(|a, b| a.ptr_eq(b));
            if spaces.len() * 2 > spaces.capacity() {
                let more = spaces.len().max(4);
                spaces.try_reserve_exact(more).map_err(|_| Errno::ENOMEM)?;
            }
        }
        spaces.push(space.clone());
        Ok(())
    }

    /// Unmaps everywhere what lies beyond `size` bytes of `object`, whose list this is: its next touch is `SIGBUS`. To be called after
    /// the object's size was set, with none of its locks held.
    pub fn unmap_beyond<T: ?Sized>(&self, object: &T, size: u64) {
        self.unmap(object, size.div_ceil(PAGE_SIZE as u64)..u64::MAX, true);
    }

    /// Unmaps everywhere the pages of `object`, whose list this is, with these indices; the next touch asks the object again. Copies
    /// that private mappings have made stay. To be called after the object gave them up, with none of its locks held.
    pub fn unmap_pages<T: ?Sized>(&self, object: &T, pages: Range<u64>) {
        self.unmap(object, pages, false);
    }

    fn unmap<T: ?Sized>(&self, object: &T, pages: Range<u64>, copies: bool) {
        let identity = core::ptr::from_ref(object).cast::<()>().addr();
        let spaces = self.spaces.lock();
        for space in spaces.iter().filter_map(Weak::upgrade) {
            space.unmap_object(identity, pages.clone(), copies);
            // Not the last reference, or its end frees nothing of this object: the caller holds that.
            drop::<Arc<_>>(space);
        }
    }
}
