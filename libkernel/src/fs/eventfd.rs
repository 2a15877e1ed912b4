//! Counters to wait for (eventfd(2)).
#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use super::file_object::FileObject;
use crate::io::{IoSink, IoSource};
use crate::poll::{PollEvents, PollTable};
use crate::sync::{SpinLock, WaitQueue};
use crate::{Errno, Result};

/// The largest value of the counter.
const MAX: u64 = u64::MAX - 1;

/// A counter that writes add to and reads take from.
pub struct EventFd {
    count: SpinLock<u64>,
    /// Each read takes one, instead of all (`EFD_SEMAPHORE`).
    semaphore: bool,
    changed: Arc<WaitQueue>,
}

impl EventFd {
    /// A counter that starts at `count`.
    #[must_use]
    pub fn new(count: u32, semaphore: bool) -> Arc<Self> {
        Arc::new(Self { count: SpinLock::new(count.into()), semaphore, changed: Arc::new(WaitQueue::new()) })
    }
}

impl FileObject for EventFd {
    fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        if sink.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let mut count = self.count.lock();
        if *count == 0 {
            return Err(Errno::EAGAIN);
        }
        let value = if self.semaphore { 1 } else { *count };
        if sink.put(&value.to_ne_bytes()) < 8 {
            return Err(Errno::EFAULT);
        }
        *count -= value;
        drop(count);
        self.changed.wake_all();
        Ok(8)
    }

    fn write(&self, source: &mut dyn IoSource) -> Result<usize> {
        if source.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 8];
        if source.take(&mut bytes) < 8 {
            return Err(Errno::EFAULT);
        }
        let value = u64::from_ne_bytes(bytes);
        if value > MAX {
            return Err(Errno::EINVAL);
        }
        let mut count = self.count.lock();
        *count = count.checked_add(value).filter(|sum| *sum <= MAX).ok_or(Errno::EAGAIN)?;
        drop(count);
        self.changed.wake_all();
        Ok(8)
    }

    fn knows_no_wait(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.register(&self.changed);
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, count > 0);
        events.set(PollEvents::WRITABLE, count < MAX);
        events
    }

    fn describe(&self) -> String {
        format!("eventfd-count: {:16x}\n", *self.count.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{SliceSink, SliceSource};

    fn read(event: &EventFd) -> Result<u64> {
        let mut bytes = [0; 8];
        event.read(&mut SliceSink::new(&mut bytes))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn write(event: &EventFd, value: u64) -> Result<usize> {
        event.write(&mut SliceSource::new(&value.to_ne_bytes()))
    }

    #[test]
    fn a_read_takes_all_or_as_a_semaphore_one() {
        let (all, one) = (EventFd::new(3, false), EventFd::new(2, true));
        assert_eq!((read(&all), read(&all)), (Ok(3), Err(Errno::EAGAIN)));
        assert_eq!((read(&one), read(&one), read(&one)), (Ok(1), Ok(1), Err(Errno::EAGAIN)));
    }

    #[test]
    fn the_counter_does_not_overflow() {
        let event = EventFd::new(1, false);
        assert_eq!(write(&event, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(write(&event, u64::MAX - 1), Err(Errno::EAGAIN));
        assert_eq!(write(&event, u64::MAX - 2), Ok(8));
        assert_eq!(event.poll(&mut PollTable::query()), PollEvents::READABLE);
        assert_eq!(read(&event), Ok(u64::MAX - 1));
    }
}
