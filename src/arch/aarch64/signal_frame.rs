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
const RECORDS: u64 = 4096;

/// The beginning of `struct fpsimd_context`; the vectors follow.
#[derive(Clone, Copy, Default)]
#[repr(C, align(16))]
struct FpHead {
    magic: u32,
    size: u32,
    status: u32,
    control: u32,
}

/// The beginning of `struct rt_sigframe`: `siginfo_t`, and `ucontext_t` up to its mask.
#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    info: [u8; 128],
    context: ContextHead,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct ContextHead {
    flags: u64,
    link: u64,
    stack: Stack,
    mask: u64,
}

/// `struct sigcontext`, with the beginning of its first record.
#[derive(Clone, Copy)]
#[repr(C)]
struct Registers {
    fault_address: u64,
    x: [u64; 31],
    sp: u64,
    pc: u64,
    pstate: u64,
    padding: u64,
    fp: FpHead,
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

/// Where the parts of a frame are.
const CONTEXT_OFFSET: u64 = 128;
const REGISTERS_OFFSET: u64 = CONTEXT_OFFSET + 176;
const RECORDS_OFFSET: u64 = REGISTERS_OFFSET + core::mem::offset_of!(Registers, fp) as u64;
const FRAME_SIZE: u64 = RECORDS_OFFSET + RECORDS;
/// The length of the FP record.
const FP_SIZE: u64 = (size_of::<FpHead>() + size_of::<[u128; 32]>()) as u64;

const _: () = assert!(FRAME_SIZE == 4688 && FP_SIZE == 528);
const _: () = assert!(size_of::<Head>() == 176 && core::mem::offset_of!(ContextHead, mask) == 40);
const _: () = assert!(size_of::<Registers>() == 288 + size_of::<FpHead>());

// SAFETY: integers only, every byte named: the sizes above leave no gap.
unsafe impl Plain for Head {}
// SAFETY: as above.
unsafe impl Plain for ContextHead {}
// SAFETY: as above.
unsafe impl Plain for Registers {}
// SAFETY: as above.
unsafe impl Plain for FpHead {}

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
}

/// Builds the frame, with these registers, and sets the general ones so that the handler runs next.
///
/// # Errors
/// `EFAULT` where the stack cannot be written.
pub fn build(registers: &mut UserContext, fp: &FpState, space: &AddressSpace, delivery: &Delivery<'_>) -> Result<()> {
    let Delivery { info, action, handler, mask, stack, trampoline } = delivery;
    let on_alternate = action.has(abi::SA_ONSTACK) && stack.size != 0 && !stack.contains(registers.sp);
    let top = if on_alternate { stack.top() } else { registers.sp };
    let record = top.wrapping_sub(16) & !15;
    let sp = record.wrapping_sub(FRAME_SIZE) & !15;

    let head = Head {
        info: info.to_bytes(),
        context: ContextHead {
            flags: 0,
            link: 0,
            stack: Stack { base: stack.base, flags: stack.flags(registers.sp), padding: 0, size: stack.size },
            mask: mask.bits(),
        },
    };
    let saved = Registers {
        fault_address: if SignalSet::FAULTS.contains(info.signal) && info.code > 0 { info.address() } else { 0 },
        x: registers.x,
        sp: registers.sp,
        pc: registers.pc,
        pstate: registers.pstate,
        padding: 0,
        fp: FpHead { magic: FP_MAGIC, size: FP_SIZE as u32, status: fp.status, control: fp.control },
    };
    let vectors = sp.wrapping_add(REGISTERS_OFFSET + size_of::<Registers>() as u64);
    let [frame_pointer, link] = [29, 30].map(|index| registers.register(index));
    space.write_value(UserPtr::new(record), [frame_pointer, link])?;
    space.write_values(UserPtr::new(sp), core::slice::from_ref(&head))?;
    space.write_values(UserPtr::new(sp.wrapping_add(REGISTERS_OFFSET)), core::slice::from_ref(&saved))?;
    space.write_values(UserPtr::new(vectors), &fp.vectors)?;
    // The record that ends the records.
    space.write_value(UserPtr::new(sp.wrapping_add(RECORDS_OFFSET + FP_SIZE)), [0u64; 2])?;

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
}

/// Takes the registers back from the frame that the stack pointer points at.
///
/// # Errors
/// `EFAULT` for a frame that cannot be read, `EINVAL` for one that no kernel made: the program gets `SIGSEGV` then. The FP registers
/// may have changed.
pub fn restore(registers: &mut UserContext, fp: &mut FpState, space: &AddressSpace) -> Result<Restored> {
    let sp = registers.sp;
    if !sp.is_multiple_of(16) {
        return Err(Errno::EINVAL);
    }
    let context: ContextHead = space.read_value(UserPtr::new(sp.wrapping_add(CONTEXT_OFFSET)))?;
    let saved: Registers = space.read_value(UserPtr::new(sp.wrapping_add(REGISTERS_OFFSET)))?;
    let records = sp.wrapping_add(RECORDS_OFFSET);
    let (head, record) = if saved.fp.magic == FP_MAGIC { (saved.fp, records) } else { find_fp_record(space, records)? };
    if u64::from(head.size) != FP_SIZE || !is_user_state(saved.pstate) {
        return Err(Errno::EINVAL);
    }
    space.read_values(UserPtr::new(record.wrapping_add(size_of::<FpHead>() as u64)), &mut fp.vectors)?;
    (fp.control, fp.status) = (head.control, head.status);
    registers.x = saved.x;
    registers.sp = saved.sp;
    registers.pc = saved.pc;
    registers.set_pstate(saved.pstate);
    Ok(Restored {
        mask: SignalSet::from_bits(context.mask),
        stack: (context.stack.base, context.stack.size, context.stack.flags),
    })
}

/// Whether a processor state is one of user mode with interrupts unmasked (ARM ARM C5.2.19): AArch64, EL0.
fn is_user_state(pstate: u64) -> bool {
    const MODE: u64 = 0x1f;
    const MASKS: u64 = 0xf << 6;
    pstate & (MODE | MASKS) == 0
}

/// Looks for the FP record among others that the program put before it; returns its beginning and where it is.
#[cold]
fn find_fp_record(space: &AddressSpace, records: u64) -> Result<(FpHead, u64)> {
    let mut offset = 0;
    while offset + size_of::<FpHead>() as u64 <= RECORDS {
        let place = records.wrapping_add(offset);
        let head: FpHead = space.read_value(UserPtr::new(place))?;
        match head.magic {
            FP_MAGIC if offset + FP_SIZE <= RECORDS => return Ok((head, place)),
            SYNDROME_MAGIC if head.size >= 16 && head.size.is_multiple_of(16) => offset += u64::from(head.size),
            _ => break,
        }
    }
    Err(Errno::EINVAL)
}
