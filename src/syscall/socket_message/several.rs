//! Several messages at once: sendmmsg(2), recvmmsg(2).
#![forbid(unsafe_code)]

use libkernel::fs::Fd;
use libkernel::machine;
use libkernel::memory::UserPtr;
use libkernel::process::clock::to_timespec;
use libkernel::task::yield_now;
use libkernel::{Errno, Result};
use linux_raw_sys::net as linux;

use super::header::{HEADER, MOST};
use super::receive::ReceiveMessage;
use super::send::Sending;
use super::{Context, Outcome};
use crate::syscall::outcome::calls_that_wait;
use crate::syscall::socket::OpenSocket;
use crate::syscall::time::TimeSpec;

/// The length of a `struct mmsghdr`.
const ENTRY: usize = 64;

/// recvmmsg(2): wait for the first message alone.
const MSG_WAITFORONE: u32 = 0x10000;

/// sendmmsg(2) and recvmmsg(2): several messages, the lengths of which are written behind their headers.
struct Several {
    fd: Fd,
    messages: UserPtr<u8>,
    count: usize,
    flags: u32,
    sends: bool,
    /// How long recvmmsg(2) goes on to ask for messages; what was left of that behind the last one is written there.
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
        let mut left = None;
        let mut index = 0;
        let result = loop {
            if index == self.count || left == Some(0) {
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
            left = deadline.map(|time| time.saturating_sub(machine::monotonic_ns()));
            yield_now().await;
        };
        if let Some(left) = left {
            cx.thread.space().write_value(self.timeout, to_timespec(left))?;
        }
        match result {
            Err(error) if index == 0 => Err(error),
            _ => Ok(index),
        }
    }
}

calls_that_wait! {
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
