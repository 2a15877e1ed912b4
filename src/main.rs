//! Lichen: the table of contents of the boot.
#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod console_log;
mod drivers;
mod fs;
mod memory;
mod milestones;
mod panic;
mod process;
mod rcu;
mod sched;
mod selftest;
mod signal;
mod symbols;
mod syscall;
mod task;
mod tty;
mod watchdog;
mod whereabouts;
mod work;

use core::sync::atomic::{AtomicUsize, Ordering};

use arch::{psci, registers};
use drivers::device_tree::Platform;
use drivers::{core_online, gic, rtc, timer, uart};
use libkernel::Errno;
use libkernel::command_line::CommandLine;
use libkernel::fs::sysfs;
use libkernel::memory::PhysAddr;
use libkernel::sync::SetOnce;
use libkernel::task::{AffinityMask, Task};

static PLATFORM: SetOnce<Platform> = SetOnce::new();
static COMMAND_LINE: SetOnce<CommandLine> = SetOnce::new();
static ONLINE: AtomicUsize = AtomicUsize::new(1);
/// The core that the boot core waits for; 0 for none. A core that comes after the boot core gave it up does not join: no hook has run on it,
/// so nobody waits for it, grace periods least of all.
static AWAITED: AtomicUsize = AtomicUsize::new(0);

/// How long the boot core waits for another one, in nanoseconds: an emulator's threads may stand still for seconds.
const PATIENCE: u64 = 10_000_000_000;

/// What the device tree said.
///
/// # Panics
/// Before the boot core has read it.
pub fn platform() -> &'static Platform {
    #[expect(clippy::expect_used, reason = "the boot reads it before anything else")]
    PLATFORM.get().expect("the device tree has been read")
}

/// What the kernel command line asks for.
///
/// # Panics
/// Before the boot core has read it.
pub fn command_line() -> &'static CommandLine {
    #[expect(clippy::expect_used, reason = "the boot reads it before anything else")]
    COMMAND_LINE.get().expect("the command line has been read")
}

/// `panic=` of the command line; 0 before it was read.
pub fn panic_seconds() -> i32 {
    COMMAND_LINE.get().and_then(|line| line.panic_seconds).unwrap_or(0)
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
    let _ = COMMAND_LINE.set(CommandLine::parse(platform.command_line));
    let _ = PLATFORM.set(platform);
    let platform = crate::platform();

    let memory = memory::kernel_space::init(platform, load_address).and_then(|()| memory::boot::start_frames(platform));
    if uart::init(platform).is_err() {
        psci::power_off();
    }
    console_log::init(console_level(command_line()));
    match memory {
        Ok(()) => {}
        Err(Errno::E2BIG) => panic::give_up(format_args!("too many reserved ranges of memory")),
        Err(_) => panic::give_up(format_args!("too little memory")),
    }
    log::info!("Lichen {} on {} cores", env!("CARGO_PKG_VERSION"), platform.core_count);
    milestones::memory();

    if let Err(error) = gic::init(platform) {
        panic::give_up(format_args!("no interrupt controller: {error}"));
    }
    if let Err(error) = timer::init(platform, sched::timer_due) {
        panic::give_up(format_args!("no timer: {error}"));
    }
    panic::init();
    whereabouts::init();
    sched::init();
    rcu::init();
    task::init();
    watchdog::init();
    core_online::run(0);
    if let Some(seconds) = rtc::seconds(platform) {
        libkernel::machine::set_realtime_offset_ns((seconds * 1_000_000_000).saturating_sub(timer::monotonic_ns()));
    }
    if tty::init().is_err() {
        panic::give_up(format_args!("too little memory"));
    }
    uart::enable_interrupts(platform);
    fs::init(platform);
    registers::unmask_interrupts();
    // Whoever comes up first begins with the initramfs.
    start_cores(platform);
    watchdog::start();
    let first = Task::new("boot", async {
        let root = fs::root().await;
        milestones::root(&root);
        let first = process::first(root);
        if task::kernel_thread::init().and_then(|()| rcu::start_workers()).and_then(|()| work::init()).is_err() {
            panic::give_up(format_args!("too little memory"));
        }
        milestones::services(&first).await;
        match command_line().self_tests.as_deref() {
            Some(names) => selftest::start(names, first),
            None => process::start_init(command_line(), first),
        }
    });
    first.parameters().set_affinity(AffinityMask::only(0));
    first.wake();
    task::run()
}

/// The console shows messages of a smaller level than this (syslog(2)): warnings and worse if it shall be quiet, else information
/// too; `loglevel=` says more exactly.
fn console_level(command_line: &CommandLine) -> u8 {
    command_line.log_level.unwrap_or(if command_line.quiet { 5 } else { 7 })
}

/// Starts the other cores, one after the other. One that the firmware refuses is left out, and the next one gets its number; after one
/// that is silent, which might yet come with the number it was given, none is started.
fn start_cores(platform: &Platform) {
    let wanted = platform.core_count.min(command_line().max_cores.unwrap_or(usize::MAX).max(1));
    if platform.cores_left_out > 0 {
        log::warn!("{} cores more than Lichen can use are left out", platform.cores_left_out);
    }
    let mut left_out = 0;
    for (index, affinity) in platform.cores.iter().enumerate().take(wanted).skip(1) {
        let core = online_cores();
        gic::set_affinity(core, *affinity);
        AWAITED.store(core, Ordering::Release);
        if let Err(error) = arch::smp::start_core(core, *affinity) {
            log::warn!("the core with affinity {affinity:#x} could not be started: {error}");
            left_out += 1;
        } else if !has_come_up(core) {
            log::warn!("the core with affinity {affinity:#x} did not come up: it and those behind it are left out");
            left_out += wanted - index;
            break;
        }
    }
    // The archive may be unpacked by now; programs start after this.
    sysfs::set_online_cores(online_cores());
    log::info!("{} cores online", online_cores());
    milestones::cores(wanted, left_out);
}

/// Waits for a core that was started.
fn has_come_up(core: usize) -> bool {
    let until = timer::monotonic_ns() + PATIENCE;
    while online_cores() <= core {
        if timer::monotonic_ns() >= until
            && AWAITED.compare_exchange(core, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            return false;
        }
        registers::relax();
    }
    true
}

/// Any other core's way into the kernel.
#[unsafe(no_mangle)]
extern "C" fn secondary_main(core: usize) -> ! {
    arch::init_core(core);
    if AWAITED.compare_exchange(core, 0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        loop {
            registers::wait_for_interrupt();
        }
    }
    core_online::run(core);
    ONLINE.fetch_add(1, Ordering::Release);
    registers::unmask_interrupts();
    task::run()
}
