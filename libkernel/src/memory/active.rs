//! Which address space each core runs.
//!
//! A core keeps a reference to the address space that its hardware walks, so the tables cannot be freed under it, until its next
//! switch to another program: also while it has nothing to run. The pages go with the last [`Tenant`](super::tenant::Tenant).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::address::PhysAddr;
use super::page::Page;
use super::space::AddressSpace;
use crate::machine;
use crate::per_cpu;

per_cpu! {
    static ACTIVE: Option<Arc<AddressSpace>> = None;
}

/// The root table that maps nothing, for cores that run no program: the hardware may walk it at any time. 0 until needed.
static EMPTY: AtomicU64 = AtomicU64::new(0);

fn empty_root() -> u64 {
    match EMPTY.load(Relaxed) {
        0 => {
            let Ok(root) = Page::for_kernel().map(Page::into_phys) else { return 0 };
            match EMPTY.compare_exchange(0, root.0, Relaxed, Relaxed) {
                Ok(_) => root.0,
                Err(first) => {
                    // SAFETY: given up just above, and used by nobody.
                    drop(unsafe { Page::from_phys(PhysAddr(root.0)) });
                    first
                }
            }
        }
        root => root,
    }
}

/// Makes this core run `space`. Cheap when it does already.
#[inline]
pub fn activate(space: &Arc<AddressSpace>) {
    let previous = ACTIVE.with(|active| {
        if active.as_ref().is_some_and(|active| Arc::ptr_eq(active, space)) {
            return None;
        }
        machine::activate_address_space(space.root().0, space.asid());
        active.replace(Arc::clone(space))
    });
    // Its end may take long: not with interrupts masked.
    drop(previous);
}

/// Makes this core run no program's address space, and gives up its reference.
pub fn deactivate() {
    let root = empty_root();
    let previous = ACTIVE.with(|active| {
        if active.is_some() {
            machine::activate_address_space(root, 0);
        }
        active.take()
    });
    drop(previous);
}

/// The address space that this core runs.
#[must_use]
pub fn active() -> Option<Arc<AddressSpace>> {
    ACTIVE.with(|active| active.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host;
    use crate::memory::MemoryLimits;

    #[test]
    fn a_core_holds_what_it_runs_until_told_otherwise() {
        host::become_core(29);
        let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
        activate(&space);
        activate(&space);
        assert_eq!(Arc::strong_count(&space), 2);
        let (root, asid) = host::active_address_space();
        assert!(root == space.root().0 && asid != 0);
        deactivate();
        assert_eq!(Arc::strong_count(&space), 1);
        let (empty, asid) = host::active_address_space();
        assert!(empty != space.root().0 && asid == 0);
    }
}
