//! Putting a program file into an address space: segments, zeros behind them, the stack.
#![forbid(unsafe_code)]

use crate::elf::{self, Header, Kind, Program, Segment};
use crate::fs::{Inode, Path};
use crate::io::SliceSink;
use crate::memory::{
    AddressSpace, Backing, MapRequest, MappingName, PAGE_SIZE, PageSource, Placement, Protection, VmaFlags,
};
use crate::{Errno, Result};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// What the machine tells every program (getauxval(3)).
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineFacts {
    /// Features of the processor (`HWCAP_*`).
    pub hwcap: u64,
    /// More features (`HWCAP2_*`).
    pub hwcap2: u64,
}

/// Room that is mapped below the first stack pointer at once; more comes as it is touched.
const STACK_ROOM: u64 = 128 * 1024;
const ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// A program that was put into an address space.
pub(super) struct Loaded {
    pub program: Program,
    /// What was added to its addresses.
    pub bias: u64,
}

impl Loaded {
    /// Where it starts.
    pub fn entry(&self) -> u64 {
        self.program.entry.wrapping_add(self.bias)
    }

    /// The first address behind it.
    pub fn end(&self) -> u64 {
        self.program.extent.end.wrapping_add(self.bias)
    }

    /// Where its program headers are, 0 if they are not in memory.
    pub fn headers(&self) -> u64 {
        self.program.headers_address.map_or(0, |address| address.wrapping_add(self.bias))
    }
}

/// Reads bytes of a file into `bytes`, all of them.
///
/// # Errors
/// `ENOEXEC` when the file ends before, and what the file system says.
pub(super) fn read_exactly(inode: &Arc<dyn Inode>, offset: u64, bytes: &mut [u8]) -> Result<()> {
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let count = inode.read_at(offset.saturating_add(done as u64), &mut SliceSink::new(rest))?;
        if count == 0 {
            return Err(Errno::ENOEXEC);
        }
        done += count;
    }
    Ok(())
}

/// Reads a range of a file.
pub(super) fn read_range(inode: &Arc<dyn Inode>, range: core::ops::Range<u64>) -> Result<Vec<u8>> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| Errno::ENOEXEC)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length)?;
    bytes.resize(length, 0);
    read_exactly(inode, range.start, &mut bytes)?;
    Ok(bytes)
}

/// Understands a program from its file; `head` is the beginning of it.
///
/// # Errors
/// `ENOEXEC` and those of [`Program::parse`].
pub(super) fn understand(inode: &Arc<dyn Inode>, head: &[u8]) -> Result<Program> {
    let header = Header::parse(head)?;
    let table = header.table();
    let at_hand = usize::try_from(table.start).ok().zip(usize::try_from(table.end).ok());
    match at_hand.and_then(|(start, end)| head.get(start..end)) {
        Some(table) => Program::parse(&header, table),
        None => Program::parse(&header, &read_range(inode, table)?),
    }
}

/// Maps `program` from its file. A position-independent one goes to `base`, which is page-aligned, or a little above.
///
/// # Errors
/// `ENOEXEC` for a file that cannot be mapped, `ENOMEM` when it does not fit.
pub(super) fn map(space: &AddressSpace, path: &Path, root: &Path, program: Program, base: u64) -> Result<Loaded> {
    let bias = match program.kind {
        Kind::Fixed => 0,
        Kind::Relocatable => {
            let start = base.checked_next_multiple_of(program.alignment).ok_or(Errno::ENOMEM)?;
            start.wrapping_sub(program.extent.start)
        }
    };
    let source = path.inode().clone().page_source().ok_or(Errno::ENOEXEC)?;
    let name: Arc<dyn MappingName> = Arc::new(FileName { path: path.clone(), root: root.clone() });
    for segment in &program.segments {
        map_segment(space, segment, bias, &source, &name)?;
    }
    Ok(Loaded { program, bias })
}

fn map_segment(
    space: &AddressSpace,
    segment: &Segment,
    bias: u64,
    source: &Arc<dyn PageSource>,
    name: &Arc<dyn MappingName>,
) -> Result<()> {
    let protection = protection(segment.protection);
    let [file, zeros] = [&segment.file_pages, &segment.zero_pages()]
        .map(|range| (range.start.wrapping_add(bias), range.end.saturating_sub(range.start)));
    if file.1 > 0 {
        let backing = Backing { source: source.clone(), name: Some(name.clone()), writer: None };
        space.map(MapRequest::anonymous(file.1, protection).at(file.0).of(backing, segment.file_offset))?;
        let zero = &segment.zero;
        if protection.contains(Protection::WRITE) && !zero.is_empty() {
            let zeros = ZEROS.get(..(zero.end - zero.start) as usize).unwrap_or(&ZEROS);
            space.write_remote(zero.start.wrapping_add(bias), zeros)?;
        }
    }
    if zeros.1 > 0 {
        space.map(MapRequest::anonymous(zeros.1, protection).at(zeros.0))?;
    }
    Ok(())
}

fn protection(wanted: elf::Protection) -> Protection {
    let mut protection = Protection::empty();
    protection.set(Protection::READ, wanted.read);
    protection.set(Protection::WRITE, wanted.write);
    protection.set(Protection::EXECUTE, wanted.execute);
    protection
}

/// Maps the stack that ends at `top` and fills its upper end with `bytes`, which begin at `pointer`.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn map_stack(space: &AddressSpace, top: u64, pointer: u64, bytes: &[u8], executable: bool) -> Result<()> {
    let page = PAGE_SIZE as u64;
    let start = pointer.saturating_sub(STACK_ROOM) / page * page;
    let mut protection = Protection::READ | Protection::WRITE;
    protection.set(Protection::EXECUTE, executable);
    let request = MapRequest::anonymous(top.saturating_sub(start), protection).at(start);
    let flags = VmaFlags::STACK | VmaFlags::GROWS_DOWN;
    space.map(MapRequest { flags, placement: Placement::FixedNoReplace, ..request })?;
    let written = space.write_remote(pointer, bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::ENOMEM) }
}

/// The name of a program's file in `/proc/PID/maps`.
struct FileName {
    path: Path,
    root: Path,
}

impl MappingName for FileName {
    fn write_name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.path.text(&self.root) {
            Ok(Some(text)) => write!(out, "{}", text.escape_ascii()),
            _ => Ok(()),
        }
    }
}
