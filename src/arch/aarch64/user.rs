//! User mode as a function call.

use core::arch::asm;

use aarch64_cpu::registers::{FAR_EL1, Readable};

use super::context::UserContext;

/// Why user mode came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// `svc`: the call's number is in x8, its arguments in x0 to x5.
    SystemCall,
    /// An interrupt is pending; it has not been acknowledged yet.
    Interrupt,
    /// A data access to `address` failed.
    DataAbort {
        /// The address that was accessed.
        address: u64,
        /// Whether it was a write.
        write: bool,
        /// The fault status code (ARM ARM D24.2.40, DFSC).
        status: u8,
    },
    /// An instruction fetch from `address` failed.
    InstructionAbort {
        /// The address that was to be executed.
        address: u64,
        /// The fault status code.
        status: u8,
    },
    /// An FP or SIMD instruction while access to the registers is off.
    FpAccess,
    /// An undefined or forbidden instruction.
    Undefined,
    /// `brk` with this immediate.
    Breakpoint(u16),
    /// A single step or hardware breakpoint.
    Debug,
    /// The program counter was not aligned.
    PcAlignment,
    /// The stack pointer was not aligned at a memory access.
    SpAlignment,
    /// An FP exception that the program unmasked, with its syndrome.
    FpException(u32),
    /// An external abort, or an exception that no program should be able to cause.
    Unexpected(u64),
}

/// The syndrome of a trap: ESR_EL1, or one of the bits beside it that `vectors.s` sets.
#[derive(Clone, Copy)]
pub struct Syndrome(u64);

const INTERRUPT: u64 = 1 << 63;
const SERROR: u64 = 1 << 62;

/// The exception class of `svc` in AArch64 (ARM ARM D24.2.40).
const SVC: u64 = 0x15;

unsafe extern "C" {
    #[link_name = "enter_user"]
    fn enter_user_entry();
}

/// Runs the user program from `context` until it traps; `context` then holds its registers. Called, and returns, with interrupts
/// masked; user mode runs with them unmasked.
#[inline(always)]
pub fn enter_user(context: &mut UserContext) -> Syndrome {
    let syndrome;
    // SAFETY: the assembly touches only the context, its own stack frame and user state, and keeps x19 and x29, which cannot be
    // named as clobbered. `UserContext` never holds a privileged processor state: `set_pstate` is the only way to a foreign one.
    unsafe {
        asm!(
            "bl {enter_user}",
            enter_user = sym enter_user_entry,
            inout("x0") context => _, lateout("x1") syndrome,
            lateout("x20") _, lateout("x21") _, lateout("x22") _, lateout("x23") _, lateout("x24") _, lateout("x25") _,
            lateout("x26") _, lateout("x27") _, lateout("x28") _,
            clobber_abi("C"),
        );
    }
    Syndrome(syndrome)
}

impl Syndrome {
    /// Whether the program made a system call.
    #[inline]
    pub fn is_system_call(self) -> bool {
        self.0 >> 26 == SVC
    }

    /// Why user mode came back. Before anything else can trap: the fault's address is still in its register.
    #[inline]
    pub fn decode(self) -> Trap {
        match self.0 {
            INTERRUPT => Trap::Interrupt,
            syndrome if syndrome & SERROR != 0 => Trap::Unexpected(syndrome ^ SERROR),
            syndrome => decode(syndrome),
        }
    }
}

/// In the syndrome of a data abort: the access was a write.
const WRITE: u64 = 1 << 6;
/// The access was cache maintenance, which always says that it writes, and needs but to read.
const CACHE: u64 = 1 << 8;

/// Decodes the exception class (ARM ARM D24.2.40, ESR_EL1).
#[cold]
fn decode(esr: u64) -> Trap {
    let status = (esr & 0x3f) as u8;
    match esr >> 26 & 0x3f {
        SVC => Trap::SystemCall,
        0x07 => Trap::FpAccess,
        0x20 => Trap::InstructionAbort { address: FAR_EL1.get(), status },
        0x24 => Trap::DataAbort { address: FAR_EL1.get(), write: esr & (WRITE | CACHE) == WRITE, status },
        0x22 => Trap::PcAlignment,
        0x26 => Trap::SpAlignment,
        0x2c => Trap::FpException(esr as u32),
        0x3c => Trap::Breakpoint(esr as u16),
        0x30 | 0x32 | 0x34 => Trap::Debug,
        // Unknown, WFx, MCR and MRS traps, illegal state, SME and SVE, pointer authentication, branch target.
        0x00..=0x1f => Trap::Undefined,
        _ => Trap::Unexpected(esr),
    }
}
