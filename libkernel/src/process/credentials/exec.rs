//! What exec does to credentials: set-id files and the transformation of the capability sets (execve(2),
//! capabilities(7) "Transformation of capabilities during execve()").
#![forbid(unsafe_code)]

use super::{Credentials, SecureBits};
use crate::process::capability::CapabilitySet;
use crate::process::id::{Gid, Uid};

/// The ids that a program file asks for by its set-user-id and set-group-id bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetId {
    /// Owner of a set-user-id file.
    pub user: Option<Uid>,
    /// Group of a set-group-id file that its group may execute.
    pub group: Option<Gid>,
}

/// What a new program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecIdentity {
    /// Its credentials.
    pub credentials: Credentials,
    /// Must it distrust its environment (`AT_SECURE`)?
    pub secure: bool,
    /// Did its rights change, so that the old owner may not look into it (`dumpable` becomes 0) and its death signal is
    /// forgotten?
    pub changed: bool,
}

impl Credentials {
    /// The credentials after exec of a file with these set-id bits. `honour_set_id` is false on a mount without
    /// set-id and for a traced program.
    #[must_use]
    pub fn after_exec(&self, file: SetId, honour_set_id: bool) -> ExecIdentity {
        let mut new = self.clone();
        if honour_set_id && !self.no_new_privileges {
            if let Some(user) = file.user {
                new.uid.effective = user;
            }
            if let Some(group) = file.group {
                new.gid.effective = group;
            }
        }
        let ids_changed = new.uid.effective != self.uid.effective || new.gid.effective != self.gid.effective;
        new.uid.saved = new.uid.effective;
        new.uid.file_system = new.uid.effective;
        new.gid.saved = new.gid.effective;
        new.gid.file_system = new.gid.effective;

        let root_rules = !self.securebits.contains(SecureBits::NO_ROOT);
        let file_permitted = root_rules && (new.uid.real.is_root() || new.uid.effective.is_root());
        let file_effective = root_rules && new.uid.effective.is_root();
        let old = &self.capabilities;
        let caps = &mut new.capabilities;
        if ids_changed {
            caps.ambient = CapabilitySet::EMPTY;
        }
        let from_file = if file_permitted { old.inheritable | old.bounding } else { CapabilitySet::EMPTY };
        caps.permitted = from_file | caps.ambient;
        caps.effective = if file_effective { caps.permitted } else { caps.ambient };
        new.securebits.remove(SecureBits::KEEP_CAPS);

        let gained = !new.capabilities.permitted.is_subset_of(new.capabilities.ambient | old.permitted);
        let real_user_is_root = new.uid.real.is_root();
        let secure = new.uid.effective != new.uid.real
            || new.gid.effective != new.gid.real
            || (!real_user_is_root
                && (file_effective || !new.capabilities.permitted.is_subset_of(new.capabilities.ambient)));
        ExecIdentity { changed: ids_changed || gained, credentials: new, secure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::capability::Capability;

    fn user(raw: u32) -> Credentials {
        Credentials::root().set_uid(Uid::new(raw).unwrap()).unwrap()
    }

    #[test]
    fn a_set_user_id_root_file_gives_every_capability_and_is_secure() {
        let file = SetId { user: Some(Uid::ROOT), group: None };
        let identity = user(1000).after_exec(file, true);
        assert_eq!(identity.credentials.uid.effective, Uid::ROOT);
        assert_eq!(identity.credentials.uid.saved, Uid::ROOT);
        assert_eq!(identity.credentials.capabilities.effective, CapabilitySet::FULL);
        assert!(identity.secure && identity.changed);
    }

    #[test]
    fn no_new_privileges_and_a_mount_without_set_id_ignore_the_bits() {
        let file = SetId { user: Some(Uid::ROOT), group: Gid::new(4) };
        let mut bound = user(1000);
        bound.no_new_privileges = true;
        for identity in [bound.after_exec(file, true), user(1000).after_exec(file, false)] {
            assert_eq!(identity.credentials.uid.effective.raw(), 1000);
            assert_eq!(identity.credentials.gid.effective, Gid::ROOT);
            assert!(identity.credentials.capabilities.permitted.is_empty());
            assert!(!identity.secure && !identity.changed);
        }
    }

    #[test]
    fn a_set_user_id_file_of_another_user_gives_only_that_user() {
        let identity = user(1000).after_exec(SetId { user: Uid::new(2000), group: None }, true);
        assert_eq!(identity.credentials.uid.effective.raw(), 2000);
        assert!(identity.credentials.capabilities.permitted.is_empty());
        assert!(identity.secure);
    }

    #[test]
    fn root_keeps_everything_and_is_not_secure() {
        let identity = Credentials::root().after_exec(SetId::default(), true);
        assert_eq!(identity.credentials.capabilities.effective, CapabilitySet::FULL);
        assert!(!identity.secure && !identity.changed);
    }

    #[test]
    fn ambient_capabilities_survive_exec_of_an_ordinary_file() {
        let mut holder = user(1000);
        let set = CapabilitySet::EMPTY.with(Capability::NetRaw);
        holder.capabilities.permitted = set;
        holder.capabilities.inheritable = set;
        holder.capabilities.ambient = set;
        let identity = holder.after_exec(SetId::default(), true);
        assert_eq!(identity.credentials.capabilities.effective, set);
        assert_eq!(identity.credentials.capabilities.permitted, set);
    }

    #[test]
    fn the_bounding_set_limits_root() {
        let mut root = Credentials::root();
        root.capabilities.bounding = CapabilitySet::FULL.without(Capability::SysBoot);
        let identity = root.after_exec(SetId::default(), true);
        assert!(!identity.credentials.has(Capability::SysBoot));
        assert!(identity.credentials.has(Capability::Kill));
    }
}
