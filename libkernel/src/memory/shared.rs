//! [`SharedMemory`]: anonymous memory that several address spaces share (`MAP_SHARED | MAP_ANONYMOUS`).
//!
//! Pages come into being when first touched and live as long as the object. Taken under the address space's lock; its
//! own lock comes after that one and before none but the frame allocator's.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::address::PAGE_SHIFT;
use super::page::Page;
use super::source::PageSource;
use crate::sync::SpinLock;
use crate::{Errno, Result};

const GROUP: usize = 64;
type Group = Option<Box<[Option<Page>]>>;

/// Zero-filled memory of a fixed size. See the module's comment.
pub struct SharedMemory {
    size: u64,
    groups: SpinLock<Vec<Group>>,
}

impl SharedMemory {
    /// `size` bytes (a multiple of the page size) of zeros. `ENOMEM`.
    pub fn new(size: u64) -> Result<Arc<Self>> {
        let groups = ((size >> PAGE_SHIFT) as usize).div_ceil(GROUP);
        let mut list = Vec::new();
        list.try_reserve_exact(groups).map_err(|_| Errno::ENOMEM)?;
        list.resize_with(groups, || None);
        Ok(Arc::new(Self { size, groups: SpinLock::new(list) }))
    }
}

impl PageSource for SharedMemory {
    fn page(&self, index: u64, _write: bool) -> Result<Page> {
        let mut groups = self.groups.lock();
        let group = groups.get_mut(index as usize / GROUP).ok_or(Errno::EFAULT)?;
        let pages = match group {
            Some(pages) => pages,
            None => {
                let mut pages = Vec::new();
                pages.try_reserve_exact(GROUP).map_err(|_| Errno::ENOMEM)?;
                pages.resize(GROUP, None);
                group.insert(pages.into_boxed_slice())
            }
        };
        let slot = pages.get_mut(index as usize % GROUP).ok_or(Errno::EFAULT)?;
        match slot {
            Some(page) => Ok(page.clone()),
            None => Ok(slot.insert(Page::zeroed()?).clone()),
        }
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn present_pages(&self, first: u64, pages: &mut [Option<Page>]) {
        let groups = self.groups.lock();
        for (index, page) in (first as usize..).zip(pages) {
            let group = groups.get(index / GROUP).and_then(Option::as_ref);
            *page = group.and_then(|group| group.get(index % GROUP)).cloned().flatten();
        }
    }
}
