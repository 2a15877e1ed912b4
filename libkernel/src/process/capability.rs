//! Capabilities: the pieces into which the super-user's power is cut (capabilities(7)).
#![forbid(unsafe_code)]

use core::ops::{BitAnd, BitOr, Not};

macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// One capability, by its Linux number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "capabilities(7) describes each; the names are its names")]
        pub enum Capability { $($(#[$doc])* $name = $number,)* }

        impl Capability {
            /// The capability with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Capability> {
                match number {
                    $($number => Some(Capability::$name),)*
                    _ => None,
                }
            }
        }
    };
}

capabilities! {
    Chown = 0,
    DacOverride = 1,
    DacReadSearch = 2,
    Fowner = 3,
    Fsetid = 4,
    Kill = 5,
    Setgid = 6,
    Setuid = 7,
    Setpcap = 8,
    LinuxImmutable = 9,
    NetBindService = 10,
    NetBroadcast = 11,
    NetAdmin = 12,
    NetRaw = 13,
    IpcLock = 14,
    IpcOwner = 15,
    SysModule = 16,
    SysRawio = 17,
    SysChroot = 18,
    SysPtrace = 19,
    SysPacct = 20,
    SysAdmin = 21,
    SysBoot = 22,
    SysNice = 23,
    SysResource = 24,
    SysTime = 25,
    SysTtyConfig = 26,
    Mknod = 27,
    Lease = 28,
    AuditWrite = 29,
    AuditControl = 30,
    Setfcap = 31,
    MacOverride = 32,
    MacAdmin = 33,
    Syslog = 34,
    WakeAlarm = 35,
    BlockSuspend = 36,
    AuditRead = 37,
    Perfmon = 38,
    Bpf = 39,
    CheckpointRestore = 40,
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// Number of the last capability there is (`/proc/sys/kernel/cap_last_cap`).
    pub const LAST: u32 = Capability::CheckpointRestore as u32;
    /// No capability.
    pub const EMPTY: CapabilitySet = CapabilitySet(0);
    /// Every capability.
    pub const FULL: CapabilitySet = CapabilitySet((1 << (Self::LAST + 1)) - 1);
    /// Those that concern files: they follow the file-system user id (capabilities(7), "Effect of user ID changes").
    pub const FILE_SYSTEM: CapabilitySet = CapabilitySet(
        1 << Capability::Chown as u32
            | 1 << Capability::DacOverride as u32
            | 1 << Capability::DacReadSearch as u32
            | 1 << Capability::Fowner as u32
            | 1 << Capability::Fsetid as u32
            | 1 << Capability::LinuxImmutable as u32
            | 1 << Capability::Mknod as u32
            | 1 << Capability::MacOverride as u32,
    );

    /// The set whose members are the bits of `bits`; bits that name no capability are dropped.
    #[must_use]
    pub const fn from_bits_truncate(bits: u64) -> CapabilitySet {
        CapabilitySet(bits & Self::FULL.0)
    }

    /// The set as one bit a capability.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Is `capability` a member?
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u32) != 0
    }

    /// The set with `capability` added.
    #[must_use]
    pub const fn with(self, capability: Capability) -> CapabilitySet {
        CapabilitySet(self.0 | 1 << capability as u32)
    }

    /// The set with `capability` removed.
    #[must_use]
    pub const fn without(self, capability: Capability) -> CapabilitySet {
        CapabilitySet(self.0 & !(1 << capability as u32))
    }

    /// Is every member of `self` a member of `other`?
    #[must_use]
    pub const fn is_subset_of(self, other: CapabilitySet) -> bool {
        self.0 & !other.0 == 0
    }

    /// Is the set empty?
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitAnd for CapabilitySet {
    type Output = CapabilitySet;
    fn bitand(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & other.0)
    }
}

impl BitOr for CapabilitySet {
    type Output = CapabilitySet;
    fn bitor(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 | other.0)
    }
}

impl Not for CapabilitySet {
    type Output = CapabilitySet;
    fn not(self) -> CapabilitySet {
        CapabilitySet(!self.0 & Self::FULL.0)
    }
}
