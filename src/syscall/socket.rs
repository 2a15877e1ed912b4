//! Making, naming and connecting sockets: socket(2), socketpair(2), bind(2), listen(2), accept(2), connect(2), getsockname(2), shutdown(2).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::{Fd, OpenFile, OpenFlags};
use libkernel::machine;
use libkernel::memory::UserPtr;
use libkernel::net::unix::{self, Address, Endpoint, Identity, MAX_LENGTH, Name, Socket};
use libkernel::net::{Shutdown, SocketType};
use libkernel::poll::{self, PollTable};
use libkernel::task::interruptible;
use libkernel::time::with_timeout;
use libkernel::{Errno, Result};
use linux_raw_sys::net as linux;

use super::files::{as_caller, descriptor_limit, file};
use super::outcome::calls_that_wait;
use super::{Context, Outcome};

/// The bits of a socket's type beside the flags (`SOCK_TYPE_MASK`).
const TYPE_MASK: u32 = 0xf;

/// What the kernel takes of an address (`sizeof(struct sockaddr_storage)`).
const STORAGE: usize = 128;

/// An open socket.
pub struct OpenSocket {
    /// The file.
    pub file: Arc<OpenFile>,
    /// The socket.
    pub socket: Arc<Socket>,
}

impl OpenSocket {
    /// The socket behind a descriptor. `EBADF`, `ENOTSOCK`.
    pub fn get(cx: &Context, fd: Fd) -> Result<Self> {
        let file = file(cx, fd)?;
        if file.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        let socket = file.object_as::<Socket>().ok_or(Errno::ENOTSOCK)?;
        Ok(Self { file, socket })
    }

    /// When a wait of this socket ends.
    pub fn deadline(&self, receiving: bool) -> Option<u64> {
        self.socket.timeout(receiving).map(|timeout| machine::monotonic_ns().saturating_add(timeout))
    }
}

/// Waits until `attempt`, which registers where it may succeed, gives a result: `EAGAIN` after the deadline.
pub async fn wait<T>(deadline: Option<u64>, attempt: impl FnMut(&mut PollTable<'_>) -> Option<Result<T>>) -> Result<T> {
    match interruptible(with_timeout(deadline, poll::wait_for(attempt))).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Errno::EAGAIN),
        // A call that would begin its time anew is not made again (signal(7)).
        Err(_) => Err(if deadline.is_some() { Errno::EINTR } else { Errno::ERESTARTSYS }),
    }
}

/// An address as a program passed it.
pub struct GivenAddress {
    bytes: [u8; STORAGE],
    length: usize,
}

impl GivenAddress {
    /// `EINVAL` for a wrong length, `EFAULT`.
    pub fn read(cx: &Context, address: UserPtr<u8>, length: i32) -> Result<Self> {
        let length = usize::try_from(length).ok().filter(|length| *length <= STORAGE).ok_or(Errno::EINVAL)?;
        let mut given = Self { bytes: [0; STORAGE], length };
        if let Some(bytes) = given.bytes.get_mut(..length) {
            cx.thread.space().read_bytes(address, bytes)?;
        }
        Ok(given)
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn name(&self) -> Result<Name<'_>> {
        Name::parse(self.bytes())
    }

    /// The socket of this type that it names.
    pub fn find(&self, cx: &Context, kind: SocketType) -> Result<Arc<Endpoint>> {
        let name = self.name()?;
        as_caller(cx, |caller| unix::find(name, kind, caller))
    }
}

/// Writes a socket's address, as far as there is room, and its whole length. `EFAULT`, `EINVAL`.
pub fn write_address(
    cx: &Context,
    socket_address: Option<&Address>,
    to: UserPtr<u8>,
    length: UserPtr<i32>,
) -> Result<()> {
    let space = cx.thread.space();
    let room = usize::try_from(space.read_value(length)?).map_err(|_| Errno::EINVAL)?;
    let mut buffer = [0; MAX_LENGTH];
    let bytes = Address::encode(socket_address, &mut buffer);
    space.write_bytes(to, bytes.get(..room).unwrap_or(bytes))?;
    space.write_value(length, bytes.len() as i32)
}

/// The thread's process, as a partner is told of it.
fn identity(cx: &Context) -> Identity {
    cx.thread.with_credentials(|credentials| Identity::new(cx.thread.process().pid(), credentials))
}

/// The flags of a new descriptor, from those of a socket's type.
fn open_flags(flags: u32) -> Result<OpenFlags> {
    let flags = OpenFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let known = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NON_BLOCKING;
    if known.contains(flags) { Ok(flags) } else { Err(Errno::EINVAL) }
}

fn insert(cx: &Context, socket: Arc<Socket>, flags: OpenFlags) -> Result<Fd> {
    let file = cx.thread.with_credentials(|credentials| socket.open(flags, credentials))?;
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    cx.thread.files().insert(file, close_on_exec, 0, descriptor_limit(cx))
}

/// Judges what socket(2) and socketpair(2) take.
fn socket_type(family: u32, kind: u32, protocol: u32) -> Result<(SocketType, OpenFlags)> {
    let flags = open_flags(kind & !TYPE_MASK)?;
    let kind = SocketType::from_number(kind & TYPE_MASK);
    match family {
        linux::AF_UNIX if kind != Err(Errno::EINVAL) && protocol != 0 && protocol != linux::AF_UNIX => {
            Err(Errno::EPROTONOSUPPORT)
        }
        linux::AF_UNIX => Ok((kind?, flags)),
        0..linux::AF_MAX if kind == Err(Errno::EINVAL) => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// socket(2).
pub fn socket(cx: &mut Context, family: u32, kind: u32, protocol: u32) -> Result<usize> {
    let (kind, flags) = socket_type(family, kind, protocol)?;
    Ok(insert(cx, Socket::new(kind), flags)?.0 as usize)
}

/// socketpair(2).
pub fn socketpair(cx: &mut Context, family: u32, kind: u32, protocol: u32, fds: UserPtr<[i32; 2]>) -> Result<usize> {
    let (kind, flags) = socket_type(family, kind, protocol)?;
    let (first, second) = Socket::pair(kind, identity(cx));
    let files = cx.thread.files();
    let pair = cx.thread.with_credentials(|credentials| -> Result<_> {
        Ok((first.open(flags, credentials)?, second.open(flags, credentials)?))
    })?;
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    let (first, second) = files.insert_pair(pair, close_on_exec, descriptor_limit(cx))?;
    cx.thread.space().write_value(fds, [first.0, second.0]).inspect_err(|_| {
        // Nobody knows the descriptors.
        let _ = files.close(first).and(files.close(second));
    })?;
    Ok(0)
}

/// bind(2).
pub fn bind(cx: &mut Context, fd: Fd, address: UserPtr<u8>, length: i32) -> Result<usize> {
    let OpenSocket { socket, .. } = OpenSocket::get(cx, fd)?;
    let address = GivenAddress::read(cx, address, length)?;
    let name = address.name()?;
    as_caller(cx, |caller| unix::bind(socket.endpoint(), name, caller))?;
    Ok(0)
}

/// listen(2).
pub fn listen(cx: &mut Context, fd: Fd, backlog: u32) -> Result<usize> {
    let OpenSocket { socket, .. } = OpenSocket::get(cx, fd)?;
    socket.listen(backlog, identity(cx))?;
    Ok(0)
}

/// shutdown(2).
pub fn shutdown(cx: &mut Context, fd: Fd, how: u32) -> Result<usize> {
    let OpenSocket { socket, .. } = OpenSocket::get(cx, fd)?;
    socket.shut_down(Shutdown::from_number(how)?);
    Ok(0)
}

/// getsockname(2).
pub fn getsockname(cx: &mut Context, fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>) -> Result<usize> {
    let OpenSocket { socket, .. } = OpenSocket::get(cx, fd)?;
    write_address(cx, socket.endpoint().address.get().map(|name| &**name), address, length)?;
    Ok(0)
}

/// getpeername(2).
pub fn getpeername(cx: &mut Context, fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>) -> Result<usize> {
    let OpenSocket { socket, .. } = OpenSocket::get(cx, fd)?;
    let partner = socket.partner()?;
    write_address(cx, partner.address.get().map(|name| &**name), address, length)?;
    Ok(0)
}

/// accept(2), accept4(2).
struct Accept {
    fd: Fd,
    address: UserPtr<u8>,
    length: UserPtr<i32>,
    flags: OpenFlags,
}

impl Accept {
    fn new(fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>, flags: u32) -> Result<Self> {
        Ok(Self { fd, address, length, flags: open_flags(flags)? })
    }

    /// Gives an accepted connection a descriptor.
    fn complete(&self, cx: &Context, accepted: Arc<Socket>) -> Result<usize> {
        let partner = accepted.partner()?;
        let fd = insert(cx, accepted, self.flags)?;
        if !self.address.is_null() {
            let written = write_address(cx, partner.address.get().map(|name| &**name), self.address, self.length);
            written.inspect_err(|_| {
                // Nobody knows the descriptor.
                let _ = cx.thread.files().close(fd);
            })?;
        }
        Ok(fd.0 as usize)
    }

    fn start(&self, cx: &mut Context) -> Outcome {
        let accept = || -> Result<Option<usize>> {
            let open = OpenSocket::get(cx, self.fd)?;
            let would_wait = !open.file.is_non_blocking();
            match open.socket.accept(would_wait) {
                Ok(accepted) => self.complete(cx, accepted).map(Some),
                Err(Errno::EAGAIN) if would_wait => Ok(None),
                Err(error) => Err(error),
            }
        };
        match accept() {
            Ok(None) => Outcome::Block,
            Ok(Some(fd)) => Outcome::Done(Ok(fd)),
            Err(error) => Outcome::Done(Err(error)),
        }
    }

    async fn finish(self, cx: &mut Context) -> Result<usize> {
        let open = OpenSocket::get(cx, self.fd)?;
        let accepted = wait(open.deadline(true), |table| {
            table.register(&open.socket.endpoint().readable);
            let result = open.socket.accept(true);
            (result.as_ref().err() != Some(&Errno::EAGAIN)).then_some(result)
        });
        let accepted = accepted.await?;
        self.complete(cx, accepted)
    }
}

/// connect(2).
struct Connect {
    fd: Fd,
    address: UserPtr<u8>,
    length: i32,
}

impl Connect {
    /// The socket, and whom it is to connect to; `None`: to nobody any more.
    fn find(&self, cx: &Context) -> Result<(OpenSocket, Option<Arc<Endpoint>>)> {
        let open = OpenSocket::get(cx, self.fd)?;
        let address = GivenAddress::read(cx, self.address, self.length)?;
        if !open.socket.kind().has_connections() && unix::is_unspecified(address.bytes()) {
            return Ok((open, None));
        }
        // A partner who is to be told who sends is told an address too.
        if open.socket.wants_identities() {
            unix::bind_anywhere(open.socket.endpoint())?;
        }
        let target = address.find(cx, open.socket.kind())?;
        Ok((open, Some(target)))
    }

    fn start(&self, cx: &mut Context) -> Outcome {
        let connect = || {
            let (open, target) = self.find(cx)?;
            let result = match &target {
                Some(target) => open.socket.connect(target, identity(cx)),
                None => open.socket.disconnect(),
            };
            Ok((result, open.file.is_non_blocking()))
        };
        match connect() {
            Ok((Err(Errno::EAGAIN), false)) => Outcome::Block,
            Ok((result, _)) => Outcome::Done(result.map(|()| 0)),
            Err(error) => Outcome::Done(Err(error)),
        }
    }

    async fn finish(self, cx: &mut Context) -> Result<usize> {
        let (open, Some(target)) = self.find(cx)? else { return Err(Errno::EINVAL) };
        let identity = identity(cx);
        let connected = wait(open.deadline(false), |table| {
            table.register(&target.room);
            let result = open.socket.connect(&target, identity);
            (result != Err(Errno::EAGAIN)).then_some(result)
        });
        connected.await.map(|()| 0)
    }
}

calls_that_wait! {
    /// accept(2).
    accept / accept_blocking(cx, fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>) {
        Accept::new(fd, address, length, 0)
    }

    /// accept4(2).
    accept4 / accept4_blocking(cx, fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>, flags: u32) {
        Accept::new(fd, address, length, flags)
    }

    /// connect(2).
    connect / connect_blocking(cx, fd: Fd, address: UserPtr<u8>, length: i32) {
        Ok(Connect { fd, address, length })
    }
}
