//! Calls about processes and threads as such: their numbers, groups, sessions, and how they end.
#![forbid(unsafe_code)]

use super::Context;
use alloc::sync::Arc;
use libkernel::memory::UserPtr;
use libkernel::process::{ExitStatus, Pid, Process, job_control, table};
use libkernel::{Errno, Result};

/// Size of the head of the robust list (`struct robust_list_head`).
const ROBUST_HEAD_SIZE: usize = 24;

/// getpid(2).
pub fn getpid(cx: &mut Context) -> Result<usize> {
    Ok(cx.thread.process().pid().number() as usize)
}

/// gettid(2).
pub fn gettid(cx: &mut Context) -> Result<usize> {
    Ok(cx.thread.tid().number() as usize)
}

/// getppid(2): 0 without a parent.
pub fn getppid(cx: &mut Context) -> Result<usize> {
    Ok(cx.thread.process().parent_pid().map_or(0, Pid::number) as usize)
}

/// The process that a call names by its number, 0 for the caller's own.
pub(super) fn named(cx: &Context, pid: i32) -> Result<Arc<Process>> {
    if pid == 0 {
        return Ok(cx.thread.process().clone());
    }
    Pid::new(pid).and_then(table::process).ok_or(Errno::ESRCH)
}

/// getpgid(2).
pub fn getpgid(cx: &mut Context, pid: i32) -> Result<usize> {
    Ok(named(cx, pid)?.group_id().number() as usize)
}

/// getsid(2).
pub fn getsid(cx: &mut Context, pid: i32) -> Result<usize> {
    Ok(named(cx, pid)?.session_id().number() as usize)
}

/// setpgid(2).
pub fn setpgid(cx: &mut Context, pid: i32, group: i32) -> Result<usize> {
    if group < 0 {
        return Err(Errno::EINVAL);
    }
    if pid < 0 {
        return Err(Errno::ESRCH);
    }
    job_control::set_group(cx.thread.process(), Pid::new(pid), Pid::new(group))?;
    Ok(0)
}

/// setsid(2).
pub fn setsid(cx: &mut Context) -> Result<usize> {
    Ok(job_control::new_session(cx.thread.process())?.number() as usize)
}

/// set_tid_address(2).
pub fn set_tid_address(cx: &mut Context, address: UserPtr<u32>) -> Result<usize> {
    cx.thread.set_clear_child_tid(address.addr() as usize);
    gettid(cx)
}

/// set_robust_list(2).
pub fn set_robust_list(cx: &mut Context, head: UserPtr<u8>, size: usize) -> Result<usize> {
    if size != ROBUST_HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    cx.thread.set_robust_list(head.addr() as usize);
    Ok(0)
}

/// get_robust_list(2).
pub fn get_robust_list(cx: &mut Context, tid: i32, head: UserPtr<usize>, size: UserPtr<usize>) -> Result<usize> {
    let thread = match tid {
        0 => cx.thread.clone(),
        tid => Pid::new(tid).and_then(table::thread).ok_or(Errno::ESRCH)?,
    };
    let process = thread.process();
    let may = || {
        let target = thread.credentials();
        cx.thread.with_credentials(|mine| mine.may_inspect(&target, process.dumpable()))
    };
    if !Arc::ptr_eq(process, cx.thread.process()) && !may() {
        return Err(Errno::EPERM);
    }
    cx.space().write_value(size, ROBUST_HEAD_SIZE)?;
    cx.space().write_value(head, thread.robust_list())?;
    Ok(0)
}

/// _exit(2): ends the calling thread. It is gone on its way back to user mode.
pub fn exit(cx: &mut Context, code: i32) -> Result<usize> {
    cx.thread.begin_end(code as u8);
    Ok(0)
}

/// exit_group(2): ends all threads of the process.
pub fn exit_group(cx: &mut Context, code: i32) -> Result<usize> {
    cx.thread.process().begin_end(ExitStatus::Exited(code as u8));
    Ok(0)
}

/// personality(2): only the plain Linux personality is known, and asking for it.
pub fn personality(_: &mut Context, persona: u32) -> Result<usize> {
    const ASK: u32 = u32::MAX;
    /// Flags that change nothing here and that programs set (`ADDR_NO_RANDOMIZE`, `READ_IMPLIES_EXEC` is not one).
    const NO_RANDOMIZE: u32 = 0x004_0000;
    if persona == ASK || persona & !NO_RANDOMIZE == 0 { Ok(0) } else { Err(Errno::EINVAL) }
}
