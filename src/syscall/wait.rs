//! Waiting for children: wait4(2), waitid(2).
#![forbid(unsafe_code)]

use super::{Context, Outcome, limits};
use alloc::sync::Arc;
use libkernel::fs::Fd;
use libkernel::memory::UserPtr;
use libkernel::process::wait::{Kin, Report, Request, Target, try_wait};
use libkernel::process::{Pid, Process};
use libkernel::signal::SignalInfo;
use libkernel::task::interruptible;
use libkernel::{Errno, Result, poll};
use linux_raw_sys::general as abi;

const NO_HANG: u32 = abi::WNOHANG;
const STOPPED: u32 = abi::WSTOPPED;
const EXITED: u32 = abi::WEXITED;
const CONTINUED: u32 = abi::WCONTINUED;
const KEEP: u32 = abi::WNOWAIT;
const NO_THREAD: u32 = abi::__WNOTHREAD;
const ALL: u32 = abi::__WALL;
const CLONE: u32 = abi::__WCLONE;

/// Numbers of `idtype_t`.
const ID_ALL: u32 = 0;
const ID_PROCESS: u32 = 1;
const ID_GROUP: u32 = 2;
const ID_PIDFD: u32 = 3;

fn kin(options: u32) -> Kin {
    if options & ALL != 0 {
        Kin::All
    } else if options & CLONE != 0 {
        Kin::Cloned
    } else {
        Kin::Ordinary
    }
}

/// What wait4 asks for.
fn wait4_request(cx: &Context, pid: i32, options: u32) -> Result<Request> {
    if options & !(NO_HANG | STOPPED | CONTINUED | NO_THREAD | ALL | CLONE) != 0 {
        return Err(Errno::EINVAL);
    }
    let target = match pid {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Target::Any,
        0 => Target::Group(cx.thread.process().group_id()),
        pid if pid < 0 => Target::Group(Pid::new(-pid).ok_or(Errno::ECHILD)?),
        pid => Target::Process(Pid::new(pid).ok_or(Errno::ECHILD)?),
    };
    Ok(Request {
        target,
        kin: kin(options),
        ended: true,
        stopped: options & STOPPED != 0,
        continued: options & CONTINUED != 0,
        keep: false,
    })
}

/// Looks, and sleeps until there is something to see.
async fn next_report(process: &Arc<Process>, request: &Request) -> Result<Report> {
    let changed = poll::wait_for(|table| {
        table.register(process.events());
        try_wait(process, request).transpose()
    });
    interruptible(changed).await.unwrap_or(Err(Errno::ERESTARTSYS))
}

fn finish_wait4(
    cx: &Context,
    report: Option<Report>,
    status: UserPtr<i32>,
    usage: UserPtr<abi::rusage>,
) -> Result<usize> {
    let Some(report) = report else { return Ok(0) };
    if !status.is_null() {
        cx.space().write_value(status, report.change.to_wait_status())?;
    }
    if !usage.is_null() {
        cx.space().write_value(usage, limits::rusage(&report.usage))?;
    }
    Ok(report.pid.number() as usize)
}

/// wait4(2).
pub fn wait4(cx: &mut Context, pid: i32, status: UserPtr<i32>, options: u32, usage: UserPtr<abi::rusage>) -> Outcome {
    let report = wait4_request(cx, pid, options).and_then(|request| try_wait(cx.thread.process(), &request));
    match report {
        Ok(None) if options & NO_HANG == 0 => Outcome::Block,
        Ok(report) => finish_wait4(cx, report, status, usage).into(),
        Err(error) => Outcome::Done(Err(error)),
    }
}

/// The waiting part of wait4(2).
pub async fn wait4_blocking(
    cx: &mut Context,
    pid: i32,
    status: UserPtr<i32>,
    options: u32,
    usage: UserPtr<abi::rusage>,
) -> Result<usize> {
    let request = wait4_request(cx, pid, options)?;
    let process = cx.thread.process().clone();
    let report = next_report(&process, &request).await?;
    finish_wait4(cx, Some(report), status, usage)
}

/// What waitid asks for, and whether its file, if it names one, is to block.
fn waitid_request(cx: &Context, kind: u32, id: i32, options: u32) -> Result<(Request, bool)> {
    let asked = EXITED | STOPPED | CONTINUED;
    if options & !(asked | NO_HANG | KEEP | NO_THREAD | ALL | CLONE) != 0 || options & asked == 0 {
        return Err(Errno::EINVAL);
    }
    let mut blocking = true;
    let target = match kind {
        ID_ALL => Target::Any,
        ID_PROCESS if id > 0 => Target::Process(Pid::new(id).ok_or(Errno::ECHILD)?),
        ID_GROUP if id == 0 => Target::Group(cx.thread.process().group_id()),
        ID_GROUP if id > 0 => Target::Group(Pid::new(id).ok_or(Errno::ECHILD)?),
        ID_PIDFD if id >= 0 => {
            let process;
            (process, blocking) = super::pidfd::process_of(cx, Fd(id))?;
            Target::This(process)
        }
        _ => return Err(Errno::EINVAL),
    };
    let request = Request {
        target,
        kin: kin(options),
        ended: options & EXITED != 0,
        stopped: options & STOPPED != 0,
        continued: options & CONTINUED != 0,
        keep: options & KEEP != 0,
    };
    Ok((request, blocking))
}

fn finish_waitid(
    cx: &Context,
    report: Option<Report>,
    info: UserPtr<u8>,
    usage: UserPtr<abi::rusage>,
) -> Result<usize> {
    if let Some(report) = &report
        && !usage.is_null()
    {
        cx.space().write_value(usage, limits::rusage(&report.usage))?;
    }
    if info.is_null() {
        return Ok(0);
    }
    let bytes = match report {
        Some(report) => {
            let (code, status) = report.change.code_and_status();
            SignalInfo::child(code, report.pid.number(), report.uid.raw(), status, 0, 0).to_bytes()
        }
        None => [0; libkernel::signal::info::USER_SIZE],
    };
    cx.space().write_bytes(info, &bytes)?;
    Ok(0)
}

/// waitid(2).
pub fn waitid(
    cx: &mut Context,
    kind: u32,
    id: i32,
    info: UserPtr<u8>,
    options: u32,
    usage: UserPtr<abi::rusage>,
) -> Outcome {
    let (request, blocking) = match waitid_request(cx, kind, id, options) {
        Ok(asked) => asked,
        Err(error) => return Outcome::Done(Err(error)),
    };
    match try_wait(cx.thread.process(), &request) {
        Ok(None) if options & NO_HANG == 0 && blocking => Outcome::Block,
        Ok(None) if options & NO_HANG == 0 => Outcome::Done(Err(Errno::EAGAIN)),
        Ok(report) => finish_waitid(cx, report, info, usage).into(),
        Err(error) => Outcome::Done(Err(error)),
    }
}

/// The waiting part of waitid(2).
pub async fn waitid_blocking(
    cx: &mut Context,
    kind: u32,
    id: i32,
    info: UserPtr<u8>,
    options: u32,
    usage: UserPtr<abi::rusage>,
) -> Result<usize> {
    let (request, _) = waitid_request(cx, kind, id, options)?;
    let process = cx.thread.process().clone();
    let report = next_report(&process, &request).await?;
    finish_waitid(cx, Some(report), info, usage)
}
