//! What was sent to a socket and is not received yet.
//!
//! All bytes stand in one queue. Marks say which of them belong together: each message of a socket that keeps their bounds has one,
//! and in a stream those bytes that something goes with. So a plain stream allocates nothing for a write. Nothing here sleeps.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::ancillary::{Ancillary, Identity, Received};
use super::byte_queue::ByteQueue;
use crate::fs::OpenFile;
use crate::io::{IoSink, IoSource};
use crate::{Errno, Result};

/// A write that finds any room at all is taken up to this many bytes, so that it is not torn and a stream that is writable to poll(2)
/// takes a page.
const WHOLE: usize = 4096;

/// What a mark counts for, in bytes, so that messages without content have a limit too.
const MARK_COST: usize = 256;

/// Bytes that belong together.
struct Mark {
    /// Where they begin and end, counted from the first byte that ever was in the queue.
    begin: u64,
    end: u64,
    ancillary: Ancillary,
}

/// What was in a queue.
#[must_use]
pub struct Content {
    _bytes: ByteQueue,
    _marks: VecDeque<Mark>,
}

/// How a receiver wants to have it.
#[derive(Clone, Copy, Default)]
pub struct Manner {
    /// Only look (`MSG_PEEK`).
    pub peek: bool,
    /// The receiver is told who sent what (`SO_PASSCRED`), so a stream's bytes of several senders are not mixed.
    pub identities: bool,
}

/// A queue of bytes or messages, with its end.
#[derive(Default)]
pub struct Incoming {
    bytes: ByteQueue,
    /// How many bytes were removed so far.
    position: u64,
    marks: VecDeque<Mark>,
    /// Nothing more comes in: the receiver does not want it, or the sender does not send.
    pub ended: bool,
    /// The receiver is gone.
    pub closed: bool,
    /// What the receiver is to be told once.
    pub error: Option<Errno>,
}

impl Incoming {
    /// Whether there is something to receive, be it an empty message.
    #[inline]
    pub fn has_content(&self) -> bool {
        !self.bytes.is_empty() || !self.marks.is_empty()
    }

    /// How many bytes a stream has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes the first message has.
    pub fn first_length(&self) -> usize {
        self.marks.front().map_or(0, |mark| (mark.end - mark.begin) as usize)
    }

    /// How many messages there are.
    pub fn messages(&self) -> usize {
        self.marks.len()
    }

    /// What it counts for against a sender's limit.
    #[inline]
    pub fn charge(&self) -> usize {
        self.bytes.len() + self.marks.len() * MARK_COST
    }

    fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }

    /// Appends bytes for which there is room; what goes with them goes with all, the descriptors with the first.
    ///
    /// # Errors
    /// `EPIPE`, `EAGAIN`, `EFAULT`, `ENOMEM`.
    #[inline]
    pub fn send_bytes(
        &mut self,
        source: &mut dyn IoSource,
        limit: usize,
        ancillary: Option<&mut Ancillary>,
    ) -> Result<usize> {
        if self.ended {
            return Err(Errno::EPIPE);
        }
        let wanted = source.remaining();
        if wanted == 0 {
            return Ok(0);
        }
        let used = self.charge();
        if used >= limit {
            return Err(Errno::EAGAIN);
        }
        let count = wanted.min(WHOLE.max(limit - used));
        if let Some(ancillary) = ancillary
            && !ancillary.is_empty()
        {
            return self.send_marked(source, count, ancillary);
        }
        let done = self.bytes.fill(source, count)?;
        if done == 0 { Err(Errno::EFAULT) } else { Ok(done) }
    }

    #[inline(never)]
    fn send_marked(&mut self, source: &mut dyn IoSource, count: usize, ancillary: &mut Ancillary) -> Result<usize> {
        self.marks.try_reserve(1)?;
        let begin = self.end();
        let done = self.bytes.fill(source, count)?;
        if done == 0 {
            return Err(Errno::EFAULT);
        }
        let end = self.end();
        let ancillary = ancillary.split_first();
        match self.marks.back_mut() {
            Some(last)
                if last.end == begin
                    && last.ancillary.identity == ancillary.identity
                    && last.ancillary.descriptors.is_none()
                    && ancillary.descriptors.is_none() =>
            {
                last.end = end;
            }
            _ => self.marks.push_back(Mark { begin, end, ancillary }),
        }
        Ok(done)
    }

    /// Appends a message, all of `source`.
    ///
    /// # Errors
    /// `EPIPE`, `EAGAIN`, `EFAULT`, `ENOMEM`; nothing is appended then.
    pub fn send_message(
        &mut self,
        source: &mut dyn IoSource,
        limit: usize,
        ancillary: &mut Ancillary,
    ) -> Result<usize> {
        if self.ended {
            return Err(Errno::EPIPE);
        }
        if self.charge() >= limit {
            return Err(Errno::EAGAIN);
        }
        let count = source.remaining();
        self.marks.try_reserve(1)?;
        let begin = self.end();
        let done = self.bytes.fill(source, count)?;
        if done < count {
            self.bytes.retract(done);
            return Err(Errno::EFAULT);
        }
        self.marks.push_back(Mark { begin, end: self.end(), ancillary: ancillary.split_first() });
        Ok(count)
    }

    /// What there is to say when nothing is there: an error, once; the end; or that something may come.
    #[inline]
    fn nothing(&mut self) -> Result<usize> {
        match self.error.take() {
            Some(error) => Err(error),
            None if self.ended => Ok(0),
            None => Err(Errno::EAGAIN),
        }
    }

    /// Removes the first bytes of a stream and delivers them, as far as nothing goes with them.
    ///
    /// # Errors
    /// `EAGAIN`, `EFAULT`, and the error that the receiver is to be told.
    #[inline]
    pub fn receive_bytes(&mut self, sink: &mut dyn IoSink, manner: Manner, received: &mut Received) -> Result<usize> {
        if self.bytes.is_empty() {
            return self.nothing();
        }
        if manner.peek || manner.identities || !self.marks.is_empty() {
            return self.receive_marked(sink, manner, received);
        }
        let wanted = sink.remaining();
        let done = self.bytes.copy(sink, 0, wanted);
        if done == 0 && wanted > 0 {
            return Err(Errno::EFAULT);
        }
        self.remove(done);
        Ok(done)
    }

    #[inline]
    fn remove(&mut self, count: usize) {
        self.bytes.discard(count);
        self.position += count as u64;
    }

    /// As [`receive_bytes`](Self::receive_bytes), with what goes with them. Bytes of different senders, where that matters, and bytes behind
    /// descriptors are left for the next call.
    #[inline(never)]
    fn receive_marked(&mut self, sink: &mut dyn IoSink, manner: Manner, received: &mut Received) -> Result<usize> {
        let (mut done, mut passed, mut faulted) = (0, 0, false);
        while done < self.bytes.len() && sink.remaining() > 0 && received.ancillary.descriptors.is_none() {
            let at = self.position + done as u64;
            let mark = self.marks.get_mut(passed);
            let (until, within) = match &mark {
                Some(mark) if mark.begin <= at => (mark.end, true),
                Some(mark) => (mark.begin, false),
                None => (self.position + self.bytes.len() as u64, false),
            };
            if manner.identities {
                let identity = mark.as_ref().filter(|_| within).and_then(|mark| mark.ancillary.identity);
                let identity = identity.unwrap_or(Identity::UNKNOWN);
                if *received.ancillary.identity.get_or_insert(identity) != identity {
                    break;
                }
            }
            let wanted = sink.remaining().min((until - at) as usize);
            let put = self.bytes.copy(sink, done, wanted);
            faulted = put < wanted;
            if put == 0 {
                break;
            }
            done += put;
            if let Some(mark) = mark.filter(|_| within) {
                received.ancillary.descriptors = match (&mark.ancillary.descriptors, manner.peek) {
                    (Some(descriptors), true) => Some(descriptors.duplicate()?),
                    _ => mark.ancillary.descriptors.take(),
                };
                passed += usize::from(at + put as u64 == until);
            }
            if faulted {
                break;
            }
        }
        if done == 0 && faulted {
            return Err(Errno::EFAULT);
        }
        if !manner.peek {
            self.marks.drain(..passed.min(self.marks.len()));
            self.remove(done);
        }
        Ok(done)
    }

    /// Removes the first message and delivers as much of it as `sink` takes.
    ///
    /// # Errors
    /// As [`receive_bytes`](Self::receive_bytes); after `EFAULT` the message is still there.
    pub fn receive_message(&mut self, sink: &mut dyn IoSink, manner: Manner, received: &mut Received) -> Result<usize> {
        let Some(mark) = self.marks.front_mut() else { return self.nothing() };
        let length = (mark.end - mark.begin) as usize;
        let wanted = length.min(sink.remaining());
        if self.bytes.copy(sink, 0, wanted) < wanted {
            return Err(Errno::EFAULT);
        }
        received.length = length;
        if manner.peek {
            let descriptors = mark.ancillary.descriptors.as_ref();
            let descriptors = descriptors.map(super::descriptors::Descriptors::duplicate).transpose()?;
            let Ancillary { sender, identity, .. } = &mark.ancillary;
            received.ancillary = Ancillary { sender: sender.clone(), identity: *identity, descriptors };
        } else {
            received.ancillary = core::mem::take(&mut mark.ancillary);
            self.marks.pop_front();
            self.remove(length);
        }
        if manner.identities {
            received.ancillary.identity.get_or_insert(Identity::UNKNOWN);
        }
        Ok(wanted)
    }

    /// Takes out all that is there, to be dropped where no lock is held.
    pub fn take_content(&mut self) -> Content {
        self.position = self.end();
        Content { _bytes: core::mem::take(&mut self.bytes), _marks: core::mem::take(&mut self.marks) }
    }

    /// Calls `action` with each file that goes with something that is there.
    pub fn for_each_file(&self, mut action: impl FnMut(&Arc<OpenFile>)) {
        let descriptors = self.marks.iter().filter_map(|mark| mark.ancillary.descriptors.as_ref());
        descriptors.flat_map(|descriptors| descriptors.files()).for_each(&mut action);
    }
}
