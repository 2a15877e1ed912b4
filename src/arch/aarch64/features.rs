//! Which optional instructions programs may use: the identification registers as getauxval(3) shows them.
//!
//! Only what needs no help of the kernel is shown; SVE, SME, MTE and pointer authentication are not.

use core::arch::asm;

macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reads an identification register.
        unsafe { asm!(concat!("mrs {}, ", $register), out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}

/// The lowest bit of a four-bit field, the least value that counts, and the bit of `AT_HWCAP` (Linux's
/// `arch/arm64/include/uapi/asm/hwcap.h`).
type Feature = (u32, u64, u32);

const ISAR0: [Feature; 12] = [
    (4, 1, 3),   // AES
    (4, 2, 4),   // PMULL
    (8, 1, 5),   // SHA1
    (12, 1, 6),  // SHA2
    (12, 2, 21), // SHA512
    (16, 1, 7),  // CRC32
    (20, 2, 8),  // ATOMICS
    (28, 1, 12), // ASIMDRDM
    (32, 1, 17), // SHA3
    (36, 1, 18), // SM3
    (40, 1, 19), // SM4
    (44, 1, 20), // ASIMDDP
];
const ISAR1: [Feature; 4] = [
    (0, 1, 16),  // DCPOP
    (12, 1, 13), // JSCVT
    (16, 1, 14), // FCMA
    (20, 1, 15), // LRCPC
];

fn show(register: u64, features: &[Feature]) -> u64 {
    let present = features.iter().filter(|(field, least, _)| (register >> field) & 0xf >= *least);
    present.fold(0, |shown, (_, _, bit)| shown | 1 << bit)
}

/// `AT_HWCAP`.
pub fn hwcap() -> u64 {
    const FP_AND_SIMD: u64 = 0b11;
    const HALF_PRECISION: u64 = 0b11 << 9;
    let half = if (read!("id_aa64pfr0_el1") >> 16) & 0xf == 1 { HALF_PRECISION } else { 0 };
    FP_AND_SIMD | half | show(read!("id_aa64isar0_el1"), &ISAR0) | show(read!("id_aa64isar1_el1"), &ISAR1)
}

/// The main identification register: who made the processor, and which one it is.
pub fn main_id() -> u64 {
    read!("midr_el1")
}
