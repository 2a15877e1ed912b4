//! A schedule as a number, to compare machines: the same events give the same decisions on a host, in the kernel, in any build.
//!
//! Uses nothing but a [`RunQueue`] of its own and the heap; may be called wherever allocating is allowed.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Alone, Arrival, Departure, Entity, FoldedCores, Position, Request, RunQueue, Schedulable};
use crate::task::{AffinityMask, Policy};

/// The seed of the recorded trace.
pub const SEED: u64 = 42;
/// How many events the recorded trace has.
pub const EVENTS: usize = 20_000;
/// What [`hash`] gives for them.
pub const RECORDED: u64 = 9_936_697_735_267_113_723;

/// At most so many tasks exist at a time.
const TASKS: usize = 200;

struct Replayed {
    entity: Entity<Box<Replayed>>,
    request: Request,
}

impl Schedulable for Box<Replayed> {
    fn entity(&self) -> &Entity<Self> {
        &self.entity
    }
    fn entity_mut(&mut self) -> &mut Entity<Self> {
        &mut self.entity
    }
    fn request(&self) -> Request {
        self.request
    }
    fn may_run_on(&self, core: usize) -> bool {
        AffinityMask::ALL.contains(core)
    }
    fn cores(&self) -> FoldedCores {
        AffinityMask::ALL.into()
    }
    fn note_position(&self, _position: Position) {}
}

/// Xorshift (Marsaglia, 2003).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }

    fn request(&mut self) -> Request {
        let policy = match self.below(16) {
            0 => Policy::Fifo,
            1 => Policy::RoundRobin,
            2 => Policy::Idle,
            3 => Policy::Batch,
            _ => Policy::Normal,
        };
        let priority = if policy.is_realtime() { 1 + self.below(99) as u8 } else { 0 };
        let slice = (self.below(2) == 0).then(|| 100_000 + self.below(99_900_000));
        Request { policy, priority, nice: self.below(40) as i8 - 20, slice }
    }
}

/// Puts a number into a running hash (FNV-1a).
fn mix(hash: &mut u64, value: u64) {
    for byte in value.to_le_bytes() {
        *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

/// Drives a run queue with `events` events that `seed` names, and condenses every decision into a number.
#[must_use]
pub fn hash(seed: u64, events: usize) -> u64 {
    let mut random = Random::new(seed);
    let mut queue = RunQueue::new(0);
    let mut asleep: Vec<Box<Replayed>> = Vec::new();
    let (mut now, mut next_id, mut hash) = (0u64, 1, 0xcbf2_9ce4_8422_2325);
    for _ in 0..events {
        match random.below(12) {
            0 | 1 if queue.len() + asleep.len() < TASKS => {
                let task = Box::new(Replayed { entity: Entity::new(next_id), request: random.request() });
                mix(&mut hash, queue.enqueue(task, Arrival::Born, now) as u64);
                next_id += 1;
            }
            2 | 3 if !asleep.is_empty() => {
                let task = asleep.swap_remove(random.below(asleep.len() as u64) as usize);
                mix(&mut hash, queue.enqueue(task, Arrival::Woken, now) as u64);
            }
            4 => {
                if let Some(task) = queue.remove_current(Departure::Sleep, now) {
                    mix(&mut hash, task.entity().lag() as u64);
                    if random.below(20) > 0 {
                        asleep.push(task);
                    }
                }
            }
            5 => {
                if let Some(mut task) = queue.give(1, now) {
                    mix(&mut hash, task.entity().id());
                    task.request = random.request();
                    mix(&mut hash, queue.enqueue(task, Arrival::Moved, now) as u64);
                }
            }
            6 => queue.yield_current(now),
            7 | 8 => {
                now += random.below(20_000_000);
                mix(&mut hash, queue.update(now) as u64);
            }
            _ => {
                let picked = queue.pick(now).map(|task| (task.entity().id(), task.entity().vruntime()));
                let (id, vruntime) = picked.unwrap_or_default();
                mix(&mut hash, id);
                mix(&mut hash, vruntime);
                if queue.relief_is_due(now) {
                    queue.relieve(&Alone, 0, now, |_, _| ());
                }
                mix(&mut hash, queue.slice_end().unwrap_or_default());
            }
        }
    }
    hash
}
