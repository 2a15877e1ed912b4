//! The map against a naive model, with enough mappings for many chunks.
#![expect(clippy::unwrap_used, reason = "a test that fails is to panic")]

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::memory::vma::{Protection, VmaFlags};

/// Pages that the operations choose from.
const WINDOW: u64 = 2_000;

/// A mapping; those of different kinds do not merge.
fn vma(start: u64, end: u64, kind: u8) -> Vma {
    let protection = if kind.is_multiple_of(2) { Protection::READ } else { Protection::WRITE };
    let flags = if kind < 2 { VmaFlags::empty() } else { VmaFlags::DONT_DUMP };
    Vma { start, end, offset: 0, backing: None, protection, flags }
}

#[derive(Clone, Debug)]
enum Operation {
    /// Maps every other page of a range, where nothing is mapped.
    Comb {
        start: u64,
        pages: u64,
    },
    /// Maps the highest hole of so many pages.
    Fill {
        length: u64,
        limit: u64,
        kind: u8,
    },
    Unmap {
        start: u64,
        pages: u64,
    },
    GrowDown {
        near: u64,
    },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        2 => (0..WINDOW, 100..600u64).prop_map(|(start, pages)| Operation::Comb { start, pages }),
        6 => (1..9u64, 0..WINDOW, 0..4u8).prop_map(|(length, limit, kind)| Operation::Fill { length, limit, kind }),
        3 => (0..WINDOW, 1..200u64).prop_map(|(start, pages)| Operation::Unmap { start, pages }),
        1 => (0..WINDOW).prop_map(|near| Operation::GrowDown { near }),
    ];
    prop::collection::vec(one, 1..60)
}

/// The pages that are mapped.
type Pages = BTreeSet<u64>;

fn naive_hole(pages: &Pages, length: u64, floor: u64, limit: u64) -> Option<u64> {
    (floor..=limit.checked_sub(length)?).rev().find(|start| pages.range(*start..start + length).next().is_none())
}

fn check(map: &VmaMap, pages: &Pages, limit: u64) {
    for length in [1, 2, 3, 7, 40, 500] {
        assert_eq!(
            map.find_hole_below(length, 3, limit),
            naive_hole(pages, length, 3, limit),
            "{length} below {limit}"
        );
    }
    let mapped: Vec<u64> = map.iter().flat_map(|vma| vma.start..vma.end).collect();
    assert!(mapped.iter().eq(pages), "other pages are mapped");
    assert_eq!(map.len(), map.iter().count());
}

fn insert(map: &mut VmaMap, pages: &mut Pages, new: Vma) {
    pages.extend(new.start..new.end);
    map.insert(new).unwrap();
}

fn apply(map: &mut VmaMap, pages: &mut Pages, operation: &Operation) {
    match *operation {
        Operation::Comb { start, pages: count } => {
            for page in (start..start + count).step_by(2) {
                if !pages.contains(&page) {
                    insert(map, pages, vma(page, page + 1, (page % 4) as u8));
                }
            }
        }
        Operation::Fill { length, limit, kind } => {
            if let Some(start) = map.find_hole_below(length, 0, limit) {
                insert(map, pages, vma(start, start + length, kind));
            }
        }
        Operation::Unmap { start, pages: count } => {
            map.split_at(start).unwrap();
            map.split_at(start + count).unwrap();
            map.remove_range(start, start + count, |_| ());
            pages.retain(|page| !(start..start + count).contains(page));
        }
        Operation::GrowDown { near } => {
            let start = map.iter_from(near).map(|vma| vma.start).next();
            if let Some(start) = start.filter(|start| *start > 0 && !pages.contains(&(start - 1))) {
                map.extend_down(start, start - 1);
                pages.insert(start - 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 128 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn holes_are_those_of_a_naive_search(operations in operations(), limits in prop::collection::vec(0..2 * WINDOW, 60)) {
        let (mut map, mut pages) = (VmaMap::new(), Pages::new());
        for (operation, limit) in operations.iter().zip(limits) {
            apply(&mut map, &mut pages, operation);
            check(&map, &pages, limit);
            check(&map.try_clone(|_| true).unwrap(), &pages, limit);
        }
    }
}
