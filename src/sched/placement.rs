//! Which core a task that became ready goes to: any in turn at birth, afterwards the one where it ran last.

use core::sync::atomic::{AtomicUsize, Ordering};

use libkernel::task::Task;

/// An online core that the task may run on.
pub fn choose(task: &Task) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let online = crate::online_cores();
    let allowed = task.parameters().affinity();
    let last = task.accounting().last_core();
    if task.accounting().runs.get() > 0 && allowed.contains(last) && last < online {
        return last;
    }
    let first = NEXT.fetch_add(1, Ordering::Relaxed) % online;
    (first..first + online).map(|core| core % online).find(|core| allowed.contains(*core)).unwrap_or(0)
}
