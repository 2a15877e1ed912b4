//! Exceptions taken while the kernel itself was running.
//!
//! Interrupts go to the interrupt manager. A synchronous exception is either the fault of a user copy, which
//! continues at its fix-up, or a bug.

use core::arch::global_asm;

use super::{core_local, registers, stack_switch};

global_asm!(include_str!("vectors.s"));

/// The registers of kernel code at a synchronous exception. The layout is known to `vectors.s`.
#[repr(C)]
pub struct KernelFrame {
    x: [u64; 31],
    sp: u64,
    elr: u64,
    spsr: u64,
    frame_record: [u64; 2],
}

#[repr(C)]
struct Fixup {
    from: i32,
    end: i32,
    to: i32,
}

/// The address that a field of the table stands for.
fn place(offset: &i32) -> u64 {
    (core::ptr::from_ref(offset) as u64).wrapping_add_signed(i64::from(*offset))
}

unsafe extern "C" {
    static __fixups_start: Fixup;
    static __fixups_end: Fixup;
    static exception_vectors: u8;
}

/// Points this core at the vectors.
pub fn init() {
    registers::set_vectors((&raw const exception_vectors) as u64);
}

/// Where to continue after a fault at `pc`, if it is one of the instructions that may fault.
fn fixup(pc: u64) -> Option<u64> {
    let start = &raw const __fixups_start;
    let end = &raw const __fixups_end;
    // SAFETY: the linker script puts the table between the two symbols, aligned.
    let table = unsafe { core::slice::from_raw_parts(start, end.offset_from_unsigned(start)) };
    let entry = table.iter().find(|entry| (place(&entry.from)..place(&entry.end)).contains(&pc))?;
    Some(place(&entry.to))
}

#[unsafe(no_mangle)]
extern "C" fn kernel_synchronous_handler(frame: &mut KernelFrame, esr: u64, far: u64) {
    let class = esr >> 26;
    if class == 0x25
        && let Some(continue_at) = fixup(frame.elr)
    {
        frame.elr = continue_at;
        return;
    }
    report(frame.elr, esr, far)
}

#[expect(clippy::panic, reason = "an exception of the kernel's own code is a bug, never a program's doing")]
fn report(pc: u64, esr: u64, far: u64) -> ! {
    let what = match esr >> 26 {
        0x25 => "data abort",
        0x21 => "instruction abort",
        0x3c => "breakpoint",
        0x07 => "FP access",
        0x22 | 0x26 => "misalignment",
        _ => "unexpected exception",
    };
    panic!("{what} in the kernel: pc {pc:#x}, address {far:#x}, syndrome {esr:#x}");
}

#[unsafe(no_mangle)]
extern "C" fn kernel_interrupt_handler() {
    crate::drivers::interrupts::handle();
    if libkernel::rcu::is_wanted() {
        core_local::this().set_need_resched();
    }
    if stack_switch::on_task_stack() {
        crate::task::leave_interrupt();
    }
}

#[unsafe(no_mangle)]
#[expect(clippy::panic, reason = "a stack overflow in the kernel is a bug")]
extern "C" fn kernel_stack_overflow_handler(sp: u64, frame_pointer: u64, pc: u64, far: u64) -> ! {
    panic!("kernel stack overflow: pc {pc:#x}, sp {sp:#x}, frame {frame_pointer:#x}, address {far:#x}");
}

#[unsafe(no_mangle)]
#[expect(clippy::panic, reason = "these vectors cannot be reached by a working kernel")]
extern "C" fn kernel_bad_vector_handler(kind: u64, esr: u64, pc: u64, far: u64) -> ! {
    panic!("exception through vector {kind}: pc {pc:#x}, address {far:#x}, syndrome {esr:#x}");
}
