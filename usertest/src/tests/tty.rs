//! Terminals: the line discipline over a pair of pseudo-terminals (termios(3), pty(7)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, must};
use crate::sys::*;
use std::ffi::CString;

tests!("tty":
    pty_pair_opens_and_is_named,
    canonical_input_waits_for_the_line,
    echo_goes_back_to_the_master,
    erase_and_kill_edit_the_line,
    end_of_file_ends_a_read,
    output_newline_becomes_two_characters,
    carriage_return_becomes_newline,
    raw_mode_passes_everything,
    minimum_and_time_rule_raw_reads,
    attributes_round_trip,
    closing_the_slave_is_eio_for_the_master,
    a_slave_is_opened_by_its_own_name_only,
    nonblocking_read_is_eagain,
    poll_sees_lines,
    flow_stops_and_starts,
    stdin_of_a_test_is_no_terminal,
);

/// Opens a pair: master, slave.
pub(super) fn pair() -> (Fd, Fd) {
    let master = must(open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY, 0));
    let mut number = u32::MAX;
    must(call!(SYS_ioctl, master, libc::TIOCSPTLCK as u32, &0i32));
    must(call!(SYS_ioctl, master, libc::TIOCGPTN as u32, &mut number));
    let path = CString::new(format!("/dev/pts/{number}")).unwrap_or_default();
    (master, must(open(&path, libc::O_RDWR | libc::O_NOCTTY, 0)))
}

/// The kernel's `struct termios`: four flag words, the line, 19 control characters.
type Termios = [u8; 36];

fn attributes(fd: Fd) -> Termios {
    let mut bytes = [0u8; 36];
    must(call!(SYS_ioctl, fd, libc::TCGETS as u32, &mut bytes));
    bytes
}

fn set_attributes(fd: Fd, bytes: &Termios) {
    must(call!(SYS_ioctl, fd, libc::TCSETS as u32, bytes));
}

const IFLAG: usize = 0;
const OFLAG: usize = 4;
pub(super) const LFLAG: usize = 12;
const CONTROL: usize = 17;

fn flag(bytes: &Termios, word: usize) -> u32 {
    u32::from_ne_bytes(bytes[word..word + 4].try_into().unwrap_or_default())
}

pub(super) fn change(fd: Fd, word: usize, clear: u32, set: u32) {
    let mut bytes = attributes(fd);
    let value = flag(&bytes, word) & !clear | set;
    bytes[word..word + 4].copy_from_slice(&value.to_ne_bytes());
    set_attributes(fd, &bytes);
}

pub(super) fn type_in(master: Fd, text: &[u8]) {
    must(write_all(master, text));
}

/// Asserts that `wanted` comes; in pieces if need be, since output passes on as it is made.
#[track_caller]
pub(super) fn reads(fd: Fd, wanted: &[u8]) {
    let mut buffer = [0u8; 256];
    let mut n = must(read(fd, &mut buffer));
    while n > 0 && n < wanted.len() {
        n += must(read(fd, &mut buffer[n..]));
    }
    assert_eq!(String::from_utf8_lossy(&buffer[..n]), String::from_utf8_lossy(wanted));
}

fn pty_pair_opens_and_is_named() {
    let (master, slave) = pair();
    let link = must(readlink(&CString::new(format!("/proc/self/fd/{slave}")).unwrap_or_default()));
    assert!(link.starts_with(b"/dev/pts/"), "{}", String::from_utf8_lossy(&link));
    assert_eq!(must(fstat(slave)).st_rdev >> 8, 136);
    attributes(master);
    let (_, other) = pair();
    assert!(must(fstat(other)).st_rdev != must(fstat(slave)).st_rdev);
}

fn canonical_input_waits_for_the_line() {
    let (master, slave) = pair();
    type_in(master, b"hel");
    assert_eq!(must(poll(&[(slave, libc::POLLIN)], 20)), [0]);
    type_in(master, b"lo\nnext\n");
    reads(slave, b"hello\n");
    let mut small = [0u8; 2];
    assert_eq!((must(read(slave, &mut small)), &small), (2, b"ne"));
    reads(slave, b"xt\n");
}

fn echo_goes_back_to_the_master() {
    let (master, slave) = pair();
    type_in(master, b"ab\n");
    reads(master, b"ab\r\n");
    type_in(master, b"\x01\n");
    reads(master, b"^A\r\n");
    change(slave, LFLAG, libc::ECHO, 0);
    type_in(master, b"secret\n");
    assert_eq!(must(poll(&[(master, libc::POLLIN)], 20)), [0]);
}

fn erase_and_kill_edit_the_line() {
    let (master, slave) = pair();
    type_in(master, b"abc\x7f\x7fX\n");
    reads(slave, b"aX\n");
    type_in(master, b"gone\x15kept\n");
    reads(slave, b"kept\n");
    type_in(master, b"two words\x17more\n");
    reads(slave, b"two more\n");
    type_in(master, b"\x7f\x7f\x16\x03\n");
    reads(slave, b"\x03\n");
}

fn end_of_file_ends_a_read() {
    let (master, slave) = pair();
    type_in(master, b"partial\x04");
    reads(slave, b"partial");
    type_in(master, b"\x04");
    reads(slave, b"");
    type_in(master, b"more\n");
    reads(slave, b"more\n");
}

fn output_newline_becomes_two_characters() {
    let (master, slave) = pair();
    must(write(slave, b"one\ntwo"));
    reads(master, b"one\r\ntwo");
    change(slave, OFLAG, libc::OPOST, 0);
    must(write(slave, b"three\n"));
    reads(master, b"three\n");
}

fn carriage_return_becomes_newline() {
    let (master, slave) = pair();
    type_in(master, b"line\r");
    reads(slave, b"line\n");
    change(slave, IFLAG, libc::ICRNL, 0);
    type_in(master, b"a\rb\n");
    reads(slave, b"a\rb\n");
}

fn raw(slave: Fd) {
    change(slave, LFLAG, libc::ICANON | libc::ECHO | libc::ISIG, 0);
}

fn raw_mode_passes_everything() {
    let (master, slave) = pair();
    raw(slave);
    type_in(master, b"\x03\x7f\x04x");
    reads(slave, b"\x03\x7f\x04x");
}

fn minimum_and_time_rule_raw_reads() {
    let (master, slave) = pair();
    raw(slave);
    let set = |minimum: u8, tenths: u8| {
        let mut bytes = attributes(slave);
        bytes[CONTROL + libc::VMIN] = minimum;
        bytes[CONTROL + libc::VTIME] = tenths;
        set_attributes(slave, &bytes);
    };
    set(0, 0);
    reads(slave, b"");
    set(0, 1);
    let start = now();
    reads(slave, b"");
    assert!(now() - start >= 90 * MS);
    set(3, 0);
    type_in(master, b"ab");
    let child = spawn(|| i32::from(read(slave, &mut [0u8; 8]) != Ok(3)));
    assert!(wait_for_state(child, "S"));
    type_in(master, b"c");
    exits(child, 0);
}

fn attributes_round_trip() {
    let (_master, slave) = pair();
    let before = attributes(slave);
    let lflag = libc::ICANON | libc::ECHO | libc::ISIG | libc::IEXTEN;
    assert_eq!(flag(&before, LFLAG) & lflag, lflag);
    assert_eq!((before[CONTROL + libc::VINTR], before[CONTROL + libc::VEOF]), (3, 4));
    let mut changed = before;
    changed[CONTROL + libc::VINTR] = 7;
    set_attributes(slave, &changed);
    assert_eq!(attributes(slave), changed);
    must(call!(SYS_ioctl, slave, libc::TCSETSW as u32, &before));
    must(call!(SYS_ioctl, slave, libc::TCSETSF as u32, &before));
    assert_eq!(attributes(slave), before);
    fails(call!(SYS_ioctl, slave, libc::TCGETS as u32, 8), libc::EFAULT);
}

fn closing_the_slave_is_eio_for_the_master() {
    let (master, slave) = pair();
    must(write(slave, b"last words"));
    must(close(slave));
    reads(master, b"last words");
    fails(read(master, &mut [0u8; 4]), libc::EIO);
    assert_eq!(must(poll(&[(master, libc::POLLIN)], 0))[0] & libc::POLLHUP, libc::POLLHUP);
}

fn a_slave_is_opened_by_its_own_name_only() {
    let (master, slave) = pair();
    let path = CString::new(format!("/proc/self/fd/{slave}")).unwrap_or_default();
    let open_again = || open(&path, libc::O_RDWR | libc::O_NOCTTY, 0);
    must(close(must(open_again())));
    must(call!(SYS_mknodat, libc::AT_FDCWD, c"node", libc::S_IFCHR | 0o666, must(fstat(slave)).st_rdev));
    fails(open(c"node", libc::O_RDWR | libc::O_NOCTTY, 0), libc::EIO);
    must(close(master));
    // The next pair may get the number.
    let _other = pair();
    fails(open_again(), libc::EIO);
}

fn nonblocking_read_is_eagain() {
    let (master, slave) = pair();
    must(fcntl(slave, libc::F_SETFL, libc::O_NONBLOCK as usize));
    fails(read(slave, &mut [0u8; 4]), libc::EAGAIN);
    must(fcntl(master, libc::F_SETFL, libc::O_NONBLOCK as usize));
    fails(read(master, &mut [0u8; 4]), libc::EAGAIN);
}

fn poll_sees_lines() {
    let (master, slave) = pair();
    let events = libc::POLLIN | libc::POLLOUT;
    assert_eq!(must(poll(&[(slave, events)], 0)), [libc::POLLOUT]);
    let child = spawn(|| {
        sleep_ms(30);
        type_in(master, b"line\n");
        0
    });
    assert_eq!(must(poll(&[(slave, libc::POLLIN)], 5000)), [libc::POLLIN]);
    exits(child, 0);
    let mut count = -1i32;
    must(call!(SYS_ioctl, slave, libc::FIONREAD as u32, &mut count));
    assert_eq!(count, 5);
    must(call!(SYS_ioctl, slave, libc::TCFLSH as u32, libc::TCIFLUSH));
    assert_eq!(must(poll(&[(slave, libc::POLLIN)], 0)), [0]);
}

fn flow_stops_and_starts() {
    let (master, slave) = pair();
    type_in(master, b"\x13");
    sleep_ms(30);
    let child = spawn(|| must(write(slave, b"held")) as i32);
    assert_eq!(must(poll(&[(master, libc::POLLIN)], 50)), [0], "output goes on after ^S");
    type_in(master, b"\x11");
    reads(master, b"held");
    exits(child, 4);
}

fn stdin_of_a_test_is_no_terminal() {
    fails(call!(SYS_ioctl, 0, libc::TCGETS as u32, &mut [0u8; 36]), libc::ENOTTY);
}
