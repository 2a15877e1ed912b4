//! AArch64: boot, exceptions, user entry, FP state, translation, caches, PSCI.

pub mod backtrace;
pub mod cache;
pub mod context;
pub mod core_local;
mod exceptions;
pub mod features;
pub mod fp;
mod machine;
pub mod mmu;
pub mod psci;
pub mod registers;
pub mod signal_frame;
pub mod smp;
pub mod stack_switch;
pub mod tlb;
pub mod user;
pub mod user_memory;
pub mod vdso;

use core::arch::global_asm;

global_asm!(include_str!("boot.s"));

/// Sets up what every core needs before anything else: its number, its exception vectors, its user-copy protection.
pub fn init_core(core: usize) {
    core_local::init(core);
    exceptions::init();
    user_memory::init();
}
