//! How much a tmpfs holds, and how much it may.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Errno, Result};

/// Pages and inodes in use, and their limits.
pub struct Usage {
    pages: AtomicU64,
    inodes: AtomicU64,
    page_limit: AtomicU64,
    inode_limit: AtomicU64,
}

fn charge(used: &AtomicU64, limit: u64) -> Result<()> {
    if used.fetch_add(1, Relaxed) >= limit {
        used.fetch_sub(1, Relaxed);
        return Err(Errno::ENOSPC);
    }
    Ok(())
}

impl Usage {
    /// Nothing used, with these limits.
    #[must_use]
    pub fn new(page_limit: u64, inode_limit: u64) -> Self {
        Self {
            pages: AtomicU64::new(0),
            inodes: AtomicU64::new(0),
            page_limit: AtomicU64::new(page_limit),
            inode_limit: AtomicU64::new(inode_limit),
        }
    }

    /// One page more.
    ///
    /// # Errors
    /// `ENOSPC`.
    #[inline]
    pub fn charge_page(&self) -> Result<()> {
        charge(&self.pages, self.page_limit.load(Relaxed))
    }

    /// Some pages fewer.
    pub fn release_pages(&self, count: u64) {
        if count > 0 {
            self.pages.fetch_sub(count, Relaxed);
        }
    }

    /// One inode more.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub fn charge_inode(&self) -> Result<()> {
        charge(&self.inodes, self.inode_limit.load(Relaxed))
    }

    /// One inode fewer.
    pub fn release_inode(&self) {
        self.inodes.fetch_sub(1, Relaxed);
    }

    /// How many pages it may hold.
    #[must_use]
    pub fn page_limit(&self) -> u64 {
        self.page_limit.load(Relaxed)
    }

    /// How many inodes it may hold.
    #[must_use]
    pub fn inode_limit(&self) -> u64 {
        self.inode_limit.load(Relaxed)
    }

    /// How many pages more it may hold.
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        self.page_limit().saturating_sub(self.pages.load(Relaxed))
    }

    /// How many inodes more it may hold.
    #[must_use]
    pub fn free_inodes(&self) -> u64 {
        self.inode_limit().saturating_sub(self.inodes.load(Relaxed))
    }
}
