//! Which core a task that became ready goes to, from what the cores publish: `libkernel::sched::placement` decides.

use libkernel::machine::MAX_CORES;
use libkernel::sched::{Arrival, Cores, Hints, placement};
use libkernel::task::Task;

/// What each core says about itself.
pub(super) static HINTS: Hints<MAX_CORES> = Hints::new();

/// The online cores, as their hints show them.
pub(super) struct Online;

impl Cores for Online {
    #[inline]
    fn count(&self) -> usize {
        crate::online_cores()
    }

    #[inline]
    fn runnable(&self, core: usize) -> usize {
        HINTS.runnable(core)
    }

    #[inline]
    fn claim_idle(&self, preferred: usize, allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        HINTS.claim_idle(self.count(), preferred, allowed)
    }

    fn release_idle(&self, core: usize) {
        // One that has been woken meanwhile says itself when it sleeps again.
        if HINTS.runnable(core) == 0 {
            HINTS.enter_idle(core);
        }
    }
}

/// An online core that the task may run on; the calling one is `here`.
#[inline(always)]
pub(super) fn choose(task: &Task, arrival: Arrival, here: usize) -> usize {
    let affinity = task.parameters().affinity();
    let allowed = move |core| affinity.contains(core);
    let core = match arrival {
        Arrival::Born => placement::for_born(&Online, here, allowed),
        Arrival::Woken | Arrival::Moved => placement::for_woken(&Online, task.accounting().last_core(), here, allowed),
    };
    if core < crate::online_cores() { core } else { here }
}

/// Where a task that is on this core, `here`, has to go, if it may not be here.
#[inline]
pub(super) fn elsewhere(task: &Task, arrival: Arrival, here: usize) -> Option<usize> {
    if task.parameters().affinity().contains(here) { None } else { another(task, arrival, here) }
}

#[cold]
fn another(task: &Task, arrival: Arrival, here: usize) -> Option<usize> {
    Some(choose(task, arrival, here)).filter(|target| *target != here)
}
