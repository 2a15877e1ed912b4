//! [`SharedMemory`]: anonymous memory that several address spaces share (`MAP_SHARED | MAP_ANONYMOUS`).
//!
//! Pages come into being when first touched and live as long as the object. Taken under the address space's lock; its
//! own lock comes after that one and before none but the frame allocator's.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::page::Page;
use super::page_index::PageIndex;
use super::source::PageSource;
use crate::Result;
use crate::sync::SpinLock;

/// Zero-filled memory of a fixed size. See the module's comment.
pub struct SharedMemory {
    size: u64,
    pages: SpinLock<PageIndex>,
}

impl SharedMemory {
    /// `size` bytes (a multiple of the page size) of zeros; what is not touched costs nothing.
    #[must_use]
    pub fn new(size: u64) -> Arc<Self> {
        Arc::new(Self { size, pages: SpinLock::new(PageIndex::default()) })
    }
}

impl PageSource for SharedMemory {
    fn page(&self, index: u64, _write: bool) -> Result<Page> {
        let mut pages = self.pages.lock();
        if let Some(page) = pages.get(index) {
            return Ok(page.clone());
        }
        let page = Page::zeroed()?;
        pages.insert(index, page.clone())?;
        Ok(page)
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn present_pages(&self, first: u64, pages: &mut [Option<Page>]) {
        let known = self.pages.lock();
        for (index, page) in (first..).zip(pages) {
            *page = known.get(index).cloned();
        }
    }
}
