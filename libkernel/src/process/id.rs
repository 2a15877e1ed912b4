//! The numbers that name processes, threads, users and groups.
//!
//! Each kind is a type of its own, so that a user id cannot be passed where a process id is meant. No value of any
//! of them means "none": that is `Option`.

use core::fmt;
use core::num::NonZeroU32;

/// Upper bound of every process and thread id: ids are below it (Linux's `PID_MAX_LIMIT` on 64-bit machines).
pub const PID_LIMIT: u32 = 4 * 1024 * 1024;

/// The id of a process, a thread, a process group or a session. They share one number space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroU32);

impl Pid {
    /// The first process: it adopts orphans and its end stops the machine.
    pub const INIT: Pid = Pid(NonZeroU32::MIN);

    /// The id with this number, or `None` for a number that can name nothing (zero, negative, too large).
    #[must_use]
    pub const fn new(raw: i32) -> Option<Pid> {
        if raw <= 0 || raw as u32 >= PID_LIMIT {
            return None;
        }
        match NonZeroU32::new(raw as u32) {
            Some(number) => Some(Pid(number)),
            None => None,
        }
    }

    /// The number as programs see it; always positive.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0.get() as i32
    }

    /// The number as an unsigned word.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pid({})", self.0)
    }
}

macro_rules! owner_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// Number zero: the super-user, or its group.
            pub const ROOT: $name = $name(0);

            /// The id with this number; `None` for the one number (all ones) that the calls reserve for "leave as it is".
            #[must_use]
            pub const fn new(raw: u32) -> Option<$name> {
                if raw == u32::MAX { None } else { Some($name(raw)) }
            }

            /// The number as programs see it.
            #[must_use]
            pub const fn raw(self) -> u32 {
                self.0
            }

            /// Is this number zero?
            #[must_use]
            pub const fn is_root(self) -> bool {
                self.0 == 0
            }
        }
    };
}

owner_id! {
    /// A user id.
    Uid
}
owner_id! {
    /// A group id.
    Gid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_outside_the_range_is_a_pid() {
        assert_eq!(Pid::new(0), None);
        assert_eq!(Pid::new(-1), None);
        assert_eq!(Pid::new(i32::MIN), None);
        assert_eq!(Pid::new(PID_LIMIT as i32), None);
        assert_eq!(Pid::new(1), Some(Pid::INIT));
        assert_eq!(Pid::new(PID_LIMIT as i32 - 1).map(Pid::raw), Some(PID_LIMIT as i32 - 1));
    }

    #[test]
    fn all_ones_is_no_user() {
        assert_eq!(Uid::new(u32::MAX), None);
        assert_eq!(Uid::new(u32::MAX - 1).map(Uid::raw), Some(u32::MAX - 1));
    }
}
