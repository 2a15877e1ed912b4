//! Signal numbers, sets of them, and what each does to a process that did not say otherwise (signal(7)).
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::{BitAnd, BitOr, Not};

use linux_raw_sys::general as abi;

use crate::{Errno, Result};

/// A signal number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// What a signal does under `SIG_DFL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// The process ends, and its wait status says that a core was to be dumped.
    Core,
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// The process continues if it is stopped (this part happens whatever the action is).
    Continue,
}

macro_rules! signals {
    ($($name:ident = $value:ident $action:ident;)*) => {
        impl Signal {
            $(#[doc = concat!("`", stringify!($value), "`; by default: ", stringify!($action), ".")]
            pub const $name: Self = Self(abi::$value as u8);)*

            /// What this signal does when nothing was installed for it.
            pub const fn default_action(self) -> DefaultAction {
                match self {
                    $(Self::$name => DefaultAction::$action,)*
                    _ => DefaultAction::Terminate,
                }
            }

            const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($value)),)*
                    _ => None,
                }
            }
        }
    };
}

signals! {
    HUP = SIGHUP Terminate;
    INT = SIGINT Terminate;
    QUIT = SIGQUIT Core;
    ILL = SIGILL Core;
    TRAP = SIGTRAP Core;
    ABRT = SIGABRT Core;
    BUS = SIGBUS Core;
    FPE = SIGFPE Core;
    KILL = SIGKILL Terminate;
    USR1 = SIGUSR1 Terminate;
    SEGV = SIGSEGV Core;
    USR2 = SIGUSR2 Terminate;
    PIPE = SIGPIPE Terminate;
    ALRM = SIGALRM Terminate;
    TERM = SIGTERM Terminate;
    STKFLT = SIGSTKFLT Terminate;
    CHLD = SIGCHLD Ignore;
    CONT = SIGCONT Continue;
    STOP = SIGSTOP Stop;
    TSTP = SIGTSTP Stop;
    TTIN = SIGTTIN Stop;
    TTOU = SIGTTOU Stop;
    URG = SIGURG Ignore;
    XCPU = SIGXCPU Core;
    XFSZ = SIGXFSZ Core;
    VTALRM = SIGVTALRM Terminate;
    PROF = SIGPROF Terminate;
    WINCH = SIGWINCH Ignore;
    IO = SIGIO Terminate;
    PWR = SIGPWR Terminate;
    SYS = SIGSYS Core;
}

impl Signal {
    /// The number of signals.
    pub const COUNT: usize = 64;
    /// The first real-time signal: from here on, each sending is queued and delivered by itself.
    pub const FIRST_REALTIME: u8 = abi::SIGRTMIN as u8;

    /// The signal a program named; `EINVAL` outside 1 to 64.
    pub const fn new(number: i32) -> Result<Self> {
        if number >= 1 && number <= Self::COUNT as i32 { Ok(Self(number as u8)) } else { Err(Errno::EINVAL) }
    }

    /// The number, 1 to 64.
    pub const fn number(self) -> i32 {
        self.0 as i32
    }

    /// Its place in a table of all signals, 0 to 63.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// Whether each sending counts, with its own value.
    pub const fn is_realtime(self) -> bool {
        self.0 >= Self::FIRST_REALTIME
    }

    /// Whether a program can neither block, catch nor ignore it.
    pub const fn is_unblockable(self) -> bool {
        matches!(self, Self::KILL | Self::STOP)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "SIG{}", self.0),
        }
    }
}

/// A set of signals, laid out as the kernel's `sigset_t`: bit n-1 stands for signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Every signal.
    pub const ALL: Self = Self(u64::MAX);
    /// Those that can be neither blocked, caught nor ignored.
    pub const UNBLOCKABLE: Self = Self::of(&[Signal::KILL, Signal::STOP]);
    /// Those whose default action stops the process.
    pub const STOPS: Self = Self::of(&[Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU]);
    /// Those an instruction causes: they are delivered before all others.
    pub const FAULTS: Self =
        Self::of(&[Signal::SEGV, Signal::BUS, Signal::ILL, Signal::TRAP, Signal::FPE, Signal::SYS]);
    /// Those whose default action is to do nothing.
    pub const IGNORED_BY_DEFAULT: Self = Self::of(&[Signal::CHLD, Signal::URG, Signal::WINCH, Signal::CONT]);

    /// The set with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits of the set.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of these signals.
    pub const fn of(signals: &[Signal]) -> Self {
        let mut bits = 0;
        let mut rest = signals;
        while let [first, others @ ..] = rest {
            bits |= 1 << first.index();
            rest = others;
        }
        Self(bits)
    }

    /// Whether `signal` is in the set.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 >> signal.index() & 1 == 1
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with `signal` in it.
    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << signal.index())
    }

    /// The set without `signal`.
    #[must_use]
    pub const fn without(self, signal: Signal) -> Self {
        Self(self.0 & !(1 << signal.index()))
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The signal that is delivered first: faults before others, then by number.
    pub const fn first(self) -> Option<Signal> {
        let faults = self.0 & Self::FAULTS.0;
        let bits = if faults != 0 { faults } else { self.0 };
        if bits == 0 { None } else { Some(Signal(bits.trailing_zeros() as u8 + 1)) }
    }
}

impl BitOr for SignalSet {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for SignalSet {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for SignalSet {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_the_range_are_refused() {
        for bad in [i32::MIN, -1, 0, 65, i32::MAX] {
            assert_eq!(Signal::new(bad), Err(Errno::EINVAL));
        }
        assert_eq!(Signal::new(64).unwrap().index(), 63);
    }

    #[test]
    fn faults_come_first_then_the_lowest_number() {
        let set = SignalSet::of(&[Signal::HUP, Signal::SEGV, Signal::TERM]);
        assert_eq!(set.first(), Some(Signal::SEGV));
        assert_eq!(set.without(Signal::SEGV).first(), Some(Signal::HUP));
        assert_eq!(SignalSet::EMPTY.first(), None);
    }
}
