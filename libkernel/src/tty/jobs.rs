//! Job control: which session a terminal belongs to, which of its groups may use it, and what the others get
//! (termios(3), tty_ioctl(4), credentials(7)).
//!
//! Order of locks: the tree of processes before the terminal's lock before a group's list of members.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::terminal::{Holder, State, Terminal};
use crate::process::tree::{self, Tree};
use crate::process::{Attachment, ControllingTerminal, Pid, Process, ProcessGroup, Session, hang_up, table};
use crate::signal::{Disposition, Signal};
use crate::{Errno, Result};

/// What [`Terminal::check_foreground`] guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Reading what is typed: `SIGTTIN`.
    Read,
    /// Writing under `TOSTOP`, and changing the terminal: `SIGTTOU`.
    Change,
}

/// What a claim to a terminal rests on.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The terminal's hang-ups when it was opened for this: after another one it is not the same line. `None`: no matter.
    pub generation: Option<u32>,
    /// May the caller read from it, or need not?
    pub readable: bool,
    /// Is it taken from the session that has it?
    pub steal: bool,
}

impl State {
    fn controls(&self, process: &Process) -> bool {
        self.holder.as_ref().is_some_and(|holder| process.attachment() == Some(holder.attachment))
    }
}

impl Terminal {
    /// Whether this is the controlling terminal of a process.
    pub fn controls(&self, process: &Process) -> bool {
        self.state.lock().controls(process)
    }

    /// Stops the caller's group if it is a background group of this terminal.
    ///
    /// # Errors
    /// `ERESTARTSYS` when the signal was sent; `EIO` when it would be no use: the group is orphaned, or the caller ignores
    /// or blocks `SIGTTIN`.
    pub fn check_foreground(&self, process: &Process, how: Use) -> Result<()> {
        let group = process.group();
        {
            let state = self.state.lock();
            if !state.controls(process)
                || state.foreground.as_ref().is_none_or(|foreground| Arc::ptr_eq(foreground, &group))
            {
                return Ok(());
            }
        }
        let signal = match how {
            Use::Read => Signal::TTIN,
            Use::Change => Signal::TTOU,
        };
        if is_held_off(process, signal) {
            return if how == Use::Read { Err(Errno::EIO) } else { Ok(()) };
        }
        if group.is_orphaned() {
            return Err(Errno::EIO);
        }
        group.for_each(|member| member.signals().send_kernel(signal));
        Err(Errno::ERESTARTSYS)
    }

    /// Makes this the controlling terminal of the caller's session, `TIOCSCTTY`.
    ///
    /// # Errors
    /// `EPERM` unless the caller leads a session that has no terminal, and the terminal may be read and has no session or is stolen;
    /// `EIO` when it hung up meanwhile.
    pub fn acquire(self: &Arc<Self>, process: &Process, claim: Claim) -> Result<()> {
        let mut tree = tree::lock();
        let group = process.group();
        let session = group.session();
        if process.is_session_leader() && self.controls(process) {
            return Ok(());
        }
        if !process.is_session_leader() || session.has_terminal() || !claim.readable {
            return Err(Errno::EPERM);
        }
        let attachment = Attachment::fresh();
        let old = {
            let mut state = self.state.lock();
            if claim.generation.is_some_and(|generation| generation != self.generation()) {
                return Err(Errno::EIO);
            }
            if state.holder.is_some() && !claim.steal {
                return Err(Errno::EPERM);
            }
            let holder = Holder { session: session.clone(), attachment };
            (state.holder.replace(holder), state.foreground.replace(group.clone()))
        };
        if let Some(holder) = &old.0 {
            drop(holder.session.detach(&mut tree));
        }
        session.attach(&mut tree, attachment, self.clone());
        process.set_attachment(&mut tree, Some(attachment));
        drop(tree);
        drop(old);
        Ok(())
    }

    /// Gives up the controlling terminal, `TIOCNOTTY`: for the caller alone, but where the caller leads the session, all of
    /// it loses the terminal and its foreground group is told.
    ///
    /// # Errors
    /// `ENOTTY` when it is not the caller's.
    pub fn give_up(&self, process: &Process) -> Result<()> {
        let mut tree = tree::lock();
        let mut state = self.state.lock();
        if !state.controls(process) {
            return Err(Errno::ENOTTY);
        }
        if !process.is_session_leader() {
            drop(state);
            process.set_attachment(&mut tree, None);
            return Ok(());
        }
        let (holder, foreground) = (state.holder.take(), state.foreground.take());
        drop(state);
        let terminal = holder.and_then(|holder| holder.session.detach(&mut tree));
        if let Some(foreground) = foreground {
            hang_up(&foreground);
        }
        drop(tree);
        drop(terminal);
        Ok(())
    }

    /// The foreground group's number, `TIOCGPGRP`; zero where there is none.
    ///
    /// # Errors
    /// `ENOTTY` when this is not the caller's controlling terminal.
    pub fn foreground_of(&self, process: &Process) -> Result<i32> {
        if !self.controls(process) {
            return Err(Errno::ENOTTY);
        }
        Ok(self.foreground_number())
    }

    /// The foreground group's number, zero where there is none: for the master of a pseudo-terminal.
    pub fn foreground_number(&self) -> i32 {
        self.state.lock().foreground.as_ref().map_or(0, |group| group.id().raw())
    }

    /// The session's number, `TIOCGSID`.
    ///
    /// # Errors
    /// `ENOTTY` when the terminal belongs to none.
    pub fn session_number(&self) -> Result<i32> {
        self.state.lock().holder.as_ref().map(|holder| holder.session.id().raw()).ok_or(Errno::ENOTTY)
    }

    /// Makes another group of the caller's session the foreground group, `TIOCSPGRP`.
    ///
    /// # Errors
    /// `ENOTTY` when this is not the caller's controlling terminal, `EINVAL` for no number, `ESRCH` when there is no such
    /// group, `EPERM` when it is of another session; and as [`Self::check_foreground`].
    pub fn set_foreground(&self, process: &Process, number: i32) -> Result<()> {
        match self.check_foreground(process, Use::Change) {
            Err(Errno::EIO) => return Err(Errno::ENOTTY),
            other => other?,
        }
        if !self.controls(process) {
            return Err(Errno::ENOTTY);
        }
        if number < 0 {
            return Err(Errno::EINVAL);
        }
        let group = Pid::new(number).and_then(table::group).ok_or(Errno::ESRCH)?;
        let session = process.session();
        if !Arc::ptr_eq(group.session(), &session) {
            return Err(Errno::EPERM);
        }
        let old = {
            let mut state = self.state.lock();
            if !state.controls(process) {
                // A hang-up came in between.
                return Err(Errno::ENOTTY);
            }
            state.foreground.replace(group)
        };
        drop(old);
        Ok(())
    }
}

/// The terminal of `session` hung up: the leader gets `SIGHUP` and `SIGCONT`; what was the foreground group gets them when the leader
/// ends.
pub(super) fn lose_terminal(tree: &mut Tree, session: &Session, foreground: Option<Arc<ProcessGroup>>) {
    drop(session.detach(tree));
    session.note_hang_up(tree, foreground);
    if let Some(leader) = table::process(session.id()) {
        leader.signals().send_kernel(Signal::HUP);
        leader.signals().send_kernel(Signal::CONT);
    }
}

impl ControllingTerminal for Terminal {
    fn device(&self) -> u32 {
        self.number()
    }

    fn foreground(&self) -> Option<Pid> {
        self.state.lock().foreground.as_ref().map(|group| group.id())
    }

    fn session_ended(&self, session: &Session) {
        let mut state = self.state.lock();
        if state.holder.as_ref().is_none_or(|holder| !core::ptr::eq(Arc::as_ptr(&holder.session), session)) {
            return;
        }
        let (holder, foreground) = (state.holder.take(), state.foreground.take());
        let hangs_up = self.port().hangs_up_with_session();
        if hangs_up {
            self.end_generation(&mut state);
        }
        drop(state);
        if let Some(foreground) = &foreground {
            foreground.for_each(|member| member.signals().send_kernel(Signal::HUP));
        }
        if hangs_up {
            self.wake_all();
        }
        drop(holder);
    }
}

/// Whether the calling thread blocks the signal, or its process ignores it.
fn is_held_off(process: &Process, signal: Signal) -> bool {
    let blocked = crate::process::current().is_some_and(|thread| {
        core::ptr::eq(Arc::as_ptr(thread.process()), process) && thread.signals().blocked().contains(signal)
    });
    blocked || process.signals().action(signal).disposition == Disposition::Ignore
}
