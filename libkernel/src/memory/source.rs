//! [`PageSource`]: what a file mapping maps, whatever file system it belongs to.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::{Mappings, Page};
use crate::Result;

/// As long as one of an object lives, a mapping may write to that object. Every mapping has a reference: so whatever is done with
/// mappings, splitting and forking and exec among it, the count is right.
#[derive(Debug, PartialEq, Eq)]
pub struct Writer;

/// Pages by index, as a regular file, a shared memory object or a device has them.
///
/// All calls are made with the address space's spin lock held: they must not sleep, fault on user memory, or call back
/// into an address space.
pub trait PageSource: Send + Sync {
    /// The page at `index` (in units of pages from the start), shared with the source: what is written to it is written
    /// to the object. With `write` the caller is about to map it writable: the page must be the source's own from now on
    /// (a hole gets its page), and counts as dirty.
    ///
    /// Called only for pages that begin below [`size`](Self::size). Errors: `ENOMEM`, `ENOSPC`, `EIO`; all but
    /// `ENOMEM` become `SIGBUS`.
    fn page(&self, index: u64, write: bool) -> Result<Page>;

    /// Size in bytes; access to a page that begins beyond it is `SIGBUS`.
    fn size(&self) -> u64;

    /// Puts those pages from `first` on that are at hand without allocating or waiting into `pages`, each at its place.
    ///
    /// They will be mapped read-only around a fault, so that the neighbours need no fault of their own.
    fn present_pages(&self, first: u64, pages: &mut [Option<Page>]) {
        let _ = (first, pages);
    }

    /// Where to note who maps the object; `None` for one that never shrinks. One that does calls
    /// [`Mappings::unmap_beyond`] then.
    fn mappings(&self) -> Option<&Mappings> {
        None
    }

    /// What a shared mapping that may write to the object has to hold on to; `None` for an object that is always writable.
    ///
    /// # Errors
    /// `EPERM`: it is sealed against writing.
    fn writer(&self) -> Result<Option<Arc<Writer>>> {
        Ok(None)
    }

    /// Device number (as `stat` encodes it) and inode number, for `/proc/PID/maps`.
    fn identity(&self) -> (u64, u64) {
        (0, 0)
    }

    /// Writes dirty pages of `[start, end)` (bytes) back to the medium; for `msync(MS_SYNC)`. Memory-only sources need
    /// do nothing.
    fn sync(&self, start: u64, end: u64) -> Result<()> {
        let _ = (start, end);
        Ok(())
    }
}
