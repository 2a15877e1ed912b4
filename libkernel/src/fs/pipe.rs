//! Pipes: a ring of bytes with a reading and a writing side (pipe(7)).
//!
//! The ring is made of pages that are allocated when they are first written and kept while the pipe holds data; an
//! empty pipe keeps one, so that a ping-pong allocates nothing. Writers of at most `PIPE_BUF` bytes are atomic. Nothing here
//! sleeps: full and empty are `EAGAIN`.
//!
//! What splice(2) moves elsewhere stays in the ring until the target has taken it. Meanwhile the ring is claimed: other readers
//! find nothing and are woken afterwards, so that bytes neither get lost nor change their order, and no lock is held while
//! the target works. What it brings from elsewhere has its room, and a page for it, set aside before the source gives it.
#![forbid(unsafe_code)]

mod ring;

use alloc::sync::Arc;

use ring::{Filling, Ring};

use super::file_object::FileObject;
use super::open_flags::OpenFlags;
use crate::io::{IoSink, IoSource, SliceSink};
use crate::memory::{PAGE_SIZE, Page};
use crate::poll::{PollEvents, PollTable};
use crate::sync::{SpinLock, WaitQueue};
use crate::{Errno, Result};

/// The capacity of a new pipe in bytes.
pub const DEFAULT_CAPACITY: usize = 64 * 1024;

/// The most that an unprivileged program may make of it (`/proc/sys/fs/pipe-max-size`).
pub const MAX_CAPACITY: usize = 1 << 20;

/// Up to this many bytes a write is atomic.
pub const PIPE_BUF: usize = 4096;

/// A pipe.
pub struct Pipe {
    ring: SpinLock<Ring>,
    /// Whether opens wait for the other side, as those of a FIFO do.
    opens_wait: bool,
    /// Woken when there is something to read, or nobody left to write it. What is written wakes one reader, who wakes the next if it
    /// leaves something.
    readable: Arc<WaitQueue>,
    /// Woken when there is room, or nobody left to read.
    writable: Arc<WaitQueue>,
}

impl Pipe {
    /// An empty pipe that nobody has open.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new() -> Result<Arc<Self>> {
        Self::make(false)
    }

    /// The pipe behind a FIFO: whoever opens a side of it waits for the other.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn for_fifo() -> Result<Arc<Self>> {
        Self::make(true)
    }

    fn make(opens_wait: bool) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            opens_wait,
            ring: SpinLock::new(Ring::with_capacity(DEFAULT_CAPACITY)?),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
        }))
    }

    /// Opens an end, or with both flags both.
    #[must_use]
    pub fn open(self: &Arc<Self>, reads: bool, writes: bool) -> PipeEnd {
        let mut ring = self.ring.lock();
        if reads {
            ring.readers += 1;
            ring.reader_opens += 1;
        }
        if writes {
            ring.writers += 1;
            ring.writer_opens += 1;
        }
        let end = PipeEnd {
            pipe: self.clone(),
            reads,
            writes,
            reader_opens: ring.reader_opens,
            writer_opens: if ring.writers > 0 { 0 } else { ring.writer_opens },
        };
        drop(ring);
        if reads {
            self.writable.wake_all();
        }
        if writes {
            self.readable.wake_all();
        }
        end
    }

    /// Whether opens wait for the other side.
    #[must_use]
    pub fn opens_wait(&self) -> bool {
        self.opens_wait
    }

    /// Whether somebody has the reading side open.
    #[must_use]
    pub fn has_readers(&self) -> bool {
        self.ring.lock().readers > 0
    }

    /// Whether somebody has the writing side open.
    #[must_use]
    pub fn has_writers(&self) -> bool {
        self.ring.lock().writers > 0
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// `EAGAIN` while there is nothing and somebody may write; `EFAULT`.
    pub fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        let wanted = sink.remaining();
        if wanted == 0 {
            return Ok(0);
        }
        let mut ring = self.ring.lock();
        if ring.length == 0 {
            return if ring.writers == 0 { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        if ring.claimed {
            return Err(Errno::EAGAIN);
        }
        let count = wanted.min(ring.length);
        let done = match ring.drain_page(sink, count) {
            Some(done) => done?,
            None => ring.drain(sink, count)?,
        };
        drop(ring);
        self.writable.wake_all();
        Ok(done)
    }

    /// Offers the first bytes, up to `buffer`'s length, to `put`, and forgets as many as it took: what it fails to take stays.
    ///
    /// No lock is held meanwhile: `put` may do anything but sleep.
    ///
    /// # Errors
    /// `EAGAIN` as [`read`](Self::read), and what `put` says.
    pub fn move_to(&self, buffer: &mut [u8], put: impl FnOnce(&[u8]) -> Result<usize>) -> Result<usize> {
        let mut ring = self.ring.lock();
        if ring.length == 0 && ring.writers == 0 || buffer.is_empty() {
            return Ok(0);
        }
        if ring.length == 0 || ring.claimed {
            return Err(Errno::EAGAIN);
        }
        let count = buffer.len().min(ring.length);
        let count = ring.copy(&mut SliceSink::new(buffer), count);
        ring.claimed = true;
        drop(ring);
        let moved = put(buffer.get(..count).unwrap_or_default());
        let mut ring = self.ring.lock();
        ring.claimed = false;
        if let Ok(taken) = &moved {
            ring.consume((*taken).min(count));
        }
        drop(ring);
        self.readable.wake_all();
        self.writable.wake_all();
        moved
    }

    /// Lets `take` fill the front of `buffer`, of a page at most, and appends what it says it filled.
    ///
    /// Room and memory are set aside before and no lock is held meanwhile: `take` may do anything but sleep, and what it took from its
    /// source is in the pipe afterwards, even if the last reader has gone.
    ///
    /// # Errors
    /// `EAGAIN`, `EPIPE`, `ENOMEM`, with nothing taken; and what `take` says.
    pub fn move_from(&self, buffer: &mut [u8], take: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<usize> {
        let spare = Page::uninit()?;
        let mut ring = self.ring.lock();
        if ring.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let count = buffer.len().min(PAGE_SIZE).min(ring.room());
        if count == 0 {
            return if buffer.is_empty() { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        ring.reserved += count;
        drop(ring);
        let buffer = buffer.get_mut(..count).unwrap_or_default();
        let moved = take(buffer);
        let mut ring = self.ring.lock();
        ring.reserved -= count;
        if let Ok(taken) = moved {
            ring.append(buffer.get(..taken).unwrap_or_default(), Some(spare));
        }
        drop(ring);
        self.readable.wake_all();
        self.writable.wake_all();
        moved
    }

    /// Writes what there is room for; up to [`PIPE_BUF`] bytes all or nothing.
    ///
    /// # Errors
    /// `EAGAIN`, `EPIPE`, `EFAULT`, `ENOMEM`.
    pub fn write(&self, source: &mut dyn IoSource) -> Result<usize> {
        let wanted = source.remaining();
        if wanted == 0 {
            return Ok(0);
        }
        let mut ring = self.ring.lock();
        if ring.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let room = ring.room();
        if room == 0 || (wanted <= PIPE_BUF && room < wanted) {
            return Err(Errno::EAGAIN);
        }
        let count = wanted.min(room);
        let done = match ring.fill_page(source, count) {
            Some(done) => done?,
            None => ring.fill(source, count)?,
        };
        drop(ring);
        self.readable.wake_one();
        Ok(done)
    }

    /// The capacity in bytes (`F_GETPIPE_SZ`).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.lock().capacity()
    }

    /// Sets the capacity, rounded up to a power of two pages; returns what it became (`F_SETPIPE_SZ`).
    ///
    /// # Errors
    /// `EINVAL`, `EBUSY` when it holds more than that, `ENOMEM`. It is then as it was.
    pub fn set_capacity(&self, capacity: usize) -> Result<usize> {
        if capacity > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let capacity = capacity.max(PAGE_SIZE).next_power_of_two();
        let mut fresh = Ring::with_capacity(capacity)?;
        let mut ring = self.ring.lock();
        if ring.length + ring.reserved > capacity {
            return Err(Errno::EBUSY);
        }
        // Only when all has been copied does the old content go.
        if ring.copy(&mut Filling(&mut fresh), ring.length) < ring.length {
            return Err(Errno::ENOMEM);
        }
        (ring.pages, ring.head, ring.length) = (fresh.pages, fresh.head, fresh.length);
        drop(ring);
        self.writable.wake_all();
        Ok(capacity)
    }
}

/// An open end of a pipe, or both ends of a FIFO that was opened for reading and writing.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// How many readers had come when this end was opened.
    reader_opens: u64,
    /// How many writers had come when this end was opened and there was none; 0 if there was one.
    writer_opens: u64,
}

impl PipeEnd {
    /// The pipe.
    #[must_use]
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl FileObject for PipeEnd {
    fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        self.pipe.read(sink)
    }

    fn write(&self, source: &mut dyn IoSource) -> Result<usize> {
        self.pipe.write(source)
    }

    fn wait_queue(&self, reading: bool) -> Option<&WaitQueue> {
        Some(if reading { &self.pipe.readable } else { &self.pipe.writable })
    }

    fn would_block(&self, reading: bool) -> bool {
        let ring = self.pipe.ring.lock();
        if reading {
            ring.claimed || ring.length == 0 && ring.writers > 0
        } else {
            ring.room() == 0 && ring.readers > 0
        }
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        if self.reads {
            table.register(&self.pipe.readable);
        }
        if self.writes {
            table.register(&self.pipe.writable);
        }
        let ring = self.pipe.ring.lock();
        let mut events = PollEvents::empty();
        if self.reads {
            events.set(PollEvents::READABLE, ring.length > 0 && !ring.claimed);
            events.set(PollEvents::HUP, ring.writers == 0 && ring.writer_opens != self.writer_opens);
        }
        if self.writes {
            events.set(PollEvents::WRITABLE, ring.room() >= PIPE_BUF);
            events.set(PollEvents::ERR, ring.readers == 0);
        }
        events
    }

    fn knows_no_wait(&self) -> bool {
        true
    }

    fn readable_bytes(&self) -> Result<usize> {
        Ok(self.pipe.ring.lock().length)
    }

    fn is_open(&self, table: &mut PollTable<'_>, flags: OpenFlags) -> bool {
        if flags.contains(OpenFlags::NON_BLOCKING) || self.reads == self.writes || !self.pipe.opens_wait {
            return true;
        }
        if self.reads {
            table.register(&self.pipe.readable);
            let ring = self.pipe.ring.lock();
            return ring.writers > 0 || ring.writer_opens != self.writer_opens;
        }
        table.register(&self.pipe.writable);
        let ring = self.pipe.ring.lock();
        ring.readers > 0 || ring.reader_opens != self.reader_opens
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        {
            let mut ring = self.pipe.ring.lock();
            ring.readers -= u32::from(self.reads);
            ring.writers -= u32::from(self.writes);
            if ring.readers == 0 && ring.writers == 0 {
                // A FIFO that nobody has open holds nothing.
                ring.length = 0;
                ring.head = 0;
                ring.pages.iter_mut().for_each(|page| *page = None);
            }
        }
        self.pipe.readable.wake_all();
        self.pipe.writable.wake_all();
    }
}

#[cfg(test)]
mod tests;
