//! ELF programs: from the bytes of a file to what must be mapped where.
//!
//! Pure: takes bytes, returns a [`Program`] or an error; maps nothing. The bytes come from whoever wrote the file, so
//! every number is checked before it is used, and nothing here can panic. (System V gABI chapters 4 and 5; ELF for the
//! Arm 64-bit Architecture.)
#![forbid(unsafe_code)]

mod header;
mod segment;
#[cfg(test)]
mod tests;

pub use header::{HEADER_SIZE, Header, Kind, PROGRAM_HEADER_SIZE};
pub use segment::{Protection, Segment};

use crate::{Errno, Result};
use alloc::vec::Vec;
use core::ops::Range;
use header::ProgramHeader;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
const FLAG_EXECUTE: u32 = 1;
/// Longest path of an interpreter, with its closing zero (`PATH_MAX`).
const INTERPRETER_MAX: u64 = 4096;

/// A program file, understood: where its parts go relative to the bias that the loader chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Does it go to fixed addresses, or anywhere?
    pub kind: Kind,
    /// Where it starts running, before the bias.
    pub entry: u64,
    /// What to map, in the order of the file; never empty.
    pub segments: Vec<Segment>,
    /// The page-aligned range that all segments lie in, before the bias.
    pub extent: Range<u64>,
    /// Where the program headers are in memory, before the bias (`AT_PHDR`); `None` if no segment holds them.
    pub headers_address: Option<u64>,
    /// How many program headers there are (`AT_PHNUM`).
    pub header_count: u16,
    /// Where in the file the path of the interpreter is, closing zero included.
    pub interpreter: Option<Range<u64>>,
    /// Does it ask for an executable stack?
    pub executable_stack: bool,
    /// The largest alignment that a segment asks for, a power of two and at least a page.
    pub alignment: u64,
}

impl Program {
    /// Understands a program from its header and the bytes of its program header table.
    ///
    /// # Errors
    /// `ENOEXEC` for a table that makes no sense, `EINVAL` for segments outside the user half, `ENOMEM`.
    pub fn parse(header: &Header, table: &[u8]) -> Result<Program> {
        let count = usize::from(header.program_header_count);
        if table.len() < count.saturating_mul(PROGRAM_HEADER_SIZE) {
            return Err(Errno::ENOEXEC);
        }
        let mut program = Program {
            kind: header.kind,
            entry: header.entry,
            segments: Vec::new(),
            // Empty and inside out, so that the first segment gives both ends.
            extent: core::ops::Range { start: u64::MAX, end: 0 },
            headers_address: None,
            header_count: header.program_header_count,
            interpreter: None,
            executable_stack: false,
            alignment: segment::PAGE,
        };
        program.segments.try_reserve(count.min(8))?;
        for entry in table.chunks_exact(PROGRAM_HEADER_SIZE).take(count) {
            program.take_in(header, &ProgramHeader::parse(entry).ok_or(Errno::ENOEXEC)?)?;
        }
        if program.segments.is_empty() {
            return Err(Errno::ENOEXEC);
        }
        Ok(program)
    }

    /// How many bytes of address space it takes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.extent.end.saturating_sub(self.extent.start)
    }

    fn take_in(&mut self, file: &Header, entry: &ProgramHeader) -> Result<()> {
        match entry.kind {
            PT_LOAD if entry.memory_size > 0 => {
                let segment = Segment::from_header(entry)?;
                if self.headers_address.is_none() {
                    self.headers_address = entry.address_of(file.program_headers_offset);
                }
                self.extent.start = self.extent.start.min(segment.pages.start);
                self.extent.end = self.extent.end.max(segment.pages.end);
                if entry.alignment.is_power_of_two() {
                    self.alignment = self.alignment.max(entry.alignment.min(segment::ALIGNMENT_MAX));
                }
                self.segments.try_reserve(1)?;
                self.segments.push(segment);
            }
            PT_INTERP if self.interpreter.is_none() => {
                let end = entry.offset.checked_add(entry.file_size).ok_or(Errno::ENOEXEC)?;
                if !(2..=INTERPRETER_MAX).contains(&entry.file_size) {
                    return Err(Errno::ENOEXEC);
                }
                self.interpreter = Some(entry.offset..end);
            }
            PT_PHDR => self.headers_address = Some(entry.address),
            PT_GNU_STACK => self.executable_stack = entry.flags & FLAG_EXECUTE != 0,
            _ => {}
        }
        Ok(())
    }
}
