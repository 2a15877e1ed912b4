//! What a core looks out for while it is busy: itself, in one stretch of kernel code for too long, and other cores that do not take
//! their messages.
//!
//! Pure: time and what is seen come in as arguments, what is to be reported goes out, each trouble once. Looks are made from the timer
//! interrupt, at intervals of the patience; nothing here sleeps or allocates.
#![forbid(unsafe_code)]

use crate::machine::MAX_CORES;

/// For how many nanoseconds something must have lasted to be reported; also the time between two looks.
pub const PATIENCE: u64 = 2_000_000_000;

/// A stretch of kernel code in one task: it ends when the poll ends, or at user mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The task's number.
    pub task: u64,
    /// Tells this poll from others of the task, and from before and after user mode.
    pub turn: (u64, u64),
}

/// Something seen more than once without a change.
#[derive(Clone, Copy, Debug)]
struct Watched<T> {
    what: T,
    since: u64,
    reported: bool,
}

impl<T: PartialEq> Watched<T> {
    /// Sees `what` at `now`: how long it has lasted, if that is to be reported.
    fn see(slot: &mut Option<Self>, what: Option<T>, now: u64, patience: u64) -> Option<u64> {
        match (slot.as_mut(), what) {
            (Some(watched), Some(what)) if watched.what == what => {
                let lasted = now.saturating_sub(watched.since);
                if watched.reported || lasted < patience {
                    return None;
                }
                watched.reported = true;
                Some(lasted)
            }
            (_, what) => {
                *slot = what.map(|what| Self { what, since: now, reported: false });
                None
            }
        }
    }
}

/// One core's looks.
#[derive(Debug)]
pub struct Lookout {
    patience: u64,
    own: Option<Watched<Stretch>>,
    others: [Option<Watched<u64>>; MAX_CORES],
}

impl Lookout {
    /// Nothing has been seen.
    pub const fn new() -> Self {
        Self { patience: PATIENCE, own: None, others: [const { None }; MAX_CORES] }
    }

    /// How long something may last.
    pub fn patience(&self) -> u64 {
        self.patience
    }

    /// Sets how long something may last.
    pub fn set_patience(&mut self, nanoseconds: u64) {
        self.patience = nanoseconds;
    }

    /// Looks at what this core executes; `None` if that is user mode, code that can be preempted, or nothing. `Some`: for how many
    /// nanoseconds at least, if it is time to say so.
    pub fn at_itself(&mut self, executes: Option<Stretch>, now: u64) -> Option<u64> {
        Watched::see(&mut self.own, executes, now, self.patience)
    }

    /// Looks at another core: how many messages it had received when some were waiting, `None` if none wait. `Some`: for how many nanoseconds
    /// at least it has not taken any, if it is time to say so.
    pub fn at_other(&mut self, core: usize, waiting: Option<u64>, now: u64) -> Option<u64> {
        Watched::see(self.others.get_mut(core)?, waiting, now, self.patience)
    }

    /// Whether another look is needed even if this core has nothing else to do: messages of another core waited at the last look, and that has
    /// not been reported.
    pub fn is_suspicious(&self) -> bool {
        self.others.iter().flatten().any(|watched| !watched.reported)
    }
}

impl Default for Lookout {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRETCH: Stretch = Stretch { task: 7, turn: (100, 0) };

    #[test]
    fn a_stretch_is_reported_once_when_it_has_lasted() {
        let mut lookout = Lookout::new();
        assert_eq!(lookout.at_itself(Some(STRETCH), 50), None);
        assert_eq!(lookout.at_itself(Some(STRETCH), 50 + PATIENCE - 1), None);
        assert_eq!(lookout.at_itself(Some(STRETCH), 50 + PATIENCE), Some(PATIENCE));
        assert_eq!(lookout.at_itself(Some(STRETCH), 50 + 2 * PATIENCE), None);
    }

    #[test]
    fn another_poll_user_mode_and_another_task_are_a_new_stretch() {
        let changes = [
            Some(Stretch { turn: (101, 0), ..STRETCH }),
            Some(Stretch { turn: (100, 1), ..STRETCH }),
            Some(Stretch { task: 8, ..STRETCH }),
            None,
        ];
        for change in changes {
            let mut lookout = Lookout::new();
            assert_eq!(lookout.at_itself(Some(STRETCH), 0), None);
            assert_eq!(lookout.at_itself(change, PATIENCE), None);
            assert_eq!(lookout.at_itself(Some(STRETCH), 2 * PATIENCE), None);
            assert_eq!(lookout.at_itself(Some(STRETCH), 3 * PATIENCE), Some(PATIENCE));
        }
    }

    #[test]
    fn a_core_that_takes_messages_is_fine_however_many_wait() {
        let mut lookout = Lookout::new();
        for turn in 0..5 {
            assert_eq!(lookout.at_other(3, Some(turn), turn * PATIENCE), None);
        }
        assert!(lookout.is_suspicious());
        assert_eq!(lookout.at_other(3, None, 6 * PATIENCE), None);
        assert!(!lookout.is_suspicious());
    }

    #[test]
    fn a_core_that_takes_none_is_reported_once_and_again_after_it_recovered() {
        let mut lookout = Lookout::new();
        for round in [0, 10] {
            let at = |turn: u64| (round + turn) * PATIENCE;
            assert_eq!(lookout.at_other(3, Some(9), at(0)), None);
            assert_eq!(lookout.at_other(3, Some(9), at(2)), Some(2 * PATIENCE));
            assert!(!lookout.is_suspicious(), "there is nothing more to find out");
            assert_eq!(lookout.at_other(3, Some(9), at(3)), None);
            assert_eq!(lookout.at_other(3, None, at(4)), None);
        }
    }

    #[test]
    fn a_core_that_cannot_exist_is_nobodys_trouble() {
        assert_eq!(Lookout::new().at_other(MAX_CORES, Some(1), 0), None);
    }
}
