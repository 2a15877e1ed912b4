//! The pseudo-terminals there are, by number.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::pty::{Master, Pty};
use crate::sync::SpinLock;
use crate::{Errno, Result};

/// How many pseudo-terminals there may be (`/proc/sys/kernel/pty/max`).
pub const MAX: u32 = 4096;

/// Pseudo-terminals by number. Its lock is a leaf and is not taken in interrupts.
pub struct Registry {
    ptys: SpinLock<BTreeMap<u32, Arc<Pty>>>,
}

impl Registry {
    /// No pseudo-terminals.
    pub const fn new() -> Self {
        Self { ptys: SpinLock::new(BTreeMap::new()) }
    }

    /// Opens `/dev/ptmx`: a new pseudo-terminal with the lowest free number, whose terminal side belongs to `owner`.
    ///
    /// # Errors
    /// `ENOSPC` when there are [`MAX`], `ENOMEM`.
    pub fn create(&'static self, owner: (u32, u32)) -> Result<Arc<Master>> {
        let pty = {
            let mut ptys = self.ptys.lock();
            let index = (0..MAX).find(|index| !ptys.contains_key(index)).ok_or(Errno::ENOSPC)?;
            let pty = Pty::new(index, owner)?;
            ptys.insert(index, pty.clone());
            pty
        };
        Ok(Arc::new(Master::new(pty, self)))
    }

    /// The pseudo-terminal with this number.
    pub fn get(&self, index: u32) -> Option<Arc<Pty>> {
        self.ptys.lock().get(&index).cloned()
    }

    /// The numbers in use.
    pub fn indices(&self) -> Vec<u32> {
        self.ptys.lock().keys().copied().collect()
    }

    pub(super) fn remove(&self, index: u32) {
        let removed = self.ptys.lock().remove(&index);
        drop(removed);
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}
