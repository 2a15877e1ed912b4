//! Readiness: what an object can do now, and sleeping until that changes.
//!
//! An object answers [`Pollable::poll`] by first registering with its wait queues in the [`PollTable`] and then computing what it is
//! ready for; a change after the registration wakes the waiter, so none is missed. All blocking system calls sleep this way:
//! [`wait_for`] registers, tries, sleeps, and tries again.

mod listeners;
mod table;
mod wait;

#[cfg(test)]
mod tests;

pub use listeners::Listeners;
pub use table::PollTable;
pub use wait::{WaitFor, wait_for};

bitflags::bitflags! {
    /// What a file is ready for: Linux's `POLL*` bits, which are the `EPOLL*` bits too (`poll(2)`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PollEvents: u32 {
        /// Reading does not block.
        const IN = 0x001;
        /// Something exceptional, such as urgent data or a pty in packet mode.
        const PRI = 0x002;
        /// Writing does not block.
        const OUT = 0x004;
        /// An error; always reported.
        const ERR = 0x008;
        /// The other side is gone; always reported.
        const HUP = 0x010;
        /// The descriptor is not open; only `poll` reports it.
        const NVAL = 0x020;
        /// Normal data can be read.
        const RDNORM = 0x040;
        /// Priority data can be read.
        const RDBAND = 0x080;
        /// Normal data can be written.
        const WRNORM = 0x100;
        /// Priority data can be written.
        const WRBAND = 0x200;
        /// A message is there (unused, as on Linux).
        const MSG = 0x400;
        /// The other side will not write any more.
        const RDHUP = 0x2000;
        /// Ready for reading, as files report it.
        const READABLE = Self::IN.bits() | Self::RDNORM.bits();
        /// Ready for writing, as files report it.
        const WRITABLE = Self::OUT.bits() | Self::WRNORM.bits();
        /// Reported whether asked for or not.
        const ALWAYS = Self::ERR.bits() | Self::HUP.bits();
    }
}

/// An object with readiness.
pub trait Pollable {
    /// Registers with the wait queues whose wake may change the answer, then says what the object is ready for. Does not sleep.
    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents;
}
