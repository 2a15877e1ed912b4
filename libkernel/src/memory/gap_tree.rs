//! [`GapTree`]: the largest of a list of gaps, by position; finds the last gap that is large enough in O(log n).
//!
//! A tournament in an array: the leaves are the gaps, every other node is the larger of its two children. Who owns a tree keeps it
//! in step with the list it describes; one gap that changes costs O(log n), a list that grows or shrinks O(n). Only
//! [`reserve`](GapTree::reserve) allocates.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use crate::{Errno, Result};

/// The gaps of a list, in bytes. See the module's comment.
#[derive(Default)]
pub struct GapTree {
    /// Node 1 is the root, the children of node n are 2n and 2n + 1; the upper half are the leaves.
    nodes: Vec<u64>,
}

impl GapTree {
    /// A tree of no gaps.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    const fn size(gaps: usize) -> usize {
        2 * gaps.next_power_of_two()
    }

    /// Makes room for a list of `gaps` gaps. `ENOMEM`.
    pub fn reserve(&mut self, gaps: usize) -> Result<()> {
        let more = Self::size(gaps).saturating_sub(self.nodes.len());
        self.nodes.try_reserve(more).map_err(|_| Errno::ENOMEM)
    }

    /// Describes the list `gaps`, for which [`reserve`](Self::reserve) has made room.
    pub fn rebuild(&mut self, gaps: impl ExactSizeIterator<Item = u64>) {
        let size = Self::size(gaps.len());
        debug_assert!(size <= self.nodes.capacity());
        self.nodes.clear();
        self.nodes.resize(size / 2, 0);
        self.nodes.extend(gaps);
        self.nodes.resize(size, 0);
        for node in (1..size / 2).rev() {
            self.update(node);
        }
    }

    fn node(&self, node: usize) -> u64 {
        self.nodes.get(node).copied().unwrap_or(0)
    }

    fn update(&mut self, node: usize) {
        let larger = self.node(2 * node).max(self.node(2 * node + 1));
        if let Some(node) = self.nodes.get_mut(node) {
            *node = larger;
        }
    }

    /// The gap at `index` is `gap` now.
    pub fn set(&mut self, index: usize, gap: u64) {
        let mut node = self.nodes.len() / 2 + index;
        if let Some(leaf) = self.nodes.get_mut(node) {
            *leaf = gap;
        }
        while node > 1 {
            node /= 2;
            self.update(node);
        }
    }

    /// The nearest node to the left of `node` that covers a gap of `length` and nothing from `node` on.
    fn left_of(&self, mut node: usize, length: u64) -> Option<usize> {
        while node > 1 {
            // The left siblings on the way up cover all that comes before, from the right to the left.
            if node % 2 == 1 && self.node(node - 1) >= length {
                return Some(node - 1);
            }
            node /= 2;
        }
        None
    }

    /// Index of the last gap before `end` that is at least `length`, which is not 0.
    #[must_use]
    pub fn last_before(&self, end: usize, length: u64) -> Option<usize> {
        debug_assert!(length > 0);
        let leaves = self.nodes.len() / 2;
        let mut node = if end >= leaves { 1 } else { self.left_of(leaves + end, length)? };
        if self.node(node) < length {
            return None;
        }
        while node < leaves {
            node = if self.node(2 * node + 1) >= length { 2 * node + 1 } else { 2 * node };
        }
        Some(node - leaves)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails is to panic")]
    use proptest::prelude::*;

    use super::*;

    fn tree(gaps: &[u64]) -> GapTree {
        let mut tree = GapTree::new();
        tree.reserve(gaps.len()).unwrap();
        tree.rebuild(gaps.iter().copied());
        tree
    }

    #[test]
    fn an_empty_tree_has_no_gap() {
        assert_eq!(GapTree::new().last_before(0, 1), None);
        assert_eq!(tree(&[]).last_before(9, 1), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 512 }, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn finds_what_a_search_finds(
            mut gaps in prop::collection::vec(0u64..20, 1..70),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0u64..20), 0..20),
            end in 0usize..80,
            length in 1u64..22,
        ) {
            let mut tree = tree(&gaps);
            for (index, gap) in changes {
                let index = index.index(gaps.len());
                *gaps.get_mut(index).unwrap() = gap;
                tree.set(index, gap);
            }
            let wanted = gaps.iter().take(end).rposition(|gap| *gap >= length);
            prop_assert_eq!(tree.last_before(end, length), wanted);
        }
    }
}
