//! Waiting for children (wait4(2), waitid(2)): which child fits, what it reports, and its release.
#![forbid(unsafe_code)]

use super::exit;
use super::id::{Pid, Uid};
use super::notice::CHILD_SIGNAL;
use super::process::{Process, Relations};
use super::status::{CONTINUED_WAIT_STATUS, ExitStatus, stopped_wait_status};
use super::tree;
use super::usage::Usage;
use crate::{Errno, Result};
use alloc::sync::Arc;

/// Which children are waited for.
#[derive(Clone, Debug)]
pub enum Target {
    /// All of them.
    Any,
    /// The one with this number.
    Process(Pid),
    /// This one, whoever else has its number by now.
    This(Arc<Process>),
    /// Those in this process group.
    Group(Pid),
}

/// Which children count, by the signal they send at their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kin {
    /// Those that send SIGCHLD.
    #[default]
    Ordinary,
    /// Those that send another signal or none (`__WCLONE`).
    Cloned,
    /// All (`__WALL`).
    All,
}

/// What a call of wait asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which children.
    pub target: Target,
    /// Of which kind.
    pub kin: Kin,
    /// Does their end count (`WEXITED`)?
    pub ended: bool,
    /// Does their being stopped count (`WSTOPPED`)?
    pub stopped: bool,
    /// Does their being continued count (`WCONTINUED`)?
    pub continued: bool,
    /// Is the report left for another wait (`WNOWAIT`)?
    pub keep: bool,
}

/// What happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It ended.
    Ended(ExitStatus),
    /// This signal stopped it.
    Stopped(u8),
    /// It goes on.
    Continued,
}

impl Change {
    /// The status word of wait4(2).
    #[must_use]
    pub const fn to_wait_status(self) -> i32 {
        match self {
            Change::Ended(status) => status.to_wait_status(),
            Change::Stopped(signal) => stopped_wait_status(signal),
            Change::Continued => CONTINUED_WAIT_STATUS,
        }
    }

    /// `si_code` and `si_status` of waitid(2) and of SIGCHLD.
    #[must_use]
    pub const fn code_and_status(self) -> (i32, i32) {
        use linux_raw_sys::general::{CLD_CONTINUED, CLD_DUMPED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SIGCONT};
        match self {
            Change::Ended(ExitStatus::Exited(code)) => (CLD_EXITED as i32, code as i32),
            Change::Ended(ExitStatus::Killed { signal, core: false }) => (CLD_KILLED as i32, signal as i32),
            Change::Ended(ExitStatus::Killed { signal, core: true }) => (CLD_DUMPED as i32, signal as i32),
            Change::Stopped(signal) => (CLD_STOPPED as i32, signal as i32),
            Change::Continued => (CLD_CONTINUED as i32, SIGCONT as i32),
        }
    }
}

/// A child's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub pid: Pid,
    /// Its real user.
    pub uid: Uid,
    /// What happened to it.
    pub change: Change,
    /// What it and its waited-for descendants used.
    pub usage: Usage,
}

/// Looks for a child of `parent` with something to report; `Ok(None)`: there are such children, but nothing to report
/// yet. Unless the report is kept, it is taken, and a zombie is released. Never sleeps: the caller waits on
/// [`Process::events`].
///
/// # Errors
/// `ECHILD` when no child fits.
pub fn try_wait(parent: &Arc<Process>, request: &Request) -> Result<Option<Report>> {
    let mut tree = tree::lock();
    let mut found = None;
    let mut any = false;
    for child in &parent.relations.get(&tree).children {
        if !fits(child, request) {
            continue;
        }
        any = true;
        if let Some(change) = change_of(child.relations.get(&tree), request) {
            found = Some((child.clone(), change));
            break;
        }
    }
    let Some((child, change)) = found else { return if any { Ok(None) } else { Err(Errno::ECHILD) } };
    let usage = child.total_usage();
    let report = Report { pid: child.pid(), uid: child.user_ids().real, change, usage };
    if !request.keep {
        let relations = child.relations.get_mut(&mut tree);
        match change {
            Change::Ended(_) => {
                parent.add_child_usage(&usage);
                exit::release(&mut tree, &child);
            }
            Change::Stopped(_) => relations.stop_reported = true,
            Change::Continued => relations.continued = false,
        }
    }
    drop(tree);
    Ok(Some(report))
}

fn fits(child: &Process, request: &Request) -> bool {
    let is_target = match &request.target {
        Target::Any => true,
        Target::Process(pid) => child.pid() == *pid,
        Target::This(process) => core::ptr::eq(Arc::as_ptr(process), child),
        Target::Group(id) => child.group_id() == *id,
    };
    let ordinary = child.exit_signal() == Some(CHILD_SIGNAL);
    is_target
        && match request.kin {
            Kin::Ordinary => ordinary,
            Kin::Cloned => !ordinary,
            Kin::All => true,
        }
}

fn change_of(relations: &Relations, request: &Request) -> Option<Change> {
    if let Some(status) = relations.ended {
        return request.ended.then_some(Change::Ended(status));
    }
    if let Some(signal) = relations.stopped.filter(|_| request.stopped && !relations.stop_reported) {
        return Some(Change::Stopped(signal));
    }
    (request.continued && relations.continued).then_some(Change::Continued)
}
