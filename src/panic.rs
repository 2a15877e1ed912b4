//! The end of the kernel: stop all cores, say what happened, power off.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use libkernel::machine::MAX_CORES;
use libkernel::task::with_current_of;

use crate::arch::{backtrace, core_local, psci, registers};
use crate::console_log::Line;
use crate::drivers::{gic, interrupts, timer, uart};
use crate::symbols;

const NOBODY: usize = usize::MAX;
/// The core that panics.
static PANICKING: AtomicUsize = AtomicUsize::new(NOBODY);
/// How many cores have stopped.
static STOPPED: AtomicUsize = AtomicUsize::new(0);
/// Nanoseconds that the other cores get to stop.
const PATIENCE: u64 = 100_000_000;

/// Where each stopped core was: its frame pointer in the interrupt that stopped it.
static FRAMES: [AtomicUsize; MAX_CORES] = [const { AtomicUsize::new(0) }; MAX_CORES];

/// Installs the interrupt that stops a core.
pub fn init() {
    interrupts::register_sgi(interrupts::SGI_STOP, "stop", || {
        if let Some(frame) = FRAMES.get(core_local::this().id()) {
            frame.store(registers::frame_pointer(), Ordering::Relaxed);
        }
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

/// Ends the boot with one clear line, whatever the log level, and the failure status: for what is wrong with the machine or
/// its files, not with the kernel.
pub fn give_up(reason: core::fmt::Arguments<'_>) -> ! {
    registers::mask_interrupts();
    stop_others();
    print(format_args!("KERNEL PANIC: {reason}"));
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
    print(format_args!("\nKERNEL PANIC on core {me}: {}", info.message()));
    if let Some(location) = info.location() {
        print(format_args!("at {location}"));
    }
    print_task(me);
    print_backtrace(registers::frame_pointer());
    for core in (0..crate::online_cores()).filter(|core| *core != me) {
        match FRAMES.get(core).map(|frame| frame.load(Ordering::Relaxed)) {
            Some(frame) if frame != 0 => {
                print(format_args!("core {core} was in"));
                print_task(core);
                print_backtrace(frame);
            }
            _ => print(format_args!("core {core} did not stop")),
        }
    }
    match crate::panic_seconds() {
        0 => psci::power_off(),
        seconds => {
            let until = timer::monotonic_ns() + u64::try_from(seconds).unwrap_or(0) * 1_000_000_000;
            while timer::monotonic_ns() < until {
                registers::relax();
            }
            psci::restart()
        }
    }
}

/// Names the task that a stopped core, or this one, was running.
fn print_task(core: usize) {
    if with_current_of(core, |task| print(format_args!("  {task:?}"))).is_none() {
        print(format_args!("  no task"));
    }
}

fn print(text: core::fmt::Arguments<'_>) {
    let mut line = Line::new();
    let _ = line.write_fmt(text);
    line.end();
    // SAFETY: the other cores were stopped.
    unsafe { uart::write_panicking(line.bytes()) };
}

/// Logs the functions that called each other up to the one with this frame pointer.
pub fn log_backtrace(frame: usize) {
    for address in backtrace::from(frame) {
        log::warn!("  {address:#x} {}", symbols::Symbol::of_return_address(address));
    }
}

fn print_backtrace(frame: usize) {
    for address in backtrace::from(frame) {
        print(format_args!("  {address:#x} {}", symbols::Symbol::of_return_address(address)));
    }
}
