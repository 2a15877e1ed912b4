//! Physical and virtual addresses, and the page size everything in [`memory`](super) is counted in.
//!
//! Owns no state. Arithmetic on addresses that come from a program is checked by the callers of
//! [`VirtAddr`]; the helpers here wrap nothing silently except where their name says so.
#![forbid(unsafe_code)]

use core::fmt;

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Size of a page and of a page frame in bytes (the 4 KiB granule).
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
/// Mask of the offset within a page.
pub const PAGE_MASK: u64 = PAGE_SIZE as u64 - 1;
/// First address that is no user address: 48-bit virtual addresses, lower half (ARM ARM D8.2).
pub const USER_LIMIT: u64 = 1 << 48;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct PhysAddr(pub u64);

/// A virtual address: of a user program unless the context says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VirtAddr(pub u64);

/// `value` rounded down to a page boundary.
#[must_use]
pub const fn page_floor(value: u64) -> u64 {
    value & !PAGE_MASK
}

/// `value` rounded up to a page boundary; `None` if that exceeds 64 bits.
#[must_use]
pub const fn page_ceil(value: u64) -> Option<u64> {
    match value.checked_add(PAGE_MASK) {
        Some(sum) => Some(sum & !PAGE_MASK),
        None => None,
    }
}

/// The page-aligned range `[start, end)` that `start` and `len` of a system call describe.
///
/// `None` when `start` is not page-aligned, the length overflows, or the end lies beyond
/// [`USER_LIMIT`]. A length of zero gives an empty range.
#[must_use]
pub const fn user_page_range(start: u64, len: u64) -> Option<(u64, u64)> {
    if start & PAGE_MASK != 0 {
        return None;
    }
    let Some(len) = page_ceil(len) else { return None };
    match start.checked_add(len) {
        Some(end) if end <= USER_LIMIT => Some((start, end)),
        _ => None,
    }
}

/// Whether `[start, start + len)` lies wholly below [`USER_LIMIT`].
#[must_use]
pub const fn is_user_range(start: u64, len: usize) -> bool {
    match start.checked_add(len as u64) {
        Some(end) => end <= USER_LIMIT,
        None => false,
    }
}

impl PhysAddr {
    /// The number of the frame that contains this address.
    #[must_use]
    pub const fn frame_number(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }

    /// Start of the frame that contains this address.
    #[must_use]
    pub const fn page_floor(self) -> Self {
        Self(page_floor(self.0))
    }

    /// This address plus `offset` bytes.
    #[must_use]
    pub const fn add(self, offset: u64) -> Self {
        Self(self.0.wrapping_add(offset))
    }
}

impl VirtAddr {
    /// Address zero.
    pub const NULL: Self = Self(0);

    /// Whether this is the null pointer.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Start of the page that contains this address.
    #[must_use]
    pub const fn page_floor(self) -> Self {
        Self(page_floor(self.0))
    }

    /// Offset within the page.
    #[must_use]
    pub const fn page_offset(self) -> usize {
        (self.0 & PAGE_MASK) as usize
    }

    /// Without the tag that the hardware ignores in the top byte of user pointers (TBI).
    ///
    /// For fault addresses only: a pointer that a program passes must carry no tag unless it asked
    /// for the tagged-address ABI.
    #[must_use]
    pub const fn untagged(self) -> Self {
        // Bit 55 chooses the half; the tag replaces it in the bits above.
        Self((((self.0 << 8) as i64) >> 8) as u64)
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phys {:#x}", self.0)
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::LowerHex for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_wrap_or_leave_the_user_half_are_refused() {
        assert_eq!(user_page_range(0x1000, 1), Some((0x1000, 0x2000)));
        assert_eq!(user_page_range(0x1001, 1), None);
        assert_eq!(user_page_range(0x1000, u64::MAX), None);
        assert_eq!(user_page_range(USER_LIMIT - 0x1000, 0x1000), Some((USER_LIMIT - 0x1000, USER_LIMIT)));
        assert_eq!(user_page_range(USER_LIMIT - 0x1000, 0x1001), None);
        assert!(is_user_range(USER_LIMIT - 1, 1));
        assert!(!is_user_range(USER_LIMIT - 1, 2));
        assert!(!is_user_range(u64::MAX, 1));
    }

    #[test]
    fn the_tag_byte_is_replaced_by_the_half() {
        assert_eq!(VirtAddr(0xab00_1234_5678_9000).untagged(), VirtAddr(0x1234_5678_9000));
        assert_eq!(VirtAddr(0xabff_8000_0000_0000).untagged(), VirtAddr(0xffff_8000_0000_0000));
    }
}
