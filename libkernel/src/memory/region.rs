//! Ranges of physical memory, and what is left of one without others.

use super::PAGE_SIZE;

const PAGE: u64 = PAGE_SIZE as u64;

/// A range of physical memory: the start, and the number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// The first byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

impl Region {
    /// The first byte behind it.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start.saturating_add(self.size)
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Its whole pages that none of `used` touches, in order.
    pub fn without(self, used: impl Iterator<Item = Self> + Clone) -> impl Iterator<Item = Self> {
        let used = used.filter(|used| used.size > 0).map(Self::outwards);
        let mut next = page_ceil(self.start);
        let end = page_floor(self.end());
        core::iter::from_fn(move || {
            while let Some(inside) = used.clone().find(|used| used.start <= next && next < used.end()) {
                next = inside.end();
            }
            let start = next;
            next = used.clone().map(|used| used.start).filter(|&at| at > start).fold(end, u64::min);
            (start < end).then(|| Self { start, size: next - start })
        })
    }

    /// The pages that it touches.
    fn outwards(self) -> Self {
        let start = page_floor(self.start);
        Self { start, size: page_ceil(self.end()) - start }
    }
}

fn page_floor(address: u64) -> u64 {
    address & !(PAGE - 1)
}

/// The next border of a page; the last border for what lies behind it.
fn page_ceil(address: u64) -> u64 {
    page_floor(address.saturating_add(PAGE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const GIB: Region = Region { start: 1 << 30, size: 1 << 30 };

    fn left(region: Region, used: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let used = used.iter().map(|&(start, end)| Region { start, size: end - start });
        region.without(used).map(|left| (left.start, left.end())).collect()
    }

    #[test]
    fn what_is_left_touches_nothing_that_is_used() {
        assert_eq!(left(GIB, &[]), [(1 << 30, 1 << 31)]);
        // A byte in a page, one range in another, neighbours, and ranges that reach in from outside.
        let used = [
            (0x5000_0fff, 0x5000_1001),
            (0x6000_0000, 0x7000_0000),
            (0x6100_0000, 0x6100_0001),
            (0x5800_0000, 0x5900_0000),
            (0x5900_0000, 0x5a00_0000),
            (0x1000, 0x4000_2800),
            (0x7fff_f000, 0x9000_0000),
        ];
        let free = [
            (0x4000_3000, 0x5000_0000),
            (0x5000_2000, 0x5800_0000),
            (0x5a00_0000, 0x6000_0000),
            (0x7000_0000, 0x7fff_f000),
        ];
        assert_eq!(left(GIB, &used), free);
    }

    #[test]
    fn only_whole_pages_are_left_and_empty_ranges_use_nothing() {
        let region = Region { start: 0x1801, size: 0x2fff };
        assert_eq!(left(region, &[(0x2000, 0x2000)]), [(0x2000, 0x4000)]);
        assert_eq!(left(Region { start: 0x1001, size: 0x1ffe }, &[]), []);
        assert_eq!(left(GIB, &[(0, u64::MAX)]), []);
    }

    #[test]
    fn the_ends_of_the_address_space_are_no_trouble() {
        let all = Region { start: 0, size: u64::MAX };
        let last = u64::MAX - 0xfff;
        assert_eq!(left(all, &[(0x1000, 0x2000), (u64::MAX - 1, u64::MAX)]), [(0, 0x1000), (0x2000, last)]);
        let beyond = Region { start: u64::MAX, size: u64::MAX };
        assert_eq!(left(beyond, &[]), []);
        assert_eq!(GIB.without([beyond].into_iter()).count(), 1);
    }
}
