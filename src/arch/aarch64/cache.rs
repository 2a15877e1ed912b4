//! Cache maintenance by address.

use core::arch::asm;

/// The smallest data and instruction cache lines, in bytes (CTR_EL0).
fn line_sizes() -> (usize, usize) {
    let ctr: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    (4 << ((ctr >> 16) & 0xf), 4 << (ctr & 0xf))
}

/// Makes what was written at `start` executable: cleans the data cache to the point of unification, invalidates the
/// instruction caches of all cores.
pub fn synchronise_instructions(start: usize, length: usize) {
    let (data, instruction) = line_sizes();
    let end = start.saturating_add(length);
    // SAFETY: maintenance by address of mapped kernel memory.
    unsafe {
        for line in (start & !(data - 1)..end).step_by(data) {
            asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags));
        }
        asm!("dsb ish", options(nostack, preserves_flags));
        for line in (start & !(instruction - 1)..end).step_by(instruction) {
            asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags));
        }
        asm!("dsb ish", "isb", options(nostack, preserves_flags));
    }
}

/// Writes what is at `start` back to memory, for a core that runs with its caches off.
pub fn clean_to_memory(start: usize, length: usize) {
    let (data, _) = line_sizes();
    // SAFETY: maintenance by address of mapped kernel memory.
    unsafe {
        for line in (start & !(data - 1)..start.saturating_add(length)).step_by(data) {
            asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags));
        }
        asm!("dsb sy", options(nostack, preserves_flags));
    }
}
