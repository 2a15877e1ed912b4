//! Sending: sendto(2), sendmsg(2).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::Fd;
use libkernel::memory::{UserBuffer, UserBytes, UserPtr, UserSlice};
use libkernel::net::SocketType;
use libkernel::net::unix::{self, Ancillary, Endpoint};
use libkernel::process::Thread;
use libkernel::signal::Signal;
use libkernel::{Errno, Result};
use linux_raw_sys::net as linux;

use super::header::Header;
use super::{Context, Outcome};
use crate::syscall::outcome::{calls_that_wait, partial};
use crate::syscall::socket::{GivenAddress, OpenSocket, wait};

/// A message or bytes on their way out.
pub struct Sending<B> {
    open: OpenSocket,
    bytes: B,
    /// Where a datagram goes, if not to the partner.
    target: Option<Arc<Endpoint>>,
    ancillary: Ancillary,
    flags: u32,
    /// The bytes sent.
    pub done: usize,
}

impl<B: UserBytes> Sending<B> {
    fn new(cx: &Context, fd: Fd, bytes: B, flags: u32, name: UserPtr<u8>, name_length: i32) -> Result<Self> {
        let open = OpenSocket::get(cx, fd)?;
        if flags & linux::MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let named = !name.is_null() && name_length > 0;
        let target = match open.socket.kind() {
            SocketType::Stream if named => {
                let connected = open.socket.partner().is_ok();
                return Err(if connected { Errno::EISCONN } else { Errno::EOPNOTSUPP });
            }
            SocketType::Datagram if named => {
                Some(GivenAddress::read(cx, name, name_length)?.find(cx, SocketType::Datagram)?)
            }
            _ => None,
        };
        if open.socket.kind() == SocketType::Datagram && open.socket.wants_identities() {
            unix::bind_anywhere(open.socket.endpoint())?;
        }
        Ok(Self { open, bytes, target, ancillary: Ancillary::default(), flags, done: 0 })
    }

    /// Sends as far as that needs no waiting; `None`: it has to wait.
    fn step(&mut self, thread: &Thread) -> Option<Result<usize>> {
        loop {
            let wanted = self.bytes.left();
            let sent = self.open.socket.send(&mut self.bytes, self.target.as_ref(), &mut self.ancillary);
            match sent {
                Ok(count) => {
                    self.done += count;
                    if count >= wanted {
                        return Some(Ok(self.done));
                    }
                    if self.bytes.faulted() && self.bytes.resolve(&thread.space()).is_err() {
                        return Some(Ok(self.done));
                    }
                }
                Err(Errno::EAGAIN) => {
                    self.bytes.seek(self.done);
                    return None;
                }
                Err(Errno::EFAULT) if self.bytes.faulted() => {
                    if let Err(error) = self.bytes.resolve(&thread.space()) {
                        return Some(partial(self.done, error));
                    }
                }
                Err(error) => {
                    let signals =
                        self.open.socket.kind() == SocketType::Stream && self.flags & linux::MSG_NOSIGNAL == 0;
                    if error == Errno::EPIPE && self.done == 0 && signals {
                        thread.signals().send_kernel(Signal::PIPE);
                    }
                    return Some(partial(self.done, error));
                }
            }
            self.bytes.seek(self.done);
        }
    }

    fn waits(&self) -> bool {
        self.flags & linux::MSG_DONTWAIT == 0 && !self.open.file.is_non_blocking()
    }

    /// The synchronous part; `None`: it has to wait.
    pub fn start(&mut self, thread: &Thread) -> Option<Result<usize>> {
        match self.step(thread) {
            None if !self.waits() => Some(partial(self.done, Errno::EAGAIN)),
            step => step,
        }
    }

    fn start_call(mut self, cx: &mut Context) -> Outcome {
        match self.start(&cx.thread) {
            Some(result) => Outcome::Done(result),
            None => {
                cx.progress = self.done;
                Outcome::Block
            }
        }
    }

    /// Goes on after `done` bytes.
    pub async fn finish(&mut self, thread: &Thread, done: usize) -> Result<usize> {
        self.done = done;
        self.bytes.seek(done);
        if done > 0 {
            // They went with the first bytes.
            self.ancillary.descriptors = None;
        }
        let deadline = self.open.deadline(false);
        let target = match self.open.socket.kind() {
            SocketType::Datagram => self.target.clone().or_else(|| self.open.socket.partner().ok()),
            _ => Some(self.open.socket.endpoint().clone()),
        };
        let sent = wait(deadline, |table| {
            if let Some(target) = &target {
                table.register(&target.room);
            }
            self.step(thread)
        });
        let result = sent.await;
        result.or_else(|error| partial(self.done, error))
    }
}

impl Sending<UserSlice> {
    /// A call with a `struct msghdr`.
    pub fn message(cx: &Context, fd: Fd, message: UserPtr<u8>, flags: u32) -> Result<Self> {
        let Header { name, name_length, bytes, control, .. } = Header::read(cx, message)?;
        let mut sending = Self::new(cx, fd, bytes, flags, name, name_length)?;
        if !control.address.is_null() {
            sending.ancillary = control.read(cx)?;
        }
        Ok(sending)
    }
}

/// sendto(2).
struct SendTo {
    fd: Fd,
    buffer: UserPtr<u8>,
    length: usize,
    flags: u32,
    address: UserPtr<u8>,
    address_length: i32,
}

impl SendTo {
    fn sending(&self, cx: &Context) -> Result<Sending<UserBuffer>> {
        let bytes = UserBuffer::new(self.buffer, self.length)?;
        Sending::new(cx, self.fd, bytes, self.flags, self.address, self.address_length)
    }

    fn start(&self, cx: &mut Context) -> Outcome {
        match self.sending(cx) {
            Ok(sending) => sending.start_call(cx),
            Err(error) => Outcome::Done(Err(error)),
        }
    }

    async fn finish(self, cx: &mut Context) -> Result<usize> {
        let mut sending = self.sending(cx)?;
        sending.finish(&cx.thread, cx.progress).await
    }
}

/// sendmsg(2).
struct SendMessage {
    fd: Fd,
    message: UserPtr<u8>,
    flags: u32,
}

impl SendMessage {
    fn start(&self, cx: &mut Context) -> Outcome {
        match Sending::message(cx, self.fd, self.message, self.flags) {
            Ok(sending) => sending.start_call(cx),
            Err(error) => Outcome::Done(Err(error)),
        }
    }

    async fn finish(self, cx: &mut Context) -> Result<usize> {
        let mut sending = Sending::message(cx, self.fd, self.message, self.flags)?;
        sending.finish(&cx.thread, cx.progress).await
    }
}

calls_that_wait! {
    /// sendto(2).
    sendto / sendto_blocking(
        cx, fd: Fd, buffer: UserPtr<u8>, length: usize, flags: u32, address: UserPtr<u8>, address_length: i32
    ) {
        Ok(SendTo { fd, buffer, length, flags, address, address_length })
    }

    /// sendmsg(2).
    sendmsg / sendmsg_blocking(cx, fd: Fd, message: UserPtr<u8>, flags: u32) {
        Ok(SendMessage { fd, message, flags })
    }
}
