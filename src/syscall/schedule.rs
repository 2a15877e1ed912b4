//! Calls about scheduling: sched_setattr(2) and its kin, affinity, nice values (sched(7)).
#![forbid(unsafe_code)]

use super::Context;
use crate::online_cores;
use alloc::sync::Arc;
use libkernel::memory::UserPtr;
use libkernel::process::capability::Capability;
use libkernel::process::clock::to_timespec;
use libkernel::process::schedule::{
    Attributes, RESET_ON_FORK, ROUND_ROBIN_SLICE, may_be_nice, priority_range, same_owner,
};
use libkernel::process::{Pid, Thread, Uid, table, tree};
use libkernel::sched::RunQueue;
use libkernel::task::{AffinityMask, Parameters, Policy, Runnable, Task};
use libkernel::{Errno, Result};

/// Sizes of `struct sched_attr`: the first version, and the one with utilisation clamps.
const ATTRIBUTES_FIRST: u32 = 48;
const ATTRIBUTES_SIZE: u32 = 56;
/// Flags of `struct sched_attr`.
const FLAG_RESET_ON_FORK: u64 = 1;
const FLAG_KEEP_POLICY: u64 = 8;
const FLAG_KEEP_PARAMETERS: u64 = 16;

/// Who getpriority(2) and setpriority(2) are about.
const PRIORITY_PROCESS: i32 = 0;
const PRIORITY_GROUP: i32 = 1;
const PRIORITY_USER: i32 = 2;

/// The slice of a thread that did not ask for one, in nanoseconds.
fn base_slice() -> u64 {
    RunQueue::<Runnable>::base_slice(online_cores())
}

/// The thread that a call names, 0 for the caller.
fn named(cx: &Context, tid: i32) -> Result<Arc<Thread>> {
    match tid {
        0 => Ok(cx.thread.clone()),
        tid => Pid::new(tid).and_then(table::thread).ok_or(Errno::ESRCH),
    }
}

/// As [`named`], for the calls to which a negative number is not a number.
fn named_by_number(cx: &Context, tid: i32) -> Result<Arc<Thread>> {
    if tid < 0 { Err(Errno::EINVAL) } else { named(cx, tid) }
}

fn task(thread: &Thread) -> Result<&Arc<Task>> {
    thread.task().ok_or(Errno::ESRCH)
}

/// sched_yield(2).
pub fn sched_yield(_: &mut Context) -> Result<usize> {
    crate::sched::yield_current();
    Ok(0)
}

/// sched_getaffinity(2): returns the bytes written.
pub fn sched_getaffinity(cx: &mut Context, tid: i32, length: u32, mask: UserPtr<u64>) -> Result<usize> {
    if length < size_of::<u64>() as u32 || !length.is_multiple_of(size_of::<u64>() as u32) {
        return Err(Errno::EINVAL);
    }
    let thread = named(cx, tid)?;
    let allowed = task(&thread)?.parameters().affinity().0 & online_mask();
    cx.space().write_value(mask, allowed)?;
    Ok(size_of::<u64>())
}

/// sched_setaffinity(2).
pub fn sched_setaffinity(cx: &mut Context, tid: i32, length: u32, mask: UserPtr<u8>) -> Result<usize> {
    let mut bytes = [0; size_of::<u64>()];
    let known = bytes.len().min(length as usize);
    cx.space().read_bytes(mask, bytes.get_mut(..known).unwrap_or_default())?;
    let thread = named(cx, tid)?;
    let theirs = thread.credentials();
    let allowed = cx.thread.with_credentials(|mine| same_owner(mine, &theirs) || mine.has(Capability::SysNice));
    if !allowed {
        return Err(Errno::EPERM);
    }
    let wanted = u64::from_ne_bytes(bytes) & online_mask();
    if wanted == 0 {
        return Err(Errno::EINVAL);
    }
    let task = task(&thread)?;
    if thread.process().is_kernel() && task.parameters().affinity().0.count_ones() == 1 {
        // What the thread does is bound to its core.
        return Err(Errno::EINVAL);
    }
    change(task, |parameters| parameters.set_affinity(AffinityMask(wanted)));
    Ok(0)
}

fn online_mask() -> u64 {
    u64::MAX >> (64 - online_cores().clamp(1, 64))
}

/// Changes how a task is scheduled, and tells the core that runs it.
fn change(task: &Arc<Task>, action: impl FnOnce(&Parameters)) {
    action(task.parameters());
    crate::sched::parameters_changed(task);
}

/// Gives `thread` new attributes if the caller may.
fn set(cx: &Context, thread: &Thread, new: impl FnOnce(Attributes) -> Result<Attributes>) -> Result<usize> {
    let task = task(thread)?;
    let old = Attributes::of(task.parameters());
    let new = new(old)?;
    let theirs = thread.credentials();
    let mine = cx.thread.credentials();
    thread.process().with_limits(|limits| old.check_change(&new, &mine, &theirs, limits))?;
    change(task, |parameters| new.apply(parameters));
    Ok(0)
}

/// sched_setscheduler(2).
pub fn sched_setscheduler(cx: &mut Context, tid: i32, policy: i32, parameter: UserPtr<i32>) -> Result<usize> {
    if policy < 0 || tid < 0 || parameter.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority = cx.space().read_value(parameter)?;
    let thread = named_by_number(cx, tid)?;
    let priority = u32::try_from(priority).map_err(|_| Errno::EINVAL)?;
    set(cx, &thread, |old| old.with_policy(policy as u32, priority))
}

/// sched_getscheduler(2).
pub fn sched_getscheduler(cx: &mut Context, tid: i32) -> Result<usize> {
    let thread = named_by_number(cx, tid)?;
    Ok(Attributes::of(task(&thread)?.parameters()).policy_number() as usize)
}

/// sched_setparam(2).
pub fn sched_setparam(cx: &mut Context, tid: i32, parameter: UserPtr<i32>) -> Result<usize> {
    if tid < 0 || parameter.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority = u32::try_from(cx.space().read_value(parameter)?).map_err(|_| Errno::EINVAL)?;
    let thread = named_by_number(cx, tid)?;
    set(cx, &thread, |old| old.with_policy(old.policy_number(), priority))
}

/// sched_getparam(2).
pub fn sched_getparam(cx: &mut Context, tid: i32, parameter: UserPtr<i32>) -> Result<usize> {
    if tid < 0 || parameter.is_null() {
        return Err(Errno::EINVAL);
    }
    let thread = named_by_number(cx, tid)?;
    let priority = Attributes::of(task(&thread)?.parameters()).priority;
    cx.space().write_value(parameter, i32::from(priority))?;
    Ok(0)
}

/// sched_get_priority_max(2).
pub fn sched_get_priority_max(_: &mut Context, policy: u32) -> Result<usize> {
    Ok(*priority_range(policy)?.end() as usize)
}

/// sched_get_priority_min(2).
pub fn sched_get_priority_min(_: &mut Context, policy: u32) -> Result<usize> {
    Ok(*priority_range(policy)?.start() as usize)
}

/// sched_rr_get_interval(2): the slice.
pub fn sched_rr_get_interval(cx: &mut Context, tid: i32, interval: UserPtr<[i64; 2]>) -> Result<usize> {
    let thread = named_by_number(cx, tid)?;
    let attributes = Attributes::of(task(&thread)?.parameters());
    let slice = match attributes.policy {
        Policy::Fifo => 0,
        Policy::RoundRobin => ROUND_ROBIN_SLICE,
        _ => attributes.slice.unwrap_or_else(base_slice),
    };
    cx.space().write_value(interval, to_timespec(slice))?;
    Ok(0)
}

/// sched_setattr(2). The words of `struct sched_attr`: size and policy, flags, nice and priority, runtime (the slice of the
/// policies that are not real-time), deadline, period, clamps.
pub fn sched_setattr(cx: &mut Context, tid: i32, attributes: UserPtr<u64>, flags: u32) -> Result<usize> {
    if tid < 0 || attributes.is_null() || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let size = match cx.space().read_value(attributes.cast::<u32>())? {
        0 => ATTRIBUTES_FIRST,
        size => size,
    };
    if !(ATTRIBUTES_FIRST..=4096).contains(&size) {
        return too_big(cx, attributes);
    }
    let mut bytes = [0; ATTRIBUTES_SIZE as usize];
    let known = bytes.len().min(size as usize);
    cx.space().read_bytes(attributes.cast(), bytes.get_mut(..known).unwrap_or_default())?;
    for at in ATTRIBUTES_SIZE..size {
        if cx.space().read_value(attributes.cast::<u8>().add(at as usize))? != 0 {
            return too_big(cx, attributes);
        }
    }
    let (words, _) = bytes.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_ne_bytes(*word));
    let mut next = || words.next().unwrap_or(0);
    let (policy, flags, nice_and_priority, runtime) = ((next() >> 32) as u32, next(), next(), next());
    let (nice, priority) = (nice_and_priority as i32, (nice_and_priority >> 32) as u32);
    let known_flags = FLAG_RESET_ON_FORK | FLAG_KEEP_POLICY | FLAG_KEEP_PARAMETERS;
    if flags & !known_flags != 0 || (policy as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let thread = named_by_number(cx, tid)?;
    set(cx, &thread, |old| {
        let policy = if flags & FLAG_KEEP_POLICY != 0 { old.policy as u32 } else { policy };
        let reset = if flags & FLAG_RESET_ON_FORK != 0 { RESET_ON_FORK } else { 0 };
        if flags & FLAG_KEEP_PARAMETERS != 0 {
            return old.with_policy(policy | reset, u32::from(old.priority));
        }
        let nice = nice.clamp(-20, 19) as i8;
        Ok(Attributes {
            nice,
            slice: Some(runtime).filter(|slice| *slice != 0),
            ..old.with_policy(policy | reset, priority)?
        })
    })
}

/// Says which size of `struct sched_attr` is known.
fn too_big(cx: &Context, attributes: UserPtr<u64>) -> Result<usize> {
    cx.space().write_value(attributes.cast::<u32>(), ATTRIBUTES_SIZE)?;
    Err(Errno::E2BIG)
}

/// sched_getattr(2).
pub fn sched_getattr(cx: &mut Context, tid: i32, attributes: UserPtr<u8>, size: u32, flags: u32) -> Result<usize> {
    if tid < 0 || attributes.is_null() || flags != 0 || !(ATTRIBUTES_FIRST..=4096).contains(&size) {
        return Err(Errno::EINVAL);
    }
    let thread = named_by_number(cx, tid)?;
    let now = Attributes::of(task(&thread)?.parameters());
    let known = size.min(ATTRIBUTES_SIZE);
    let runtime = if now.policy.is_realtime() { 0 } else { now.slice.unwrap_or_else(base_slice) };
    let words = [
        u64::from(known) | (now.policy as u64) << 32,
        if now.reset_on_fork { FLAG_RESET_ON_FORK } else { 0 },
        u64::from(i32::from(now.nice) as u32) | u64::from(now.priority) << 32,
        runtime,
        0,
        0,
        1024 << 32,
    ];
    let mut bytes = [0; ATTRIBUTES_SIZE as usize];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    cx.space().write_bytes(attributes, bytes.get(..known as usize).unwrap_or(&bytes))?;
    Ok(0)
}

/// Does `action` for each thread that getpriority(2) or setpriority(2) names; `ESRCH` if there is none.
fn for_each_named(cx: &Context, which: i32, who: i32, mut action: impl FnMut(&Arc<Thread>)) -> Result<()> {
    let mut found = false;
    let mut visit = |thread: &Arc<Thread>| {
        found = true;
        action(thread);
    };
    match which {
        PRIORITY_PROCESS => {
            if let Some(thread) = if who == 0 { Some(cx.thread.clone()) } else { Pid::new(who).and_then(table::thread) }
            {
                visit(&thread);
            }
        }
        PRIORITY_GROUP => {
            let group = if who == 0 { Some(cx.thread.process().group()) } else { Pid::new(who).and_then(table::group) };
            if let Some(group) = group {
                group.members(&tree::lock()).for_each(|process| process.for_each_thread(&mut visit));
            }
        }
        PRIORITY_USER => {
            let user = if who == 0 {
                Some(cx.thread.with_credentials(|credentials| credentials.uid.real))
            } else {
                Uid::new(who as u32)
            };
            for process in table::processes() {
                process.for_each_thread(|thread| {
                    if Some(thread.with_credentials(|credentials| credentials.uid.real)) == user {
                        visit(thread);
                    }
                });
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    if found { Ok(()) } else { Err(Errno::ESRCH) }
}

/// getpriority(2): 20 minus the lowest nice value.
pub fn getpriority(cx: &mut Context, which: i32, who: i32) -> Result<usize> {
    let mut highest = 0;
    for_each_named(cx, which, who, |thread| {
        if let Some(task) = thread.task() {
            highest = highest.max(20 - i32::from(task.parameters().nice()));
        }
    })?;
    Ok(highest as usize)
}

/// setpriority(2).
pub fn setpriority(cx: &mut Context, which: i32, who: i32, nice: i32) -> Result<usize> {
    let nice = nice.clamp(-20, 19) as i8;
    let mine = cx.thread.credentials();
    let privileged = mine.has(Capability::SysNice);
    let mut outcome = Ok(0);
    for_each_named(cx, which, who, |thread| {
        let Some(task) = thread.task() else { return };
        if !privileged && !thread.with_credentials(|theirs| same_owner(&mine, theirs)) {
            outcome = Err(Errno::EPERM);
            return;
        }
        let lower = nice < task.parameters().nice();
        if lower && !privileged && !thread.process().with_limits(|limits| may_be_nice(nice, limits)) {
            outcome = Err(Errno::EACCES);
            return;
        }
        change(task, |parameters| parameters.set_nice(nice));
    })?;
    outcome
}
