//! Relief by message: the owner of a queue that is too long sends waiting tasks to cores that sleep or have a much shorter one.
//!
//! A core that runs dry asks once and sleeps when it is refused, so whoever comes to have something to spare later has to see to it
//! by itself. It looks when the running task is made to wait, whether its slice has ended or not, and by the timer while a real-time
//! task keeps all others waiting; at most once in [`INTERVAL`], so that many preemptions cost no more than few. Where tasks come and
//! go by themselves, placement keeps the queues even as they wake.
#![forbid(unsafe_code)]

use super::hints::Cores;
use super::steal::BATCH;
use super::{Class, RunQueue, Schedulable, placement};

/// How long a core waits until it looks again, in nanoseconds: about a slice.
pub const INTERVAL: u64 = 1_000_000;

/// The longest slice, in nanoseconds, behind which a task waits rather than leave its cache.
const BRIEF: u64 = 200_000;

impl<T: Schedulable> RunQueue<T> {
    /// Gives `send` tasks that wait here, each with the core that should have it, until no other queue is much shorter; at most a
    /// batch. Nothing but a look at the hints of the cores if the queues are even.
    pub fn relieve(&mut self, cores: &impl Cores, here: usize, now: u64, mut send: impl FnMut(T, usize)) {
        if self.is_next_soon() {
            return;
        }
        self.postpone_relief(now.saturating_add(INTERVAL));
        if !placement::is_too_long(cores, here, self.len()) {
            return;
        }
        for _ in 0..BATCH {
            let wanted = self.wanted_cores();
            let Some(target) = placement::relief(cores, here, self.len(), |core| wanted.may_contain(core)) else {
                return;
            };
            match self.give(target, now) {
                Some(task) => send(task, target),
                None => return cores.release_idle(target),
            }
        }
    }

    /// Whether a single task waits, behind one that woke for less than it takes to warm another core's cache. One that goes on
    /// after its slice does not count: two of those would share a core for ever.
    pub(super) fn is_next_soon(&self) -> bool {
        self.len() == 2
            && self.class() == Class::Fair
            && self.current().map(Schedulable::entity).is_some_and(|it| it.freshly_woken && it.slice <= BRIEF)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hints::Hints;
    use super::super::tests::{Handle, MS, job, realtime, with_slice};
    use super::super::{Arrival, CoreSet, Request};
    use super::*;
    use crate::task::Policy;

    const CORES: usize = 8;

    struct Eight(Hints<CORES>);

    impl Cores for Eight {
        fn count(&self) -> usize {
            CORES
        }
        fn runnable(&self, core: usize) -> usize {
            self.0.runnable(core)
        }
        fn claim_idle(&self, preferred: usize, allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
            self.0.claim_idle(CORES, preferred, allowed)
        }
        fn release_idle(&self, core: usize) {
            self.0.enter_idle(core);
        }
    }

    /// All other cores sleep.
    fn idle_cores() -> Eight {
        let hints = Hints::new();
        (1..CORES).for_each(|core| hints.enter_idle(core));
        Eight(hints)
    }

    fn only_0_and_6() -> CoreSet {
        let mut set = CoreSet::only(0);
        set.add(6);
        set
    }

    fn hogs(count: u64) -> RunQueue<Handle> {
        let mut queue = RunQueue::new(0);
        for id in 1..=count {
            let _ = queue.enqueue(job(id, Request::NORMAL), Arrival::Born, 0);
        }
        queue.pick(0);
        queue
    }

    fn relieve(queue: &mut RunQueue<Handle>, cores: &Eight, now: u64) -> Vec<usize> {
        let mut targets = Vec::new();
        let send = |_, target| {
            cores.0.expect(target);
            targets.push(target);
        };
        queue.relieve(cores, 0, now, send);
        targets
    }

    #[test]
    fn a_batch_goes_at_once_and_the_rest_an_interval_later() {
        let (mut queue, cores) = (hogs(16), idle_cores());
        assert!(queue.relief_is_due(0));
        assert_eq!(relieve(&mut queue, &cores, 0), [1, 2, 3, 4]);
        assert!(!queue.relief_is_due(INTERVAL - 1));
        assert!(queue.relief_is_due(INTERVAL));
        assert_eq!(relieve(&mut queue, &cores, INTERVAL), [5, 6, 7, 1]);
        assert_eq!(queue.len(), 8);
    }

    #[test]
    fn it_ends_when_the_queues_are_even() {
        let (mut queue, cores) = (hogs(5), idle_cores());
        (1..CORES).for_each(|core| cores.0.publish(core, 3));
        (1..CORES).for_each(|core| cores.0.leave_idle(core));
        assert_eq!(relieve(&mut queue, &cores, 0), [1], "from 5 and 3 to 4 and 4");
        assert!(relieve(&mut queue, &cores, INTERVAL).is_empty());
    }

    #[test]
    fn nothing_is_due_where_nobody_waits() {
        assert!(!hogs(1).relief_is_due(u64::MAX));
        assert!(!hogs(0).relief_is_due(u64::MAX));
    }

    #[test]
    fn the_only_core_that_may_help_does_however_many_sleep() {
        for (bound, expected) in [(CoreSet::only(0), vec![]), (only_0_and_6(), vec![6, 6])] {
            let (mut queue, cores) = (RunQueue::new(0), idle_cores());
            for id in 1..=4 {
                let task = job(id, Request::NORMAL);
                task.allowed.set(bound);
                let _ = queue.enqueue(task, Arrival::Born, 0);
            }
            queue.pick(0);
            assert_eq!(relieve(&mut queue, &cores, 0), expected);
            let asleep = (1..CORES).filter(|core| cores.0.is_idle(*core)).count();
            assert_eq!(asleep, CORES - 1 - expected.len().min(1), "nobody was claimed for nothing");
        }
    }

    #[test]
    fn a_core_claimed_for_a_task_that_stays_sleeps_on() {
        let mut queue = hogs(1);
        let cores = idle_cores();
        let _ = queue.enqueue(job(2, realtime(Policy::Fifo, 5)), Arrival::Woken, MS);
        assert!(relieve(&mut queue, &cores, MS).is_empty(), "it is about to run");
        assert!((1..CORES).all(|core| cores.0.is_idle(core)));
        queue.pick(MS);
        assert_eq!(relieve(&mut queue, &cores, 2 * MS), [1], "what it preempted is not");
    }

    #[test]
    fn a_brief_slice_drives_nobody_away_but_a_second_waiter() {
        let (mut queue, cores) = (hogs(1), idle_cores());
        let _ = queue.enqueue(job(2, with_slice(0, BRIEF)), Arrival::Woken, MS);
        assert_eq!(queue.pick(MS).map(|task| task.entity().id()), Some(2));
        assert!(relieve(&mut queue, &cores, MS).is_empty());
        assert!(queue.relief_is_due(MS), "the next choice looks again");
        let _ = queue.enqueue(job(3, Request::NORMAL), Arrival::Born, MS);
        assert_eq!(relieve(&mut queue, &cores, MS).len(), 2, "both that wait");
    }

    #[test]
    fn who_goes_on_after_a_brief_slice_drives_a_waiter_away() {
        let (mut queue, cores) = (hogs(1), idle_cores());
        let _ = queue.enqueue(job(2, with_slice(0, BRIEF)), Arrival::Woken, MS);
        queue.pick(MS);
        let _ = queue.update(MS + BRIEF - 1);
        assert!(relieve(&mut queue, &cores, MS + BRIEF - 1).is_empty());
        let _ = queue.update(MS + BRIEF);
        assert_eq!(relieve(&mut queue, &cores, MS + BRIEF).len(), 1);
    }

    #[test]
    fn newborn_hogs_of_brief_slices_part() {
        let (mut queue, cores) = (RunQueue::new(0), idle_cores());
        for id in 1..=2 {
            let _ = queue.enqueue(job(id, with_slice(0, BRIEF)), Arrival::Born, 0);
        }
        queue.pick(0);
        assert_eq!(relieve(&mut queue, &cores, 0), [1]);
    }

    #[test]
    fn behind_a_real_time_task_the_timer_looks() {
        let mut queue = hogs(2);
        let _ = queue.enqueue(job(3, realtime(Policy::Fifo, 5)), Arrival::Woken, MS);
        queue.pick(MS);
        let cores = idle_cores();
        (1..CORES).for_each(|core| cores.0.publish(core, 9));
        assert!(relieve(&mut queue, &cores, MS).is_empty());
        assert_eq!(queue.slice_end(), Some(MS + INTERVAL));
    }
}
