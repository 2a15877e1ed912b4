//! The content of a tmpfs file: pages, holes, and what it was born with.
//!
//! Holes read as zeros. A file of the initial archive starts as a view of the archive in memory, and gets pages of its own only
//! where it is written or mapped. Copies to and from programs run under the file's spin lock: they never sleep.
#![forbid(unsafe_code)]

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use linux_raw_sys::general as linux;

use super::usage::Usage;
use crate::fs::inode::WritePosition;
use crate::fs::open_file::MAX_TRANSFER;
use crate::io::{IoSink, IoSource};
use crate::memory::page_index::{MAX_INDEX, PageIndex};
use crate::memory::{PAGE_SIZE, Page, Writer};
use crate::sync::SpinLock;
use crate::{Errno, Result};

const PAGE: u64 = PAGE_SIZE as u64;

/// How many pages are made before others have a turn.
const MADE_AT_ONCE: u64 = 256;

/// The largest size of a file.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// The bytes of a file.
pub struct Content {
    data: SpinLock<Data>,
    /// Written with `data` locked.
    size: AtomicU64,
    /// What may not be done any more (`F_ADD_SEALS`).
    seals: AtomicU32,
}

#[derive(Default)]
struct Data {
    pages: PageIndex,
    /// What is seen below the pages, from offset 0.
    initial: &'static [u8],
    /// What the mappings hold that may write to the file.
    writer: Weak<Writer>,
}

impl Data {
    /// The part of the initial content from `offset` on, at most `length` bytes.
    fn initial_at(&self, offset: u64, length: usize) -> &'static [u8] {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.initial.get(offset..)).unwrap_or_default();
        rest.get(..length).unwrap_or(rest)
    }

    /// The page with this number, made from the initial content or zeros where there is none yet.
    fn page(&mut self, index: u64, usage: &Usage) -> Result<Page> {
        if let Some(page) = self.pages.get(index) {
            return Ok(page.clone());
        }
        usage.charge_page()?;
        self.make_page(index).inspect_err(|_| usage.release_pages(1))
    }

    fn make_page(&mut self, index: u64) -> Result<Page> {
        let initial = self.initial_at(index.saturating_mul(PAGE), PAGE_SIZE);
        let page = if initial.is_empty() { Page::zeroed()? } else { Page::uninit()? };
        if !initial.is_empty() {
            page.write(0, initial);
            page.zero(initial.len(), PAGE_SIZE - initial.len());
        }
        self.pages.insert(index, page.clone())?;
        Ok(page)
    }

    /// Takes bytes from `source` into a part of a page; returns how many came.
    fn fill(&mut self, at: u64, length: usize, source: &mut dyn IoSource, usage: &Usage) -> Result<usize> {
        let (index, within) = (at / PAGE, (at % PAGE) as usize);
        if let Some(page) = self.pages.get(index) {
            return Ok(page.fill_from(source, within, length));
        }
        if !self.initial_at(index.saturating_mul(PAGE), 1).is_empty() {
            let page = self.page(index, usage)?;
            return Ok(page.fill_from(source, within, length));
        }
        usage.charge_page()?;
        self.fill_new(index, within, length, source).inspect_err(|_| usage.release_pages(1))
    }

    /// As `fill`, where there is nothing yet: what is written need not be zeroed before.
    fn fill_new(&mut self, index: u64, within: usize, length: usize, source: &mut dyn IoSource) -> Result<usize> {
        let page = Page::uninit()?;
        let count = page.fill_from(source, within, length);
        if count == 0 {
            return Err(Errno::EFAULT);
        }
        page.zero(0, within);
        page.zero(within + count, PAGE_SIZE - within - count);
        self.pages.insert(index, page)?;
        Ok(count)
    }

    /// Makes a range read as zeros. Takes as long as it holds something else, however large it is.
    fn zero(&mut self, start: u64, end: u64, usage: &Usage) -> Result<()> {
        let mut at = start;
        loop {
            if self.initial_at(at - at % PAGE, 1).is_empty() {
                let Some(next) = self.pages.next_present(at / PAGE) else { return Ok(()) };
                at = at.max(next * PAGE);
            }
            if at >= end {
                return Ok(());
            }
            let length = (PAGE - at % PAGE).min(end - at);
            self.page(at / PAGE, usage)?.zero((at % PAGE) as usize, length as usize);
            at += length;
        }
    }
}

impl Content {
    /// A file that reads as `initial`.
    #[must_use]
    pub fn new(initial: &'static [u8]) -> Self {
        Self {
            data: SpinLock::new(Data { initial, ..Data::default() }),
            size: AtomicU64::new(initial.len() as u64),
            seals: AtomicU32::new(linux::F_SEAL_SEAL),
        }
    }

    /// Length in bytes.
    #[must_use]
    #[inline]
    pub fn size(&self) -> u64 {
        self.size.load(Relaxed)
    }

    /// Memory used, in units of 512 bytes.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        let data = self.data.lock();
        let initial = (data.initial.len() as u64).div_ceil(PAGE);
        data.pages.count().max(initial) * (PAGE / 512)
    }

    /// What may not be done any more.
    #[must_use]
    pub fn seals(&self) -> u32 {
        self.seals.load(Relaxed)
    }

    /// Allows sealing, as memfd_create(2) with `MFD_ALLOW_SEALING` does.
    pub fn allow_sealing(&self) {
        self.seals.store(0, Relaxed);
    }

    /// Forbids more (fcntl(2) `F_ADD_SEALS`).
    ///
    /// # Errors
    /// `EPERM` where sealing is sealed, `EINVAL` for unknown seals; `EBUSY` for `F_SEAL_WRITE` while a mapping may write to the file.
    pub fn add_seals(&self, seals: u32) -> Result<()> {
        const KNOWN: u32 = linux::F_SEAL_SEAL
            | linux::F_SEAL_SHRINK
            | linux::F_SEAL_GROW
            | linux::F_SEAL_WRITE
            | linux::F_SEAL_FUTURE_WRITE;
        if seals & !KNOWN != 0 {
            return Err(Errno::EINVAL);
        }
        // The lock orders the seal behind writes that are under way.
        let data = self.data.lock();
        if self.seals() & linux::F_SEAL_SEAL != 0 {
            return Err(Errno::EPERM);
        }
        if seals & linux::F_SEAL_WRITE != 0 && data.writer.strong_count() > 0 {
            return Err(Errno::EBUSY);
        }
        self.seals.fetch_or(seals, Relaxed);
        Ok(())
    }

    /// What a mapping that may write to the file holds on to.
    ///
    /// # Errors
    /// `EPERM` where the file is sealed against writing.
    pub fn writer(&self) -> Result<Arc<Writer>> {
        let mut data = self.data.lock();
        self.check_seals(linux::F_SEAL_WRITE | linux::F_SEAL_FUTURE_WRITE)?;
        if let Some(writer) = data.writer.upgrade() {
            return Ok(writer);
        }
        let writer = Arc::new(Writer);
        data.writer = Arc::downgrade(&writer);
        Ok(writer)
    }

    fn check_seals(&self, seals: u32) -> Result<()> {
        if self.seals.load(Relaxed) & seals != 0 { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Reads from `offset`.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read_at(&self, offset: u64, sink: &mut dyn IoSink) -> Result<usize> {
        let data = self.data.lock();
        let available = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = sink.remaining().min(available).min(MAX_TRANSFER);
        let mut done = 0;
        while done < wanted {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let length = (PAGE_SIZE - within).min(wanted - done);
            let put = match data.pages.get(at / PAGE) {
                Some(page) => page.copy_to(sink, within, length),
                None => read_initial(data.initial_at(at, length), length, sink),
            };
            done += put;
            if put < length {
                break;
            }
        }
        if done == 0 && wanted > 0 { Err(Errno::EFAULT) } else { Ok(done) }
    }

    /// Writes, not beyond `limit`; returns how much and the offset after it.
    ///
    /// # Errors
    /// `EFAULT`, `EFBIG`, `ENOSPC`, `ENOMEM`, `EPERM` for a sealed file.
    pub fn write_at(
        &self,
        position: WritePosition,
        limit: u64,
        source: &mut dyn IoSource,
        usage: &Usage,
    ) -> Result<(usize, u64)> {
        let mut data = self.data.lock();
        let size = self.size();
        let offset = match position {
            WritePosition::At(offset) => offset,
            WritePosition::Append => size,
        };
        let wanted = source.remaining().min(MAX_TRANSFER);
        if wanted == 0 {
            return Ok((0, offset));
        }
        self.check_seals(linux::F_SEAL_WRITE | linux::F_SEAL_FUTURE_WRITE)?;
        let room = limit.min(MAX_SIZE).saturating_sub(offset);
        if room == 0 {
            return Err(Errno::EFBIG);
        }
        let wanted = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
        if offset + wanted as u64 > size {
            self.check_seals(linux::F_SEAL_GROW)?;
        }
        let mut done = 0;
        let mut failure = Errno::EFAULT;
        while done < wanted {
            let at = offset + done as u64;
            let length = (PAGE_SIZE - (at % PAGE) as usize).min(wanted - done);
            match data.fill(at, length, source, usage) {
                Ok(count) => {
                    done += count;
                    if count < length {
                        break;
                    }
                }
                Err(error) => {
                    failure = error;
                    break;
                }
            }
        }
        if done == 0 {
            return Err(failure);
        }
        let end = offset + done as u64;
        if end > size {
            self.size.store(end, Relaxed);
        }
        Ok((done, end))
    }

    /// Sets the length.
    ///
    /// # Errors
    /// `EFBIG`, `EPERM` for a sealed file, `ENOMEM`.
    pub fn truncate(&self, size: u64, usage: &Usage) -> Result<()> {
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        let mut data = self.data.lock();
        let old = self.size();
        if size < old {
            self.check_seals(linux::F_SEAL_SHRINK)?;
            // What is left of the last page has to read as zeros when the file grows again.
            data.zero(size, size.next_multiple_of(PAGE).min(old), usage)?;
            usage.release_pages(data.pages.remove(size.div_ceil(PAGE), MAX_INDEX));
            data.initial = data.initial_at(0, usize::try_from(size).unwrap_or(usize::MAX));
        } else if size > old {
            self.check_seals(linux::F_SEAL_GROW)?;
        }
        self.size.store(size, Relaxed);
        Ok(())
    }

    /// What fallocate(2) does: make pages, at most [`MADE_AT_ONCE`]; punch a hole; zero. Returns how many bytes are done.
    ///
    /// # Errors
    /// `EOPNOTSUPP`, `EFBIG`, `ENOSPC`, `EPERM` for a sealed file, `ENOMEM`.
    pub fn allocate(&self, mode: u32, offset: u64, length: u64, usage: &Usage) -> Result<u64> {
        let end = offset.checked_add(length).filter(|end| *end <= MAX_SIZE).ok_or(Errno::EFBIG)?;
        let keep_size = mode & linux::FALLOC_FL_KEEP_SIZE != 0;
        let mut data = self.data.lock();
        let size = self.size();
        match mode & !linux::FALLOC_FL_KEEP_SIZE {
            0 => {
                let (first, last) = (offset / PAGE, end.div_ceil(PAGE));
                if last - first > usage.free_pages().saturating_add(data.pages.count()) {
                    return Err(Errno::ENOSPC);
                }
                let stop = last.min(first + MADE_AT_ONCE);
                (first..stop).try_for_each(|index| data.page(index, usage).map(drop))?;
                if stop < last {
                    return Ok(stop * PAGE - offset);
                }
            }
            linux::FALLOC_FL_PUNCH_HOLE if keep_size => {
                self.check_seals(linux::F_SEAL_WRITE | linux::F_SEAL_FUTURE_WRITE)?;
                let end = end.min(size);
                let (first, last) = (offset.div_ceil(PAGE), end / PAGE);
                if first >= last || (data.initial.len() as u64) > offset {
                    data.zero(offset, end, usage)?;
                } else {
                    data.zero(offset, first * PAGE, usage)?;
                    data.zero(last * PAGE, end, usage)?;
                    usage.release_pages(data.pages.remove(first, last - 1));
                }
                return Ok(length);
            }
            linux::FALLOC_FL_ZERO_RANGE => {
                self.check_seals(linux::F_SEAL_WRITE | linux::F_SEAL_FUTURE_WRITE)?;
                data.zero(offset, end.min(size), usage)?;
            }
            _ => return Err(Errno::EOPNOTSUPP),
        }
        if !keep_size && end > size {
            self.check_seals(linux::F_SEAL_GROW)?;
            self.size.store(end, Relaxed);
        }
        Ok(length)
    }

    /// The next offset from `offset` on that holds data, or that is a hole.
    ///
    /// # Errors
    /// `ENXIO`.
    pub fn seek(&self, offset: u64, hole: bool) -> Result<u64> {
        let data = self.data.lock();
        let size = self.size();
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let initial = data.initial.len() as u64;
        if hole {
            let mut at = offset.max(if offset < initial { initial.next_multiple_of(PAGE) } else { 0 });
            while at < size && data.pages.get(at / PAGE).is_some() {
                at = (at / PAGE + 1) * PAGE;
            }
            return Ok(at.min(size));
        }
        if offset < initial {
            return Ok(offset);
        }
        let index = data.pages.next_present(offset / PAGE).ok_or(Errno::ENXIO)?;
        Some(offset.max(index * PAGE)).filter(|at| *at < size).ok_or(Errno::ENXIO)
    }

    /// The page to map, made where there was a hole.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOSPC`, `EPERM` for a page to be written of a sealed file.
    pub fn page(&self, index: u64, write: bool, usage: &Usage) -> Result<Page> {
        let mut data = self.data.lock();
        if write {
            self.check_seals(linux::F_SEAL_WRITE)?;
        }
        if index.saturating_mul(PAGE) >= self.size() {
            return Err(Errno::EINVAL);
        }
        data.page(index, usage)
    }

    /// Puts those pages from `first` on that exist into `pages`.
    pub fn present_pages(&self, first: u64, pages: &mut [Option<Page>]) {
        let data = self.data.lock();
        for (index, slot) in (first..).zip(pages) {
            *slot = data.pages.get(index).cloned();
        }
    }

    /// Gives up all pages, for a file that ends.
    pub fn clear(&mut self, usage: &Usage) {
        usage.release_pages(self.data.get_mut().pages.remove(0, MAX_INDEX));
    }
}

/// Delivers `length` bytes where there is no page: initial content, then zeros.
fn read_initial(initial: &'static [u8], length: usize, sink: &mut dyn IoSink) -> usize {
    let put = sink.put(initial);
    if put < initial.len() { put } else { put + sink.put_zeros(length - put) }
}
