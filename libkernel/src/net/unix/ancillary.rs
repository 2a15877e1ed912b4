//! What goes with bytes through a unix socket: who sent them, from which address, and descriptors (unix(7), "Ancillary messages").
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::address::Address;
use super::descriptors::Descriptors;
use crate::process::credentials::Credentials;
use crate::process::id::Pid;

/// A process and its effective ids, as `SO_PEERCRED` and `SCM_CREDENTIALS` tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The process, 0 where it is not known.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Identity {
    /// What `SCM_CREDENTIALS` tells of a sender that is not known: no process, and the overflow ids.
    pub const UNKNOWN: Self = Self { pid: 0, uid: 65534, gid: 65534 };

    /// What `SO_PEERCRED` tells where there is no peer.
    pub const NOBODY: Self = Self { pid: 0, uid: u32::MAX, gid: u32::MAX };

    /// The identity of a process that acts with `credentials`.
    #[must_use]
    pub fn new(pid: Pid, credentials: &Credentials) -> Self {
        Self { pid: pid.number() as i32, uid: credentials.uid.effective.raw(), gid: credentials.gid.effective.raw() }
    }

    /// As [`new`](Self::new), with the real ids, which messages carry.
    #[must_use]
    pub fn real(pid: Pid, credentials: &Credentials) -> Self {
        Self { pid: pid.number() as i32, uid: credentials.uid.real.raw(), gid: credentials.gid.real.raw() }
    }
}

/// What goes with bytes.
#[derive(Default)]
pub struct Ancillary {
    /// The address of the socket that sent them, if it has one; for datagrams alone.
    pub sender: Option<Arc<Address>>,
    /// Who sent them.
    pub identity: Option<Identity>,
    /// Descriptors.
    pub descriptors: Option<Descriptors>,
}

impl Ancillary {
    /// Whether there is nothing.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.sender.is_none() && self.identity.is_none() && self.descriptors.is_none()
    }

    /// What goes with the part of it that is sent now: the descriptors go with the first.
    pub(super) fn split_first(&mut self) -> Self {
        Self { sender: self.sender.clone(), identity: self.identity, descriptors: self.descriptors.take() }
    }
}

/// What was received besides the bytes.
#[derive(Default)]
pub struct Received {
    /// What goes with them. For a stream: what is the same for all of them.
    pub ancillary: Ancillary,
    /// The length of the message, which may be more than was delivered.
    pub length: usize,
}
