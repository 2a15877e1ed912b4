//! Job control: setpgid(2), setsid(2), and groups that nobody controls any more.
#![forbid(unsafe_code)]

use super::group::ProcessGroup;
use super::id::Pid;
use super::process::Process;
use super::tree::{self, Tree};
use super::{notice, table};
use crate::{Errno, Result};
use alloc::sync::Arc;

/// setpgid(2): moves the process with number `target` (`None`: the caller's) into the group with number `group` (`None`:
/// one with the number of the process itself, made if need be).
///
/// # Errors
/// `ESRCH` unless the process is the caller or its child; `EACCES` when the child has run exec; `EPERM` for a session
/// leader, a process or group of another session.
pub fn set_group(caller: &Arc<Process>, target: Option<Pid>, group: Option<Pid>) -> Result<()> {
    let mut tree = tree::lock();
    let process = match target.filter(|pid| *pid != caller.pid()) {
        None => caller.clone(),
        Some(pid) => {
            let child = table::process(pid).ok_or(Errno::ESRCH)?;
            let parent = child.relations.get(&tree).parent.as_ref();
            if !parent.is_some_and(|parent| Arc::ptr_eq(parent, caller)) {
                return Err(Errno::ESRCH);
            }
            if child.session_id() != caller.session_id() {
                return Err(Errno::EPERM);
            }
            if child.has_execed() {
                return Err(Errno::EACCES);
            }
            child
        }
    };
    if process.is_session_leader() {
        return Err(Errno::EPERM);
    }
    let id = group.unwrap_or(process.pid());
    let session = process.session();
    let old = process.group();
    let new = match table::group(id) {
        Some(group) if Arc::ptr_eq(group.session(), &session) => group,
        Some(_) => return Err(Errno::EPERM),
        None if id == process.pid() => ProcessGroup::new_group(id, &session)?,
        None => return Err(Errno::EPERM),
    };
    if old.id() != id {
        change_group(&mut tree, &process, &old, new)?;
    }
    Ok(())
}

/// setsid(2): a new session and group, led by the caller, without a terminal.
///
/// # Errors
/// `EPERM` when a group with the caller's number exists already.
pub fn new_session(caller: &Arc<Process>) -> Result<Pid> {
    let mut tree = tree::lock();
    if table::group(caller.pid()).is_some() || caller.is_session_leader() {
        return Err(Errno::EPERM);
    }
    let group = ProcessGroup::unlisted_session(caller.pid())?;
    group.list_session()?;
    let old = caller.group();
    change_group(&mut tree, caller, &old, group)?;
    caller.set_attachment(&mut tree, None);
    Ok(caller.pid())
}

/// Is no member of `group` the child of a process in another group of the same session? `except` is on its way out
/// and does not count. Nobody could continue such a group's stopped jobs (POSIX, "orphaned process group").
pub(super) fn is_orphaned(tree: &Tree, group: &ProcessGroup, except: Option<&Process>) -> bool {
    !group.members(tree).any(|member| {
        if except.is_some_and(|except| core::ptr::eq(except, Arc::as_ptr(&member))) {
            return false;
        }
        let relations = member.relations.get(tree);
        let Some(parent) = relations.parent.as_ref() else { return false };
        relations.ended.is_none()
            && parent.pid() != Pid::INIT
            && parent.group_id() != group.id()
            && parent.session_id() == group.session().id()
    })
}

impl ProcessGroup {
    /// Is the group orphaned: would nobody continue its members if they stopped? Takes the tree's lock.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        is_orphaned(&tree::lock(), self, None)
    }
}

/// `process` loses `parent` (`None`: it ends itself): if that orphans its group and members are stopped, they get
/// SIGHUP and SIGCONT.
pub(super) fn release_orphaned(tree: &Tree, process: &Arc<Process>, parent: Option<&Process>) {
    let group = process.group();
    let except = if parent.is_none() { Some(Arc::as_ref(process)) } else { None };
    let other = match parent {
        Some(parent) => Some((parent.group_id(), parent.session_id())),
        None => process.relations.get(tree).parent.as_ref().map(|parent| (parent.group_id(), parent.session_id())),
    };
    let Some((other_group, other_session)) = other else { return };
    if other_group == group.id() || other_session != group.session().id() {
        return;
    }
    let has_stopped =
        group.members(tree).any(|member| member.relations.get(tree).ended.is_none() && member.signals().is_stopped());
    if has_stopped && is_orphaned(tree, &group, except) {
        notice::hang_up(&group);
    }
}

/// Moves `process` from one group to another, or leaves it where it is: `ENOMEM`.
fn change_group(tree: &mut Tree, process: &Arc<Process>, old: &ProcessGroup, new: Arc<ProcessGroup>) -> Result<()> {
    new.make_room(tree)?;
    old.leave(tree, process);
    process.set_group(new.clone());
    new.join(tree, process)
}
