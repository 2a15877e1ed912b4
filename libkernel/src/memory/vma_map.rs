//! [`VmaMap`]: the mappings of an address space, ordered by address.
//!
//! A two-level sorted array: chunks of at most [`CHUNK`] mappings. That is one chunk for nearly every program, so look-up is
//! one binary search through few cache lines, and copying for fork is one allocation; with tens of thousands of
//! mappings, inserting still moves only a chunk and the short list of chunks, and a [`GapTree`] over the chunks finds the
//! holes. Every allocation is fallible.
//!
//! # Invariants
//! Chunks are not empty. Mappings do not overlap and are in ascending order. A chunk's `max_gap` is the largest hole between two
//! neighbours within it. Where there is more than one chunk, `gaps` has for each the largest hole between one of its mappings and
//! the mapping after that.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::cell::Cell;
use core::mem;

use super::gap_tree::GapTree;
use super::vma::Vma;
use crate::{Errno, Result};

const CHUNK: usize = 64;

#[derive(Default)]
struct Chunk {
    vmas: Vec<Vma>,
    max_gap: u64,
}

impl Chunk {
    fn start(&self) -> u64 {
        self.vmas.first().map_or(0, |vma| vma.start)
    }

    fn end(&self) -> u64 {
        self.vmas.last().map_or(0, |vma| vma.end)
    }

    fn update_gap(&mut self) {
        let starts = self.vmas.iter().skip(1).map(|vma| vma.start);
        let gaps = self.vmas.iter().zip(starts).map(|(vma, next)| next.saturating_sub(vma.end));
        self.max_gap = gaps.max().unwrap_or(0);
    }

    /// The end of the highest hole of `length` bytes that lies between two mappings or between the last one and `limit`.
    fn hole_below(&self, length: u64, limit: u64) -> Option<u64> {
        let mut top = limit;
        for vma in self.vmas.iter().rev() {
            if top.saturating_sub(vma.end) >= length {
                return Some(top);
            }
            top = vma.start.min(top);
        }
        None
    }
}

/// Position of a mapping; any change of the map invalidates it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    chunk: usize,
    index: usize,
}

/// The mappings of an address space. See the module's comment.
#[derive(Default)]
pub struct VmaMap {
    chunks: Vec<Chunk>,
    gaps: GapTree,
    count: usize,
    /// Where the last look-up found something: as a program comes back to the same mappings, a guess worth making.
    recent: Cell<Position>,
}

impl VmaMap {
    /// No mappings.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), gaps: GapTree::new(), count: 0, recent: Cell::new(Position { chunk: 0, index: 0 }) }
    }

    /// Number of mappings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no mappings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A map with the same mappings, of which `keep` decides. `ENOMEM`.
    pub fn try_clone(&self, mut keep: impl FnMut(&Vma) -> bool) -> Result<Self> {
        let mut copy = Self::new();
        copy.chunks.try_reserve(self.chunks.len()).map_err(|_| Errno::ENOMEM)?;
        for chunk in &self.chunks {
            let mut vmas = Vec::new();
            vmas.try_reserve(chunk.vmas.len()).map_err(|_| Errno::ENOMEM)?;
            vmas.extend(chunk.vmas.iter().filter(|vma| keep(vma)).cloned());
            if !vmas.is_empty() {
                copy.count += vmas.len();
                let mut chunk = Chunk { vmas, max_gap: 0 };
                chunk.update_gap();
                copy.chunks.push(chunk);
            }
        }
        copy.gaps.reserve(copy.chunks.len())?;
        copy.rebuild_gaps();
        Ok(copy)
    }

    /// Position of the first mapping that ends after `address`.
    #[inline]
    #[must_use]
    pub fn position_from(&self, address: u64) -> Position {
        let chunk = self.chunks.partition_point(|chunk| chunk.end() <= address);
        let index = self.chunks.get(chunk).map_or(0, |chunk| chunk.vmas.partition_point(|vma| vma.end <= address));
        Position { chunk, index }
    }

    /// The mapping at `position`.
    #[inline]
    #[must_use]
    pub fn at(&self, position: Position) -> Option<&Vma> {
        self.chunks.get(position.chunk)?.vmas.get(position.index)
    }

    /// The mapping that contains `address`.
    #[inline]
    #[must_use]
    pub fn find(&self, address: u64) -> Option<&Vma> {
        // Mappings do not overlap: whichever contains the address is the one, wherever the guess comes from.
        if let Some(vma) = self.at(self.recent.get()).filter(|vma| vma.start <= address && address < vma.end) {
            return Some(vma);
        }
        self.search(address)
    }

    fn search(&self, address: u64) -> Option<&Vma> {
        let position = self.position_from(address);
        let found = self.at(position).filter(|vma| vma.start <= address)?;
        self.recent.set(position);
        Some(found)
    }

    /// The last mapping that ends at or below `address`.
    #[must_use]
    pub fn find_below(&self, address: u64) -> Option<&Vma> {
        self.at(self.before(self.position_from(address))?)
    }

    /// The mappings that end after `address`, in order.
    pub fn iter_from(&self, address: u64) -> impl Iterator<Item = &Vma> {
        let position = self.position_from(address);
        let first = self.chunks.get(position.chunk).and_then(|chunk| chunk.vmas.get(position.index..)).unwrap_or(&[]);
        let rest = self.chunks.get(position.chunk + 1..).unwrap_or(&[]);
        first.iter().chain(rest.iter().flat_map(|chunk| &chunk.vmas))
    }

    /// All mappings in order.
    pub fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.chunks.iter().flat_map(|chunk| &chunk.vmas)
    }

    /// The mappings that intersect `[start, end)`, in order.
    pub fn iter_range(&self, start: u64, end: u64) -> impl Iterator<Item = &Vma> {
        self.iter_from(start).take_while(move |vma| vma.start < end)
    }

    /// Whether anything is mapped in `[start, end)`.
    #[must_use]
    pub fn overlaps(&self, start: u64, end: u64) -> bool {
        self.iter_range(start, end).next().is_some()
    }

    /// Whether all of `[start, end)` is mapped.
    #[must_use]
    pub fn covers(&self, start: u64, end: u64) -> bool {
        let mut reached = start;
        for vma in self.iter_range(start, end) {
            if vma.start > reached {
                return false;
            }
            reached = vma.end;
        }
        reached >= end
    }

    fn before(&self, position: Position) -> Option<Position> {
        match position.index.checked_sub(1) {
            Some(index) => Some(Position { index, ..position }),
            None => {
                let chunk = position.chunk.checked_sub(1)?;
                Some(Position { chunk, index: self.chunks.get(chunk)?.vmas.len() - 1 })
            }
        }
    }

    fn after(&self, position: Position) -> Position {
        match self.chunks.get(position.chunk) {
            Some(chunk) if position.index + 1 >= chunk.vmas.len() => Position { chunk: position.chunk + 1, index: 0 },
            _ => Position { index: position.index + 1, ..position },
        }
    }

    /// The largest hole between a mapping of the chunk `index` and the one after it.
    fn gap(&self, index: usize) -> u64 {
        let Some(chunk) = self.chunks.get(index) else { return 0 };
        let behind = self.chunks.get(index + 1).map_or(0, |next| next.start().saturating_sub(chunk.end()));
        chunk.max_gap.max(behind)
    }

    /// To be called when the mappings of the chunk `index` have changed.
    fn refresh_gaps(&mut self, index: usize) {
        if self.chunks.len() > 1 {
            if let Some(before) = index.checked_sub(1) {
                self.gaps.set(before, self.gap(before));
            }
            self.gaps.set(index, self.gap(index));
        }
    }

    /// To be called when the list of chunks has changed.
    fn rebuild_gaps(&mut self) {
        if self.chunks.len() > 1 {
            let mut gaps = mem::take(&mut self.gaps);
            gaps.rebuild((0..self.chunks.len()).map(|index| self.gap(index)));
            self.gaps = gaps;
        }
    }

    /// Puts `vma` before `position`. `ENOMEM` leaves everything as it was.
    fn insert_at(&mut self, mut position: Position, vma: Vma) -> Result<()> {
        if position.index == 0 && position.chunk > 0 {
            // Rather at the end of the chunk before.
            position.chunk -= 1;
            position.index = self.chunks.get(position.chunk).map_or(0, |chunk| chunk.vmas.len());
        }
        if self.chunks.is_empty() {
            self.chunks.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.chunks.push(Chunk::default());
        }
        if self.chunks.get(position.chunk).is_some_and(|chunk| chunk.vmas.len() >= CHUNK) {
            self.split_chunk(position.chunk)?;
            if position.index > CHUNK / 2 {
                position = Position { chunk: position.chunk + 1, index: position.index - CHUNK / 2 };
            }
        }
        let Some(chunk) = self.chunks.get_mut(position.chunk) else { return Err(Errno::ENOMEM) };
        chunk.vmas.try_reserve(1).map_err(|_| Errno::ENOMEM).inspect_err(|_| {
            // Only a map without mappings has just got its first, still empty, chunk.
            debug_assert!(self.count > 0 || self.chunks.len() <= 1);
        })?;
        let Some(chunk) = self.chunks.get_mut(position.chunk) else { return Err(Errno::ENOMEM) };
        chunk.vmas.insert(position.index.min(chunk.vmas.len()), vma);
        chunk.update_gap();
        self.refresh_gaps(position.chunk);
        self.count += 1;
        Ok(())
    }

    fn split_chunk(&mut self, at: usize) -> Result<()> {
        self.chunks.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.gaps.reserve(self.chunks.len() + 1)?;
        let mut upper = Vec::new();
        upper.try_reserve(CHUNK).map_err(|_| Errno::ENOMEM)?;
        let Some(lower) = self.chunks.get_mut(at) else { return Ok(()) };
        upper.extend(lower.vmas.drain(CHUNK / 2..));
        lower.update_gap();
        let mut upper = Chunk { vmas: upper, max_gap: 0 };
        upper.update_gap();
        self.chunks.insert(at + 1, upper);
        self.rebuild_gaps();
        Ok(())
    }

    fn remove_at(&mut self, position: Position) -> Option<Vma> {
        let chunk = self.chunks.get_mut(position.chunk)?;
        if position.index >= chunk.vmas.len() {
            return None;
        }
        let vma = chunk.vmas.remove(position.index);
        if chunk.vmas.is_empty() {
            self.chunks.remove(position.chunk);
            self.rebuild_gaps();
        } else {
            chunk.update_gap();
            self.refresh_gaps(position.chunk);
        }
        self.count -= 1;
        Some(vma)
    }

    /// Changes the mapping at `position`; it must stay between its neighbours.
    fn change_at<R>(&mut self, position: Position, change: impl FnOnce(&mut Vma) -> R) -> Option<R> {
        let chunk = self.chunks.get_mut(position.chunk)?;
        let result = change(chunk.vmas.get_mut(position.index)?);
        chunk.update_gap();
        self.refresh_gaps(position.chunk);
        Some(result)
    }

    /// Adds a mapping where nothing is mapped, merging it with neighbours that it continues. `ENOMEM`.
    pub fn insert(&mut self, vma: Vma) -> Result<()> {
        debug_assert!(vma.start < vma.end && !self.overlaps(vma.start, vma.end));
        let next = self.position_from(vma.start);
        let (start, end) = (vma.start, vma.end);
        let mut absorbed = false;
        if let Some(previous) = self.before(next)
            && self.at(previous).is_some_and(|previous| previous.continues_with(&vma))
        {
            self.change_at(previous, |previous| previous.end = end);
            absorbed = true;
        } else if self.at(next).is_some_and(|next| vma.continues_with(next)) {
            let offset = vma.offset;
            self.change_at(next, |next| (next.start, next.offset) = (start, offset));
            absorbed = true;
        }
        if !absorbed {
            return self.insert_at(next, vma);
        }
        self.merge_at(end);
        Ok(())
    }

    /// Merges the two mappings that meet at `border`, if they continue each other.
    pub fn merge_at(&mut self, border: u64) {
        let upper = self.position_from(border);
        let Some(lower) = self.before(upper) else { return };
        let (Some(first), Some(second)) = (self.at(lower), self.at(upper)) else { return };
        if first.end == border && first.continues_with(second) {
            let end = second.end;
            self.remove_at(upper);
            // The removal left everything before it in place.
            self.change_at(lower, |first| first.end = end);
        }
    }

    /// Makes `at` a border between mappings, if it lies inside one. `ENOMEM`.
    pub fn split_at(&mut self, at: u64) -> Result<()> {
        let position = self.position_from(at);
        let Some(vma) = self.at(position) else { return Ok(()) };
        if vma.start >= at {
            return Ok(());
        }
        let mut lower = vma.clone();
        let upper = lower.split_off(at);
        // First the fallible part, with the halves in the wrong order for a moment; nobody looks meanwhile.
        self.insert_at(self.after(position), upper)?;
        let position = self.position_of_start(lower.start);
        let end = lower.end;
        self.change_at(position, |vma| vma.end = end);
        Ok(())
    }

    /// The position of the mapping that starts at `start`, also while it overlaps its successor.
    fn position_of_start(&self, start: u64) -> Position {
        let chunk = self.chunks.partition_point(|chunk| chunk.start() <= start).saturating_sub(1);
        let index = self.chunks.get(chunk).map_or(0, |chunk| chunk.vmas.partition_point(|vma| vma.start < start));
        Position { chunk, index }
    }

    /// Removes the mappings within `[start, end)`, both of which are borders, handing each to `removed`.
    pub fn remove_range(&mut self, start: u64, end: u64, mut removed: impl FnMut(Vma)) {
        loop {
            let position = self.position_from(start);
            if self.at(position).is_none_or(|vma| vma.start >= end) {
                return;
            }
            if let Some(vma) = self.remove_at(position) {
                debug_assert!(vma.start >= start && vma.end <= end);
                removed(vma);
            }
        }
    }

    /// Changes the mappings within `[start, end)`, both of which are borders, then merges what became alike.
    pub fn change_range(&mut self, start: u64, end: u64, mut change: impl FnMut(&mut Vma)) {
        let mut position = self.position_from(start);
        while self.at(position).is_some_and(|vma| vma.start < end) {
            self.change_at(position, &mut change);
            position = self.after(position);
        }
        let mut border = end;
        loop {
            self.merge_at(border);
            if border <= start {
                return;
            }
            // The start of the mapping that ends at this border, or contains it after a merge.
            match self.find(border - 1) {
                Some(vma) if vma.start < border => border = vma.start.max(start),
                _ => match self.find_below(border) {
                    Some(vma) if vma.end > start => border = vma.end,
                    _ => border = start,
                },
            }
        }
    }

    /// Moves the start of the mapping that starts at `start` down to `new_start`, where nothing is mapped: stack growth.
    pub fn extend_down(&mut self, start: u64, new_start: u64) {
        let position = self.position_from(start);
        self.change_at(position, |vma| vma.start = new_start);
    }

    /// The highest hole of `length` bytes that ends at or below `limit` and starts at or above `floor`; its start.
    /// O(log n).
    #[must_use]
    pub fn find_hole_below(&self, length: u64, floor: u64, limit: u64) -> Option<u64> {
        debug_assert!(length > 0);
        let below = self.chunks.partition_point(|chunk| chunk.start() < limit);
        let Some(last) = below.checked_sub(1).and_then(|last| self.chunks.get(last)) else {
            return Self::top_of_hole(length, floor, limit);
        };
        let end = last.hole_below(length, limit).or_else(|| {
            let index = self.gaps.last_before(below - 1, length)?;
            self.chunks.get(index)?.hole_below(length, self.chunks.get(index + 1)?.start())
        });
        Self::top_of_hole(length, floor, end.unwrap_or(self.chunks.first()?.start().min(limit)))
    }

    /// Where `length` bytes begin that end at `end`, if that is at or above `floor`.
    fn top_of_hole(length: u64, floor: u64, end: u64) -> Option<u64> {
        end.checked_sub(length).filter(|start| *start >= floor)
    }

    /// The lowest hole of `length` bytes within `[floor, limit)`; its start.
    #[must_use]
    pub fn find_hole_above(&self, length: u64, floor: u64, limit: u64) -> Option<u64> {
        let mut bottom = floor;
        for vma in self.iter_from(floor) {
            if vma.start.saturating_sub(bottom) >= length {
                break;
            }
            bottom = vma.end;
        }
        (bottom.checked_add(length)? <= limit).then_some(bottom)
    }
}

#[cfg(test)]
mod tests;
