//! Unix sockets as files: read and write, readiness, the last close.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::sync::atomic::Ordering::Relaxed;

use linux_raw_sys::ioctl::TIOCOUTQ;

use super::ancillary::{Ancillary, Received};
use super::endpoint::{MAX_DATAGRAMS, State};
use super::socket::Socket;
use super::{garbage, names, table};
use crate::fs::{Caller, FileObject, UserAccess};
use crate::io::{IoSink, IoSource};
use crate::net::SocketType;
use crate::poll::{PollEvents, PollTable};
use crate::sync::WaitQueue;
use crate::{Errno, Result};

const WRITABLE: PollEvents = PollEvents::WRITABLE.union(PollEvents::WRBAND);

impl Socket {
    /// Whether a connection waits to be accepted; `None` for a socket that does not listen.
    fn has_pending(&self) -> Option<bool> {
        match &*self.own.state.lock() {
            State::Listening(backlog) => Some(!backlog.pending.is_empty()),
            _ => None,
        }
    }

    /// How a datagram socket is ready for sending.
    fn poll_partner(&self, table: &mut PollTable<'_>) -> PollEvents {
        if let Some(Some(partner)) = self.own.partner() {
            table.register(&partner.room);
            let is_mutual = partner.is_partner(&self.own);
            let (charge, messages) = {
                let incoming = partner.incoming.lock();
                (incoming.charge(), incoming.messages())
            };
            if charge * 4 > self.own.limit() || (!is_mutual && messages > MAX_DATAGRAMS) {
                return PollEvents::empty();
            }
        }
        WRITABLE
    }
}

impl FileObject for Socket {
    #[inline]
    fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        if sink.remaining() == 0 {
            return Ok(0);
        }
        // Descriptors that come along are closed.
        self.receive(sink, false, &mut Received::default())
    }

    #[inline]
    fn write(&self, source: &mut dyn IoSource) -> Result<usize> {
        self.send(source, None, &mut Ancillary::default())
    }

    fn wait_queue(&self, reading: bool) -> Option<&WaitQueue> {
        if Socket::timeout(self, reading).is_some() {
            return None;
        }
        if reading {
            return Some(&self.own.readable);
        }
        self.own.kind.has_connections().then_some(&*self.own.room)
    }

    fn would_block(&self, reading: bool) -> bool {
        if reading {
            let incoming = self.own.incoming.lock();
            return !incoming.has_content() && !incoming.ended && incoming.error.is_none();
        }
        self.peer.get().is_some_and(|peer| {
            let incoming = peer.incoming.lock();
            incoming.charge() >= self.own.limit() && !incoming.ended
        })
    }

    fn timeout(&self, reading: bool) -> Option<u64> {
        Socket::timeout(self, reading)
    }

    fn signals_broken_pipe(&self, done: usize) -> bool {
        done == 0 && self.own.kind == SocketType::Stream
    }

    fn knows_no_wait(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        let own = &self.own;
        table.register(&own.readable);
        if let Some(pending) = self.has_pending() {
            let mut events = PollEvents::empty();
            events.set(PollEvents::READABLE, pending);
            return events;
        }
        let mut events = PollEvents::empty();
        let ended = {
            let incoming = own.incoming.lock();
            events.set(PollEvents::READABLE, incoming.has_content() || incoming.ended);
            events.set(PollEvents::RDHUP, incoming.ended);
            events.set(PollEvents::ERR, incoming.error.is_some());
            incoming.ended
        };
        if own.kind == SocketType::Datagram {
            events |= self.poll_partner(table);
            events.set(PollEvents::HUP, ended && self.is_mute.load(Relaxed));
            return events;
        }
        table.register(&own.room);
        match self.peer.get() {
            Some(peer) => {
                let incoming = peer.incoming.lock();
                events.set(PollEvents::HUP, ended && incoming.ended);
                events.set(WRITABLE, incoming.charge() * 4 <= own.limit());
            }
            None => events |= PollEvents::HUP | WRITABLE,
        }
        events
    }

    fn ioctl(&self, request: u32, argument: usize, user: &dyn UserAccess, _caller: &Caller<'_>) -> Result<usize> {
        if request != TIOCOUTQ {
            return Err(if self.has_pending().is_some() { Errno::EINVAL } else { Errno::ENOTTY });
        }
        if self.has_pending().is_some() {
            return Err(Errno::EINVAL);
        }
        let charge = self.peer.get().map_or(0, |peer| peer.incoming.lock().charge());
        user.write(argument, &i32::try_from(charge).unwrap_or(i32::MAX).to_ne_bytes())?;
        Ok(0)
    }

    fn readable_bytes(&self) -> Result<usize> {
        if self.has_pending().is_some() {
            return Err(Errno::EINVAL);
        }
        let incoming = self.own.incoming.lock();
        Ok(if self.own.kind.has_connections() { incoming.len() } else { incoming.first_length() })
    }
}

impl Drop for Socket {
    /// The last close.
    fn drop(&mut self) {
        let own = &self.own;
        if let Some(address) = own.address.get() {
            names::forget(address, own);
        }
        if let Some(ino) = own.ino.get() {
            table::leave(*ino);
        }
        let pending = match core::mem::replace(&mut *own.state.lock(), State::Idle) {
            State::Listening(backlog) => backlog.pending,
            _ => VecDeque::new(),
        };
        let (content, unread) = {
            let mut incoming = own.incoming.lock();
            let unread = incoming.has_content();
            incoming.ended = true;
            incoming.closed = true;
            (incoming.take_content(), unread)
        };
        own.changed();
        if let Some(peer) = self.peer.get() {
            {
                let mut incoming = peer.incoming.lock();
                incoming.ended = true;
                if unread || self.is_embryo.load(Relaxed) {
                    incoming.error = Some(Errno::ECONNRESET);
                }
            }
            peer.changed();
        }
        drop((content, pending));
        garbage::note_close();
    }
}
