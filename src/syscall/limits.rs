//! Resource limits and what was used: prlimit64(2), getrlimit(2), setrlimit(2), getrusage(2), times(2).
#![forbid(unsafe_code)]

use super::Context;
use alloc::sync::Arc;
use libkernel::memory::UserPtr;
use libkernel::process::capability::Capability;
use libkernel::process::clock::to_timeval;
use libkernel::process::limits::{Limit, Resource};
use libkernel::process::usage::{Usage, ticks};
use libkernel::process::{Pid, Process, table};
use libkernel::{Errno, Result, machine};
use linux_raw_sys::general as abi;

const USAGE_OWN: i32 = 0;
const USAGE_CHILDREN: i32 = -1;
const USAGE_THREAD: i32 = 1;

fn timeval(ns: u64) -> abi::__kernel_old_timeval {
    let [tv_sec, tv_usec] = to_timeval(ns);
    abi::__kernel_old_timeval { tv_sec, tv_usec }
}

/// Usage in the layout of getrusage(2).
pub(super) fn rusage(usage: &Usage) -> abi::rusage {
    let word = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    abi::rusage {
        ru_utime: timeval(usage.user_ns),
        ru_stime: timeval(usage.system_ns),
        ru_maxrss: word(usage.max_resident_kib),
        ru_ixrss: 0,
        ru_idrss: 0,
        ru_isrss: 0,
        ru_minflt: word(usage.minor_faults),
        ru_majflt: word(usage.major_faults),
        ru_nswap: 0,
        ru_inblock: 0,
        ru_oublock: 0,
        ru_msgsnd: 0,
        ru_msgrcv: 0,
        ru_nsignals: 0,
        ru_nvcsw: word(usage.voluntary_switches),
        ru_nivcsw: word(usage.involuntary_switches),
    }
}

/// getrusage(2).
pub fn getrusage(cx: &mut Context, who: i32, usage: UserPtr<abi::rusage>) -> Result<usize> {
    let used = match who {
        USAGE_OWN => cx.thread.process().usage(),
        USAGE_CHILDREN => cx.thread.process().children_usage(),
        USAGE_THREAD => cx.thread.usage(),
        _ => return Err(Errno::EINVAL),
    };
    cx.space().write_value(usage, rusage(&used))?;
    Ok(0)
}

/// times(2): the clock ticks since boot.
pub fn times(cx: &mut Context, buffer: UserPtr<[i64; 4]>) -> Result<usize> {
    if !buffer.is_null() {
        let process = cx.thread.process();
        let (own, children) = (process.usage(), process.children_usage());
        let times = [own.user_ns, own.system_ns, children.user_ns, children.system_ns];
        cx.space().write_value(buffer, times.map(|ns| ticks(ns) as i64))?;
    }
    Ok(ticks(machine::monotonic_ns()) as usize)
}

/// prlimit64(2).
pub fn prlimit64(
    cx: &mut Context,
    pid: i32,
    resource: u32,
    new: UserPtr<abi::rlimit64>,
    old: UserPtr<abi::rlimit64>,
) -> Result<usize> {
    let resource = Resource::from_number(resource)?;
    let new = new.non_null().map(|new| cx.space().read_value(new)).transpose()?;
    let process = target(cx, pid)?;
    let new = new.map(|new| Limit { soft: new.rlim_cur, hard: new.rlim_max });
    let before = exchange(cx, &process, resource, new)?;
    if !old.is_null() {
        cx.space().write_value(old, abi::rlimit64 { rlim_cur: before.soft, rlim_max: before.hard })?;
    }
    Ok(0)
}

/// getrlimit(2).
pub fn getrlimit(cx: &mut Context, resource: u32, limit: UserPtr<abi::rlimit64>) -> Result<usize> {
    let resource = Resource::from_number(resource)?;
    let Limit { soft, hard } = cx.thread.process().limit(resource);
    cx.space().write_value(limit, abi::rlimit64 { rlim_cur: soft, rlim_max: hard })?;
    Ok(0)
}

/// setrlimit(2).
pub fn setrlimit(cx: &mut Context, resource: u32, limit: UserPtr<abi::rlimit64>) -> Result<usize> {
    let resource = Resource::from_number(resource)?;
    let new = cx.space().read_value(limit)?;
    let process = cx.thread.process().clone();
    exchange(cx, &process, resource, Some(Limit { soft: new.rlim_cur, hard: new.rlim_max }))?;
    Ok(0)
}

/// The process whose limits a call may see and change: one's own, or another of the same user.
fn target(cx: &Context, pid: i32) -> Result<Arc<Process>> {
    let own = cx.thread.process();
    if pid == 0 || pid == own.pid().raw() {
        return Ok(own.clone());
    }
    let thread = Pid::new(pid).and_then(table::thread).ok_or(Errno::ESRCH)?;
    let theirs = thread.credentials();
    let allowed = cx.thread.with_credentials(|mine| {
        let uid = mine.uid.real;
        let gid = mine.gid.real;
        let same = [theirs.uid.real, theirs.uid.effective, theirs.uid.saved].iter().all(|id| *id == uid)
            && [theirs.gid.real, theirs.gid.effective, theirs.gid.saved].iter().all(|id| *id == gid);
        same || mine.has(Capability::SysResource)
    });
    if allowed { Ok(thread.process().clone()) } else { Err(Errno::EPERM) }
}

/// Sets a limit, if there is a new one, and returns the old one.
fn exchange(cx: &Context, process: &Process, resource: Resource, new: Option<Limit>) -> Result<Limit> {
    let may_raise = cx.thread.with_credentials(|credentials| credentials.has(Capability::SysResource));
    let (old, memory) = process.with_limits(|limits| {
        let old = limits.get(resource);
        if let Some(new) = new {
            limits.set(resource, new, may_raise)?;
        }
        Ok::<_, Errno>((old, limits.memory()))
    })?;
    if new.is_some() && resource == Resource::Cpu {
        process.processor_alarms().limit_changed(process);
    }
    if new.is_some()
        && let Some(space) = process.space()
    {
        space.set_limits(memory);
    }
    Ok(old)
}
