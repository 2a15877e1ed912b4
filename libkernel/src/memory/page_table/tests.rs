//! Tests of page tables.

use super::*;
use crate::memory::gather::Pages;

const ALL: PageAccess = PageAccess { read: true, write: true, execute: false };

fn map(table: &mut PageTable, virt: u64) -> Page {
    let page = Page::zeroed().unwrap();
    table.prepare(virt).unwrap();
    table.map(virt, page.clone(), ALL, true);
    page
}

#[test]
fn tables_come_with_the_first_entry_and_go_with_the_last() {
    let mut table = PageTable::new().unwrap();
    let far = USER_LIMIT - PAGE;
    let (low, high) = (map(&mut table, 0x40_0000), map(&mut table, far));
    assert_eq!(table.tables(), 7);
    assert_eq!((low.references(), high.references()), (2, 2));
    let mut gather = Gather::dead();
    table.clear(far, USER_LIMIT, &mut gather);
    assert_eq!(gather.removed, Pages { all: 1, anonymous: 1 });
    drop(gather);
    assert_eq!(table.tables(), 4);
    assert_eq!((low.references(), high.references()), (2, 1));
    drop(table);
    assert_eq!(low.references(), 1);
}

#[test]
fn copying_takes_write_access_from_both_sides() {
    let mut parent = PageTable::new().unwrap();
    let mut child = PageTable::new().unwrap();
    let page = map(&mut parent, 0x1f_f000);
    let shared = map(&mut parent, 0x20_0000);
    let mut gather = Gather::dead();
    let copied = parent.copy_range(&mut child, 0x10_0000, 0x20_0000, true, &mut gather).unwrap();
    assert_eq!(copied.all, 1);
    parent.copy_range(&mut child, 0x20_0000, 0x40_0000, false, &mut gather).unwrap();
    assert_eq!((page.references(), shared.references()), (3, 3));
    for table in [&parent, &child] {
        assert!(!table.get(0x1f_f000).access().write);
        assert!(table.get(0x20_0000).access().write);
    }
}

#[test]
fn moving_keeps_pages_and_frees_the_old_tables() {
    let mut table = PageTable::new().unwrap();
    let page = map(&mut table, 0x40_0000);
    let mut gather = Gather::dead();
    table.move_range(0x40_0000, 0x8000_0000, 2 * PAGE, &mut gather).unwrap();
    assert!(table.get(0x40_0000).is_empty());
    assert_eq!(table.get(0x8000_0000).address(), page.phys());
    assert_eq!(page.references(), 2);
    drop(gather);
    assert_eq!(table.tables(), 4);
}

#[test]
fn moving_much_moves_whole_tables_and_single_pages_at_the_ends() {
    let mut table = PageTable::new().unwrap();
    let (from, to, length) = (LEAF_SPAN - PAGE, (1 << 39) - PAGE, 2 * LEAF_SPAN + 2 * PAGE);
    let pages = [0, PAGE, LEAF_SPAN, length - PAGE].map(|at| (at, map(&mut table, from + at)));
    let beside = map(&mut table, from + length);
    table.prepare(to + PAGE).unwrap();
    table.move_range(from, to, length, &mut Gather::dead()).unwrap();
    for (at, page) in &pages {
        assert_eq!(table.get(to + at).address(), page.phys());
        assert!(table.get(from + at).is_empty());
        assert_eq!(page.references(), 2);
    }
    assert_eq!(table.get(from + length).address(), beside.phys());
    // The root, three to what stays, two more to the first page and four to the rest.
    assert_eq!(table.tables(), 10);
    drop(table);
    assert!(pages.iter().all(|(_, page)| page.references() == 1));
}
