//! The cpio format "newc" (cpio(5)): a header of thirteen numbers in hexadecimal, a name, content, each padded to four bytes.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::ArchiveError;

/// Bytes in a header.
const HEADER: usize = 110;

/// The longest name that is taken, with its NUL (`PATH_MAX`).
const MAX_NAME: usize = 4096;

/// What an archive is read from.
pub trait Input {
    /// How many bytes were read.
    fn position(&self) -> usize;

    /// Fills `buffer`; returns how many bytes there were before the end.
    ///
    /// # Errors
    /// What is wrong with a compressed stream.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, &'static str>;

    /// The next `length` bytes without copying them, where they lie in memory for good; then they count as read.
    fn borrow(&mut self, length: usize) -> Option<&'static [u8]>;

    /// Looks at the next byte; `None` at the end.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn peek(&mut self) -> Result<Option<u8>, &'static str>;
}

/// An archive in memory.
pub struct SliceInput {
    bytes: &'static [u8],
    position: usize,
}

impl SliceInput {
    /// Reads from the beginning of `bytes`.
    pub fn new(bytes: &'static [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// What was not read.
    pub fn rest(&self) -> &'static [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }
}

impl Input for SliceInput {
    fn position(&self) -> usize {
        self.position
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, &'static str> {
        let count = buffer.len().min(self.rest().len());
        for (to, from) in buffer.iter_mut().zip(self.rest()) {
            *to = *from;
        }
        self.position += count;
        Ok(count)
    }

    fn borrow(&mut self, length: usize) -> Option<&'static [u8]> {
        let bytes = self.rest().get(..length)?;
        self.position += length;
        Some(bytes)
    }

    fn peek(&mut self) -> Result<Option<u8>, &'static str> {
        Ok(self.rest().first().copied())
    }
}

/// One entry's header and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What tells hard links of one file: inode and device.
    pub identity: (u32, u32, u32),
    /// Type and permissions.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// How many names the file has.
    pub links: u32,
    /// Last change of content, in seconds.
    pub modified: u32,
    /// Length of the content.
    pub size: u32,
    /// For device files: major and minor number.
    pub device: (u32, u32),
    /// The path, without the NUL.
    pub name: Vec<u8>,
}

impl Entry {
    /// Whether this is the entry that ends an archive.
    pub fn is_trailer(&self) -> bool {
        self.name == b"TRAILER!!!"
    }
}

fn error(input: &dyn Input, reason: &'static str) -> ArchiveError {
    ArchiveError { offset: input.position(), reason }
}

/// Reads all of `buffer`.
///
/// # Errors
/// Where the archive ends before.
pub fn read_all(input: &mut dyn Input, buffer: &mut [u8]) -> Result<(), ArchiveError> {
    let start = input.position();
    match input.read(buffer) {
        Ok(count) if count == buffer.len() => Ok(()),
        Ok(_) => Err(ArchiveError { offset: start, reason: "the archive ends in the middle of a file" }),
        Err(reason) => Err(error(input, reason)),
    }
}

/// Skips the padding after a header's name or a content that began at a multiple of four.
///
/// # Errors
/// What is wrong with a compressed stream.
pub fn skip_padding(input: &mut dyn Input, start: usize) -> Result<(), ArchiveError> {
    let padding = (input.position() - start).next_multiple_of(4) - (input.position() - start);
    let mut skipped = [0; 3];
    if let Some(skipped) = skipped.get_mut(..padding) {
        // The last padding may be cut off with the file.
        input.read(skipped).map_err(|reason| error(input, reason))?;
    }
    Ok(())
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| Some((value << 4) | char::from(*digit).to_digit(16)?))
}

/// Reads the next entry's header and name; `None` where the archive ends, or something else begins.
///
/// # Errors
/// What is wrong with it.
pub fn next_entry(input: &mut dyn Input) -> Result<Option<Entry>, ArchiveError> {
    loop {
        match input.peek().map_err(|reason| error(input, reason))? {
            Some(0) => {
                let mut zero = [0];
                read_all(input, &mut zero)?;
            }
            Some(b'0') => break,
            _ => return Ok(None),
        }
    }
    let start = input.position();
    let wrong = |reason| ArchiveError { offset: start, reason };
    let mut header = [0; HEADER];
    read_all(input, &mut header)?;
    let (magic, fields) = header.split_at(6);
    if magic != b"070701" && magic != b"070702" {
        return Err(wrong("no cpio header of the newc format"));
    }
    let mut numbers = [0u32; 13];
    for (number, digits) in numbers.iter_mut().zip(fields.chunks(8)) {
        *number = hexadecimal(digits).ok_or(wrong("a number in a cpio header has a wrong digit"))?;
    }
    let [ino, mode, uid, gid, links, modified, size, major, minor, device_major, device_minor, name_size, _] = numbers;
    if name_size == 0 || name_size as usize > MAX_NAME {
        return Err(wrong("the length of a name is wrong"));
    }
    let mut name = Vec::new();
    name.try_reserve_exact(name_size as usize).map_err(|_| wrong("out of memory"))?;
    name.resize(name_size as usize, 0);
    read_all(input, &mut name)?;
    skip_padding(input, start)?;
    let length = name.iter().position(|byte| *byte == 0).ok_or(wrong("a name has no end"))?;
    name.truncate(length);
    let identity = (ino, major, minor);
    let device = (device_major, device_minor);
    Ok(Some(Entry { identity, mode, uid, gid, links, modified, size, device, name }))
}
