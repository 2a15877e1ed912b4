//! A terminal as an open file: hang-ups and job control around reading and writing, and readiness.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use linux_raw_sys::{general as abi, ioctl};

use super::control;
use super::jobs::{Claim, Use};
use super::terminal::Terminal;
use crate::fs::{Caller, FileObject, OpenFlags, UserAccess};
use crate::io::{IoSink, IoSource};
use crate::poll::{PollEvents, PollTable};
use crate::process::capability::Capability;
use crate::process::{self, Process};
use crate::{Errno, Result};

/// An open terminal.
pub struct TerminalFile {
    terminal: Arc<Terminal>,
    /// The terminal's hang-ups at the time of opening; `None` for the system console, which no hang-up closes.
    generation: Option<u32>,
    /// May its holder read?
    readable: bool,
}

impl TerminalFile {
    /// Opens a terminal for the current process. A session leader without a terminal gets it as its controlling one,
    /// unless the flags forbid that.
    ///
    /// # Errors
    /// `EBUSY` while somebody holds it exclusively (`TIOCEXCL`), `EIO` when its far end is gone.
    pub fn open(terminal: &Arc<Terminal>, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<Self>> {
        let generation = Some(terminal.count_open(caller)?);
        let file = Arc::new(Self { terminal: terminal.clone(), generation, readable: flags.readable() });
        if !flags.contains(OpenFlags::NO_CONTROLLING_TERMINAL)
            && let Some(thread) = process::current()
            && thread.process().is_session_leader()
        {
            // Another session's terminal stays with that session, and who has a terminal keeps it.
            let _ = terminal.acquire(thread.process(), file.claim());
        }
        Ok(file)
    }

    /// Opens a terminal as the system console: it never becomes the controlling terminal, and outlives hang-ups.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_console(terminal: &Arc<Terminal>, flags: OpenFlags, caller: &Caller<'_>) -> Result<Arc<Self>> {
        terminal.count_open(caller)?;
        Ok(Arc::new(Self { terminal: terminal.clone(), generation: None, readable: flags.readable() }))
    }

    /// The terminal.
    pub fn terminal(&self) -> &Arc<Terminal> {
        &self.terminal
    }

    /// A claim to the terminal on the ground of this file.
    fn claim(&self) -> Claim {
        Claim { generation: self.generation, readable: self.readable, steal: false }
    }

    fn is_dead(&self) -> bool {
        self.generation.is_some_and(|generation| generation != self.terminal.generation())
    }
}

impl Drop for TerminalFile {
    fn drop(&mut self) {
        self.terminal.count_close();
    }
}

/// Does `action` with the current process, if this is a process's doing.
pub(super) fn with_process(action: impl FnOnce(&Arc<Process>) -> Result<()>) -> Result<()> {
    process::current().map_or(Ok(()), |thread| action(thread.process()))
}

impl FileObject for TerminalFile {
    fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        if self.is_dead() {
            return Ok(0);
        }
        with_process(|process| self.terminal.check_foreground(process, Use::Read))?;
        self.terminal.read(sink)
    }

    fn write(&self, source: &mut dyn IoSource) -> Result<usize> {
        if self.is_dead() {
            return Err(Errno::EIO);
        }
        if self.terminal.termios().local_has(abi::TOSTOP) {
            with_process(|process| self.terminal.check_foreground(process, Use::Change))?;
        }
        self.terminal.write(source)
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.register(&self.terminal.readable);
        table.register(&self.terminal.writable);
        if self.is_dead() {
            return PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::ERR | PollEvents::HUP;
        }
        let (readable, writable) = self.terminal.readiness();
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, readable);
        events.set(PollEvents::WRITABLE, writable);
        events
    }

    fn ioctl(&self, request: u32, argument: usize, user: &dyn UserAccess, caller: &Caller<'_>) -> Result<usize> {
        if self.is_dead() {
            return Err(Errno::EIO);
        }
        if request == ioctl::TIOCSCTTY {
            let may = |capability| caller.credentials.has(capability);
            let readable = self.readable || may(Capability::SysAdmin);
            let steal = argument == 1 && may(Capability::SysAdmin);
            with_process(|process| self.terminal.acquire(process, Claim { readable, steal, ..self.claim() }))?;
            return Ok(0);
        }
        control::serve(&self.terminal, request, argument, user, caller)
    }

    fn readable_bytes(&self) -> Result<usize> {
        if self.is_dead() { Err(Errno::EIO) } else { Ok(self.terminal.readable_len()) }
    }
}
