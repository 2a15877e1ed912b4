//! `stat`, `statm`, `status` and `limits` of a process or thread, in Linux's layout (proc(5)).
#![forbid(unsafe_code)]

use super::process::{Subject, name};
use crate::Result;
use crate::fs::virtual_fs::Text;
use crate::machine::MAX_CORES;
use crate::memory::PAGE_SIZE;
use crate::process::Process;
use crate::process::limits::{INFINITY, Resource};
use crate::process::usage::ticks;
use crate::task::Activity;

/// The flag in `stat` that says so (`PF_KTHREAD`).
const KERNEL_THREAD: u32 = 0x0020_0000;
const KIB_PER_PAGE: u64 = PAGE_SIZE as u64 / 1024;

/// The letter and the word for what the subject does.
fn activity(subject: &Subject) -> (char, &'static str) {
    let Ok(thread) = subject.thread() else { return ('Z', "zombie") };
    // A first thread that left before the others stands for the process as a zombie.
    if subject.process.is_zombie() || (subject.thread.is_none() && subject.process.leader().is_none()) {
        return ('Z', "zombie");
    }
    if thread.signals().is_stopped() {
        return ('T', "stopped");
    }
    match thread.task().map(|task| task.activity()) {
        Some(Activity::Asleep) if thread.task().is_some_and(|task| task.is_uninterruptible()) => ('D', "disk sleep"),
        Some(Activity::Asleep) => ('S', "sleeping"),
        Some(Activity::Finished) => ('X', "dead"),
        _ => ('R', "running"),
    }
}

/// The numbers of its group and its session; a thread of the kernel is in none.
fn group_and_session(process: &Process) -> (u32, u32) {
    if process.is_kernel() { (0, 0) } else { (process.group_id().number(), process.session_id().number()) }
}

/// The number by which the parent is called.
fn parent(subject: &Subject) -> u32 {
    subject.process.parent_pid().map_or(0, |pid| pid.number())
}

/// Usage: of the thread alone below `task`, else of the process.
fn usage(subject: &Subject) -> crate::process::usage::Usage {
    subject.thread.as_ref().map_or_else(|| subject.process.usage(), |thread| thread.usage())
}

/// `stat`: one line of 52 fields.
pub fn stat(subject: &Subject, text: &mut Text) -> Result<()> {
    let process = &subject.process;
    let thread = subject.thread().ok();
    let task = thread.as_ref().and_then(|thread| thread.task().cloned());
    let memory = subject.space().map(|space| space.usage()).unwrap_or_default();
    let (used, children) = (usage(subject), process.children_usage());
    let terminal = process.terminal();
    let foreground = terminal.as_ref().and_then(|terminal| terminal.foreground()).map_or(-1, |pid| pid.raw());
    let attributes = task.as_ref().map(|task| crate::process::schedule::Attributes::of(task.parameters()));
    let nice = attributes.as_ref().map_or(0, |attributes| i32::from(attributes.nice));
    let realtime = attributes.as_ref().map_or(0, |attributes| i32::from(attributes.priority));
    let policy = attributes.as_ref().map_or(0, |attributes| attributes.policy_number());
    let priority = if realtime > 0 { -1 - realtime } else { 20 + nice };
    let program = process.program();
    let (arguments, environment) =
        program.as_ref().map_or((0..0, 0..0), |program| (program.arguments.clone(), program.environment.clone()));
    let (pending, blocked) =
        thread.as_ref().map_or((0, 0), |thread| (thread.signals().pending().bits(), thread.signals().blocked().bits()));
    let actions = process.signals().actions();
    text.write_fmt(format_args!("{} (", subject.id()))?;
    text.push(name(subject).as_bytes())?;
    text.write_fmt(format_args!(
        ") {} {} {} {} {} {foreground} {} {} {} {} {} {} {} {} {} {priority} {nice} {} 0 {} {} {} {} ",
        activity(subject).0,
        parent(subject),
        group_and_session(process).0,
        group_and_session(process).1,
        terminal.as_ref().map_or(0, |terminal| terminal.device()),
        if process.is_kernel() { KERNEL_THREAD } else { 0 },
        used.minor_faults,
        children.minor_faults,
        used.major_faults,
        children.major_faults,
        ticks(used.user_ns),
        ticks(used.system_ns),
        ticks(children.user_ns),
        ticks(children.system_ns),
        process.thread_count(),
        ticks(thread.as_ref().map_or(process.start_ns(), |thread| thread.start_ns())),
        memory.size * PAGE_SIZE as u64,
        memory.resident,
        process.limit(Resource::Resident).soft,
    ))?;
    text.write_fmt(format_args!(
        "1 1 {} 0 0 {} {} {} {} {} 0 0 17 {} {realtime} {policy} 0 0 0 0 0 0 {} {} {} {} 0\n",
        program.as_ref().map_or(0, |program| program.stack_start),
        pending & 0x7fff_ffff,
        blocked & 0x7fff_ffff,
        actions.ignored().bits() & 0x7fff_ffff,
        actions.caught().bits() & 0x7fff_ffff,
        u32::from(matches!(activity(subject).0, 'S' | 'D')),
        task.as_ref().map_or(0, |task| task.accounting().last_core()),
        arguments.start,
        arguments.end,
        environment.start,
        environment.end,
    ))
}

/// `statm`: memory in pages.
pub fn statm(subject: &Subject, text: &mut Text) -> Result<()> {
    let memory = subject.space().map(|space| space.usage()).unwrap_or_default();
    let shared = memory.resident.saturating_sub(memory.anonymous);
    text.write_fmt(format_args!(
        "{} {} {shared} {} 0 {} 0\n",
        memory.size,
        memory.resident,
        memory.text,
        memory.data + memory.stack
    ))
}

/// `status`: what `stat` says, for people, and more.
pub fn status(subject: &Subject, text: &mut Text) -> Result<()> {
    let process = &subject.process;
    let (letter, word) = activity(subject);
    text.push(b"Name:\t")?;
    text.push(name(subject).as_bytes())?;
    text.write_fmt(format_args!(
        "\nUmask:\t{:04o}\nState:\t{letter} ({word})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\n",
        subject.thread().map_or(0o22, |thread| thread.fs().umask()),
        process.pid(),
        subject.id(),
        parent(subject),
    ))?;
    if let Ok(thread) = subject.thread() {
        thread_status(subject, &thread, text)?;
    }
    let used = usage(subject);
    text.write_fmt(format_args!(
        "voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        used.voluntary_switches, used.involuntary_switches
    ))
}

fn thread_status(subject: &Subject, thread: &crate::process::Thread, text: &mut Text) -> Result<()> {
    let credentials = thread.credentials();
    let (uid, gid) = (&credentials.uid, &credentials.gid);
    text.write_fmt(format_args!(
        "Uid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\n",
        uid.real.raw(),
        uid.effective.raw(),
        uid.saved.raw(),
        uid.file_system.raw(),
        gid.real.raw(),
        gid.effective.raw(),
        gid.saved.raw(),
        gid.file_system.raw(),
    ))?;
    text.write_fmt(format_args!("FDSize:\t64\nGroups:\t"))?;
    for group in credentials.groups.iter() {
        text.write_fmt(format_args!("{} ", group.raw()))?;
    }
    let memory = thread.space().usage();
    let kib = |pages: u64| pages * KIB_PER_PAGE;
    text.write_fmt(format_args!("\nVmPeak:\t{:8} kB\nVmSize:\t{:8} kB\n", kib(memory.size), kib(memory.size)))?;
    text.write_fmt(format_args!("VmLck:\t{:8} kB\nVmPin:\t       0 kB\n", kib(memory.locked)))?;
    text.write_fmt(format_args!(
        "VmHWM:\t{:8} kB\nVmRSS:\t{:8} kB\nRssAnon:\t{:8} kB\nRssFile:\t{:8} kB\nRssShmem:\t       0 kB\n",
        kib(memory.peak_resident.max(memory.resident)),
        kib(memory.resident),
        kib(memory.anonymous),
        kib(memory.resident.saturating_sub(memory.anonymous)),
    ))?;
    text.write_fmt(format_args!(
        "VmData:\t{:8} kB\nVmStk:\t{:8} kB\nVmExe:\t{:8} kB\nVmLib:\t       0 kB\nVmPTE:\t{:8} kB\nVmSwap:\t       0 kB\n",
        kib(memory.data),
        kib(memory.stack),
        kib(memory.text),
        kib(memory.tables),
    ))?;
    let signals = thread.signals();
    let shared = signals.process();
    let actions = shared.actions();
    let allowance = thread.signal_allowance();
    text.write_fmt(format_args!(
        "Threads:\t{}\nSigQ:\t{}/{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n",
        subject.process.thread_count(),
        allowance.queued(),
        allowance.limit(),
        signals.pending().bits(),
        shared.pending().bits(),
        signals.blocked().bits(),
        actions.ignored().bits(),
        actions.caught().bits(),
    ))?;
    let sets = &credentials.capabilities;
    text.write_fmt(format_args!(
        "CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\nNoNewPrivs:\t{}\nSeccomp:\t0\n",
        sets.inheritable.bits(),
        sets.permitted.bits(),
        sets.effective.bits(),
        sets.bounding.bits(),
        sets.ambient.bits(),
        u32::from(credentials.no_new_privileges),
    ))?;
    let cores = super::super::sysfs::online_cores().clamp(1, MAX_CORES);
    let mask = thread.task().map_or(u64::MAX, |task| task.parameters().affinity().0);
    let allowed = mask & (u64::MAX >> (64 - cores));
    text.write_fmt(format_args!("Cpus_allowed:\t{allowed:x}\nCpus_allowed_list:\t"))?;
    core_list(allowed, text)?;
    text.write_fmt(format_args!("\nMems_allowed:\t1\nMems_allowed_list:\t0\n"))
}

/// Cores as a list of ranges, such as `0-2,5`.
fn core_list(mask: u64, text: &mut Text) -> Result<()> {
    let mut separator = "";
    let mut core = 0;
    while core < 64 {
        if mask >> core & 1 == 0 {
            core += 1;
            continue;
        }
        let length = (!(mask >> core)).trailing_zeros();
        match length {
            1 => text.write_fmt(format_args!("{separator}{core}"))?,
            _ => text.write_fmt(format_args!("{separator}{core}-{}", core + length - 1))?,
        }
        separator = ",";
        core += length;
    }
    Ok(())
}

/// `limits`: all resource limits.
pub fn limits(subject: &Subject, text: &mut Text) -> Result<()> {
    const NAMES: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    text.write_fmt(format_args!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units"))?;
    for (resource, (name, unit)) in Resource::ALL.into_iter().zip(NAMES) {
        let limit = subject.process.limit(resource);
        text.write_fmt(format_args!("{name:<25} "))?;
        for value in [limit.soft, limit.hard] {
            match value {
                INFINITY => text.write_fmt(format_args!("{:<20} ", "unlimited"))?,
                value => text.write_fmt(format_args!("{value:<20} "))?,
            }
        }
        let width = if unit.is_empty() { 0 } else { 10 };
        text.write_fmt(format_args!("{unit:<width$}\n"))?;
    }
    Ok(())
}
