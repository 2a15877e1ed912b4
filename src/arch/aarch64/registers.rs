//! System registers that `aarch64-cpu` does not name, and the barriers and maintenance instructions.

use core::arch::asm;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{MPIDR_EL1, Readable, VBAR_EL1, Writeable};

/// Masks interrupts.
#[inline]
pub fn mask_interrupts() {
    // SAFETY: masking is always allowed. Not `nomem`: nothing may move out of the masked section.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
}

/// Masks interrupts; returns the former mask.
#[inline]
pub fn save_and_mask_interrupts() -> u64 {
    let daif: u64;
    // SAFETY: masking is always allowed. Not `nomem`: nothing may move out of the masked section.
    unsafe { asm!("mrs {}, daif", "msr daifset, #2", out(reg) daif, options(nostack, preserves_flags)) };
    daif
}

/// Sets the interrupt mask to what [`save_and_mask_interrupts`] returned.
#[inline]
pub fn restore_interrupts(daif: u64) {
    // SAFETY: the value came from the register. Not `nomem`, as above.
    unsafe { asm!("msr daif, {}", in(reg) daif, options(nostack, preserves_flags)) };
}

/// Lets interrupts in.
#[inline]
pub fn unmask_interrupts() {
    // SAFETY: the handlers are installed before the first call.
    unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) };
}

/// Whether interrupts are masked.
#[inline]
pub fn interrupts_masked() -> bool {
    let daif: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, daif", out(reg) daif, options(nomem, nostack, preserves_flags)) };
    daif & (1 << 7) != 0
}

/// Waits for an interrupt, masked or not.
#[inline]
pub fn wait_for_interrupt() {
    barrier::dsb(barrier::SY);
    aarch64_cpu::asm::wfi();
}

/// One turn of a busy wait.
#[inline]
pub fn relax() {
    // SAFETY: a hint.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// Sets the address of the exception vectors.
pub fn set_vectors(address: u64) {
    VBAR_EL1.set(address);
    barrier::isb(barrier::SY);
}

/// The affinity fields of this core's MPIDR: Aff3 in bits 39:32, Aff2 to Aff0 in bits 23:0.
pub fn affinity() -> u64 {
    MPIDR_EL1.get() & 0xff_00ff_ffff
}

/// Reads the identification registers that decide which instructions the kernel uses.
pub fn has_pan() -> bool {
    let value: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, id_aa64mmfr1_el1", out(reg) value, options(nomem, nostack, preserves_flags)) };
    (value >> 20) & 0xf != 0
}

/// Forbids, or allows, the kernel's loads and stores to user pages. Only where [`has_pan`].
#[inline]
pub fn set_pan(forbid: bool) {
    // SAFETY: MSR PAN, #imm (ARM ARM C6.2.229); the caller checked that it exists. Not `nomem`: copies stay inside.
    unsafe {
        if forbid {
            asm!(".inst 0xd500419f", options(nostack, preserves_flags));
        } else {
            asm!(".inst 0xd500409f", options(nostack, preserves_flags));
        }
    }
}

/// Whether the machine counts instructions (PMU event 8, INST_RETIRED): of the emulated ones, the one in which each takes a nanosecond.
pub fn counts_instructions() -> bool {
    let events: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, pmceid0_el0", out(reg) events, options(nomem, nostack, preserves_flags)) };
    events & (1 << 8) != 0
}

/// The bytes that one `DC ZVA` clears, if it may be used.
pub fn zero_line_size() -> Option<usize> {
    let value: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, dczid_el0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    (value & 0x10 == 0).then(|| 4usize << (value & 0xf))
}

/// The stack pointer: good for finding out which stack this runs on, as that stays the same for as long as a function runs.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let value: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

/// The frame pointer of the function this is inlined into.
#[inline(always)]
pub fn frame_pointer() -> usize {
    let value: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, x29", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}
