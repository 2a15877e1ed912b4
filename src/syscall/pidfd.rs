//! Processes as files: pidfd_open(2), pidfd_send_signal(2).
#![forbid(unsafe_code)]

use super::Context;
use super::signal::check_permission;
use alloc::sync::Arc;
use libkernel::fs::{Fd, OpenFlags, anonymous};
use libkernel::memory::UserPtr;
use libkernel::process::limits::Resource;
use libkernel::process::pidfd::Pidfd;
use libkernel::process::{Pid, Process, table};
use libkernel::signal::{Signal, SignalInfo, info};
use libkernel::{Errno, Result};

/// Flag of pidfd_open: waitid(2) does not wait for the process.
const NON_BLOCK: u32 = OpenFlags::NON_BLOCKING.bits();

/// The process behind a descriptor, and whether the file is to block.
///
/// # Errors
/// `EBADF` for any other file.
pub(super) fn process_of(cx: &Context, fd: Fd) -> Result<(Arc<Process>, bool)> {
    let file = cx.files().get(fd)?;
    let process = file.object_as::<Pidfd>().ok_or(Errno::EBADF)?.process().clone();
    Ok((process, !file.is_non_blocking()))
}

/// A descriptor for `process`, closed on exec.
pub(super) fn install(cx: &Context, process: Arc<Process>, non_block: bool) -> Result<Fd> {
    let flags = if non_block { OpenFlags::READ_WRITE | OpenFlags::NON_BLOCKING } else { OpenFlags::READ_WRITE };
    let file = anonymous::open(Pidfd::new(process), "anon_inode:[pidfd]", flags)?;
    let limit = cx.thread.process().limit(Resource::OpenFiles).soft as usize;
    cx.files().insert(file, true, 0, limit)
}

/// pidfd_open(2).
pub fn pidfd_open(cx: &mut Context, pid: i32, flags: u32) -> Result<usize> {
    if flags & !NON_BLOCK != 0 {
        return Err(Errno::EINVAL);
    }
    let pid = Pid::new(pid).ok_or(Errno::EINVAL)?;
    let process = match table::process(pid) {
        Some(process) => process,
        // The number of a thread that is not a first one.
        None if table::thread(pid).is_some() => return Err(Errno::EINVAL),
        None => return Err(Errno::ESRCH),
    };
    Ok(install(cx, process, flags != 0)?.0 as usize)
}

/// pidfd_send_signal(2).
pub fn pidfd_send_signal(cx: &mut Context, fd: Fd, signal: i32, details: UserPtr<u8>, flags: u32) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (process, _) = process_of(cx, fd)?;
    let own = Arc::ptr_eq(&process, cx.thread.process());
    let sender = (cx.thread.process().pid().number(), cx.thread.with_credentials(|mine| mine.uid.real.raw()));
    let probe = signal == 0;
    let signal = if probe { Signal::CONT } else { Signal::new(signal)? };
    let info = if details.is_null() {
        SignalInfo::from_process(signal, info::USER, sender.0, sender.1)
    } else {
        let mut bytes = [0; info::USER_SIZE];
        cx.space().read_bytes(details, &mut bytes)?;
        let given = SignalInfo::from_user(signal, &bytes);
        given.check_forged(own)?;
        given
    };
    let is_listed = || table::process(process.pid()).is_some_and(|found| Arc::ptr_eq(&found, &process));
    if process.thread_count() == 0 && !is_listed() {
        return Err(Errno::ESRCH);
    }
    check_permission(cx, &process, (!probe).then_some(signal))?;
    if !probe {
        process.signals().send(info, &process.signal_allowance())?;
    }
    Ok(0)
}
