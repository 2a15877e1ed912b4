//! The line discipline: what typed bytes do. It edits lines, echoes, turns keys into signals, and
//! starts and stops output, as `termios(3)` describes it for `N_TTY`.
//!
//! Pure: it knows no hardware, no processes and no lock. What it wants done outside goes through
//! [`Effects`]. It runs under the terminal's interrupt-aware lock, also in an interrupt, so it does
//! not allocate.
#![forbid(unsafe_code)]

use linux_raw_sys::general as abi;

use super::input::{CAPACITY, InputBuffer};
use super::output::Cursor;
use super::termios::{DISABLED, Termios};
use crate::Result;
use crate::io::IoSink;

/// A signal a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySignal {
    /// `VINTR`: `SIGINT`.
    Interrupt,
    /// `VQUIT`: `SIGQUIT`.
    Quit,
    /// `VSUSP`: `SIGTSTP`.
    Suspend,
}

/// What the line discipline does to the world around it.
pub trait Effects {
    /// Sends processed bytes to the screen, behind the program output sent before.
    fn output(&mut self, bytes: &[u8]);
    /// Sends a signal to the foreground process group.
    fn signal(&mut self, signal: KeySignal);
    /// Throws away output that has not reached the screen yet.
    fn discard_output(&mut self);
    /// Whether output is stopped (`VSTOP`).
    fn is_stopped(&self) -> bool;
    /// Stops or restarts output.
    fn set_stopped(&mut self, stopped: bool);
    /// Tells readers that bytes or a line became readable.
    fn readable(&mut self);
}

/// State of the line discipline of one terminal.
#[derive(Debug)]
pub struct LineDiscipline {
    pub(super) input: InputBuffer,
    pub(super) cursor: Cursor,
    /// The next byte is taken literally (`VLNEXT` was typed).
    literal_next: bool,
    /// An `ECHOPRT` rubout is being shown: its closing slash is due.
    pub(super) erasing: bool,
}

impl LineDiscipline {
    /// A line discipline with nothing typed. `ENOMEM` when there is no memory for its buffer.
    pub fn new() -> Result<Self> {
        Ok(Self { input: InputBuffer::new()?, cursor: Cursor::default(), literal_next: false, erasing: false })
    }

    /// Takes typed bytes. Returns how many were taken: fewer than given when the reader must make
    /// room first.
    pub fn receive(&mut self, termios: &Termios, bytes: &[u8], fx: &mut dyn Effects) -> usize {
        let mut taken = 0;
        for &byte in bytes {
            if self.room(termios) == 0 {
                break;
            }
            self.receive_byte(termios, byte, fx);
            taken += 1;
        }
        if self.readable_len(termios) >= 1 && taken != 0 {
            fx.readable();
        }
        taken
    }

    /// Bytes that can be taken now. In canonical mode a line that fills the buffer still takes one,
    /// so that it can be finished or edited.
    pub fn room(&self, termios: &Termios) -> usize {
        let free = CAPACITY.saturating_sub(self.input.len() + 1);
        let free = if termios.input_has(abi::PARMRK) { free.div_ceil(3) } else { free };
        if free == 0 && termios.canonical() && !self.input.has_line() { 1 } else { free }
    }

    /// Bytes a reader can have now.
    pub fn readable_len(&self, termios: &Termios) -> usize {
        if termios.canonical() { self.input.finished_len() } else { self.input.len() }
    }

    /// Whether a read would return something: a finished line (an end of file counts), or at least
    /// `minimum` bytes when lines are off.
    pub fn is_readable(&self, termios: &Termios, minimum: usize) -> bool {
        if termios.canonical() { self.input.has_line() } else { self.input.len() >= minimum.max(1) }
    }

    /// Moves what a read may have into `sink`: one line in canonical mode, else all bytes that fit.
    pub fn read(&mut self, termios: &Termios, sink: &mut dyn IoSink) -> Result<usize> {
        if termios.canonical() { self.input.read_line(sink) } else { self.input.read_raw(sink) }
    }

    /// Throws typed bytes away, `TCIFLUSH`.
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.erasing = false;
        self.literal_next = false;
    }

    /// Adapts to changed settings.
    pub fn settings_changed(&mut self, old: &Termios, new: &Termios) {
        if old.canonical() != new.canonical() {
            self.input.switch_mode(new.canonical());
            self.erasing = false;
            self.literal_next = false;
        }
    }

    /// A break condition on the line.
    pub fn receive_break(&mut self, termios: &Termios, fx: &mut dyn Effects) {
        if termios.input_has(abi::IGNBRK) {
            return;
        }
        if termios.input_has(abi::BRKINT) {
            self.send_signal(termios, KeySignal::Interrupt, fx);
            return;
        }
        if termios.input_has(abi::PARMRK) {
            self.input.push(0xff);
            self.input.push(0);
        }
        self.input.push(0);
        fx.readable();
    }

    fn receive_byte(&mut self, termios: &Termios, byte: u8, fx: &mut dyn Effects) {
        let mut byte = byte;
        if termios.input_has(abi::ISTRIP) {
            byte &= 0x7f;
        }
        if termios.input_has(abi::IUCLC) && termios.local_has(abi::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if core::mem::take(&mut self.literal_next) {
            self.insert(termios, byte, fx);
            return;
        }
        if termios.input_has(abi::IXON) && self.flow_control(termios, byte, fx) {
            return;
        }
        if termios.local_has(abi::ISIG)
            && let Some(signal) = signal_key(termios, byte)
        {
            self.send_signal(termios, signal, fx);
            if termios.input_has(abi::IXON) {
                fx.set_stopped(false);
            }
            if termios.local_has(abi::ECHO) {
                self.echo(termios, byte, fx);
            }
            return;
        }
        if fx.is_stopped() && termios.input_has(abi::IXON) && termios.input_has(abi::IXANY) {
            fx.set_stopped(false);
        }
        match byte {
            b'\r' if termios.input_has(abi::IGNCR) => return,
            b'\r' if termios.input_has(abi::ICRNL) => byte = b'\n',
            b'\n' if termios.input_has(abi::INLCR) => byte = b'\r',
            _ => {}
        }
        if termios.canonical() && self.edit(termios, byte, fx) {
            return;
        }
        self.insert(termios, byte, fx);
    }

    /// `VSTART` and `VSTOP`. True when the byte was one of them.
    fn flow_control(&mut self, termios: &Termios, byte: u8, fx: &mut dyn Effects) -> bool {
        if termios.is(abi::VSTART, byte) {
            fx.set_stopped(false);
        } else if termios.is(abi::VSTOP, byte) {
            fx.set_stopped(true);
        } else {
            return false;
        }
        true
    }

    fn send_signal(&mut self, termios: &Termios, signal: KeySignal, fx: &mut dyn Effects) {
        fx.signal(signal);
        if !termios.local_has(abi::NOFLSH) {
            fx.discard_output();
            self.flush_input();
        }
    }

    /// The keys of canonical mode. True when the byte was one of them.
    fn edit(&mut self, termios: &Termios, byte: u8, fx: &mut dyn Effects) -> bool {
        let extended = termios.local_has(abi::IEXTEN);
        let echo = termios.local_has(abi::ECHO);
        if termios.is(abi::VERASE, byte) || termios.is(abi::VKILL, byte) || (extended && termios.is(abi::VWERASE, byte))
        {
            self.erase(termios, byte, fx);
        } else if extended && termios.is(abi::VLNEXT, byte) {
            self.literal_next = true;
            if echo {
                self.finish_erasing(termios, fx);
                if termios.local_has(abi::ECHOCTL) {
                    self.echo_raw(termios, b'^', fx);
                    self.echo_raw(termios, 0x08, fx);
                }
            }
        } else if extended && echo && termios.is(abi::VREPRINT, byte) {
            self.finish_erasing(termios, fx);
            self.echo(termios, byte, fx);
            self.echo_raw(termios, b'\n', fx);
            for index in 0..self.input.editing_len() {
                if let Some(typed) = self.input.editing(index) {
                    self.echo(termios, typed, fx);
                }
            }
        } else if byte == b'\n' {
            if echo || termios.local_has(abi::ECHONL) {
                self.echo_raw(termios, b'\n', fx);
            }
            self.input.finish_line(byte);
        } else if termios.is(abi::VEOF, byte) {
            self.input.finish_line(DISABLED);
        } else if termios.is(abi::VEOL, byte) || (extended && termios.is(abi::VEOL2, byte)) {
            if echo {
                self.note_line_column();
                self.echo(termios, byte, fx);
            }
            if byte == 0xff && termios.input_has(abi::PARMRK) {
                self.input.push(byte);
            }
            self.input.finish_line(byte);
        } else {
            return false;
        }
        true
    }

    /// Takes an ordinary byte.
    fn insert(&mut self, termios: &Termios, byte: u8, fx: &mut dyn Effects) {
        if termios.local_has(abi::ECHO) {
            self.finish_erasing(termios, fx);
            if byte == b'\n' {
                self.echo_raw(termios, b'\n', fx);
            } else {
                self.note_line_column();
                self.echo(termios, byte, fx);
            }
        }
        if byte == 0xff && termios.input_has(abi::PARMRK) {
            self.input.push(byte);
        }
        self.input.push(byte);
    }

    /// Remembers where the line being edited begins on the screen, once it gets its first byte.
    fn note_line_column(&mut self) {
        if self.input.editing_len() == 0 {
            self.cursor.line_column = self.cursor.column;
        }
    }

    /// Shows a typed byte; control characters as `^X` under `ECHOCTL`.
    pub(super) fn echo(&mut self, termios: &Termios, byte: u8, fx: &mut dyn Effects) {
        if termios.local_has(abi::ECHOCTL) && byte.is_ascii_control() && byte != b'\t' {
            fx.output(&[b'^', byte ^ 0x40]);
            self.cursor.column = self.cursor.column.wrapping_add(2);
        } else {
            self.echo_raw(termios, byte, fx);
        }
    }

    /// Shows a byte as it is, apart from output processing.
    pub(super) fn echo_raw(&mut self, termios: &Termios, byte: u8, fx: &mut dyn Effects) {
        fx.output(self.cursor.process(termios, byte).as_slice());
    }

    /// Closes an `ECHOPRT` rubout.
    pub(super) fn finish_erasing(&mut self, termios: &Termios, fx: &mut dyn Effects) {
        if core::mem::take(&mut self.erasing) {
            self.echo_raw(termios, b'/', fx);
        }
    }
}

fn signal_key(termios: &Termios, byte: u8) -> Option<KeySignal> {
    if termios.is(abi::VINTR, byte) {
        Some(KeySignal::Interrupt)
    } else if termios.is(abi::VQUIT, byte) {
        Some(KeySignal::Quit)
    } else if termios.is(abi::VSUSP, byte) {
        Some(KeySignal::Suspend)
    } else {
        None
    }
}
