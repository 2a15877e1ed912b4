//! What exec does to credentials: set-id files and the transformation of the capability sets (execve(2),
//! capabilities(7) "Transformation of capabilities during execve()").
#![forbid(unsafe_code)]

use super::{Credentials, SecureBits};
use crate::process::capability::{Capability, CapabilitySet};
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
    /// The credentials after exec of a file with these set-id bits. With `shared`, a process that does not run the program has the
    /// same root and working directory (`CLONE_FS`), and could move them under its feet: it gets no more rights than there were.
    #[must_use]
    pub fn after_exec(&self, file: SetId, shared: bool) -> ExecIdentity {
        let mut new = self.clone();
        if !self.no_new_privileges {
            if let Some(user) = file.user {
                new.uid.effective = user;
            }
            if let Some(group) = file.group {
                new.gid.effective = group;
            }
        }
        let sets_id = new.uid.effective != self.uid.real || new.gid.effective != self.gid.real;
        let root_rules = !self.securebits.contains(SecureBits::NO_ROOT);
        let file_permitted = root_rules && (new.uid.real.is_root() || new.uid.effective.is_root());
        let file_effective = root_rules && new.uid.effective.is_root();
        let old = &self.capabilities;
        let mut from_file = if file_permitted { old.inheritable | old.bounding } else { CapabilitySet::EMPTY };
        if (sets_id || !from_file.is_subset_of(old.permitted)) && (shared || self.no_new_privileges) {
            if self.no_new_privileges || !self.has(Capability::Setuid) {
                new.uid.effective = new.uid.real;
                new.gid.effective = new.gid.real;
            }
            from_file = from_file & old.permitted;
        }
        new.uid.saved = new.uid.effective;
        new.uid.file_system = new.uid.effective;
        new.gid.saved = new.gid.effective;
        new.gid.file_system = new.gid.effective;
        let caps = &mut new.capabilities;
        if sets_id {
            caps.ambient = CapabilitySet::EMPTY;
        }
        caps.permitted = from_file | caps.ambient;
        caps.effective = if file_effective { caps.permitted } else { caps.ambient };
        new.securebits.remove(SecureBits::KEEP_CAPS);

        let gained = !new.capabilities.permitted.is_subset_of(old.permitted);
        let acts_for =
            |ids: &Credentials| (ids.uid.effective, ids.gid.effective, ids.uid.file_system, ids.gid.file_system);
        let secure = sets_id
            || (!new.uid.real.is_root()
                && (file_effective || !new.capabilities.permitted.is_subset_of(new.capabilities.ambient)));
        ExecIdentity { changed: acts_for(&new) != acts_for(self) || gained, credentials: new, secure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(raw: u32) -> Credentials {
        Credentials::root().set_uid(Uid::new(raw).unwrap()).unwrap()
    }

    #[test]
    fn a_set_user_id_root_file_gives_every_capability_and_is_secure() {
        let file = SetId { user: Some(Uid::ROOT), group: None };
        let identity = user(1000).after_exec(file, false);
        assert_eq!(identity.credentials.uid.effective, Uid::ROOT);
        assert_eq!(identity.credentials.uid.saved, Uid::ROOT);
        assert_eq!(identity.credentials.capabilities.effective, CapabilitySet::FULL);
        assert!(identity.secure && identity.changed);
    }

    #[test]
    fn no_new_privileges_and_shared_directories_make_the_bits_void() {
        let file = SetId { user: Some(Uid::ROOT), group: Gid::new(4) };
        let mut bound = user(1000);
        bound.no_new_privileges = true;
        let (bound, sharing) = (bound.after_exec(file, false), user(1000).after_exec(file, true));
        for identity in [&bound, &sharing] {
            assert_eq!(identity.credentials.uid, user(1000).uid);
            assert_eq!(identity.credentials.gid, user(1000).gid);
            assert!(identity.credentials.capabilities.permitted.is_empty());
            assert!(!identity.changed);
        }
        assert!(!bound.secure && sharing.secure, "as on Linux");
    }

    #[test]
    fn who_may_change_its_user_keeps_the_ids_of_the_file_in_shared_directories_but_gains_no_capability() {
        let set = CapabilitySet::EMPTY.with(Capability::Setuid);
        let mut holder = user(1000);
        (holder.capabilities.permitted, holder.capabilities.effective) = (set, set);
        let identity = holder.after_exec(SetId { user: Some(Uid::ROOT), group: None }, true);
        assert_eq!(identity.credentials.uid.effective, Uid::ROOT);
        assert_eq!(identity.credentials.capabilities.permitted, set);
    }

    #[test]
    fn root_that_gave_up_capabilities_gets_them_back_unless_that_is_forbidden() {
        let mut root = Credentials::root();
        let less = CapabilitySet::FULL.without(Capability::Kill);
        (root.capabilities.permitted, root.capabilities.effective) = (less, less);
        let after = |root: &Credentials, shared| root.after_exec(SetId::default(), shared).credentials;
        assert!(after(&root, false).has(Capability::Kill));
        assert!(!after(&root, true).has(Capability::Kill));
        root.no_new_privileges = true;
        assert_eq!(after(&root, false).capabilities.effective, less);
    }

    #[test]
    fn a_set_user_id_file_of_another_user_gives_only_that_user() {
        let identity = user(1000).after_exec(SetId { user: Uid::new(2000), group: None }, false);
        assert_eq!(identity.credentials.uid.effective.raw(), 2000);
        assert!(identity.credentials.capabilities.permitted.is_empty());
        assert!(identity.secure);
    }

    #[test]
    fn root_keeps_everything_and_is_not_secure() {
        let identity = Credentials::root().after_exec(SetId::default(), false);
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
        let identity = holder.after_exec(SetId::default(), false);
        assert_eq!(identity.credentials.capabilities.effective, set);
        assert_eq!(identity.credentials.capabilities.permitted, set);
    }

    #[test]
    fn the_bounding_set_limits_root() {
        let mut root = Credentials::root();
        root.capabilities.bounding = CapabilitySet::FULL.without(Capability::SysBoot);
        let identity = root.after_exec(SetId::default(), false);
        assert!(!identity.credentials.has(Capability::SysBoot));
        assert!(identity.credentials.has(Capability::Kill));
    }
}
