//! The frame table: one [`Frame`] of eight bytes for every page frame of RAM.
//!
//! A frame's two words mean different things in different states; who may touch them follows from
//! the state:
//!
//! | kind        | `count`                         | `state` (below the kind)      | owner                 |
//! |-------------|---------------------------------|-------------------------------|-----------------------|
//! | `Reserved`  | 0                               | 0                             | nobody, for ever      |
//! | `Free`      | order (top 4 bits), next        | previous                      | the buddy lock        |
//! | `Tail`      | 0                               | 0                             | as the block's head   |
//! | `Cached`    | 0                               | 0                             | a core's frame cache  |
//! | `Allocated` | references, or table entries    | order (bits 24..28), flags    | whoever holds it      |
//!
//! Links are indices into the table ("frame indices"), 28 bits: up to 1 TiB of RAM.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// The link that ends a list.
pub const NIL: u32 = (1 << LINK_BITS) - 1;
const LINK_BITS: u32 = 28;
const LINK_MASK: u32 = NIL;
const ORDER_SHIFT: u32 = 24;
/// The instruction cache has seen this frame's contents since they were last written by the kernel.
pub const FLAG_INSTRUCTIONS_SYNCED: u32 = 1 << 0;

/// What a frame is used for; see the module's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Kind {
    /// Not RAM, or in use since before the allocator existed (kernel image, initramfs, frame table).
    Reserved = 0,
    /// First frame of a free block.
    Free = 1,
    /// A later frame of a block of any kind.
    Tail = 2,
    /// A single free frame held back by a core's cache.
    Cached = 3,
    /// First frame of a block that has been handed out.
    Allocated = 4,
}

/// Metadata of one page frame. See the module's comment.
#[derive(Debug)]
pub struct Frame {
    count: AtomicU32,
    state: AtomicU32,
}

impl Frame {
    /// A frame that belongs to nobody.
    #[must_use]
    pub const fn reserved() -> Self {
        Self { count: AtomicU32::new(0), state: AtomicU32::new(0) }
    }

    /// The reference count of an allocated frame (or entry count of a translation table).
    #[must_use]
    pub fn count(&self) -> &AtomicU32 {
        &self.count
    }

    /// The frame's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.state.load(Relaxed) >> LINK_BITS {
            1 => Kind::Free,
            2 => Kind::Tail,
            3 => Kind::Cached,
            4 => Kind::Allocated,
            _ => Kind::Reserved,
        }
    }

    /// Makes the frame one of kind `kind` with nothing else recorded.
    pub(super) fn become_plain(&self, kind: Kind) {
        self.count.store(0, Relaxed);
        self.state.store((kind as u32) << LINK_BITS, Relaxed);
    }

    /// Makes the frame the head of an allocated block of `2^order` frames, referenced once.
    pub(super) fn become_allocated(&self, order: u32) {
        self.count.store(1, Relaxed);
        self.state.store(((Kind::Allocated as u32) << LINK_BITS) | (order << ORDER_SHIFT), Relaxed);
    }

    /// Makes the frame the head of a free block of `2^order` frames with the given neighbours.
    pub(super) fn become_free(&self, order: u32, previous: u32, next: u32) {
        self.count.store((order << LINK_BITS) | (next & LINK_MASK), Relaxed);
        self.state.store(((Kind::Free as u32) << LINK_BITS) | (previous & LINK_MASK), Relaxed);
    }

    /// The order of the free block this frame heads.
    pub(super) fn free_order(&self) -> Option<u32> {
        (self.kind() == Kind::Free).then(|| self.count.load(Relaxed) >> LINK_BITS)
    }

    /// The order of the allocated block this frame heads.
    pub(super) fn allocated_order(&self) -> Option<u32> {
        let state = self.state.load(Relaxed);
        (state >> LINK_BITS == Kind::Allocated as u32).then_some((state >> ORDER_SHIFT) & 0xf)
    }

    pub(super) fn next(&self) -> u32 {
        self.count.load(Relaxed) & LINK_MASK
    }

    pub(super) fn previous(&self) -> u32 {
        self.state.load(Relaxed) & LINK_MASK
    }

    pub(super) fn set_next(&self, next: u32) {
        let kept = self.count.load(Relaxed) & !LINK_MASK;
        self.count.store(kept | (next & LINK_MASK), Relaxed);
    }

    pub(super) fn set_previous(&self, previous: u32) {
        let kept = self.state.load(Relaxed) & !LINK_MASK;
        self.state.store(kept | (previous & LINK_MASK), Relaxed);
    }

    /// Whether `flag` (a `FLAG_*`) is set on an allocated frame. If so, what its setter did before comes before what the caller does next.
    #[must_use]
    pub fn has_flag(&self, flag: u32) -> bool {
        self.state.load(Acquire) & flag != 0
    }

    /// Sets `flag` on an allocated frame, after what it stands for has been done.
    pub fn set_flag(&self, flag: u32) {
        self.state.fetch_or(flag, Release);
    }

    /// Clears `flag` on an allocated frame.
    pub fn clear_flag(&self, flag: u32) {
        if self.state.load(Relaxed) & flag != 0 {
            self.state.fetch_and(!flag, Relaxed);
        }
    }
}
