//! The signals by which processes learn of one another: a child's end, a stop, an orphaned group, a parent's death.
//!
//! Called with the tree's lock held, so that whoever sees the new relation also sees the signal pending.
#![forbid(unsafe_code)]

use super::group::ProcessGroup;
use super::process::Process;
use super::status::ExitStatus;
use super::usage::ticks;
use super::wait::Change;
use crate::signal::{Signal, SignalInfo};

/// The number of the signal that an ordinary child sends at its end.
pub(super) const CHILD_SIGNAL: u8 = Signal::CHLD.number() as u8;

/// `child` is a zombie: sends its exit signal to `parent`. False if the parent does not want to wait for it.
pub(super) fn child_ended(parent: &Process, child: &Process, status: ExitStatus) -> bool {
    // A program that has not asked for it gets no other signal than the ordinary one: it may have other rights.
    let number = if child.knows_program_of(parent) { child.exit_signal() } else { Some(CHILD_SIGNAL) };
    let Some(number) = number else { return true };
    let policy = parent.signals().child_policy();
    let ordinary = number == CHILD_SIGNAL;
    if let Ok(signal) = Signal::new(i32::from(number))
        && (!ordinary || policy.notify_end)
    {
        send(parent, child_info(child, Change::Ended(status)).with_signal(signal));
    }
    !(ordinary && policy.reap)
}

/// `child` stopped or goes on: tells `parent` unless it asked not to be told.
pub(super) fn child_changed(parent: &Process, child: &Process, change: Change) {
    if parent.signals().child_policy().notify_stop {
        send(parent, child_info(child, change));
    }
}

/// A group lost its terminal, or the last process that could continue its stopped members.
pub(crate) fn hang_up(group: &ProcessGroup) {
    group.for_each(|member| {
        member.signals().send_kernel(Signal::HUP);
        member.signals().send_kernel(Signal::CONT);
    });
}

/// The parent of `child` ended: sends the signal that the child asked for (`PR_SET_PDEATHSIG`).
pub(super) fn parent_died(child: &Process) {
    if let Some(signal) = child.death_signal() {
        child.signals().send_kernel(signal);
    }
}

fn child_info(child: &Process, change: Change) -> SignalInfo {
    let usage = child.usage();
    let (code, status) = change.code_and_status();
    let [user, system] = [usage.user_ns, usage.system_ns].map(ticks);
    SignalInfo::child(code, child.pid().number(), child.user_ids().real.raw(), status, user, system)
}

fn send(to: &Process, info: SignalInfo) {
    // Without memory for its details a signal that is not a real-time one still arrives; a real-time exit signal is lost without
    // or beyond the limit, as on Linux.
    let _ = to.signals().send(info, &to.signal_allowance());
}
