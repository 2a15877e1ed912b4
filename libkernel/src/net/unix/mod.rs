//! Unix sockets (unix(7)).
//!
//! A [`socket`] owns one [`endpoint`], in which a queue holds what was sent to it ([`incoming`]). Sockets find one another by [`names`], connect and
//! accept ([`connection`]), and may pass [`descriptors`], of which the [`garbage`] collector finds those that nobody can receive any more.
#![forbid(unsafe_code)]

mod address;
mod ancillary;
mod byte_queue;
mod connection;
mod descriptors;
mod endpoint;
mod garbage;
mod incoming;
mod names;
mod options;
mod socket;
mod socket_file;
mod table;

#[cfg(test)]
mod tests;

pub use address::{Address, MAX_LENGTH, Name, is_unspecified};
pub use ancillary::{Ancillary, Identity, Received};
pub use descriptors::{Descriptors, MOST as MOST_DESCRIPTORS};
pub use endpoint::{DEFAULT_LIMIT, Endpoint, MAX_BACKLOG, MAX_DATAGRAMS, MAX_LIMIT};
pub use names::{bind, bind_anywhere, find};
pub use options::Level;
pub use socket::Socket;
pub use table::show;
