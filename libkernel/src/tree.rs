//! A balanced search tree whose links own their children: no allocation, no parent pointers, no unsafe code.
//!
//! An element is an owning handle (a runnable task, an armed timer) that carries its own [`Links`]; queueing it moves the handle into
//! the tree, and what is in the tree is reachable nowhere else. Elements keep an aggregate of their subtree up to date, by which
//! [`Tree::first_where`] prunes its search.
//!
//! The least element lives outside the balanced part, so that a queue of one, and looking at the least element, cost
//! nothing. The rest is an AVL tree: insertion and removal take O(log n) steps and as much stack.
#![forbid(unsafe_code)]

#[cfg(test)]
use core::cell::Cell;
use core::ops::ControlFlow;

/// An owning handle of something that can be in a tree.
pub trait Element: Sized {
    /// What the tree is ordered by; no two elements of a tree have equal keys.
    type Key: Copy;

    /// The element's key; it does not change while the element is in a tree.
    fn key(&self) -> Self::Key;
    /// Whether `a` comes before `b`.
    fn before(a: &Self::Key, b: &Self::Key) -> bool;
    /// The links.
    fn links(&self) -> &Links<Self>;
    /// The links, to change them.
    fn links_mut(&mut self) -> &mut Links<Self>;
    /// Recomputes the aggregate of the subtree below and including this element from its children's.
    fn update_aggregate(&mut self);
    /// Called before the element goes among others, where only its key leads to it: not for the least one.
    fn enter(&mut self) {}
}

/// In which order to look at elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The least first.
    Forwards,
    /// The greatest first.
    Backwards,
}

/// The tree's part of an element.
#[derive(Debug)]
pub struct Links<T> {
    left: Option<T>,
    right: Option<T>,
    height: u8,
}

impl<T> Links<T> {
    /// Links of an element that is in no tree.
    pub const fn new() -> Self {
        Self { left: None, right: None, height: 1 }
    }

    /// The subtree before the element.
    #[inline]
    pub fn left(&self) -> Option<&T> {
        self.left.as_ref()
    }

    /// The subtree after the element.
    #[inline]
    pub fn right(&self) -> Option<&T> {
        self.right.as_ref()
    }
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The tree.
///
/// # Invariants
/// `first` comes before every element below `root`; `root` is empty if `first` is. Subtrees differ in height by at most one, and every
/// height and aggregate agrees with the children's.
#[derive(Debug)]
pub struct Tree<T> {
    first: Option<T>,
    root: Option<T>,
    len: usize,
    #[cfg(test)]
    visits: Cell<usize>,
}

impl<T: Element> Default for Tree<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Element> Tree<T> {
    /// An empty tree.
    pub const fn new() -> Self {
        Self {
            first: None,
            root: None,
            len: 0,
            #[cfg(test)]
            visits: Cell::new(0),
        }
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The least element.
    #[inline]
    pub fn first(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// The root of the balanced part, with the aggregate of all elements but the first.
    #[inline]
    pub fn rest(&self) -> Option<&T> {
        self.root.as_ref()
    }

    /// Puts an element in.
    #[inline(always)]
    pub fn insert(&mut self, mut element: T) {
        self.len += 1;
        *element.links_mut() = Links::new();
        element.update_aggregate();
        match &mut self.first {
            None => self.first = Some(element),
            Some(first) => {
                if T::before(&element.key(), &first.key()) {
                    core::mem::swap(first, &mut element);
                }
                self.insert_below_root(element);
            }
        }
    }

    #[inline(never)]
    fn insert_below_root(&mut self, mut element: T) {
        let mut visits = 0;
        element.enter();
        insert(&mut self.root, element, &mut visits);
        self.count(visits);
    }

    /// Takes the least element out.
    #[inline]
    pub fn pop_first(&mut self) -> Option<T> {
        let popped = self.first.take()?;
        self.len -= 1;
        if self.root.is_some() {
            let mut visits = 0;
            self.first = take_first(&mut self.root, &mut visits);
            if let Some(first) = &mut self.first {
                first.update_aggregate();
            }
            self.count(visits);
        }
        Some(popped)
    }

    /// Takes out the element with this key.
    pub fn remove(&mut self, key: &T::Key) -> Option<T> {
        let first = self.first.as_ref()?.key();
        if !T::before(&first, key) {
            return if T::before(key, &first) { None } else { self.pop_first() };
        }
        let mut visits = 0;
        let removed = remove(&mut self.root, key, &mut visits);
        self.count(visits);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The least element that satisfies `wanted`, if `possible` says for each subtree's root whether its aggregate allows one.
    ///
    /// Where `possible` is exact, this takes O(log n) steps.
    pub fn first_where(&self, possible: impl Fn(&T) -> bool, wanted: impl Fn(&T) -> bool) -> Option<&T> {
        let first = self.first.as_ref()?;
        if wanted(first) {
            return Some(first);
        }
        let mut visits = 0;
        let mut at = self.root.as_ref().filter(|root| possible(root));
        let found = loop {
            let Some(node) = at else { break None };
            visits += 1;
            let links = node.links();
            if let Some(left) = links.left().filter(|left| possible(left)) {
                at = Some(left);
            } else if wanted(node) {
                break Some(node);
            } else {
                at = links.right().filter(|right| possible(right));
            }
        };
        self.count(visits);
        found
    }

    /// The element with this key, in O(log n) steps.
    pub fn get(&self, key: &T::Key) -> Option<&T> {
        let mut at = self.first.as_ref();
        let mut visits = 0;
        if at.is_some_and(|first| T::before(&first.key(), key)) {
            at = self.root.as_ref();
        }
        let found = loop {
            let Some(node) = at else { break None };
            visits += 1;
            at = if T::before(key, &node.key()) {
                node.links().left()
            } else if T::before(&node.key(), key) {
                node.links().right()
            } else {
                break Some(node);
            };
        };
        self.count(visits);
        found
    }

    /// Calls `action` on elements until it breaks: in order, or from the last one backwards. Subtrees for whose root `possible` says that
    /// its aggregate allows none are left out, but the least element never is; where `possible` is exact, one that is wanted takes O(log n)
    /// steps to find.
    pub fn try_for_each_in(
        &self,
        order: Order,
        possible: impl Fn(&T) -> bool,
        mut action: impl FnMut(&T) -> ControlFlow<()>,
    ) {
        let Some(first) = &self.first else { return };
        let mut visits = 1;
        let before = if order == Order::Forwards { action(first) } else { ControlFlow::Continue(()) };
        if before.is_continue() {
            let rest = walk_in(self.root.as_ref(), order, &possible, &mut action, &mut visits);
            if rest.is_continue() && order == Order::Backwards {
                let _ = action(first);
            }
        }
        self.count(visits);
    }

    /// Calls `action` on each element in order.
    pub fn for_each(&self, mut action: impl FnMut(&T)) {
        fn walk<T: Element>(at: Option<&T>, action: &mut impl FnMut(&T)) {
            if let Some(node) = at {
                walk(node.links().left(), action);
                action(node);
                walk(node.links().right(), action);
            }
        }
        if let Some(first) = &self.first {
            action(first);
        }
        walk(self.root.as_ref(), &mut action);
    }

    #[inline]
    fn count(&self, visits: usize) {
        #[cfg(test)]
        self.visits.set(self.visits.get() + visits);
        #[cfg(not(test))]
        let _ = visits;
    }

    /// How many elements were visited since the last call.
    #[cfg(test)]
    pub fn take_visits(&self) -> usize {
        self.visits.take()
    }

    /// Checks the invariants; `aggregate` says whether an element's aggregate agrees with its children's.
    #[cfg(test)]
    pub fn check(&self, aggregate: impl Fn(&T) -> bool) {
        fn walk<T: Element>(at: Option<&T>, aggregate: &impl Fn(&T) -> bool) -> u8 {
            let Some(node) = at else { return 0 };
            let links = node.links();
            let (left, right) = (walk(links.left(), aggregate), walk(links.right(), aggregate));
            assert!(left.abs_diff(right) <= 1, "out of balance: {left} and {right}");
            assert_eq!(links.height, 1 + left.max(right));
            assert!(aggregate(node), "stale aggregate");
            1 + left.max(right)
        }
        walk(self.root.as_ref(), &aggregate);
        assert!(self.first.as_ref().is_none_or(aggregate), "stale aggregate of the first");
        assert!(self.first.is_some() || self.root.is_none());
        let (mut count, mut last) = (0, None::<T::Key>);
        self.for_each(|element| {
            count += 1;
            let key = element.key();
            assert!(last.is_none_or(|last| T::before(&last, &key)), "out of order");
            last = Some(key);
        });
        assert_eq!(count, self.len);
    }
}

#[inline]
fn height<T: Element>(link: &Option<T>) -> u8 {
    link.as_ref().map_or(0, |node| node.links().height)
}

/// Brings an element up to date with its children.
#[inline]
fn update<T: Element>(node: &mut T) {
    let links = node.links_mut();
    links.height = 1 + height(&links.left).max(height(&links.right));
    node.update_aggregate();
}

fn walk_in<T: Element>(
    at: Option<&T>,
    order: Order,
    possible: &impl Fn(&T) -> bool,
    action: &mut impl FnMut(&T) -> ControlFlow<()>,
    visits: &mut usize,
) -> ControlFlow<()> {
    let Some(node) = at else { return ControlFlow::Continue(()) };
    *visits += 1;
    if !possible(node) {
        return ControlFlow::Continue(());
    }
    let links = node.links();
    let (sooner, later) = match order {
        Order::Forwards => (links.left(), links.right()),
        Order::Backwards => (links.right(), links.left()),
    };
    walk_in(sooner, order, possible, action, visits)?;
    action(node)?;
    walk_in(later, order, possible, action, visits)
}

fn rotate_left<T: Element>(mut node: T) -> T {
    let Some(mut top) = node.links_mut().right.take() else { return node };
    node.links_mut().right = top.links_mut().left.take();
    update(&mut node);
    top.links_mut().left = Some(node);
    top
}

fn rotate_right<T: Element>(mut node: T) -> T {
    let Some(mut top) = node.links_mut().left.take() else { return node };
    node.links_mut().left = top.links_mut().right.take();
    update(&mut node);
    top.links_mut().right = Some(node);
    top
}

/// Restores balance, height and aggregate at the top of a subtree whose children are in order.
fn rebalance<T: Element>(link: &mut Option<T>) {
    let Some(node) = link else { return };
    let links = node.links_mut();
    let (left, right) = (height(&links.left), height(&links.right));
    if left.abs_diff(right) <= 1 {
        update(node);
        return;
    }
    let Some(mut node) = link.take() else { return };
    let links = node.links_mut();
    let mut top = if left > right {
        if links.left.as_ref().is_some_and(|left| height(&left.links().left) < height(&left.links().right)) {
            links.left = links.left.take().map(|left| {
                let mut top = rotate_left(left);
                update(&mut top);
                top
            });
        }
        rotate_right(node)
    } else {
        if links.right.as_ref().is_some_and(|right| height(&right.links().right) < height(&right.links().left)) {
            links.right = links.right.take().map(|right| {
                let mut top = rotate_right(right);
                update(&mut top);
                top
            });
        }
        rotate_left(node)
    };
    update(&mut top);
    *link = Some(top);
}

fn insert<T: Element>(link: &mut Option<T>, element: T, visits: &mut usize) {
    *visits += 1;
    let Some(node) = link else {
        *link = Some(element);
        if let Some(node) = link {
            update(node);
        }
        return;
    };
    let side =
        if T::before(&element.key(), &node.key()) { &mut node.links_mut().left } else { &mut node.links_mut().right };
    insert(side, element, visits);
    rebalance(link);
}

fn take_first<T: Element>(link: &mut Option<T>, visits: &mut usize) -> Option<T> {
    *visits += 1;
    let node = link.as_mut()?;
    if node.links().left.is_some() {
        let first = take_first(&mut node.links_mut().left, visits);
        rebalance(link);
        return first;
    }
    let mut node = link.take()?;
    *link = node.links_mut().right.take();
    *node.links_mut() = Links::new();
    Some(node)
}

fn remove<T: Element>(link: &mut Option<T>, key: &T::Key, visits: &mut usize) -> Option<T> {
    *visits += 1;
    let node = link.as_mut()?;
    let here = node.key();
    let removed = if T::before(key, &here) {
        remove(&mut node.links_mut().left, key, visits)
    } else if T::before(&here, key) {
        remove(&mut node.links_mut().right, key, visits)
    } else {
        let mut node = link.take()?;
        let links = node.links_mut();
        let (left, mut right) = (links.left.take(), links.right.take());
        *links = Links::new();
        *link = match take_first(&mut right, visits) {
            None => left,
            Some(mut successor) => {
                let links = successor.links_mut();
                links.left = left;
                links.right = right;
                Some(successor)
            }
        };
        Some(node)
    };
    rebalance(link);
    removed
}

#[cfg(test)]
mod tests;
