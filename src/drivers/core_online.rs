//! What each core has to set up for itself when it comes online: its interrupt interface, its timer, its FP access.
//!
//! One registry for all of it, run by each core in order of registration, with interrupts masked. A driver that has per-core parts
//! registers a hook and needs to know nothing about how cores start.

use libkernel::sync::SpinLock;

/// A hook, with the name by which its absence is reported.
#[derive(Clone, Copy)]
pub struct Hook {
    /// What it sets up.
    pub name: &'static str,
    /// Sets it up on the executing core.
    pub run: fn(core: usize),
}

const MAX_HOOKS: usize = 16;

static HOOKS: SpinLock<[Option<Hook>; MAX_HOOKS]> = SpinLock::new([None; MAX_HOOKS]);

/// Names without which a core must not start to schedule.
const REQUIRED: [&str; 4] = ["interrupt controller", "timer", "run queue", "read-copy-update"];

/// Adds a hook; runs on every core that comes online afterwards.
pub fn register(name: &'static str, run: fn(core: usize)) {
    if let Some(slot) = HOOKS.lock().iter_mut().find(|slot| slot.is_none()) {
        *slot = Some(Hook { name, run });
    }
}

/// The hooks, in their order.
pub fn registered() -> impl Iterator<Item = Hook> + Clone {
    let hooks = *HOOKS.lock();
    hooks.into_iter().flatten()
}

/// The name of a hook that a core needs and that is not among these.
pub fn missing(hooks: impl Iterator<Item = Hook> + Clone) -> Option<&'static str> {
    REQUIRED.into_iter().find(|name| hooks.clone().all(|hook| hook.name != *name))
}

/// Runs all hooks on this core.
///
/// # Panics
/// If a hook is missing without which the core could not be woken or preempted.
pub fn run(core: usize) {
    let missing = missing(registered());
    assert!(missing.is_none(), "core {core} has no hook for the {}", missing.unwrap_or_default());
    for hook in registered() {
        log::debug!("core-online hook of core {core}: {}", hook.name);
        (hook.run)(core);
    }
}
