//! Where bytes go to and come from, whoever holds them: a user's buffer, a kernel slice.
//!
//! Objects (files, pipes, terminals) move bytes through these traits and so need not know about user memory.
//! A copy never sleeps and never pages anything in, so it may be made under a spin lock: a user page that is not
//! there ends the copy early, and the system-call layer makes it present and tries again.
#![forbid(unsafe_code)]

/// A destination for bytes.
pub trait IoSink {
    /// How many bytes more it takes.
    fn remaining(&self) -> usize;

    /// Takes bytes and returns how many; fewer than given means that it is full, or that its memory faulted.
    fn put(&mut self, bytes: &[u8]) -> usize;

    /// Takes `count` zeros, as [`put`](Self::put) does.
    fn put_zeros(&mut self, count: usize) -> usize {
        const ZEROS: [u8; 256] = [0; 256];
        let mut done = 0;
        while done < count {
            let Some(chunk) = ZEROS.get(..ZEROS.len().min(count - done)) else { break };
            let accepted = self.put(chunk);
            done += accepted;
            if accepted < chunk.len() {
                break;
            }
        }
        done
    }
}

/// A source of bytes.
pub trait IoSource {
    /// How many bytes are left in it.
    fn remaining(&self) -> usize;

    /// Fills `buffer` from the front and returns how many bytes; fewer than asked for means that it is empty, or that
    /// its memory faulted.
    fn take(&mut self, buffer: &mut [u8]) -> usize;
}

/// A kernel slice that bytes are put into.
pub struct SliceSink<'a> {
    bytes: &'a mut [u8],
    filled: usize,
}

impl<'a> SliceSink<'a> {
    /// Fills `bytes` from the front.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, filled: 0 }
    }

    /// How many bytes were put so far.
    pub fn filled(&self) -> usize {
        self.filled
    }
}

impl IoSink for SliceSink<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.filled
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let room = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.filled += count;
        count
    }
}

/// A kernel slice that bytes are taken from.
pub struct SliceSource<'a> {
    bytes: &'a [u8],
}

impl<'a> SliceSource<'a> {
    /// Takes from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl IoSource for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.bytes.len());
        let (now, later) = self.bytes.split_at(count);
        if let Some(front) = buffer.get_mut(..count) {
            front.copy_from_slice(now);
        }
        self.bytes = later;
        count
    }
}
