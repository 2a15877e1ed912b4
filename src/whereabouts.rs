//! Asking a core to say what it is doing: for reports of cores that others wait for in vain.
//!
//! The question is an interrupt of its own, before which no lock and no inbox stands, so a core answers as long as it takes interrupts at
//! all.

use libkernel::task::with_current;

use crate::arch::{core_local, registers};
use crate::drivers::{gic, interrupts};
use crate::panic;

/// Installs the interrupt.
pub fn init() {
    interrupts::register_sgi(interrupts::SGI_WHEREABOUTS, "whereabouts", tell);
}

/// Lets another core log what it runs, and where.
pub fn ask(core: usize) {
    gic::send_sgi(interrupts::SGI_WHEREABOUTS, core);
}

/// Interrupt context.
fn tell() {
    let core = core_local::this().id();
    if with_current(|task| log::warn!("core {core} runs {task:?}")).is_none() {
        log::warn!("core {core} runs no task");
    }
    panic::log_backtrace(registers::frame_pointer());
}
