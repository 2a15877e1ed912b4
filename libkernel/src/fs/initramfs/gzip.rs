//! One gzip member (RFC 1952), inflated in steps.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use super::ArchiveError;
use super::cpio::Input;

/// How a member begins: the identification, and deflate as the method.
pub const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

const HEADER: usize = 10;
const HAS_HEADER_CRC: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;

/// How much is inflated at once.
const STEP: usize = 32 * 1024;

/// A compressed archive.
pub struct GzipInput {
    compressed: &'static [u8],
    total: usize,
    state: Box<InflateState>,
    output: Vec<u8>,
    /// Which part of `output` is there and not read yet.
    ready: core::ops::Range<usize>,
    ended: bool,
    position: usize,
    inflated: u32,
    crc: u32,
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0u32;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 != 0 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        {
            table[index as usize] = value;
        }
        index += 1;
    }
    table
}

static CRC_TABLE: [u32; 256] = crc_table();

fn crc(start: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!start, |crc, byte| {
        let entry = CRC_TABLE.get(usize::from(crc as u8 ^ byte)).copied().unwrap_or(0);
        (crc >> 8) ^ entry
    })
}

/// What follows the header of a member; `None` where the header is cut off.
fn after_header(member: &'static [u8]) -> Option<&'static [u8]> {
    let flags = *member.get(3)?;
    let mut rest = member.get(HEADER..)?;
    if flags & HAS_EXTRA != 0 {
        let length = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
        rest = rest.get(2 + usize::from(length)..)?;
    }
    for flag in [HAS_NAME, HAS_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & HAS_HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

impl GzipInput {
    /// Begins with a member.
    ///
    /// # Errors
    /// Where its header is cut off, or memory is out.
    pub fn new(member: &'static [u8]) -> Result<Self, ArchiveError> {
        let wrong = |reason| ArchiveError { offset: 0, reason };
        let compressed = after_header(member).ok_or(wrong("the gzip header is cut off"))?;
        let mut output = Vec::new();
        output.try_reserve_exact(STEP).map_err(|_| wrong("out of memory"))?;
        output.resize(STEP, 0);
        Ok(Self {
            compressed,
            total: member.len(),
            state: InflateState::new_boxed(DataFormat::Raw),
            output,
            ready: 0..0,
            ended: false,
            position: 0,
            inflated: 0,
            crc: 0,
        })
    }

    /// Inflates the next step if all of the last one was read.
    fn advance(&mut self) -> Result<(), &'static str> {
        while self.ready.is_empty() && !self.ended {
            let result = inflate(&mut self.state, self.compressed, &mut self.output, MZFlush::None);
            self.compressed = self.compressed.get(result.bytes_consumed..).unwrap_or_default();
            let written = self.output.get(..result.bytes_written).unwrap_or_default();
            self.crc = crc(self.crc, written);
            self.inflated = self.inflated.wrapping_add(result.bytes_written as u32);
            self.ready = 0..result.bytes_written;
            match result.status {
                Ok(MZStatus::StreamEnd) => self.ended = true,
                Ok(_) if result.bytes_written == 0 && result.bytes_consumed == 0 => {
                    return Err("the gzip stream ends early");
                }
                Err(MZError::Buf) => return Err("the gzip stream ends early"),
                Ok(_) => {}
                Err(_) => return Err("the gzip stream is damaged"),
            }
        }
        Ok(())
    }

    /// Checks the end of the member; returns what follows it.
    ///
    /// # Errors
    /// Where the checksum or the length is wrong, or something follows the archive inside.
    pub fn finish(&mut self) -> Result<&'static [u8], ArchiveError> {
        let offset = self.total - self.compressed.len();
        let wrong = |reason| ArchiveError { offset, reason };
        self.advance().map_err(wrong)?;
        if !self.ready.is_empty() {
            return Err(wrong("something that is no cpio archive follows in the gzip stream"));
        }
        let trailer = self.compressed.get(..8).ok_or(wrong("the gzip stream ends early"))?;
        let (expected_crc, expected_length) = trailer.split_at(4);
        if expected_crc != self.crc.to_le_bytes() || expected_length != self.inflated.to_le_bytes() {
            return Err(wrong("the checksum of the gzip stream is wrong"));
        }
        Ok(self.compressed.get(8..).unwrap_or_default())
    }
}

impl Input for GzipInput {
    fn position(&self) -> usize {
        self.position
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, &'static str> {
        let mut done = 0;
        while let Some(room) = buffer.get_mut(done..).filter(|room| !room.is_empty()) {
            self.advance()?;
            let ready = self.output.get(self.ready.clone()).unwrap_or_default();
            let count = room.len().min(ready.len());
            if count == 0 {
                break;
            }
            for (to, from) in room.iter_mut().zip(ready) {
                *to = *from;
            }
            self.ready.start += count;
            done += count;
        }
        self.position += done;
        Ok(done)
    }

    fn borrow(&mut self, _length: usize) -> Option<&'static [u8]> {
        None
    }

    fn peek(&mut self) -> Result<Option<u8>, &'static str> {
        self.advance()?;
        Ok(self.output.get(self.ready.clone()).and_then(|ready| ready.first().copied()))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(super::crc(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc(super::crc(0, b"1234"), b"56789"), 0xcbf4_3926);
    }
}
