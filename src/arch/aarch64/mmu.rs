//! The MMU's root tables.

use core::arch::asm;

/// Makes `root` the root table of the kernel half on this core. It maps everything that is in use as before.
pub fn switch_kernel_root(root: u64) {
    // SAFETY: the new tables map the running code, its stack and its data at the same addresses. User translations were never
    // used yet, so everything may be dropped.
    unsafe {
        asm!(
            "dsb ish", "msr ttbr1_el1, {root}", "isb", "tlbi vmalle1", "dsb nsh", "isb",
            root = in(reg) root, options(nostack, preserves_flags),
        );
    }
}
