//! Unix sockets: sending and receiving (unix(7)).
//!
//! A connected socket reaches its partner without a lock or a reference count. Nothing here sleeps: empty and full are `EAGAIN`.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::ancillary::{Ancillary, Identity, Received};
use super::endpoint::{DEFAULT_LIMIT, Endpoint, MAX_DATAGRAMS, State};
use super::incoming::Manner;
use super::table;
use crate::fs::{OpenFile, OpenFlags, anonymous};
use crate::io::{IoSink, IoSource};
use crate::net::{Shutdown, SocketType};
use crate::process::credentials::Credentials;
use crate::process::current;
use crate::sync::{SetOnce, SpinLock};
use crate::{Errno, Result};

/// What counts besides the content when the length of a datagram is judged.
const DATAGRAM_COST: usize = 32;

/// A unix socket.
pub struct Socket {
    pub(super) own: Arc<Endpoint>,
    /// The other end of a connection.
    pub(super) peer: SetOnce<Arc<Endpoint>>,
    /// Who is there (`SO_PEERCRED`).
    pub(super) peer_identity: SpinLock<Option<Identity>>,
    /// Whether it waits to be accepted.
    pub(super) is_embryo: AtomicBool,
    /// Whether it sends no more. A connection's partner knows that by itself.
    pub(super) is_mute: AtomicBool,
    /// How long a receiver and a sender wait, in nanoseconds; 0: for ever.
    pub(super) receive_timeout: AtomicU64,
    pub(super) send_timeout: AtomicU64,
    /// `SO_RCVBUF`, which limits nothing: senders are limited by theirs.
    pub(super) receive_limit: AtomicUsize,
}

impl Socket {
    /// A new socket.
    #[must_use]
    pub fn new(kind: SocketType) -> Arc<Self> {
        Arc::new(Self {
            own: Endpoint::new(kind),
            peer: SetOnce::new(),
            peer_identity: SpinLock::new(None),
            is_embryo: AtomicBool::new(false),
            is_mute: AtomicBool::new(false),
            receive_timeout: AtomicU64::new(0),
            send_timeout: AtomicU64::new(0),
            receive_limit: AtomicUsize::new(DEFAULT_LIMIT),
        })
    }

    /// Two sockets that are connected to one another.
    #[must_use]
    pub fn pair(kind: SocketType, identity: Identity) -> (Arc<Self>, Arc<Self>) {
        let (first, second) = (Self::new(kind), Self::new(kind));
        for (socket, other) in [(&first, &second), (&second, &first)] {
            if kind.has_connections() {
                *socket.own.state.lock() = State::Connected;
                // It is new, so this is the first time.
                let _ = socket.peer.set(other.own.clone());
            } else {
                *socket.own.partner.lock() = Some(Arc::downgrade(&other.own));
            }
            *socket.peer_identity.lock() = Some(identity);
        }
        (first, second)
    }

    /// An open file for the socket; this is done once.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn open(self: Arc<Self>, flags: OpenFlags, credentials: &Credentials) -> Result<Arc<OpenFile>> {
        let own = self.own.clone();
        let file = anonymous::open_socket(self, flags, credentials)?;
        let ino = file.inode().attributes().ino();
        // This is done once.
        let _ = own.ino.set(ino);
        table::enter(ino, &own);
        Ok(file)
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> SocketType {
        self.own.kind
    }

    /// Whether it is told who sent what (`SO_PASSCRED`).
    #[must_use]
    pub fn wants_identities(&self) -> bool {
        self.own.wants_identities.load(Relaxed)
    }

    /// What others see of it.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.own
    }

    /// The partner of a connection.
    #[inline]
    fn connection(&self) -> Result<&Arc<Endpoint>> {
        self.peer.get().ok_or(Errno::ENOTCONN)
    }

    /// Sends what there is room for; a message all or nothing. What goes with the bytes is taken out of `ancillary` as far as it was sent.
    /// `target` is where a datagram goes if not to the partner.
    ///
    /// # Errors
    /// Those of send(2); `EAGAIN` where it would have to wait.
    #[inline]
    pub fn send(
        &self,
        source: &mut dyn IoSource,
        target: Option<&Arc<Endpoint>>,
        ancillary: &mut Ancillary,
    ) -> Result<usize> {
        match self.own.kind {
            SocketType::Stream => {
                let peer = self.connection()?;
                self.identify(peer, ancillary);
                let done = peer.incoming.lock().send_bytes(source, self.own.limit(), Some(ancillary))?;
                peer.readable.wake_all();
                Ok(done)
            }
            SocketType::SequencedPacket => self.send_message(self.connection()?, true, source, ancillary),
            SocketType::Datagram => self.send_datagram(source, target, ancillary),
        }
    }

    /// Says who sends, if one of the two wants that to be told.
    #[inline]
    fn identify(&self, peer: &Endpoint, ancillary: &mut Ancillary) {
        let wanted = self.own.wants_identities.load(Relaxed) || peer.wants_identities.load(Relaxed);
        if wanted && ancillary.identity.is_none() {
            ancillary.identity = current().map(|thread| {
                thread.with_credentials(|credentials| Identity::real(thread.process().pid(), credentials))
            });
        }
    }

    fn send_datagram(
        &self,
        source: &mut dyn IoSource,
        target: Option<&Arc<Endpoint>>,
        ancillary: &mut Ancillary,
    ) -> Result<usize> {
        let own = &self.own;
        if self.is_mute.load(Relaxed) {
            return Err(Errno::EPIPE);
        }
        let partner;
        let (target, is_mutual) = match target {
            Some(target) => {
                if target.partner.lock().is_some() && !target.is_partner(own) {
                    return Err(Errno::EPERM);
                }
                (target, false)
            }
            None => {
                let Some(found) = own.partner() else { return Err(Errno::ENOTCONN) };
                partner = found.filter(|partner| !partner.incoming.lock().closed);
                let Some(target) = &partner else {
                    *own.partner.lock() = None;
                    return Err(Errno::ECONNREFUSED);
                };
                (target, target.is_partner(own))
            }
        };
        ancillary.sender = own.address.get().cloned();
        self.send_message(target, is_mutual, source, ancillary)
    }

    fn send_message(
        &self,
        target: &Arc<Endpoint>,
        is_mutual: bool,
        source: &mut dyn IoSource,
        ancillary: &mut Ancillary,
    ) -> Result<usize> {
        let limit = self.own.limit();
        if source.remaining() > limit.saturating_sub(DATAGRAM_COST) {
            return Err(Errno::EMSGSIZE);
        }
        self.identify(target, ancillary);
        let done = {
            let mut incoming = target.incoming.lock();
            if incoming.closed && target.kind == SocketType::Datagram {
                return Err(Errno::ECONNREFUSED);
            }
            if !is_mutual && incoming.messages() > MAX_DATAGRAMS && !incoming.ended {
                return Err(Errno::EAGAIN);
            }
            incoming.send_message(source, limit, ancillary)?
        };
        target.readable.wake_all();
        Ok(done)
    }

    /// Receives what there is.
    ///
    /// # Errors
    /// Those of recv(2); `EAGAIN` where it would have to wait.
    pub fn receive(&self, sink: &mut dyn IoSink, peek: bool, received: &mut Received) -> Result<usize> {
        let own = &*self.own;
        let manner = Manner { peek, identities: own.wants_identities.load(Relaxed) };
        let peer = self.peer.get();
        let done = match own.kind {
            SocketType::Stream => {
                let peer = peer.ok_or(Errno::EINVAL)?;
                let (done, charge) = {
                    let mut incoming = own.incoming.lock();
                    (incoming.receive_bytes(sink, manner, received)?, incoming.charge())
                };
                if charge * 4 <= peer.limit() {
                    peer.room.wake_all();
                }
                return Ok(done);
            }
            SocketType::SequencedPacket if peer.is_none() => return Err(Errno::ENOTCONN),
            _ => own.incoming.lock().receive_message(sink, manner, received)?,
        };
        peer.unwrap_or(&self.own).room.wake_all();
        Ok(done)
    }

    /// Ends directions of the communication.
    pub fn shut_down(&self, how: Shutdown) {
        let peer = self.peer.get();
        if how.receiving {
            self.own.incoming.lock().ended = true;
        }
        if how.sending {
            self.is_mute.store(true, Relaxed);
            if let Some(peer) = peer {
                peer.incoming.lock().ended = true;
            }
        }
        self.own.changed();
        if let Some(peer) = peer {
            peer.changed();
        }
    }

    /// How long a receiver, or else a sender, waits, in nanoseconds.
    #[must_use]
    pub fn timeout(&self, receiving: bool) -> Option<u64> {
        let timeout = if receiving { &self.receive_timeout } else { &self.send_timeout };
        Some(timeout.load(Relaxed)).filter(|timeout| *timeout > 0)
    }
}
