//! The initial file system: cpio archives, plain or gzip, one behind the other, unpacked into a tmpfs.
//!
//! The content of plain archives is not copied: files read from the archive's memory until they are written. Compressed ones are
//! inflated in small steps straight into files. Runs once at boot; a corrupt archive ends it with one error that says where.
#![forbid(unsafe_code)]

mod cpio;
mod gzip;
mod unpack;

#[cfg(test)]
mod tests;

use core::fmt;

use super::caller::Caller;
use cpio::SliceInput;
use gzip::GzipInput;
use unpack::Unpacker;

/// Why an archive cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveError {
    /// How many bytes of the (uncompressed) archive were good.
    pub offset: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corrupt initramfs at byte {}: {}", self.offset, self.reason)
    }
}

/// How much was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files of all types.
    pub files: usize,
    /// Bytes of content.
    pub bytes: u64,
    /// Entries that could not be made, for instance because their directory is missing.
    pub skipped: usize,
}

/// Unpacks the archives in `image` below the root directory of `caller`, which is to be a tmpfs and to act with all rights.
///
/// # Errors
/// What is wrong with the archive, or that memory ran out. What was unpacked until then stays.
pub fn unpack(image: &'static [u8], caller: &Caller<'_>) -> Result<Unpacked, ArchiveError> {
    let mut unpacker = Unpacker::new(caller);
    let mut rest = image;
    loop {
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        rest = rest.get(zeros..).unwrap_or_default();
        let start = image.len() - rest.len();
        if rest.is_empty() {
            return Ok(unpacker.done());
        }
        let at = |error: ArchiveError| ArchiveError { offset: error.offset + start, ..error };
        if rest.starts_with(b"0707") {
            let mut input = SliceInput::new(rest);
            unpacker.run(&mut input).map_err(at)?;
            rest = input.rest();
        } else if rest.starts_with(&gzip::MAGIC) {
            let mut input = GzipInput::new(rest).map_err(at)?;
            unpacker.run(&mut input)?;
            rest = input.finish().map_err(at)?;
        } else {
            let reason = "neither a cpio archive nor gzip";
            return Err(ArchiveError { offset: start, reason });
        }
    }
}
