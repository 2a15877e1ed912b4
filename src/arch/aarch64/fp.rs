//! The FP and SIMD registers, which belong to user space: the kernel is compiled without them.
//!
//! A thread's registers are saved when it leaves the core after having used them, and loaded at its first FP
//! instruction after it came to a core that does not hold them any more. The trap at that first instruction is
//! [`Trap::FpAccess`](super::user::Trap::FpAccess).

use core::arch::asm;

use aarch64_cpu::registers::{CPACR_EL1, ReadWriteable};

/// A thread's FP and SIMD state.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct FpState {
    /// V0 to V31.
    pub vectors: [u128; 32],
    /// The control register, FPCR.
    pub control: u32,
    /// The status register, FPSR.
    pub status: u32,
}

impl FpState {
    /// The state of a new program.
    pub const fn new() -> Self {
        Self { vectors: [0; 32], control: 0, status: 0 }
    }

    /// Saves this core's registers here. Access must be on.
    pub fn save(&mut self) {
        // SAFETY: stores 512 bytes into the array; access to the registers is on (a trap here would be a kernel bug that panics).
        unsafe {
            asm!(
                ".arch_extension fp",
                ".arch_extension simd",
                "stp q0, q1, [{p}]", "stp q2, q3, [{p}, #32]", "stp q4, q5, [{p}, #64]", "stp q6, q7, [{p}, #96]",
                "stp q8, q9, [{p}, #128]", "stp q10, q11, [{p}, #160]", "stp q12, q13, [{p}, #192]", "stp q14, q15, [{p}, #224]",
                "stp q16, q17, [{p}, #256]", "stp q18, q19, [{p}, #288]", "stp q20, q21, [{p}, #320]", "stp q22, q23, [{p}, #352]",
                "stp q24, q25, [{p}, #384]", "stp q26, q27, [{p}, #416]", "stp q28, q29, [{p}, #448]", "stp q30, q31, [{p}, #480]",
                "mrs {t}, fpcr", "str {t:w}, [{p}, #512]", "mrs {t}, fpsr", "str {t:w}, [{p}, #516]",
                p = in(reg) self, t = out(reg) _, options(nostack, preserves_flags),
            );
        }
    }

    /// Loads this core's registers from here. Access must be on.
    pub fn load(&self) {
        // SAFETY: reads 512 bytes of the array; the registers are user space's alone.
        unsafe {
            asm!(
                ".arch_extension fp",
                ".arch_extension simd",
                "ldp q0, q1, [{p}]", "ldp q2, q3, [{p}, #32]", "ldp q4, q5, [{p}, #64]", "ldp q6, q7, [{p}, #96]",
                "ldp q8, q9, [{p}, #128]", "ldp q10, q11, [{p}, #160]", "ldp q12, q13, [{p}, #192]", "ldp q14, q15, [{p}, #224]",
                "ldp q16, q17, [{p}, #256]", "ldp q18, q19, [{p}, #288]", "ldp q20, q21, [{p}, #320]", "ldp q22, q23, [{p}, #352]",
                "ldp q24, q25, [{p}, #384]", "ldp q26, q27, [{p}, #416]", "ldp q28, q29, [{p}, #448]", "ldp q30, q31, [{p}, #480]",
                "ldr {t:w}, [{p}, #512]", "msr fpcr, {t}", "ldr {t:w}, [{p}, #516]", "msr fpsr, {t}",
                p = in(reg) self, t = out(reg) _, options(nostack, preserves_flags),
            );
        }
    }
}

impl Default for FpState {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(core::mem::offset_of!(FpState, control) == 512);

/// Lets FP instructions of both levels execute, or makes them trap.
pub fn set_access(on: bool) {
    if on {
        CPACR_EL1.modify(CPACR_EL1::FPEN::TrapNothing);
    } else {
        CPACR_EL1.modify(CPACR_EL1::FPEN::TrapEl0El1);
    }
    aarch64_cpu::asm::barrier::isb(aarch64_cpu::asm::barrier::SY);
}
