//! The lock over the relations between processes, and the cell that ties data to it.
//!
//! Parents, children, groups, sessions and what a parent can wait for change together, so one lock covers them all:
//! [`lock`] returns the only [`Tree`] there is, and a [`TreeCell`] opens only to it. Held for a few hundred instructions by
//! fork, exit, wait and setpgid; never in an interrupt, never across an await.

use crate::sync::{SpinLock, SpinLockGuard};
use core::cell::UnsafeCell;
use core::marker::PhantomData;

/// The right to look at, and with `&mut` to change, every [`TreeCell`].
///
/// # Invariants
/// Exactly one value of this type exists: the one inside the lock.
pub struct Tree {
    only: PhantomData<*const ()>,
}

// SAFETY: the token holds nothing; the pointer marker is there only to forbid making one elsewhere by accident.
unsafe impl Send for Tree {}

static TREE: SpinLock<Tree> = SpinLock::new(Tree { only: PhantomData });

/// Takes the lock over all relations.
#[track_caller]
pub fn lock() -> SpinLockGuard<'static, Tree> {
    TREE.lock()
}

/// Data that belongs to the tree of processes.
pub struct TreeCell<T> {
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through the one `Tree` token, whose lock hands it to one core at a time.
unsafe impl<T: Send> Sync for TreeCell<T> {}

impl<T> TreeCell<T> {
    /// A cell holding `value`.
    pub const fn new(value: T) -> TreeCell<T> {
        TreeCell { value: UnsafeCell::new(value) }
    }

    /// The value, to look at.
    pub fn get<'a>(&'a self, _tree: &'a Tree) -> &'a T {
        // SAFETY: there is one token, and it is borrowed shared for as long as the result lives, so no `get_mut` of any cell
        // can happen meanwhile.
        unsafe { &*self.value.get() }
    }

    /// The value, to change. One at a time: the token is borrowed for as long as the result lives.
    pub fn get_mut<'a>(&'a self, _tree: &'a mut Tree) -> &'a mut T {
        // SAFETY: there is one token, and it is borrowed exclusively for as long as the result lives.
        unsafe { &mut *self.value.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_lock_orders_changes_of_a_cell() {
        let cell = Arc::new(TreeCell::new(0u64));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let cell = cell.clone();
                std::thread::spawn(move || (0..1000).for_each(|_| *cell.get_mut(&mut lock()) += 1))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*cell.get(&lock()), 4000);
    }
}
