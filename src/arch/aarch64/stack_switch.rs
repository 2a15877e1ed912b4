//! Stacks of tasks' own: telling them from the cores', and switching between the two.
//!
//! Only the registers that a function has to preserve are switched; what belongs to the core (TPIDR_EL1, interrupt mask, PAN) stays with
//! the core. All switching is done with interrupts masked.

use core::arch::global_asm;

use libkernel::task::StackHead;

use super::registers;
use crate::memory::kernel_space::{STACK_SIZE, TASK_STACK_BIT};

global_asm!(include_str!("stack_switch.s"));

unsafe extern "C" {
    fn switch_stack(keep: *mut usize, next: usize);
    fn task_stack_start();
}

/// The registers that `switch_stack` keeps on the stack that it leaves; the layout is known to `stack_switch.s`.
#[repr(C)]
struct SwitchFrame {
    frame_pointer: usize,
    link: usize,
    x21_to_x28: [usize; 8],
    x19: usize,
    x20: usize,
}

/// Whether this runs on a stack of a task's own.
#[inline(always)]
pub fn on_task_stack() -> bool {
    registers::stack_pointer() & (1 << TASK_STACK_BIT) != 0
}

/// The top of the task's own stack that `address` is on, or in the guard of.
#[inline(always)]
pub fn top_of(address: usize) -> usize {
    (address | (2 * STACK_SIZE as usize - 1)) + 1
}

/// The head of the task's own stack that `address` is on.
#[inline(always)]
pub fn head_of(address: usize) -> *const StackHead {
    core::ptr::with_exposed_provenance(top_of(address) - size_of::<StackHead>())
}

/// Writes the first frame of a new stack, below `limit`, so that the first switch to it calls `entry(argument)`. Returns the stack pointer
/// to switch to.
///
/// # Safety
/// `limit` is a multiple of 16, and the bytes below it are writable and unused.
pub unsafe fn prepare(limit: usize, entry: extern "C" fn(*const ()) -> !, argument: *const ()) -> usize {
    let sp = limit - size_of::<SwitchFrame>();
    let frame = SwitchFrame {
        frame_pointer: 0,
        link: task_stack_start as *const () as usize,
        x21_to_x28: [0; 8],
        x19: argument.expose_provenance(),
        x20: entry as *const () as usize,
    };
    // SAFETY: the caller's contract.
    unsafe { core::ptr::with_exposed_provenance_mut::<SwitchFrame>(sp).write(frame) };
    sp
}

/// Leaves this stack, keeping its pointer in `keep`, and goes on with the one at `next`. Returns when somebody switches back.
///
/// # Safety
/// Interrupts are masked. `next` comes from [`prepare`], or was kept by a switch and has not been used since. Nothing that belongs to
/// the core is relied on afterwards: a task's stack may come back on another one.
#[inline]
pub unsafe fn switch(keep: *mut usize, next: usize) {
    // SAFETY: the caller's contract.
    unsafe { switch_stack(keep, next) };
}
