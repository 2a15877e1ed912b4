//! [`PageIndex`]: the pages of one object by number, a radix tree of up to 64 slots a node.
//!
//! Nodes are only as long as their last used slot, so a small file costs one slot a page; holes cost nothing.
//! All memory is reserved fallibly.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::Page;
use crate::Result;

const BITS: u32 = 6;
const MASK: u64 = (1 << BITS) - 1;

/// The highest page number that an object can have: offsets are below 2^63.
pub const MAX_INDEX: u64 = (i64::MAX as u64) >> 12;

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Page(Page),
    Node(Node),
}

type Node = Vec<Slot>;

/// Pages by number, with holes.
#[derive(Default)]
pub struct PageIndex {
    root: Node,
    /// How many levels of nodes are below the root.
    height: u32,
    count: u64,
}

fn slot_of(index: u64, level: u32) -> usize {
    ((index >> (BITS * level)) & MASK) as usize
}

/// Makes `node` long enough to have `slot`.
fn extend(node: &mut Node, slot: usize) -> Result<()> {
    if slot >= node.len() {
        node.try_reserve(slot + 1 - node.len())?;
        node.resize_with(slot + 1, Slot::default);
    }
    Ok(())
}

impl PageIndex {
    /// How many pages there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    fn covers(&self, index: u64) -> bool {
        let bits = BITS * (self.height + 1);
        bits >= u64::BITS || index >> bits == 0
    }

    /// The page with this number.
    #[must_use]
    #[inline]
    pub fn get(&self, index: u64) -> Option<&Page> {
        if !self.covers(index) {
            return None;
        }
        let (mut node, mut level) = (&self.root, self.height);
        loop {
            match node.get(slot_of(index, level))? {
                Slot::Empty => return None,
                Slot::Page(page) => return Some(page),
                Slot::Node(below) => {
                    node = below;
                    level -= 1;
                }
            }
        }
    }

    /// Enters a page where there is none.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn insert(&mut self, index: u64, page: Page) -> Result<()> {
        while !self.covers(index) {
            let mut root = Node::new();
            root.try_reserve(1)?;
            root.push(Slot::Node(core::mem::take(&mut self.root)));
            self.root = root;
            self.height += 1;
        }
        let (mut node, mut level) = (&mut self.root, self.height);
        loop {
            let slot = slot_of(index, level);
            extend(node, slot)?;
            let Some(slot) = node.get_mut(slot) else { return Ok(()) };
            if level == 0 {
                if matches!(slot, Slot::Empty) {
                    self.count += 1;
                }
                *slot = Slot::Page(page);
                return Ok(());
            }
            if matches!(slot, Slot::Empty) {
                *slot = Slot::Node(Node::new());
            }
            let Slot::Node(below) = slot else { return Ok(()) };
            node = below;
            level -= 1;
        }
    }

    /// Removes the pages from `first` to `last`; returns how many there were.
    pub fn remove(&mut self, first: u64, last: u64) -> u64 {
        let removed = remove_below(&mut self.root, self.height, 0, first, last);
        self.count -= removed;
        removed
    }

    /// The first page number from `from` on that has a page.
    #[must_use]
    pub fn next_present(&self, from: u64) -> Option<u64> {
        next_below(&self.root, self.height, 0, from)
    }
}

/// How many pages a slot at `level` stands for.
fn span(level: u32) -> u64 {
    1u64.checked_shl(BITS * level).unwrap_or(u64::MAX)
}

fn remove_below(node: &mut Node, level: u32, base: u64, first: u64, last: u64) -> u64 {
    let span = span(level);
    let mut removed = 0;
    let skip = (first.saturating_sub(base) / span) as usize;
    for (number, slot) in node.iter_mut().enumerate().skip(skip) {
        let start = base + number as u64 * span;
        if start > last {
            break;
        }
        match slot {
            Slot::Empty => {}
            Slot::Page(_) => {
                removed += 1;
                *slot = Slot::Empty;
            }
            Slot::Node(below) => {
                removed += remove_below(below, level - 1, start, first, last);
                if below.is_empty() {
                    *slot = Slot::Empty;
                }
            }
        }
    }
    while matches!(node.last(), Some(Slot::Empty)) {
        node.pop();
    }
    if node.is_empty() {
        *node = Node::new();
    }
    removed
}

fn next_below(node: &Node, level: u32, base: u64, from: u64) -> Option<u64> {
    let span = span(level);
    let skip = (from.saturating_sub(base) / span) as usize;
    node.iter().enumerate().skip(skip).find_map(|(number, slot)| {
        let start = base + number as u64 * span;
        match slot {
            Slot::Empty => None,
            Slot::Page(_) => Some(start),
            Slot::Node(below) => next_below(below, level - 1, start, from),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn sparse_numbers_are_found_and_removed() {
        let mut index = PageIndex::default();
        let numbers: BTreeSet<u64> = [0, 1, 63, 64, 4095, 4096, 1 << 30, MAX_INDEX].into();
        for &number in &numbers {
            index.insert(number, Page::zeroed().unwrap()).unwrap();
        }
        assert_eq!(index.count(), 8);
        for probe in [0, 2, 62, 63, 65, 4097, (1 << 30) + 1, MAX_INDEX] {
            assert_eq!(index.get(probe).is_some(), numbers.contains(&probe), "{probe}");
            assert_eq!(index.next_present(probe), numbers.range(probe..).next().copied(), "{probe}");
        }
        assert_eq!(index.remove(1, 64), 3);
        assert_eq!(index.next_present(1), Some(4095));
        assert_eq!(index.remove(0, u64::MAX), 5);
        assert_eq!((index.count(), index.root.capacity()), (0, 0));
    }
}
