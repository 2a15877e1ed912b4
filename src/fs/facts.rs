//! The files of `/proc` that only the kernel proper can fill: the processors, the command line.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::Result;
use libkernel::fs::mount::Path;
use libkernel::fs::procfs;
use libkernel::fs::virtual_fs::Text;

use crate::arch::features;
use crate::drivers::timer;
use crate::{online_cores, platform};

/// Names of the bits of `AT_HWCAP`, from the lowest on (`arch/arm64/include/uapi/asm/hwcap.h`).
const FEATURES: [&str; 22] = [
    "fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "cpuid",
    "asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4", "asimddp", "sha512",
];

/// Registers the files.
pub fn register() {
    procfs::register("cmdline", 0o444, Arc::new(command_line));
    procfs::register("cpuinfo", 0o444, Arc::new(processors));
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
