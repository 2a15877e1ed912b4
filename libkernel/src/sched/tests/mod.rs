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
}

pub(in crate::sched) fn job(id: u64, request: Request) -> Handle {
    Box::new(Job { request: Rc::new(Cell::new(request)), entity: Entity::new(id) })
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
            (v, min, max) == (entity.min_vruntime, entity.min_slice, entity.max_slice)
        });
        let mut sums = self.average().emptied();
        self.waiting().for_each(|task| sums.add(task.entity().share()));
        assert_eq!(self.average(), &sums);
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
