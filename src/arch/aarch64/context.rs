//! The registers of a user thread while it is not running in user mode.

/// What [`enter_user`](super::user::enter_user) restores and a trap saves. The layout is known to `vectors.s`.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct UserContext {
    /// General registers x0 to x30.
    pub x: [u64; 31],
    /// The stack pointer (SP_EL0).
    pub sp: u64,
    /// The next instruction's address.
    pub pc: u64,
    /// The processor state: condition flags and mode (SPSR_EL1).
    pub pstate: u64,
    /// The thread pointer (TPIDR_EL0).
    pub tls: u64,
}

/// The bits of the processor state that belong to the program: the condition flags, and SSBS, DIT and the like, which harm
/// nobody else. The mode stays EL0 and interrupts stay unmasked (ARM ARM C5.2.19).
const USER_PSTATE: u64 = 0xf000_0000 | 1 << 24 | 1 << 12 | 0b11 << 10;

impl UserContext {
    /// A thread about to execute at `pc` with its stack at `sp`, all other registers zero.
    pub const fn new(pc: u64, sp: u64) -> Self {
        Self { x: [0; 31], sp, pc, pstate: 0, tls: 0 }
    }

    /// A register that an instruction names, the zero register included.
    pub fn register(&self, index: usize) -> u64 {
        self.x.get(index).copied().unwrap_or(0)
    }

    /// Takes a processor state that a program supplied (sigreturn, ptrace), keeping only what is the program's to choose.
    pub fn set_pstate(&mut self, pstate: u64) {
        self.pstate = pstate & USER_PSTATE;
    }
}

const _: () = assert!(core::mem::offset_of!(UserContext, sp) == 248);
const _: () = assert!(core::mem::offset_of!(UserContext, pstate) == 264);
