//! setsockopt(2) and getsockopt(2), at the level of sockets; unix sockets have no other.
#![forbid(unsafe_code)]

use libkernel::fs::Fd;
use libkernel::memory::UserPtr;
use libkernel::net::unix::Level;
use libkernel::process::capability::Capability;
use libkernel::{Errno, Result};
use linux_raw_sys::net as linux;

use super::Context;
use super::socket::OpenSocket;

const NS_PER_US: u64 = 1000;
const US_PER_SECOND: u64 = 1_000_000;

/// The socket, if the option is one of sockets in general.
fn open(cx: &Context, fd: Fd, level: u32) -> Result<OpenSocket> {
    let open = OpenSocket::get(cx, fd)?;
    if level == linux::SOL_SOCKET { Ok(open) } else { Err(Errno::EOPNOTSUPP) }
}

/// Whether the option is a time, and if so, whether one of receivers.
fn time_option(option: u32) -> Option<bool> {
    match option {
        linux::SO_RCVTIMEO_OLD | linux::SO_RCVTIMEO_NEW => Some(true),
        linux::SO_SNDTIMEO_OLD | linux::SO_SNDTIMEO_NEW => Some(false),
        _ => None,
    }
}

/// A `struct timeval` in nanoseconds; one below 0 is the shortest time. `EDOM`.
fn nanoseconds([seconds, microseconds]: [i64; 2]) -> Result<u64> {
    let microseconds = u64::try_from(microseconds).ok().filter(|us| *us < US_PER_SECOND).ok_or(Errno::EDOM)?;
    let Ok(seconds) = u64::try_from(seconds) else { return Ok(1) };
    Ok(seconds.saturating_mul(US_PER_SECOND).saturating_add(microseconds).saturating_mul(NS_PER_US))
}

/// setsockopt(2).
pub fn setsockopt(cx: &mut Context, fd: Fd, level: u32, option: u32, value: UserPtr<u8>, length: i32) -> Result<usize> {
    let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
    let open = open(cx, fd, level)?;
    let space = cx.thread.space();
    if let Some(receiving) = time_option(option) {
        if length < size_of::<[i64; 2]>() {
            return Err(Errno::EINVAL);
        }
        let time = nanoseconds(space.read_value(value.cast())?)?;
        open.socket.set_timeout(receiving, time);
        return Ok(0);
    }
    if length < size_of::<i32>() {
        return Err(Errno::EINVAL);
    }
    let value = space.read_value(value.cast::<i32>())?;
    let (option, level) = match option {
        linux::SO_SNDBUFFORCE => (linux::SO_SNDBUF, Level::Forced),
        linux::SO_RCVBUFFORCE => (linux::SO_RCVBUF, Level::Forced),
        option => (option, Level::Ordinary),
    };
    if level == Level::Forced && !cx.thread.with_credentials(|credentials| credentials.has(Capability::NetAdmin)) {
        return Err(Errno::EPERM);
    }
    open.socket.set_option(option, value, level)?;
    Ok(0)
}

/// getsockopt(2).
pub fn getsockopt(
    cx: &mut Context,
    fd: Fd,
    level: u32,
    option: u32,
    value: UserPtr<u8>,
    length: UserPtr<i32>,
) -> Result<usize> {
    let open = open(cx, fd, level)?;
    let space = cx.thread.space();
    let room = usize::try_from(space.read_value(length)?).map_err(|_| Errno::EINVAL)?;
    let mut bytes = [0; 16];
    let words: &[u32] = if let Some(receiving) = time_option(option) {
        let microseconds = open.socket.timeout(receiving).unwrap_or(0) / NS_PER_US;
        let (seconds, rest) = (microseconds / US_PER_SECOND, microseconds % US_PER_SECOND);
        &[seconds as u32, (seconds >> 32) as u32, rest as u32, 0]
    } else if option == linux::SO_PEERCRED {
        let identity = open.socket.peer_identity();
        &[identity.pid as u32, identity.uid, identity.gid]
    } else {
        &[open.socket.option(option)? as u32]
    };
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    let count = room.min(size_of_val(words));
    space.write_bytes(value, bytes.get(..count).unwrap_or_default())?;
    space.write_value(length, count as i32)?;
    Ok(0)
}
