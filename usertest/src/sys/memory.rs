//! Mappings, and access to memory that may fault.

use super::{Fd, Result};
use crate::call;

/// The size of a page on every machine that this program runs on.
pub const PAGE: usize = 4096;

/// Read and write.
pub const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// `mmap` with every argument; returns the address.
pub fn mmap(at: usize, length: usize, prot: i32, flags: i32, fd: Fd, offset: i64) -> Result<usize> {
    call!(SYS_mmap, at, length, prot, flags, fd, offset)
}

/// A private anonymous mapping, readable and writable.
pub fn anonymous(length: usize) -> Result<usize> {
    mmap(0, length, RW, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
}

/// A shared anonymous mapping: the same memory in children of this process.
pub fn shared(length: usize) -> Result<usize> {
    mmap(0, length, RW, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)
}

/// `munmap`.
pub fn munmap(at: usize, length: usize) -> Result<()> {
    call!(SYS_munmap, at, length).map(drop)
}

/// `mprotect`.
pub fn mprotect(at: usize, length: usize, prot: i32) -> Result<()> {
    call!(SYS_mprotect, at, length, prot).map(drop)
}

/// `madvise`.
pub fn madvise(at: usize, length: usize, advice: i32) -> Result<()> {
    call!(SYS_madvise, at, length, advice).map(drop)
}

/// Loads a value from `at`, which may raise a signal; that is what the tests using it are about.
pub fn peek<T: Copy>(at: usize) -> T {
    // SAFETY: the address is one that the test mapped, or one where it expects a
    // signal; no Rust object lives there.
    unsafe { core::ptr::with_exposed_provenance::<T>(at).read_volatile() }
}

/// Stores a value at `at`; see [`peek`].
pub fn poke<T: Copy>(at: usize, value: T) {
    // SAFETY: as for `peek`.
    unsafe { core::ptr::with_exposed_provenance_mut::<T>(at).write_volatile(value) }
}

/// The word at `at` as an atomic shared with other threads or processes.
pub fn atomic_at(at: usize) -> &'static core::sync::atomic::AtomicU32 {
    // SAFETY: callers pass aligned addresses inside a mapping which they keep
    // until the process ends.
    unsafe { core::sync::atomic::AtomicU32::from_ptr(core::ptr::with_exposed_provenance_mut(at)) }
}

/// The bytes of a mapping that the test keeps until it ends.
pub fn bytes_at(at: usize, length: usize) -> &'static [u8] {
    // SAFETY: as for `atomic_at`; nothing writes there while the slice is used.
    unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(at), length) }
}

/// One line of `/proc/self/maps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: usize,
    /// First address after it.
    pub end: usize,
    /// `rwxp` letters.
    pub mode: String,
    /// Offset in the file.
    pub offset: u64,
    /// Path or bracketed name, empty if none.
    pub name: String,
}

/// The parsed `/proc/self/maps`.
pub fn maps() -> Result<Vec<Mapping>> {
    let text = super::read_text(c"/proc/self/maps")?;
    Ok(text.lines().filter_map(parse_mapping).collect())
}

/// The mapping that holds `address`.
pub fn mapping_of(address: usize) -> Result<Option<Mapping>> {
    Ok(maps()?.into_iter().find(|m| (m.start..m.end).contains(&address)))
}

fn parse_mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let mode = fields.next()?.to_owned();
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let name = fields.nth(2).unwrap_or_default().to_owned();
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some(Mapping { start, end, mode, offset, name })
}
