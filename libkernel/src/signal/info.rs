//! What comes with a signal: `siginfo_t` (sigaction(2)), in the kernel's layout.
#![forbid(unsafe_code)]

use linux_raw_sys::general as abi;

use super::number::Signal;
use crate::{Errno, Result};

/// Size of `siginfo_t` in user memory, in bytes.
pub const USER_SIZE: usize = abi::SI_MAX_SIZE as usize;

/// A `siginfo_t`. The four words after the header hold what the code says they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// `si_signo`.
    pub signal: Signal,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`: why it was sent.
    pub code: i32,
    fields: [u64; 4],
}

/// `si_code` of a signal sent by `kill`.
pub const USER: i32 = abi::SI_USER as i32;
/// `si_code` of a signal sent by the kernel without more to say.
pub const KERNEL: i32 = abi::SI_KERNEL as i32;
/// `si_code` of a signal sent by `sigqueue`.
pub const QUEUE: i32 = abi::SI_QUEUE;
/// `si_code` of a signal sent by `tkill` or `tgkill`.
pub const THREAD_KILL: i32 = abi::SI_TKILL;
/// `si_code` of a signal sent by a POSIX timer.
pub const TIMER: i32 = abi::SI_TIMER;

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl SignalInfo {
    /// Sent by the kernel: a key, a hang-up.
    pub const fn kernel(signal: Signal) -> Self {
        Self { signal, errno: 0, code: KERNEL, fields: [0; 4] }
    }

    /// Sent by a process: `code` is [`USER`] or [`THREAD_KILL`].
    pub const fn from_process(signal: Signal, code: i32, pid: u32, uid: u32) -> Self {
        Self { signal, errno: 0, code, fields: [pair(pid, uid), 0, 0, 0] }
    }

    /// Sent with a value by `sigqueue`.
    pub const fn queued(signal: Signal, pid: u32, uid: u32, value: u64) -> Self {
        Self { signal, errno: 0, code: QUEUE, fields: [pair(pid, uid), value, 0, 0] }
    }

    /// An instruction's fault at `address`.
    pub const fn fault(signal: Signal, code: i32, address: u64) -> Self {
        Self { signal, errno: 0, code, fields: [address, 0, 0, 0] }
    }

    /// A POSIX timer's expiry.
    pub const fn timer(signal: Signal, id: u32, overrun: u32, value: u64) -> Self {
        Self { signal, errno: 0, code: TIMER, fields: [pair(id, overrun), value, 0, 0] }
    }

    /// `SIGCHLD`: `code` is one of `CLD_*`, times are in clock ticks.
    pub const fn child(code: i32, pid: u32, uid: u32, status: i32, user_time: u64, system_time: u64) -> Self {
        Self {
            signal: Signal::CHLD,
            errno: 0,
            code,
            fields: [pair(pid, uid), status as u32 as u64, user_time, system_time],
        }
    }

    /// The same for another signal: what `pthread_kill`-like forwarding and `prctl` death signals need.
    #[must_use]
    pub const fn with_signal(self, signal: Signal) -> Self {
        Self { signal, ..self }
    }

    /// The sending process, where the code says there is one.
    pub const fn pid(&self) -> u32 {
        self.fields[0] as u32
    }

    /// The overrun count of a timer's signal.
    pub const fn timer_overrun(&self) -> u32 {
        (self.fields[0] >> 32) as u32
    }

    /// Changes the overrun count of a timer's signal.
    pub fn set_timer_overrun(&mut self, overrun: u32) {
        self.fields[0] = pair(self.fields[0] as u32, overrun);
    }

    /// The identifier of the timer that sent this, if one did.
    pub fn timer_id(&self) -> Option<u32> {
        (self.code == TIMER).then_some(self.fields[0] as u32)
    }

    /// The address of a fault.
    pub const fn address(&self) -> u64 {
        self.fields[0]
    }

    /// Whether it stands for a program's wish, so that a full queue is an error for that program
    /// rather than a loss of detail.
    pub const fn must_be_queued(&self) -> bool {
        self.signal.is_realtime() && self.code != USER
    }

    /// Whether it is queued though the receiver's user has as many queued as may be: a standard signal by `kill` or of the kernel's.
    pub const fn may_exceed_limit(&self) -> bool {
        !self.signal.is_realtime() && self.code >= 0
    }

    /// Encodes `siginfo_t`.
    pub fn to_bytes(&self) -> [u8; USER_SIZE] {
        let mut bytes = [0; USER_SIZE];
        let header = [self.signal.number(), self.errno, self.code, 0];
        let (head, rest) = bytes.split_at_mut(16);
        for (slot, word) in head.chunks_exact_mut(4).zip(header) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        for (slot, word) in rest.chunks_exact_mut(8).zip(self.fields) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Decodes a `siginfo_t` that a program made for `rt_sigqueueinfo(2)`; the signal is the one
    /// named in the call.
    pub fn from_user(signal: Signal, bytes: &[u8; USER_SIZE]) -> Self {
        let word =
            |at: usize| bytes.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map_or(0, i32::from_ne_bytes);
        let mut fields = [0; 4];
        for (field, chunk) in fields.iter_mut().zip(bytes.get(16..48).unwrap_or(&[]).chunks_exact(8)) {
            *field = <[u8; 8]>::try_from(chunk).map_or(0, u64::from_ne_bytes);
        }
        Self { signal, errno: word(4), code: word(8), fields }
    }

    /// Refuses a `siginfo_t` with which a program pretends to be the kernel: `EPERM` when it is
    /// meant for somebody else.
    pub fn check_forged(&self, to_self: bool) -> Result<()> {
        if (self.code >= 0 || self.code == THREAD_KILL) && !to_self { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Encodes `struct signalfd_siginfo` (signalfd(2)).
    pub fn to_signalfd_bytes(&self) -> [u8; 128] {
        let mut bytes = [0; 128];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(slot) = bytes.get_mut(at..at + value.len()) {
                slot.copy_from_slice(value);
            }
        };
        let [first, second, third, fourth] = self.fields;
        put(0, &self.signal.number().to_ne_bytes());
        put(4, &self.errno.to_ne_bytes());
        put(8, &self.code.to_ne_bytes());
        let (low, high) = ((first as u32).to_ne_bytes(), ((first >> 32) as u32).to_ne_bytes());
        match self.code {
            TIMER => {
                put(24, &low);
                put(32, &high);
                put(44, &(second as u32).to_ne_bytes());
                put(48, &second.to_ne_bytes());
            }
            code if code <= 0 => {
                put(12, &low);
                put(16, &high);
                if code != USER && code != THREAD_KILL {
                    put(44, &(second as u32).to_ne_bytes());
                    put(48, &second.to_ne_bytes());
                }
            }
            KERNEL => {}
            _ if self.signal == Signal::CHLD => {
                put(12, &low);
                put(16, &high);
                put(40, &(second as u32).to_ne_bytes());
                put(56, &third.to_ne_bytes());
                put(64, &fourth.to_ne_bytes());
            }
            _ if self.signal == Signal::IO => {
                put(28, &low);
                put(20, &(second as u32).to_ne_bytes());
            }
            _ => put(72, &first.to_ne_bytes()),
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_one_of_user_space() {
        let bytes = SignalInfo::child(abi::CLD_EXITED as i32, 7, 8, -3, 100, 200).to_bytes();
        assert_eq!(bytes[..4], 17i32.to_ne_bytes());
        assert_eq!(bytes[8..12], 1i32.to_ne_bytes());
        assert_eq!(bytes[16..20], 7i32.to_ne_bytes());
        assert_eq!(bytes[20..24], 8i32.to_ne_bytes());
        assert_eq!(bytes[24..28], (-3i32).to_ne_bytes());
        assert_eq!(bytes[32..40], 100u64.to_ne_bytes());
        assert_eq!(bytes[40..48], 200u64.to_ne_bytes());
    }

    #[test]
    fn a_queued_value_survives_the_way_through_user_memory() {
        let info = SignalInfo::queued(Signal::USR1, 3, 4, 0x1234_5678_9abc_def0);
        assert_eq!(SignalInfo::from_user(Signal::USR1, &info.to_bytes()), info);
    }

    #[test]
    fn only_to_oneself_may_a_program_pose_as_the_kernel() {
        let kernel = SignalInfo::kernel(Signal::USR1);
        assert_eq!(kernel.check_forged(false), Err(Errno::EPERM));
        assert_eq!(kernel.check_forged(true), Ok(()));
        assert_eq!(SignalInfo::queued(Signal::USR1, 0, 0, 0).check_forged(false), Ok(()));
    }
}
