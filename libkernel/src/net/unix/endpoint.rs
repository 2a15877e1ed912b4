//! One end of communication: what others see of a socket.
//!
//! The socket owns it, its partner and the names refer to it, and it refers to nobody (a datagram socket's partner by a weak reference), so
//! that nothing keeps a closed socket alive. Its queue has a lock of its own; no two of them are ever held at once.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::address::Address;
use super::ancillary::Identity;
use super::incoming::Incoming;
use super::socket::Socket;
use crate::net::SocketType;
use crate::sync::{SetOnce, SpinLock, WaitQueue};

/// What may be under way to one receiver from a new socket, in bytes (`net.core.wmem_default`).
pub const DEFAULT_LIMIT: usize = 212_992;

/// The most that a program without privilege may ask for; it gets twice that (`net.core.wmem_max`).
pub const MAX_LIMIT: usize = 212_992;

/// How many datagrams wait at a receiver that is not connected to their sender (`net.unix.max_dgram_qlen`).
pub const MAX_DATAGRAMS: usize = 10;

/// The most connections that wait to be accepted (`net.core.somaxconn`).
pub const MAX_BACKLOG: u32 = 4096;

/// How far a socket has come.
pub enum State {
    /// It is neither connected nor does it listen.
    Idle,
    /// A connect is being made.
    Connecting,
    /// It has a partner, or had one.
    Connected,
    /// It listens.
    Listening(Backlog),
}

/// Connections that nobody has accepted yet.
pub struct Backlog {
    /// One fewer than wait at most.
    pub limit: usize,
    /// The accepting sides, the oldest first.
    pub pending: VecDeque<Arc<Socket>>,
}

impl Backlog {
    /// Whether another one has to wait.
    pub fn is_full(&self) -> bool {
        self.pending.len() > self.limit
    }
}

/// See the module's comment.
pub struct Endpoint {
    /// The socket's type.
    pub kind: SocketType,
    /// What was sent to it.
    pub incoming: SpinLock<Incoming>,
    /// Woken when there is something to receive or to accept, or never will be.
    pub readable: Arc<WaitQueue>,
    /// Of a socket with a connection: woken when it may send more, or never will. Of a listener or a datagram socket: woken when it takes more.
    pub room: Arc<WaitQueue>,
    /// Its name.
    pub address: SetOnce<Arc<Address>>,
    /// Held while it gets its name.
    pub naming: SpinLock<()>,
    /// How far it has come.
    pub state: SpinLock<State>,
    /// Whom a datagram socket sends to, and alone receives from.
    pub partner: SpinLock<Option<Weak<Endpoint>>>,
    /// Who made it listen.
    pub listener: SetOnce<Identity>,
    /// Whether it is told who sent what (`SO_PASSCRED`).
    pub wants_identities: AtomicBool,
    /// What it may have under way to a receiver, in bytes (`SO_SNDBUF`).
    pub send_limit: AtomicUsize,
    /// The inode number of its open file, once it has one.
    pub ino: SetOnce<u64>,
}

impl Endpoint {
    /// That of a new socket.
    #[must_use]
    pub fn new(kind: SocketType) -> Arc<Self> {
        Arc::new(Self {
            kind,
            incoming: SpinLock::new(Incoming::default()),
            readable: Arc::new(WaitQueue::new()),
            room: Arc::new(WaitQueue::new()),
            address: SetOnce::new(),
            naming: SpinLock::new(()),
            state: SpinLock::new(State::Idle),
            partner: SpinLock::new(None),
            listener: SetOnce::new(),
            wants_identities: AtomicBool::new(false),
            send_limit: AtomicUsize::new(DEFAULT_LIMIT),
            ino: SetOnce::new(),
        })
    }

    /// Wakes all who wait for a change of it.
    pub fn changed(&self) {
        self.readable.wake_all();
        self.room.wake_all();
    }

    /// What a sender may have under way.
    #[inline]
    pub fn limit(&self) -> usize {
        self.send_limit.load(Relaxed)
    }

    /// Whether a sender with this limit finds it writable: three quarters of the limit are free.
    pub fn is_writable(&self, limit: usize) -> bool {
        self.incoming.lock().charge() * 4 <= limit
    }

    /// The partner of a datagram socket; `None`: it has none; `Some(None)`: that is gone.
    pub fn partner(&self) -> Option<Option<Arc<Endpoint>>> {
        self.partner.lock().as_ref().map(Weak::upgrade)
    }

    /// Whether a datagram socket has `other` as its partner.
    pub fn is_partner(&self, other: &Arc<Endpoint>) -> bool {
        self.partner.lock().as_ref().is_some_and(|partner| Weak::as_ptr(partner) == Arc::as_ptr(other))
    }
}
