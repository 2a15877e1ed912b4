//! epoll(7): a set of files, and a list of those that had something happen.
//!
//! Each item registers once, persistently, with the wait queues of its file. A wake puts it on the ready list, if it is not there,
//! and wakes whoever waits; that may happen in an interrupt, so the list has its room reserved when items are added and never
//! allocates then. A wait takes items off the list and asks each what is really there: a level-triggered one that has something goes back on,
//! an edge-triggered one stays off until the next wake. So a wait costs what is ready, not what is watched, and no event is lost.
//!
//! Lock order: the nesting of sets, then the items of a set (of a watching one before those of the one it watches), then the queues of a
//! file, then the ready list.
//!
//! One set may watch another, but only so deep and by so many ways that a question, or a wake, which passes through all of them stays
//! short and shallow; and never in a circle. So each set knows which sets watch it, and what is allowed is found out and done under one
//! lock.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::any::Any;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;

use bitflags::bitflags;
use linux_raw_sys::general as linux;

use super::fd_table::Fd;
use super::file_object::FileObject;
use super::open_file::OpenFile;
use crate::memory::frames;
use crate::poll::{Listeners, PollEvents, PollTable};
use crate::sync::{IrqSpinLock, SpinLock, WaitMode, WaitQueue};
use crate::{Errno, Result};

/// How many sets may stand above a set, one watching the other.
const MAX_DEPTH: usize = 5;

/// By how many ways a set may be reached from those above it, and how many may lie below one.
const MAX_WAYS: usize = 256;

/// From how many items on a set first looks for those whose file is gone.
const FIRST_SWEEP: usize = 32;

/// Held while a set comes to watch another.
static NESTING: SpinLock<()> = SpinLock::new(());

bitflags! {
    /// How an item is watched, besides for which events.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Mode: u32 {
        /// Report only after something happened, not as long as it is so.
        const EDGE = linux::EPOLLET;
        /// Report once, then only after `EPOLL_CTL_MOD`.
        const ONE_SHOT = linux::EPOLLONESHOT;
        /// Wake one of several sets; here all are woken, which epoll_ctl(2) allows.
        const EXCLUSIVE = linux::EPOLLEXCLUSIVE;
        /// Keep the system awake; it never sleeps.
        const WAKE_UP = linux::EPOLLWAKEUP;
    }
}

/// What epoll_wait(2) reports: the events, and the number that the program gave with the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What there is.
    pub events: PollEvents,
    /// What the program calls it.
    pub data: u64,
}

/// The file of an item: its number, and which open file that was when it was added.
type Key = (Fd, usize);

/// What an item is to watch for.
#[derive(Clone, Copy)]
struct Interest {
    events: PollEvents,
    mode: Mode,
    data: u64,
    /// Not reported before `EPOLL_CTL_MOD` (after a one-shot).
    spent: bool,
}

/// The part of a set that wakers reach.
struct Ready {
    list: IrqSpinLock<VecDeque<Arc<Signal>>>,
    /// Woken when the list gets something.
    queue: Arc<WaitQueue>,
}

/// What a file's wait queues hold of an item.
struct Signal {
    key: Key,
    ready: Weak<Ready>,
    /// Whether it is on the ready list.
    listed: AtomicBool,
}

struct Item {
    file: Weak<OpenFile>,
    interest: Interest,
    signal: Arc<Signal>,
    /// The registration with the file's queues; dropped, it ends.
    listeners: Pin<Box<Listeners>>,
}

/// What a set watches.
struct Items {
    map: BTreeMap<Key, Item>,
    /// With so many items, those whose file is gone are dropped: so that adding stays cheap, and what is gone takes no more room than what
    /// is there.
    sweep_at: usize,
}

/// A set of watched files.
pub struct Epoll {
    items: SpinLock<Items>,
    ready: Arc<Ready>,
    /// The sets that watch this one, once for each item.
    watchers: SpinLock<Vec<Weak<Epoll>>>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(ready) = self.ready.upgrade() else { return };
        ready.list(self);
        ready.queue.wake_all();
    }
}

impl Ready {
    fn list(&self, signal: &Arc<Signal>) {
        self.list_by(signal, VecDeque::push_back);
    }

    /// Puts back what was just taken off the front.
    fn relist(&self, signal: &Arc<Signal>) {
        self.list_by(signal, VecDeque::push_front);
    }

    fn list_by(&self, signal: &Arc<Signal>, push: fn(&mut VecDeque<Arc<Signal>>, Arc<Signal>)) {
        if !signal.listed.swap(true, Ordering::AcqRel) {
            let mut list = self.list.lock();
            debug_assert!(list.len() < list.capacity(), "room was reserved with the item");
            push(&mut list, signal.clone());
        }
    }
}

impl Interest {
    fn new(events: u32, data: u64) -> Self {
        let always = PollEvents::ERR | PollEvents::HUP;
        Self {
            events: PollEvents::from_bits_truncate(events) | always,
            mode: Mode::from_bits_truncate(events),
            data,
            spent: false,
        }
    }
}

impl Item {
    /// Registers with the file's queues, and lists the item if the file has something already.
    fn watch(&mut self, file: &OpenFile, ready: &Ready) -> Result<()> {
        let waker: Waker = self.signal.clone().into();
        let mut table = PollTable::registering(self.listeners.as_mut(), &waker, WaitMode::Persistent);
        let events = file.poll(&mut table);
        if table.is_exhausted() {
            return Err(Errno::ENOMEM);
        }
        drop(table);
        if !self.interest.spent && events.intersects(self.interest.events) {
            ready.list(&self.signal);
            ready.queue.wake_all();
        }
        Ok(())
    }
}

fn key(fd: Fd, file: &Arc<OpenFile>) -> Key {
    (fd, Arc::as_ptr(file) as usize)
}

impl Items {
    fn sweep(&mut self) {
        if self.map.len() >= self.sweep_at {
            self.map.retain(|_, item| item.file.strong_count() > 0);
            self.sweep_at = FIRST_SWEEP.max(self.map.len() * 2);
        }
    }
}

impl Epoll {
    /// An empty set.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let ready = Ready { list: IrqSpinLock::new(VecDeque::new()), queue: Arc::new(WaitQueue::new()) };
        Arc::new(Self {
            items: SpinLock::new(Items { map: BTreeMap::new(), sweep_at: FIRST_SWEEP }),
            ready: Arc::new(ready),
            watchers: SpinLock::new(Vec::new()),
        })
    }

    /// The sets that this one watches.
    fn watched_sets(&self) -> Result<Vec<Arc<Epoll>>> {
        let mut sets = Vec::new();
        for set in self.items.lock().map.values().filter_map(|item| as_epoll(&*item.file.upgrade()?)) {
            sets.try_reserve(1)?;
            sets.push(set);
        }
        Ok(sets)
    }

    /// The sets that watch this one.
    fn watching_sets(&self) -> Result<Vec<Arc<Epoll>>> {
        let watchers = self.watchers.lock();
        let mut sets = Vec::new();
        sets.try_reserve_exact(watchers.len())?;
        sets.extend(watchers.iter().filter_map(Weak::upgrade));
        Ok(sets)
    }

    /// Fails where this set, or one below it, has too many above it; a circle has without end. The nesting is locked.
    fn check_below(&self, ways: &mut usize) -> Result<()> {
        *ways = ways.checked_sub(1).ok_or(Errno::ELOOP)?;
        self.check_above(0, &mut { MAX_WAYS })?;
        self.watched_sets()?.iter().try_for_each(|set| set.check_below(ways))
    }

    fn check_above(&self, depth: usize, ways: &mut usize) -> Result<()> {
        *ways = ways.checked_sub(1).filter(|_| depth <= MAX_DEPTH).ok_or(Errno::ELOOP)?;
        self.watching_sets()?.iter().try_for_each(|set| set.check_above(depth + 1, ways))
    }

    /// Adds a file (`EPOLL_CTL_ADD`).
    ///
    /// # Errors
    /// `EEXIST`, `EPERM` for a file that is always ready, `ELOOP`, `EINVAL` for the set itself, `ENOMEM`.
    pub fn add(self: &Arc<Self>, fd: Fd, file: &Arc<OpenFile>, events: u32, data: u64) -> Result<()> {
        if !file.can_poll() {
            return Err(Errno::EPERM);
        }
        if frames::low() {
            return Err(Errno::ENOMEM);
        }
        match as_epoll(file) {
            Some(inner) => self.add_set(&inner, fd, file, events, data),
            None => self.add_item(fd, file, events, data),
        }
    }

    fn add_set(self: &Arc<Self>, inner: &Epoll, fd: Fd, file: &Arc<OpenFile>, events: u32, data: u64) -> Result<()> {
        if core::ptr::eq(inner, &**self) || events & linux::EPOLLEXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        let nesting = NESTING.lock();
        {
            let mut watchers = inner.watchers.lock();
            watchers.retain(|watcher| watcher.strong_count() > 0);
            watchers.try_reserve(1)?;
            watchers.push(Arc::downgrade(self));
        }
        let added = inner.check_below(&mut { MAX_WAYS }).and_then(|()| self.add_item(fd, file, events, data));
        if added.is_err() {
            inner.forget_watcher(self);
        }
        drop(nesting);
        added
    }

    /// One item less of `watcher` stands for this set.
    fn forget_watcher(&self, watcher: &Arc<Epoll>) {
        let mut watchers = self.watchers.lock();
        if let Some(place) = watchers.iter().position(|known| core::ptr::eq(known.as_ptr(), Arc::as_ptr(watcher))) {
            watchers.swap_remove(place);
        }
    }

    fn add_item(&self, fd: Fd, file: &Arc<OpenFile>, events: u32, data: u64) -> Result<()> {
        let key = key(fd, file);
        let signal = Arc::new(Signal { key, ready: Arc::downgrade(&self.ready), listed: AtomicBool::new(false) });
        let mut item = Item {
            file: Arc::downgrade(file),
            interest: Interest::new(events, data),
            signal,
            listeners: Box::pin(Listeners::new()),
        };
        let mut items = self.items.lock();
        items.sweep();
        if items.map.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        self.reserve(items.map.len() + 1)?;
        item.watch(file, &self.ready)?;
        items.map.insert(key, item);
        Ok(())
    }

    /// Makes room on the ready list for `count` items, and as many that were removed and are still listed.
    fn reserve(&self, count: usize) -> Result<()> {
        let mut list = self.ready.list.lock();
        let stale = list.len();
        list.try_reserve(count + stale)?;
        Ok(())
    }

    /// Changes what a file is watched for (`EPOLL_CTL_MOD`).
    ///
    /// # Errors
    /// `ENOENT`, `EINVAL` with or after `EPOLLEXCLUSIVE`, `ENOMEM`.
    pub fn modify(&self, fd: Fd, file: &Arc<OpenFile>, events: u32, data: u64) -> Result<()> {
        let mut items = self.items.lock();
        let item = items.map.get_mut(&key(fd, file)).ok_or(Errno::ENOENT)?;
        let interest = Interest::new(events, data);
        if (interest.mode | item.interest.mode).contains(Mode::EXCLUSIVE) {
            return Err(Errno::EINVAL);
        }
        item.interest = interest;
        item.watch(file, &self.ready)
    }

    /// Stops watching a file (`EPOLL_CTL_DEL`).
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn remove(self: &Arc<Self>, fd: Fd, file: &Arc<OpenFile>) -> Result<()> {
        let mut items = self.items.lock();
        let item = items.map.remove(&key(fd, file)).ok_or(Errno::ENOENT)?;
        // Off the list too, so that its place there is free.
        self.ready.list.lock().retain(|signal| !Arc::ptr_eq(signal, &item.signal));
        drop(items);
        if let Some(inner) = as_epoll(file) {
            inner.forget_watcher(self);
        }
        Ok(())
    }

    /// Hands what is ready to `report` until it returns false, at most `most` items; returns how many it took.
    ///
    /// What `report` does not take is as ready as it was before, for the next call. The items are locked meanwhile.
    pub fn collect(&self, most: usize, report: &mut dyn FnMut(Report) -> bool) -> usize {
        let mut items = self.items.lock();
        let mut left = self.ready.list.lock().len();
        let mut count = 0;
        while count < most && left > 0 {
            let Some(signal) = self.ready.list.lock().pop_front() else { break };
            left -= 1;
            // From here on a wake lists it again: nothing that happens during the question is lost.
            signal.listed.store(false, Ordering::Release);
            let Some(item) = items.map.get_mut(&signal.key).filter(|item| Arc::ptr_eq(&item.signal, &signal)) else {
                continue;
            };
            let Some(file) = item.file.upgrade() else {
                items.map.remove(&signal.key);
                continue;
            };
            if item.interest.spent {
                continue;
            }
            let events = file.poll(&mut PollTable::query()) & item.interest.events;
            if events.is_empty() {
                continue;
            }
            if !report(Report { events, data: item.interest.data }) {
                self.ready.relist(&signal);
                break;
            }
            count += 1;
            if item.interest.mode.contains(Mode::ONE_SHOT) {
                item.interest.spent = true;
            } else if !item.interest.mode.contains(Mode::EDGE) {
                self.ready.list(&signal);
            }
        }
        count
    }

    /// What is woken when the set may have something.
    #[must_use]
    pub fn queue(&self) -> &Arc<WaitQueue> {
        &self.ready.queue
    }

    /// Whether anything that is listed is really ready. Items that are not stay listed until the next wait.
    fn has_ready(&self) -> bool {
        // A set that watches this one may ask, with its items locked; [`NESTING`] keeps sets from watching in a circle.
        let items = self.items.lock_nested();
        // While the items are locked, the list only grows at its end.
        (0..)
            .map_while(|index| self.ready.list.lock().get(index).cloned())
            .filter_map(|signal| items.map.get(&signal.key))
            .any(|item| {
                let file = item.file.upgrade();
                let events = file.map_or(PollEvents::empty(), |file| file.poll(&mut PollTable::query()));
                !item.interest.spent && events.intersects(item.interest.events)
            })
    }
}

/// The set behind an open file, if it is one.
#[must_use]
pub fn as_epoll(file: &OpenFile) -> Option<Arc<Epoll>> {
    let any: Arc<dyn Any + Send + Sync> = file.object()?.clone();
    any.downcast().ok()
}

impl FileObject for Epoll {
    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.register(&self.ready.queue);
        if self.has_ready() { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn describe(&self) -> alloc::string::String {
        use core::fmt::Write;
        let items = self.items.lock();
        items.map.iter().fold(alloc::string::String::new(), |mut text, ((fd, _), item)| {
            let (events, data) = (item.interest.events.bits() | item.interest.mode.bits(), item.interest.data);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "tfd: {:8} events: {events:8x} data: {data:16x}", fd.0);
            text
        })
    }
}

#[cfg(test)]
mod tests;
