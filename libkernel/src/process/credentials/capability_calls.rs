//! Changing capability sets directly: capset(2) and the `PR_CAPBSET_*`, `PR_CAP_AMBIENT`, `PR_SET_SECUREBITS` and
//! `PR_SET_KEEPCAPS` operations of prctl(2).
#![forbid(unsafe_code)]

use super::{Credentials, SecureBits};
use crate::process::capability::{Capability, CapabilitySet};
use crate::{Errno, Result};

impl Credentials {
    /// capset(2) on oneself.
    ///
    /// # Errors
    /// `EPERM` when a set would grow beyond what the rules of capabilities(7) ("Programmatically adjusting capability
    /// sets") allow.
    pub fn set_capabilities(
        &self,
        effective: CapabilitySet,
        permitted: CapabilitySet,
        inheritable: CapabilitySet,
    ) -> Result<Credentials> {
        let old = &self.capabilities;
        let may_inherit_all = self.has(Capability::Setpcap);
        if (!may_inherit_all && !inheritable.is_subset_of(old.inheritable | old.permitted))
            || !inheritable.is_subset_of(old.inheritable | old.bounding)
            || !permitted.is_subset_of(old.permitted)
            || !effective.is_subset_of(permitted)
        {
            return Err(Errno::EPERM);
        }
        let mut new = self.clone();
        new.capabilities.effective = effective;
        new.capabilities.permitted = permitted;
        new.capabilities.inheritable = inheritable;
        new.capabilities.ambient = old.ambient & permitted & inheritable;
        Ok(new)
    }

    /// `PR_CAPBSET_DROP`.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SETPCAP`.
    pub fn drop_bounding(&self, capability: Capability) -> Result<Credentials> {
        if !self.has(Capability::Setpcap) {
            return Err(Errno::EPERM);
        }
        let mut new = self.clone();
        new.capabilities.bounding = new.capabilities.bounding.without(capability);
        Ok(new)
    }

    /// `PR_CAP_AMBIENT_RAISE`.
    ///
    /// # Errors
    /// `EPERM` when the capability is not both permitted and inheritable, or raising is switched off.
    pub fn raise_ambient(&self, capability: Capability) -> Result<Credentials> {
        let caps = &self.capabilities;
        if !caps.permitted.has(capability)
            || !caps.inheritable.has(capability)
            || self.securebits.contains(SecureBits::NO_CAP_AMBIENT_RAISE)
        {
            return Err(Errno::EPERM);
        }
        let mut new = self.clone();
        new.capabilities.ambient = caps.ambient.with(capability);
        Ok(new)
    }

    /// These credentials with another ambient set, which must be a subset of the present one.
    #[must_use]
    pub fn lower_ambient(&self, keep: CapabilitySet) -> Credentials {
        let mut new = self.clone();
        new.capabilities.ambient = self.capabilities.ambient & keep;
        new
    }

    /// `PR_SET_SECUREBITS`.
    ///
    /// # Errors
    /// `EPERM` for unknown or locked bits, for clearing a lock, and without `CAP_SETPCAP`.
    pub fn set_securebits(&self, bits: u32) -> Result<Credentials> {
        const LOCKS: u32 = SecureBits::NO_ROOT_LOCKED.bits()
            | SecureBits::NO_SETUID_FIXUP_LOCKED.bits()
            | SecureBits::KEEP_CAPS_LOCKED.bits()
            | SecureBits::NO_CAP_AMBIENT_RAISE_LOCKED.bits();
        let wanted = SecureBits::from_bits(bits).ok_or(Errno::EPERM)?;
        let old = self.securebits.bits();
        let locked = (old & LOCKS) >> 1;
        let changes_locked = locked & (old ^ bits) != 0;
        let clears_lock = old & LOCKS & !bits != 0;
        if changes_locked || clears_lock || !self.has(Capability::Setpcap) {
            return Err(Errno::EPERM);
        }
        Ok(Credentials { securebits: wanted, ..self.clone() })
    }

    /// `PR_SET_KEEPCAPS`.
    ///
    /// # Errors
    /// `EPERM` when the flag is locked.
    pub fn set_keep_caps(&self, keep: bool) -> Result<Credentials> {
        if self.securebits.contains(SecureBits::KEEP_CAPS_LOCKED) {
            return Err(Errno::EPERM);
        }
        let mut new = self.clone();
        new.securebits.set(SecureBits::KEEP_CAPS, keep);
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permitted_never_grows() {
        let root = Credentials::root();
        let one = CapabilitySet::EMPTY.with(Capability::Kill);
        let less = root.set_capabilities(one, one, CapabilitySet::EMPTY).unwrap();
        assert_eq!(less.set_capabilities(one, CapabilitySet::FULL, CapabilitySet::EMPTY), Err(Errno::EPERM));
        assert_eq!(less.set_capabilities(CapabilitySet::FULL, one, CapabilitySet::EMPTY), Err(Errno::EPERM));
    }

    #[test]
    fn ambient_stays_within_permitted_and_inheritable() {
        let one = CapabilitySet::EMPTY.with(Capability::Kill);
        let root = Credentials::root();
        assert_eq!(root.raise_ambient(Capability::Kill), Err(Errno::EPERM));
        let ready = root.set_capabilities(CapabilitySet::FULL, CapabilitySet::FULL, one).unwrap();
        let raised = ready.raise_ambient(Capability::Kill).unwrap();
        assert_eq!(raised.capabilities.ambient, one);
        let dropped = raised.set_capabilities(CapabilitySet::FULL, CapabilitySet::FULL, CapabilitySet::EMPTY).unwrap();
        assert!(dropped.capabilities.ambient.is_empty());
    }

    #[test]
    fn a_locked_securebit_cannot_be_changed() {
        let bits = (SecureBits::NO_ROOT | SecureBits::NO_ROOT_LOCKED).bits();
        let locked = Credentials::root().set_securebits(bits).unwrap();
        assert_eq!(locked.set_securebits(0), Err(Errno::EPERM));
        assert_eq!(locked.set_securebits(SecureBits::NO_ROOT_LOCKED.bits()), Err(Errno::EPERM));
        assert!(locked.set_securebits(bits | SecureBits::KEEP_CAPS.bits()).is_ok());
    }
}
