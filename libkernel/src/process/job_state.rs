//! Stopped and continued: what the parent of a process learns of it.
#![forbid(unsafe_code)]

use super::notice;
use super::process::Process;
use super::tree;
use super::wait::Change;
use crate::signal::StateChange;
use alloc::sync::Arc;

impl Process {
    /// The process has stopped or goes on: its parent may wait for that, and is told. The threads that report a stop and the
    /// continuation after it may come here in either order; of the two, what the process does now counts.
    pub fn report(self: &Arc<Process>, change: StateChange) {
        let mut tree = tree::lock();
        if self.relations.get(&tree).ended.is_some() {
            return;
        }
        let (stopped, change) = match change {
            StateChange::Stopped(_) if !self.signals().is_stopped() => return,
            StateChange::Stopped(signal) => (Some(signal.number() as u8), Change::Stopped(signal.number() as u8)),
            StateChange::StopCutShort(signal) => (None, Change::Stopped(signal.number() as u8)),
            StateChange::Continued => (None, Change::Continued),
        };
        let relations = self.relations.get_mut(&mut tree);
        relations.stopped = stopped;
        relations.stop_reported = false;
        relations.continued = stopped.is_none();
        let parent = relations.parent.clone();
        if let Some(parent) = parent {
            notice::child_changed(&parent, self, change);
            parent.events().wake_all();
        }
    }
}
