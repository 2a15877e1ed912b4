//! Receiving: recvfrom(2), recvmsg(2).
#![forbid(unsafe_code)]

use libkernel::fs::Fd;
use libkernel::memory::{UserBuffer, UserBytes, UserPtr, UserSlice};
use libkernel::net::unix::Received;
use libkernel::process::Thread;
use libkernel::{Errno, Result};
use linux_raw_sys::net as linux;

use super::header::{CONTROL_LENGTH, FLAGS, Header, NAME_LENGTH};
use super::{Context, Outcome};
use crate::syscall::control_message::Control;
use crate::syscall::outcome::{calls_that_wait, partial};
use crate::syscall::socket::{OpenSocket, wait, write_address};

/// A message or bytes on their way in.
struct Receiving<B> {
    open: OpenSocket,
    bytes: B,
    flags: u32,
    received: Received,
    done: usize,
}

impl<B: UserBytes> Receiving<B> {
    fn new(cx: &Context, fd: Fd, bytes: B, flags: u32) -> Result<Self> {
        let open = OpenSocket::get(cx, fd)?;
        if flags & linux::MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(Self { open, bytes, flags, received: Received::default(), done: 0 })
    }

    fn peeks(&self) -> bool {
        self.flags & linux::MSG_PEEK != 0
    }

    /// Receives as far as that needs no waiting; `None`: it has to wait.
    fn step(&mut self, thread: &Thread) -> Option<Result<usize>> {
        loop {
            let wanted = self.bytes.left();
            let peeks = self.peeks();
            let got = self.open.socket.receive(&mut self.bytes, peeks, &mut self.received);
            match got {
                Ok(count) => {
                    self.done += count;
                    let faulted = count < wanted && self.bytes.faulted();
                    let all = self.flags & linux::MSG_WAITALL != 0 && !self.peeks();
                    let over = count == 0 || count >= wanted || self.received.ancillary.descriptors.is_some();
                    if over || self.open.socket.kind().has_messages() || !(faulted || all) {
                        return Some(Ok(self.done));
                    }
                    if faulted && self.bytes.resolve(&thread.space()).is_err() {
                        return Some(Ok(self.done));
                    }
                    if self.peeks() {
                        // The same bytes come once more, and then all of them.
                        (self.done, self.received) = (0, Received::default());
                    }
                }
                Err(Errno::EAGAIN) => {
                    self.bytes.seek(self.done);
                    let all = self.flags & linux::MSG_WAITALL != 0;
                    return (self.done > 0 && !all).then_some(Ok(self.done));
                }
                Err(Errno::EFAULT) if self.bytes.faulted() => {
                    if let Err(error) = self.bytes.resolve(&thread.space()) {
                        return Some(partial(self.done, error));
                    }
                }
                Err(error) => return Some(partial(self.done, error)),
            }
            self.bytes.seek(self.done);
        }
    }

    /// The synchronous part; `None`: it has to wait.
    fn start(&mut self, thread: &Thread) -> Option<Result<usize>> {
        let waits = self.flags & linux::MSG_DONTWAIT == 0 && !self.open.file.is_non_blocking();
        match self.step(thread) {
            None if !waits => Some(partial(self.done, Errno::EAGAIN)),
            step => step,
        }
    }

    /// The waiting part; goes on where the synchronous part came to.
    async fn finish(&mut self, thread: &Thread) -> Result<usize> {
        let deadline = self.open.deadline(true);
        let readable = self.open.socket.endpoint().readable.clone();
        let received = wait(deadline, |table| {
            table.register(&readable);
            self.step(thread)
        });
        let result = received.await;
        result.or_else(|error| partial(self.done, error))
    }

    /// What a call that received `count` bytes returns.
    fn length(&self, count: usize) -> usize {
        let whole = self.flags & linux::MSG_TRUNC != 0 && self.open.socket.kind().has_messages();
        if whole { self.received.length } else { count }
    }

    /// Writes the sender's address, or that it has none.
    fn write_sender(&self, cx: &Context, count: usize, to: UserPtr<u8>, length: UserPtr<i32>) -> Result<()> {
        if to.is_null() {
            return Ok(());
        }
        let partner;
        let sender = if self.open.socket.kind().has_connections() {
            partner = self.open.socket.partner().ok();
            partner.as_ref().filter(|_| count > 0).and_then(|partner| partner.address.get())
        } else {
            self.received.ancillary.sender.as_ref()
        };
        match sender {
            Some(sender) => write_address(cx, Some(sender), to, length),
            None => cx.thread.space().write_value(length, 0),
        }
    }
}

impl Receiving<UserSlice> {
    /// A call with a `struct msghdr`, and that.
    fn message(cx: &Context, fd: Fd, message: UserPtr<u8>, flags: u32) -> Result<(Self, MessageResult)> {
        let Header { at, name, bytes, control, .. } = Header::read(cx, message)?;
        Ok((Self::new(cx, fd, bytes, flags)?, MessageResult { at, name, control }))
    }
}

/// Where the parts of what was received go, besides the bytes.
struct MessageResult {
    at: UserPtr<u8>,
    name: UserPtr<u8>,
    control: Control,
}

impl MessageResult {
    /// Writes all that goes with the bytes.
    fn write(self, cx: &Context, receiving: &mut Receiving<UserSlice>, count: usize) -> Result<usize> {
        let space = cx.thread.space();
        let returned = receiving.length(count);
        receiving.write_sender(cx, count, self.name, self.at.byte_add(NAME_LENGTH).cast())?;
        let truncated = receiving.open.socket.kind().has_messages() && receiving.received.length > count;
        let told = receiving.open.socket.wants_identities();
        let close_on_exec = receiving.flags & linux::MSG_CMSG_CLOEXEC != 0;
        let ancillary = core::mem::take(&mut receiving.received.ancillary);
        let (used, mut flags) = self.control.write(cx, ancillary, close_on_exec, told)?;
        flags |= receiving.flags & linux::MSG_CMSG_CLOEXEC;
        flags |= if truncated { linux::MSG_TRUNC } else { 0 };
        space.write_value(self.at.byte_add(FLAGS).cast::<u32>(), flags)?;
        space.write_value(self.at.byte_add(CONTROL_LENGTH).cast::<u64>(), used as u64)?;
        Ok(returned)
    }
}

/// recvfrom(2).
struct ReceiveFrom {
    fd: Fd,
    buffer: UserPtr<u8>,
    length: usize,
    flags: u32,
    address: UserPtr<u8>,
    address_length: UserPtr<i32>,
}

impl ReceiveFrom {
    fn receiving(&self, cx: &Context) -> Result<Receiving<UserBuffer>> {
        Receiving::new(cx, self.fd, UserBuffer::new(self.buffer, self.length)?, self.flags)
    }

    fn complete(&self, cx: &Context, receiving: &Receiving<UserBuffer>, count: usize) -> Result<usize> {
        receiving.write_sender(cx, count, self.address, self.address_length)?;
        Ok(receiving.length(count))
    }

    fn start(&self, cx: &mut Context) -> Outcome {
        let mut receiving = match self.receiving(cx) {
            Ok(receiving) => receiving,
            Err(error) => return Outcome::Done(Err(error)),
        };
        match receiving.start(&cx.thread) {
            Some(Ok(count)) => Outcome::Done(self.complete(cx, &receiving, count)),
            Some(Err(error)) => Outcome::Done(Err(error)),
            None => {
                cx.progress = receiving.done;
                Outcome::Block
            }
        }
    }

    async fn finish(self, cx: &mut Context) -> Result<usize> {
        let mut receiving = self.receiving(cx)?;
        receiving.done = cx.progress;
        receiving.bytes.seek(cx.progress);
        let count = receiving.finish(&cx.thread).await?;
        self.complete(cx, &receiving, count)
    }
}

/// recvmsg(2).
pub struct ReceiveMessage {
    /// The socket.
    pub fd: Fd,
    /// Where the `struct msghdr` is.
    pub message: UserPtr<u8>,
    /// `MSG_*`.
    pub flags: u32,
}

impl ReceiveMessage {
    /// The synchronous part; `None`, and how far it came: it has to wait.
    pub fn attempt(&self, cx: &Context, done: &mut usize) -> Result<Option<usize>> {
        let (mut receiving, result) = Receiving::message(cx, self.fd, self.message, self.flags)?;
        match receiving.start(&cx.thread) {
            Some(count) => result.write(cx, &mut receiving, count?).map(Some),
            None => {
                *done = receiving.done;
                Ok(None)
            }
        }
    }

    fn start(&self, cx: &mut Context) -> Outcome {
        let mut done = 0;
        match self.attempt(cx, &mut done) {
            Ok(Some(count)) => Outcome::Done(Ok(count)),
            Ok(None) => {
                cx.progress = done;
                Outcome::Block
            }
            Err(error) => Outcome::Done(Err(error)),
        }
    }

    /// The waiting part; `done`: how far the synchronous one came.
    pub async fn wait(&self, cx: &Context, done: usize) -> Result<usize> {
        let (mut receiving, result) = Receiving::message(cx, self.fd, self.message, self.flags)?;
        receiving.done = done;
        receiving.bytes.seek(done);
        let count = receiving.finish(&cx.thread).await?;
        result.write(cx, &mut receiving, count)
    }

    async fn finish(self, cx: &mut Context) -> Result<usize> {
        self.wait(cx, cx.progress).await
    }
}

calls_that_wait! {
    /// recvfrom(2).
    recvfrom / recvfrom_blocking(
        cx, fd: Fd, buffer: UserPtr<u8>, length: usize, flags: u32, address: UserPtr<u8>, address_length: UserPtr<i32>
    ) {
        Ok(ReceiveFrom { fd, buffer, length, flags, address, address_length })
    }

    /// recvmsg(2).
    recvmsg / recvmsg_blocking(cx, fd: Fd, message: UserPtr<u8>, flags: u32) {
        Ok(ReceiveMessage { fd, message, flags })
    }
}
