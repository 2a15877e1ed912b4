//! Changing user and group ids: setuid(2), setreuid(2), setresuid(2), setfsuid(2), setgroups(2) and their group twins,
//! and what the change of a user id does to the capabilities (capabilities(7), "Effect of user ID changes").
#![forbid(unsafe_code)]

use super::{Credentials, GROUPS_MAX, GroupIds, SecureBits, UserIds};
use crate::process::capability::{Capability, CapabilitySet};
use crate::process::id::{Gid, Uid};
use crate::{Errno, Result};
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Credentials {
    /// setuid(2): all ids with `CAP_SETUID`, else the effective id back to the real or saved one.
    ///
    /// # Errors
    /// `EPERM` when `uid` is neither and the thread lacks the capability.
    pub fn set_uid(&self, uid: Uid) -> Result<Credentials> {
        let mut ids = self.uid;
        if self.has(Capability::Setuid) {
            ids.real = uid;
            ids.saved = uid;
        } else if uid != ids.real && uid != ids.saved {
            return Err(Errno::EPERM);
        }
        ids.effective = uid;
        ids.file_system = uid;
        Ok(self.with_uids(ids))
    }

    /// setreuid(2); `None` leaves an id as it is.
    ///
    /// # Errors
    /// `EPERM` for an id that the thread may not take.
    pub fn set_reuid(&self, real: Option<Uid>, effective: Option<Uid>) -> Result<Credentials> {
        let mut ids = self.uid;
        let privileged = self.has(Capability::Setuid);
        if let Some(real) = real {
            if !privileged && real != self.uid.real && real != self.uid.effective {
                return Err(Errno::EPERM);
            }
            ids.real = real;
        }
        if let Some(effective) = effective {
            let known = [self.uid.real, self.uid.effective, self.uid.saved];
            if !privileged && !known.contains(&effective) {
                return Err(Errno::EPERM);
            }
            ids.effective = effective;
        }
        if real.is_some() || effective.is_some_and(|id| id != self.uid.real) {
            ids.saved = ids.effective;
        }
        ids.file_system = ids.effective;
        Ok(self.with_uids(ids))
    }

    /// setresuid(2); `None` leaves an id as it is.
    ///
    /// # Errors
    /// `EPERM` for an id that is none of the three and the thread lacks `CAP_SETUID`.
    pub fn set_resuid(&self, real: Option<Uid>, effective: Option<Uid>, saved: Option<Uid>) -> Result<Credentials> {
        let known = [self.uid.real, self.uid.effective, self.uid.saved];
        let allowed = |id: Option<Uid>| id.is_none_or(|id| known.contains(&id));
        if !self.has(Capability::Setuid) && ![real, effective, saved].into_iter().all(allowed) {
            return Err(Errno::EPERM);
        }
        let effective = effective.unwrap_or(self.uid.effective);
        Ok(self.with_uids(UserIds {
            real: real.unwrap_or(self.uid.real),
            effective,
            saved: saved.unwrap_or(self.uid.saved),
            file_system: effective,
        }))
    }

    /// setfsuid(2): the new credentials, or `None` when the thread may not take the id (the call then changes nothing
    /// and reports no error).
    #[must_use]
    pub fn set_fsuid(&self, uid: Uid) -> Option<Credentials> {
        let known = [self.uid.real, self.uid.effective, self.uid.saved, self.uid.file_system];
        if !known.contains(&uid) && !self.has(Capability::Setuid) {
            return None;
        }
        let mut new = self.clone();
        new.uid.file_system = uid;
        if !self.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
            let caps = &mut new.capabilities;
            if self.uid.file_system.is_root() && !uid.is_root() {
                caps.effective = caps.effective & !CapabilitySet::FILE_SYSTEM;
            } else if !self.uid.file_system.is_root() && uid.is_root() {
                caps.effective = caps.effective | (caps.permitted & CapabilitySet::FILE_SYSTEM);
            }
        }
        Some(new)
    }

    /// setgid(2): all ids with `CAP_SETGID`, else the effective id back to the real or saved one.
    ///
    /// # Errors
    /// `EPERM` when `gid` is neither and the thread lacks the capability.
    pub fn set_gid(&self, gid: Gid) -> Result<Credentials> {
        let mut ids = self.gid;
        if self.has(Capability::Setgid) {
            ids.real = gid;
            ids.saved = gid;
        } else if gid != ids.real && gid != ids.saved {
            return Err(Errno::EPERM);
        }
        ids.effective = gid;
        ids.file_system = gid;
        Ok(self.with_gids(ids))
    }

    /// setregid(2); `None` leaves an id as it is.
    ///
    /// # Errors
    /// `EPERM` for an id that the thread may not take.
    pub fn set_regid(&self, real: Option<Gid>, effective: Option<Gid>) -> Result<Credentials> {
        let mut ids = self.gid;
        let privileged = self.has(Capability::Setgid);
        if let Some(real) = real {
            if !privileged && real != self.gid.real && real != self.gid.effective {
                return Err(Errno::EPERM);
            }
            ids.real = real;
        }
        if let Some(effective) = effective {
            let known = [self.gid.real, self.gid.effective, self.gid.saved];
            if !privileged && !known.contains(&effective) {
                return Err(Errno::EPERM);
            }
            ids.effective = effective;
        }
        if real.is_some() || effective.is_some_and(|id| id != self.gid.real) {
            ids.saved = ids.effective;
        }
        ids.file_system = ids.effective;
        Ok(self.with_gids(ids))
    }

    /// setresgid(2); `None` leaves an id as it is.
    ///
    /// # Errors
    /// `EPERM` for an id that is none of the three and the thread lacks `CAP_SETGID`.
    pub fn set_resgid(&self, real: Option<Gid>, effective: Option<Gid>, saved: Option<Gid>) -> Result<Credentials> {
        let known = [self.gid.real, self.gid.effective, self.gid.saved];
        let allowed = |id: Option<Gid>| id.is_none_or(|id| known.contains(&id));
        if !self.has(Capability::Setgid) && ![real, effective, saved].into_iter().all(allowed) {
            return Err(Errno::EPERM);
        }
        let effective = effective.unwrap_or(self.gid.effective);
        Ok(self.with_gids(GroupIds {
            real: real.unwrap_or(self.gid.real),
            effective,
            saved: saved.unwrap_or(self.gid.saved),
            file_system: effective,
        }))
    }

    /// setfsgid(2): the new credentials, or `None` when the thread may not take the id.
    #[must_use]
    pub fn set_fsgid(&self, gid: Gid) -> Option<Credentials> {
        let known = [self.gid.real, self.gid.effective, self.gid.saved, self.gid.file_system];
        if !known.contains(&gid) && !self.has(Capability::Setgid) {
            return None;
        }
        let mut ids = self.gid;
        ids.file_system = gid;
        Some(self.with_gids(ids))
    }

    /// setgroups(2).
    ///
    /// # Errors
    /// `EPERM` without `CAP_SETGID`, `EINVAL` for more than [`GROUPS_MAX`] groups.
    pub fn set_groups(&self, mut groups: Vec<Gid>) -> Result<Credentials> {
        if !self.has(Capability::Setgid) {
            return Err(Errno::EPERM);
        }
        if groups.len() > GROUPS_MAX {
            return Err(Errno::EINVAL);
        }
        groups.sort_unstable();
        Ok(Credentials { groups: Arc::from(groups), ..self.clone() })
    }

    fn with_gids(&self, gid: GroupIds) -> Credentials {
        Credentials { gid, ..self.clone() }
    }

    /// These credentials with other user ids, and the capabilities that go with the change.
    fn with_uids(&self, uid: UserIds) -> Credentials {
        let mut new = Credentials { uid, ..self.clone() };
        if self.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
            return new;
        }
        let any_root = |ids: &UserIds| ids.real.is_root() || ids.effective.is_root() || ids.saved.is_root();
        let caps = &mut new.capabilities;
        if any_root(&self.uid) && !any_root(&uid) {
            if !self.securebits.contains(SecureBits::KEEP_CAPS) {
                caps.permitted = CapabilitySet::EMPTY;
                caps.effective = CapabilitySet::EMPTY;
            }
            caps.ambient = CapabilitySet::EMPTY;
        }
        if self.uid.effective.is_root() && !uid.effective.is_root() {
            caps.effective = CapabilitySet::EMPTY;
        }
        if !self.uid.effective.is_root() && uid.effective.is_root() {
            caps.effective = caps.permitted;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(raw: u32) -> Uid {
        Uid::new(raw).unwrap()
    }

    fn user(raw: u32) -> Credentials {
        Credentials::root().set_uid(uid(raw)).unwrap()
    }

    #[test]
    fn giving_up_root_gives_up_every_capability() {
        let user = user(1000);
        assert!(user.capabilities.permitted.is_empty());
        assert!(user.capabilities.effective.is_empty());
        assert_eq!(user.set_uid(Uid::ROOT), Err(Errno::EPERM));
        assert_eq!(user.uid.saved, uid(1000));
    }

    #[test]
    fn keep_caps_keeps_permitted_but_not_effective() {
        let mut root = Credentials::root();
        root.securebits |= SecureBits::KEEP_CAPS;
        let user = root.set_uid(uid(1000)).unwrap();
        assert_eq!(user.capabilities.permitted, CapabilitySet::FULL);
        assert!(user.capabilities.effective.is_empty());
    }

    #[test]
    fn a_temporary_change_of_the_effective_id_can_be_taken_back() {
        let lowered = Credentials::root().set_resuid(None, Some(uid(5)), None).unwrap();
        assert!(lowered.capabilities.effective.is_empty());
        assert_eq!(lowered.capabilities.permitted, CapabilitySet::FULL);
        let raised = lowered.set_resuid(None, Some(Uid::ROOT), None).unwrap();
        assert_eq!(raised.capabilities.effective, CapabilitySet::FULL);
    }

    #[test]
    fn setreuid_saves_the_effective_id_when_the_real_one_is_set() {
        let user = Credentials::root().set_reuid(Some(uid(7)), Some(uid(8))).unwrap();
        assert_eq!((user.uid.real, user.uid.effective, user.uid.saved), (uid(7), uid(8), uid(8)));
        let swapped = user.set_reuid(Some(uid(8)), Some(uid(7))).unwrap();
        assert_eq!((swapped.uid.real, swapped.uid.effective, swapped.uid.saved), (uid(8), uid(7), uid(7)));
        assert_eq!(user.set_reuid(Some(uid(9)), None), Err(Errno::EPERM));
    }

    #[test]
    fn fsuid_moves_only_the_file_capabilities() {
        let changed = Credentials::root().set_fsuid(uid(3)).unwrap();
        assert!(!changed.has(Capability::DacOverride));
        assert!(changed.has(Capability::Setuid));
        let back = changed.set_fsuid(Uid::ROOT).unwrap();
        assert_eq!(back.capabilities.effective, CapabilitySet::FULL);
        assert_eq!(user(4).set_fsuid(uid(5)), None);
    }

    #[test]
    fn supplementary_groups_are_sorted_and_found() {
        let gid = |raw| Gid::new(raw).unwrap();
        let creds = Credentials::root().set_groups(alloc::vec![gid(30), gid(10), gid(20)]).unwrap();
        assert!(creds.in_group(gid(10)) && creds.in_group(gid(30)) && creds.in_group(Gid::ROOT));
        assert!(!creds.in_group(gid(15)));
        assert_eq!(user(1).set_groups(Vec::new()), Err(Errno::EPERM));
    }

    #[test]
    fn signals_go_to_the_same_user_only() {
        assert!(user(5).may_signal(user(5).uid));
        assert!(!user(5).may_signal(user(6).uid));
        assert!(!user(5).may_signal(Credentials::root().uid));
        assert!(Credentials::root().may_signal(user(5).uid));
    }
}
