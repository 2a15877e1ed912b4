//! A terminal over a port that records what it is sent.

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

use linux_raw_sys::general as abi;

use super::input::CAPACITY;
use super::termios::{Termios, WindowSize};
use super::{Port, Terminal};
use crate::Errno;
use crate::io::{SliceSink, SliceSource};

/// A port with so much room.
struct Recorder {
    sent: Mutex<Vec<u8>>,
    room: Mutex<usize>,
}

impl Port for Recorder {
    fn transmit(&self, bytes: &[u8]) -> usize {
        let mut room = self.room.lock().unwrap();
        let count = bytes.len().min(*room);
        *room -= count;
        self.sent.lock().unwrap().extend_from_slice(&bytes[..count]);
        count
    }
    fn room(&self) -> usize {
        *self.room.lock().unwrap()
    }
    fn queued(&self) -> usize {
        0
    }
    fn discard(&self) {}
}

struct Desk {
    port: Arc<Recorder>,
    terminal: Arc<Terminal>,
}

fn desk(room: usize) -> Desk {
    let port = Arc::new(Recorder { sent: Mutex::default(), room: Mutex::new(room) });
    let terminal = Terminal::new(0, port.clone(), Termios::new(), WindowSize::default()).unwrap();
    Desk { port, terminal }
}

impl Desk {
    fn sent(&self) -> Vec<u8> {
        core::mem::take(&mut *self.port.sent.lock().unwrap())
    }

    fn grow(&self, room: usize) {
        *self.port.room.lock().unwrap() += room;
        self.terminal.output_drained();
    }

    fn read(&self, len: usize) -> crate::Result<Vec<u8>> {
        let mut buffer = alloc::vec![0; len];
        let count = self.terminal.read(&mut SliceSink::new(&mut buffer))?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn write(&self, bytes: &[u8]) -> crate::Result<usize> {
        self.terminal.write(&mut SliceSource::new(bytes))
    }

    fn raw(&self, minimum: u8, tenths: u8) {
        let mut termios = self.terminal.termios();
        termios.local = 0;
        termios.input = 0;
        termios.characters[abi::VMIN as usize] = minimum;
        termios.characters[abi::VTIME as usize] = tenths;
        self.terminal.set_termios(termios);
    }
}

#[test]
fn lines_go_in_and_come_out() {
    let desk = desk(1000);
    desk.terminal.receive(b"echo\r");
    assert_eq!(desk.sent(), b"echo\r\n");
    assert_eq!(desk.terminal.readable_len(), 5);
    assert_eq!(desk.read(100).unwrap(), b"echo\n");
    assert_eq!(desk.read(100), Err(Errno::EAGAIN));
    assert_eq!(desk.write(b"a\nb"), Ok(3));
    assert_eq!(desk.sent(), b"a\r\nb");
}

#[test]
fn output_waits_for_the_port_and_nothing_is_lost_or_doubled() {
    let desk = desk(10);
    let text: Vec<u8> = (0..600).map(|i| if i % 7 == 0 { b'\n' } else { b'a' + (i % 26) as u8 }).collect();
    let mut written = 0;
    let mut shown = Vec::new();
    while written < text.len() {
        match desk.write(&text[written..]) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error, Errno::EAGAIN);
                assert!(!desk.terminal.readiness().1);
                desk.grow(13);
            }
        }
        shown.extend(desk.sent());
    }
    let expected: Vec<u8> =
        text.iter().flat_map(|&b| if b == b'\n' { b"\r\n".to_vec() } else { alloc::vec![b] }).collect();
    assert_eq!(shown, expected);
}

#[test]
fn echo_waits_too_and_goes_before_later_output() {
    let desk = desk(2);
    desk.terminal.receive(b"abcd");
    assert_eq!((desk.sent(), desk.write(b"x")), (b"ab".to_vec(), Err(Errno::EAGAIN)));
    desk.grow(100);
    assert_eq!(desk.write(b"x"), Ok(1));
    assert_eq!(desk.sent(), b"cdx");
}

#[test]
fn the_stop_character_holds_output_and_the_start_character_lets_it_go() {
    let desk = desk(1000);
    desk.terminal.receive(b"\x13");
    assert_eq!(desk.write(b"x"), Err(Errno::EAGAIN));
    desk.terminal.receive(b"hi");
    assert_eq!(desk.sent(), b"");
    desk.terminal.receive(b"\x11");
    assert_eq!((desk.write(b"x"), desk.sent()), (Ok(1), b"hix".to_vec()));
}

#[test]
fn switching_flow_control_off_restarts_output() {
    let desk = desk(1000);
    desk.terminal.set_stopped(true);
    let mut termios = desk.terminal.termios();
    termios.input &= !abi::IXON;
    desk.terminal.set_termios(termios);
    assert_eq!(desk.write(b"x"), Ok(1));
}

#[test]
fn what_there_is_no_room_for_waits_in_the_backlog() {
    let desk = desk(1 << 20);
    desk.raw(1, 0);
    let typed: Vec<u8> = (0..CAPACITY + 2000).map(|i| i as u8).collect();
    desk.terminal.receive(&typed);
    let mut got = Vec::new();
    while let Ok(bytes) = desk.read(700) {
        got.extend(bytes);
    }
    assert_eq!(got, typed);
}

#[test]
fn a_raw_read_waits_for_its_minimum_or_its_length() {
    let desk = desk(1000);
    desk.raw(3, 0);
    desk.terminal.receive(b"ab");
    assert_eq!(desk.read(10), Err(Errno::EAGAIN));
    assert!(!desk.terminal.readiness().0);
    assert_eq!(desk.read(2).unwrap(), b"ab");
    desk.terminal.receive(b"abcd");
    assert_eq!(desk.read(10).unwrap(), b"abcd");
    desk.raw(0, 0);
    assert_eq!(desk.read(10).unwrap(), b"");
}

#[test]
fn changing_the_settings_can_make_a_half_line_readable() {
    let desk = desk(1000);
    desk.terminal.receive(b"ab");
    assert!(!desk.terminal.readiness().0);
    desk.raw(1, 0);
    assert_eq!(desk.read(10).unwrap(), b"ab");
}

#[test]
fn flushing() {
    let desk = desk(1000);
    desk.terminal.receive(b"one\ntwo");
    desk.terminal.flush_input();
    assert_eq!(desk.terminal.readable_len(), 0);
    desk.terminal.receive(b"x\n");
    assert_eq!(desk.read(10).unwrap(), b"x\n");
}
