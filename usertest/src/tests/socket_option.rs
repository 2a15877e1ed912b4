//! Unix sockets: options, types, and what a descriptor of one is to other calls (unix(7), socket(7)).

use super::tests;
use crate::call;
use crate::check::{fails, in_child, must, within};
use crate::sys::*;
use libc::{MSG_DONTWAIT, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};

tests!("socket":
    receive_timeout_is_eagain_and_holds_for_read,
    send_timeout_is_eagain,
    signal_interrupts_a_receiver_with_a_timeout,
    options_of_a_new_socket,
    buffer_sizes_are_doubled_and_limited,
    senders_buffer_is_the_limit_and_not_the_receivers,
    fionread_counts_what_a_read_gives,
    is_a_socket_to_fstat_and_in_proc,
    flags_of_the_type_are_those_of_the_descriptor,
    other_families_and_types_are_refused,
    what_is_no_socket_is_enotsock,
    seek_is_espipe_and_reopening_is_enxio,
);

fn set_timeout(fd: Fd, name: i32, ms: i64) {
    must(set_option(fd, name, &[ms / 1000, ms % 1000 * 1000]));
}

fn receive_timeout_is_eagain_and_holds_for_read() {
    let (_a, b) = must(socket_pair(SOCK_STREAM));
    set_timeout(b, libc::SO_RCVTIMEO, 40);
    let start = now();
    fails(read(b, &mut [0; 1]), libc::EAGAIN);
    within(now() - start, 36 * MS, 3 * SECOND, "nanoseconds until read gave up");
    fails(recv(b, &mut [0; 1], 0), libc::EAGAIN);
    fails(set_option(b, libc::SO_RCVTIMEO, &[0i64, 1_000_000]), libc::EDOM);
    let (mut value, mut length) = ([9i64; 2], 16u32);
    must(call!(SYS_getsockopt, b, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &mut value, &mut length));
    assert_eq!((value, length), ([0, 40_000], 16));
}

fn send_timeout_is_eagain() {
    let (a, _b) = must(socket_pair(SOCK_STREAM));
    set_timeout(a, libc::SO_SNDTIMEO, 40);
    let mut last = Ok(1);
    while last.is_ok() {
        last = send(a, &[0; 4096], 0);
    }
    fails(last, libc::EAGAIN);
    fails(write(a, &[0; 4096]), libc::EAGAIN);
}

fn signal_interrupts_a_receiver_with_a_timeout() {
    in_child(|| {
        must(on_signal(libc::SIGALRM, record, libc::SA_RESTART));
        let (_a, b) = must(socket_pair(SOCK_STREAM));
        set_timeout(b, libc::SO_RCVTIMEO, 5000);
        alarm_in(30);
        fails(read(b, &mut [0; 1]), libc::EINTR);
        alarm_in(30);
        fails(recv(b, &mut [0; 1], 0), libc::EINTR);
        assert_eq!(seen(), 2);
    });
}

fn options_of_a_new_socket() {
    let fd = must(socket(SOCK_SEQPACKET));
    let wanted = [
        (libc::SO_TYPE, SOCK_SEQPACKET),
        (libc::SO_DOMAIN, libc::AF_UNIX),
        (libc::SO_PROTOCOL, 0),
        (libc::SO_ERROR, 0),
        (libc::SO_SNDBUF, 212_992),
        (libc::SO_RCVBUF, 212_992),
        (libc::SO_ACCEPTCONN, 0),
        (libc::SO_PASSCRED, 0),
        (libc::SO_RCVLOWAT, 1),
    ];
    for (name, value) in wanted {
        assert_eq!(must(option(fd, name)), value, "option {name}");
    }
    fails(option(fd, 9999), libc::ENOPROTOOPT);
    fails(call!(SYS_getsockopt, fd, libc::IPPROTO_TCP, 1, &mut 0i32, &mut 4u32), libc::EOPNOTSUPP);
    fails(call!(SYS_setsockopt, fd, libc::SOL_SOCKET, libc::SO_PASSCRED, &1i32, 3), libc::EINVAL);
    fails(set_option(fd, libc::SO_TYPE, &1i32), libc::ENOPROTOOPT);
}

fn buffer_sizes_are_doubled_and_limited() {
    let fd = must(socket(SOCK_STREAM));
    for (asked, got) in [(50_000, 100_000), (1, 4608), (10_000_000, 425_984)] {
        must(set_option(fd, libc::SO_SNDBUF, &asked));
        assert_eq!(must(option(fd, libc::SO_SNDBUF)), got);
    }
}

/// The bytes that go into a stream before it is full.
fn fill(fd: Fd) -> usize {
    let mut total = 0;
    while let Ok(count) = send(fd, &[1; 2000], MSG_DONTWAIT) {
        total += count;
    }
    total
}

fn senders_buffer_is_the_limit_and_not_the_receivers() {
    for (option_name, size, low, high) in [(libc::SO_RCVBUF, 2304, 60_000, 400_000), (libc::SO_SNDBUF, 4608, 1, 20_000)]
    {
        let (a, b) = must(socket_pair(SOCK_STREAM));
        let limited = if option_name == libc::SO_RCVBUF { b } else { a };
        must(set_option(limited, option_name, &1i32));
        assert_eq!(must(option(limited, option_name)), size);
        within(fill(a), low, high, "bytes in a full stream");
    }
    let (a, b) = must(socket_pair(SOCK_DGRAM));
    must(set_option(b, libc::SO_RCVBUF, &1i32));
    assert_eq!(must(send(a, &[1; 100_000], MSG_DONTWAIT)), 100_000);
    must(set_option(a, libc::SO_SNDBUF, &1i32));
    fails(send(a, &[1; 10_000], MSG_DONTWAIT), libc::EMSGSIZE);
}

fn fionread_counts_what_a_read_gives() {
    let count = |fd| {
        let mut count = -1i32;
        must(call!(SYS_ioctl, fd, libc::FIONREAD, &mut count));
        count
    };
    for (kind, expected) in [(SOCK_STREAM, 7), (SOCK_DGRAM, 3)] {
        let (a, b) = must(socket_pair(kind));
        assert_eq!(count(b), 0);
        must(write(a, b"abc"));
        must(write(a, b"defg"));
        assert_eq!(count(b), expected);
    }
}

fn is_a_socket_to_fstat_and_in_proc() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let (first, second) = (must(fstat(a)), must(fstat(b)));
    assert_eq!(first.st_mode, libc::S_IFSOCK | 0o777);
    assert_ne!(first.st_ino, second.st_ino);
    let link = format!("/proc/self/fd/{a}\0");
    let path = core::ffi::CStr::from_bytes_with_nul(link.as_bytes()).unwrap_or_default();
    assert_eq!(must(readlink(path)), format!("socket:[{}]", first.st_ino).into_bytes());
    let table = must(read_text(c"/proc/net/unix"));
    let line = format!(" {} ", first.st_ino);
    assert!(table.starts_with("Num       RefCount Protocol Flags    Type St Inode Path\n"));
    assert!(table.lines().any(|found| format!("{found} ").contains(&line)), "{table}");
}

fn flags_of_the_type_are_those_of_the_descriptor() {
    let (a, b) = must(socket_pair(SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC));
    for fd in [a, b] {
        assert_eq!(must(fcntl(fd, libc::F_GETFD, 0)), libc::FD_CLOEXEC as usize);
        assert_eq!(must(fcntl(fd, libc::F_GETFL, 0)), (libc::O_RDWR | libc::O_NONBLOCK) as usize);
    }
    fails(socket(SOCK_STREAM | libc::O_APPEND), libc::EINVAL);
}

fn other_families_and_types_are_refused() {
    fails(call!(SYS_socket, 45, SOCK_STREAM, 0), libc::EAFNOSUPPORT);
    fails(call!(SYS_socket, 1000, SOCK_STREAM, 0), libc::EAFNOSUPPORT);
    fails(call!(SYS_socket, -1, SOCK_STREAM, 0), libc::EAFNOSUPPORT);
    fails(socket(libc::SOCK_RDM), libc::ESOCKTNOSUPPORT);
    fails(socket(11), libc::EINVAL);
    fails(call!(SYS_socket, libc::AF_UNIX, SOCK_STREAM, 7), libc::EPROTONOSUPPORT);
    must(call!(SYS_socket, libc::AF_UNIX, SOCK_STREAM, libc::AF_UNIX));
    assert_eq!(must(option(must(socket(libc::SOCK_RAW)), libc::SO_TYPE)), SOCK_DGRAM);
}

fn what_is_no_socket_is_enotsock() {
    let (reader, _writer) = must(pipe());
    fails(recv(reader, &mut [0; 1], 0), libc::ENOTSOCK);
    fails(listen(reader, 1), libc::ENOTSOCK);
    fails(option(reader, libc::SO_TYPE), libc::ENOTSOCK);
    fails(listen(999, 1), libc::EBADF);
}

fn seek_is_espipe_and_reopening_is_enxio() {
    let (a, _b) = must(socket_pair(SOCK_STREAM));
    fails(lseek(a, 0, libc::SEEK_SET), libc::ESPIPE);
    let link = format!("/proc/self/fd/{a}\0");
    let path = core::ffi::CStr::from_bytes_with_nul(link.as_bytes()).unwrap_or_default();
    fails(open(path, libc::O_RDWR, 0), libc::ENXIO);
}
