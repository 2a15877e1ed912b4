//! TLB invalidation, broadcast by hardware to all cores, and the active user address space.

use core::arch::asm;

use aarch64_cpu::registers::{ID_AA64MMFR0_EL1, Readable};

/// Beyond this many pages one invalidation of the whole ASID is cheaper.
const RANGE_LIMIT: usize = 64;

/// Makes earlier page-table writes visible to all table walks.
#[inline]
pub fn publish() {
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Invalidates one ASID's translations of a range of pages, last-level entries and walk caches alike.
pub fn invalidate_range(asid: u16, start: usize, pages: usize) {
    if pages > RANGE_LIMIT {
        return invalidate_asid(asid);
    }
    let tag = u64::from(asid) << 48;
    let first = (start as u64 >> 12) & 0xfff_ffff_ffff;
    // SAFETY: TLB maintenance cannot break memory safety: a translation is fetched anew from the tables.
    unsafe {
        asm!("dsb ishst", options(nostack, preserves_flags));
        for page in first..first + pages as u64 {
            asm!("tlbi vae1is, {}", in(reg) tag | (page & 0xfff_ffff_ffff), options(nostack, preserves_flags));
        }
        asm!("dsb ish", "isb", options(nostack, preserves_flags));
    }
}

/// Invalidates all translations of one ASID.
pub fn invalidate_asid(asid: u16) {
    // SAFETY: as above.
    unsafe {
        asm!("dsb ishst", "tlbi aside1is, {}", "dsb ish", "isb", in(reg) u64::from(asid) << 48, options(nostack, preserves_flags));
    }
}

/// Invalidates everything.
pub fn invalidate_all() {
    // SAFETY: as above.
    unsafe { asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// Makes `root` the user half's root table, under `asid`.
#[inline]
pub fn activate(root: u64, asid: u16) {
    let value = root | u64::from(asid) << 48;
    // SAFETY: the root table belongs to an address space that outlives its time on this core, or is the empty one.
    unsafe { asm!("msr ttbr0_el1, {}", "isb", in(reg) value, options(nostack, preserves_flags)) };
}

/// How many bits an ASID has: 8 or 16.
pub fn asid_bits() -> u32 {
    if ID_AA64MMFR0_EL1.read(ID_AA64MMFR0_EL1::ASIDBits) == 0b10 { 16 } else { 8 }
}
