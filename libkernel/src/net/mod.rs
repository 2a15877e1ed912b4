//! Sockets. There is one family so far: [`unix`].
#![forbid(unsafe_code)]

pub mod unix;

use crate::{Errno, Result};
use linux_raw_sys::net as linux;

/// How a socket carries what is sent (socket(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketType {
    /// A connection that carries bytes.
    Stream,
    /// Messages, each with an address or to the one partner.
    Datagram,
    /// A connection that carries messages.
    SequencedPacket,
}

impl SocketType {
    /// From the number that socket(2) takes, without flags.
    ///
    /// # Errors
    /// `ESOCKTNOSUPPORT` for a type that the family does not have, `EINVAL` for what is no type at all.
    pub fn from_number(number: u32) -> Result<Self> {
        match number {
            linux::SOCK_STREAM => Ok(Self::Stream),
            // unix(7): a raw socket is a datagram socket.
            2 | 3 => Ok(Self::Datagram),
            5 => Ok(Self::SequencedPacket),
            0 | 4 | 6..=10 => Err(Errno::ESOCKTNOSUPPORT),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The number for `SO_TYPE`.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Stream => linux::SOCK_STREAM,
            Self::Datagram => 2,
            Self::SequencedPacket => 5,
        }
    }

    /// Whether sockets of this type are connected, listen and accept.
    #[must_use]
    pub fn has_connections(self) -> bool {
        self != Self::Datagram
    }

    /// Whether messages keep their bounds.
    #[must_use]
    pub fn has_messages(self) -> bool {
        self != Self::Stream
    }
}

/// Which directions shutdown(2) ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Nothing is received any more.
    pub receiving: bool,
    /// Nothing is sent any more.
    pub sending: bool,
}

impl Shutdown {
    /// From the number that shutdown(2) takes.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn from_number(number: u32) -> Result<Self> {
        if number > 2 {
            return Err(Errno::EINVAL);
        }
        Ok(Self { receiving: number != 1, sending: number != 0 })
    }
}
