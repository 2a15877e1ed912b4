//! The calls about signals: signal(7) and the pages it names.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::memory::UserPtr;
use libkernel::process::clock::from_timespec;
use libkernel::process::{Pid, Process, Thread, table, tree};
use libkernel::signal::action::ACTION_SIZE;
use libkernel::signal::{Action, RestartBlock, Signal, SignalInfo, SignalSet, info};
use libkernel::task::interruptible;
use libkernel::time::{sleep_until, with_timeout};
use libkernel::{Errno, Result, machine};
use linux_raw_sys::general as abi;

use super::{Context, Outcome};
use crate::arch::signal_frame;

/// Size of the kernel's `sigset_t`, which every call passes.
const SET_SIZE: usize = 8;

/// Reads a signal set. `EINVAL` for the wrong size, `EFAULT`.
pub(super) fn read_set(cx: &Context, set: UserPtr<u64>, size: usize) -> Result<SignalSet> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    Ok(SignalSet::from_bits(cx.thread.space().read_value(set)?))
}

/// A signal's number as the kill family takes it: 0 asks only whether the signal could be sent.
fn signal_or_probe(number: i32) -> Result<Option<Signal>> {
    if number == 0 { Ok(None) } else { Signal::new(number).map(Some) }
}

/// Whether the caller may send `signal` to a process (kill(2)).
pub(super) fn check_permission(cx: &Context, target: &Process, signal: Option<Signal>) -> Result<()> {
    if core::ptr::eq(Arc::as_ptr(cx.thread.process()), target) {
        return Ok(());
    }
    let theirs = target.user_ids();
    let allowed = cx.thread.with_credentials(|own| own.may_signal(theirs));
    let same_session = signal == Some(Signal::CONT) && target.session_id() == cx.thread.process().session_id();
    if allowed || same_session { Ok(()) } else { Err(Errno::EPERM) }
}

fn send_to_process(cx: &Context, target: &Process, number: i32, info: impl FnOnce(Signal) -> SignalInfo) -> Result<()> {
    let signal = signal_or_probe(number)?;
    check_permission(cx, target, signal)?;
    match signal {
        Some(signal) => target.signals().send(info(signal), &target.signal_allowance()),
        None => Ok(()),
    }
}

/// Who sends, for the receiver's `siginfo_t`.
fn sender(cx: &Context, signal: Signal, code: i32) -> SignalInfo {
    let uid = cx.thread.with_credentials(|credentials| credentials.uid.real.raw());
    SignalInfo::from_process(signal, code, cx.thread.process().pid().number(), uid)
}

/// kill(2).
pub fn kill(cx: &mut Context, pid: i32, number: i32) -> Result<usize> {
    let by_us = |signal| sender(cx, signal, info::USER);
    match pid {
        1.. => {
            let target = Pid::new(pid).and_then(table::process).ok_or(Errno::ESRCH)?;
            send_to_process(cx, &target, number, by_us)?;
        }
        -1 => {
            let mut found = false;
            let mut result = Ok(());
            // Nobody is born meanwhile: the walk is by number, and a child's may lie behind it while its parent's is still to come.
            let tree = tree::lock();
            for target in table::processes() {
                if target.pid() == Pid::INIT || target.is_kernel() || Arc::ptr_eq(&target, cx.thread.process()) {
                    continue;
                }
                found = true;
                match send_to_process(cx, &target, number, by_us) {
                    Err(Errno::EPERM) => {}
                    other => result = other,
                }
            }
            drop(tree);
            if !found {
                return Err(Errno::ESRCH);
            }
            result?;
        }
        _ => {
            let group = match pid {
                0 => cx.thread.process().group(),
                _ => pid.checked_neg().and_then(Pid::new).and_then(table::group).ok_or(Errno::ESRCH)?,
            };
            let mut sent = false;
            let mut result = Err(Errno::ESRCH);
            for target in group.members(&tree::lock()) {
                result = send_to_process(cx, &target, number, by_us);
                sent |= result.is_ok();
            }
            if !sent {
                result?;
            }
        }
    }
    Ok(0)
}

fn thread_in(process: Option<i32>, tid: i32) -> Result<Arc<Thread>> {
    if tid <= 0 || process.is_some_and(|pid| pid <= 0) {
        return Err(Errno::EINVAL);
    }
    let thread = Pid::new(tid).and_then(table::thread).ok_or(Errno::ESRCH)?;
    match process {
        Some(pid) if thread.process().pid().raw() != pid => Err(Errno::ESRCH),
        _ => Ok(thread),
    }
}

fn send_to_thread(
    cx: &Context,
    thread: &Thread,
    number: i32,
    info: impl FnOnce(Signal) -> SignalInfo,
) -> Result<usize> {
    let signal = signal_or_probe(number)?;
    check_permission(cx, thread.process(), signal)?;
    if let Some(signal) = signal {
        thread.signals().send(info(signal), &thread.signal_allowance())?;
    }
    Ok(0)
}

/// tkill(2).
pub fn tkill(cx: &mut Context, tid: i32, number: i32) -> Result<usize> {
    let thread = thread_in(None, tid)?;
    send_to_thread(cx, &thread, number, |signal| sender(cx, signal, info::THREAD_KILL))
}

/// tgkill(2).
pub fn tgkill(cx: &mut Context, pid: i32, tid: i32, number: i32) -> Result<usize> {
    let thread = thread_in(Some(pid), tid)?;
    send_to_thread(cx, &thread, number, |signal| sender(cx, signal, info::THREAD_KILL))
}

fn read_info(cx: &Context, number: i32, from: UserPtr<u8>) -> Result<impl Fn(Signal) -> SignalInfo> {
    let mut bytes = [0; info::USER_SIZE];
    cx.thread.space().read_bytes(from, &mut bytes)?;
    Signal::new(number.max(1))?;
    Ok(move |signal| SignalInfo::from_user(signal, &bytes))
}

/// rt_sigqueueinfo(2).
pub fn rt_sigqueueinfo(cx: &mut Context, pid: i32, number: i32, from: UserPtr<u8>) -> Result<usize> {
    let info = read_info(cx, number, from)?;
    info(Signal::HUP).check_forged(cx.thread.process().pid().raw() == pid)?;
    let target = Pid::new(pid).and_then(table::process).ok_or(Errno::ESRCH)?;
    send_to_process(cx, &target, number, info)?;
    Ok(0)
}

/// rt_tgsigqueueinfo(2).
pub fn rt_tgsigqueueinfo(cx: &mut Context, pid: i32, tid: i32, number: i32, from: UserPtr<u8>) -> Result<usize> {
    let info = read_info(cx, number, from)?;
    let thread = thread_in(Some(pid), tid)?;
    info(Signal::HUP).check_forged(cx.thread.tid() == thread.tid())?;
    send_to_thread(cx, &thread, number, info)
}

/// rt_sigaction(2).
pub fn rt_sigaction(
    cx: &mut Context,
    number: i32,
    new: UserPtr<[u8; ACTION_SIZE]>,
    old: UserPtr<[u8; ACTION_SIZE]>,
    size: usize,
) -> Result<usize> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let space = cx.thread.space();
    let new = match new.non_null() {
        Some(new) => Some(Action::from_bytes(&space.read_value(new)?)),
        None => None,
    };
    let signal = Signal::new(number)?;
    if new.is_some() && signal.is_unblockable() {
        return Err(Errno::EINVAL);
    }
    let signals = cx.thread.process().signals();
    let before = match new {
        Some(new) => signals.set_action(signal, new),
        None => signals.action(signal),
    };
    if let Some(old) = old.non_null() {
        space.write_value(old, before.to_bytes())?;
    }
    Ok(0)
}

/// rt_sigprocmask(2).
pub fn rt_sigprocmask(cx: &mut Context, how: u32, new: UserPtr<u64>, old: UserPtr<u64>, size: usize) -> Result<usize> {
    if size != SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let before = cx.thread.signals().blocked();
    if let Some(new) = new.non_null() {
        let set = read_set(cx, new, size)?;
        cx.thread.signals().set_blocked(match how {
            abi::SIG_BLOCK => before | set,
            abi::SIG_UNBLOCK => before.minus(set),
            abi::SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        });
    }
    if let Some(old) = old.non_null() {
        cx.thread.space().write_value(old, before.bits())?;
    }
    Ok(0)
}

/// rt_sigpending(2).
pub fn rt_sigpending(cx: &mut Context, to: UserPtr<u8>, size: usize) -> Result<usize> {
    let bytes = cx.thread.signals().pending_blocked().bits().to_ne_bytes();
    let part = bytes.get(..size).ok_or(Errno::EINVAL)?;
    cx.thread.space().write_bytes(to, part)?;
    Ok(0)
}

/// rt_sigsuspend(2).
pub fn rt_sigsuspend(cx: &mut Context, mask: UserPtr<u64>, size: usize) -> Outcome {
    match read_set(cx, mask, size) {
        Ok(mask) => {
            cx.thread.signals().set_temporary_mask(mask);
            Outcome::Block
        }
        Err(error) => Outcome::Done(Err(error)),
    }
}

/// The waiting part of rt_sigsuspend(2).
pub async fn rt_sigsuspend_blocking(_cx: &mut Context, _mask: UserPtr<u64>, _size: usize) -> Result<usize> {
    // Nothing ends the wait but a signal.
    let _ = interruptible(core::future::pending::<()>()).await;
    Err(Errno::ERESTARTNOHAND)
}

/// What rt_sigtimedwait(2) asks for: the signals, and how long to wait for them in nanoseconds if not for ever.
fn read_wait(
    cx: &Context,
    set: UserPtr<u64>,
    timeout: UserPtr<[i64; 2]>,
    size: usize,
) -> Result<(SignalSet, Option<u64>)> {
    let set = read_set(cx, set, size)?;
    let timeout = match timeout.non_null() {
        Some(timeout) => Some(from_timespec(cx.thread.space().read_value(timeout)?)?),
        None => None,
    };
    Ok((set, timeout))
}

fn finish_wait(cx: &Context, taken: &SignalInfo, to: UserPtr<u8>) -> Result<usize> {
    if let Some(to) = to.non_null() {
        cx.thread.space().write_bytes(to, &taken.to_bytes())?;
    }
    Ok(taken.signal.number() as usize)
}

/// rt_sigtimedwait(2).
pub fn rt_sigtimedwait(
    cx: &mut Context,
    set: UserPtr<u64>,
    to: UserPtr<u8>,
    timeout: UserPtr<[i64; 2]>,
    size: usize,
) -> Outcome {
    let (set, timeout) = match read_wait(cx, set, timeout, size) {
        Ok(wait) => wait,
        Err(error) => return Outcome::Done(Err(error)),
    };
    match cx.thread.signals().take(set) {
        Some(taken) => Outcome::Done(finish_wait(cx, &taken, to)),
        None if timeout == Some(0) => Outcome::Done(Err(Errno::EAGAIN)),
        None => Outcome::Block,
    }
}

/// The waiting part of rt_sigtimedwait(2).
pub async fn rt_sigtimedwait_blocking(
    cx: &mut Context,
    set: UserPtr<u64>,
    to: UserPtr<u8>,
    timeout: UserPtr<[i64; 2]>,
    size: usize,
) -> Result<usize> {
    let (set, timeout) = read_wait(cx, set, timeout, size)?;
    let signals = cx.thread.signals().clone();
    let deadline = timeout.map(|timeout| machine::monotonic_ns().saturating_add(timeout));
    let waited = with_timeout(deadline, signals.wait(set)).await.map_err(|_| Errno::EAGAIN)?;
    let taken = waited.map_err(|_| Errno::EINTR)?;
    finish_wait(cx, &taken, to)
}

/// sigaltstack(2).
pub fn sigaltstack(cx: &mut Context, new: UserPtr<[u64; 3]>, old: UserPtr<[u64; 3]>) -> Result<usize> {
    let space = cx.thread.space();
    let signals = cx.thread.signals();
    let sp = cx.registers.sp;
    let before = signals.alternate_stack();
    if let Some(new) = new.non_null() {
        let [base, flags, size] = space.read_value(new)?;
        signals.set_alternate_stack(base, size, flags as u32, sp)?;
    }
    if let Some(old) = old.non_null() {
        space.write_value(old, [before.base, u64::from(before.flags(sp)), before.size])?;
    }
    Ok(0)
}

/// rt_sigreturn(2): the way back from a handler.
pub fn rt_sigreturn(cx: &mut Context) -> Result<usize> {
    let sp = cx.registers.sp;
    let space = cx.thread.space();
    match cx.replace_registers(|registers, fp| signal_frame::restore(registers, fp, &space)) {
        Ok(restored) => {
            let signals = cx.thread.signals();
            signals.set_blocked(restored.mask);
            let (base, size, flags) = restored.stack;
            // A stack that cannot be set leaves the old one, as on Linux.
            let _ = signals.set_alternate_stack(base, size, flags, cx.registers.sp);
        }
        Err(_) => {
            cx.thread.signals().force(SignalInfo::fault(Signal::SEGV, abi::SEGV_MAPERR as i32, sp));
        }
    }
    // What the call "returns" is what the register held when the signal came.
    Ok(cx.registers.x[0] as usize)
}

/// restart_syscall(2): only the kernel makes this call, for one that a stop interrupted.
pub fn restart_syscall(_cx: &mut Context) -> Outcome {
    Outcome::Block
}

/// Goes on with the interrupted call.
pub async fn restart_syscall_blocking(cx: &mut Context) -> Result<usize> {
    let Some(block) = cx.thread.signals().take_restart() else { return Err(Errno::EINTR) };
    match block {
        RestartBlock::Sleep { deadline, remaining } => {
            if interruptible(sleep_until(deadline)).await.is_ok() {
                return Ok(0);
            }
            if let Some(to) = UserPtr::<[u64; 2]>::new(remaining).non_null() {
                let left = deadline.saturating_sub(machine::monotonic_ns());
                cx.thread.space().write_value(to, [left / 1_000_000_000, left % 1_000_000_000])?;
            }
            cx.thread.signals().set_restart(block);
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        RestartBlock::ProcessorSleep { clock, deadline, remaining } => {
            super::time::resume_nap(cx, clock, deadline, UserPtr::new(remaining)).await
        }
        RestartBlock::Futex { address, value, deadline, private, bits } => {
            super::futex::resume(&cx.thread, address, value, deadline, private, bits).await
        }
    }
}
