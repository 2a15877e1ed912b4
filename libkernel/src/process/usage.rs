//! What a thread or process has used up (getrusage(2), times(2), wait4(2)).
#![forbid(unsafe_code)]

/// Resources used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time in user mode, in nanoseconds.
    pub user_ns: u64,
    /// Time in the kernel on the program's behalf, in nanoseconds.
    pub system_ns: u64,
    /// Page faults that needed no device.
    pub minor_faults: u64,
    /// Page faults that needed a device.
    pub major_faults: u64,
    /// How often it gave the core up by itself.
    pub voluntary_switches: u64,
    /// How often the core was taken away from it.
    pub involuntary_switches: u64,
    /// The largest resident set, in KiB.
    pub max_resident_kib: u64,
}

impl Usage {
    /// Takes `other` in: sums, and the larger of the resident sets.
    pub fn add(&mut self, other: &Usage) {
        self.user_ns = self.user_ns.wrapping_add(other.user_ns);
        self.system_ns = self.system_ns.wrapping_add(other.system_ns);
        self.minor_faults = self.minor_faults.wrapping_add(other.minor_faults);
        self.major_faults = self.major_faults.wrapping_add(other.major_faults);
        self.voluntary_switches = self.voluntary_switches.wrapping_add(other.voluntary_switches);
        self.involuntary_switches = self.involuntary_switches.wrapping_add(other.involuntary_switches);
        self.max_resident_kib = self.max_resident_kib.max(other.max_resident_kib);
    }
}

/// Nanoseconds in clock ticks, rounded down (times(2), `/proc`).
#[must_use]
pub const fn ticks(ns: u64) -> u64 {
    ns / (1_000_000_000 / super::exec::auxiliary::TICKS_PER_SECOND)
}
