//! Character devices: who answers for which device number.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::caller::Caller;
use super::file_object::FileObject;
use super::metadata::DeviceId;
use super::open_flags::OpenFlags;
use crate::sync::SpinLock;
use crate::{Errno, Result};

/// A driver for a range of character devices.
pub trait CharDevice: Send + Sync {
    /// Opens one of the driver's devices. Never waits.
    ///
    /// # Errors
    /// `ENXIO` where there is no such device, `EBUSY`, `EIO`.
    fn open(&self, device: DeviceId, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileObject>>;
}

struct Registration {
    count: u32,
    name: &'static str,
    driver: Arc<dyn CharDevice>,
}

/// Drivers by the first device of their range.
static DRIVERS: SpinLock<BTreeMap<DeviceId, Registration>> = SpinLock::new(BTreeMap::new());

/// Makes `driver` answer for `count` devices from `first` on. `name` is shown in `/proc/devices`.
pub fn register(first: DeviceId, count: u32, name: &'static str, driver: Arc<dyn CharDevice>) {
    DRIVERS.lock().insert(first, Registration { count, name, driver });
}

/// Opens a device by its number.
///
/// # Errors
/// `ENXIO` where nobody answers for it, and what the driver says.
pub fn open(device: DeviceId, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileObject>> {
    let driver = {
        let drivers = DRIVERS.lock();
        let (first, registration) = drivers.range(..=device).next_back().ok_or(Errno::ENXIO)?;
        if first.major != device.major || device.minor - first.minor >= registration.count {
            return Err(Errno::ENXIO);
        }
        registration.driver.clone()
    };
    driver.open(device, flags, caller)
}

/// The lines of `/proc/devices` for character devices.
#[must_use]
pub fn list() -> String {
    use core::fmt::Write;
    let mut seen: Vec<(u32, &'static str)> =
        DRIVERS.lock().iter().map(|(first, registration)| (first.major, registration.name)).collect();
    seen.dedup();
    seen.into_iter().fold(String::new(), |mut text, (major, name)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{major:3} {name}");
        text
    })
}
