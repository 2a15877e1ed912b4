//! The two on-disk structures: the file header and the program header (System V gABI, chapters 4 and 5).
#![forbid(unsafe_code)]

use crate::{Errno, Result};

/// Size of the file header.
pub const HEADER_SIZE: usize = 64;
/// Size of one program header.
pub const PROGRAM_HEADER_SIZE: usize = 56;
/// Most program headers that are accepted: a table of 64 KiB, as on Linux.
const PROGRAM_HEADERS_MAX: u16 = (65536 / PROGRAM_HEADER_SIZE) as u16;

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const MACHINE_AARCH64: u16 = 183;
const TYPE_EXECUTABLE: u16 = 2;
const TYPE_SHARED: u16 = 3;

/// Where a program may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To the addresses it names.
    Fixed,
    /// Anywhere: a position-independent program or an interpreter.
    Relocatable,
}

/// What the file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the program may go.
    pub kind: Kind,
    /// Where it starts.
    pub entry: u64,
    /// Where in the file the program headers are.
    pub program_headers_offset: u64,
    /// How many there are; at least one.
    pub program_header_count: u16,
}

impl Header {
    /// Reads the first bytes of a file.
    ///
    /// # Errors
    /// `ENOEXEC` for anything but a 64-bit little-endian AArch64 program.
    pub fn parse(bytes: &[u8]) -> Result<Header> {
        Header::read(bytes).ok_or(Errno::ENOEXEC)
    }

    /// Where in the file the program header table is.
    #[must_use]
    pub fn table(&self) -> core::ops::Range<u64> {
        let size = u64::from(self.program_header_count) * PROGRAM_HEADER_SIZE as u64;
        self.program_headers_offset..self.program_headers_offset.saturating_add(size)
    }

    fn read(bytes: &[u8]) -> Option<Header> {
        let right_kind = bytes.starts_with(MAGIC)
            && *bytes.get(4)? == CLASS_64
            && *bytes.get(5)? == LITTLE_ENDIAN
            && u16_at(bytes, 18)? == MACHINE_AARCH64
            && usize::from(u16_at(bytes, 54)?) == PROGRAM_HEADER_SIZE;
        if !right_kind {
            return None;
        }
        let kind = match u16_at(bytes, 16)? {
            TYPE_EXECUTABLE => Kind::Fixed,
            TYPE_SHARED => Kind::Relocatable,
            _ => return None,
        };
        let program_header_count = u16_at(bytes, 56)?;
        (1..=PROGRAM_HEADERS_MAX).contains(&program_header_count).then_some(())?;
        Some(Header {
            kind,
            entry: u64_at(bytes, 24)?,
            program_headers_offset: u64_at(bytes, 32)?,
            program_header_count,
        })
    }
}

/// One program header.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProgramHeader {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub address: u64,
    pub file_size: u64,
    pub memory_size: u64,
    pub alignment: u64,
}

impl ProgramHeader {
    pub fn parse(bytes: &[u8]) -> Option<ProgramHeader> {
        Some(ProgramHeader {
            kind: u32_at(bytes, 0)?,
            flags: u32_at(bytes, 4)?,
            offset: u64_at(bytes, 8)?,
            address: u64_at(bytes, 16)?,
            file_size: u64_at(bytes, 32)?,
            memory_size: u64_at(bytes, 40)?,
            alignment: u64_at(bytes, 48)?,
        })
    }

    /// Where the file's byte at `offset` is in memory, if this header loads it.
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        let inside = offset.checked_sub(self.offset)?;
        if inside >= self.file_size {
            return None;
        }
        self.address.checked_add(inside)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
