//! A list of shared objects in which each member knows its place, so that leaving takes constant time.
#![forbid(unsafe_code)]

use crate::Result;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// What can be a member of a [`Roster`]; an object is in at most one roster at a time.
pub trait Member {
    /// Where the roster keeps the member's place. Only the roster's holder touches it.
    fn place(&self) -> &AtomicUsize;
}

/// The members, in no particular order. The lock around it is the owner's matter.
pub struct Roster<T> {
    members: Vec<Arc<T>>,
}

impl<T: Member> Roster<T> {
    /// An empty roster.
    pub const fn new() -> Roster<T> {
        Roster { members: Vec::new() }
    }

    /// Makes room for one more: the next [`insert`](Roster::insert) cannot fail.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn make_room(&mut self) -> Result<()> {
        Ok(self.members.try_reserve(1)?)
    }

    /// Adds a member that is in no roster.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn insert(&mut self, member: Arc<T>) -> Result<()> {
        self.make_room()?;
        member.place().store(self.members.len(), Ordering::Relaxed);
        self.members.push(member);
        Ok(())
    }

    /// Removes a member; `None` if it is not here.
    pub fn remove(&mut self, member: &T) -> Option<Arc<T>> {
        if !self.contains(member) {
            return None;
        }
        let place = member.place().load(Ordering::Relaxed);
        let removed = self.members.swap_remove(place);
        if let Some(moved) = self.members.get(place) {
            moved.place().store(place, Ordering::Relaxed);
        }
        Some(removed)
    }

    /// Is it here?
    pub fn contains(&self, member: &T) -> bool {
        let place = member.place().load(Ordering::Relaxed);
        self.members.get(place).is_some_and(|found| core::ptr::eq(Arc::as_ptr(found), member))
    }

    /// The member at a place below [`len`](Roster::len).
    pub fn get(&self, place: usize) -> Option<&Arc<T>> {
        self.members.get(place)
    }

    /// The members.
    pub fn iter(&self) -> core::slice::Iter<'_, Arc<T>> {
        self.members.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(AtomicUsize);
    impl Member for Item {
        fn place(&self) -> &AtomicUsize {
            &self.0
        }
    }

    #[test]
    fn members_leave_in_any_order() {
        let items: Vec<_> = (0..5).map(|_| Arc::new(Item(AtomicUsize::new(0)))).collect();
        let mut roster = Roster::new();
        for item in &items {
            roster.insert(item.clone()).unwrap();
        }
        for index in [2, 0, 4, 1, 3] {
            assert!(roster.remove(&items[index]).is_some());
            assert!(roster.remove(&items[index]).is_none());
            assert_eq!(Arc::strong_count(&items[index]), 1);
        }
        assert!(roster.is_empty());
    }
}
