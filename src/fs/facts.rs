//! The files of `/proc` that only the kernel proper can fill: the processors, interrupts, the command line.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use libkernel::Result;
use libkernel::fs::mount::Path;
use libkernel::fs::virtual_fs::Text;
use libkernel::fs::{procfs, sysfs};
use libkernel::memory::KernelHeap;
use libkernel::message;

use crate::arch::features;
use crate::drivers::{interrupts, timer};
use crate::sched::balance;
use crate::{online_cores, platform};

/// Names of the bits of `AT_HWCAP`, from the lowest on (`arch/arm64/include/uapi/asm/hwcap.h`).
const FEATURES: [&str; 22] = [
    "fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "cpuid",
    "asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4", "asimddp", "sha512",
];

/// Registers the files; all cores are up.
pub fn register() {
    sysfs::set_online_cores(online_cores());
    procfs::register("cmdline", 0o444, Arc::new(command_line));
    procfs::register("cpuinfo", 0o444, Arc::new(processors));
    procfs::register("interrupts", 0o444, Arc::new(interrupt_counts));
    procfs::register("lichen", 0o444, Arc::new(lichen));
}

fn command_line(_root: &Path, text: &mut Text) -> Result<()> {
    text.write_fmt(format_args!("{}\n", platform().command_line))
}

fn processors(_root: &Path, text: &mut Text) -> Result<()> {
    let id = features::main_id();
    let field = |shift: u32, bits: u32| id >> shift & ((1 << bits) - 1);
    for core in 0..online_cores() {
        let twice_mhz = timer::frequency() / 500_000;
        text.write_fmt(format_args!("processor\t: {core}\nBogoMIPS\t: {twice_mhz}.00\nFeatures\t:"))?;
        for (bit, name) in FEATURES.iter().enumerate() {
            if features::hwcap() >> bit & 1 != 0 {
                text.write_fmt(format_args!(" {name}"))?;
            }
        }
        text.write_fmt(format_args!(
            "\nCPU implementer\t: {:#04x}\nCPU architecture: 8\nCPU variant\t: {:#x}\nCPU part\t: {:#05x}\nCPU revision\t: {}\n\n",
            field(24, 8),
            field(20, 4),
            field(4, 12),
            field(0, 4),
        ))?;
    }
    Ok(())
}

fn interrupt_counts(_root: &Path, text: &mut Text) -> Result<()> {
    let cores = online_cores();
    text.push(b"     ")?;
    for core in 0..cores {
        text.write_fmt(format_args!("{:>11}", alloc::format!("CPU{core}")))?;
    }
    text.push(b"\n")?;
    for (number, name, counts) in interrupts::statistics() {
        text.write_fmt(format_args!("{number:4}:"))?;
        for count in counts.iter().take(cores) {
            text.write_fmt(format_args!(" {:10}", count.load(Relaxed)))?;
        }
        text.write_fmt(format_args!("  GIC  {name}\n"))?;
    }
    Ok(())
}

/// What each core counted about messages, stealing and allocations: `/proc/lichen`.
fn lichen(_root: &Path, text: &mut Text) -> Result<()> {
    text.push(b"core sent sgis received to-itself steal-requests refused stolen relieved\n")?;
    for core in 0..online_cores() {
        let (Some(messages), Some(steals)) = (message::statistics(core), balance::statistics(core)) else { continue };
        text.write_fmt(format_args!(
            "{core} {} {} {} {} {} {} {} {}\n",
            messages.sent(),
            messages.interrupts(),
            messages.received(),
            messages.to_itself(),
            steals.requests.load(Relaxed),
            steals.refused.load(Relaxed),
            steals.stolen.load(Relaxed),
            steals.relieved.load(Relaxed),
        ))?;
    }
    text.write_fmt(format_args!("allocations in interrupts {}\n", KernelHeap::allocations_in_interrupts()))
}
