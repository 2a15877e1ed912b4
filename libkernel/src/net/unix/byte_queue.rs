//! A queue of bytes in pages.
//!
//! Pages are allocated where bytes are put and freed when they are taken; one stays, so that short messages that are taken as soon
//! as they came allocate nothing. Whoever owns the queue limits its length. Nothing here sleeps.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;

use crate::Result;
use crate::io::{IoSink, IoSource};
use crate::memory::{PAGE_SIZE, Page};

/// A queue of bytes.
///
/// # Invariants
/// `head` is below `PAGE_SIZE`, and the pages hold at least `head + length` bytes.
#[derive(Default)]
pub struct ByteQueue {
    pages: VecDeque<Page>,
    /// Where in the first page the first byte is.
    head: usize,
    length: usize,
}

impl ByteQueue {
    /// How many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends `count` bytes of `source`; returns how many came, which are fewer after a fault.
    ///
    /// # Errors
    /// `ENOMEM`, with nothing appended.
    #[inline]
    pub fn fill(&mut self, source: &mut dyn IoSource, count: usize) -> Result<usize> {
        let position = self.head + self.length;
        let within = position % PAGE_SIZE;
        if within + count <= PAGE_SIZE
            && let Some(page) = self.pages.get(position / PAGE_SIZE)
        {
            let taken = page.fill_from(source, within, count);
            self.length += taken;
            return Ok(taken);
        }
        self.fill_pages(source, count)
    }

    #[inline(never)]
    fn fill_pages(&mut self, source: &mut dyn IoSource, count: usize) -> Result<usize> {
        self.reserve(count)?;
        let mut done = 0;
        while done < count {
            let position = self.head + self.length;
            let within = position % PAGE_SIZE;
            let length = (PAGE_SIZE - within).min(count - done);
            let Some(page) = self.pages.get(position / PAGE_SIZE) else { break };
            let taken = page.fill_from(source, within, length);
            done += taken;
            self.length += taken;
            if taken < length {
                break;
            }
        }
        Ok(done)
    }

    /// Makes room for `count` bytes more.
    fn reserve(&mut self, count: usize) -> Result<()> {
        let wanted = self.head.saturating_add(self.length).saturating_add(count).div_ceil(PAGE_SIZE);
        self.pages.try_reserve(wanted.saturating_sub(self.pages.len()))?;
        while self.pages.len() < wanted {
            self.pages.push_back(Page::uninit()?);
        }
        Ok(())
    }

    /// Takes the last `count` bytes back.
    pub fn retract(&mut self, count: usize) {
        self.length = self.length.saturating_sub(count);
    }

    /// Delivers up to `count` bytes from the `offset`-th on to `sink`; returns how many it took. They stay in the queue.
    #[inline]
    pub fn copy(&self, sink: &mut dyn IoSink, offset: usize, count: usize) -> usize {
        let position = self.head + offset.min(self.length);
        let within = position % PAGE_SIZE;
        let count = count.min(self.length.saturating_sub(offset));
        if within + count <= PAGE_SIZE {
            return self.pages.get(position / PAGE_SIZE).map_or(0, |page| page.copy_to(sink, within, count));
        }
        self.copy_pages(sink, position, count)
    }

    #[inline(never)]
    fn copy_pages(&self, sink: &mut dyn IoSink, position: usize, count: usize) -> usize {
        let mut done = 0;
        while done < count {
            let at = position + done;
            let within = at % PAGE_SIZE;
            let length = (PAGE_SIZE - within).min(count - done);
            let Some(page) = self.pages.get(at / PAGE_SIZE) else { break };
            let put = page.copy_to(sink, within, length);
            done += put;
            if put < length {
                break;
            }
        }
        done
    }

    /// Removes the first `count` bytes.
    #[inline]
    pub fn discard(&mut self, count: usize) {
        self.length = self.length.saturating_sub(count);
        self.head += count;
        if self.length == 0 {
            self.head = 0;
            if self.pages.len() > 1 {
                self.pages.truncate(1);
            }
        } else if self.head >= PAGE_SIZE {
            self.free_pages();
        }
    }

    /// Lets go of the pages before the first byte, but for one to be filled next.
    #[inline(never)]
    fn free_pages(&mut self) {
        while self.head >= PAGE_SIZE {
            self.head -= PAGE_SIZE;
            if let Some(page) = self.pages.pop_front()
                && self.pages.len() * PAGE_SIZE <= self.head + self.length
            {
                self.pages.push_back(page);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{SliceSink, SliceSource};
    use alloc::collections::VecDeque;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Fill(usize),
        Drain(usize),
        Peek(usize, usize),
        Retract(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let size = prop_oneof![0usize..300, 0usize..20_000];
        let step = prop_oneof![
            size.clone().prop_map(Step::Fill),
            size.clone().prop_map(Step::Drain),
            (size.clone(), size).prop_map(|(offset, count)| Step::Peek(offset, count)),
            (0usize..50).prop_map(Step::Retract),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        #[test]
        fn it_is_a_queue_of_bytes_and_keeps_no_more_pages_than_it_needs(steps in steps()) {
            let (mut queue, mut model) = (ByteQueue::default(), VecDeque::new());
            let mut next = 0u8;
            for step in steps {
                match step {
                    Step::Fill(count) => {
                        let bytes: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(7); next }).collect();
                        prop_assert_eq!(queue.fill(&mut SliceSource::new(&bytes), count), Ok(count));
                        model.extend(bytes);
                    }
                    Step::Drain(count) => {
                        let mut bytes = vec![0; count];
                        let put = queue.copy(&mut SliceSink::new(&mut bytes), 0, count);
                        queue.discard(put);
                        prop_assert_eq!(put, count.min(model.len()));
                        prop_assert!(model.drain(..put).eq(bytes[..put].iter().copied()));
                    }
                    Step::Peek(offset, count) => {
                        let mut bytes = vec![0; count];
                        let put = queue.copy(&mut SliceSink::new(&mut bytes), offset, count);
                        prop_assert_eq!(put, count.min(model.len().saturating_sub(offset)));
                        prop_assert!(model.iter().skip(offset).take(put).eq(&bytes[..put]));
                    }
                    Step::Retract(count) => {
                        let count = count.min(model.len());
                        queue.retract(count);
                        model.truncate(model.len() - count);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert!(queue.head < PAGE_SIZE);
                let needed = (queue.head + queue.length).div_ceil(PAGE_SIZE);
                prop_assert!(queue.pages.len() >= needed);
                if let Step::Drain(_) = step {
                    prop_assert!(queue.pages.len() <= needed + 2, "{} pages for {needed}", queue.pages.len());
                }
            }
        }
    }

    #[test]
    fn a_fault_shortens_what_is_appended() {
        struct Faulting(usize);
        impl IoSource for Faulting {
            fn remaining(&self) -> usize {
                10_000
            }
            fn take(&mut self, buffer: &mut [u8]) -> usize {
                let count = self.0.min(buffer.len());
                self.0 -= count;
                count
            }
        }
        let mut queue = ByteQueue::default();
        assert_eq!(queue.fill(&mut Faulting(5000), 10_000), Ok(5000));
        assert_eq!(queue.len(), 5000);
    }
}
