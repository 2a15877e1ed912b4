//! The input side of a terminal's line discipline: 4096 bytes of typed text, with marks where
//! canonical lines end.
//!
//! Owned by the terminal and reached under its lock, in an interrupt too: nothing allocates after
//! construction.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::termios::DISABLED;
use crate::io::IoSink;
use crate::{Errno, Result};

/// Capacity of a terminal's input in bytes; a canonical line holds one less, plus its delimiter.
pub const CAPACITY: usize = 4096;
const MASK: usize = CAPACITY - 1;

/// Typed bytes between the hardware and the reader.
///
/// # Invariants
/// `tail <= line_start <= head` as wrapping counters, and `head - tail <= CAPACITY`. What lies
/// before `line_start` may be read in canonical mode, what lies after it is still being edited.
/// Only bytes between `tail` and `head` are marked.
#[derive(Debug)]
pub struct InputBuffer {
    bytes: Box<[u8]>,
    /// One bit a byte: the byte ends a canonical line. A marked byte of value `DISABLED` is an end
    /// of file and is never handed out.
    marks: [u64; CAPACITY / 64],
    head: usize,
    tail: usize,
    line_start: usize,
}

impl InputBuffer {
    /// An empty buffer; `ENOMEM` when there is no memory for it.
    pub fn new() -> Result<Self> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(CAPACITY).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(CAPACITY, 0);
        Ok(Self { bytes: bytes.into_boxed_slice(), marks: [0; CAPACITY / 64], head: 0, tail: 0, line_start: 0 })
    }

    /// All bytes held, finished lines and unfinished ones.
    pub fn len(&self) -> usize {
        self.head.wrapping_sub(self.tail)
    }

    /// Whether nothing is held at all.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Bytes in finished lines.
    pub fn finished_len(&self) -> usize {
        self.line_start.wrapping_sub(self.tail)
    }

    /// Bytes of the line being edited.
    pub fn editing_len(&self) -> usize {
        self.head.wrapping_sub(self.line_start)
    }

    /// Whether a finished line can be read.
    pub fn has_line(&self) -> bool {
        self.line_start != self.tail
    }

    /// Appends a byte. In a full buffer it replaces the newest byte of the line being edited.
    pub fn push(&mut self, byte: u8) {
        if self.len() == CAPACITY {
            if self.editing_len() == 0 {
                return;
            }
            self.head = self.head.wrapping_sub(1);
        }
        self.set(self.head, byte);
        self.head = self.head.wrapping_add(1);
    }

    /// Appends `byte` as the delimiter that finishes the line being edited.
    pub fn finish_line(&mut self, byte: u8) {
        self.push(byte);
        self.mark(self.head.wrapping_sub(1));
        self.line_start = self.head;
    }

    /// Ends the line being edited without a delimiter: what was typed becomes readable.
    pub fn push_line(&mut self) {
        self.line_start = self.head;
    }

    /// Byte number `index` of the line being edited.
    pub fn editing(&self, index: usize) -> Option<u8> {
        (index < self.editing_len()).then(|| self.get(self.line_start.wrapping_add(index)))
    }

    /// Cuts the line being edited to its first `len` bytes.
    pub fn truncate_editing(&mut self, len: usize) {
        if len < self.editing_len() {
            self.head = self.line_start.wrapping_add(len);
        }
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        self.marks = [0; CAPACITY / 64];
        self.tail = self.head;
        self.line_start = self.head;
    }

    /// Prepares for a change of `ICANON`: waiting bytes form one finished line when canonical mode
    /// begins, and lose their line ends when it ends.
    pub fn switch_mode(&mut self, canonical: bool) {
        self.marks = [0; CAPACITY / 64];
        self.line_start = self.tail;
        if canonical && !self.is_empty() {
            self.mark_pushed();
            self.line_start = self.head;
        }
    }

    /// Moves bytes of the first finished line into `sink`, up to and including its delimiter. An
    /// end-of-file delimiter is consumed, also when it stands right behind a filled `sink`, but not
    /// moved. Returns the bytes moved; `EFAULT` when the very first byte could not be stored.
    pub fn read_line(&mut self, sink: &mut dyn IoSink) -> Result<usize> {
        let mut moved = 0;
        while self.has_line() {
            let byte = self.get(self.tail);
            let delimiter = self.is_marked(self.tail);
            if delimiter && byte == DISABLED {
                self.drop_oldest();
                break;
            }
            if sink.remaining() == 0 {
                break;
            }
            if sink.put(&[byte]) == 0 {
                return if moved == 0 { Err(Errno::EFAULT) } else { Ok(moved) };
            }
            self.drop_oldest();
            moved += 1;
            if delimiter {
                break;
            }
        }
        Ok(moved)
    }

    /// Moves bytes into `sink` as they were typed, lines or not. Errors as [`Self::read_line`].
    pub fn read_raw(&mut self, sink: &mut dyn IoSink) -> Result<usize> {
        let mut moved = 0;
        while !self.is_empty() && sink.remaining() != 0 {
            let at = self.tail & MASK;
            let end = (at + self.len()).min(CAPACITY);
            let taken = sink.put(self.bytes.get(at..end).unwrap_or(&[]));
            if taken == 0 {
                if moved == 0 {
                    return Err(Errno::EFAULT);
                }
                break;
            }
            moved += taken;
            self.tail = self.tail.wrapping_add(taken);
        }
        if self.line_start.wrapping_sub(self.tail) > self.len() {
            self.line_start = self.tail;
        }
        Ok(moved)
    }

    fn drop_oldest(&mut self) {
        let at = self.tail & MASK;
        if let Some(word) = self.marks.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn get(&self, position: usize) -> u8 {
        self.bytes.get(position & MASK).copied().unwrap_or(0)
    }

    fn set(&mut self, position: usize, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(position & MASK) {
            *slot = byte;
        }
    }

    fn mark(&mut self, position: usize) {
        let at = position & MASK;
        if let Some(word) = self.marks.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// Marks the newest byte as a line end, unless that would turn a typed NUL into an end of file.
    fn mark_pushed(&mut self) {
        let newest = self.head.wrapping_sub(1);
        if self.get(newest) != DISABLED {
            self.mark(newest);
        }
    }

    fn is_marked(&self, position: usize) -> bool {
        let at = position & MASK;
        self.marks.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}
