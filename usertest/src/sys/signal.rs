//! Signals: handlers, masks, and a record of what a handler saw.

use super::{Errno, Pid, Result, zeroed};
use crate::call;
use core::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// A handler as `SA_SIGINFO` calls it.
pub type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// The bit of `signal` in a 64-bit mask.
pub const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Installs `handler` for `signal` with `flags | SA_SIGINFO`, blocking `mask` while it runs.
pub fn on_signal_masking(signal: i32, handler: Handler, flags: i32, mask: u64) -> Result<()> {
    let mut action = zeroed::<libc::sigaction>();
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = flags | libc::SA_SIGINFO;
    // SAFETY: a sigset_t begins with the 64 bits that the kernel knows.
    unsafe { (&raw mut action.sa_mask).cast::<u64>().write(mask) };
    // SAFETY: both pointers are valid; handlers touch atomics only.
    match unsafe { libc::sigaction(signal, &raw const action, core::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(Errno::last()),
    }
}

/// [`on_signal_masking`] with an empty mask.
pub fn on_signal(signal: i32, handler: Handler, flags: i32) -> Result<()> {
    on_signal_masking(signal, handler, flags, 0)
}

/// Sets the default action or `SIG_IGN`.
pub fn set_disposition(signal: i32, disposition: usize) -> Result<()> {
    let action = [disposition, 0, 0, 0];
    call!(SYS_rt_sigaction, signal, &action, 0, 8).map(drop)
}

/// `rt_sigprocmask`; returns the mask before.
pub fn mask(how: i32, set: u64) -> Result<u64> {
    let mut old = 0u64;
    call!(SYS_rt_sigprocmask, how, &set, &mut old, 8)?;
    Ok(old)
}

/// Blocks the signals of `set`.
pub fn block(set: u64) -> Result<u64> {
    mask(libc::SIG_BLOCK, set)
}

/// Unblocks the signals of `set`.
pub fn unblock(set: u64) -> Result<u64> {
    mask(libc::SIG_UNBLOCK, set)
}

/// The signals pending for this thread or its process.
pub fn pending() -> Result<u64> {
    let mut set = 0u64;
    call!(SYS_rt_sigpending, &mut set, 8)?;
    Ok(set)
}

/// Atomically waits with `set` as the mask; always ends with an error, `EINTR` after a handler.
pub fn sigsuspend(set: u64) -> Errno {
    match call!(SYS_rt_sigsuspend, &set, 8) {
        Err(errno) => errno,
        Ok(_) => Errno(0),
    }
}

/// The leading members of a `siginfo_t`, as the kernel lays them out on 64-bit machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Info {
    /// `si_signo`.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_pid`, or the low half of `si_addr`.
    pub pid: i32,
    /// `si_uid`, or the high half of `si_addr`.
    pub uid: u32,
    /// `si_value`, or `si_status` in its low half.
    pub value: u64,
}

impl Info {
    /// Reads it from the kernel's structure of 128 bytes.
    pub fn from_words(words: &[u64; 16]) -> Self {
        Self {
            signal: words[0] as i32,
            code: words[1] as i32,
            pid: words[2] as i32,
            uid: (words[2] >> 32) as u32,
            value: words[3],
        }
    }

    /// `si_addr` of a fault.
    pub fn address(self) -> usize {
        (u64::from(self.pid as u32) | u64::from(self.uid) << 32) as usize
    }
}

/// `rt_sigtimedwait`; `timeout` in nanoseconds, `None` for ever.
pub fn sigtimedwait(set: u64, timeout: Option<u64>) -> Result<Info> {
    let mut words = [0u64; 16];
    let limit = super::timespec_of_ns(timeout.unwrap_or(0));
    let limit = if timeout.is_some() { &raw const limit } else { core::ptr::null() };
    call!(SYS_rt_sigtimedwait, &set, &mut words, limit, 8)?;
    Ok(Info::from_words(&words))
}

/// `rt_sigqueueinfo` with `SI_QUEUE` and a value.
pub fn sigqueue(pid: Pid, signal: i32, value: u64) -> Result<()> {
    let mut words = [0u64; 16];
    words[0] = signal as u64;
    words[1] = u64::from(libc::SI_QUEUE as u32);
    words[2] = super::getpid() as u64;
    words[3] = value;
    call!(SYS_rt_sigqueueinfo, pid, signal, &words).map(drop)
}

/// `tgkill` of the calling thread.
pub fn raise(signal: i32) -> Result<()> {
    call!(SYS_tgkill, super::getpid(), super::gettid(), signal).map(drop)
}

/// How often [`record`] ran.
pub static SEEN: AtomicUsize = AtomicUsize::new(0);
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static SENDER: AtomicU64 = AtomicU64::new(0);
static VALUE: AtomicU64 = AtomicU64::new(0);

/// A handler that notes its siginfo for [`last_info`] and counts in [`SEEN`].
pub extern "C" fn record(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a siginfo_t of 128 bytes, aligned to 8.
    let info = Info::from_words(unsafe { &*info.cast::<[u64; 16]>() });
    SIGNAL.store(info.signal, Ordering::SeqCst);
    CODE.store(info.code, Ordering::SeqCst);
    SENDER.store(info.address() as u64, Ordering::SeqCst);
    VALUE.store(info.value, Ordering::SeqCst);
    SEEN.fetch_add(1, Ordering::SeqCst);
}

/// What the most recent [`record`] saw.
pub fn last_info() -> Info {
    let sender = SENDER.load(Ordering::SeqCst);
    Info {
        signal: SIGNAL.load(Ordering::SeqCst),
        code: CODE.load(Ordering::SeqCst),
        pid: sender as i32,
        uid: (sender >> 32) as u32,
        value: VALUE.load(Ordering::SeqCst),
    }
}

/// How many times [`record`] ran so far.
pub fn seen() -> usize {
    SEEN.load(Ordering::SeqCst)
}
