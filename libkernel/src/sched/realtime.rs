//! The real-time class: `SCHED_FIFO` and `SCHED_RR` (`sched(7)`).
//!
//! The highest static priority runs; within a priority the one that came first. A `SCHED_RR` task goes to the end of its priority
//! after a turn of 100 ms. So that a runaway cannot lock the machine, the class gets at most 950 ms of each second
//! while anything else wants to run.

use core::cmp::Ordering;
use core::ops::ControlFlow;

use super::entity::{Request, Schedulable, task_at};
use super::fair::CANDIDATES;
use super::position::Position;
use super::{Arrival, Preemption};
use crate::task::Policy;
use crate::tree::{Element, Order, Tree};

/// A turn of `SCHED_RR`, in nanoseconds (`sched_rr_get_interval(2)`).
pub const TURN: u64 = 100_000_000;
/// The period over which the class is limited, in nanoseconds.
const PERIOD: u64 = 1_000_000_000;
/// What the class gets of a period.
const BUDGET: u64 = 950_000_000;

/// The real-time tasks of one core.
#[derive(Debug)]
pub struct RealtimeQueue<T> {
    waiting: Tree<T>,
    current: Option<T>,
    charged: u64,
    /// The last turn given out to one that goes behind its equals, and to one that goes before them.
    turns: u64,
    early_turns: u64,
    period_start: u64,
    used: u64,
}

impl<T: Schedulable> RealtimeQueue<T> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { waiting: Tree::new(), current: None, charged: 0, turns: 0, early_turns: 0, period_start: 0, used: 0 }
    }

    /// The running task.
    pub fn current(&self) -> Option<&T> {
        self.current.as_ref()
    }

    /// The waiting tasks.
    pub fn waiting(&self) -> &Tree<T> {
        &self.waiting
    }

    /// The number of tasks, the running one included.
    pub fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    /// Whether the class has used up what it gets of this second.
    pub fn is_throttled(&self) -> bool {
        self.used >= BUDGET
    }

    /// Adds a task, which requests `request`, behind those of its priority; one that only moved keeps its turn.
    pub fn enqueue(&mut self, mut task: T, request: Request, arrival: Arrival, now: u64) -> Preemption {
        self.charge(now);
        let entity = task.entity_mut();
        if arrival != Arrival::Moved || entity.turn_left == 0 {
            entity.turn_left = TURN;
        }
        entity.turn = self.last_turn();
        self.insert(task, request)
    }

    /// Adds a task of this class and queue again that requests something else: behind those of its priority if that rose, before
    /// them if it fell, in its place if it is the same (`sched(7)`, "SCHED_FIFO").
    pub fn requeue(&mut self, mut task: T, request: Request, now: u64) -> Preemption {
        self.charge(now);
        let entity = task.entity_mut();
        entity.turn = match request.priority.cmp(&entity.priority) {
            Ordering::Greater => self.last_turn(),
            Ordering::Less => self.first_turn(),
            Ordering::Equal => entity.turn,
        };
        self.insert(task, request)
    }

    fn last_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn first_turn(&mut self) -> u64 {
        self.early_turns = self.early_turns.wrapping_sub(1);
        self.early_turns
    }

    fn insert(&mut self, mut task: T, request: Request) -> Preemption {
        let entity = task.entity_mut();
        entity.started = true;
        entity.policy = request.policy;
        entity.priority = request.priority;
        let higher = self.current.as_ref().is_none_or(|current| current.entity().priority < task.entity().priority);
        self.waiting.insert(task);
        Preemption::when(higher && !self.is_throttled())
    }

    /// Charges the running task and says whether it has to give way. `others` tells whether lower classes want to run.
    pub fn update(&mut self, now: u64, others: bool) -> Preemption {
        self.charge(now);
        let Some(current) = &self.current else {
            return Preemption::when(!self.waiting.is_empty() && !self.is_throttled());
        };
        let turn_over = self.rival_of_equal_priority() && current.entity().turn_left == 0;
        Preemption::when(turn_over || (others && self.is_throttled()))
    }

    fn rival_of_equal_priority(&self) -> bool {
        match (&self.current, self.waiting.first()) {
            (Some(current), Some(first)) => {
                current.entity().policy == Policy::RoundRobin && first.entity().priority >= current.entity().priority
            }
            _ => false,
        }
    }

    /// Chooses the task that runs from now on.
    pub fn pick(&mut self, now: u64) -> Option<&T> {
        self.charge(now);
        if let Some(current) = &mut self.current {
            let entity = current.entity_mut();
            if entity.policy == Policy::RoundRobin && entity.turn_left == 0 {
                self.turns += 1;
                entity.turn = self.turns;
                entity.turn_left = TURN;
            }
        }
        let replace = match (&self.current, self.waiting.first()) {
            (Some(current), Some(first)) => T::before(&first.key(), &current.key()),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if replace && let Some(next) = self.waiting.pop_first() {
            self.put_back();
            self.current = Some(next);
            self.charged = now;
        }
        self.current.as_ref()
    }

    /// Makes the running task wait: it stays first of its priority.
    pub fn put_back(&mut self) {
        if let Some(task) = self.current.take() {
            self.waiting.insert(task);
        }
    }

    /// Takes the running task away.
    pub fn remove_current(&mut self, now: u64) -> Option<T> {
        self.charge(now);
        self.current.take()
    }

    /// Takes away the task that waits at `position`, if it is the one that `which` selects.
    pub fn remove_waiting(&mut self, position: Position, which: impl Fn(&T) -> bool) -> Option<T> {
        let key = task_at(&self.waiting, position, which)?.key();
        self.waiting.remove(&key)
    }

    /// Takes away the first waiting task that may run on core `to` and is not about to run here. `others` tells whether lower classes
    /// want to run. Tasks that have changed their affinity since they were put here are passed over, at most [`CANDIDATES`].
    pub fn give(&mut self, to: usize, others: bool) -> Option<T> {
        let first = self.waiting.first().filter(|_| !(others && self.is_throttled()));
        let next = first.map(|first| first.key()).filter(|first| {
            let current = self.current.as_ref();
            current.is_none_or(|current| T::before(first, &current.key()))
        });
        let (mut chosen, mut candidates) = (None, 0);
        self.waiting.try_for_each_in(
            Order::Forwards,
            |subtree| subtree.entity().all_cores.may_contain(to),
            |task| {
                let (key, allowed) = (task.key(), task.may_run_on(to));
                if Some(key) == next || (!allowed && !task.entity().cores.may_contain(to)) {
                    return ControlFlow::Continue(());
                }
                candidates += 1;
                chosen = allowed.then_some(key);
                if chosen.is_some() || candidates >= CANDIDATES {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            },
        );
        self.waiting.remove(&chosen?)
    }

    /// The running task goes behind the others of its priority.
    pub fn yield_current(&mut self, now: u64) {
        self.charge(now);
        if let Some(current) = &mut self.current {
            self.turns += 1;
            current.entity_mut().turn = self.turns;
        }
    }

    /// When to call [`update`](RealtimeQueue::update) next. `others` tells whether lower classes want to run.
    pub fn slice_end(&self, others: bool) -> Option<u64> {
        let Some(current) = &self.current else {
            return (self.is_throttled() && !self.waiting.is_empty()).then(|| self.period_start.saturating_add(PERIOD));
        };
        let turn = self.rival_of_equal_priority().then(|| current.entity().turn_left);
        let budget = others.then(|| BUDGET.saturating_sub(self.used));
        let left = turn.into_iter().chain(budget).min()?;
        Some(self.charged.saturating_add(left))
    }

    fn charge(&mut self, now: u64) {
        let passed = now.saturating_sub(self.period_start);
        if passed >= PERIOD {
            self.period_start += passed - passed % PERIOD;
            self.used = 0;
        }
        let Some(current) = &mut self.current else { return };
        let used = now.wrapping_sub(self.charged) as i64;
        if used <= 0 {
            return;
        }
        let used = used as u64;
        self.charged = now;
        // What it ran in earlier periods is no debt of this one.
        self.used = self.used.saturating_add(used.min(passed % PERIOD));
        let entity = current.entity_mut();
        entity.runtime = entity.runtime.wrapping_add(used);
        entity.turn_left = entity.turn_left.saturating_sub(used);
    }
}

impl<T: Schedulable> Default for RealtimeQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}
