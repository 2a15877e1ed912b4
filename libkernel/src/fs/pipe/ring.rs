//! The ring of pages behind a pipe, and the counts of its two sides.
//!
//! Positions below the capacity, one step at a time: the parts of a copy that wrap around the end or cross pages are done here. Nothing
//! sleeps; memory is allocated where bytes are put, fallibly.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::PIPE_BUF;
use crate::io::{IoSink, IoSource, SliceSource};
use crate::memory::{PAGE_SIZE, Page};
use crate::{Errno, Result};

/// The bytes of a pipe, and who has it open. The pipe's lock is held.
pub(super) struct Ring {
    pub pages: Vec<Option<Page>>,
    /// Where the first byte is, below the capacity.
    pub head: usize,
    /// How many bytes there are.
    pub length: usize,
    /// Whether somebody moves the first bytes elsewhere, so that nobody else may take any.
    pub claimed: bool,
    /// How much of the room is set aside for what is brought from elsewhere.
    pub reserved: usize,
    pub readers: u32,
    pub writers: u32,
    /// How many ends were ever opened, so that an opener that waits does not miss one that came and went.
    pub reader_opens: u64,
    pub writer_opens: u64,
}

impl Ring {
    pub fn with_capacity(capacity: usize) -> Result<Self> {
        let mut pages = Vec::new();
        let count = capacity / PAGE_SIZE;
        pages.try_reserve_exact(count)?;
        pages.resize(count, None);
        Ok(Self {
            pages,
            head: 0,
            length: 0,
            claimed: false,
            reserved: 0,
            readers: 0,
            writers: 0,
            reader_opens: 0,
            writer_opens: 0,
        })
    }

    pub fn capacity(&self) -> usize {
        self.pages.len() * PAGE_SIZE
    }

    pub fn room(&self) -> usize {
        self.capacity() - self.length - self.reserved
    }

    /// As [`fill`](Self::fill), for what goes to one page that is there already; `None`: it does not.
    #[inline]
    pub fn fill_page(&mut self, source: &mut dyn IoSource, count: usize) -> Option<Result<usize>> {
        let position = self.head + self.length;
        let within = position % PAGE_SIZE;
        if within + count > PAGE_SIZE {
            return None;
        }
        let page = self.pages.get(position / PAGE_SIZE)?.as_ref()?;
        if page.fill_from(source, within, count) < count {
            return Some(Err(Errno::EFAULT));
        }
        self.length += count;
        Some(Ok(count))
    }

    /// Takes up to `count` bytes, for which there is room, from `source`.
    #[inline(never)]
    pub fn fill(&mut self, source: &mut dyn IoSource, count: usize) -> Result<usize> {
        let capacity = self.capacity();
        let mut done = 0;
        while done < count {
            let mut position = self.head + self.length + done;
            if position >= capacity {
                position -= capacity;
            }
            let within = position % PAGE_SIZE;
            let length = (PAGE_SIZE - within).min(count - done);
            let Some(slot) = self.pages.get_mut(position / PAGE_SIZE) else { break };
            let page = match slot {
                Some(page) => page,
                None if done > 0 && count > PIPE_BUF => match Page::uninit() {
                    Ok(page) => slot.insert(page),
                    Err(_) => break,
                },
                None => slot.insert(Page::uninit()?),
            };
            let taken = page.fill_from(source, within, length);
            done += taken;
            if taken < length {
                break;
            }
        }
        if done == 0 || (done < count && count <= PIPE_BUF) {
            // Not one byte of an atomic write is in the pipe before all are.
            return Err(Errno::EFAULT);
        }
        self.length += done;
        Ok(done)
    }

    /// As [`drain`](Self::drain), for what is in one page; `None`: it is not.
    #[inline]
    pub fn drain_page(&mut self, sink: &mut dyn IoSink, count: usize) -> Option<Result<usize>> {
        let within = self.head % PAGE_SIZE;
        // Up to the page's end there is nothing to wrap.
        if within + count >= PAGE_SIZE {
            return None;
        }
        let put = self.pages.get(self.head / PAGE_SIZE)?.as_ref()?.copy_to(sink, within, count);
        self.head += put;
        self.length -= put;
        if self.length == 0 {
            self.reset();
        }
        Some(if put == 0 { Err(Errno::EFAULT) } else { Ok(put) })
    }

    /// Delivers up to `count` bytes, which there are, to `sink`.
    #[inline(never)]
    pub fn drain(&mut self, sink: &mut dyn IoSink, count: usize) -> Result<usize> {
        let done = self.copy(sink, count);
        self.consume(done);
        if done == 0 { Err(Errno::EFAULT) } else { Ok(done) }
    }

    /// Copies up to `count` bytes, which there are and which stay, to `sink`; returns how many it took.
    pub fn copy(&self, sink: &mut dyn IoSink, count: usize) -> usize {
        let capacity = self.capacity();
        let mut done = 0;
        while done < count {
            let mut position = self.head + done;
            if position >= capacity {
                position -= capacity;
            }
            let within = position % PAGE_SIZE;
            let length = (PAGE_SIZE - within).min(count - done);
            let Some(Some(page)) = self.pages.get(position / PAGE_SIZE) else { break };
            let put = page.copy_to(sink, within, length);
            done += put;
            if put < length {
                break;
            }
        }
        done
    }

    /// Appends up to a page of bytes, for which there is room. `spare` takes the place of the one page that may be missing.
    pub fn append(&mut self, bytes: &[u8], mut spare: Option<Page>) {
        let capacity = self.capacity();
        let mut left = bytes;
        while !left.is_empty() {
            let mut position = self.head + self.length;
            if position >= capacity {
                position -= capacity;
            }
            let within = position % PAGE_SIZE;
            let (now, later) = left.split_at((PAGE_SIZE - within).min(left.len()));
            let Some(slot) = self.pages.get_mut(position / PAGE_SIZE) else { return };
            if slot.is_none() {
                *slot = spare.take();
            }
            let Some(page) = slot else { return };
            page.write(within, now);
            self.length += now.len();
            left = later;
        }
    }

    /// Forgets the first `count` bytes, which there are.
    pub fn consume(&mut self, count: usize) {
        let capacity = self.capacity();
        self.head += count;
        if self.head >= capacity {
            self.head -= capacity;
        }
        self.length -= count;
        if self.length == 0 {
            self.reset();
        }
    }

    /// Starts again at the first page, and lets the others go.
    pub fn reset(&mut self) {
        let used = self.head / PAGE_SIZE;
        self.head = 0;
        if used > 0 || self.pages.get(1).is_some_and(Option::is_some) {
            self.pages.iter_mut().skip(1).for_each(|page| *page = None);
        }
    }
}

/// A ring that takes what another gives.
pub(super) struct Filling<'a>(pub &'a mut Ring);

impl IoSink for Filling<'_> {
    fn remaining(&self) -> usize {
        self.0.room()
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        self.0.fill(&mut SliceSource::new(bytes), bytes.len()).unwrap_or(0)
    }
}
