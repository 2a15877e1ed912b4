//! One loadable part of a program, in whole pages.
#![forbid(unsafe_code)]

use super::header::ProgramHeader;
use crate::{Errno, Result};
use core::ops::Range;

/// Size of a page in bytes.
pub(super) const PAGE: u64 = 4096;
/// The largest alignment that is honoured for a position-independent program.
pub(super) const ALIGNMENT_MAX: u64 = 2 * 1024 * 1024;
/// End of the user half of the address space (48-bit virtual addresses).
const USER_END: u64 = 1 << 48;

const FLAG_EXECUTE: u32 = 1;
const FLAG_WRITE: u32 = 2;
const FLAG_READ: u32 = 4;

/// What may be done with the bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// They may be read.
    pub read: bool,
    /// They may be written.
    pub write: bool,
    /// They may be run.
    pub execute: bool,
}

/// One loadable part of a program. All addresses are before the bias.
///
/// # Invariants
/// `pages` is page-aligned, not empty and below the end of the user half; `file_pages` is a page-aligned head of it;
/// `zero` lies in the last page of `file_pages`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// All pages it takes.
    pub pages: Range<u64>,
    /// The pages that come from the file; the rest is zeros.
    pub file_pages: Range<u64>,
    /// Where in the file those pages begin; page-aligned.
    pub file_offset: u64,
    /// The bytes behind the file's part in its last page, which must be zeros as well if memory goes beyond the file.
    pub zero: Range<u64>,
    /// What may be done with it.
    pub protection: Protection,
}

impl Segment {
    pub(super) fn from_header(header: &ProgramHeader) -> Result<Segment> {
        if header.file_size > header.memory_size || header.address % PAGE != header.offset % PAGE {
            return Err(Errno::ENOEXEC);
        }
        let inside = header.address % PAGE;
        let end = header.address.checked_add(header.memory_size).filter(|end| *end <= USER_END).ok_or(Errno::EINVAL)?;
        header.offset.checked_add(header.file_size).filter(|end| *end <= i64::MAX as u64).ok_or(Errno::EINVAL)?;
        let start = header.address - inside;
        let file_end = header.address + header.file_size;
        let file_pages = if header.file_size == 0 { start..start } else { start..page_up(file_end) };
        let pages = start..page_up(end);
        let zero = if end > file_end && header.file_size > 0 {
            file_end..file_pages.end.min(page_up(end))
        } else {
            file_end..file_end
        };
        Ok(Segment {
            pages,
            file_pages,
            file_offset: header.offset - inside,
            zero,
            protection: Protection {
                read: header.flags & FLAG_READ != 0,
                write: header.flags & FLAG_WRITE != 0,
                execute: header.flags & FLAG_EXECUTE != 0,
            },
        })
    }

    /// The pages that hold zeros only.
    #[must_use]
    pub fn zero_pages(&self) -> Range<u64> {
        self.file_pages.end..self.pages.end
    }
}

/// The next page boundary; the callers have checked that `address` is in the user half.
fn page_up(address: u64) -> u64 {
    address.next_multiple_of(PAGE)
}
