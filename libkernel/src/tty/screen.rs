//! What the line discipline sees of a terminal, and what comes of it: echo and output on the port, and notes of what is to be done once
//! the terminal's lock is released.
//!
//! Runs under that lock, also in an interrupt: nothing here allocates, sends a signal or wakes anybody.
#![forbid(unsafe_code)]

use super::line::{Effects, KeySignal};
use super::port::Port;
use super::ring::ByteRing;
use crate::signal::Signal;

/// Sends the echo that waits, as far as the port takes it.
pub(super) fn transmit_echo(port: &dyn Port, echo: &mut ByteRing) {
    while !echo.is_empty() {
        let sent = port.transmit(echo.front());
        echo.consume(sent);
        if sent == 0 {
            break;
        }
    }
}

/// What came of typed bytes, to be acted on once the lock is released.
#[derive(Default)]
pub(super) struct Keys {
    interrupt: bool,
    quit: bool,
    suspend: bool,
    pub readable: bool,
    pub restarted: bool,
    pub discarded: bool,
}

impl Keys {
    pub fn any_signal(&self) -> bool {
        self.interrupt || self.quit || self.suspend
    }

    pub fn signals(&self) -> impl Iterator<Item = Signal> {
        let all = [(self.interrupt, Signal::INT), (self.quit, Signal::QUIT), (self.suspend, Signal::TSTP)];
        all.into_iter().filter(|(sent, _)| *sent).map(|(_, signal)| signal)
    }
}

/// The line discipline's view of the terminal.
pub(super) struct Screen<'a> {
    pub port: &'a dyn Port,
    pub echo: &'a mut ByteRing,
    pub stopped: &'a mut bool,
    pub keys: &'a mut Keys,
}

impl Effects for Screen<'_> {
    fn output(&mut self, bytes: &[u8]) {
        let sent = if *self.stopped || !self.echo.is_empty() { 0 } else { self.port.transmit(bytes) };
        self.echo.push(bytes.get(sent..).unwrap_or(&[]));
    }

    fn signal(&mut self, signal: KeySignal) {
        match signal {
            KeySignal::Interrupt => self.keys.interrupt = true,
            KeySignal::Quit => self.keys.quit = true,
            KeySignal::Suspend => self.keys.suspend = true,
        }
    }

    fn discard_output(&mut self) {
        self.echo.clear();
        self.port.discard();
        self.keys.discarded = true;
    }

    fn is_stopped(&self) -> bool {
        *self.stopped
    }

    fn set_stopped(&mut self, stopped: bool) {
        if core::mem::replace(self.stopped, stopped) == stopped {
            return;
        }
        self.port.flow_changed(stopped);
        if !stopped {
            self.keys.restarted = true;
            transmit_echo(self.port, self.echo);
        }
    }

    fn readable(&mut self) {
        self.keys.readable = true;
    }
}
