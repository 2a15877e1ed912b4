//! What tells one futex from another.
#![forbid(unsafe_code)]

use crate::Result;
use crate::memory::AddressSpace;

/// The identity of a futex: two words of memory are the same futex exactly if their keys are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The address space, or the mapped object.
    whole: usize,
    /// The address in the former, the offset in the latter.
    place: u64,
}

impl Key {
    /// The key of the word at `address`. `private` says that no other address space maps it (`FUTEX_PRIVATE_FLAG`), which
    /// spares looking up the mapping.
    ///
    /// # Errors
    /// `EFAULT` for a shared futex where nothing is mapped.
    pub fn new(space: &AddressSpace, address: u64, private: bool) -> Result<Self> {
        if !private && let Some((object, offset)) = space.shared_identity(address)? {
            return Ok(Self { whole: object, place: offset });
        }
        Ok(Self::of_parts(space.identity(), address))
    }

    /// A key from its parts.
    pub(super) const fn of_parts(whole: usize, place: u64) -> Self {
        Self { whole, place }
    }

    /// Spreads keys over `1 << bits` places by one multiplication; words next to each other fall apart.
    pub(super) const fn hash(self, bits: u32) -> usize {
        let mixed = (self.place >> 2) ^ (self.whole as u64).rotate_left(29);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
    }
}
