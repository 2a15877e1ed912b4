//! Stopped and continued: what the parent of a process learns of it.
#![forbid(unsafe_code)]

use super::notice;
use super::process::Process;
use super::tree;
use super::wait::Change;
use alloc::sync::Arc;

impl Process {
    /// All threads of the process have stopped because of `signal`: its parent may wait for that, and is told.
    pub fn report_stopped(self: &Arc<Process>, signal: u8) {
        let mut tree = tree::lock();
        let relations = self.relations.get_mut(&mut tree);
        if relations.ended.is_some() {
            return;
        }
        relations.stopped = Some(signal);
        relations.stop_reported = false;
        relations.continued = false;
        let parent = relations.parent.clone();
        if let Some(parent) = parent {
            notice::child_changed(&parent, self, Change::Stopped(signal));
            parent.events().wake_all();
        }
    }

    /// The process goes on after a stop: its parent may wait for that, and is told.
    pub fn report_continued(self: &Arc<Process>) {
        let mut tree = tree::lock();
        let relations = self.relations.get_mut(&mut tree);
        if relations.stopped.take().is_none() || relations.ended.is_some() {
            return;
        }
        relations.continued = true;
        let parent = relations.parent.clone();
        if let Some(parent) = parent {
            notice::child_changed(&parent, self, Change::Continued);
            parent.events().wake_all();
        }
    }
}
