//! The armv8 generic timer: the monotonic clock, and each core's one-shot interrupt (the virtual timer).

use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aarch64_cpu::registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, Readable, Writeable};
use libkernel::{Errno, Result};

use super::device_tree::Platform;
use super::{core_online, gic, interrupts};

/// Nanoseconds a tick, as a fixed-point number with 32 fractional bits.
static NANOSECONDS_PER_TICK: AtomicU64 = AtomicU64::new(0);
/// Ticks a nanosecond, as a fixed-point number with 60 fractional bits: the inverse of the above, exact enough for a deadline years away.
static TICKS_PER_NANOSECOND: AtomicU64 = AtomicU64::new(0);
/// The counter at boot.
static START: AtomicU64 = AtomicU64::new(0);
static INTERRUPT: AtomicU32 = AtomicU32::new(0);

/// The counter.
#[inline]
pub fn ticks() -> u64 {
    let value: u64;
    // SAFETY: reads the counter; the barrier keeps it from being read early. Not `nomem`, to stay in order with memory accesses.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) value, options(nostack, preserves_flags)) };
    value
}

/// The counter, read whenever the processor likes: for accounting.
#[inline]
pub fn raw_ticks() -> u64 {
    let value: u64;
    // SAFETY: reads the counter.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Ticks a second.
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}

/// The counter's value at which the monotonic clock was zero.
pub fn start() -> u64 {
    START.load(Ordering::Relaxed)
}

/// Nanoseconds a tick, as a fixed-point number with 32 fractional bits.
pub fn scale() -> u64 {
    NANOSECONDS_PER_TICK.load(Ordering::Relaxed)
}

/// Starts the clock. As early as possible.
pub fn init_clock() {
    let frequency = frequency().max(1);
    let nanoseconds = ((1_000_000_000u64 << 32) / frequency).max(1);
    NANOSECONDS_PER_TICK.store(nanoseconds, Ordering::Relaxed);
    TICKS_PER_NANOSECOND.store(((1u128 << 92) / u128::from(nanoseconds)) as u64, Ordering::Relaxed);
    START.store(ticks(), Ordering::Relaxed);
}

/// Nanoseconds of a number of ticks.
#[inline]
pub fn to_nanoseconds(ticks: u64) -> u64 {
    ((u128::from(ticks) * u128::from(NANOSECONDS_PER_TICK.load(Ordering::Relaxed))) >> 32) as u64
}

/// Nanoseconds since [`init_clock`].
#[inline]
pub fn monotonic_ns() -> u64 {
    to_nanoseconds(ticks().wrapping_sub(START.load(Ordering::Relaxed)))
}

/// Sets this core's one-shot interrupt to the first tick at or after `deadline` (nanoseconds of the clock), or off.
#[inline]
pub fn arm(deadline: Option<u64>) {
    match deadline {
        Some(deadline) => {
            let scaled = (u128::from(deadline) * u128::from(TICKS_PER_NANOSECOND.load(Ordering::Relaxed))) >> 60;
            let ticks = u64::try_from(scaled).unwrap_or(u64::MAX).saturating_add(1);
            CNTV_CVAL_EL0.set(START.load(Ordering::Relaxed).saturating_add(ticks));
            CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
        }
        None => CNTV_CTL_EL0.set(0),
    }
}

/// Installs the interrupt; `due` runs in interrupt context with the timer off.
///
/// # Errors
/// `ENODEV` if the device tree names no timer.
pub fn init(platform: &Platform, due: fn()) -> Result<()> {
    let interrupt = platform.timer_interrupt.ok_or(Errno::ENODEV)?;
    INTERRUPT.store(interrupt, Ordering::Relaxed);
    interrupts::register_private(interrupt, "timer", due);
    core_online::register("timer", |core| {
        arm(None);
        let enable_user_counter: u64 = 0b10;
        // SAFETY: CNTKCTL_EL1.EL0VCTEN: programs may read the virtual counter, as the vDSO does.
        unsafe { asm!("msr cntkctl_el1, {}", in(reg) enable_user_counter, options(nostack, preserves_flags)) };
        gic::enable_private(core, INTERRUPT.load(Ordering::Relaxed));
    });
    Ok(())
}
