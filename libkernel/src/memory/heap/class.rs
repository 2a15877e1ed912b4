//! The size classes of the kernel heap.
#![forbid(unsafe_code)]

use core::alloc::Layout;

use super::super::address::PAGE_SIZE;

const SIZES: [u16; 15] = [8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048];

/// Number of classes.
pub const COUNT: usize = SIZES.len();
/// The largest size that has a class, in bytes.
pub const LARGEST: usize = 2048;

/// For each size in units of 8 bytes (rounded up), the smallest class that fits.
static BY_UNITS: [u8; LARGEST / 8 + 1] = {
    let mut table = [0; LARGEST / 8 + 1];
    let (mut units, mut class) = (1, 0);
    while units < table.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            if units * 8 > SIZES[class] as usize {
                class += 1;
            }
            table[units] = class as u8;
        }
        units += 1;
    }
    table
};

/// A size class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Class(u8);

/// The class that serves `layout`; `None` when it is too large.
///
/// Objects lie at multiples of their class's size from the (page-aligned) start of their slab. So every class serves
/// alignments up to 8, all but the first up to 16, and the powers of two their own size.
#[inline]
#[must_use]
pub fn of(layout: Layout) -> Option<Class> {
    let size = match layout.align() {
        ..=8 => layout.size(),
        16 => layout.size().max(16),
        align => layout.size().max(align).next_power_of_two(),
    };
    BY_UNITS.get(size.div_ceil(8)).map(|&class| Class(class))
}

impl Class {
    /// Position among the classes, below [`COUNT`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Size of this class's objects in bytes.
    #[inline]
    #[must_use]
    pub fn size(self) -> usize {
        SIZES.get(self.index()).map_or(LARGEST, |&size| size as usize)
    }

    /// log2 of the frames of one slab: large enough that its header wastes little.
    #[must_use]
    pub fn slab_order(self) -> u32 {
        match self.size() {
            ..=256 => 0,
            257..=768 => 1,
            769..=1536 => 2,
            _ => 3,
        }
    }

    /// Bytes of one slab.
    #[must_use]
    pub fn slab_size(self) -> usize {
        PAGE_SIZE << self.slab_order()
    }

    /// Objects that a core's magazine of this class holds.
    #[inline]
    #[must_use]
    pub fn magazine(self) -> usize {
        if self.size() <= 256 { 32 } else { 8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_fits_its_class() {
        for align in (0..12).map(|shift| 1 << shift) {
            for size in 0..=LARGEST + 1 {
                let layout = Layout::from_size_align(size, align).unwrap();
                match of(layout) {
                    Some(class) => {
                        assert!(class.size() >= size);
                        assert_eq!(class.size() % align, 0, "size {size} align {align}");
                    }
                    None => assert!(size > LARGEST || align > 16 && size.next_power_of_two() > LARGEST),
                }
            }
        }
    }

    #[test]
    fn classes_are_tight() {
        let class = |size| of(Layout::from_size_align(size, 8).unwrap()).unwrap().size();
        assert_eq!([class(1), class(8), class(9), class(49), class(65), class(2048)], [8, 8, 16, 64, 96, 2048]);
    }
}
