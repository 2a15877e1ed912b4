//! Credentials: on whose behalf a thread acts (credentials(7), capabilities(7)).
//!
//! A `Credentials` value is immutable once a thread carries it: a change makes a new value and swaps the thread's
//! reference, so a reader that took a reference sees one consistent set. Everything here is pure.
#![forbid(unsafe_code)]

mod capability_calls;
mod exec;
mod identity;

pub use exec::{ExecIdentity, SetId};

use super::Dumpable;
use super::capability::{Capability, CapabilitySet};
use super::id::{Gid, Uid};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;

/// Most supplementary groups a thread may have (`NGROUPS_MAX`).
pub const GROUPS_MAX: usize = 65536;

bitflags! {
    /// What of the super-user's special treatment is switched off (capabilities(7), "The securebits flags").
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SecureBits: u32 {
        /// User id 0 gets no capabilities at exec.
        const NO_ROOT = 1 << 0;
        /// `NO_ROOT` cannot be changed any more.
        const NO_ROOT_LOCKED = 1 << 1;
        /// Capabilities do not follow changes of the user ids.
        const NO_SETUID_FIXUP = 1 << 2;
        /// `NO_SETUID_FIXUP` cannot be changed any more.
        const NO_SETUID_FIXUP_LOCKED = 1 << 3;
        /// Permitted capabilities survive giving up user id 0; cleared by exec.
        const KEEP_CAPS = 1 << 4;
        /// `KEEP_CAPS` cannot be changed any more.
        const KEEP_CAPS_LOCKED = 1 << 5;
        /// The ambient set cannot be raised.
        const NO_CAP_AMBIENT_RAISE = 1 << 6;
        /// `NO_CAP_AMBIENT_RAISE` cannot be changed any more.
        const NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7;
    }
}

/// The four user ids of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserIds {
    /// Who started it.
    pub real: Uid,
    /// Whose rights it has.
    pub effective: Uid,
    /// Whose rights it may take back.
    pub saved: Uid,
    /// Whose rights it has on files.
    pub file_system: Uid,
}

impl UserIds {
    /// The super-user's.
    pub const ROOT: Self = Self { real: Uid::ROOT, effective: Uid::ROOT, saved: Uid::ROOT, file_system: Uid::ROOT };
}

/// The four group ids of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupIds {
    /// Who started it.
    pub real: Gid,
    /// Whose rights it has.
    pub effective: Gid,
    /// Whose rights it may take back.
    pub saved: Gid,
    /// Whose rights it has on files.
    pub file_system: Gid,
}

/// The five capability sets of a thread.
///
/// # Invariants
/// `effective` is a subset of `permitted`; `ambient` is a subset of `permitted` and of `inheritable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What may be made effective.
    pub permitted: CapabilitySet,
    /// What is checked.
    pub effective: CapabilitySet,
    /// What an exec of a file with capabilities keeps.
    pub inheritable: CapabilitySet,
    /// The most that an exec can give.
    pub bounding: CapabilitySet,
    /// What an exec of an ordinary file keeps.
    pub ambient: CapabilitySet,
}

/// On whose behalf a thread acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User ids.
    pub uid: UserIds,
    /// Group ids.
    pub gid: GroupIds,
    /// Supplementary groups, in rising order.
    pub groups: Arc<[Gid]>,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// Switches for the super-user's special treatment.
    pub securebits: SecureBits,
    /// Set: no exec gives more rights than the thread has (prctl(2), `PR_SET_NO_NEW_PRIVS`). Never cleared.
    pub no_new_privileges: bool,
}

impl Credentials {
    /// What the first process starts with: user 0, every capability.
    #[must_use]
    pub fn root() -> Credentials {
        Credentials {
            uid: UserIds::ROOT,
            gid: GroupIds { real: Gid::ROOT, effective: Gid::ROOT, saved: Gid::ROOT, file_system: Gid::ROOT },
            groups: Arc::from(Vec::new()),
            capabilities: Capabilities {
                permitted: CapabilitySet::FULL,
                effective: CapabilitySet::FULL,
                inheritable: CapabilitySet::EMPTY,
                bounding: CapabilitySet::FULL,
                ambient: CapabilitySet::EMPTY,
            },
            securebits: SecureBits::empty(),
            no_new_privileges: false,
        }
    }

    /// Does the thread hold `capability` right now?
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.effective.has(capability)
    }

    /// Is `gid` the effective group or a supplementary one?
    #[must_use]
    pub fn in_group(&self, gid: Gid) -> bool {
        gid == self.gid.effective || self.groups.binary_search(&gid).is_ok()
    }

    /// Is `gid` the group that counts for files, or a supplementary one?
    #[must_use]
    pub fn in_file_group(&self, gid: Gid) -> bool {
        gid == self.gid.file_system || self.groups.binary_search(&gid).is_ok()
    }

    /// May a thread with these credentials send a signal to one of the user `target` (kill(2))? Sessions and SIGCONT are
    /// the caller's matter.
    #[must_use]
    pub fn may_signal(&self, target: UserIds) -> bool {
        let mine = [self.uid.effective, self.uid.real];
        mine.contains(&target.saved) || mine.contains(&target.real) || self.has(Capability::Kill)
    }

    /// May a thread with these credentials read the memory or the robust list of one in another process, which is `dumpable` or not
    /// (ptrace(2), "Ptrace access mode checking", by the real ids)?
    #[must_use]
    pub fn may_inspect(&self, target: &Credentials, dumpable: Dumpable) -> bool {
        let same_user = [target.uid.real, target.uid.effective, target.uid.saved].iter().all(|id| *id == self.uid.real);
        let same_group =
            [target.gid.real, target.gid.effective, target.gid.saved].iter().all(|id| *id == self.gid.real);
        let same_power = target.capabilities.permitted.is_subset_of(self.capabilities.effective)
            || target.capabilities.permitted.is_subset_of(self.capabilities.permitted);
        let same = same_user && same_group && same_power && dumpable == Dumpable::Yes;
        same || self.has(Capability::SysPtrace)
    }
}
