//! The PL031 real-time clock, read once at boot; afterwards the monotonic clock carries the time.

use arm_pl031::Rtc;

use super::device_tree::Platform;
use super::mmio;

/// Seconds since 1970-01-01 as the clock says, if there is one.
pub fn seconds(platform: &Platform) -> Option<u64> {
    let registers = mmio::map(platform.rtc?.registers).ok()?;
    // SAFETY: the frame was just mapped, and nobody else knows it.
    let clock = unsafe { Rtc::new(registers.cast()) };
    Some(u64::from(clock.get_unix_timestamp()))
}
