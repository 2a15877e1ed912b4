//! Grace periods among simulated cores, and the structures among real threads.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;

use super::grace::STALL;
use super::*;

extern crate std;

/// A core as the protocol sees it: it reads or not, is idle or not, and has messages to take in.
struct Core {
    grace: GracePeriods,
    reading_since: Option<usize>,
    idle: bool,
    inbox: VecDeque<(Box<GraceRequest>, bool)>,
}

/// The cores, and what was retired: when, and whether it is gone.
struct World {
    cores: Vec<Core>,
    now: usize,
    retired: Vec<usize>,
    gone: Arc<Mutex<Vec<usize>>>,
    checked: usize,
}

impl World {
    fn new(count: usize) -> Self {
        let cores = (0..count).map(|core| {
            let mut grace = GracePeriods::new();
            (1..count).for_each(|_| grace.add_request(Box::new(GraceRequest::new(core))));
            Core { grace, reading_since: None, idle: false, inbox: VecDeque::new() }
        });
        Self { cores: cores.collect(), now: 0, retired: Vec::new(), gone: Arc::default(), checked: 0 }
    }

    fn retire(&mut self, core: usize) {
        let (object, gone) = (self.retired.len(), self.gone.clone());
        self.retired.push(self.now);
        let callback = owned::callback(move || gone.lock().unwrap().push(object)).unwrap();
        match object % 3 {
            0 => drop(self.cores[core].grace.defer(callback, || 0)),
            1 => self.cores[core].grace.defer_urgently(callback, 0),
            _ => self.cores[core].grace.notify(callback),
        }
    }

    fn quiescent(&mut self, me: usize) {
        assert!(self.cores[me].reading_since.is_none());
        while let Some(request) = self.cores[me].grace.answer() {
            let from = request.from();
            self.cores[from].inbox.push_back((request, true));
        }
        let idle: Vec<bool> = self.cores.iter().map(|core| core.idle).collect();
        let mut sent = Vec::new();
        let count = self.cores.len();
        self.cores[me].grace.begin(me, count, 0, |core| idle[core], |request| sent.push(request));
        for request in sent {
            let to = request.to();
            self.cores[to].inbox.push_back((request, false));
        }
        self.end(me);
    }

    fn receive(&mut self, me: usize) {
        let Some((request, is_answer)) = self.cores[me].inbox.pop_front() else { return };
        if is_answer {
            self.cores[me].grace.answered(request);
            self.end(me);
        } else {
            self.cores[me].grace.requested(request);
        }
    }

    fn end(&mut self, me: usize) {
        let Some(mut prompt) = self.cores[me].grace.end() else { return };
        while let Some(callback) = prompt.pop() {
            callback.run();
        }
    }

    /// One event at one core.
    fn step(&mut self, me: usize, event: u8) {
        self.now += 1;
        let core = &mut self.cores[me];
        match event % 9 {
            0 | 1 if core.reading_since.is_none() => {
                core.idle = false;
                core.reading_since = Some(self.now);
            }
            2 => core.reading_since = None,
            3 | 4 => self.receive(me),
            5 if core.reading_since.is_none() => self.quiescent(me),
            6 if core.reading_since.is_none() => {
                self.quiescent(me);
                self.cores[me].idle = true;
            }
            7 if !core.idle => self.retire(me),
            8 => {
                // Far beyond all patience.
                let _ = core.grace.plan(PATIENCE);
                if let Some(callback) = core.grace.pop_done() {
                    callback.run();
                }
            }
            _ => {}
        }
        self.check();
    }

    /// Nothing that is gone can be known to a reader.
    fn check(&mut self) {
        let gone = self.gone.lock().unwrap();
        for object in &gone[self.checked..] {
            let removed = self.retired[*object];
            for core in &self.cores {
                assert!(core.reading_since.is_none_or(|since| since > removed), "object {object} is still read");
            }
        }
        self.checked = gone.len();
    }

    /// All cores go on without reading: everything has to end.
    fn settle(&mut self) {
        for round in 0.. {
            for me in 0..self.cores.len() {
                self.cores[me].reading_since = None;
                while !self.cores[me].inbox.is_empty() {
                    self.receive(me);
                }
                if !self.cores[me].idle {
                    self.quiescent(me);
                }
                self.cores[me].idle = false;
                let _ = self.cores[me].grace.plan(PATIENCE);
                while let Some(callback) = self.cores[me].grace.pop_done() {
                    callback.run();
                }
            }
            if self.gone.lock().unwrap().len() == self.retired.len() {
                return;
            }
            assert!(round < 20, "a grace period does not end");
        }
    }
}

proptest! {
    #[test]
    fn no_reader_sees_what_is_gone_and_all_goes(
        count in 1usize..5,
        events in prop::collection::vec((0usize..5, any::<u8>()), 0..400),
    ) {
        let mut world = World::new(count);
        for (core, event) in events {
            world.step(core % count, event);
        }
        world.settle();
    }

    #[test]
    fn a_table_is_a_map(operations in prop::collection::vec((any::<u8>(), 0u64..40), 0..300)) {
        let table = RcuTable::<Number>::new();
        let mut model = HashMap::new();
        for (index, (operation, key)) in operations.into_iter().enumerate() {
            let mut writer = table.lock();
            match operation % 4 {
                0 | 1 if !model.contains_key(&key) => {
                    writer.insert(RcuBox::try_new(Number { key, value: index }).unwrap()).unwrap();
                    model.insert(key, index);
                }
                2 => {
                    let removed = writer.remove(hash(key), |number| number.key == key).map(|number| number.value);
                    assert_eq!(removed, model.remove(&key));
                }
                3 if key < 4 => {
                    writer.retain(|number| number.key % 3 != key % 3);
                    model.retain(|number, _| number % 3 != key % 3);
                }
                _ => {}
            }
            assert_eq!(writer.len(), model.len());
            drop(writer);
            let guard = read();
            for key in 0..40 {
                let found = table.find(&guard, hash(key), |number| number.key == key).map(|number| number.value);
                assert_eq!(found, model.get(&key).copied());
            }
        }
    }
}

struct Number {
    key: u64,
    value: usize,
}

/// Many collisions.
fn hash(key: u64) -> u64 {
    key / 3 * 5
}

impl Hashed for Number {
    fn hash(&self) -> u64 {
        hash(self.key)
    }
}

#[test]
fn retired_objects_share_a_grace_period() {
    let mut world = World::new(2);
    for _ in 0..4 {
        world.retired.push(0);
        let gone = world.gone.clone();
        let _ = world.cores[0].grace.defer(owned::callback(move || gone.lock().unwrap().push(0)).unwrap(), || 0);
    }
    assert!(!world.cores[0].grace.is_wanted());
    assert_eq!(world.cores[0].grace.plan(1), Plan::Until(PATIENCE));
    assert_eq!(world.cores[0].grace.plan(PATIENCE), Plan::Sleep);
    world.quiescent(0);
    assert_eq!(world.cores[1].inbox.len(), 1, "one request for all four");
    world.settle();
}

#[test]
fn an_idle_core_is_not_asked() {
    let mut world = World::new(3);
    world.cores[1].idle = true;
    world.cores[2].idle = true;
    let (gone, before) = (world.gone.clone(), world.gone.lock().unwrap().len());
    world.cores[0].grace.notify(owned::callback(move || gone.lock().unwrap().push(0)).unwrap());
    world.retired.push(0);
    world.quiescent(0);
    assert_eq!(world.gone.lock().unwrap().len(), before + 1, "over at once");
    assert!(world.cores.iter().all(|core| core.inbox.is_empty()));
}

#[test]
fn a_stalled_grace_period_is_reported_once_with_its_cores() {
    let mut world = World::new(3);
    world.cores[0].grace.notify(owned::callback(|| {}).unwrap());
    world.quiescent(0);
    assert_eq!(world.cores[0].grace.plan(0), Plan::Until(STALL));
    assert_eq!(world.cores[0].grace.plan(STALL), Plan::Stalled(0, 0b110));
    assert_eq!(world.cores[0].grace.plan(STALL * 2), Plan::Sleep);
    world.settle();
}

/// Knows whether it was dropped.
struct Canary {
    alive: AtomicU64,
    dropped: Arc<AtomicUsize>,
}

const ALIVE: u64 = 0x600d_600d_600d_600d;

impl Canary {
    fn new(dropped: &Arc<AtomicUsize>) -> Self {
        Self { alive: AtomicU64::new(ALIVE), dropped: dropped.clone() }
    }

    fn check(&self) {
        assert_eq!(self.alive.load(Ordering::Relaxed), ALIVE);
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.alive.store(0, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn readers_of_a_cell_never_see_a_dropped_value() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let cell = Arc::new(RcuCell::holding(RcuBox::try_new(Canary::new(&dropped)).unwrap()));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (cell, stop) = (cell.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let guard = read();
                    let canary = cell.load(&guard).unwrap();
                    canary.check();
                    thread::yield_now();
                    canary.check();
                }
            })
        })
        .collect();
    let rounds = if cfg!(miri) { 20 } else { 2000 };
    for _ in 0..rounds {
        drop(cell.replace(Some(RcuBox::try_new(Canary::new(&dropped)).unwrap())));
    }
    stop.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    wait_for_collector();
    assert_eq!(dropped.load(Ordering::Relaxed), rounds);
    drop(cell);
    assert_eq!(dropped.load(Ordering::Relaxed), rounds + 1);
}

struct Named {
    key: u64,
    canary: Canary,
}

impl Hashed for Named {
    fn hash(&self) -> u64 {
        hash(self.key)
    }
}

#[test]
fn readers_of_a_table_see_what_stays_through_all_changes() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let table = Arc::new(RcuTable::<Named>::new());
    let named = |key| RcuBox::try_new(Named { key, canary: Canary::new(&dropped) }).unwrap();
    for key in 0..4 {
        table.lock().insert(named(key * 100)).unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (table, stop) = (table.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let guard = read();
                    for key in 0..500 {
                        let found = table.find(&guard, hash(key), |named| named.key == key);
                        assert!(found.is_some() || key % 100 != 0 || key == 400, "what stays is always found");
                        found.inspect(|named| assert_eq!(named.key, key)).inspect(|named| named.canary.check());
                    }
                }
            })
        })
        .collect();
    let rounds = if cfg!(miri) { 3 } else { 300 };
    for round in 0..rounds {
        let keys = (1..300).filter(|key| key % 100 != 0 && key % 7 == round % 7);
        keys.clone().for_each(|key| table.lock().insert(named(key)).unwrap());
        keys.for_each(|key| assert!(table.lock().remove(hash(key), |named| named.key == key).is_some()));
    }
    stop.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(table.lock().len(), 4);
}
