//! Processes: birth, end, and what a parent learns.

use super::{Errno, Result};
use crate::call;

/// A process or thread id.
pub type Pid = i32;

/// What `wait4` says of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It ended by `exit` with this value.
    Exited(i32),
    /// This signal ended it; the flag says whether a core dump is reported.
    Killed(i32, bool),
    /// This signal stopped it.
    Stopped(i32),
    /// It runs again after a stop.
    Continued,
}

impl Status {
    /// Decodes the word that `wait4` stores.
    pub fn from_raw(raw: i32) -> Self {
        if raw == 0xffff {
            Self::Continued
        } else if raw & 0xff == 0x7f {
            Self::Stopped((raw >> 8) & 0xff)
        } else if raw & 0x7f == 0 {
            Self::Exited((raw >> 8) & 0xff)
        } else {
            Self::Killed(raw & 0x7f, raw & 0x80 != 0)
        }
    }
}

/// The C library's `fork`: `None` in the child.
pub fn fork() -> Result<Option<Pid>> {
    // SAFETY: the child of a process with one thread may do anything; tests which
    // fork with threads alive do nothing in the child but plain system calls.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::last()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Forks a child that runs `body` and exits with its value.
#[track_caller]
pub fn spawn(body: impl FnOnce() -> i32) -> Pid {
    match crate::check::must(fork()) {
        Some(pid) => pid,
        None => exit(body()),
    }
}

/// `exit_group`, without the C library's exit handlers.
pub fn exit(code: i32) -> ! {
    let _ = call!(SYS_exit_group, code);
    // SAFETY: reached only if the kernel returned from exit_group.
    unsafe { libc::abort() }
}

/// Ends the calling thread only.
pub fn exit_thread(code: i32) -> ! {
    let _ = call!(SYS_exit, code);
    // SAFETY: as in `exit`.
    unsafe { libc::abort() }
}

/// `wait4`: `None` when `WNOHANG` found nothing.
pub fn wait4(pid: Pid, options: i32) -> Result<Option<(Pid, Status)>> {
    let mut raw = -1i32;
    let found = call!(SYS_wait4, pid, &mut raw, options, 0)? as Pid;
    Ok((found != 0).then(|| (found, Status::from_raw(raw))))
}

/// Waits until `pid` ends; interrupted waits are repeated.
pub fn wait(pid: Pid) -> Result<Status> {
    loop {
        match wait4(pid, 0) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `kill`.
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    call!(SYS_kill, pid, signal).map(drop)
}

/// `getpid`.
pub fn getpid() -> Pid {
    raw_id(libc::SYS_getpid)
}

/// `gettid`.
pub fn gettid() -> Pid {
    raw_id(libc::SYS_gettid)
}

/// `getppid`.
pub fn getppid() -> Pid {
    raw_id(libc::SYS_getppid)
}

fn raw_id(number: i64) -> Pid {
    super::raw(number as usize, [0; 6]) as Pid
}

/// Does `action` while process numbers are given out below `max` only, so that they come round soon.
pub fn with_pid_max<R>(max: u32, action: impl FnOnce() -> R) -> Result<R> {
    const PATH: &core::ffi::CStr = c"/proc/sys/kernel/pid_max";
    let before = super::read_file(PATH)?;
    super::write_file(PATH, max.to_string().as_bytes())?;
    let result = action();
    super::write_file(PATH, &before)?;
    Ok(result)
}

/// `prlimit64` of this process: soft and hard limit.
pub fn getrlimit(resource: impl Into<i64>) -> Result<(u64, u64)> {
    let mut limit = [0u64; 2];
    call!(SYS_prlimit64, 0, resource.into(), 0, &mut limit)?;
    Ok(limit.into())
}

/// Sets both limits of this process.
pub fn setrlimit(resource: impl Into<i64>, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    call!(SYS_prlimit64, 0, resource.into(), &limit, 0).map(drop)
}

/// The cores on which this thread may run, ascending.
pub fn affinity() -> Result<Vec<usize>> {
    let mut mask = [0u64; 16];
    let n = call!(SYS_sched_getaffinity, 0, size_of_val(&mask), &mut mask)?;
    let bits = (0..n * 8).filter(|bit| mask[bit / 64] >> (bit % 64) & 1 == 1);
    Ok(bits.collect())
}

/// Binds thread `tid` (0: this one) to `cores`.
pub fn set_affinity(tid: Pid, cores: &[usize]) -> Result<()> {
    let mut mask = [0u64; 16];
    for core in cores {
        mask[core / 64] |= 1 << (core % 64);
    }
    call!(SYS_sched_setaffinity, tid, size_of_val(&mask), &mask).map(drop)
}

/// The core on which the caller ran a moment ago.
pub fn current_core() -> Result<usize> {
    let mut core = u32::MAX;
    call!(SYS_getcpu, &mut core, 0, 0)?;
    Ok(core as usize)
}

/// Field `index` (1 is the pid, as in proc(5)) of `/proc/PID/stat`, with the name taken as one field.
pub fn proc_stat(pid: Pid, index: usize) -> Option<String> {
    let path = std::ffi::CString::new(format!("/proc/{pid}/stat")).ok()?;
    let text = super::read_text(&path).ok()?;
    let (head, tail) = text.rsplit_once(')')?;
    let (id, name) = head.split_once(" (")?;
    let field = match index {
        1 => id,
        2 => name,
        _ => tail.split_ascii_whitespace().nth(index - 3)?,
    };
    Some(field.to_owned())
}

/// Waits (up to five seconds) until `pid` is in state `wanted` (`S`, `T`, `Z`, ...).
pub fn wait_for_state(pid: Pid, wanted: &str) -> bool {
    for _ in 0..2500 {
        if proc_stat(pid, 3).as_deref() == Some(wanted) {
            return true;
        }
        super::sleep_ms(2);
    }
    false
}

/// The low words of the effective and of the permitted capability set.
pub fn capabilities() -> Result<(u32, u32)> {
    let header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    call!(SYS_capget, &header, &mut data)?;
    Ok((data[0], data[1]))
}

/// Real, effective and saved ids of user and group.
pub fn call_ids() -> ([u32; 3], [u32; 3]) {
    let (mut users, mut groups) = ([u32::MAX; 3], [u32::MAX; 3]);
    {
        let [real, effective, saved] = &mut users;
        let _ = call!(SYS_getresuid, real, effective, saved);
    }
    let [real, effective, saved] = &mut groups;
    let _ = call!(SYS_getresgid, real, effective, saved);
    (users, groups)
}
