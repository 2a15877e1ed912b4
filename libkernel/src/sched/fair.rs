//! The fair class: EEVDF.
//!
//! Each task has a virtual runtime, the service it received divided by its weight. The queue's virtual time is the weighted average of
//! its tasks' (see [`Average`]). A task whose virtual runtime is not ahead of it is *eligible*: it has positive lag, or none. Among the
//! eligible the one with the earliest virtual deadline runs; a deadline is a slice, scaled by the weight, after the start of the
//! request.
//!
//! The running task stays out of the tree, and in the sums. Once chosen it is protected from eligible rivals for the shortest slice of
//! the queue, so that equal tasks do not alternate more often than they ask for. A task that wakes with a shorter slice than the
//! running one's is exempt from that protection.

use core::ops::ControlFlow;

use super::average::{Average, Threshold, before, earlier};
use super::entity::{Left, Request, Schedulable, task_at};
use super::position::Position;
use super::{Arrival, Departure, Preemption};
use crate::task::Policy;
use crate::tree::{Element, Order, Tree};

/// How many tasks are looked at to find one that another core should have.
pub const CANDIDATES: usize = 16;

/// The fair tasks of one core.
///
/// # Invariants
/// `average` sums over exactly the tasks in `waiting`; the running task is in neither.
#[derive(Debug)]
pub struct FairQueue<T> {
    waiting: Tree<T>,
    current: Option<T>,
    average: Average,
    /// Up to when the running task has been charged.
    charged: u64,
    base_slice: u64,
    id: u32,
}

impl<T: Schedulable> FairQueue<T> {
    /// An empty queue; `id` is unique, `base_slice` is in nanoseconds.
    pub const fn new(id: u32, base_slice: u64) -> Self {
        Self::starting_at(id, base_slice, 0)
    }

    /// As [`FairQueue::new`], with virtual time at `origin`: nothing may depend on it.
    pub const fn starting_at(id: u32, base_slice: u64, origin: u64) -> Self {
        Self { waiting: Tree::new(), current: None, average: Average::new(origin), charged: 0, base_slice, id }
    }

    /// Changes the slice of tasks that ask for none, in nanoseconds; it takes effect as they are queued.
    pub fn set_base_slice(&mut self, base_slice: u64) {
        self.base_slice = base_slice;
    }

    /// The running task.
    #[inline]
    pub fn current(&self) -> Option<&T> {
        self.current.as_ref()
    }

    /// The waiting tasks.
    #[inline]
    pub fn waiting(&self) -> &Tree<T> {
        &self.waiting
    }

    /// The number of tasks, the running one included.
    #[inline]
    pub fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    /// Whether there is no task.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    /// The weight of all tasks, the running one included.
    pub fn load(&self) -> u64 {
        self.average.weight() + self.current.as_ref().map_or(0, |task| u64::from(task.entity().weight))
    }

    /// Virtual time; this moves the origin of the sums, not its value.
    pub fn virtual_time(&mut self) -> u64 {
        let running = self.current.as_ref().map(|task| task.entity().share());
        self.average.advance(running)
    }

    /// Virtual time, by a division on a copy of the sums: to look at, not to schedule by.
    pub fn virtual_time_now(&self) -> u64 {
        let running = self.current.as_ref().map(|task| task.entity().share());
        self.average.clone().advance(running)
    }

    fn threshold(&self) -> Threshold {
        self.average.threshold(self.current.as_ref().map(|task| task.entity().share()))
    }

    /// Adds a task. The running task is charged first.
    pub fn enqueue(&mut self, task: T, arrival: Arrival, now: u64) -> Preemption {
        let request = task.request();
        self.enqueue_as(task, request, arrival, now)
    }

    /// As [`enqueue`](FairQueue::enqueue), for a caller that has asked the task already what it requests.
    #[inline(always)]
    pub fn enqueue_as(&mut self, mut task: T, request: Request, arrival: Arrival, now: u64) -> Preemption {
        self.charge(now);
        let average = self.virtual_time();
        let load = self.load();
        let base_slice = self.base_slice;
        let entity = task.entity_mut();
        entity.follow(&request, base_slice, average, arrival);
        let lag = match arrival {
            Arrival::Born => 0,
            Arrival::Moved => entity.lag,
            Arrival::Woken => entity.lag_after_sleep(self.id, average, now),
        };
        entity.place(average, lag, load, arrival);
        let decision = self.preempts(&task, arrival);
        if decision == Preemption::Reschedule
            && let Some(current) = &mut self.current
        {
            let current = current.entity_mut();
            current.protected_until = current.vruntime;
        }
        self.link(task);
        decision
    }

    /// Whether `task`, which is about to be linked, should run in place of the current one.
    #[inline(always)]
    fn preempts(&mut self, task: &T, arrival: Arrival) -> Preemption {
        let Some(current) = &self.current else { return Preemption::Reschedule };
        let (current, new) = (current.entity(), task.entity());
        if current.policy == Policy::Idle && new.policy != Policy::Idle {
            return Preemption::Reschedule;
        }
        if matches!(new.policy, Policy::Idle | Policy::Batch) {
            return Preemption::Continue;
        }
        // As if it were linked already.
        let mut average = self.average.clone();
        average.add(new.share());
        let threshold = average.threshold(Some(current.share()));
        let current_eligible = threshold.is_eligible(current.vruntime);
        let protected = current_eligible && before(current.vruntime, current.protected_until);
        let shorter = new.slice < current.slice;
        if !shorter && (protected || arrival == Arrival::Born) {
            return Preemption::Continue;
        }
        self.challenges(task, threshold, shorter)
    }

    /// The rest of [`preempts`](Self::preempts): whether a task that no protection keeps from it goes before the current one, or, unless
    /// its slice is `shorter`, before all.
    #[inline(never)]
    fn challenges(&mut self, task: &T, threshold: Threshold, shorter: bool) -> Preemption {
        let Some(current) = &self.current else { return Preemption::Reschedule };
        let (current, new) = (current.entity(), task.entity());
        let eligible = threshold.is_eligible(new.vruntime);
        let before_current =
            !threshold.is_eligible(current.vruntime) || T::before(&task.key(), &(current.deadline, current.id));
        if shorter {
            if eligible && before_current {
                return Preemption::Reschedule;
            }
            self.shorten_protection(new.slice);
            return Preemption::Continue;
        }
        let wins =
            eligible && before_current && self.best(threshold).is_none_or(|best| T::before(&task.key(), &best.key()));
        Preemption::when(wins)
    }

    /// Lets the running task go on no longer than a waiting task's shorter slice.
    fn shorten_protection(&mut self, slice: u64) {
        if let Some(task) = &mut self.current {
            let entity = task.entity_mut();
            let end = entity.vruntime.wrapping_add(entity.scale(slice));
            entity.protected_until = earlier(entity.protected_until, end);
        }
    }

    /// Charges the running task and says whether it has had its turn.
    pub fn update(&mut self, now: u64) -> Preemption {
        self.charge(now);
        match &self.current {
            Some(current) if !self.waiting.is_empty() => {
                let current = current.entity();
                Preemption::when(!before(current.vruntime, current.protected_until))
            }
            Some(_) => Preemption::Continue,
            None => Preemption::when(!self.waiting.is_empty()),
        }
    }

    /// Chooses the task that runs from now on.
    #[inline(always)]
    pub fn pick(&mut self, now: u64) -> Option<&T> {
        self.charge(now);
        let next = if self.current.is_none() && self.waiting.len() <= 1 {
            self.waiting.pop_first()
        } else {
            self.choose().and_then(|key| self.waiting.remove(&key))
        };
        if let Some(next) = next {
            self.average.subtract(next.entity().share());
            if self.current.is_some() {
                self.put_back();
            }
            self.current = Some(next);
            self.charged = now;
            self.protect();
        } else if self.current.as_ref().is_some_and(|task| {
            let entity = task.entity();
            !before(entity.vruntime, entity.protected_until)
        }) {
            self.protect();
        }
        self.current.as_ref()
    }

    /// The key of the waiting task that should run, or `None` if the current one should.
    #[inline(never)]
    fn choose(&self) -> Option<(u64, u64)> {
        let first = self.waiting.first()?;
        let threshold = self.threshold();
        let current = self.current.as_ref().filter(|task| threshold.is_eligible(task.entity().vruntime));
        if let Some(current) = current {
            let entity = current.entity();
            if before(entity.vruntime, entity.protected_until) {
                return None;
            }
        }
        match (current, self.best(threshold)) {
            (Some(current), Some(best)) if T::before(&current.key(), &best.key()) => None,
            (_, Some(best)) => Some(best.key()),
            (Some(_), None) => None,
            (None, None) => {
                debug_assert!(false, "an average with nobody at or below it");
                Some(first.key())
            }
        }
    }

    /// The eligible waiting task with the earliest deadline.
    fn best(&self, threshold: Threshold) -> Option<&T> {
        self.waiting.first_where(
            |subtree| threshold.is_eligible(subtree.entity().min_vruntime),
            |task| threshold.is_eligible(task.entity().vruntime),
        )
    }

    /// Makes the running task wait, because of a higher class: it stays queued.
    #[inline(never)]
    pub fn put_back(&mut self) {
        if let Some(task) = self.current.take() {
            self.link(task);
        }
    }

    /// Takes the running task away and remembers its lag.
    #[inline(always)]
    pub fn remove_current(&mut self, departure: Departure, now: u64) -> Option<T> {
        self.charge(now);
        let average = self.virtual_time();
        let limit = self.longest_slice();
        let rivals = self.average.weight();
        let mut task = self.current.take()?;
        let left = Left { queue: self.id, at: now, rivals };
        task.entity_mut().leave(departure, average, limit, left);
        Some(task)
    }

    /// Takes away the task that waits at `position`, if it is the one that `which` selects, as one that moves.
    pub fn remove_waiting(&mut self, position: Position, which: impl Fn(&T) -> bool, now: u64) -> Option<T> {
        let key = task_at(&self.waiting, position, which)?.key();
        self.charge(now);
        self.take_waiting(&key, now)
    }

    /// Takes away the waiting task that would run last among those that may run on core `to`. An eligible one is preferred, because moving
    /// an ineligible task only moves its debt, but not sought beyond [`CANDIDATES`].
    pub fn give(&mut self, to: usize, now: u64) -> Option<T> {
        self.charge(now);
        let threshold = self.threshold();
        let (mut chosen, mut candidates) = (None, 0);
        self.waiting.try_for_each_in(
            Order::Backwards,
            |subtree| subtree.entity().all_cores.may_contain(to),
            |task| {
                let (entity, allowed) = (task.entity(), task.may_run_on(to));
                if !allowed && !entity.cores.may_contain(to) {
                    return ControlFlow::Continue(());
                }
                candidates += 1;
                if allowed {
                    let eligible = threshold.is_eligible(entity.vruntime);
                    if eligible || chosen.is_none() {
                        chosen = Some(task.key());
                    }
                    if eligible {
                        return ControlFlow::Break(());
                    }
                }
                if candidates < CANDIDATES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        );
        self.take_waiting(&chosen?, now)
    }

    fn take_waiting(&mut self, key: &(u64, u64), now: u64) -> Option<T> {
        let average = self.virtual_time();
        let limit = self.longest_slice();
        let mut task = self.unlink(key)?;
        let left = Left { queue: self.id, at: now, rivals: self.load() };
        task.entity_mut().leave(Departure::Move, average, limit, left);
        Some(task)
    }

    /// The running task gives up the rest of its request, if it is eligible; the next pick decides.
    pub fn yield_current(&mut self, now: u64) {
        self.charge(now);
        let threshold = self.threshold();
        if let Some(task) = &mut self.current {
            let entity = task.entity_mut();
            if threshold.is_eligible(entity.vruntime) && before(entity.vruntime, entity.deadline) {
                entity.vruntime = entity.deadline;
                entity.renew_deadline();
            }
            entity.protected_until = entity.vruntime;
        }
    }

    /// Brings the running task up to date with what it requests, which keeps it in this class.
    pub fn refresh_current(&mut self, request: Request, now: u64) {
        self.charge(now);
        let average = self.virtual_time();
        let base_slice = self.base_slice;
        if let Some(task) = &mut self.current {
            task.entity_mut().follow(&request, base_slice, average, Arrival::Moved);
        }
    }

    /// When to call [`update`](FairQueue::update) next: the end of the running task's protected turn, if anybody waits.
    #[inline]
    pub fn slice_end(&self) -> Option<u64> {
        let current = self.current.as_ref()?.entity();
        if self.waiting.is_empty() {
            return None;
        }
        let left = current.protected_until.wrapping_sub(current.vruntime) as i64;
        Some(self.charged.saturating_add(current.unscale(left.max(0) as u64)))
    }

    /// Charges the running task for the time up to `now`; a clock that went back charges nothing.
    #[inline]
    fn charge(&mut self, now: u64) {
        let Some(task) = &mut self.current else {
            return;
        };
        let used = now.wrapping_sub(self.charged) as i64;
        if used <= 0 {
            return;
        }
        self.charged = now;
        let entity = task.entity_mut();
        entity.charge(used as u64);
        if !before(entity.vruntime, entity.deadline) {
            entity.renew_deadline();
        }
        if self.waiting.is_empty() {
            // Alone it is the average; the origin has to follow it.
            self.average.restart(entity.vruntime);
        }
    }

    /// Protects the running task for the shortest slice of the queue, at most to the end of its request.
    fn protect(&mut self) {
        let shortest = self.shortest_waiting_slice();
        if let Some(task) = &mut self.current {
            let entity = task.entity_mut();
            let slice = entity.slice.min(shortest.unwrap_or(u64::MAX));
            entity.protected_until = earlier(entity.deadline, entity.vruntime.wrapping_add(entity.scale(slice)));
        }
    }

    fn shortest_waiting_slice(&self) -> Option<u64> {
        let parts = self.waiting.first().into_iter().map(|first| first.entity().slice);
        parts.chain(self.waiting.rest().map(|rest| rest.entity().min_slice)).min()
    }

    /// The longest slice in the queue, the running task's included.
    fn longest_slice(&self) -> u64 {
        let parts = self.waiting.first().into_iter().chain(self.current.as_ref()).map(|task| task.entity().slice);
        parts.chain(self.waiting.rest().map(|rest| rest.entity().max_slice)).max().unwrap_or(0)
    }

    #[inline(always)]
    fn link(&mut self, task: T) {
        self.average.add(task.entity().share());
        self.waiting.insert(task);
    }

    fn unlink(&mut self, key: &(u64, u64)) -> Option<T> {
        let task = self.waiting.remove(key)?;
        self.average.subtract(task.entity().share());
        Some(task)
    }

    #[cfg(test)]
    pub(super) fn charged_until(&self) -> u64 {
        self.charged
    }

    #[cfg(test)]
    pub(super) fn average(&self) -> &Average {
        &self.average
    }
}
