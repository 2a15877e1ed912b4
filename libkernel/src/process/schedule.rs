//! How a thread is scheduled, as sched(7) describes it, and who may change that.
#![forbid(unsafe_code)]

use super::capability::Capability;
use super::credentials::Credentials;
use super::limits::{Limits, Resource};
use crate::task::{Parameters, Policy};
use crate::{Errno, Result};

/// Bit in a policy number: children go back to the normal policy (`SCHED_RESET_ON_FORK`).
pub const RESET_ON_FORK: u32 = 0x4000_0000;
/// Highest real-time priority.
pub const PRIORITY_MAX: u32 = 99;
/// The slice of `SCHED_RR` in nanoseconds, as on Linux.
pub const ROUND_ROBIN_SLICE: u64 = 100_000_000;

/// What sched_setattr(2) and its kin set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The policy.
    pub policy: Policy,
    /// Do children start with the normal policy and no boost?
    pub reset_on_fork: bool,
    /// Nice value, -20 to 19; for the policies that are not real-time.
    pub nice: i8,
    /// Real-time priority: 1 to 99 for the real-time policies, else 0.
    pub priority: u8,
    /// A slice of its own choice in nanoseconds, for the policies that are not real-time.
    pub slice: Option<u64>,
}

impl Attributes {
    /// Those that a task has now.
    #[must_use]
    pub fn of(parameters: &Parameters) -> Attributes {
        Attributes {
            policy: parameters.policy(),
            reset_on_fork: parameters.reset_on_fork(),
            nice: parameters.nice(),
            priority: parameters.realtime_priority(),
            slice: parameters.slice(),
        }
    }

    /// With the policy of this number, which may carry [`RESET_ON_FORK`], and this priority.
    ///
    /// # Errors
    /// `EINVAL` for an unknown policy and for a priority that does not go with it.
    pub fn with_policy(self, number: u32, priority: u32) -> Result<Attributes> {
        let policy = Policy::from_number(number & !RESET_ON_FORK).ok_or(Errno::EINVAL)?;
        let fits = if policy.is_realtime() { (1..=PRIORITY_MAX).contains(&priority) } else { priority == 0 };
        if !fits {
            return Err(Errno::EINVAL);
        }
        Ok(Attributes { policy, reset_on_fork: number & RESET_ON_FORK != 0, priority: priority as u8, ..self })
    }

    /// The policy's number with its flag, as sched_getscheduler(2) returns it.
    #[must_use]
    pub fn policy_number(&self) -> u32 {
        self.policy as u32 | if self.reset_on_fork { RESET_ON_FORK } else { 0 }
    }

    /// May a thread with `credentials`, whose target has `target`'s and these `limits`, change `self` into `new`?
    ///
    /// # Errors
    /// `EPERM`.
    pub fn check_change(
        &self,
        new: &Attributes,
        credentials: &Credentials,
        target: &Credentials,
        limits: &Limits,
    ) -> Result<()> {
        if credentials.has(Capability::SysNice) {
            return Ok(());
        }
        if !same_owner(credentials, target) {
            return Err(Errno::EPERM);
        }
        if new.policy.is_realtime() {
            let ceiling = limits.get(Resource::RealTimePriority).soft;
            let other_policy = new.policy != self.policy && ceiling == 0;
            let raised = new.priority > self.priority && u64::from(new.priority) > ceiling;
            if other_policy || raised {
                return Err(Errno::EPERM);
            }
        } else if new.nice < self.nice && !may_be_nice(new.nice, limits) {
            return Err(Errno::EPERM);
        }
        let leaves_idle = self.policy == Policy::Idle && new.policy != Policy::Idle;
        if (leaves_idle && !may_be_nice(new.nice, limits)) || (self.reset_on_fork && !new.reset_on_fork) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// Gives the task these attributes; takes effect at its next turn.
    pub fn apply(&self, parameters: &Parameters) {
        parameters.set_policy(self.policy);
        parameters.set_reset_on_fork(self.reset_on_fork);
        parameters.set_realtime_priority(self.priority);
        if !self.policy.is_realtime() {
            parameters.set_nice(self.nice);
            parameters.set_slice(self.slice);
        }
    }
}

/// May a nice value be lowered to `nice` under these limits (getrlimit(2), `RLIMIT_NICE`)?
#[must_use]
pub fn may_be_nice(nice: i8, limits: &Limits) -> bool {
    let needed = (20 - i32::from(nice)) as u64;
    needed <= limits.get(Resource::Nice).soft
}

/// Does the effective user own the target, so that it may change how that is scheduled?
#[must_use]
pub fn same_owner(credentials: &Credentials, target: &Credentials) -> bool {
    let mine = credentials.uid.effective;
    mine == target.uid.effective || mine == target.uid.real
}

/// The range of priorities of a policy (sched_get_priority_min(2)).
///
/// # Errors
/// `EINVAL` for an unknown policy.
pub fn priority_range(policy: u32) -> Result<core::ops::RangeInclusive<u32>> {
    // SCHED_DEADLINE (6) cannot be set, but the question has an answer.
    if policy == 6 {
        return Ok(0..=0);
    }
    let policy = Policy::from_number(policy).ok_or(Errno::EINVAL)?;
    Ok(if policy.is_realtime() { 1..=PRIORITY_MAX } else { 0..=0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Uid;

    fn now() -> Attributes {
        Attributes::of(&Parameters::default())
    }

    fn user() -> Credentials {
        Credentials::root().set_uid(Uid::new(1000).unwrap()).unwrap()
    }

    #[test]
    fn policies_and_priorities_go_together() {
        assert!(now().with_policy(1, 50).is_ok());
        for (policy, priority) in [(1, 0), (1, 100), (0, 1), (4, 0), (99, 0)] {
            assert_eq!(now().with_policy(policy, priority), Err(Errno::EINVAL));
        }
        let reset = now().with_policy(2 | RESET_ON_FORK, 1).unwrap();
        assert_eq!(reset.policy_number(), 2 | RESET_ON_FORK);
        assert_eq!(priority_range(1), Ok(1..=99));
        assert_eq!(priority_range(0), Ok(0..=0));
    }

    #[test]
    fn an_ordinary_user_may_only_become_nicer() {
        let limits = Limits::initial(100);
        let may = |new: Attributes, credentials: &Credentials| now().check_change(&new, credentials, &user(), &limits);
        let nicer = Attributes { nice: 5, ..now() };
        let ruder = Attributes { nice: -5, ..now() };
        let realtime = now().with_policy(1, 1).unwrap();
        assert_eq!(may(nicer, &user()), Ok(()));
        assert_eq!(may(ruder, &user()), Err(Errno::EPERM));
        assert_eq!(may(realtime, &user()), Err(Errno::EPERM));
        assert_eq!(may(realtime, &Credentials::root()), Ok(()));
        let stranger = Credentials::root().set_uid(Uid::new(1001).unwrap()).unwrap();
        assert_eq!(may(nicer, &stranger), Err(Errno::EPERM));
    }
}
