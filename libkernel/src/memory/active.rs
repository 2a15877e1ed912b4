//! Which address space each core runs.
//!
//! A core keeps a reference to the address space that its hardware walks, so the tables cannot be freed under it; whoever ends
//! a program calls [`deactivate`] on the core where its last thread ran, or the memory stays until that core's next switch.

use alloc::sync::Arc;

use super::space::AddressSpace;
use crate::machine;
use crate::per_cpu;

per_cpu! {
    static ACTIVE: Option<Arc<AddressSpace>> = None;
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
    let previous = ACTIVE.with(|active| {
        if active.is_some() {
            machine::activate_address_space(0, 0);
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
        assert_eq!(host::active_address_space(), (0, 0));
    }
}
