//! Drivers of the machine's devices, found through the device tree.

pub mod core_online;
pub mod device_tree;
pub mod gic;
pub mod interrupts;
pub mod mmio;
pub mod rtc;
pub mod timer;
pub mod uart;
