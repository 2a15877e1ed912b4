//! Options of unix sockets (socket(7), "Socket options"), with numbers as their values.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use linux_raw_sys::net as linux;

use super::ancillary::Identity;
use super::endpoint::{MAX_LIMIT, State};
use super::socket::Socket;
use crate::{Errno, Result};

/// The least that a sender may have under way, and a receiver (`SOCK_MIN_SNDBUF`, `SOCK_MIN_RCVBUF`).
const MIN_SEND_LIMIT: usize = 4608;
const MIN_RECEIVE_LIMIT: usize = 2304;

/// Whether a limit of [`MAX_LIMIT`] holds for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It does.
    Ordinary,
    /// It does not (`SO_SNDBUFFORCE`, with the capability).
    Forced,
}

/// What a program asks for, doubled as Linux does for its book-keeping.
fn limit(value: i32, least: usize, level: Level) -> usize {
    let asked = match level {
        Level::Ordinary => (value as u32 as usize).min(MAX_LIMIT),
        Level::Forced => usize::try_from(value).unwrap_or(0).min(i32::MAX as usize / 2),
    };
    (asked * 2).max(least)
}

impl Socket {
    /// The value of an option that is a number.
    ///
    /// # Errors
    /// `ENOPROTOOPT`.
    pub fn option(&self, option: u32) -> Result<i32> {
        let own = self.endpoint();
        Ok(match option {
            linux::SO_TYPE => own.kind.number() as i32,
            linux::SO_DOMAIN => linux::AF_UNIX as i32,
            linux::SO_ERROR => own.incoming.lock().error.take().map_or(0, |error| i32::from(error.number())),
            linux::SO_SNDBUF => i32::try_from(own.limit()).unwrap_or(i32::MAX),
            linux::SO_RCVBUF => i32::try_from(self.receive_limit.load(Relaxed)).unwrap_or(i32::MAX),
            linux::SO_PASSCRED => i32::from(own.wants_identities.load(Relaxed)),
            linux::SO_ACCEPTCONN => i32::from(matches!(&*own.state.lock(), State::Listening(_))),
            linux::SO_RCVLOWAT | linux::SO_SNDLOWAT => 1,
            // What only other families have, or hardware does, is off.
            linux::SO_PROTOCOL
            | linux::SO_DEBUG
            | linux::SO_REUSEADDR
            | linux::SO_DONTROUTE
            | linux::SO_BROADCAST
            | linux::SO_KEEPALIVE
            | linux::SO_OOBINLINE
            | linux::SO_PRIORITY => 0,
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    /// Sets an option that is a number.
    ///
    /// # Errors
    /// `ENOPROTOOPT`.
    pub fn set_option(&self, option: u32, value: i32, level: Level) -> Result<()> {
        let own = self.endpoint();
        match option {
            linux::SO_PASSCRED => own.wants_identities.store(value != 0, Relaxed),
            linux::SO_SNDBUF => {
                own.send_limit.store(limit(value, MIN_SEND_LIMIT, level), Relaxed);
                own.room.wake_all();
            }
            linux::SO_RCVBUF => self.receive_limit.store(limit(value, MIN_RECEIVE_LIMIT, level), Relaxed),
            linux::SO_TYPE | linux::SO_DOMAIN | linux::SO_PROTOCOL | linux::SO_ERROR | linux::SO_ACCEPTCONN => {
                return Err(Errno::ENOPROTOOPT);
            }
            // What concerns other families is taken and does nothing.
            linux::SO_REUSEADDR
            | linux::SO_DONTROUTE
            | linux::SO_BROADCAST
            | linux::SO_KEEPALIVE
            | linux::SO_OOBINLINE => {}
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// How long a receiver, or else a sender, waits, in nanoseconds; 0: for ever.
    pub fn set_timeout(&self, receiving: bool, nanoseconds: u64) {
        let timeout = if receiving { &self.receive_timeout } else { &self.send_timeout };
        timeout.store(nanoseconds, Relaxed);
    }

    /// Who the partner is: the one that connected or made the pair, or that listens.
    #[must_use]
    pub fn peer_identity(&self) -> Identity {
        let known = *self.peer_identity.lock();
        known.or(self.endpoint().listener.get().copied()).unwrap_or(Identity::NOBODY)
    }
}
