//! On which core a task runs.
//!
//! All decisions are made from published hints by the core that has the task in its hands. A task stays where its cache is until
//! the queue there is too long.
#![forbid(unsafe_code)]

use super::hints::Cores;

/// By how many tasks a queue must be longer than the shortest one before a task leaves it.
const TOO_LONG: usize = 2;

/// The core for a task that ran on `last` and is woken by core `here`: the last one if it sleeps, or if it is this core and only the
/// waker runs here, which is likely to wait soon; else a sleeping one; else the last one, unless its queue is too long; else the
/// one with the shortest queue.
#[inline]
pub fn for_woken(cores: &impl Cores, last: usize, here: usize, allowed: impl Fn(usize) -> bool) -> usize {
    let last_allowed = last < cores.count() && allowed(last);
    if last_allowed && last == here && cores.runnable(here) <= 1 {
        return last;
    }
    for_woken_elsewhere(cores, last, last_allowed, here, allowed)
}

#[inline(never)]
fn for_woken_elsewhere(
    cores: &impl Cores,
    last: usize,
    last_allowed: bool,
    here: usize,
    allowed: impl Fn(usize) -> bool,
) -> usize {
    let preferred = if last_allowed { last } else { here };
    if let Some(idle) = cores.claim_idle(preferred, &allowed) {
        return idle;
    }
    let shortest = shortest_queue(cores, preferred, &allowed);
    if last_allowed && cores.runnable(last) < cores.runnable(shortest) + TOO_LONG {
        return last;
    }
    shortest
}

/// The core for a task that has never run: a sleeping one, or the one with the shortest queue.
pub fn for_born(cores: &impl Cores, here: usize, allowed: impl Fn(usize) -> bool) -> usize {
    cores.claim_idle(here, &allowed).unwrap_or_else(|| shortest_queue(cores, here, &allowed))
}

/// Whether any core has a much shorter queue than `here`, where `runnable` tasks are.
pub fn is_too_long(cores: &impl Cores, here: usize, runnable: usize) -> bool {
    (0..cores.count()).any(|core| core != here && cores.runnable(core) + TOO_LONG <= runnable)
}

/// The core that should take a task over from `here`, where `runnable` tasks are, if that is too many.
pub fn relief(cores: &impl Cores, here: usize, runnable: usize, allowed: impl Fn(usize) -> bool) -> Option<usize> {
    if runnable < TOO_LONG {
        return None;
    }
    let others = |core| core != here && allowed(core);
    if let Some(idle) = cores.claim_idle(here, &others) {
        return Some(idle);
    }
    let shortest = shortest_queue(cores, here, others);
    (shortest != here && cores.runnable(shortest) + TOO_LONG <= runnable).then_some(shortest)
}

/// The core that core `here`, which has nothing to do, should ask for tasks: the one with the longest queue among those that have more
/// than one task and have not refused.
pub fn victim(cores: &impl Cores, here: usize, refused: impl Fn(usize) -> bool) -> Option<usize> {
    let count = cores.count();
    let candidates = (here + 1..count).chain(0..here.min(count)).filter(|core| !refused(*core));
    candidates
        .map(|core| (cores.runnable(core), core))
        .filter(|(runnable, _)| *runnable >= TOO_LONG)
        .reduce(|longest, next| if next.0 > longest.0 { next } else { longest })
        .map(|(_, core)| core)
}

/// The allowed core with the shortest queue; of equal ones the first from `first` on. `first` if none is allowed.
fn shortest_queue(cores: &impl Cores, first: usize, allowed: impl Fn(usize) -> bool) -> usize {
    let count = cores.count();
    let mut shortest = None;
    for core in (first..count).chain(0..first.min(count)).filter(|core| allowed(*core)) {
        let runnable = cores.runnable(core);
        if shortest.is_none_or(|(least, _)| runnable < least) {
            shortest = Some((runnable, core));
            if runnable == 0 {
                break;
            }
        }
    }
    shortest.map_or(first, |(_, core)| core)
}

#[cfg(test)]
mod tests {
    use super::super::hints::Hints;
    use super::*;

    struct Four(Hints<4>);

    impl Cores for Four {
        fn count(&self) -> usize {
            4
        }
        fn runnable(&self, core: usize) -> usize {
            self.0.runnable(core)
        }
        fn claim_idle(&self, preferred: usize, allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
            self.0.claim_idle(4, preferred, allowed)
        }
        fn release_idle(&self, core: usize) {
            self.0.enter_idle(core);
        }
    }

    fn cores(runnable: [usize; 4]) -> Four {
        let hints = Hints::new();
        for (core, runnable) in runnable.into_iter().enumerate() {
            hints.publish(core, runnable);
            if runnable == 0 {
                hints.enter_idle(core);
            }
        }
        Four(hints)
    }

    #[test]
    fn a_woken_task_goes_back_to_its_core_if_that_sleeps() {
        assert_eq!(for_woken(&cores([1, 0, 0, 0]), 2, 0, |_| true), 2);
    }

    #[test]
    fn a_woken_task_stays_beside_a_waker_that_is_alone() {
        assert_eq!(for_woken(&cores([1, 0, 0, 0]), 0, 0, |_| true), 0);
        assert_ne!(for_woken(&cores([2, 0, 0, 0]), 0, 0, |_| true), 0);
    }

    #[test]
    fn a_woken_task_leaves_a_busy_core_for_a_sleeping_one() {
        assert_eq!(for_woken(&cores([1, 1, 1, 0]), 1, 0, |_| true), 3);
    }

    #[test]
    fn without_a_sleeping_core_a_task_stays_until_the_queue_is_too_long() {
        assert_eq!(for_woken(&cores([1, 2, 1, 1]), 1, 0, |_| true), 1);
        assert_eq!(for_woken(&cores([2, 3, 1, 2]), 1, 0, |_| true), 2);
    }

    #[test]
    fn affinity_is_obeyed() {
        assert_eq!(for_woken(&cores([1, 0, 0, 0]), 0, 0, |core| core == 3), 3);
        assert_eq!(for_woken(&cores([0, 0, 0, 9]), 0, 1, |core| core == 3), 3);
        assert_eq!(for_born(&cores([0, 0, 5, 9]), 0, |core| core >= 2), 2);
    }

    #[test]
    fn births_at_one_instant_go_to_different_sleeping_cores() {
        let cores = cores([1, 0, 0, 0]);
        let mut chosen: Vec<_> = (0..3).map(|_| for_born(&cores, 0, |_| true)).collect();
        chosen.sort_unstable();
        assert_eq!(chosen, [1, 2, 3]);
    }

    #[test]
    fn a_long_queue_is_relieved_by_a_sleeping_or_a_much_shorter_one() {
        assert_eq!(relief(&cores([2, 1, 0, 1]), 0, 2, |_| true), Some(2));
        assert_eq!(relief(&cores([3, 2, 1, 2]), 0, 3, |_| true), Some(2));
        assert_eq!(relief(&cores([2, 1, 1, 1]), 0, 2, |_| true), None, "moving it would change nothing");
        assert_eq!(relief(&cores([1, 0, 0, 0]), 0, 1, |_| true), None);
    }

    #[test]
    fn the_longest_queue_is_asked_first_and_a_refusal_is_remembered() {
        let cores = cores([0, 2, 5, 1]);
        assert_eq!(victim(&cores, 0, |_| false), Some(2));
        assert_eq!(victim(&cores, 0, |core| core == 2), Some(1));
        assert_eq!(victim(&cores, 0, |core| core == 2 || core == 1), None);
    }
}
