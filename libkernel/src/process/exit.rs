//! How threads and processes end (_exit(2), exit_group(2)): the part that has no machine in it.
//!
//! A process ends when its last thread does, whichever that is: only then is it a zombie and its parent told, once.
#![forbid(unsafe_code)]

use super::id::Pid;
use super::process::Process;
use super::status::ExitStatus;
use super::thread::Thread;
use super::tree::{self, Tree};
use super::{job_control, notice, table};
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Process {
    /// Decides how the process ends and asks its other threads to end too. Only the first decision counts; returns the one
    /// that does. Any thread may call it, of another process too.
    pub fn begin_end(&self, status: ExitStatus) -> ExitStatus {
        let decided = *self.threads.lock().ending.get_or_insert(status);
        self.signals().end_all();
        decided
    }
}

/// The last act of a thread: it leaves its process, and if it is the last to, the process ends with `status` unless
/// something else was decided before. The thread's memory, files and the like have been given up.
pub fn finish_thread(thread: &Arc<Thread>, status: ExitStatus) {
    let process = thread.process();
    let change = thread.signals().part();
    process.note_user(thread.with_credentials(|credentials| credentials.uid));
    thread.account().end_thread();
    let mut tree = tree::lock();
    table::remove_thread(thread.tid());
    if let Some(status) = process.discharge(thread, status) {
        end_process(&mut tree, process, status);
        drop(tree);
        process.signals().drop_timers();
        return;
    }
    drop(tree);
    if let Some(change) = change {
        process.report(change);
    }
}

/// Makes `process`, whose last thread is gone, a zombie, or lets it vanish if nobody wants to know.
fn end_process(tree: &mut Tree, process: &Arc<Process>, status: ExitStatus) {
    give_children_away(tree, process);
    job_control::release_orphaned(tree, process, None);
    if process.is_session_leader() {
        let session = process.session();
        if let Some(terminal) = session.detach(tree) {
            terminal.session_ended(&session);
        }
        if let Some(group) = session.take_hung_up(tree) {
            notice::hang_up(&group);
        }
    }
    process.relations.get_mut(tree).ended = Some(status);
    tell_parent(tree, process, status);
}

/// Tells the parent of a zombie, and releases the zombie if the parent does not want to wait for it.
fn tell_parent(tree: &mut Tree, process: &Arc<Process>, status: ExitStatus) {
    let Some(parent) = process.relations.get(tree).parent.clone() else {
        release(tree, process);
        return;
    };
    let wants_to_wait = notice::child_ended(&parent, process, status);
    if !wants_to_wait {
        release(tree, process);
    }
    parent.events().wake_all();
    process.events().wake_all();
}

/// Hands the children of an ending process to its nearest ancestor that adopts, or to init.
fn give_children_away(tree: &mut Tree, process: &Arc<Process>) {
    if process.relations.get(tree).children.is_empty() {
        return;
    }
    let Some(heir) = find_heir(tree, process) else { return };
    let children: Vec<_> = core::mem::take(&mut process.relations.get_mut(tree).children).into();
    for child in &children {
        child.set_parent(tree, Some(heir.clone()));
        child.set_exit_signal(Some(notice::CHILD_SIGNAL));
        heir.relations.get_mut(tree).children.push_back(child.clone());
        notice::parent_died(child);
    }
    for child in &children {
        match child.relations.get(tree).ended {
            Some(status) => tell_parent(tree, child, status),
            None => job_control::release_orphaned(tree, child, Some(process)),
        }
    }
}

/// Who adopts the children of `process`.
fn find_heir(tree: &Tree, process: &Arc<Process>) -> Option<Arc<Process>> {
    let mut ancestor = process.relations.get(tree).parent.clone();
    while let Some(candidate) = ancestor {
        let alive = candidate.relations.get(tree).ended.is_none();
        if alive && (candidate.is_subreaper() || candidate.pid() == Pid::INIT) {
            return Some(candidate);
        }
        ancestor = candidate.relations.get(tree).parent.clone();
    }
    table::process(Pid::INIT).filter(|init| !Arc::ptr_eq(init, process))
}

/// Takes a zombie out of the world: its number is free afterwards.
pub(super) fn release(tree: &mut Tree, process: &Arc<Process>) {
    if let Some(parent) = process.relations.get(tree).parent.clone() {
        let siblings = &mut parent.relations.get_mut(tree).children;
        if let Some(place) = siblings.iter().position(|child| Arc::ptr_eq(child, process)) {
            siblings.remove(place);
        }
        process.forget_parent(tree);
    }
    process.group().leave(tree, process);
    table::remove_process(process.pid());
}
