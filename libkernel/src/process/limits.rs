//! Resource limits of a process (getrlimit(2)).
#![forbid(unsafe_code)]

use crate::{Errno, Result};

/// No limit.
pub const INFINITY: u64 = u64::MAX;
/// Default size limit of the main thread's stack, in bytes.
const STACK: u64 = 8 * 1024 * 1024;
/// Default soft limit on open files.
const OPEN_FILES: u64 = 1024;
/// Hard limit on open files, and the most that may ever be set (`/proc/sys/fs/nr_open`).
pub const OPEN_FILES_MAX: u64 = 1024 * 1024;
/// Default hard limit on open files.
const OPEN_FILES_HARD: u64 = 4096;

macro_rules! resources {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// A resource that can be limited, by its Linux number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Resource { $($(#[$doc])* $name = $number,)* }

        impl Resource {
            /// All of them, in the order of their numbers.
            pub const ALL: [Resource; COUNT] = [$(Resource::$name,)*];

            /// The resource with this number.
            ///
            /// # Errors
            /// `EINVAL` for a number that names none.
            pub fn from_number(number: u32) -> Result<Resource> {
                Resource::ALL.get(number as usize).copied().ok_or(Errno::EINVAL)
            }
        }
    };
}

const COUNT: usize = 16;

resources! {
    /// CPU time in seconds.
    Cpu = 0,
    /// Size of a file written, in bytes.
    FileSize = 1,
    /// Data segment, in bytes.
    Data = 2,
    /// Stack, in bytes.
    Stack = 3,
    /// Core file, in bytes.
    Core = 4,
    /// Resident set (no effect, as on Linux).
    Resident = 5,
    /// Threads of one user.
    Processes = 6,
    /// Open files: one more than the highest descriptor.
    OpenFiles = 7,
    /// Locked memory, in bytes.
    LockedMemory = 8,
    /// Address space, in bytes.
    AddressSpace = 9,
    /// File locks (no effect, as on Linux).
    Locks = 10,
    /// Queued signals of one user.
    PendingSignals = 11,
    /// Bytes in POSIX message queues.
    MessageQueues = 12,
    /// Ceiling of the nice value, as 20 - nice.
    Nice = 13,
    /// Ceiling of the real-time priority.
    RealTimePriority = 14,
    /// Microseconds of real-time CPU time without a blocking call.
    RealTimeTime = 15,
}

/// One limit: what is enforced, and how far that may be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The soft limit: enforced.
    pub soft: u64,
    /// The hard limit: ceiling of the soft one.
    pub hard: u64,
}

/// All limits of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits([Limit; COUNT]);

impl Limits {
    /// What init starts with, on a machine that can hold `max_threads` threads.
    #[must_use]
    pub const fn initial(max_threads: u64) -> Limits {
        const NONE: Limit = Limit { soft: INFINITY, hard: INFINITY };
        let threads = Limit { soft: max_threads / 2, hard: max_threads / 2 };
        let zero = Limit { soft: 0, hard: 0 };
        let locked = Limit { soft: 8 * 1024 * 1024, hard: 8 * 1024 * 1024 };
        Limits([
            NONE,
            NONE,
            NONE,
            Limit { soft: STACK, hard: INFINITY },
            Limit { soft: 0, hard: INFINITY },
            NONE,
            threads,
            Limit { soft: OPEN_FILES, hard: OPEN_FILES_HARD },
            locked,
            NONE,
            NONE,
            threads,
            Limit { soft: 819_200, hard: 819_200 },
            zero,
            zero,
            NONE,
        ])
    }

    /// One limit.
    #[must_use]
    pub fn get(&self, resource: Resource) -> Limit {
        self.0.get(resource as usize).copied().unwrap_or(Limit { soft: INFINITY, hard: INFINITY })
    }

    /// Sets one limit; `may_raise` says whether the caller holds `CAP_SYS_RESOURCE`.
    ///
    /// # Errors
    /// `EINVAL` when soft exceeds hard, `EPERM` when hard would rise without the capability or open files beyond
    /// [`OPEN_FILES_MAX`].
    pub fn set(&mut self, resource: Resource, new: Limit, may_raise: bool) -> Result<()> {
        if new.soft > new.hard {
            return Err(Errno::EINVAL);
        }
        if resource == Resource::OpenFiles && new.hard > OPEN_FILES_MAX {
            return Err(Errno::EPERM);
        }
        let Some(old) = self.0.get_mut(resource as usize) else { return Err(Errno::EINVAL) };
        if new.hard > old.hard && !may_raise {
            return Err(Errno::EPERM);
        }
        *old = new;
        Ok(())
    }

    /// The soft limit on CPU time, which was `soft` seconds, has been reached and announced: the next is a second later.
    pub(crate) fn advance_cpu(&mut self, soft: u64) {
        if let Some(limit) = self.0.get_mut(Resource::Cpu as usize)
            && limit.soft == soft
        {
            limit.soft = soft.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_places_agree() {
        for (number, resource) in Resource::ALL.iter().enumerate() {
            assert_eq!(*resource as usize, number);
        }
        assert_eq!(Resource::from_number(16), Err(Errno::EINVAL));
        assert_eq!(Limits::initial(1000).get(Resource::OpenFiles).soft, 1024);
        assert_eq!(Limits::initial(1000).get(Resource::Processes).hard, 500);
    }

    #[test]
    fn only_the_privileged_raise_a_hard_limit() {
        let mut limits = Limits::initial(1000);
        let low = Limit { soft: 10, hard: 20 };
        limits.set(Resource::Data, low, false).unwrap();
        let high = Limit { soft: 10, hard: 30 };
        assert_eq!(limits.set(Resource::Data, high, false), Err(Errno::EPERM));
        assert_eq!(limits.set(Resource::Data, high, true), Ok(()));
        assert_eq!(limits.set(Resource::Data, Limit { soft: 2, hard: 1 }, true), Err(Errno::EINVAL));
    }
}
