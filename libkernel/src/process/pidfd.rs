//! A process as an open file (pidfd_open(2)): readable, for poll, once the process has ended.
#![forbid(unsafe_code)]

use super::process::Process;
use crate::fs::FileObject;
use crate::poll::{PollEvents, PollTable};
use alloc::sync::Arc;

/// A reference to a process that keeps naming it after its number has been given away.
pub struct Pidfd {
    process: Arc<Process>,
}

impl Pidfd {
    /// A reference to `process`.
    #[must_use]
    pub fn new(process: Arc<Process>) -> Arc<Pidfd> {
        Arc::new(Pidfd { process })
    }

    /// The process, which may have ended.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }
}

impl FileObject for Pidfd {
    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.register(self.process.events());
        if self.process.is_zombie() { PollEvents::READABLE } else { PollEvents::empty() }
    }
}
