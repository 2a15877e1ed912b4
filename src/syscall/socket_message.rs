//! Sending and receiving on sockets: sendto(2), sendmsg(2), sendmmsg(2), recvfrom(2), recvmsg(2), recvmmsg(2).
//!
//! Each call makes a [`Sending`] or a [`Receiving`] from its arguments, which tries, makes user pages present where a copy faulted, and tries again.
//! The waiting part makes it anew; a stream that took some bytes already goes on behind them.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::Fd;
use libkernel::machine;
use libkernel::memory::{UserBuffer, UserBytes, UserPtr, UserSlice};
use libkernel::net::SocketType;
use libkernel::net::unix::{self, Ancillary, Endpoint, Received};
use libkernel::process::Thread;
use libkernel::signal::Signal;
use libkernel::task::yield_now;
use libkernel::{Errno, Result};
use linux_raw_sys::net as linux;

use super::control_message::Control;
use super::outcome::calls_that_wait;
use super::socket::{GivenAddress, OpenSocket, wait, write_address};
use super::time::TimeSpec;
use super::{Context, Outcome};

/// The length of a `struct msghdr` and of a `struct mmsghdr`, and where in them the parts are that are written.
const HEADER: usize = 56;
const ENTRY: usize = 64;
const NAME_LENGTH: usize = 8;
const CONTROL_LENGTH: usize = 40;
const FLAGS: usize = 48;

/// The most buffers of a message, and messages of a call (`UIO_MAXIOV`).
const MOST: usize = 1024;

/// recvmmsg(2): wait for the first message alone.
const MSG_WAITFORONE: u32 = 0x10000;

/// A `struct msghdr` as the program passed it.
struct Header {
    at: UserPtr<u8>,
    name: UserPtr<u8>,
    name_length: i32,
    bytes: UserSlice,
    control: Control,
}

impl Header {
    /// `EFAULT`, `EINVAL`, `EMSGSIZE`, `ENOBUFS`.
    fn read(cx: &Context, at: UserPtr<u8>) -> Result<Self> {
        let space = cx.thread.space();
        let [name, name_length, vector, count, control, control_length, _] =
            space.read_value(at.cast::<[u64; HEADER / 8]>())?;
        let name = UserPtr::new(name);
        let name_length = if name.is_null() { 0 } else { name_length as i32 };
        if name_length < 0 {
            return Err(Errno::EINVAL);
        }
        let count = usize::try_from(count).ok().filter(|count| *count <= MOST).ok_or(Errno::EMSGSIZE)?;
        let bytes = UserSlice::from_iovec(&space, UserPtr::new(vector), count)?;
        let length = i32::try_from(control_length).map_err(|_| Errno::ENOBUFS)? as usize;
        let control = Control { address: UserPtr::new(control), length };
        // Longer than any address is cut, as on Linux.
        Ok(Self { at, name, name_length: name_length.min(128), bytes, control })
    }
}

/// A call that moved something succeeds, whatever stopped it.
fn partial(done: usize, error: Errno) -> Result<usize> {
    if done > 0 { Ok(done) } else { Err(error) }
}

/// A message or bytes on their way out.
struct Sending<B> {
    open: OpenSocket,
    bytes: B,
    /// Where a datagram goes, if not to the partner.
    target: Option<Arc<Endpoint>>,
    ancillary: Ancillary,
    flags: u32,
    done: usize,
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
    fn start(&mut self, thread: &Thread) -> Option<Result<usize>> {
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
    async fn finish(&mut self, thread: &Thread, done: usize) -> Result<usize> {
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
    fn message(cx: &Context, fd: Fd, message: UserPtr<u8>, flags: u32) -> Result<Self> {
        let Header { name, name_length, bytes, control, .. } = Header::read(cx, message)?;
        let mut sending = Self::new(cx, fd, bytes, flags, name, name_length)?;
        if !control.address.is_null() {
            sending.ancillary = control.read(cx)?;
        }
        Ok(sending)
    }
}

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

/// recvmsg(2).
struct ReceiveMessage {
    fd: Fd,
    message: UserPtr<u8>,
    flags: u32,
}

impl ReceiveMessage {
    /// The synchronous part; `None`, and how far it came: it has to wait.
    fn attempt(&self, cx: &Context, done: &mut usize) -> Result<Option<usize>> {
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

    async fn wait(&self, cx: &Context, done: usize) -> Result<usize> {
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

/// sendmmsg(2) and recvmmsg(2): several messages, the lengths of which are written behind their headers.
struct Several {
    fd: Fd,
    messages: UserPtr<u8>,
    count: usize,
    flags: u32,
    sends: bool,
    timeout: UserPtr<TimeSpec>,
}

impl Several {
    fn at(&self, index: usize) -> UserPtr<u8> {
        self.messages.byte_add(index * ENTRY)
    }

    fn note(&self, cx: &Context, index: usize, length: usize) -> Result<()> {
        cx.thread.space().write_value(self.at(index).byte_add(HEADER).cast::<u32>(), length as u32)
    }

    /// The flags for a message: after the first one recvmmsg(2) may not want to wait.
    fn flags(&self, index: usize) -> u32 {
        let now = self.flags & MSG_WAITFORONE != 0 && index > 0;
        self.flags & !MSG_WAITFORONE | if now { linux::MSG_DONTWAIT } else { 0 }
    }

    /// When no further message is waited for. `EFAULT`, `EINVAL`.
    fn deadline(&self, cx: &Context) -> Result<Option<u64>> {
        let Some(timeout) = self.timeout.non_null() else { return Ok(None) };
        let [seconds, nanoseconds] = cx.thread.space().read_value(timeout)?;
        let nanoseconds = u64::try_from(nanoseconds).ok().filter(|ns| *ns < 1_000_000_000).ok_or(Errno::EINVAL)?;
        let seconds = u64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
        let span = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
        Ok(Some(machine::monotonic_ns().saturating_add(span)))
    }

    /// One message, as far as that needs no waiting.
    fn attempt(&self, cx: &Context, index: usize, done: &mut usize) -> Result<Option<usize>> {
        let (fd, message, flags) = (self.fd, self.at(index), self.flags(index));
        if !self.sends {
            return ReceiveMessage { fd, message, flags }.attempt(cx, done);
        }
        let mut sending = Sending::message(cx, fd, message, flags)?;
        let result = sending.start(&cx.thread);
        *done = sending.done;
        result.transpose()
    }

    async fn wait(&self, cx: &Context, index: usize, done: usize) -> Result<usize> {
        let (fd, message, flags) = (self.fd, self.at(index), self.flags(index));
        if self.sends {
            let mut sending = Sending::message(cx, fd, message, flags)?;
            sending.finish(&cx.thread, done).await
        } else {
            ReceiveMessage { fd, message, flags }.wait(cx, done).await
        }
    }

    fn start(&self, cx: &mut Context) -> Outcome {
        // Only whether it can be served at once; what it does may be long.
        match OpenSocket::get(cx, self.fd).and_then(|_| self.deadline(cx)) {
            Ok(_) => Outcome::Block,
            Err(error) => Outcome::Done(Err(error)),
        }
    }

    async fn finish(self, cx: &mut Context) -> Result<usize> {
        let deadline = self.deadline(cx)?;
        let mut index = 0;
        let result = loop {
            if index == self.count || (index > 0 && deadline.is_some_and(|time| machine::monotonic_ns() >= time)) {
                break Ok(());
            }
            let mut done = 0;
            let length = match self.attempt(cx, index, &mut done) {
                Ok(Some(length)) => Ok(length),
                Ok(None) => self.wait(cx, index, done).await,
                Err(error) => Err(error),
            };
            if let Err(error) = length.and_then(|length| self.note(cx, index, length)) {
                break Err(error);
            }
            index += 1;
            yield_now().await;
        };
        match result {
            Err(error) if index == 0 => Err(error),
            _ => Ok(index),
        }
    }
}

calls_that_wait! {
    /// sendto(2).
    sendto / sendto_blocking(
        cx, fd: Fd, buffer: UserPtr<u8>, length: usize, flags: u32, address: UserPtr<u8>, address_length: i32
    ) {
        Ok(SendTo { fd, buffer, length, flags, address, address_length })
    }

    /// recvfrom(2).
    recvfrom / recvfrom_blocking(
        cx, fd: Fd, buffer: UserPtr<u8>, length: usize, flags: u32, address: UserPtr<u8>, address_length: UserPtr<i32>
    ) {
        Ok(ReceiveFrom { fd, buffer, length, flags, address, address_length })
    }

    /// sendmsg(2).
    sendmsg / sendmsg_blocking(cx, fd: Fd, message: UserPtr<u8>, flags: u32) {
        Ok(SendMessage { fd, message, flags })
    }

    /// recvmsg(2).
    recvmsg / recvmsg_blocking(cx, fd: Fd, message: UserPtr<u8>, flags: u32) {
        Ok(ReceiveMessage { fd, message, flags })
    }

    /// sendmmsg(2).
    sendmmsg / sendmmsg_blocking(cx, fd: Fd, messages: UserPtr<u8>, count: u32, flags: u32) {
        Ok(Several { fd, messages, count: MOST.min(count as usize), flags, sends: true, timeout: UserPtr::NULL })
    }

    /// recvmmsg(2).
    recvmmsg / recvmmsg_blocking(
        cx, fd: Fd, messages: UserPtr<u8>, count: u32, flags: u32, timeout: UserPtr<TimeSpec>
    ) {
        Ok(Several { fd, messages, count: MOST.min(count as usize), flags, sends: false, timeout })
    }
}
