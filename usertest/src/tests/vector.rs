//! The flags of one read or write (preadv2(2), pwritev2(2)).

use super::tests;
use crate::call;
use crate::check::{fails, must};
use crate::sys::*;
use libc::{O_APPEND, O_CREAT, O_RDWR};

tests!("vector":
    append_writes_at_the_end_and_moves_the_files_own_offset_alone,
    no_append_writes_where_it_was_asked_to,
    unknown_flags_are_eopnotsupp,
    no_wait_is_eagain_where_it_would_wait,
    no_wait_is_eopnotsupp_where_it_cannot_be_promised,
);

const APPEND: i32 = libc::RWF_APPEND;
const NO_WAIT: i32 = libc::RWF_NOWAIT;
const NO_APPEND: i32 = 0x20;
/// The offset that stands for the file's own.
const OWN: i64 = -1;

fn write_with(fd: Fd, data: &[u8], offset: i64, flags: i32) -> Result<usize> {
    let parts = [data.word(), data.len()];
    call!(SYS_pwritev2, fd, &parts, 1, offset, 0, flags)
}

fn read_with(fd: Fd, offset: i64, flags: i32) -> Result<usize> {
    let mut buffer = [0u8; 8];
    let parts = [Arg::word(&mut buffer), 8];
    call!(SYS_preadv2, fd, &parts, 1, offset, 0, flags)
}

fn offset_of(fd: Fd) -> i64 {
    must(lseek(fd, 0, libc::SEEK_CUR))
}

fn append_writes_at_the_end_and_moves_the_files_own_offset_alone() {
    must(write_file(c"file", b"one"));
    let fd = must(open(c"file", O_RDWR, 0));
    assert_eq!(must(write_with(fd, b"two", 0, APPEND)), 3);
    assert_eq!(offset_of(fd), 0);
    assert_eq!(must(write_with(fd, b"three", OWN, APPEND)), 5);
    assert_eq!(offset_of(fd), 11);
    assert_eq!(must(read_file(c"file")), b"onetwothree");
    assert_eq!(must(read_with(fd, 0, APPEND)), 8);
    fails(write_with(fd, b"x", -2, APPEND), libc::EINVAL);
    let (_reader, writer) = must(pipe());
    assert_eq!(must(write_with(writer, b"x", OWN, APPEND)), 1);
    fails(write_with(writer, b"x", 0, APPEND), libc::ESPIPE);
}

fn no_append_writes_where_it_was_asked_to() {
    must(write_file(c"file", b"0123456789"));
    let fd = must(open(c"file", O_RDWR | O_APPEND | O_CREAT, 0));
    assert_eq!(must(write_with(fd, b"AB", 4, NO_APPEND)), 2);
    assert_eq!(must(write_with(fd, b"CD", OWN, NO_APPEND)), 2);
    assert_eq!(offset_of(fd), 2);
    assert_eq!(must(write_with(fd, b"E", 0, 0)), 1);
    assert_eq!(must(read_file(c"file")), b"CD23AB6789E");
    fails(write_with(fd, b"x", 0, APPEND | NO_APPEND), libc::EINVAL);
}

fn unknown_flags_are_eopnotsupp() {
    let fd = must(scratch_file(c"file", 8));
    fails(read_with(fd, 0, 1 << 30), libc::EOPNOTSUPP);
    fails(write_with(fd, b"x", 0, 1 << 30), libc::EOPNOTSUPP);
    fails(write_with(fd, b"x", -2, 1 << 30), libc::EINVAL);
    fails(write_with(77, b"x", 0, 1 << 30), libc::EBADF);
    // Only what has something to do looks at them.
    assert_eq!(must(write_with(fd, b"", 0, 1 << 30)), 0);
}

fn no_wait_is_eagain_where_it_would_wait() {
    let (reader, writer) = must(pipe());
    fails(read_with(reader, OWN, NO_WAIT), libc::EAGAIN);
    must(fcntl(writer, libc::F_SETPIPE_SZ, 4096));
    let much = [7u8; 6000];
    assert_eq!(must(write_with(writer, &much, OWN, NO_WAIT)), 4096);
    fails(write_with(writer, &much, OWN, NO_WAIT), libc::EAGAIN);
    assert_eq!(must(read_with(reader, OWN, NO_WAIT)), 8);
    let timer = must(call!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0)) as Fd;
    let event = must(call!(SYS_eventfd2, 0, 0)) as Fd;
    let mut ends = [0i32; 2];
    must(call!(SYS_socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, &mut ends));
    for fd in [timer, event, ends[0]] {
        fails(read_with(fd, OWN, NO_WAIT), libc::EAGAIN);
    }
    assert_eq!(must(read_with(must(open(c"/dev/zero", O_RDWR, 0)), OWN, NO_WAIT)), 8);
}

fn no_wait_is_eopnotsupp_where_it_cannot_be_promised() {
    let fd = must(scratch_file(c"file", 8));
    fails(read_with(fd, 0, NO_WAIT), libc::EOPNOTSUPP);
    fails(write_with(fd, b"x", 0, NO_WAIT), libc::EOPNOTSUPP);
    let terminal = must(open(c"/dev/ptmx", O_RDWR, 0));
    fails(read_with(terminal, OWN, NO_WAIT), libc::EOPNOTSUPP);
    let full = must(open(c"/dev/full", O_RDWR, 0));
    fails(read_with(full, OWN, NO_WAIT), libc::EOPNOTSUPP);
}
