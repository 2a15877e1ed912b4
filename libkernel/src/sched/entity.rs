//! What the run queue knows about one task.

use super::average::{Share, before, earlier};
use super::position::{FoldedCores, Position};
use super::weight::{IDLE_WEIGHT, NICE_0_WEIGHT, weight_of_nice};
use crate::task::Policy;
use crate::tree::{Element, Links, Tree};

/// An owning handle of a task that can be queued: the kernel's is [`Runnable`](crate::task::Runnable).
pub trait Schedulable: Sized {
    /// The scheduling entity.
    fn entity(&self) -> &Entity<Self>;
    /// The scheduling entity, to change it.
    fn entity_mut(&mut self) -> &mut Entity<Self>;
    /// How the task wants to be scheduled now; the entity follows at the next event that concerns it.
    fn request(&self) -> Request;
    /// Whether the task may run on that core now.
    fn may_run_on(&self, core: usize) -> bool;
    /// The cores it may run on now; the queue follows as with the request.
    fn cores(&self) -> FoldedCores;
    /// Notes beside the task where it waits, for [`RunQueue::refresh`](super::RunQueue::refresh): not of the first, which is found anyway.
    fn note_position(&self, position: Position);
}

/// How a task wants to be scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The policy.
    pub policy: Policy,
    /// The static priority, 1 to 99, for the real-time policies.
    pub priority: u8,
    /// The nice value, for the fair policies.
    pub nice: i8,
    /// The slice in nanoseconds; `None`: the queue's default.
    pub slice: Option<u64>,
}

impl Request {
    /// `SCHED_OTHER` at nice 0 with the default slice.
    pub const NORMAL: Self = Self { policy: Policy::Normal, priority: 0, nice: 0, slice: None };

    /// The weight in the fair class.
    pub fn weight(&self) -> u32 {
        match (self.policy, self.nice) {
            (Policy::Idle, _) => IDLE_WEIGHT,
            (_, 0) => NICE_0_WEIGHT,
            (_, nice) => weight_of_nice(nice),
        }
    }
}

/// The scheduling state of a task.
///
/// Virtual times are nanoseconds scaled by [`NICE_0_WEIGHT`] over the weight; they mean something within one queue.
#[derive(Debug)]
pub struct Entity<T> {
    pub(super) links: Links<T>,
    /// Breaks ties between equal deadlines.
    pub(super) id: u64,
    pub(super) policy: Policy,
    pub(super) priority: u8,
    pub(super) weight: u32,
    /// Nanoseconds of service a request asks for.
    pub(super) slice: u64,
    /// Whether it has been on a queue before.
    pub(super) started: bool,
    pub(super) vruntime: u64,
    /// What the last division for `vruntime` left over, in units of 1 over the weight.
    pub(super) remainder: u32,
    /// The virtual deadline; relative to `vruntime` while `deadline_is_relative`.
    pub(super) deadline: u64,
    pub(super) deadline_is_relative: bool,
    /// Until its virtual runtime gets here, an eligible running task is not replaced.
    pub(super) protected_until: u64,
    /// Whether it has not used up a request since it woke.
    pub(super) freshly_woken: bool,
    /// Virtual lag when it left a queue; positive: it is owed service.
    pub(super) lag: i64,
    /// Which queue it left last, when, and what weight it left behind there.
    pub(super) left: Option<Left>,
    /// Real-time class: order of arrival within the priority, and what is left of its turn.
    pub(super) turn: u64,
    pub(super) turn_left: u64,
    /// Nanoseconds of service in all.
    pub(super) runtime: u64,
    /// The cores it might run on when it began to wait behind others.
    pub(super) cores: FoldedCores,
    pub(super) min_vruntime: u64,
    pub(super) min_slice: u64,
    pub(super) max_slice: u64,
    /// The cores of all in the subtree.
    pub(super) all_cores: FoldedCores,
}

/// Where and when a task fell asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) queue: u32,
    pub(super) at: u64,
    pub(super) rivals: u64,
}

impl<T> Entity<T> {
    /// The entity of a new task; `id` is unique.
    pub const fn new(id: u64) -> Self {
        Self {
            links: Links::new(),
            id,
            policy: Policy::Normal,
            priority: 0,
            weight: NICE_0_WEIGHT,
            slice: 0,
            started: false,
            vruntime: 0,
            remainder: 0,
            deadline: 0,
            deadline_is_relative: false,
            protected_until: 0,
            freshly_woken: false,
            lag: 0,
            left: None,
            turn: 0,
            turn_left: 0,
            runtime: 0,
            cores: FoldedCores::EMPTY,
            min_vruntime: 0,
            min_slice: 0,
            max_slice: 0,
            all_cores: FoldedCores::EMPTY,
        }
    }

    /// The unique number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the task has never been queued.
    pub fn is_new(&self) -> bool {
        !self.started
    }

    /// The weight.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The slice in nanoseconds.
    pub fn slice(&self) -> u64 {
        self.slice
    }

    /// The virtual runtime.
    pub fn vruntime(&self) -> u64 {
        self.vruntime
    }

    /// The virtual deadline.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// The virtual deadline, also of a task that keeps it as a distance from its virtual runtime while it is in no queue.
    pub fn absolute_deadline(&self) -> u64 {
        if self.deadline_is_relative { self.vruntime.wrapping_add(self.deadline) } else { self.deadline }
    }

    /// The virtual lag with which it left its last queue, in nanoseconds of a nice-0 task.
    pub fn lag(&self) -> i64 {
        self.lag
    }

    /// Nanoseconds of service in all.
    pub fn runtime(&self) -> u64 {
        self.runtime
    }

    #[inline]
    pub(super) fn share(&self) -> Share {
        Share { vruntime: self.vruntime, weight: self.weight }
    }

    /// Real nanoseconds in virtual ones, rounded down.
    #[inline]
    pub(super) fn scale(&self, real: u64) -> u64 {
        if self.weight == NICE_0_WEIGHT {
            return real;
        }
        let scaled = u128::from(real) * u128::from(NICE_0_WEIGHT);
        match u64::try_from(scaled) {
            Ok(scaled) => scaled / u64::from(self.weight.max(1)),
            Err(_) => u64::try_from(scaled / u128::from(self.weight.max(1))).unwrap_or(u64::MAX >> 1),
        }
    }

    /// Real nanoseconds after which at least `virtually` virtual ones have passed.
    #[inline]
    pub(super) fn unscale(&self, virtually: u64) -> u64 {
        if self.weight == NICE_0_WEIGHT {
            return virtually;
        }
        let scaled = u128::from(virtually) * u128::from(self.weight);
        u64::try_from(scaled.div_ceil(u128::from(NICE_0_WEIGHT))).unwrap_or(u64::MAX >> 1)
    }

    /// Charges real nanoseconds of service exactly: what a division leaves over is kept for the next.
    #[inline]
    pub(super) fn charge(&mut self, real: u64) {
        self.runtime = self.runtime.wrapping_add(real);
        if self.weight == NICE_0_WEIGHT {
            self.vruntime = self.vruntime.wrapping_add(real);
            return;
        }
        let weight = u128::from(self.weight.max(1));
        let scaled = u128::from(real) * u128::from(NICE_0_WEIGHT) + u128::from(self.remainder);
        let (quotient, remainder) = match u64::try_from(scaled) {
            Ok(scaled) => (scaled / weight as u64, (scaled % weight as u64) as u32),
            Err(_) => ((scaled / weight) as u64, (scaled % weight) as u32),
        };
        self.vruntime = self.vruntime.wrapping_add(quotient);
        self.remainder = remainder;
    }

    /// Starts a new request at the present virtual runtime.
    #[inline]
    pub(super) fn renew_deadline(&mut self) {
        self.deadline = self.vruntime.wrapping_add(self.scale(self.slice));
        self.freshly_woken = false;
    }

    /// Changes the weight around virtual time `average`, which stays what it is: distances from it scale so that weight times
    /// distance is kept. Rounds to nearest, so that going back and forth does not drift.
    #[inline]
    pub(super) fn reweigh(&mut self, weight: u32, average: u64) {
        if self.weight != weight.max(1) {
            self.change_weight(weight.max(1), average);
        }
    }

    fn change_weight(&mut self, new: u32, average: u64) {
        let old = self.weight;
        let rescale = |distance: u64| rescale(distance as i64, old, new) as u64;
        let around = |time: u64| average.wrapping_add(rescale(time.wrapping_sub(average)));
        self.vruntime = around(self.vruntime);
        self.protected_until = around(self.protected_until);
        self.deadline = if self.deadline_is_relative { rescale(self.deadline) } else { around(self.deadline) };
        self.lag = rescale(self.lag as u64) as i64;
        self.remainder = 0;
        self.weight = new;
    }
}

/// `distance * old / new`, rounded to nearest.
fn rescale(distance: i64, old: u32, new: u32) -> i64 {
    let product = i128::from(distance) * i128::from(old);
    let half = i128::from(new / 2);
    let rounded = (product + if product < 0 { -half } else { half }) / i128::from(new);
    rounded.clamp(i128::from(i64::MIN >> 2), i128::from(i64::MAX >> 2)) as i64
}

/// The task that waits at `position` of `tree`, if it is the one that `which` selects.
pub(super) fn task_at<T: Schedulable>(tree: &Tree<T>, position: Position, which: impl Fn(&T) -> bool) -> Option<&T> {
    let first = tree.first().filter(|task| which(task));
    first.or_else(|| tree.get(&(position.0, position.1)).filter(|task| which(task)))
}

/// The cores that any of those who wait in `tree` might run on when they began to.
pub(super) fn cores_of<T: Schedulable>(tree: &Tree<T>) -> FoldedCores {
    let first = tree.first().map_or(FoldedCores::EMPTY, Schedulable::cores);
    tree.rest().map_or(first, |rest| first.union(rest.entity().all_cores))
}

impl<T: Schedulable> Element for T {
    /// Virtual deadline and identifier in the fair class, rank of the priority and turn in the real-time class.
    type Key = (u64, u64);

    #[inline]
    fn key(&self) -> (u64, u64) {
        let entity = self.entity();
        if entity.policy.is_realtime() {
            (u64::from(u8::MAX - entity.priority), entity.turn)
        } else {
            (entity.deadline, entity.id)
        }
    }

    #[inline]
    fn before(a: &(u64, u64), b: &(u64, u64)) -> bool {
        before(a.0, b.0) || (a.0 == b.0 && before(a.1, b.1))
    }

    #[inline]
    fn links(&self) -> &Links<Self> {
        &self.entity().links
    }

    #[inline]
    fn links_mut(&mut self) -> &mut Links<Self> {
        &mut self.entity_mut().links
    }

    fn enter(&mut self) {
        self.entity_mut().cores = self.cores();
        let key = self.key();
        self.note_position(Position(key.0, key.1));
    }

    fn update_aggregate(&mut self) {
        let entity = self.entity_mut();
        let (mut min_vruntime, mut min_slice, mut max_slice) = (entity.vruntime, entity.slice, entity.slice);
        let mut all_cores = entity.cores;
        for child in entity.links.left().into_iter().chain(entity.links.right()) {
            let child = child.entity();
            min_vruntime = earlier(min_vruntime, child.min_vruntime);
            min_slice = min_slice.min(child.min_slice);
            max_slice = max_slice.max(child.max_slice);
            all_cores = all_cores.union(child.all_cores);
        }
        entity.min_vruntime = min_vruntime;
        entity.min_slice = min_slice;
        entity.max_slice = max_slice;
        entity.all_cores = all_cores;
    }
}
