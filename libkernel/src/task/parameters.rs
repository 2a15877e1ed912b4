//! How a task wants to be scheduled, as set by system calls and read by everybody.
//!
//! These are the requested values. The run queue works with the copy in the task's scheduling entity, which the owning core brings up to
//! date (`sched(7)`, `sched_setattr(2)`, `setpriority(2)`, `sched_setaffinity(2)`).

use core::sync::atomic::{AtomicBool, AtomicI8, AtomicU8, AtomicU64, Ordering};

use crate::sched::Request;

/// A set of cores, one bit each; as many as [`MAX_CORES`](crate::machine::MAX_CORES) fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffinityMask(pub u64);

impl AffinityMask {
    /// Every core there can be.
    pub const ALL: Self = Self(u64::MAX);

    /// That core alone.
    pub const fn only(core: usize) -> Self {
        Self(1 << (core & 63))
    }

    /// Whether the core is in the set.
    pub const fn contains(self, core: usize) -> bool {
        core < 64 && self.0 & (1 << core) != 0
    }
}

const _: () = assert!(crate::machine::MAX_CORES <= 64);

/// A scheduling policy; the numbers are Linux's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// `SCHED_OTHER`.
    #[default]
    Normal = 0,
    /// `SCHED_FIFO`.
    Fifo = 1,
    /// `SCHED_RR`.
    RoundRobin = 2,
    /// `SCHED_BATCH`.
    Batch = 3,
    /// `SCHED_IDLE`.
    Idle = 5,
}

impl Policy {
    /// The policy with Linux's number.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Normal),
            1 => Some(Self::Fifo),
            2 => Some(Self::RoundRobin),
            3 => Some(Self::Batch),
            5 => Some(Self::Idle),
            _ => None,
        }
    }

    /// Whether the policy has a static priority.
    pub const fn is_realtime(self) -> bool {
        matches!(self, Self::Fifo | Self::RoundRobin)
    }
}

/// The requested scheduling parameters of a task.
#[derive(Debug)]
pub struct Parameters {
    nice: AtomicI8,
    policy: AtomicU8,
    realtime_priority: AtomicU8,
    reset_on_fork: AtomicBool,
    slice: AtomicU64,
    affinity: AtomicU64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            nice: AtomicI8::new(0),
            policy: AtomicU8::new(Policy::Normal as u8),
            realtime_priority: AtomicU8::new(0),
            reset_on_fork: AtomicBool::new(false),
            slice: AtomicU64::new(0),
            affinity: AtomicU64::new(AffinityMask::ALL.0),
        }
    }
}

impl Parameters {
    /// The nice value, -20 to 19.
    pub fn nice(&self) -> i8 {
        self.nice.load(Ordering::Relaxed)
    }

    /// Sets the nice value, clamped to -20 to 19.
    pub fn set_nice(&self, nice: i8) {
        self.nice.store(nice.clamp(-20, 19), Ordering::Relaxed);
    }

    /// The policy.
    #[inline]
    pub fn policy(&self) -> Policy {
        match self.policy.load(Ordering::Relaxed) {
            0 => Policy::Normal,
            number => Self::special_policy(number),
        }
    }

    #[cold]
    #[inline(never)]
    fn special_policy(number: u8) -> Policy {
        Policy::from_number(u32::from(number)).unwrap_or_default()
    }

    /// Sets the policy.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    /// The static priority, 1 to 99 for the real-time policies, else 0.
    pub fn realtime_priority(&self) -> u8 {
        self.realtime_priority.load(Ordering::Relaxed)
    }

    /// Sets the static priority.
    pub fn set_realtime_priority(&self, priority: u8) {
        self.realtime_priority.store(priority.min(99), Ordering::Relaxed);
    }

    /// Whether children start with default parameters.
    pub fn reset_on_fork(&self) -> bool {
        self.reset_on_fork.load(Ordering::Relaxed)
    }

    /// Sets whether children start with default parameters.
    pub fn set_reset_on_fork(&self, reset: bool) {
        self.reset_on_fork.store(reset, Ordering::Relaxed);
    }

    /// The slice asked for in nanoseconds; `None`: the default one.
    pub fn slice(&self) -> Option<u64> {
        Some(self.slice.load(Ordering::Relaxed)).filter(|&slice| slice != 0)
    }

    /// Asks for a slice in nanoseconds, clamped to 0.1 to 100 ms, or for the default one.
    pub fn set_slice(&self, slice: Option<u64>) {
        self.slice.store(slice.map_or(0, |slice| slice.clamp(100_000, 100_000_000)), Ordering::Relaxed);
    }

    /// The cores it may run on.
    pub fn affinity(&self) -> AffinityMask {
        AffinityMask(self.affinity.load(Ordering::Relaxed))
    }

    /// Sets the cores it may run on; the caller sees to it that the set is not empty.
    pub fn set_affinity(&self, mask: AffinityMask) {
        self.affinity.store(mask.0, Ordering::Relaxed);
    }

    /// What the run queue needs of all this.
    pub fn request(&self) -> Request {
        Request { policy: self.policy(), priority: self.realtime_priority(), nice: self.nice(), slice: self.slice() }
    }

    /// Takes over the parameters of a parent, as `fork` does (`sched(7)`, reset-on-fork).
    pub fn inherit(&self, parent: &Self) {
        self.set_affinity(parent.affinity());
        if parent.reset_on_fork() {
            self.set_nice(parent.nice().max(0));
            return;
        }
        self.set_nice(parent.nice());
        self.set_policy(parent.policy());
        self.set_realtime_priority(parent.realtime_priority());
        self.set_slice(parent.slice());
    }
}
