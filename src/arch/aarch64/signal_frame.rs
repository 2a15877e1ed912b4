//! A handler's frame on the user stack: what arm64 Linux puts there, byte for byte, and the way back from it.
//!
//! ```text
//! old sp ->  (or the top of the alternate stack)
//!            x29, x30                   a frame record, so that debuggers can unwind through the handler
//!            struct rt_sigframe         siginfo, ucontext: registers, FP and SIMD registers, a terminating record
//! new sp ->
//! ```
//!
//! Everything read back in [`restore`] is the program's word only: it may set its own registers and nothing else.

use libkernel::memory::{AddressSpace, Plain, UserPtr};
use libkernel::signal::{Action, AlternateStack, SignalInfo, SignalSet};
use libkernel::{Errno, Result};
use linux_raw_sys::general as abi;

use super::context::UserContext;
use super::fp::FpState;

/// First word of the record with the FP and SIMD registers (`FPSIMD_MAGIC`).
const FP_MAGIC: u32 = 0x4650_8001;
/// First word of the record with the fault's syndrome (`ESR_MAGIC`).
const SYNDROME_MAGIC: u32 = 0x4553_5201;
/// Bytes for records at the end of the frame.
const RECORDS: usize = 4096;

/// `struct fpsimd_context`.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct FpRecord {
    magic: u32,
    size: u32,
    status: u32,
    control: u32,
    vectors: [u128; 32],
}

/// What is written of `struct rt_sigframe`: all but the unused rest of its records.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Frame {
    info: [u8; 128],
    flags: u64,
    link: u64,
    stack: Stack,
    mask: u64,
    unused: [u64; 16],
    fault_address: u64,
    x: [u64; 31],
    sp: u64,
    pc: u64,
    pstate: u64,
    padding: u64,
    fp: FpRecord,
    terminator: [u64; 2],
}

/// `stack_t`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Stack {
    base: u64,
    flags: u32,
    padding: u32,
    size: u64,
}

const FRAME_SIZE: u64 = (size_of::<Frame>() - size_of::<FpRecord>() - 16 + RECORDS) as u64;
const RECORDS_OFFSET: usize = core::mem::offset_of!(Frame, fp);
const CONTEXT_OFFSET: u64 = core::mem::offset_of!(Frame, flags) as u64;

const _: () = assert!(FRAME_SIZE == 4688);
const _: () = assert!(core::mem::offset_of!(Frame, mask) - CONTEXT_OFFSET as usize == 40);
const _: () = assert!(core::mem::offset_of!(Frame, fault_address) - CONTEXT_OFFSET as usize == 176);
const _: () = assert!(RECORDS_OFFSET == 128 + 176 + 288);
const _: () = assert!(size_of::<FpRecord>() == 528);

// SAFETY: integers only, every byte named: the offsets above leave no gap.
unsafe impl Plain for Frame {}
// SAFETY: integers only, no gaps.
unsafe impl Plain for FpRecord {}

/// What goes into a frame besides the registers.
pub struct Delivery<'a> {
    /// The signal's details.
    pub info: &'a SignalInfo,
    /// The action: its handler runs.
    pub action: &'a Action,
    /// The handler's user address.
    pub handler: u64,
    /// The mask that comes back with the return.
    pub mask: SignalSet,
    /// The alternate stack.
    pub stack: AlternateStack,
    /// Where a handler without `SA_RESTORER` returns to.
    pub trampoline: u64,
    /// The FP and SIMD registers.
    pub fp: &'a FpState,
}

/// Builds the frame and sets the registers so that the handler runs next.
///
/// # Errors
/// `EFAULT` where the stack cannot be written.
pub fn build(registers: &mut UserContext, space: &AddressSpace, delivery: &Delivery<'_>) -> Result<()> {
    let Delivery { info, action, handler, mask, stack, trampoline, fp } = delivery;
    let on_alternate = action.has(abi::SA_ONSTACK) && stack.size != 0 && !stack.contains(registers.sp);
    let top = if on_alternate { stack.top() } else { registers.sp };
    let record = top.wrapping_sub(16) & !15;
    let sp = record.wrapping_sub(FRAME_SIZE) & !15;

    let frame = Frame {
        info: info.to_bytes(),
        flags: 0,
        link: 0,
        stack: Stack { base: stack.base, flags: stack.flags(registers.sp), padding: 0, size: stack.size },
        mask: mask.bits(),
        unused: [0; 16],
        fault_address: if SignalSet::FAULTS.contains(info.signal) && info.code > 0 { info.address() } else { 0 },
        x: registers.x,
        sp: registers.sp,
        pc: registers.pc,
        pstate: registers.pstate,
        padding: 0,
        fp: FpRecord {
            magic: FP_MAGIC,
            size: size_of::<FpRecord>() as u32,
            status: fp.status,
            control: fp.control,
            vectors: fp.vectors,
        },
        terminator: [0; 2],
    };
    let [frame_pointer, link] = [29, 30].map(|index| registers.register(index));
    space.write_value(UserPtr::new(record), [frame_pointer, link])?;
    space.write_value(UserPtr::new(sp), frame)?;

    let mut set = |index: usize, value| {
        if let Some(register) = registers.x.get_mut(index) {
            *register = value;
        }
    };
    set(0, info.signal.number() as u64);
    if action.has(abi::SA_SIGINFO) {
        set(1, sp);
        set(2, sp + CONTEXT_OFFSET);
    }
    set(29, record);
    set(30, if action.has(abi::SA_RESTORER) { action.restorer } else { *trampoline });
    registers.sp = sp;
    registers.pc = *handler;
    // A handler begins with the flags that the procedure call standard leaves open, and no branch type.
    registers.set_pstate(registers.pstate);
    Ok(())
}

/// What a frame brings back besides the registers.
pub struct Restored {
    /// The mask.
    pub mask: SignalSet,
    /// The alternate stack: base, size, flags.
    pub stack: (u64, u64, u32),
    /// The FP and SIMD registers.
    pub fp: FpState,
}

/// Takes the registers back from the frame that the stack pointer points at.
///
/// # Errors
/// `EFAULT` for a frame that cannot be read, `EINVAL` for one that no kernel made: the program gets `SIGSEGV` then.
pub fn restore(registers: &mut UserContext, space: &AddressSpace) -> Result<Restored> {
    let sp = registers.sp;
    if !sp.is_multiple_of(16) {
        return Err(Errno::EINVAL);
    }
    let frame: Frame = space.read_value(UserPtr::new(sp))?;
    let record = if frame.fp.magic == FP_MAGIC { frame.fp } else { find_fp_record(space, sp)? };
    if record.size as usize != size_of::<FpRecord>() || !is_user_state(frame.pstate) {
        return Err(Errno::EINVAL);
    }
    registers.x = frame.x;
    registers.sp = frame.sp;
    registers.pc = frame.pc;
    registers.set_pstate(frame.pstate);
    Ok(Restored {
        mask: SignalSet::from_bits(frame.mask),
        stack: (frame.stack.base, frame.stack.size, frame.stack.flags),
        fp: FpState { vectors: record.vectors, control: record.control, status: record.status },
    })
}

/// Whether a processor state is one of user mode with interrupts unmasked (ARM ARM C5.2.19): AArch64, EL0.
fn is_user_state(pstate: u64) -> bool {
    const MODE: u64 = 0x1f;
    const MASKS: u64 = 0xf << 6;
    pstate & (MODE | MASKS) == 0
}

/// Looks for the FP record among others that the program put before it.
#[cold]
fn find_fp_record(space: &AddressSpace, sp: u64) -> Result<FpRecord> {
    let start = sp + RECORDS_OFFSET as u64;
    let mut offset = 0;
    while offset + 8 <= RECORDS as u64 {
        let [magic, size]: [u32; 2] = space.read_value(UserPtr::new(start + offset))?;
        match magic {
            FP_MAGIC if offset + size_of::<FpRecord>() as u64 <= RECORDS as u64 => {
                return space.read_value(UserPtr::new(start + offset));
            }
            SYNDROME_MAGIC if size >= 16 && size % 16 == 0 => offset += u64::from(size),
            _ => break,
        }
    }
    Err(Errno::EINVAL)
}
