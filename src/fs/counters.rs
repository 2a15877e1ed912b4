//! Lichen's own part of `/proc`: what each core counted about interrupts, messages, stealing, scheduling, memory and grace periods.
//!
//! `/proc/lichen/messages`, `steals`, `heap` and `rcu` are tables with a line for each core, below a line of headings.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use libkernel::Result;
use libkernel::fs::mount::Path;
use libkernel::fs::procfs;
use libkernel::fs::virtual_fs::Text;
use libkernel::memory::KernelHeap;
use libkernel::message;
use libkernel::rcu;
use libkernel::sched::load;

use crate::drivers::interrupts;
use crate::online_cores;
use crate::sched::balance;

/// Registers the files.
pub fn register() {
    procfs::register("interrupts", 0o444, Arc::new(interrupt_counts));
    procfs::register("lichen/messages", 0o444, Arc::new(messages));
    procfs::register("lichen/steals", 0o444, Arc::new(steals));
    procfs::register("lichen/heap", 0o444, Arc::new(heap));
    procfs::register("lichen/rcu", 0o444, Arc::new(grace_periods));
    procfs::set_interrupt_count(all_interrupts);
}

fn all_interrupts() -> u64 {
    interrupts::statistics().flat_map(|(_, _, counts)| counts).sum()
}

fn interrupt_counts(_root: &Path, text: &mut Text) -> Result<()> {
    let cores = online_cores();
    text.push(b"      ")?;
    for core in 0..cores {
        text.write_fmt(format_args!("{:>11}", alloc::format!("CPU{core}")))?;
    }
    text.push(b"\n")?;
    for (number, name, counts) in interrupts::statistics() {
        let sgi = interrupts::is_sgi(number);
        text.write_fmt(format_args!("{:>5}:", alloc::format!("{}{number}", if sgi { "IPI" } else { "" })))?;
        for count in counts.take(cores) {
            text.write_fmt(format_args!(" {count:10}"))?;
        }
        text.write_fmt(format_args!("  {}{name}\n", if sgi { "" } else { "GIC  " }))?;
    }
    Ok(())
}

fn messages(_root: &Path, text: &mut Text) -> Result<()> {
    text.push(b"core sent received sgis coalesced cut-short to-itself allocations-in-interrupts\n")?;
    for core in 0..online_cores() {
        let Some(counted) = message::statistics(core) else { continue };
        let (sent, sgis) = (counted.sent(), counted.interrupts());
        text.write_fmt(format_args!(
            "{core} {sent} {} {sgis} {} {} {} {}\n",
            counted.received(),
            sent.saturating_sub(sgis),
            counted.cut_short(),
            counted.to_itself(),
            KernelHeap::allocations_in_interrupts_of(core),
        ))?;
    }
    Ok(())
}

fn steals(_root: &Path, text: &mut Text) -> Result<()> {
    text.push(b"core requests refused stolen relieved migrated-here turns dropped-reschedules\n")?;
    for core in 0..online_cores() {
        let (Some(counted), Some(load)) = (balance::statistics(core), load::of(core)) else { continue };
        let account = load.read();
        text.write_fmt(format_args!(
            "{core} {} {} {} {} {} {} {}\n",
            counted.requests.load(Relaxed),
            counted.refused.load(Relaxed),
            counted.stolen.load(Relaxed),
            counted.relieved.load(Relaxed),
            counted.migrated.load(Relaxed),
            account.turns,
            account.dropped,
        ))?;
    }
    Ok(())
}

fn heap(_root: &Path, text: &mut Text) -> Result<()> {
    text.push(b"core allocations\n")?;
    for core in 0..online_cores() {
        text.write_fmt(format_args!("{core} {}\n", KernelHeap::allocations_of(core)))?;
    }
    Ok(())
}

fn grace_periods(_root: &Path, text: &mut Text) -> Result<()> {
    text.push(b"core grace-periods requests deferred run waiting\n")?;
    for core in 0..online_cores() {
        let Some(counted) = rcu::statistics(core) else { continue };
        // Those that were run first: what runs meanwhile then counts as waiting, not as run before it was deferred.
        let run = counted.callbacks();
        let deferred = counted.deferred();
        text.write_fmt(format_args!(
            "{core} {} {} {deferred} {run} {}\n",
            counted.periods(),
            counted.requests(),
            deferred.saturating_sub(run),
        ))?;
    }
    Ok(())
}
