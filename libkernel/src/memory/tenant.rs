//! [`Tenant`]: a thread's hold on its address space.
//!
//! The mappings and their pages live as long as a tenant does. Others only refer to the address space ([`Arc`]): cores that ran it
//! last and have had nothing to run since, and those that look at another program's memory. They keep its page tables from being
//! freed under them, not its pages: a program that has ended gives its memory back at once, wherever its threads once ran.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::ops::Deref;
use core::sync::atomic::{Ordering::AcqRel, Ordering::Relaxed};

use super::space::AddressSpace;

/// See the module's comment. Cloned for each thread that shares the memory.
pub struct Tenant(Arc<AddressSpace>);

impl Tenant {
    /// The first tenant of `space`, or one more.
    #[must_use]
    pub fn new(space: Arc<AddressSpace>) -> Self {
        space.tenants.fetch_add(1, Relaxed);
        Self(space)
    }
}

impl Clone for Tenant {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Deref for Tenant {
    type Target = Arc<AddressSpace>;

    #[inline]
    fn deref(&self) -> &Arc<AddressSpace> {
        &self.0
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        // With no other reference the address space goes as a whole, which needs no invalidation of TLBs.
        if self.0.tenants.fetch_sub(1, AcqRel) == 1 && Arc::strong_count(&self.0) > 1 {
            self.0.evacuate();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host;
    use crate::memory::{self, MapRequest, MemoryLimits, Protection};

    fn inhabited() -> Tenant {
        let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
        let at = space.map(MapRequest::anonymous(8 << 12, Protection::READ | Protection::WRITE)).unwrap();
        assert_eq!(space.write_remote(at.0, &[1; 8 << 12]).unwrap(), 8 << 12);
        assert_eq!(space.resident(), 8);
        Tenant::new(space)
    }

    #[test]
    fn the_last_to_leave_frees_the_pages_though_a_core_still_refers_to_the_tables() {
        host::become_core(28);
        let first = inhabited();
        memory::activate(&first);
        let second = first.clone();
        let space = Arc::clone(&first);
        assert!(space.is_shared());
        drop(first);
        assert_eq!((space.resident(), space.is_shared()), (8, false));
        let before = host::invalidations();
        drop(second);
        assert_eq!(space.resident(), 0);
        assert!(host::invalidations() > before, "the core may still hold translations");
        assert!(space.map(MapRequest::anonymous(4096, Protection::READ)).is_ok(), "empty, but whole");
        memory::deactivate();
    }

    #[test]
    fn with_nobody_else_referring_to_it_all_goes() {
        let tenant = inhabited();
        let space = Arc::downgrade(&tenant);
        drop(tenant);
        assert!(space.upgrade().is_none());
    }
}
