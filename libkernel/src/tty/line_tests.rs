//! What is typed, what is shown, and what is read: byte for byte, as Linux's N_TTY does it.

use alloc::string::String;
use alloc::vec::Vec;

use linux_raw_sys::general as abi;

use super::input::CAPACITY;
use super::line::{Effects, KeySignal, LineDiscipline};
use super::termios::Termios;
use crate::io::SliceSink;

#[derive(Default)]
struct Screen {
    shown: Vec<u8>,
    signals: Vec<KeySignal>,
    stopped: bool,
    discarded: usize,
    woken: usize,
}

impl Effects for Screen {
    fn output(&mut self, bytes: &[u8]) {
        self.shown.extend_from_slice(bytes);
    }
    fn signal(&mut self, signal: KeySignal) {
        self.signals.push(signal);
    }
    fn discard_output(&mut self) {
        self.discarded += 1;
    }
    fn is_stopped(&self) -> bool {
        self.stopped
    }
    fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }
    fn readable(&mut self) {
        self.woken += 1;
    }
}

struct Desk {
    termios: Termios,
    line: LineDiscipline,
    screen: Screen,
}

impl Desk {
    fn new() -> Self {
        Self { termios: Termios::new(), line: LineDiscipline::new().unwrap(), screen: Screen::default() }
    }

    fn with(set: impl FnOnce(&mut Termios)) -> Self {
        let mut desk = Self::new();
        set(&mut desk.termios);
        desk
    }

    fn type_in(&mut self, bytes: &[u8]) -> usize {
        self.line.receive(&self.termios, bytes, &mut self.screen)
    }

    fn change(&mut self, set: impl FnOnce(&mut Termios)) {
        let old = self.termios;
        set(&mut self.termios);
        self.line.settings_changed(&old, &self.termios);
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = alloc::vec![0; len];
        let mut sink = SliceSink::new(&mut buffer);
        let count = self.line.read(&self.termios, &mut sink).unwrap();
        buffer.truncate(count);
        buffer
    }

    fn shown(&mut self) -> String {
        String::from_utf8_lossy(&core::mem::take(&mut self.screen.shown)).into_owned()
    }
}

/// Settings, typed, shown, all lines read (end of file shows as an empty one).
type Row = (&'static str, fn(&mut Termios), &'static [u8], &'static str, &'static [&'static [u8]]);

const TABLE: &[Row] = &[
    ("plain line", |_| {}, b"ls\r", "ls\r\n", &[b"ls\n"]),
    ("erase", |_| {}, b"lx\x7fs\n", "lx\x08 \x08s\r\n", &[b"ls\n"]),
    ("erase on an empty line", |_| {}, b"\x7f\x7fa\n", "a\r\n", &[b"a\n"]),
    ("erase stops at the previous line", |_| {}, b"a\n\x7f\n", "a\r\n\r\n", &[b"a\n", b"\n"]),
    ("erase without ECHOE shows the key", |t| t.local &= !abi::ECHOE, b"ab\x7f\n", "ab^?\r\n", &[b"a\n"]),
    ("control characters are shown with a caret", |_| {}, b"\x01b\n", "^Ab\r\n", &[b"\x01b\n"]),
    ("and take two cells to erase", |_| {}, b"\x01\x7f\n", "^A\x08 \x08\x08 \x08\r\n", &[b"\n"]),
    ("without ECHOCTL they take none", |t| t.local &= !abi::ECHOCTL, b"\x01\x7f\n", "\x01\r\n", &[b"\n"]),
    ("kill", |_| {}, b"ab\x15c\n", "ab\x08 \x08\x08 \x08c\r\n", &[b"c\n"]),
    ("kill without ECHOKE", |t| t.local &= !abi::ECHOKE, b"ab\x15c\n", "ab^U\r\nc\r\n", &[b"c\n"]),
    ("kill without ECHOK", |t| t.local &= !abi::ECHOK, b"ab\x15c\n", "ab^Uc\r\n", &[b"c\n"]),
    ("word erase", |_| {}, b"ab cd \x17x\n", "ab cd \x08 \x08\x08 \x08\x08 \x08x\r\n", &[b"ab x\n"]),
    ("word erase needs IEXTEN", |t| t.local &= !abi::IEXTEN, b"a\x17\n", "a^W\r\n", &[b"a\x17\n"]),
    ("reprint", |_| {}, b"ab\x12c\n", "ab^R\r\nabc\r\n", &[b"abc\n"]),
    ("literal next", |_| {}, b"\x16\x03\n", "^\x08^C\r\n", &[b"\x03\n"]),
    ("literal next takes a newline into the line", |_| {}, b"\x16\nb\n", "^\x08\r\nb\r\n", &[b"\nb\n"]),
    ("tab erased at the line's start", |_| {}, b"\t\x7fa\n", "\t\x08\x08\x08\x08\x08\x08\x08\x08a\r\n", &[b"a\n"]),
    ("tab erased behind text", |_| {}, b"abc\t\x7f\n", "abc\t\x08\x08\x08\x08\x08\r\n", &[b"abc\n"]),
    ("tab erased behind a tab", |_| {}, b"\tab\t\x7f\n", "\tab\t\x08\x08\x08\x08\x08\x08\r\n", &[b"\tab\n"]),
    ("ECHOPRT", |t| t.local |= abi::ECHOPRT, b"abc\x7f\x7fd\n", "abc\\cb/d\r\n", &[b"ad\n"]),
    ("no echo", |t| t.local &= !abi::ECHO, b"ab\x7fc\n", "", &[b"ac\n"]),
    ("ECHONL alone", |t| t.local = t.local & !abi::ECHO | abi::ECHONL, b"pw\n", "\r\n", &[b"pw\n"]),
    ("end of file", |_| {}, b"ab\x04\x04c\n", "abc\r\n", &[b"ab", b"", b"c\n"]),
    ("EOL ends a line", |t| t.characters[abi::VEOL as usize] = b';', b"a;b\n", "a;b\r\n", &[b"a;", b"b\n"]),
    ("EOL2 ends a line", |t| t.characters[abi::VEOL2 as usize] = b'|', b"a|", "a|", &[b"a|"]),
    ("INLCR", |t| t.input = abi::INLCR, b"a\n", "a^M", &[]),
    ("IGNCR", |t| t.input |= abi::IGNCR, b"a\rb\n", "ab\r\n", &[b"ab\n"]),
    ("ISTRIP", |t| t.input |= abi::ISTRIP, b"\xe1\n", "a\r\n", &[b"a\n"]),
    ("a wide character goes at once", |t| t.input |= abi::IUTF8, "aé\x7f\n".as_bytes(), "aé\x08 \x08\r\n", &[b"a\n"]),
    ("without IUTF8 by bytes", |t| t.local &= !abi::ECHO, "é\x7f\n".as_bytes(), "", &[b"\xc3\n"]),
    (
        "a switched-off character does nothing",
        |t| t.characters[abi::VINTR as usize] = 0,
        b"\x00\x03\n",
        "^@^C\r\n",
        &[b"\x00\x03\n"],
    ),
];

#[test]
fn typing_editing_and_reading_lines() {
    for (name, set, typed, shown, lines) in TABLE {
        let mut desk = Desk::with(set);
        assert_eq!(desk.type_in(typed), typed.len(), "{name}");
        assert_eq!(desk.shown(), *shown, "{name}");
        for line in *lines {
            assert!(desk.line.is_readable(&desk.termios, 1), "{name}");
            assert_eq!(desk.read(64), *line, "{name}");
        }
        assert!(!desk.line.is_readable(&desk.termios, 1), "{name}");
    }
}

#[test]
fn signal_keys_flush_unless_told_not_to() {
    let mut desk = Desk::new();
    desk.type_in(b"abc\x03\x1c\x1a");
    assert_eq!(desk.screen.signals, [KeySignal::Interrupt, KeySignal::Quit, KeySignal::Suspend]);
    assert_eq!(desk.shown(), "abc^C^\\^Z");
    desk.type_in(b"d\n");
    assert_eq!(desk.read(64), b"d\n");

    let mut desk = Desk::with(|t| t.local |= abi::NOFLSH);
    desk.type_in(b"abc\x03\n");
    assert_eq!(desk.screen.discarded, 0);
    assert_eq!(desk.read(64), b"abc\n");

    let mut desk = Desk::with(|t| t.local &= !abi::ISIG);
    desk.type_in(b"\x03\n");
    assert_eq!((desk.screen.signals.len(), desk.read(64)), (0, b"\x03\n".to_vec()));
}

#[test]
fn flow_control_keys_stop_and_start_output() {
    let mut desk = Desk::new();
    desk.type_in(b"a\x13");
    assert!(desk.screen.stopped);
    desk.type_in(b"b");
    assert!(desk.screen.stopped, "only the start character restarts");
    desk.type_in(b"\x11\n");
    assert!(!desk.screen.stopped);
    assert_eq!(desk.read(64), b"ab\n");

    desk.change(|t| t.input |= abi::IXANY);
    desk.type_in(b"\x13c");
    assert!(!desk.screen.stopped, "any character restarts");
    desk.change(|t| t.input &= !abi::IXON);
    desk.type_in(b"\x13\n");
    assert_eq!(desk.read(64), b"c\x13\n");
}

#[test]
fn a_line_holds_4095_bytes_and_its_newline() {
    let mut desk = Desk::with(|t| t.local &= !abi::ECHO);
    let long = alloc::vec![b'x'; CAPACITY + 500];
    assert_eq!(desk.type_in(&long), long.len(), "an over-long line is taken and cut");
    desk.type_in(b"y\n");
    let line = desk.read(2 * CAPACITY);
    assert_eq!(line.len(), CAPACITY);
    assert_eq!(&line[CAPACITY - 2..], b"x\n");
}

#[test]
fn raw_input_waits_for_room_instead_of_dropping() {
    let mut desk = Desk::with(|t| t.local = 0);
    let long = alloc::vec![b'x'; CAPACITY + 500];
    assert_eq!(desk.type_in(&long), CAPACITY - 1);
    assert_eq!(desk.read(100).len(), 100);
    assert_eq!(desk.type_in(&long), 100);
}

#[test]
fn a_long_line_is_read_in_pieces() {
    let mut desk = Desk::new();
    desk.type_in(b"abcdef\ngh\n");
    assert_eq!(desk.read(4), b"abcd");
    assert_eq!(desk.read(64), b"ef\n");
    assert_eq!(desk.read(64), b"gh\n");
}

#[test]
fn an_end_of_file_behind_a_filled_buffer_is_not_read_again() {
    let mut desk = Desk::new();
    desk.type_in(b"abc\x04");
    assert_eq!(desk.read(3), b"abc");
    assert!(!desk.line.is_readable(&desk.termios, 1));
}

#[test]
fn raw_mode_reads_what_is_there() {
    let mut desk = Desk::with(|t| {
        t.local = 0;
        t.input = 0;
    });
    desk.type_in(b"a\rb\x03");
    assert!(desk.line.is_readable(&desk.termios, 4));
    assert!(!desk.line.is_readable(&desk.termios, 5));
    assert_eq!(desk.read(2), b"a\r");
    assert_eq!(desk.read(64), b"b\x03");
}

#[test]
fn switching_to_raw_makes_a_half_line_readable() {
    let mut desk = Desk::new();
    desk.type_in(b"abc");
    assert!(!desk.line.is_readable(&desk.termios, 1));
    desk.change(|t| t.local &= !abi::ICANON);
    assert_eq!(desk.read(64), b"abc");
}

#[test]
fn switching_to_canonical_makes_one_line_of_what_waits() {
    let mut desk = Desk::with(|t| t.local &= !abi::ICANON);
    desk.type_in(b"abc");
    desk.change(|t| t.local |= abi::ICANON);
    assert!(desk.line.is_readable(&desk.termios, 1));
    desk.type_in(b"d\n");
    assert_eq!(desk.read(64), b"abc");
    assert_eq!(desk.read(64), b"d\n");
}

#[test]
fn an_end_of_file_typed_in_canonical_mode_reads_as_nul_in_raw_mode() {
    let mut desk = Desk::new();
    desk.type_in(b"a\x04");
    desk.change(|t| t.local &= !abi::ICANON);
    assert_eq!(desk.read(64), b"a\0");
}

#[test]
fn parmrk_doubles_an_all_ones_byte() {
    let mut desk = Desk::with(|t| {
        t.input = abi::PARMRK;
        t.local = 0;
    });
    desk.type_in(b"\xffa");
    assert_eq!(desk.read(64), b"\xff\xffa");
}

#[test]
fn a_break_interrupts_or_reads_as_nul() {
    let mut desk = Desk::with(|t| t.input |= abi::BRKINT);
    desk.line.receive_break(&desk.termios, &mut desk.screen);
    assert_eq!(desk.screen.signals, [KeySignal::Interrupt]);

    let mut desk = Desk::with(|t| {
        t.local = 0;
        t.input = abi::PARMRK;
    });
    desk.line.receive_break(&desk.termios, &mut desk.screen);
    assert_eq!(desk.read(64), b"\xff\0\0");

    let mut desk = Desk::with(|t| {
        t.local = 0;
        t.input = abi::IGNBRK;
    });
    desk.line.receive_break(&desk.termios, &mut desk.screen);
    assert!(!desk.line.is_readable(&desk.termios, 1));
}

#[test]
fn no_input_whatever_upsets_the_bookkeeping() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut desk = Desk::new();
    for _ in 0..200_000 {
        match random() % 40 {
            0 => desk.change(|t| t.local ^= abi::ICANON),
            1 => {
                let flag = 1 << (random() % 16);
                desk.change(|t| t.local ^= flag & !abi::ICANON);
            }
            2 => {
                let flag = 1 << (random() % 15);
                desk.change(|t| t.input ^= flag);
            }
            3 | 4 => {
                let len = (random() % 5000) as usize;
                assert!(desk.read(len).len() <= len);
            }
            5 => {
                let byte = random() as u8;
                desk.type_in(&alloc::vec![byte; (random() % 3000) as usize]);
            }
            _ => {
                desk.type_in(&[random() as u8 % 0x80]);
            }
        }
        assert!(desk.line.input.len() <= CAPACITY);
        assert!(desk.line.input.finished_len() <= desk.line.input.len());
        desk.screen.shown.clear();
        desk.screen.signals.clear();
    }
}
