//! Descriptors on their way through a socket (`SCM_RIGHTS`).
//!
//! They are counted: each user may have as many in flight as a process may have open, and sockets among them are entered in the
//! [`garbage`] collector's list. What is thrown away unread is dropped in a loop, by whoever finds nobody else doing so: a dropped socket may
//! hold further descriptors, and so on without end.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::garbage;
use crate::fs::OpenFile;
use crate::sync::SpinLock;
use crate::{Errno, Result};

/// The most descriptors that go with one message (`SCM_MAX_FD`).
pub const MOST: usize = 253;

/// Open files that go with a message, in flight as long as this lives. Not to be dropped under the lock of a queue.
pub struct Descriptors(Option<Box<Cargo>>);

struct Cargo {
    files: Vec<Arc<OpenFile>>,
    /// On whose account they are; `None` for what was only looked at and is not in flight.
    account: Option<u32>,
    /// The next of those to be dropped.
    next: Option<Box<Cargo>>,
}

impl Cargo {
    fn leave(&self) {
        if let Some(uid) = self.account {
            garbage::leave(&self.files, uid);
        }
    }
}

impl Descriptors {
    /// Sends `files` off on the account of `uid`, which may have `limit` of them in flight.
    ///
    /// # Errors
    /// `ETOOMANYREFS`, `EINVAL` for too many at once.
    pub fn new(files: Vec<Arc<OpenFile>>, uid: u32, limit: usize) -> Result<Self> {
        if files.len() > MOST {
            return Err(Errno::EINVAL);
        }
        garbage::enter(&files, uid, limit)?;
        Ok(Self(Some(Box::new(Cargo { files, account: Some(uid), next: None }))))
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &[Arc<OpenFile>] {
        self.0.as_ref().map_or(&[], |cargo| &cargo.files)
    }

    /// The same files once more, for somebody who only looks at the message.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn duplicate(&self) -> Result<Self> {
        let mut files = Vec::new();
        files.try_reserve_exact(self.files().len())?;
        files.extend_from_slice(self.files());
        Ok(Self(Some(Box::new(Cargo { files, account: None, next: None }))))
    }

    /// They have arrived.
    #[must_use]
    pub fn into_files(mut self) -> Vec<Arc<OpenFile>> {
        match self.0.take() {
            Some(cargo) => {
                cargo.leave();
                cargo.files
            }
            None => Vec::new(),
        }
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        if let Some(cargo) = self.0.take() {
            throw_away(cargo);
        }
    }
}

/// What is to be dropped, and whether somebody is about it.
struct Doomed {
    first: Option<Box<Cargo>>,
    dropping: bool,
}

static DOOMED: SpinLock<Doomed> = SpinLock::new(Doomed { first: None, dropping: false });

fn throw_away(mut cargo: Box<Cargo>) {
    {
        let mut doomed = DOOMED.lock();
        cargo.next = doomed.first.take();
        doomed.first = Some(cargo);
        if core::mem::replace(&mut doomed.dropping, true) {
            return;
        }
    }
    while let Some(cargo) = next_doomed() {
        cargo.leave();
        drop(cargo);
    }
}

fn next_doomed() -> Option<Box<Cargo>> {
    let mut doomed = DOOMED.lock();
    let mut cargo = doomed.first.take();
    match &mut cargo {
        Some(cargo) => doomed.first = cargo.next.take(),
        None => doomed.dropping = false,
    }
    cargo
}
