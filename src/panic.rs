//! The end of the kernel: stop all cores, say what happened, power off.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::arch::{core_local, psci, registers};
use crate::console_log::Line;
use crate::drivers::{gic, interrupts, timer, uart};

const NOBODY: usize = usize::MAX;
/// The core that panics.
static PANICKING: AtomicUsize = AtomicUsize::new(NOBODY);
/// How many cores have stopped.
static STOPPED: AtomicUsize = AtomicUsize::new(0);
/// Nanoseconds that the other cores get to stop.
const PATIENCE: u64 = 100_000_000;

/// Installs the interrupt that stops a core.
pub fn init() {
    interrupts::register_sgi(interrupts::SGI_STOP, "stop", || {
        STOPPED.fetch_add(1, Ordering::Release);
        psci::halt()
    });
}

/// Stops all other cores, as far as they react.
pub fn stop_others() {
    let me = core_local::this().id();
    let online = crate::online_cores();
    for core in (0..online).filter(|core| *core != me) {
        gic::send_sgi(interrupts::SGI_STOP, core);
    }
    let until = timer::monotonic_ns() + PATIENCE;
    while STOPPED.load(Ordering::Acquire) + 1 < online && timer::monotonic_ns() < until {
        registers::relax();
    }
}

/// Ends the boot with one clear line and the failure status: for what is wrong with the machine or its files, not with the kernel.
pub fn give_up(reason: core::fmt::Arguments<'_>) -> ! {
    log::error!("KERNEL PANIC: {reason}");
    psci::power_off()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    registers::mask_interrupts();
    let me = core_local::this().id();
    if PANICKING.compare_exchange(NOBODY, me, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // Another core panics, or this one did while it panicked.
        psci::halt();
    }
    stop_others();
    let mut line = Line::new();
    let _ = write!(line, "\nKERNEL PANIC on core {me}: {}", info.message());
    line.end();
    // SAFETY: the other cores were stopped.
    unsafe { uart::write_panicking(line.bytes()) };
    if let Some(location) = info.location() {
        let mut line = Line::new();
        let _ = write!(line, "at {location}");
        line.end();
        // SAFETY: as above.
        unsafe { uart::write_panicking(line.bytes()) };
    }
    psci::power_off()
}
