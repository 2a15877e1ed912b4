//! A look at a task's scheduling state, for `/proc/PID/sched`.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::{Runnable, Task, ready};
use crate::sched::{Entity, FairQueue, Schedulable};

/// The scheduling state of a task at one moment. Times in nanoseconds, virtual ones in those of a nice-0 task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulingFacts {
    /// Virtual runtime.
    pub vruntime: u64,
    /// Virtual deadline.
    pub deadline: u64,
    /// How much service it is owed (positive), or ahead of the others.
    pub lag: i64,
    /// The slice it asks for.
    pub slice: u64,
    /// Its weight.
    pub weight: u32,
}

impl SchedulingFacts {
    /// What a task is like that is in no queue.
    pub fn of<T>(entity: &Entity<T>) -> Self {
        Self {
            vruntime: entity.vruntime(),
            deadline: entity.absolute_deadline(),
            lag: entity.lag(),
            slice: entity.slice(),
            weight: entity.weight(),
        }
    }

    /// How far after its virtual runtime its deadline lies.
    pub const fn relative_deadline(&self) -> u64 {
        self.deadline.wrapping_sub(self.vruntime)
    }

    /// What a task of `queue` is like.
    pub fn in_queue<T: Schedulable>(entity: &Entity<T>, queue: &FairQueue<T>) -> Self {
        let lag = queue.virtual_time_now().wrapping_sub(entity.vruntime()) as i64;
        Self { lag, ..Self::of(entity) }
    }
}

impl Task {
    /// Looks at the state of a task that sleeps; `None` if it does not. It is as if the task had been polled and waited on: it belongs to
    /// the caller for that moment, and a wake that comes meanwhile is carried out afterwards.
    pub(super) fn inspect_asleep(self: &Arc<Self>) -> Option<SchedulingFacts> {
        if self.activity() != super::Activity::Asleep {
            return None;
        }
        let claimed = self.claim()?;
        let facts = SchedulingFacts::of(&claimed.entity);
        claimed.park().into_iter().for_each(ready::enqueue);
        Some(facts)
    }

    fn claim(self: &Arc<Self>) -> Option<Runnable> {
        self.state().claim().then(|| Runnable::claimed(self.clone()))
    }
}
