//! What a terminal is connected to: a serial line, or the master side of a pseudo-terminal.
#![forbid(unsafe_code)]

use super::termios::Termios;

/// The far end of a terminal's output. Every call may come with interrupts masked and the terminal's lock held, from an
/// interrupt handler too: it may neither sleep nor allocate, nor call the terminal.
pub trait Port: Send + Sync {
    /// Takes bytes to show and returns how many.
    fn transmit(&self, bytes: &[u8]) -> usize;

    /// How many bytes [`Self::transmit`] would take now.
    fn room(&self) -> usize;

    /// Bytes taken that have not been shown yet (`TIOCOUTQ`).
    fn queued(&self) -> usize;

    /// Throws away what was taken and has not been shown.
    fn discard(&self);

    /// Tells that bytes which the terminal had no room for may be tried again.
    fn input_room(&self) {}

    /// Whether the end of the session that has the terminal hangs up the line, so that its open files are dead. A
    /// pseudo-terminal goes on: its master is still there.
    fn hangs_up_with_session(&self) -> bool {
        true
    }

    /// Tells that the last open file of the terminal was closed.
    fn closed(&self) {}

    /// Tells that output was stopped or restarted.
    fn flow_changed(&self, stopped: bool) {
        let _ = stopped;
    }

    /// Tells that typed bytes were thrown away.
    fn input_flushed(&self) {}

    /// Tells that the settings changed.
    fn settings_changed(&self, old: &Termios, new: &Termios) {
        let _ = (old, new);
    }
}
