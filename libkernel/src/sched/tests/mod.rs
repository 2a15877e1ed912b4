//! Tests of the run queue: against a naive model (O1), against the fluid ideal (O2), against the bounds of the theory, and one for each
//! known pitfall. `docs/testing.md` says which test shows which property.

mod core;
mod differential;
mod exhaustive;
mod fluid;
mod model;
mod pitfalls;
mod properties;
mod realtime_tests;
mod replay;
mod scenarios;
mod shadow;
mod simulated_machine;
mod simulation;

use super::*;
use crate::task::Policy;

use std::cell::Cell;
use std::rc::Rc;

/// A task of the tests.
#[derive(Debug)]
pub(in crate::sched) struct Job {
    pub request: Rc<Cell<Request>>,
    pub allowed: Rc<Cell<CoreSet>>,
    position: Cell<Position>,
    entity: Entity<Box<Job>>,
}

pub(in crate::sched) type Handle = Box<Job>;

impl Schedulable for Handle {
    fn entity(&self) -> &Entity<Self> {
        &self.entity
    }
    fn entity_mut(&mut self) -> &mut Entity<Self> {
        &mut self.entity
    }
    fn request(&self) -> Request {
        self.request.get()
    }
    fn may_run_on(&self, core: usize) -> bool {
        self.allowed.get().contains(core)
    }
    fn cores(&self) -> FoldedCores {
        self.allowed.get().into()
    }
    fn note_position(&self, position: Position) {
        self.position.set(position);
    }
}

pub(in crate::sched) fn job(id: u64, request: Request) -> Handle {
    let allowed = Rc::new(Cell::new(CoreSet::ALL));
    Box::new(Job { request: Rc::new(Cell::new(request)), allowed, position: Cell::default(), entity: Entity::new(id) })
}

pub(in crate::sched) fn nice(nice: i8) -> Request {
    Request { nice, ..Request::NORMAL }
}

pub(in crate::sched) fn with_slice(nice: i8, slice: u64) -> Request {
    Request { nice, slice: Some(slice), ..Request::NORMAL }
}

pub(in crate::sched) fn realtime(policy: Policy, priority: u8) -> Request {
    Request { policy, priority, ..Request::NORMAL }
}

/// So many cases, or as many as `PROPTEST_CASES` says, for deep runs.
pub(in crate::sched) fn cases(usual: u32) -> proptest::test_runner::Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    proptest::test_runner::Config::with_cases(cases.unwrap_or(usual))
}

pub(super) const MS: u64 = 1_000_000;
pub(super) const BASE: u64 = 3 * MS;

impl FairQueue<Handle> {
    /// O3: every structural invariant, recomputed from scratch.
    pub(in crate::sched) fn check(&self) {
        self.waiting().check(|task| {
            let entity = task.entity();
            let children = || entity.links.left().into_iter().chain(entity.links.right()).map(|child| child.entity());
            let v = children().fold(entity.vruntime, |v, child| average::earlier(v, child.min_vruntime));
            let min = children().fold(entity.slice, |slice, child| slice.min(child.min_slice));
            let max = children().fold(entity.slice, |slice, child| slice.max(child.max_slice));
            let cores = children().fold(entity.cores, |cores, child| cores.union(child.all_cores));
            (v, min, max, cores) == (entity.min_vruntime, entity.min_slice, entity.max_slice, entity.all_cores)
        });
        self.waiting().for_each(|task| {
            let here = entity::task_at(self.waiting(), task.position.get(), |other| std::ptr::eq(other, task));
            assert!(here.is_some(), "a task waits elsewhere than noted");
        });
        let mut sums = self.average().emptied();
        self.waiting().for_each(|task| sums.add(task.entity().share()));
        assert_eq!(self.average(), &sums);
    }

    /// Takes away the first waiting task that `which` selects.
    pub(in crate::sched) fn remove_where(&mut self, which: impl Fn(&Handle) -> bool, now: u64) -> Option<Handle> {
        let mut position = None;
        self.waiting().for_each(|task| {
            if position.is_none() && which(task) {
                position = Some(task.position.get());
            }
        });
        self.remove_waiting(position?, which, now)
    }

    /// Identifier, virtual runtime and deadline of every task, the running one first, then in order of deadlines.
    pub(in crate::sched) fn contents(&self) -> Vec<(u64, u64, u64)> {
        let mut all = Vec::new();
        let mut note = |task: &Handle| all.push((task.entity().id, task.entity().vruntime, task.entity().deadline));
        self.current().into_iter().for_each(&mut note);
        self.waiting().for_each(note);
        all
    }
}

impl RunQueue<Handle> {
    /// Where the task with this identifier waits.
    pub(in crate::sched) fn position_of(&self, id: u64) -> Position {
        let mut position = Position::default();
        let mut look = |task: &Handle| {
            if task.entity().id == id {
                position = task.position.get();
            }
        };
        self.fair().waiting().for_each(&mut look);
        self.realtime().waiting().for_each(&mut look);
        position
    }

    /// Brings the task with this identifier up to date.
    pub(in crate::sched) fn refresh_job(&mut self, id: u64, now: u64) -> Preemption {
        self.refresh(self.position_of(id), |task| task.entity().id == id, now)
    }
}
