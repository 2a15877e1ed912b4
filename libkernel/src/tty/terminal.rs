//! A terminal: settings, line discipline, and the processes it belongs to, around a [`Port`].
//!
//! One interrupt-aware lock orders what is typed, echoed, written and set, so that bytes may arrive in an interrupt and
//! a key's signal goes out from there. Signals are sent and tasks woken after the lock is released. No operation sleeps.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;

use linux_raw_sys::general as abi;

use super::jobs::lose_terminal;
use super::line::{Effects, LineDiscipline};
use super::port::Port;
use super::ring::ByteRing;
use super::screen::{Keys, Screen, transmit_echo};
use super::termios::{Termios, WindowSize};
use crate::fs::Caller;
use crate::io::{IoSink, IoSource};
use crate::process::capability::Capability;
use crate::process::{Attachment, ProcessGroup, Session, tree};
use crate::signal::Signal;
use crate::sync::{IrqSpinLock, WaitQueue};
use crate::time::Alarm;
use crate::{Errno, Result, machine};

/// Bytes of echo that wait while output is stopped or the port is full.
const ECHO_CAPACITY: usize = 4096;
/// Bytes that wait, undisciplined, while the line discipline has no room.
const BACKLOG_CAPACITY: usize = 4096;
/// Bytes of output that are processed under one holding of the lock.
const CHUNK: usize = 512;

/// A terminal.
pub struct Terminal {
    number: u32,
    port: Arc<dyn Port>,
    pub(super) state: IrqSpinLock<State>,
    /// Woken when a read may succeed.
    pub(super) readable: Arc<WaitQueue>,
    /// Woken when a write, or waiting for output to drain, may succeed.
    pub(super) writable: Arc<WaitQueue>,
    /// Counts hang-ups: a file opened before the last one is dead. Changes under the lock.
    generation: AtomicU32,
}

/// What the lock orders.
pub(super) struct State {
    pub termios: Termios,
    pub window: WindowSize,
    pub line: LineDiscipline,
    echo: ByteRing,
    backlog: ByteRing,
    pub stopped: bool,
    pub exclusive: bool,
    pub opens: usize,
    /// It was opened at least once.
    pub was_opened: bool,
    /// The far end is gone for good.
    disconnected: bool,
    /// Changes while the tree of processes is locked.
    pub holder: Option<Holder>,
    pub foreground: Option<Arc<ProcessGroup>>,
    clock: ReadClock,
}

/// The session that a terminal belongs to.
pub(super) struct Holder {
    pub session: Arc<Session>,
    /// By which acquisition: the processes that take part in it are those that the terminal controls.
    pub attachment: Attachment,
}

/// The times that `VTIME` measures from, and the alarm that ends a read.
struct ReadClock {
    /// When the last byte arrived.
    last_input_ns: u64,
    /// When the read that waits began.
    started_ns: Option<u64>,
    alarm: Alarm,
}

impl Terminal {
    /// A terminal with the given device number (as `stat(2)` encodes it), connected to `port`. `ENOMEM`.
    pub fn new(number: u32, port: Arc<dyn Port>, termios: Termios, window: WindowSize) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            number,
            port,
            state: IrqSpinLock::new(State {
                termios,
                window,
                line: LineDiscipline::new()?,
                echo: ByteRing::new(ECHO_CAPACITY)?,
                backlog: ByteRing::new(BACKLOG_CAPACITY)?,
                stopped: false,
                exclusive: false,
                opens: 0,
                was_opened: false,
                disconnected: false,
                holder: None,
                foreground: None,
                clock: ReadClock { last_input_ns: 0, started_ns: None, alarm: Alarm::new() },
            }),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
            generation: AtomicU32::new(0),
        }))
    }

    /// The device number, encoded as in `stat(2)`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What it is connected to.
    pub fn port(&self) -> &Arc<dyn Port> {
        &self.port
    }

    /// The number of hang-ups so far.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// A file of the terminal is opened, in the generation that is returned. `EBUSY` while somebody holds it exclusively, `EIO`
    /// when its far end is gone.
    pub(super) fn count_open(&self, caller: &Caller<'_>) -> Result<u32> {
        let mut state = self.state.lock();
        if state.disconnected {
            return Err(Errno::EIO);
        }
        if state.exclusive && !caller.credentials.has(Capability::SysAdmin) {
            return Err(Errno::EBUSY);
        }
        state.opens += 1;
        state.was_opened = true;
        Ok(self.generation())
    }

    /// A file of the terminal is closed. The last one takes `TIOCEXCL` with it.
    pub(super) fn count_close(&self) {
        let mut state = self.state.lock();
        state.opens = state.opens.saturating_sub(1);
        let last = state.opens == 0;
        if last {
            state.exclusive = false;
        }
        drop(state);
        if last {
            self.port.closed();
        }
    }

    /// How many typed bytes would be taken without waiting in the backlog.
    pub fn input_room(&self) -> usize {
        let state = self.state.lock();
        if state.backlog.is_empty() { state.line.room(&state.termios) } else { 0 }
    }

    /// Bytes were typed. What there is no room for waits in a backlog, and what that cannot hold is lost. Any context.
    pub fn receive(&self, bytes: &[u8]) {
        let mut keys = Keys::default();
        let mut state = self.state.lock();
        let taken = if state.backlog.is_empty() { state.discipline(&*self.port, &mut keys, bytes) } else { 0 };
        state.backlog.push(bytes.get(taken..).unwrap_or(&[]));
        self.finish(state, keys);
    }

    /// The port has room for output again. Any context.
    pub fn output_drained(&self) {
        let mut state = self.state.lock();
        if !state.stopped {
            state.flush_echo(&*self.port);
        }
        drop(state);
        self.writable.wake_all();
    }

    /// Ends an operation that may have produced signals, woken readers or restarted output.
    fn finish(&self, state: crate::sync::IrqSpinLockGuard<'_, State>, keys: Keys) {
        let group = if keys.any_signal() { state.foreground.clone() } else { None };
        drop(state);
        if let Some(group) = group {
            for signal in keys.signals() {
                group.for_each(|process| process.signals().send_kernel(signal));
            }
        }
        if keys.readable {
            self.readable.wake_all();
        }
        if keys.restarted || keys.discarded {
            self.writable.wake_all();
        }
    }

    /// Reads what the mode allows. See [`TerminalFile`](super::TerminalFile) for job control and hang-ups.
    ///
    /// # Errors
    /// `EAGAIN` when nothing can be read yet, `EFAULT`.
    pub fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        if sink.remaining() == 0 {
            return Ok(0);
        }
        let mut keys = Keys::default();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if !state.may_read(sink.remaining())? {
            return state.wait_for_input(&self.readable);
        }
        state.clock.started_ns = None;
        let result = state.line.read(&state.termios, sink);
        state.drain_backlog(&*self.port, &mut keys);
        self.finish(guard, keys);
        self.port.input_room();
        result
    }

    /// Writes, with output processing. See [`TerminalFile`](super::TerminalFile) for job control and hang-ups.
    ///
    /// # Errors
    /// `EAGAIN` when nothing can be written yet, `EFAULT`.
    pub fn write(&self, source: &mut dyn IoSource) -> Result<usize> {
        let mut written = 0;
        while source.remaining() != 0 {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            state.flush_echo(&*self.port);
            let room = state.output_room(&*self.port);
            if room == 0 {
                return if written == 0 { Err(Errno::EAGAIN) } else { Ok(written) };
            }
            let mut chunk = [0; CHUNK];
            let wanted = room.min(CHUNK).min(source.remaining());
            let count = source.take(chunk.get_mut(..wanted).unwrap_or(&mut []));
            state.print(&*self.port, chunk.get(..count).unwrap_or(&[]));
            written += count;
            if count < wanted {
                return if written == 0 { Err(Errno::EFAULT) } else { Ok(written) };
            }
        }
        Ok(written)
    }

    /// Whether a read of any length would return something, and whether a write would take something.
    pub fn readiness(&self) -> (bool, bool) {
        let state = self.state.lock();
        let termios = &state.termios;
        let minimum = if termios.timeout_ns() == 0 { termios.minimum() } else { 1 };
        (state.line.is_readable(termios, minimum), state.output_room(&*self.port) != 0)
    }

    /// The settings.
    pub fn termios(&self) -> Termios {
        self.state.lock().termios
    }

    /// Changes the settings.
    pub fn set_termios(&self, new: Termios) {
        let mut keys = Keys::default();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let old = core::mem::replace(&mut state.termios, new);
        state.line.settings_changed(&old, &new);
        if state.stopped && old.input_has(abi::IXON) && !new.input_has(abi::IXON) {
            state.set_stopped(&*self.port, &mut keys, false);
        }
        keys.readable = true;
        self.finish(guard, keys);
        self.port.settings_changed(&old, &new);
    }

    /// Throws away what was typed and not read.
    pub fn flush_input(&self) {
        let mut state = self.state.lock();
        state.line.flush_input();
        state.backlog.clear();
        drop(state);
        self.port.input_flushed();
        self.port.input_room();
    }

    /// Throws away what was written and not shown.
    pub fn flush_output(&self) {
        let mut state = self.state.lock();
        state.echo.clear();
        self.port.discard();
        drop(state);
        self.writable.wake_all();
    }

    /// Stops or restarts output, as the keys for it do.
    pub fn set_stopped(&self, stopped: bool) {
        let mut keys = Keys::default();
        let mut state = self.state.lock();
        state.set_stopped(&*self.port, &mut keys, stopped);
        self.finish(state, keys);
    }

    /// Sends bytes past the output queue: the flow-control characters of `TCIOFF` and `TCION`.
    pub fn send_urgent(&self, byte: u8) {
        self.port.transmit(&[byte]);
    }

    /// Whether everything that programs have written has been shown.
    pub fn is_drained(&self) -> bool {
        self.port.queued() == 0
    }

    /// Bytes a read would return now (`FIONREAD`).
    pub fn readable_len(&self) -> usize {
        let state = self.state.lock();
        state.line.readable_len(&state.termios)
    }

    /// The window's size.
    pub fn window(&self) -> WindowSize {
        self.state.lock().window
    }

    /// Changes the window's size; the foreground group learns of it by `SIGWINCH`.
    pub fn set_window(&self, window: WindowSize) {
        let mut state = self.state.lock();
        if state.window == window {
            return;
        }
        state.window = window;
        let group = state.foreground.clone();
        drop(state);
        if let Some(group) = group {
            group.for_each(|process| process.signals().send_kernel(Signal::WINCH));
        }
    }

    /// The line is gone: files open now are dead from here on, the session loses the terminal and its leader is told.
    pub fn hang_up(&self) {
        self.lose_line(false);
    }

    /// The far end is gone for good: as [`Self::hang_up`], and nobody opens the terminal any more.
    pub(super) fn disconnect(&self) {
        self.lose_line(true);
    }

    fn lose_line(&self, for_good: bool) {
        let mut tree = tree::lock();
        let mut state = self.state.lock();
        state.disconnected |= for_good;
        self.end_generation(&mut state);
        let (holder, foreground) = (state.holder.take(), state.foreground.take());
        drop(state);
        if let Some(holder) = holder {
            lose_terminal(&mut tree, &holder.session, foreground);
        }
        drop(tree);
        self.wake_all();
    }

    /// Files open now are dead from here on. Who waits on them is to be woken after the lock.
    pub(super) fn end_generation(&self, state: &mut State) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        state.line.flush_input();
        state.backlog.clear();
        state.stopped = false;
        state.exclusive = false;
    }

    pub(super) fn wake_all(&self) {
        self.readable.wake_all();
        self.writable.wake_all();
    }
}

impl State {
    fn discipline(&mut self, port: &dyn Port, keys: &mut Keys, bytes: &[u8]) -> usize {
        let Self { termios, line, echo, stopped, clock, .. } = self;
        clock.last_input_ns = machine::monotonic_ns();
        line.receive(termios, bytes, &mut Screen { port, echo, stopped, keys })
    }

    /// Offers the line discipline what had to wait.
    fn drain_backlog(&mut self, port: &dyn Port, keys: &mut Keys) {
        while !self.backlog.is_empty() {
            let Self { termios, line, echo, stopped, backlog, .. } = self;
            let taken = line.receive(termios, backlog.front(), &mut Screen { port, echo, stopped, keys });
            backlog.consume(taken);
            if taken == 0 {
                break;
            }
        }
    }

    fn set_stopped(&mut self, port: &dyn Port, keys: &mut Keys, stopped: bool) {
        Screen { port, echo: &mut self.echo, stopped: &mut self.stopped, keys }.set_stopped(stopped);
    }

    /// Whether a read for `wanted` bytes can return bytes now. `Ok(false)`: it has to wait, or to give up by the clock.
    fn may_read(&self, wanted: usize) -> Result<bool> {
        let minimum = self.termios.minimum().min(wanted);
        if self.line.is_readable(&self.termios, minimum) {
            return Ok(true);
        }
        // Between bytes the clock runs only once there is a first one.
        let timeout = self.termios.timeout_ns();
        let waiting = !self.termios.canonical() && timeout != 0 && self.line.is_readable(&self.termios, 1);
        Ok(waiting && machine::monotonic_ns() >= self.clock.last_input_ns.saturating_add(timeout))
    }

    /// Nothing can be read: ends the read if its time is up, else makes sure that it looks again in time.
    fn wait_for_input(&mut self, readers: &Arc<WaitQueue>) -> Result<usize> {
        let timeout = self.termios.timeout_ns();
        let minimum = self.termios.minimum();
        if self.termios.canonical() || (timeout == 0 && minimum != 0) {
            return Err(Errno::EAGAIN);
        }
        if timeout == 0 {
            return Ok(0);
        }
        let now = machine::monotonic_ns();
        if minimum != 0 {
            if self.line.is_readable(&self.termios, 1) {
                let deadline = self.clock.last_input_ns.saturating_add(timeout);
                self.clock.alarm.set(deadline, &Waker::from(readers.clone()));
            }
            return Err(Errno::EAGAIN);
        }
        // A read that gave up otherwise (a signal, O_NONBLOCK) left its start behind; it is too old to be this one's.
        let start = match self.clock.started_ns {
            Some(start) if now <= start.saturating_add(2 * timeout) => start,
            _ => now,
        };
        self.clock.started_ns = Some(start);
        let deadline = start.saturating_add(timeout);
        if now >= deadline {
            self.clock.started_ns = None;
            return Ok(0);
        }
        self.clock.alarm.set(deadline, &Waker::from(readers.clone()));
        Err(Errno::EAGAIN)
    }

    /// How many bytes of program output can be taken, if each grows as much as it can.
    fn output_room(&self, port: &dyn Port) -> usize {
        if self.stopped || !self.echo.is_empty() {
            return 0;
        }
        let room = port.room();
        if !self.termios.output_has(abi::OPOST) {
            room
        } else if self.termios.output & abi::TABDLY == abi::XTABS {
            room / 8
        } else {
            room / 2
        }
    }

    /// Sends program output for which [`Self::output_room`] found room.
    fn print(&mut self, port: &dyn Port, bytes: &[u8]) {
        if !self.termios.output_has(abi::OPOST) {
            port.transmit(bytes);
            return;
        }
        let mut out = [0; 256];
        let mut len = 0;
        for &byte in bytes {
            for &expanded in self.line.cursor.process(&self.termios, byte).as_slice() {
                if let Some(slot) = out.get_mut(len) {
                    *slot = expanded;
                    len += 1;
                }
            }
            if len + 8 > out.len() {
                port.transmit(out.get(..len).unwrap_or(&[]));
                len = 0;
            }
        }
        port.transmit(out.get(..len).unwrap_or(&[]));
    }

    fn flush_echo(&mut self, port: &dyn Port) {
        if !self.stopped {
            transmit_echo(port, &mut self.echo);
        }
    }
}
