//! The character devices by which terminals are opened: `/dev/console`, `/dev/tty`, the serial line, `/dev/ptmx`, and the
//! terminal sides of pseudo-terminals.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::any::Any;

use super::file::TerminalFile;
use super::pty::SLAVE_MAJOR;
use super::registry::{MAX, Registry};
use super::terminal::Terminal;
use crate::fs::device::{self, CharDevice};
use crate::fs::{Caller, DeviceId, FileObject, OpenFlags};
use crate::process;
use crate::{Errno, Result};

/// `/dev/tty`: the caller's controlling terminal.
pub const CONTROLLING: DeviceId = DeviceId::new(5, 0);
/// `/dev/console`: the system console.
pub const CONSOLE: DeviceId = DeviceId::new(5, 1);
/// `/dev/ptmx`: opening it makes a pseudo-terminal.
pub const PTMX: DeviceId = DeviceId::new(5, 2);
/// `/dev/ttyAMA0`: the PL011.
pub const SERIAL: DeviceId = DeviceId::new(204, 64);

/// The pseudo-terminals of this machine.
pub static PTYS: Registry = Registry::new();

/// Registers the devices; `console` is the terminal on the serial line.
pub fn register(console: &Arc<Terminal>) {
    device::register(CONTROLLING, 1, "/dev/tty", Arc::new(Controlling));
    device::register(CONSOLE, 1, "/dev/console", Arc::new(Console(console.clone())));
    device::register(PTMX, 1, "/dev/ptmx", Arc::new(Multiplexer));
    device::register(SERIAL, 1, "ttyAMA", Arc::new(Serial(console.clone())));
    device::register(DeviceId::new(SLAVE_MAJOR, 0), MAX, "pts", Arc::new(Slaves));
}

struct Controlling;

impl CharDevice for Controlling {
    fn open(&self, _device: DeviceId, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileObject>> {
        let thread = process::current().ok_or(Errno::ENXIO)?;
        let terminal: Arc<dyn Any + Send + Sync> = thread.process().terminal().ok_or(Errno::ENXIO)?;
        let terminal = terminal.downcast::<Terminal>().map_err(|_| Errno::ENXIO)?;
        Ok(TerminalFile::open(&terminal, flags | OpenFlags::NO_CONTROLLING_TERMINAL, caller)?)
    }
}

struct Console(Arc<Terminal>);

impl CharDevice for Console {
    fn open(&self, _device: DeviceId, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileObject>> {
        Ok(TerminalFile::open_console(&self.0, flags, caller)?)
    }
}

struct Serial(Arc<Terminal>);

impl CharDevice for Serial {
    fn open(&self, _device: DeviceId, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileObject>> {
        Ok(TerminalFile::open(&self.0, flags, caller)?)
    }
}

struct Multiplexer;

impl CharDevice for Multiplexer {
    fn open(&self, _device: DeviceId, _flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<dyn FileObject>> {
        let owner = (caller.credentials.uid.file_system.raw(), caller.credentials.gid.file_system.raw());
        Ok(PTYS.create(owner)?)
    }
}

/// The terminal sides have their names in `/dev/pts`; another device file with such a number opens nothing, as on Linux.
struct Slaves;

impl CharDevice for Slaves {
    fn open(&self, _device: DeviceId, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Arc<dyn FileObject>> {
        Err(Errno::EIO)
    }
}
