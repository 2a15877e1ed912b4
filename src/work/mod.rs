//! The kernel's work queues: the pools' workers, and the queues of the system.
//!
//! What an item, a queue and a pool are is `libkernel::work`'s. Here each core gets a worker for normal and one for high-priority work, bound to
//! it, and there is one unbound worker for each core, which the scheduler moves. `docs/deferred-work.md` says what to use when.
#![forbid(unsafe_code)]

use alloc::format;
use alloc::sync::Arc;

use libkernel::Result;
use libkernel::sync::SetOnce;
use libkernel::task::Task;
use libkernel::work::{Class, Pools, WorkQueue};

use crate::arch::core_local;
use crate::task::kernel_thread::{Placement, prepare};

/// The nice value of high-priority workers.
const HIGH_PRIORITY: i8 = -20;

static POOLS: Pools = Pools::new();
static SYSTEM: SetOnce<System> = SetOnce::new();

/// The queues that everybody may use.
pub struct System {
    /// Short work, on the core that queues it.
    pub normal: Arc<WorkQueue>,
    /// Short work that cannot wait behind other work and programs.
    pub high: Arc<WorkQueue>,
    /// Work that may run on any core.
    pub unbound: Arc<WorkQueue>,
    /// Work that may take long, on the core that queues it: its flushes are not those of `normal`.
    pub long: Arc<WorkQueue>,
    /// Work that runs one item after the other, in the order of queueing.
    pub ordered: Arc<WorkQueue>,
}

/// The system's queues; `None` before [`init`].
pub fn system() -> Option<&'static System> {
    SYSTEM.get()
}

/// A queue of its own: to be flushed, drained and destroyed apart from others.
pub fn queue(name: &'static str, class: Class) -> Arc<WorkQueue> {
    WorkQueue::new(&POOLS, name, class)
}

/// A queue of its own whose items run one after the other.
pub fn ordered_queue(name: &'static str) -> Arc<WorkQueue> {
    WorkQueue::new_ordered(&POOLS, name)
}

/// Starts the workers of all cores that are online.
///
/// # Errors
/// `ENOMEM`.
pub fn init() -> Result<()> {
    let cores = crate::online_cores();
    POOLS.set_cores(cores);
    for core in 0..cores {
        employ(Class::Normal, core, &format!("kworker/{core}"), Placement::on(core))?;
        employ(Class::High, core, &format!("kworker/{core}H"), Placement::on(core).nice(HIGH_PRIORITY))?;
        employ(Class::Unbound, core, &format!("kworker/u{core}"), Placement::ANYWHERE)?;
    }
    let system = System {
        normal: queue("normal", Class::Normal),
        high: queue("high", Class::High),
        unbound: queue("unbound", Class::Unbound),
        long: queue("long", Class::Normal),
        ordered: ordered_queue("ordered"),
    };
    // Called once; a second set of queues would be dropped unused.
    let _ = SYSTEM.set(system);
    Ok(())
}

/// The task that runs a core's normal items.
pub fn worker(core: usize) -> Option<Arc<Task>> {
    POOLS.pool(Class::Normal, core).worker().cloned()
}

fn employ(class: Class, core: usize, name: &str, placement: Placement) -> Result<()> {
    let pool = POOLS.pool(class, core);
    // A worker is never stopped: it belongs to its core as the inbox does.
    let reschedule = || core_local::this().need_resched();
    let worker = prepare(name, placement, move |_| pool.serve(reschedule))?;
    pool.employ(worker.task());
    Ok(())
}
