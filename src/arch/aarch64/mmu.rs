//! The MMU's root tables.

use core::arch::asm;

use crate::memory::kernel_space;

unsafe extern "C" {
    fn replace_kernel_root(root: u64);
}

/// Makes `root` the root table of the kernel half on this core, with interrupts masked and the identity map of the boot in place. It
/// maps everything that is in use as before.
pub fn switch_kernel_root(root: u64) {
    let entry = kernel_space::image_to_physical(replace_kernel_root as *const () as u64);
    // SAFETY: the function's code is in the identity map and touches no memory. The new tables, which the barrier shows to the walks,
    // map the running code, its stack and its data at the same addresses.
    unsafe {
        asm!(
            "dsb ishst", "blr {entry}",
            entry = in(reg) entry, in("x0") root, out("x1") _, out("x2") _, out("x30") _, options(nostack),
        );
    }
}
