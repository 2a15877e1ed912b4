//! Sending and receiving on sockets: sendto(2), sendmsg(2), sendmmsg(2), recvfrom(2), recvmsg(2), recvmmsg(2).
//!
//! Each call makes a `Sending` or a `Receiving` from its arguments, which tries, makes user pages present where a copy faulted, and tries again.
//! The waiting part makes it anew; a stream that took some bytes already goes on behind them.
#![forbid(unsafe_code)]

mod header;
mod receive;
mod send;
mod several;

pub use receive::{recvfrom, recvfrom_blocking, recvmsg, recvmsg_blocking};
pub use send::{sendmsg, sendmsg_blocking, sendto, sendto_blocking};
pub use several::{recvmmsg, recvmmsg_blocking, sendmmsg, sendmmsg_blocking};

use super::{Context, Outcome};
