//! Sockets.

use super::{Errno, Fd, Result};
use crate::call;

/// A unix address with its length.
#[derive(Clone, Copy)]
pub struct UnixAddress {
    /// The address.
    pub raw: libc::sockaddr_un,
    /// The bytes of it that count.
    pub length: u32,
}

impl UnixAddress {
    /// The family alone.
    pub const EMPTY: Self =
        Self { raw: libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] }, length: 2 };

    /// A path, with its zero.
    pub fn path(path: &str) -> Self {
        Self::bytes(&[path.as_bytes(), &[0]].concat())
    }

    /// A name that is no path.
    pub fn hidden(name: &str) -> Self {
        Self::bytes(&[&[0], name.as_bytes()].concat())
    }

    /// Any bytes behind the family.
    pub fn bytes(bytes: &[u8]) -> Self {
        let mut address = Self::EMPTY;
        for (to, from) in address.raw.sun_path.iter_mut().zip(bytes) {
            *to = *from;
        }
        address.length += bytes.len() as u32;
        address
    }

    /// The bytes behind the family.
    pub fn name(&self) -> &[u8] {
        self.raw.sun_path.get(..(self.length as usize).saturating_sub(2)).unwrap_or_default()
    }
}

/// socket(2).
pub fn socket(kind: i32) -> Result<Fd> {
    Ok(call!(SYS_socket, libc::AF_UNIX, kind, 0)? as Fd)
}

/// socketpair(2).
pub fn socket_pair(kind: i32) -> Result<(Fd, Fd)> {
    let mut fds = [-1i32; 2];
    call!(SYS_socketpair, libc::AF_UNIX, kind, 0, &mut fds)?;
    Ok(fds.into())
}

/// bind(2).
pub fn bind(fd: Fd, address: &UnixAddress) -> Result<()> {
    call!(SYS_bind, fd, &address.raw, address.length).map(drop)
}

/// connect(2).
pub fn connect(fd: Fd, address: &UnixAddress) -> Result<()> {
    call!(SYS_connect, fd, &address.raw, address.length).map(drop)
}

/// listen(2).
pub fn listen(fd: Fd, backlog: i32) -> Result<()> {
    call!(SYS_listen, fd, backlog).map(drop)
}

/// accept4(2) without an address.
pub fn accept(fd: Fd, flags: i32) -> Result<Fd> {
    Ok(call!(SYS_accept4, fd, 0, 0, flags)? as Fd)
}

/// A socket that listens at `address`.
pub fn listener(kind: i32, address: &UnixAddress, backlog: i32) -> Result<Fd> {
    let fd = socket(kind)?;
    bind(fd, address)?;
    listen(fd, backlog)?;
    Ok(fd)
}

/// A new socket that is connected to `address`.
pub fn connected(kind: i32, address: &UnixAddress) -> Result<Fd> {
    let fd = socket(kind)?;
    connect(fd, address)?;
    Ok(fd)
}

/// getsockname(2), or with `peer` getpeername(2).
pub fn name_of(fd: Fd, peer: bool) -> Result<UnixAddress> {
    let mut address = UnixAddress { length: 110, ..UnixAddress::EMPTY };
    if peer {
        call!(SYS_getpeername, fd, &mut address.raw, &mut address.length)?;
    } else {
        call!(SYS_getsockname, fd, &mut address.raw, &mut address.length)?;
    }
    Ok(address)
}

/// send(2).
pub fn send(fd: Fd, bytes: &[u8], flags: i32) -> Result<usize> {
    call!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), flags, 0, 0)
}

/// sendto(2).
pub fn send_to(fd: Fd, bytes: &[u8], address: &UnixAddress) -> Result<usize> {
    call!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), 0, &address.raw, address.length)
}

/// recv(2).
pub fn recv(fd: Fd, buffer: &mut [u8], flags: i32) -> Result<usize> {
    call!(SYS_recvfrom, fd, buffer.as_mut_ptr(), buffer.len(), flags, 0, 0)
}

/// recvfrom(2).
pub fn recv_from(fd: Fd, buffer: &mut [u8]) -> Result<(usize, UnixAddress)> {
    let mut address = UnixAddress { length: 110, ..UnixAddress::EMPTY };
    let count = call!(SYS_recvfrom, fd, buffer.as_mut_ptr(), buffer.len(), 0, &mut address.raw, &mut address.length)?;
    Ok((count, address))
}

/// shutdown(2).
pub fn shutdown(fd: Fd, how: i32) -> Result<()> {
    call!(SYS_shutdown, fd, how).map(drop)
}

/// An option at the level of sockets that is a number.
pub fn option(fd: Fd, name: i32) -> Result<i32> {
    let (mut value, mut length) = (0i32, 4u32);
    call!(SYS_getsockopt, fd, libc::SOL_SOCKET, name, &mut value, &mut length)?;
    Ok(value)
}

/// Sets an option at the level of sockets.
pub fn set_option<T>(fd: Fd, name: i32, value: &T) -> Result<()> {
    call!(SYS_setsockopt, fd, libc::SOL_SOCKET, name, value, size_of::<T>()).map(drop)
}

/// Credentials in a control message or an option: process, user, group.
pub type Ucred = [u32; 3];

/// `SO_PEERCRED`.
pub fn peer_credentials(fd: Fd) -> Result<Ucred> {
    let (mut value, mut length) = ([0u32; 3], 12u32);
    call!(SYS_getsockopt, fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut value, &mut length)?;
    Ok(value)
}

/// A control message: its type and content, at the level of sockets.
pub fn control(kind: i32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((16 + content.len() as u64).to_ne_bytes());
    bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// A control message with descriptors.
pub fn rights(fds: &[Fd]) -> Vec<u8> {
    control(libc::SCM_RIGHTS, &fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect::<Vec<_>>())
}

/// A `struct msghdr` without an address.
pub fn header(vector: &[libc::iovec], control: *mut u8, control_length: usize) -> [u64; 7] {
    [0, 0, vector.as_ptr() as u64, vector.len() as u64, control as u64, control_length as u64, 0]
}

fn vector(bytes: &[u8]) -> [libc::iovec; 1] {
    [libc::iovec { iov_base: bytes.as_ptr() as *mut libc::c_void, iov_len: bytes.len() }]
}

/// sendmsg(2) with one buffer.
pub fn send_message(fd: Fd, bytes: &[u8], control: &mut [u8], flags: i32) -> Result<usize> {
    let vector = vector(bytes);
    let header = header(&vector, control.as_mut_ptr(), control.len());
    call!(SYS_sendmsg, fd, &header, flags)
}

/// What recvmsg(2) gave.
pub struct Message {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What the call returned.
    pub returned: usize,
    /// The descriptors.
    pub fds: Vec<Fd>,
    /// The credentials.
    pub credentials: Option<Ucred>,
    /// `msg_flags`.
    pub flags: i32,
}

/// recvmsg(2) with one buffer and room for so many bytes of control messages.
pub fn recv_message(fd: Fd, count: usize, control_length: usize, flags: i32) -> Result<Message> {
    let mut bytes = vec![0u8; count];
    let mut control = vec![0u64; control_length.div_ceil(8)];
    let vector = vector(&bytes);
    let at = if control_length == 0 { core::ptr::null_mut() } else { control.as_mut_ptr().cast() };
    let mut header = header(&vector, at, control_length);
    let returned = call!(SYS_recvmsg, fd, &mut header, flags)?;
    bytes.truncate(returned);
    let mut message = Message { bytes, returned, fds: Vec::new(), credentials: None, flags: header[6] as i32 };
    let raw: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).take(header[5] as usize).collect();
    let mut rest = &raw[..];
    while rest.len() >= 16 {
        let length = u64::from_ne_bytes(rest[..8].try_into().map_err(|_| Errno(0))?) as usize;
        let kind = i32::from_ne_bytes(rest[12..16].try_into().map_err(|_| Errno(0))?);
        let words: Vec<u32> = rest[16..length.min(rest.len())]
            .chunks_exact(4)
            .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        match (kind, &words[..]) {
            (libc::SCM_RIGHTS, words) => message.fds.extend(words.iter().map(|fd| *fd as Fd)),
            (_, &[pid, uid, gid]) => message.credentials = Some([pid, uid, gid]),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(message)
}
