//! The numbers of `/proc/meminfo`.
#![forbid(unsafe_code)]

use core::fmt;

use super::address::PAGE_SIZE;
use super::frames;
use super::heap::KernelHeap;

/// Memory of the whole machine, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statistics {
    /// RAM that the allocator manages.
    pub total: usize,
    /// Free.
    pub free: usize,
    /// What programs may still get.
    pub available: usize,
    /// In the kernel heap.
    pub heap: usize,
}

impl Statistics {
    /// As of now; exact when nobody allocates meanwhile.
    #[must_use]
    pub fn now() -> Self {
        let free = frames::free_count();
        Self { total: frames::total(), free, available: frames::available().min(free), heap: KernelHeap::frames() }
    }

    /// Writes `/proc/meminfo` (proc(5)). `cached`: pages of file content, all of it in memory-only file systems.
    pub fn write(&self, cached: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        let lines = [
            ("MemTotal", self.total),
            ("MemFree", self.free),
            ("MemAvailable", self.available),
            ("Buffers", 0),
            ("Cached", cached),
            ("SwapCached", 0),
            ("SwapTotal", 0),
            ("SwapFree", 0),
            ("Dirty", 0),
            ("Writeback", 0),
            ("Shmem", cached),
            ("KReclaimable", 0),
            ("Slab", self.heap),
            ("SReclaimable", 0),
            ("SUnreclaim", self.heap),
            ("CommitLimit", self.total),
        ];
        for (name, pages) in lines {
            writeln!(out, "{name}:{:>1$} kB", pages * (PAGE_SIZE / 1024), 23usize.saturating_sub(name.len()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_has_linux_s_columns() {
        let statistics = Statistics { total: 1000, free: 500, available: 400, heap: 3 };
        let mut text = alloc::string::String::new();
        statistics.write(7, &mut text).unwrap();
        assert!(
            text.starts_with("MemTotal:           4000 kB\nMemFree:            2000 kB\nMemAvailable:       1600 kB\n")
        );
        assert!(text.contains("\nSlab:                 12 kB\n"));
    }
}
