//! What clone(2), clone3(2) and unshare(2) ask for, checked: which things are shared, and what goes where.
#![forbid(unsafe_code)]

use super::id::Pid;
use crate::signal::Signal;
use crate::{Errno, Result};
pub use flags::CloneFlags;

mod flags {
    #![expect(missing_docs, reason = "clone(2) describes each; the names are its names")]

    use bitflags::bitflags;

    bitflags! {
        /// The flags of clone(2), by their Linux values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct CloneFlags: u64 {
            const NEWTIME = 0x0000_0080;
            const VM = 0x0000_0100;
            const FS = 0x0000_0200;
            const FILES = 0x0000_0400;
            const SIGHAND = 0x0000_0800;
            const PIDFD = 0x0000_1000;
            const PTRACE = 0x0000_2000;
            const VFORK = 0x0000_4000;
            const PARENT = 0x0000_8000;
            const THREAD = 0x0001_0000;
            const NEWNS = 0x0002_0000;
            const SYSVSEM = 0x0004_0000;
            const SETTLS = 0x0008_0000;
            const PARENT_SETTID = 0x0010_0000;
            const CHILD_CLEARTID = 0x0020_0000;
            const DETACHED = 0x0040_0000;
            const UNTRACED = 0x0080_0000;
            const CHILD_SETTID = 0x0100_0000;
            const NEWCGROUP = 0x0200_0000;
            const NEWUTS = 0x0400_0000;
            const NEWIPC = 0x0800_0000;
            const NEWUSER = 0x1000_0000;
            const NEWPID = 0x2000_0000;
            const NEWNET = 0x4000_0000;
            const IO = 0x8000_0000;
            const CLEAR_SIGHAND = 0x1_0000_0000;
            const INTO_CGROUP = 0x2_0000_0000;
        }
    }
}

/// The low byte of clone's flags: the exit signal.
const SIGNAL_MASK: u64 = 0xff;
/// Flags that ask for a namespace of one's own; there is only one of each kind.
const NAMESPACES: CloneFlags = CloneFlags::NEWTIME
    .union(CloneFlags::NEWNS)
    .union(CloneFlags::NEWCGROUP)
    .union(CloneFlags::NEWUTS)
    .union(CloneFlags::NEWIPC)
    .union(CloneFlags::NEWUSER)
    .union(CloneFlags::NEWPID)
    .union(CloneFlags::NEWNET);
/// Smallest and largest `struct clone_args` accepted, in bytes.
pub const CLONE_ARGS_SIZES: core::ops::RangeInclusive<usize> = 64..=4096;
/// Bytes of `struct clone_args` that mean something.
pub const CLONE_ARGS_SIZE: usize = 88;

/// A checked request. Addresses are user addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloneRequest {
    /// What to share and do.
    pub flags: CloneFlags,
    /// The signal the parent gets at the end of a new process.
    pub exit_signal: Option<u8>,
    /// The new stack pointer; `None`: the creator's.
    pub stack: Option<u64>,
    /// The new thread pointer, with `SETTLS`.
    pub tls: u64,
    /// Where the new number goes in the creator's memory, with `PARENT_SETTID`.
    pub parent_tid: usize,
    /// Where it goes in the new one's memory, and what is cleared at its end, with `CHILD_SETTID` and `CHILD_CLEARTID`.
    pub child_tid: usize,
    /// Where the pidfd goes, with `PIDFD`.
    pub pidfd: usize,
}

impl CloneRequest {
    /// From the registers of clone(2).
    ///
    /// # Errors
    /// `EINVAL` for combinations that the manual rules out, `EPERM` for namespaces.
    pub fn from_clone(flags: u64, stack: u64, parent_tid: usize, tls: u64, child_tid: usize) -> Result<CloneRequest> {
        let signal = (flags & SIGNAL_MASK) as u8;
        let mut flags = CloneFlags::from_bits_truncate(flags & u64::from(u32::MAX) & !SIGNAL_MASK);
        let pidfd_clashes = CloneFlags::PARENT_SETTID | CloneFlags::DETACHED;
        if flags.contains(CloneFlags::PIDFD) && flags.intersects(pidfd_clashes) {
            return Err(Errno::EINVAL);
        }
        flags.remove(CloneFlags::DETACHED);
        let request = CloneRequest {
            flags,
            exit_signal: Some(signal).filter(|signal| *signal != 0),
            stack: Some(stack).filter(|stack| *stack != 0),
            tls,
            parent_tid,
            child_tid,
            pidfd: parent_tid,
        };
        request.check()
    }

    /// From the bytes of `struct clone_args`, as many as the program gave; what is missing is zero.
    ///
    /// # Errors
    /// As for [`CloneRequest::from_clone`].
    pub fn from_clone3(words: &[u64; CLONE_ARGS_SIZE / 8]) -> Result<CloneRequest> {
        let [flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, _cgroup] =
            *words;
        let flags = CloneFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
        let contradiction = flags.intersects(CloneFlags::DETACHED | CloneFlags::INTO_CGROUP)
            || flags.contains(CloneFlags::SIGHAND | CloneFlags::CLEAR_SIGHAND)
            || (flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT) && exit_signal != 0)
            || (stack == 0) != (stack_size == 0)
            || set_tid != 0
            || set_tid_size != 0;
        if contradiction || exit_signal > Signal::COUNT as u64 {
            return Err(Errno::EINVAL);
        }
        let request = CloneRequest {
            flags,
            exit_signal: Some(exit_signal as u8).filter(|signal| *signal != 0),
            stack: if stack == 0 { None } else { Some(stack.checked_add(stack_size).ok_or(Errno::EINVAL)?) },
            tls,
            parent_tid: parent_tid as usize,
            child_tid: child_tid as usize,
            pidfd: pidfd as usize,
        };
        request.check()
    }

    /// A sibling of its creator must not come to be a child of nobody: init makes none.
    ///
    /// # Errors
    /// `EINVAL` when `creator` is init and the request asks for `PARENT`.
    pub fn check_creator(&self, creator: Pid) -> Result<()> {
        if self.flags.contains(CloneFlags::PARENT) && creator == Pid::INIT { Err(Errno::EINVAL) } else { Ok(()) }
    }

    fn check(self) -> Result<CloneRequest> {
        let flags = self.flags;
        let has = |flag| flags.contains(flag);
        if (has(CloneFlags::FS) && flags.intersects(CloneFlags::NEWNS | CloneFlags::NEWUSER))
            || (has(CloneFlags::THREAD) && !has(CloneFlags::SIGHAND))
            || (has(CloneFlags::SIGHAND) && !has(CloneFlags::VM))
            || (has(CloneFlags::PIDFD) && has(CloneFlags::THREAD))
        {
            return Err(Errno::EINVAL);
        }
        if flags.intersects(NAMESPACES) {
            return Err(Errno::EPERM);
        }
        Ok(self)
    }
}

/// What unshare(2) can do: have a copy of one's own of the open files and of the directories.
///
/// # Errors
/// `EINVAL` for unknown flags and for memory or signals shared with other threads, `EPERM` for namespaces.
pub fn check_unshare(flags: u64, threads: usize) -> Result<CloneFlags> {
    let flags = CloneFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if flags.intersects(NAMESPACES) {
        return Err(Errno::EPERM);
    }
    let alone = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    let known = CloneFlags::FS | CloneFlags::FILES | CloneFlags::SYSVSEM | alone;
    if !known.contains(flags) || (flags.intersects(alone) && threads > 1) {
        return Err(Errno::EINVAL);
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTHREAD: u64 = 0x3d_0f00;

    fn clone(flags: u64) -> Result<CloneRequest> {
        CloneRequest::from_clone(flags, 0x1000, 1, 2, 3)
    }

    fn clone3(change: impl FnOnce(&mut [u64; 11])) -> Result<CloneRequest> {
        let mut words = [0; 11];
        change(&mut words);
        CloneRequest::from_clone3(&words)
    }

    #[test]
    fn fork_vfork_and_threads_pass() {
        let fork = CloneRequest::from_clone(0x120_0011, 0, 0, 0, 8).unwrap();
        assert_eq!((fork.exit_signal, fork.stack, fork.child_tid), (Some(17), None, 8));
        assert!(clone(0x4111).unwrap().flags.contains(CloneFlags::VFORK | CloneFlags::VM));
        let thread = clone(PTHREAD).unwrap();
        assert!(thread.flags.contains(CloneFlags::THREAD | CloneFlags::SETTLS));
        assert_eq!((thread.exit_signal, thread.stack, thread.tls), (None, Some(0x1000), 2));
    }

    #[test]
    fn contradictions_are_refused() {
        for flags in [0x1_0000, 0x1_0800, 0x800, 0x10_1011, 0x40_1011] {
            assert_eq!(clone(flags), Err(Errno::EINVAL), "{flags:#x}");
        }
        assert_eq!(clone(0x2000_0011), Err(Errno::EPERM), "a PID namespace");
        let one = |index: usize, value| clone3(|words| words[index] = value);
        assert_eq!(one(0, 17), Err(Errno::EINVAL), "the exit signal is no flag here");
        assert_eq!(one(4, 65), Err(Errno::EINVAL));
        assert_eq!(one(5, 0x1000), Err(Errno::EINVAL), "a stack without a size");
        assert_eq!(one(8, 0x1000), Err(Errno::EINVAL), "no choice of numbers");
        assert_eq!(clone3(|words| (words[0], words[4]) = (0x8000, 17)), Err(Errno::EINVAL));
    }

    #[test]
    fn clone3_gives_the_lower_end_of_the_stack() {
        let request = clone3(|words| (words[4], words[5], words[6]) = (17, 0x1000, 0x2000)).unwrap();
        assert_eq!((request.stack, request.exit_signal), (Some(0x3000), Some(17)));
    }

    #[test]
    fn unshare_does_what_a_single_process_needs() {
        assert!(check_unshare(0x600, 5).is_ok());
        assert_eq!(check_unshare(0x100, 2), Err(Errno::EINVAL));
        assert_eq!(check_unshare(0x2_0000, 1), Err(Errno::EPERM));
        assert_eq!(check_unshare(0x4000, 1), Err(Errno::EINVAL));
    }
}
