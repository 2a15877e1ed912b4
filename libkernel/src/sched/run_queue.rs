//! All classes of one core together.

use super::entity::{Schedulable, cores_of, task_at};
use super::fair::FairQueue;
use super::position::{FoldedCores, Position};
use super::realtime::RealtimeQueue;
use super::{Arrival, Departure, Preemption};

/// The default slice on one core, in nanoseconds; it grows with the number of cores.
const BASE_SLICE: u64 = 700_000;

/// Which class the running task belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing runs.
    Idle,
    /// `SCHED_OTHER`, `SCHED_BATCH`, `SCHED_IDLE`.
    Fair,
    /// `SCHED_FIFO`, `SCHED_RR`.
    Realtime,
}

/// The runnable tasks of one core.
///
/// # Invariants
/// Only the queue of the class `running` has a current task. The current task leaves only by [`remove_current`](RunQueue::remove_current)
/// or when another one is picked: its core may be in the middle of polling it.
#[derive(Debug)]
pub struct RunQueue<T> {
    realtime: RealtimeQueue<T>,
    fair: FairQueue<T>,
    running: Class,
    /// The running task asks for another class or priority; the next pick sorts it in anew.
    stale: bool,
    /// When the owner should look again whether the queue is too long.
    relief_due: u64,
}

impl<T: Schedulable> RunQueue<T> {
    /// The empty queue of a core.
    pub const fn new(core: u32) -> Self {
        Self {
            realtime: RealtimeQueue::new(),
            fair: FairQueue::new(core, BASE_SLICE),
            running: Class::Idle,
            stale: false,
            relief_due: 0,
        }
    }

    /// Sets the default slice for a machine of `cores` cores: 0.7 ms, and as much again for each doubling up to 8.
    pub fn set_core_count(&mut self, cores: usize) {
        self.fair.set_base_slice(Self::base_slice(cores));
    }

    /// The default slice on a machine of `cores` cores, in nanoseconds.
    pub fn base_slice(cores: usize) -> u64 {
        BASE_SLICE * u64::from(1 + cores.clamp(1, 8).ilog2())
    }

    /// The running task.
    #[inline]
    pub fn current(&self) -> Option<&T> {
        match self.running {
            Class::Idle => None,
            Class::Fair => self.fair.current(),
            Class::Realtime => self.realtime.current(),
        }
    }

    /// The class of the running task.
    pub fn class(&self) -> Class {
        self.running
    }

    /// The number of tasks, the running one included.
    #[inline]
    pub fn len(&self) -> usize {
        self.realtime.len() + self.fair.len()
    }

    /// Whether there is no task.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.realtime.is_empty() && self.fair.is_empty()
    }

    /// Whether a task waits for the running one.
    #[inline]
    pub fn has_waiting(&self) -> bool {
        !self.realtime.waiting().is_empty() || !self.fair.waiting().is_empty()
    }

    /// The weight of the fair tasks, and of a nice-0 task for each real-time one.
    pub fn load(&self) -> u64 {
        self.fair.load() + 1024 * self.realtime.len() as u64
    }

    /// The fair class.
    pub fn fair(&self) -> &FairQueue<T> {
        &self.fair
    }

    /// The real-time class.
    pub fn realtime(&self) -> &RealtimeQueue<T> {
        &self.realtime
    }

    /// Adds a task that became runnable at `now` (nanoseconds of a clock that all queues share).
    #[inline(always)]
    pub fn enqueue(&mut self, task: T, arrival: Arrival, now: u64) -> Preemption {
        // Asked for once: another core may change it meanwhile, and says so afterwards.
        let request = task.request();
        if request.policy.is_realtime() {
            let decision = self.realtime.enqueue(task, request, arrival, now);
            return self.decide_with(decision, now);
        }
        let decision = self.fair.enqueue_as(task, request, arrival, now);
        match self.running {
            Class::Realtime => self.realtime.update(now, true),
            Class::Fair | Class::Idle => decision,
        }
    }

    /// The decision after a real-time task came, which its class made on its own.
    fn decide_with(&mut self, decision: Preemption, now: u64) -> Preemption {
        if self.running == Class::Realtime { decision } else { self.decide(now) }
    }

    /// Charges the running task for the time up to `now`, and says whether it should give way.
    pub fn update(&mut self, now: u64) -> Preemption {
        self.decide(now)
    }

    fn decide(&mut self, now: u64) -> Preemption {
        let others = !self.fair.is_empty();
        match self.running {
            Class::Realtime => self.realtime.update(now, others),
            Class::Fair | Class::Idle => self.realtime.update(now, others).or(self.fair.update(now)),
        }
    }

    /// Chooses the task that runs from `now` on; the one that ran before is among the candidates.
    #[inline(always)]
    pub fn pick(&mut self, now: u64) -> Option<&T> {
        if self.stale {
            self.follow_request(now);
        }
        if !self.realtime.is_empty() {
            return self.pick_among_classes(now);
        }
        if self.fair.is_empty() {
            self.running = Class::Idle;
            return None;
        }
        self.running = Class::Fair;
        self.fair.pick(now)
    }

    /// Queues the running task anew, in the class that it requests now.
    #[cold]
    fn follow_request(&mut self, now: u64) {
        if let Some(task) = self.remove_current(Departure::Move, now) {
            let _ = self.requeue(task, now);
        }
    }

    #[inline(never)]
    fn pick_among_classes(&mut self, now: u64) -> Option<&T> {
        // Charges the class, so that its budget is up to date.
        let _ = self.decide(now);
        let realtime = !self.realtime.is_empty() && (!self.realtime.is_throttled() || self.fair.is_empty());
        if realtime {
            self.fair.put_back();
            self.running = Class::Realtime;
            self.realtime.pick(now)
        } else {
            self.realtime.put_back();
            self.running = Class::Fair;
            self.fair.pick(now)
        }
    }

    /// Takes the running task away; nothing runs until the next pick.
    #[inline(always)]
    pub fn remove_current(&mut self, departure: Departure, now: u64) -> Option<T> {
        let task = match self.running {
            Class::Idle => None,
            Class::Fair => self.fair.remove_current(departure, now),
            Class::Realtime => self.realtime.remove_current(now),
        };
        self.running = Class::Idle;
        self.stale = false;
        task
    }

    /// The task that `which` selects, if it runs here or waits at `position`.
    pub fn find(&self, position: Position, which: impl Fn(&T) -> bool) -> Option<&T> {
        self.current().filter(|current| which(current)).or_else(|| {
            let realtime = task_at(self.realtime.waiting(), position, &which);
            realtime.or_else(|| task_at(self.fair.waiting(), position, &which))
        })
    }

    /// Takes away the task that waits at `position`, if it is the one that `which` selects, to move it.
    pub fn remove_waiting(&mut self, position: Position, which: impl Fn(&T) -> bool, now: u64) -> Option<T> {
        self.realtime.remove_waiting(position, &which).or_else(|| self.fair.remove_waiting(position, &which, now))
    }

    /// Takes away a waiting task that may run on core `to`: the real-time one that would run first, unless it is about to run here, else
    /// a fair one that would run late.
    pub fn give(&mut self, to: usize, now: u64) -> Option<T> {
        let others = !self.fair.is_empty();
        self.realtime.give(to, others).or_else(|| self.fair.give(to, now))
    }

    /// The cores that any of the waiting tasks may run on.
    pub(super) fn wanted_cores(&self) -> FoldedCores {
        cores_of(self.realtime.waiting()).union(cores_of(self.fair.waiting()))
    }

    /// Whether tasks wait and nobody has looked lately if other cores should have some: [`relieve`](RunQueue::relieve) does.
    #[inline(always)]
    pub fn relief_is_due(&self, now: u64) -> bool {
        self.has_waiting() && now >= self.relief_due
    }

    pub(super) fn postpone_relief(&mut self, until: u64) {
        self.relief_due = until;
    }

    /// The running task lets others go first (`sched_yield(2)`); choose again afterwards.
    pub fn yield_current(&mut self, now: u64) {
        match self.running {
            Class::Idle => {}
            Class::Fair => self.fair.yield_current(now),
            Class::Realtime => self.realtime.yield_current(now),
        }
    }

    /// Brings the task that `which` selects up to date with what it requests since `sched_setattr(2)` or `setpriority(2)`, if it runs
    /// here or waits at `position`. A task that is not here follows when it is queued.
    pub fn refresh(&mut self, position: Position, which: impl Fn(&T) -> bool, now: u64) -> Preemption {
        if let Some(current) = self.current().filter(|current| which(current)) {
            let request = current.request();
            if self.running == Class::Fair && !request.policy.is_realtime() {
                self.fair.refresh_current(request, now);
            } else {
                self.stale = true;
            }
            return Preemption::Reschedule;
        }
        match self.remove_waiting(position, which, now) {
            Some(task) => self.requeue(task, now),
            None => Preemption::Continue,
        }
    }

    fn requeue(&mut self, task: T, now: u64) -> Preemption {
        let request = task.request();
        if request.policy.is_realtime() && task.entity().policy.is_realtime() {
            let decision = self.realtime.requeue(task, request, now);
            return self.decide_with(decision, now);
        }
        self.enqueue(task, Arrival::Moved, now)
    }

    /// When [`update`](RunQueue::update) has to be called next; `None`: only after the next event.
    #[inline]
    pub fn slice_end(&self) -> Option<u64> {
        if self.realtime.is_empty() { self.fair.slice_end() } else { self.slice_end_among_classes() }
    }

    #[inline(never)]
    fn slice_end_among_classes(&self) -> Option<u64> {
        let others = !self.fair.is_empty();
        match self.running {
            Class::Realtime => {
                // It may go on for long, and nobody chooses meanwhile.
                let relief = self.has_waiting().then_some(self.relief_due);
                self.realtime.slice_end(others).into_iter().chain(relief).min()
            }
            Class::Idle => self.realtime.slice_end(others),
            Class::Fair => match (self.fair.slice_end(), self.realtime.slice_end(others)) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        }
    }
}
