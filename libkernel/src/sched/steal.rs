//! Stealing by message: a core that has run dry asks, the owner of the longest queue decides what it gives.
//!
//! A thief has one request under way. A victim that has nothing to spare answers at once; the thief remembers that and asks the next.
//! Once all have refused, the thief sleeps: a core whose queue gets too long sends tasks by itself (see
//! [`RunQueue::relieve`]), so nobody has to ask twice.
#![forbid(unsafe_code)]

use super::hints::{CoreSet, Cores};
use super::{RunQueue, Schedulable, placement};

/// How many tasks one answer can carry.
pub const BATCH: usize = 4;

/// What a thief gets.
#[derive(Debug)]
pub struct Loot<T> {
    given: [Option<T>; BATCH],
}

impl<T> Loot<T> {
    /// Nothing.
    pub const fn new() -> Self {
        Self { given: [const { None }; BATCH] }
    }

    /// Adds a task; gives it back if there is no room.
    pub fn give(&mut self, task: T) -> Result<(), T> {
        match self.given.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => {
                *slot = Some(task);
                Ok(())
            }
            None => Err(task),
        }
    }

    /// Takes one of the tasks.
    pub fn take(&mut self) -> Option<T> {
        self.given.iter_mut().find_map(Option::take)
    }
}

impl<T> Default for Loot<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What the owner of `queue` gives core `thief`: half of what waits, at most a batch, none that may not run there or is about to run here.
/// Returns how many.
pub fn share<T: Schedulable>(queue: &mut RunQueue<T>, loot: &mut Loot<T>, thief: usize, now: u64) -> usize {
    if queue.is_next_soon() {
        return 0;
    }
    // Without a running task one of the waiting is about to run.
    let waiting = queue.len().saturating_sub(1);
    let wanted = waiting.div_ceil(2).min(BATCH);
    let mut given = 0;
    while given < wanted {
        let Some(task) = queue.give(thief, now) else { break };
        if let Err(task) = loot.give(task) {
            let _ = queue.enqueue(task, super::Arrival::Moved, now);
            break;
        }
        given += 1;
    }
    given
}

/// The thief's side of a core.
#[derive(Debug, Default)]
pub struct Thief {
    refused: CoreSet,
}

impl Thief {
    /// One that was refused by nobody.
    pub const fn new() -> Self {
        Self { refused: CoreSet::EMPTY }
    }

    /// Whom core `here`, which has nothing to do and no request under way, should ask.
    pub fn victim(&self, cores: &impl Cores, here: usize) -> Option<usize> {
        placement::victim(cores, here, |core| self.refused.contains(core))
    }

    /// The answer of `victim` came, with as many tasks.
    pub fn answered(&mut self, victim: usize, given: usize) {
        if given > 0 {
            self.forget();
        } else {
            self.refused.add(victim);
        }
    }

    /// Forgets refusals: the core has had something to do since.
    pub fn forget(&mut self) {
        self.refused = CoreSet::EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Handle, job, nice, with_slice};
    use super::super::{Arrival, CoreSet};
    use super::*;

    fn queue_of(count: u64) -> RunQueue<Handle> {
        let mut queue = RunQueue::new(0);
        for id in 1..=count {
            let _ = queue.enqueue(job(id, nice(0)), Arrival::Born, 0);
        }
        queue.pick(0);
        queue
    }

    #[test]
    fn half_of_what_waits_is_given_and_at_most_a_batch() {
        for (count, expected) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (7, 3), (50, BATCH)] {
            let mut queue = queue_of(count);
            let mut loot = Loot::new();
            assert_eq!(share(&mut queue, &mut loot, 1, 0), expected);
            assert_eq!(queue.len() + expected, count as usize);
            assert_eq!(core::iter::from_fn(|| loot.take()).count(), expected);
        }
    }

    #[test]
    fn who_waits_for_a_brief_slice_alone_stays() {
        let mut queue = queue_of(1);
        let _ = queue.enqueue(job(2, with_slice(0, 100_000)), Arrival::Woken, 0);
        assert_eq!(queue.pick(0).map(|task| task.entity().id()), Some(2));
        assert_eq!(share(&mut queue, &mut Loot::new(), 1, 0), 0);
        let _ = queue.enqueue(job(3, nice(0)), Arrival::Born, 0);
        assert_eq!(share(&mut queue, &mut Loot::new(), 1, 0), 1);
    }

    #[test]
    fn what_may_not_leave_stays() {
        let mut queue = RunQueue::new(0);
        for id in 1..=9 {
            let task = job(id, nice(0));
            task.allowed.set(CoreSet::only(0));
            let _ = queue.enqueue(task, Arrival::Born, 0);
        }
        queue.pick(0);
        assert_eq!(share(&mut queue, &mut Loot::new(), 1, 0), 0);
        assert_eq!(queue.len(), 9);
    }
}
