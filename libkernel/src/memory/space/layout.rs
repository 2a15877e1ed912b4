//! Where things go in a new address space: stack, mappings, program and break, randomised.
#![forbid(unsafe_code)]

use crate::memory::address::{PAGE_SHIFT, PAGE_SIZE, USER_LIMIT, page_floor};

/// Between a stack and the mapping below it, so that a stack overflow does not run into that.
pub const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE as u64;
/// Lowest address a program may map, as Linux's `vm.mmap_min_addr`.
pub const LOWEST_ADDRESS: u64 = 0x1_0000;

const GIB: u64 = 1 << 30;
const SMALLEST_STACK_ROOM: u64 = 128 << 20;
const LARGEST_STACK_ROOM: u64 = USER_LIMIT / 6 * 5;
/// Bits of randomness, in pages.
const STACK_BITS: u32 = 18;
const MAP_BITS: u32 = 18;
const PROGRAM_BITS: u32 = 24;
const BREAK_BITS: u32 = 13;

/// The fixed points of an address space. All addresses are page-aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// First address after the initial stack.
    pub stack_top: u64,
    /// Mappings are placed downwards from here.
    pub map_top: u64,
    /// Where a position-independent program goes that no interpreter loads.
    pub program_base: u64,
    /// What to add to the end of the program to get the start of the break.
    pub break_offset: u64,
}

impl Layout {
    /// The layout for a program with this stack limit (bytes). `seed` is 64 random bits; the same seed gives the same layout.
    #[must_use]
    pub fn new(seed: u64, stack_limit: u64) -> Self {
        let mut state = seed;
        let mut random_pages = |bits: u32| {
            // A step of SplitMix64: neighbouring seeds give unrelated layouts.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut value = state;
            value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((value ^ (value >> 31)) & ((1 << bits) - 1)) << PAGE_SHIFT
        };
        let stack_top = USER_LIMIT - PAGE_SIZE as u64 - random_pages(STACK_BITS);
        let stack_room = page_floor(stack_limit.clamp(SMALLEST_STACK_ROOM, LARGEST_STACK_ROOM));
        let below_stack = USER_LIMIT - stack_room - GIB - STACK_GUARD_GAP;
        Self {
            stack_top,
            map_top: below_stack.saturating_sub(random_pages(MAP_BITS)).max(GIB),
            program_base: page_floor(USER_LIMIT / 3 * 2) + random_pages(PROGRAM_BITS),
            break_offset: random_pages(BREAK_BITS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_distance_whatever_the_seed_and_the_limit() {
        for seed in 0..1000 {
            for limit in [0, 8 << 20, GIB, u64::MAX] {
                let layout = Layout::new(seed, limit);
                let room = limit.clamp(SMALLEST_STACK_ROOM, LARGEST_STACK_ROOM);
                assert!(layout.stack_top < USER_LIMIT);
                assert!(layout.stack_top - layout.map_top >= room - PAGE_SIZE as u64 + STACK_GUARD_GAP);
                let all = layout.stack_top | layout.map_top | layout.program_base | layout.break_offset;
                assert_eq!(all % PAGE_SIZE as u64, 0);
            }
        }
    }

    #[test]
    fn layouts_differ_by_seed_and_repeat_for_it() {
        assert_eq!(Layout::new(7, 8 << 20), Layout::new(7, 8 << 20));
        let (a, b) = (Layout::new(7, 8 << 20), Layout::new(8, 8 << 20));
        assert!(a.stack_top != b.stack_top && a.map_top != b.map_top && a.program_base != b.program_base);
    }
}
