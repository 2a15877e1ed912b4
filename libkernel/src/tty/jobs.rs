//! Job control: which session a terminal belongs to, which of its groups may use it, and what the others get
//! (termios(3), tty_ioctl(4), credentials(7)).
//!
//! Order of locks: the tree of processes before the terminal's lock before a group's list of members.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::terminal::Terminal;
use crate::process::{ControllingTerminal, Pid, Process, ProcessGroup, Session, table};
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

impl Terminal {
    /// Whether this is the controlling terminal of a process.
    pub fn controls(&self, process: &Process) -> bool {
        let session = process.session();
        self.state.lock().session.as_ref().is_some_and(|own| Arc::ptr_eq(own, &session))
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
            let controlling = state.session.as_ref().is_some_and(|session| Arc::ptr_eq(session, group.session()));
            if !controlling || state.foreground.as_ref().is_none_or(|foreground| Arc::ptr_eq(foreground, &group)) {
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

    /// Makes this the controlling terminal of the caller's session, `TIOCSCTTY`. `steal` takes it from another session.
    ///
    /// # Errors
    /// `EPERM` unless the caller leads a session that has no terminal, and the terminal has no session or is stolen.
    pub fn acquire(self: &Arc<Self>, process: &Process, steal: bool) -> Result<()> {
        let group = process.group();
        let session = group.session();
        if process.is_session_leader() && self.controls(process) {
            return Ok(());
        }
        if !process.is_session_leader() || session.terminal().is_some() {
            return Err(Errno::EPERM);
        }
        let old = {
            let mut state = self.state.lock();
            if state.session.is_some() && !steal {
                return Err(Errno::EPERM);
            }
            state.foreground = Some(group.clone());
            state.session.replace(session.clone())
        };
        if let Some(old) = old {
            drop(old.set_terminal(None));
        }
        drop(session.set_terminal(Some(self.clone())));
        Ok(())
    }

    /// Gives up the controlling terminal, `TIOCNOTTY`: where the caller leads the session, all of it loses the terminal
    /// and its foreground group is told.
    ///
    /// # Errors
    /// `ENOTTY` when it is not the caller's.
    pub fn give_up(&self, process: &Process) -> Result<()> {
        if !self.controls(process) {
            return Err(Errno::ENOTTY);
        }
        if process.is_session_leader() {
            self.release_session();
        }
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
        self.state.lock().session.as_ref().map(|session| session.id().raw()).ok_or(Errno::ENOTTY)
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
            if state.session.as_ref().is_none_or(|own| !Arc::ptr_eq(own, &session)) {
                // A hang-up came in between.
                return Err(Errno::ENOTTY);
            }
            state.foreground.replace(group)
        };
        drop(old);
        Ok(())
    }

    /// The session, if there is one, loses the terminal; its leader and the foreground group get `SIGHUP` and
    /// `SIGCONT`.
    pub(super) fn release_session(&self) {
        let (session, foreground) = {
            let mut state = self.state.lock();
            (state.session.take(), state.foreground.take())
        };
        if let Some(foreground) = &foreground {
            hang_up(foreground);
        }
        let Some(session) = session else { return };
        drop(session.set_terminal(None));
        if let Some(leader) = table::process(session.id())
            && foreground.is_none_or(|foreground| leader.group_id() != foreground.id())
        {
            leader.signals().send_kernel(Signal::HUP);
            leader.signals().send_kernel(Signal::CONT);
        }
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
        let foreground = {
            let mut state = self.state.lock();
            if state.session.as_ref().is_none_or(|own| !core::ptr::eq(Arc::as_ptr(own), session)) {
                return;
            }
            (state.session.take(), state.foreground.take())
        };
        if let Some(foreground) = &foreground.1 {
            hang_up(foreground);
        }
        if self.port().hangs_up_with_session() {
            self.end_generation();
        }
    }
}

fn hang_up(group: &ProcessGroup) {
    group.for_each(|member| {
        member.signals().send_kernel(Signal::HUP);
        member.signals().send_kernel(Signal::CONT);
    });
}

/// Whether the calling thread blocks the signal, or its process ignores it.
fn is_held_off(process: &Process, signal: Signal) -> bool {
    let blocked = crate::process::current().is_some_and(|thread| {
        core::ptr::eq(Arc::as_ptr(thread.process()), process) && thread.signals().blocked().contains(signal)
    });
    blocked || process.signals().action(signal).disposition == Disposition::Ignore
}
