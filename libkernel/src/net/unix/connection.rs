//! Listening, connecting, accepting (listen(2), connect(2), accept(2)).
//!
//! A connect makes the accepting side's socket at once and leaves it in the listener's backlog; so it need not wait for the accept, and may
//! send before it. Nothing here sleeps: a full backlog, and one with nothing in it, are `EAGAIN`.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use super::ancillary::Identity;
use super::endpoint::{Backlog, Endpoint, MAX_BACKLOG, State};
use super::socket::Socket;
use crate::{Errno, Result};

impl Socket {
    /// Listens, or changes how many connections may wait.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for datagrams, `EINVAL` without a name or for a connected socket.
    pub fn listen(&self, backlog: u32, identity: Identity) -> Result<()> {
        let own = &self.own;
        if !own.kind.has_connections() {
            return Err(Errno::EOPNOTSUPP);
        }
        if own.address.get().is_none() {
            return Err(Errno::EINVAL);
        }
        let limit = backlog.min(MAX_BACKLOG) as usize;
        {
            let mut state = own.state.lock();
            match &mut *state {
                State::Idle => *state = State::Listening(Backlog { limit, pending: VecDeque::new() }),
                State::Listening(backlog) => backlog.limit = limit,
                State::Connecting | State::Connected => return Err(Errno::EINVAL),
            }
        }
        // The first listen counts; Linux takes the last, which differs only after a change of ids.
        let _ = own.listener.set(identity);
        own.room.wake_all();
        Ok(())
    }

    /// Connects to `target`; for a datagram socket that is who it sends to.
    ///
    /// # Errors
    /// Those of connect(2); `EAGAIN` while the backlog is full.
    pub fn connect(&self, target: &Arc<Endpoint>, identity: Identity) -> Result<()> {
        if !self.own.kind.has_connections() {
            return self.choose_partner(target);
        }
        {
            let mut state = self.own.state.lock();
            match &*state {
                State::Idle => *state = State::Connecting,
                State::Connecting => return Err(Errno::EALREADY),
                State::Connected => return Err(Errno::EISCONN),
                State::Listening(_) => return Err(Errno::EINVAL),
            }
        }
        let result = self.join(target, identity);
        *self.own.state.lock() = if result.is_ok() { State::Connected } else { State::Idle };
        if result.is_ok() {
            // Who polls it saw it hung up.
            self.own.changed();
        }
        result
    }

    fn join(&self, target: &Arc<Endpoint>, identity: Identity) -> Result<()> {
        if target.incoming.lock().ended {
            return Err(Errno::ECONNREFUSED);
        }
        let accepted = Socket::new(self.own.kind);
        *accepted.own.state.lock() = State::Connected;
        *accepted.peer_identity.lock() = Some(identity);
        accepted.is_embryo.store(true, Relaxed);
        // Who accepts may want it.
        accepted.own.wants_identities.store(true, Relaxed);
        if let Some(address) = target.address.get() {
            // It is new, as are the places below.
            let _ = accepted.own.address.set(address.clone());
        }
        {
            let mut state = target.state.lock();
            let State::Listening(backlog) = &mut *state else { return Err(Errno::ECONNREFUSED) };
            if backlog.is_full() {
                return Err(Errno::EAGAIN);
            }
            backlog.pending.try_reserve(1)?;
            let _ = accepted.peer.set(self.own.clone());
            let _ = self.peer.set(accepted.own.clone());
            *self.peer_identity.lock() = target.listener.get().copied();
            backlog.pending.push_back(accepted);
        }
        target.readable.wake_all();
        Ok(())
    }

    fn choose_partner(&self, target: &Arc<Endpoint>) -> Result<()> {
        if target.partner.lock().is_some() && !target.is_partner(&self.own) {
            return Err(Errno::EPERM);
        }
        self.change_partner(Some(target));
        Ok(())
    }

    /// Dissolves the partnership of a datagram socket.
    ///
    /// # Errors
    /// `EINVAL` for a socket with connections.
    pub fn disconnect(&self) -> Result<()> {
        if self.own.kind.has_connections() {
            return Err(Errno::EINVAL);
        }
        self.change_partner(None);
        Ok(())
    }

    /// What the former partner sent is not for the new one's ears, and is dropped.
    fn change_partner(&self, target: Option<&Arc<Endpoint>>) {
        let own = &self.own;
        let former = core::mem::replace(&mut *own.partner.lock(), target.map(Arc::downgrade));
        let same = former.is_none_or(|former| target.is_some_and(|target| former.as_ptr() == Arc::as_ptr(target)));
        if !same {
            let content = own.incoming.lock().take_content();
            drop(content);
            own.room.wake_all();
        }
    }

    /// Takes the oldest connection that waits. Only a caller who would wait for one is told that none will come, as on Linux.
    ///
    /// # Errors
    /// `EOPNOTSUPP`, `EINVAL` for a socket that does not listen, or receives no more; `EAGAIN`.
    pub fn accept(&self, would_wait: bool) -> Result<Arc<Socket>> {
        let own = &self.own;
        if !own.kind.has_connections() {
            return Err(Errno::EOPNOTSUPP);
        }
        let ended = would_wait && own.incoming.lock().ended;
        let accepted = {
            let mut state = own.state.lock();
            let State::Listening(backlog) = &mut *state else { return Err(Errno::EINVAL) };
            backlog.pending.pop_front()
        };
        let accepted = accepted.ok_or(if ended { Errno::EINVAL } else { Errno::EAGAIN })?;
        own.room.wake_all();
        accepted.is_embryo.store(false, Relaxed);
        accepted.own.wants_identities.store(own.wants_identities.load(Relaxed), Relaxed);
        Ok(accepted)
    }

    /// The partner of a connected socket.
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn partner(&self) -> Result<Arc<Endpoint>> {
        match self.peer.get() {
            Some(peer) => Ok(peer.clone()),
            None => self.own.partner().flatten().ok_or(Errno::ENOTCONN),
        }
    }
}
