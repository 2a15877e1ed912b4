//! What `/proc` tells of the whole system: time, load, memory, devices.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::Result;
use crate::fs::device;
use crate::fs::mount::Path;
use crate::fs::sysfs::online_cores;
use crate::fs::virtual_fs::Text;
use crate::machine;
use crate::memory::{KernelHeap, PAGE_SIZE, frames};
use crate::process::clock::SECOND;
use crate::process::usage::{Usage, ticks};
use crate::process::{host, table};
use crate::sync::SpinLock;
use crate::task::{Activity, Task};

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

/// What all processes have used, those that have ended and were waited for included.
fn used() -> Usage {
    let mut sum = Usage::default();
    for process in table::processes() {
        sum.add(&process.usage());
        if process.parent_pid().is_none() {
            sum.add(&process.children_usage());
        }
    }
    sum
}

/// Nanoseconds that all cores together had nothing to do.
fn idle_ns(used: &Usage) -> u64 {
    let busy = used.user_ns.saturating_add(used.system_ns);
    machine::monotonic_ns().saturating_mul(online_cores() as u64).saturating_sub(busy)
}

/// `/proc/uptime`: seconds since boot, and idle seconds of all cores.
pub fn uptime(_root: &Path, text: &mut Text) -> Result<()> {
    let (up, idle) = (machine::monotonic_ns(), idle_ns(&used()));
    let hundredths = |ns: u64| (ns / SECOND, ns % SECOND / 10_000_000);
    let (up, idle) = (hundredths(up), hundredths(idle));
    text.write_fmt(format_args!("{}.{:02} {}.{:02}\n", up.0, up.1, idle.0, idle.1))
}

fn each_task(mut action: impl FnMut(&Arc<Task>)) {
    for process in table::processes() {
        process.for_each_thread(|thread| {
            if let Some(task) = thread.task() {
                action(task);
            }
        });
    }
}

fn is_running(task: &Task) -> bool {
    matches!(task.activity(), Activity::Ready | Activity::Running)
}

/// The load averages, in units of 1/2048, and when they were last brought up to date.
static LOAD: SpinLock<([u64; 3], u64)> = SpinLock::new(([0; 3], 0));

/// The interval at which the averages take a sample.
const SAMPLE: u64 = 5 * SECOND;

/// What is kept of the old value at each sample, in units of 1/2048: over 1, 5 and 15 minutes.
const KEPT: [u64; 3] = [1884, 2014, 2037];

/// Brings the averages up to date for `samples` intervals with `running` tasks.
fn decay(load: u64, kept: u64, running: u64, samples: u64) -> u64 {
    (0..samples.min(1000)).fold(load, |load, _| (load * kept + running * 2048 * (2048 - kept)) / 2048)
}

/// `/proc/loadavg`. Nothing samples while nobody asks: the time since the last question counts with the load of now.
pub fn load_average(_root: &Path, text: &mut Text) -> Result<()> {
    let (mut running, mut all) = (0u64, 0u64);
    each_task(|task| {
        all += 1;
        running += u64::from(is_running(task));
    });
    // Who asks is running, and would not be otherwise.
    let load = running.saturating_sub(1);
    let averages = {
        let mut state = LOAD.lock();
        let samples = machine::monotonic_ns().saturating_sub(state.1) / SAMPLE;
        for (average, kept) in state.0.iter_mut().zip(KEPT) {
            *average = decay(*average, kept, load, samples);
        }
        state.1 += samples * SAMPLE;
        state.0
    };
    for average in averages {
        text.write_fmt(format_args!("{}.{:02} ", average / 2048, average % 2048 * 100 / 2048))?;
    }
    let last = table::processes().last().map_or(1, |process| process.pid().number());
    text.write_fmt(format_args!("{}/{all} {last}\n", running.max(1)))
}

/// `/proc/stat`.
pub fn statistics(_root: &Path, text: &mut Text) -> Result<()> {
    let used = used();
    let cores = online_cores() as u64;
    let idle = idle_ns(&used);
    let (mut running, mut switches, mut processes) = (0u64, 0u64, 0u64);
    each_task(|task| {
        running += u64::from(is_running(task));
        switches += task.accounting().runs.get();
        processes += 1;
    });
    let line = |text: &mut Text, name: core::fmt::Arguments<'_>, share: u64| {
        text.write_fmt(format_args!(
            "{name} {} 0 {} {} 0 0 0 0 0 0\n",
            ticks(used.user_ns / share),
            ticks(used.system_ns / share),
            ticks(idle / share)
        ))
    };
    line(text, format_args!("cpu "), 1)?;
    for core in 0..cores {
        line(text, format_args!("cpu{core}"), cores)?;
    }
    let booted = machine::realtime_offset_ns() / SECOND;
    text.write_fmt(format_args!(
        "intr 0\nctxt {switches}\nbtime {booted}\nprocesses {processes}\nprocs_running {}\nprocs_blocked 0\n",
        running.max(1)
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_comes_near_to_the_number_of_running_tasks() {
        let after = |seconds: u64| decay(0, KEPT[0], 4, seconds / 5);
        assert!((4 * 2048 * 60 / 100..4 * 2048 * 66 / 100).contains(&after(60)), "63 % after a minute");
        assert!(after(600) > 4 * 2048 * 98 / 100);
        assert_eq!(decay(0, KEPT[2], 0, 100), 0);
    }
}
