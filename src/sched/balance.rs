//! How work gets to cores that have none: a core that runs dry asks for tasks, and one whose queue gets too long sends some.
//!
//! All about the calling core, by message; counters per core.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use libkernel::machine::{self, MAX_CORES};
use libkernel::message::{self, Message, StealRequest};
use libkernel::per_cpu;
use libkernel::sched::steal::{self, Thief};
use libkernel::sched::{Arrival, RunQueue};
use libkernel::task::Runnable;

use super::placement::Online;
use super::{QUEUE, enqueue_here, publish, send};

struct Balance {
    thief: Thief,
    /// The one request; not here while it is under way.
    request: Option<Box<StealRequest>>,
}

per_cpu! {
    static BALANCE: Balance = Balance { thief: Thief::new(), request: None };
}

/// What a core counted about stealing.
#[derive(Debug)]
#[repr(align(128))]
pub struct Statistics {
    /// Requests it made.
    pub requests: AtomicU64,
    /// Requests of its own that were refused.
    pub refused: AtomicU64,
    /// Tasks it got by asking.
    pub stolen: AtomicU64,
    /// Tasks it sent away because its queue was too long.
    pub relieved: AtomicU64,
    /// Tasks that came to it from another core, for whatever reason.
    pub migrated: AtomicU64,
}

static STATISTICS: [Statistics; MAX_CORES] = [const {
    Statistics {
        requests: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        stolen: AtomicU64::new(0),
        relieved: AtomicU64::new(0),
        migrated: AtomicU64::new(0),
    }
}; MAX_CORES];

/// What a core counted about stealing.
pub fn statistics(core: usize) -> Option<&'static Statistics> {
    STATISTICS.get(core)
}

fn count(select: impl Fn(&Statistics) -> &AtomicU64, amount: u64) {
    if let Some(statistics) = STATISTICS.get(machine::core_id()) {
        select(statistics).fetch_add(amount, Ordering::Relaxed);
    }
}

/// Counts a task that came from another core.
pub(super) fn count_migration() {
    count(|statistics| &statistics.migrated, 1);
}

/// Prepares the calling core, as it comes online.
pub(super) fn init(core: usize) {
    let request = Box::new(StealRequest::new(core as u32));
    BALANCE.with(|balance| balance.request = Some(request));
}

/// This core has nothing to do: asks another one for tasks, unless a request is under way or all have refused.
pub(super) fn ask() {
    let here = machine::core_id();
    let sent = BALANCE.with(|balance| {
        let victim = balance.thief.victim(&Online, here)?;
        let mut request = balance.request.take()?;
        request.address_to(victim as u32);
        Some((victim, request))
    });
    if let Some((victim, request)) = sent {
        count(|statistics| &statistics.requests, 1);
        message::send(victim, Message::Steal(request));
    }
}

/// Another core asks: gives what can be spared, maybe nothing.
pub(super) fn answer(mut request: Box<StealRequest>) {
    let thief = request.thief() as usize;
    QUEUE.with(|queue| {
        steal::share(queue, &mut request.loot, thief, machine::monotonic_ns());
        publish(queue);
    });
    message::send(thief, Message::StealAnswer(request));
}

/// The answer to this core's request came.
pub(super) fn answered(mut request: Box<StealRequest>) {
    let mut given = 0;
    while let Some(runnable) = request.loot.take() {
        enqueue_here(runnable, Arrival::Moved);
        given += 1;
    }
    count(|statistics| &statistics.stolen, given as u64);
    count(|statistics| &statistics.refused, u64::from(given == 0));
    BALANCE.with(|balance| {
        balance.thief.answered(request.victim() as usize, given);
        balance.request = Some(request);
    });
}

/// This core got something to do: those who refused may be asked again.
pub(super) fn forget_refusals() {
    BALANCE.with(|balance| balance.thief.forget());
}

/// Sends waiting tasks of this core's queue to cores that sleep or have a much shorter one.
#[inline(never)]
pub(super) fn relieve(queue: &mut RunQueue<Runnable>, now: u64) {
    queue.relieve(&Online, machine::core_id(), now, |runnable, target| {
        count(|statistics| &statistics.relieved, 1);
        send(target, runnable, Arrival::Moved);
    });
    publish(queue);
}
