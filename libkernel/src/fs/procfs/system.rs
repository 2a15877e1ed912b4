//! What `/proc` tells of the whole system: version, memory, devices.
#![forbid(unsafe_code)]

use crate::Result;
use crate::fs::device;
use crate::fs::mount::Path;
use crate::fs::virtual_fs::Text;
use crate::memory::{KernelHeap, PAGE_SIZE, frames};
use crate::process::host;

/// A file that is there and empty.
pub fn nothing(_root: &Path, _text: &mut Text) -> Result<()> {
    Ok(())
}

/// `/proc/swaps`: only its heading.
pub fn swaps(_root: &Path, text: &mut Text) -> Result<()> {
    text.push(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
}

/// `/proc/devices`.
pub fn devices(_root: &Path, text: &mut Text) -> Result<()> {
    text.write_fmt(format_args!("Character devices:\n{}\nBlock devices:\n", device::list()))
}

/// `/proc/version`.
pub fn version(_root: &Path, text: &mut Text) -> Result<()> {
    text.push(b"Linux version ")?;
    text.push(host::RELEASE)?;
    text.push(b" (lichen) ")?;
    text.push(host::VERSION)?;
    text.push(b"\n")
}

/// `/proc/meminfo`, as far as there is something to tell; procps wants the first lines.
pub fn memory(_root: &Path, text: &mut Text) -> Result<()> {
    let kib = |frames: usize| frames * (PAGE_SIZE / 1024);
    let (total, free, available) = (frames::total(), frames::free_count(), frames::available());
    let lines = [
        ("MemTotal", kib(total)),
        ("MemFree", kib(free)),
        ("MemAvailable", kib(available)),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", 0),
        ("Mapped", 0),
        ("Shmem", 0),
        ("Slab", kib(KernelHeap::frames())),
        ("SReclaimable", 0),
        ("SUnreclaim", kib(KernelHeap::frames())),
        ("PageTables", 0),
        ("CommitLimit", kib(total)),
        ("Committed_AS", kib(total - free)),
        ("VmallocTotal", 0),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
    ];
    for (name, value) in lines {
        text.write_fmt(format_args!("{:<16}{value:8} kB\n", alloc::format!("{name}:")))?;
    }
    Ok(())
}

/// `/proc/vmstat`, for vmstat(8).
pub fn virtual_memory(_root: &Path, text: &mut Text) -> Result<()> {
    text.write_fmt(format_args!("nr_free_pages {}\n", frames::free_count()))?;
    for name in ["pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault"] {
        text.write_fmt(format_args!("{name} 0\n"))?;
    }
    Ok(())
}
