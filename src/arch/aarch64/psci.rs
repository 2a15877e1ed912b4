//! The power state coordination interface (Arm DEN0022): starting cores, power off, restart.

use core::sync::atomic::{AtomicBool, Ordering};

use smccc::{Hvc, Smc, psci};

static USE_SMC: AtomicBool = AtomicBool::new(false);

/// Takes the calling method from the device tree: "hvc" or "smc".
pub fn init(method: &str) {
    USE_SMC.store(method == "smc", Ordering::Relaxed);
}

/// Starts the core with this MPIDR affinity at `entry` (physical), which finds `argument` in x0.
///
/// # Errors
/// What the firmware says: the core does not exist, or runs already.
pub fn start_core(affinity: u64, entry: u64, argument: u64) -> Result<(), psci::error::Error> {
    if USE_SMC.load(Ordering::Relaxed) {
        psci::cpu_on::<Smc>(affinity, entry, argument)
    } else {
        psci::cpu_on::<Hvc>(affinity, entry, argument)
    }
}

/// Powers the machine off; waits for ever if the firmware cannot.
pub fn power_off() -> ! {
    let _ = if USE_SMC.load(Ordering::Relaxed) { psci::system_off::<Smc>() } else { psci::system_off::<Hvc>() };
    halt()
}

/// Restarts the machine; waits for ever if the firmware cannot.
pub fn restart() -> ! {
    let _ = if USE_SMC.load(Ordering::Relaxed) { psci::system_reset::<Smc>() } else { psci::system_reset::<Hvc>() };
    halt()
}

/// Stops this core for good.
pub fn halt() -> ! {
    super::registers::mask_interrupts();
    loop {
        super::registers::wait_for_interrupt();
    }
}
