//! Lichen: the table of contents of the boot.
#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod console_log;
mod drivers;
mod memory;
mod panic;
mod sched;
mod syscall;
mod task;

use core::sync::atomic::{AtomicUsize, Ordering};

use arch::{psci, registers};
use drivers::device_tree::Platform;
use drivers::{core_online, gic, rtc, timer, uart};
use libkernel::memory::PhysAddr;
use libkernel::sync::SpinLock;

static PLATFORM: SpinLock<Option<&'static Platform>> = SpinLock::new(None);
static ONLINE: AtomicUsize = AtomicUsize::new(1);

/// What the device tree said.
///
/// # Panics
/// Before the boot core has read it.
pub fn platform() -> &'static Platform {
    #[expect(clippy::expect_used, reason = "the boot reads it before anything else")]
    PLATFORM.lock().expect("the device tree has been read")
}

/// How many cores run; their numbers are below it.
pub fn online_cores() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// The boot core's way into the kernel: `tree` is the device tree's physical address, `load_address` the image's.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(tree: u64, load_address: u64) -> ! {
    arch::init_core(0);
    timer::init_clock();
    memory::boot::start_heap();

    let Some(platform) = Platform::read(PhysAddr(tree), registers::affinity()) else { psci::power_off() };
    psci::init(platform.psci_method.unwrap_or("hvc"));
    let platform: &'static Platform = alloc::boxed::Box::leak(alloc::boxed::Box::new(platform));
    *PLATFORM.lock() = Some(platform);

    if memory::kernel_space::init(platform, load_address).is_err() || memory::boot::start_frames(platform).is_err() {
        let _ = uart::init(platform);
        console_log::init(log::LevelFilter::Info);
        panic::give_up(format_args!("too little memory"));
    }
    if uart::init(platform).is_err() {
        psci::power_off();
    }
    console_log::init(log::LevelFilter::Info);
    log::info!("Lichen {} on {} cores", env!("CARGO_PKG_VERSION"), platform.core_count);

    if let Err(error) = gic::init(platform) {
        panic::give_up(format_args!("no interrupt controller: {error}"));
    }
    if let Err(error) = timer::init(platform, task::timer_due) {
        panic::give_up(format_args!("no timer: {error}"));
    }
    panic::init();
    task::init();
    core_online::run(0);
    if let Some(seconds) = rtc::seconds(platform) {
        libkernel::machine::set_realtime_offset_ns((seconds * 1_000_000_000).saturating_sub(timer::monotonic_ns()));
    }
    start_cores(platform);
    uart::enable_interrupts(platform);
    registers::unmask_interrupts();
    task::run()
}

/// Starts the other cores, one after the other; one that does not come up is left out.
fn start_cores(platform: &Platform) {
    for core in 1..platform.core_count {
        let Some(affinity) = platform.cores.get(core) else { break };
        if let Err(error) = arch::smp::start_core(core, *affinity) {
            log::warn!("core {core} could not be started: {error}");
            break;
        }
        let until = timer::monotonic_ns() + 1_000_000_000;
        while online_cores() <= core && timer::monotonic_ns() < until {
            registers::relax();
        }
        if online_cores() <= core {
            log::warn!("core {core} did not come up");
            break;
        }
    }
    log::info!("{} cores online", online_cores());
}

/// Any other core's way into the kernel.
#[unsafe(no_mangle)]
extern "C" fn secondary_main(core: usize) -> ! {
    arch::init_core(core);
    core_online::run(core);
    ONLINE.fetch_add(1, Ordering::Release);
    registers::unmask_interrupts();
    task::run()
}
