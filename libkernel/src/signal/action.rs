//! What a process does with each signal: sigaction(2)'s table.
//!
//! The table is shared by processes cloned with `CLONE_SIGHAND`; its lock is a leaf under the lock
//! of [`super::ProcessSignals`] and may be taken in an interrupt.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::general as abi;

use super::number::{Signal, SignalSet};
use crate::sync::IrqSpinLock;

/// What to do with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// `SIG_DFL`.
    Default,
    /// `SIG_IGN`.
    Ignore,
    /// Run the function at this user address.
    Handler(u64),
}

/// `struct sigaction` as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// What to do.
    pub disposition: Disposition,
    /// `SA_*` bits.
    pub flags: u64,
    /// User address of the return trampoline, used under `SA_RESTORER`.
    pub restorer: u64,
    /// Signals blocked while the handler runs.
    pub mask: SignalSet,
}

/// Size of the kernel's `struct sigaction` in bytes.
pub const ACTION_SIZE: usize = 32;

/// Flags that are kept; others read back as zero, which is how programs find out.
const KNOWN_FLAGS: u64 = (abi::SA_NOCLDSTOP
    | abi::SA_NOCLDWAIT
    | abi::SA_SIGINFO
    | abi::SA_ONSTACK
    | abi::SA_RESTART
    | abi::SA_NODEFER
    | abi::SA_RESETHAND
    | abi::SA_EXPOSE_TAGBITS
    | abi::SA_RESTORER) as u64;

impl Action {
    /// `SIG_DFL` without flags.
    pub const DEFAULT: Self = Self { disposition: Disposition::Default, flags: 0, restorer: 0, mask: SignalSet::EMPTY };

    /// Whether one of the given `SA_*` bits is set.
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag as u64 != 0
    }

    /// Decodes the structure of rt_sigaction(2).
    pub fn from_bytes(bytes: &[u8; ACTION_SIZE]) -> Self {
        let mut words = [0u64; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = <[u8; 8]>::try_from(chunk).map_or(0, u64::from_ne_bytes);
        }
        let [handler, flags, restorer, mask] = words;
        Self {
            disposition: match handler {
                0 => Disposition::Default,
                1 => Disposition::Ignore,
                address => Disposition::Handler(address),
            },
            flags: flags & KNOWN_FLAGS,
            restorer,
            mask: SignalSet::from_bits(mask).minus(SignalSet::UNBLOCKABLE),
        }
    }

    /// Encodes the structure of rt_sigaction(2).
    pub fn to_bytes(&self) -> [u8; ACTION_SIZE] {
        let handler = match self.disposition {
            Disposition::Default => 0,
            Disposition::Ignore => 1,
            Disposition::Handler(address) => address,
        };
        let mut bytes = [0; ACTION_SIZE];
        let words = [handler, self.flags, self.restorer, self.mask.bits()];
        for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

/// The actions for all signals.
pub struct Actions {
    table: IrqSpinLock<[Action; Signal::COUNT]>,
    /// Signals that have no effect if they are not blocked: `SIG_IGN`, or `SIG_DFL` and harmless.
    ineffective: AtomicU64,
    /// Signals for which a handler is installed.
    caught: AtomicU64,
    /// Signals set to `SIG_IGN`.
    ignored: AtomicU64,
}

impl Actions {
    /// All default.
    pub fn new() -> Self {
        Self {
            table: IrqSpinLock::new([Action::DEFAULT; Signal::COUNT]),
            ineffective: AtomicU64::new(SignalSet::IGNORED_BY_DEFAULT.bits()),
            caught: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
        }
    }

    /// A copy, for fork.
    pub fn duplicate(&self) -> Self {
        let copy = Self::new();
        {
            let table = *self.table.lock();
            *copy.table.lock() = table;
        }
        for (to, from) in
            [(&copy.ineffective, &self.ineffective), (&copy.caught, &self.caught), (&copy.ignored, &self.ignored)]
        {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        copy
    }

    /// The action for `signal`.
    pub fn get(&self, signal: Signal) -> Action {
        self.table.lock().get(signal.index()).copied().unwrap_or(Action::DEFAULT)
    }

    /// Installs an action and returns the old one.
    pub fn set(&self, signal: Signal, action: Action) -> Action {
        let mut table = self.table.lock();
        let old = table.get_mut(signal.index()).map_or(Action::DEFAULT, |slot| core::mem::replace(slot, action));
        let bit = 1 << signal.index();
        let put = |set: &AtomicU64, on: bool| {
            let bits = set.load(Ordering::Relaxed);
            set.store(if on { bits | bit } else { bits & !bit }, Ordering::Relaxed);
        };
        put(&self.caught, matches!(action.disposition, Disposition::Handler(_)));
        put(&self.ignored, action.disposition == Disposition::Ignore);
        put(
            &self.ineffective,
            match action.disposition {
                Disposition::Ignore => true,
                Disposition::Default => SignalSet::IGNORED_BY_DEFAULT.contains(signal),
                Disposition::Handler(_) => false,
            },
        );
        old
    }

    /// What exec leaves: caught signals go back to their default, ignored ones stay ignored.
    pub fn reset_for_exec(&self) {
        let mut table = self.table.lock();
        for action in table.iter_mut() {
            let ignored = action.disposition == Disposition::Ignore;
            *action = Action::DEFAULT;
            if ignored {
                action.disposition = Disposition::Ignore;
            }
        }
        self.caught.store(0, Ordering::Relaxed);
        let ignored = self.ignored.load(Ordering::Relaxed);
        self.ineffective.store(ignored | SignalSet::IGNORED_BY_DEFAULT.bits(), Ordering::Relaxed);
    }

    /// Signals that have no effect where they are not blocked.
    pub fn ineffective(&self) -> SignalSet {
        SignalSet::from_bits(self.ineffective.load(Ordering::Relaxed))
    }

    /// Signals with a handler (`SigCgt` of `/proc/PID/status`).
    pub fn caught(&self) -> SignalSet {
        SignalSet::from_bits(self.caught.load(Ordering::Relaxed))
    }

    /// Signals set to `SIG_IGN` (`SigIgn` of `/proc/PID/status`).
    pub fn ignored(&self) -> SignalSet {
        SignalSet::from_bits(self.ignored.load(Ordering::Relaxed))
    }
}

impl Default for Actions {
    fn default() -> Self {
        Self::new()
    }
}
