//! Pseudo-terminals: a terminal whose far end is another open file, the master (pty(7)).
//!
//! What programs write to the terminal goes through output processing into a ring that the master reads; what the master writes is
//! typed input. Order of locks: the terminal's before the ring's.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use linux_raw_sys::{general as abi, ioctl};

use super::control::{self, read_int, write_int};
use super::port::Port;
use super::registry::Registry;
use super::ring::ByteRing;
use super::terminal::Terminal;
use super::termios::{Termios, WindowSize};
use crate::fs::{Caller, DeviceId, FileObject, UserAccess};
use crate::io::{IoSink, IoSource};
use crate::poll::{PollEvents, PollTable};
use crate::signal::Signal;
use crate::sync::{IrqSpinLock, SpinLock, WaitQueue};
use crate::{Errno, Result};

/// Bytes that wait for the master to read them.
const RING: usize = 8192;
/// Major device number of the terminal side (`/dev/pts`).
pub const SLAVE_MAJOR: u32 = 136;

/// The wire between the two sides.
struct Wire {
    to_master: IrqSpinLock<ByteRing>,
    /// Woken when the master may read.
    master_readable: Arc<WaitQueue>,
    /// Woken when the master may write.
    master_writable: Arc<WaitQueue>,
    packet: AtomicBool,
    /// Packet mode: what happened since the master last read, `TIOCPKT_*`.
    happened: AtomicU8,
}

impl Wire {
    fn note(&self, event: u32, cancels: u32) {
        if self.packet.load(Ordering::Relaxed) {
            self.happened.fetch_and(!(cancels as u8), Ordering::AcqRel);
            self.happened.fetch_or(event as u8, Ordering::AcqRel);
            self.master_readable.wake_all();
        }
    }
}

impl Port for Wire {
    fn transmit(&self, bytes: &[u8]) -> usize {
        let sent = self.to_master.lock().push(bytes);
        if sent != 0 {
            self.master_readable.wake_all();
        }
        sent
    }

    fn room(&self) -> usize {
        self.to_master.lock().room()
    }

    /// What has reached the ring is out: nobody waits for the master to read, as on Linux.
    fn queued(&self) -> usize {
        0
    }

    fn discard(&self) {
        self.to_master.lock().clear();
        self.note(abi::TIOCPKT_FLUSHWRITE, 0);
    }

    fn input_room(&self) {
        self.master_writable.wake_all();
    }

    fn hangs_up_with_session(&self) -> bool {
        false
    }

    fn closed(&self) {
        self.master_readable.wake_all();
    }

    fn input_flushed(&self) {
        self.note(abi::TIOCPKT_FLUSHREAD, 0);
    }

    fn flow_changed(&self, stopped: bool) {
        if stopped {
            self.note(abi::TIOCPKT_STOP, abi::TIOCPKT_START);
        } else {
            self.note(abi::TIOCPKT_START, abi::TIOCPKT_STOP);
        }
    }

    fn settings_changed(&self, old: &Termios, new: &Termios) {
        let standard = |termios: &Termios| {
            termios.input_has(abi::IXON)
                && termios.character(abi::VSTOP) == 0x13
                && termios.character(abi::VSTART) == 0x11
        };
        match (standard(old), standard(new)) {
            (false, true) => self.note(abi::TIOCPKT_DOSTOP, abi::TIOCPKT_NOSTOP),
            (true, false) => self.note(abi::TIOCPKT_NOSTOP, abi::TIOCPKT_DOSTOP),
            _ => {}
        }
    }
}

/// A pseudo-terminal, as `/dev/pts` knows it.
pub struct Pty {
    index: u32,
    wire: Arc<Wire>,
    terminal: Arc<Terminal>,
    /// The terminal side cannot be opened yet (`TIOCSPTLCK`).
    locked: AtomicBool,
    access: SpinLock<Access>,
}

/// Who may open the terminal side by its name.
#[derive(Clone, Copy)]
struct Access {
    uid: u32,
    gid: u32,
    permissions: u32,
}

impl Pty {
    /// A pseudo-terminal with this number. `ENOMEM`.
    pub(super) fn new(index: u32, owner: (u32, u32)) -> Result<Arc<Self>> {
        let wire = Arc::new(Wire {
            to_master: IrqSpinLock::new(ByteRing::new(RING)?),
            master_readable: Arc::new(WaitQueue::new()),
            master_writable: Arc::new(WaitQueue::new()),
            packet: AtomicBool::new(false),
            happened: AtomicU8::new(0),
        });
        let number = DeviceId::new(SLAVE_MAJOR, index).encode() as u32;
        let terminal = Terminal::new(number, wire.clone(), Termios::new(), WindowSize::default())?;
        Ok(Arc::new(Self {
            index,
            wire,
            terminal,
            locked: AtomicBool::new(true),
            access: SpinLock::new(Access { uid: owner.0, gid: owner.1, permissions: 0o620 }),
        }))
    }

    /// Its number, the name in `/dev/pts`.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// User and group that own the terminal side: those of whoever opened the master, unless changed.
    pub fn owner(&self) -> (u32, u32) {
        let access = self.access.lock();
        (access.uid, access.gid)
    }

    /// Permission bits of the terminal side.
    pub fn permissions(&self) -> u32 {
        self.access.lock().permissions
    }

    /// Changes owner, group and permissions; `None` leaves one alone.
    pub fn change_owner(&self, uid: Option<u32>, gid: Option<u32>, permissions: Option<u32>) {
        let mut access = self.access.lock();
        access.uid = uid.unwrap_or(access.uid);
        access.gid = gid.unwrap_or(access.gid);
        access.permissions = permissions.unwrap_or(access.permissions);
    }

    /// The terminal side, to be opened.
    ///
    /// # Errors
    /// `EIO` while it is locked.
    pub fn terminal(&self) -> Result<&Arc<Terminal>> {
        if self.locked.load(Ordering::Acquire) {
            return Err(Errno::EIO);
        }
        Ok(&self.terminal)
    }
}

/// The master side as an open file. Closing it hangs the terminal up.
pub struct Master {
    pty: Arc<Pty>,
    registry: &'static Registry,
}

impl Master {
    pub(super) fn new(pty: Arc<Pty>, registry: &'static Registry) -> Self {
        Self { pty, registry }
    }

    /// The pseudo-terminal.
    pub fn pty(&self) -> &Arc<Pty> {
        &self.pty
    }

    /// Forbids or allows opening the terminal side, `TIOCSPTLCK`.
    pub fn set_locked(&self, locked: bool) {
        self.pty.locked.store(locked, Ordering::Release);
    }

    /// Switches packet mode, `TIOCPKT`.
    pub fn set_packet(&self, on: bool) {
        self.pty.wire.happened.store(0, Ordering::Release);
        self.pty.wire.packet.store(on, Ordering::Release);
    }

    /// Whether the terminal side was open once and is no more.
    fn is_abandoned(&self) -> bool {
        let state = self.pty.terminal.state.lock();
        state.was_opened && state.opens == 0
    }

    fn take_event(&self) -> u8 {
        self.pty.wire.happened.swap(0, Ordering::AcqRel)
    }

    fn signal(&self, number: i32) -> Result<usize> {
        let signal = Signal::new(number)?;
        if !matches!(signal, Signal::INT | Signal::QUIT | Signal::TSTP) {
            return Err(Errno::EINVAL);
        }
        let group = self.pty.terminal.state.lock().foreground.clone();
        if let Some(group) = group {
            group.for_each(|process| process.signals().send_kernel(signal));
        }
        Ok(0)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.registry.remove(self.pty.index);
        self.pty.locked.store(true, Ordering::Release);
        self.pty.terminal.disconnect();
    }
}

impl FileObject for Master {
    fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        if sink.remaining() == 0 {
            return Ok(0);
        }
        let packet = self.pty.wire.packet.load(Ordering::Relaxed);
        if packet {
            let event = self.take_event();
            if event != 0 {
                return if sink.put(&[event]) == 1 { Ok(1) } else { Err(Errno::EFAULT) };
            }
        }
        let mut ring = self.pty.wire.to_master.lock();
        if ring.is_empty() {
            drop(ring);
            return if self.is_abandoned() { Err(Errno::EIO) } else { Err(Errno::EAGAIN) };
        }
        let mut moved = 0;
        if packet {
            if sink.put(&[abi::TIOCPKT_DATA as u8]) == 0 {
                return Err(Errno::EFAULT);
            }
            moved += 1;
        }
        while !ring.is_empty() && sink.remaining() != 0 {
            let taken = sink.put(ring.front());
            ring.consume(taken);
            moved += taken;
            if taken == 0 {
                break;
            }
        }
        drop(ring);
        if moved == 0 {
            return Err(Errno::EFAULT);
        }
        self.pty.terminal.output_drained();
        Ok(moved)
    }

    fn write(&self, source: &mut dyn IoSource) -> Result<usize> {
        let mut written = 0;
        while source.remaining() != 0 {
            let room = self.pty.terminal.input_room();
            if room == 0 {
                return if written == 0 { Err(Errno::EAGAIN) } else { Ok(written) };
            }
            let mut chunk = [0; 256];
            let wanted = room.min(chunk.len()).min(source.remaining());
            let count = source.take(chunk.get_mut(..wanted).unwrap_or(&mut []));
            self.pty.terminal.receive(chunk.get(..count).unwrap_or(&[]));
            written += count;
            if count < wanted {
                return if written == 0 { Err(Errno::EFAULT) } else { Ok(written) };
            }
        }
        Ok(written)
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.register(&self.pty.wire.master_readable);
        table.register(&self.pty.wire.master_writable);
        let mut events = PollEvents::empty();
        let happened = self.pty.wire.happened.load(Ordering::Acquire) != 0;
        events.set(PollEvents::READABLE, happened || !self.pty.wire.to_master.lock().is_empty());
        events.set(PollEvents::PRI, happened);
        events.set(PollEvents::WRITABLE, self.pty.terminal.input_room() != 0);
        events.set(PollEvents::HUP, self.is_abandoned());
        events
    }

    fn ioctl(&self, request: u32, argument: usize, user: &dyn UserAccess, caller: &Caller<'_>) -> Result<usize> {
        match request {
            ioctl::TIOCGPTN => write_int(user, argument, self.pty.index as i32),
            ioctl::TIOCSPTLCK => {
                self.set_locked(read_int(user, argument)? != 0);
                Ok(0)
            }
            ioctl::TIOCGPTLCK => write_int(user, argument, i32::from(self.pty.locked.load(Ordering::Acquire))),
            ioctl::TIOCPKT => {
                self.set_packet(read_int(user, argument)? != 0);
                Ok(0)
            }
            ioctl::TIOCGPKT => write_int(user, argument, i32::from(self.pty.wire.packet.load(Ordering::Acquire))),
            ioctl::TIOCSIG => self.signal(argument as i32),
            ioctl::FIONREAD => write_int(user, argument, self.pty.wire.to_master.lock().len() as i32),
            ioctl::TIOCOUTQ => write_int(user, argument, 0),
            ioctl::TIOCGPGRP => write_int(user, argument, self.pty.terminal.foreground_number()),
            ioctl::TIOCGSID => write_int(user, argument, self.pty.terminal.session_number()?),
            // Who holds the master alone has no say in who is signalled.
            ioctl::TIOCSPGRP => control::serve(&self.pty.terminal, request, argument, user, caller),
            ioctl::TIOCSCTTY | ioctl::TIOCNOTTY | ioctl::TIOCVHANGUP => Err(Errno::ENOTTY),
            _ => control::settings(&self.pty.terminal, request, argument, user, caller),
        }
    }

    fn readable_bytes(&self) -> Result<usize> {
        Ok(self.pty.wire.to_master.lock().len())
    }
}
