//! Unix sockets: pairs, bytes and messages, ends, readiness, options (unix(7), socket(7)).

use super::tests;
use crate::call;
use crate::check::{dies_of, exits, fails, in_child, must, within};
use crate::sys::*;
use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};

tests!("socket":
    pair_carries_bytes_both_ways,
    stream_has_no_message_bounds,
    messages_keep_their_bounds,
    read_of_a_message_drops_the_rest,
    trunc_returns_the_whole_length,
    empty_datagram_arrives,
    peek_leaves_the_bytes,
    waitall_waits_for_all_bytes,
    dontwait_is_eagain,
    stream_ends_when_the_other_side_closes,
    write_after_the_other_side_closed_raises_sigpipe,
    broken_in_the_middle_is_a_short_write,
    nosignal_is_epipe_alone,
    broken_sequenced_packet_is_epipe_without_signal,
    unread_bytes_make_the_other_side_reset,
    datagram_to_a_closed_partner_is_refused,
    shutdown_of_sending_is_the_end_for_the_other_side,
    shutdown_of_receiving_breaks_the_other_side,
    full_stream_blocks_and_goes_on,
    nonblocking_stream_fills_up,
    too_long_a_message_is_emsgsize,
    reader_in_another_process_is_woken,
    poll_tells_both_directions_and_the_end,
    unconnected_stream_polls_hup,
    epoll_edge_reports_each_arrival,
    epoll_hears_of_room_though_it_was_added_before_the_connect,
    vectors_are_gathered_and_scattered,
    splice_goes_through_a_stream,
    receive_timeout_is_eagain_and_holds_for_read,
    send_timeout_is_eagain,
    signal_interrupts_a_receiver_with_a_timeout,
    options_of_a_new_socket,
    buffer_sizes_are_doubled_and_limited,
    fionread_counts_what_a_read_gives,
    is_a_socket_to_fstat_and_in_proc,
    flags_of_the_type_are_those_of_the_descriptor,
    other_families_and_types_are_refused,
    what_is_no_socket_is_enotsock,
    seek_is_espipe_and_reopening_is_enxio,
    bad_pointers_are_efault_and_leak_nothing,
    threads_close_while_others_use_it [30],
    many_writers_and_readers_lose_nothing [30],
);

fn pair_carries_bytes_both_ways() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    must(write(a, b"there"));
    must(write(b, b"and back"));
    let mut buffer = [0u8; 16];
    assert_eq!(must(read(b, &mut buffer)), 5);
    assert_eq!(&buffer[..5], b"there");
    assert_eq!(must(read(a, &mut buffer)), 8);
    assert_eq!(&buffer[..8], b"and back");
}

fn stream_has_no_message_bounds() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    must(write(a, b"abc"));
    must(write(a, b"def"));
    let mut buffer = [0u8; 16];
    assert_eq!(must(recv(b, &mut buffer[..4], 0)), 4);
    assert_eq!(must(recv(b, &mut buffer[4..], 0)), 2);
    assert_eq!(&buffer[..6], b"abcdef");
}

fn messages_keep_their_bounds() {
    for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = must(socket_pair(kind));
        must(send(a, b"first", 0));
        must(send(a, b"second", 0));
        let mut buffer = [0u8; 64];
        assert_eq!(must(recv(b, &mut buffer, 0)), 5);
        assert_eq!(must(recv(b, &mut buffer, 0)), 6);
        assert_eq!(&buffer[..6], b"second");
    }
}

fn read_of_a_message_drops_the_rest() {
    let (a, b) = must(socket_pair(SOCK_SEQPACKET));
    must(write(a, b"long message"));
    must(write(a, b"next"));
    let mut buffer = [0u8; 4];
    assert_eq!(must(read(b, &mut buffer)), 4);
    assert_eq!(&buffer, b"long");
    assert_eq!(must(read(b, &mut buffer)), 4);
    assert_eq!(&buffer, b"next");
}

fn trunc_returns_the_whole_length() {
    let (a, b) = must(socket_pair(SOCK_DGRAM));
    must(send(a, &[7; 1000], 0));
    assert_eq!(must(recv(b, &mut [0; 10], MSG_TRUNC | MSG_PEEK)), 1000);
    let message = must(recv_message(b, 10, 0, 0));
    assert_eq!((message.returned, message.flags & MSG_TRUNC), (10, MSG_TRUNC));
}

fn empty_datagram_arrives() {
    let (a, b) = must(socket_pair(SOCK_DGRAM));
    assert_eq!(must(write(a, b"")), 0);
    must(write(a, b"x"));
    assert_eq!(must(read(b, &mut [0; 4])), 0);
    assert_eq!(must(read(b, &mut [0; 4])), 1);
}

fn peek_leaves_the_bytes() {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = must(socket_pair(kind));
        must(send(a, b"look", 0));
        let mut buffer = [0u8; 8];
        for flags in [MSG_PEEK, MSG_PEEK, 0] {
            assert_eq!(must(recv(b, &mut buffer, flags)), 4);
            assert_eq!(&buffer[..4], b"look");
        }
        fails(recv(b, &mut buffer, MSG_DONTWAIT), libc::EAGAIN);
    }
}

fn waitall_waits_for_all_bytes() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let child = spawn(|| {
        for piece in [&b"ab"[..], b"cd", b"e"] {
            must(write(a, piece));
            sleep_ms(20);
        }
        0
    });
    let mut buffer = [0u8; 5];
    assert_eq!(must(recv(b, &mut buffer, MSG_WAITALL)), 5);
    assert_eq!(&buffer, b"abcde");
    must(write(a, b"z"));
    must(shutdown(a, libc::SHUT_WR));
    assert_eq!(must(recv(b, &mut buffer, MSG_WAITALL)), 1, "the end comes first");
    exits(child, 0);
}

fn dontwait_is_eagain() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    fails(recv(b, &mut [0; 4], MSG_DONTWAIT), libc::EAGAIN);
    while send(a, &[0; 4096], MSG_DONTWAIT).is_ok() {}
    fails(send(a, &[0; 4096], MSG_DONTWAIT), libc::EAGAIN);
}

fn stream_ends_when_the_other_side_closes() {
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let (a, b) = must(socket_pair(kind));
        must(write(a, b"last"));
        must(close(a));
        assert_eq!(must(read(b, &mut [0; 9])), 4);
        assert_eq!(must(read(b, &mut [0; 9])), 0);
        assert_eq!(must(read(b, &mut [0; 9])), 0);
    }
}

fn write_after_the_other_side_closed_raises_sigpipe() {
    must(set_disposition(libc::SIGPIPE, libc::SIG_DFL));
    dies_of(libc::SIGPIPE, || {
        let (a, b) = must(socket_pair(SOCK_STREAM));
        must(close(b));
        let _ = write(a, b"x");
    });
    dies_of(libc::SIGPIPE, || {
        let (a, b) = must(socket_pair(SOCK_STREAM));
        must(close(b));
        let _ = send(a, b"x", 0);
    });
}

fn broken_in_the_middle_is_a_short_write() {
    must(set_disposition(libc::SIGPIPE, libc::SIG_DFL));
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let child = spawn(|| {
        must(close(b));
        let written = must(write(a, &vec![1; 1_000_000]));
        i32::from(written == 0 || written == 1_000_000)
    });
    assert!(wait_for_state(child, "S"), "the writer does not sleep");
    must(close(b));
    exits(child, 0);
}

fn nosignal_is_epipe_alone() {
    must(set_disposition(libc::SIGPIPE, libc::SIG_DFL));
    let (a, b) = must(socket_pair(SOCK_STREAM));
    must(close(b));
    fails(send(a, b"x", MSG_NOSIGNAL), libc::EPIPE);
}

fn broken_sequenced_packet_is_epipe_without_signal() {
    must(set_disposition(libc::SIGPIPE, libc::SIG_DFL));
    let (a, b) = must(socket_pair(SOCK_SEQPACKET));
    must(close(b));
    fails(write(a, b"x"), libc::EPIPE);
    fails(send(a, b"x", 0), libc::EPIPE);
}

fn unread_bytes_make_the_other_side_reset() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    must(write(a, b"never read"));
    must(close(b));
    fails(read(a, &mut [0; 4]), libc::ECONNRESET);
    assert_eq!(must(read(a, &mut [0; 4])), 0);
    let (a, b) = must(socket_pair(SOCK_STREAM));
    must(write(a, b"never read"));
    must(close(b));
    assert_eq!(must(option(a, libc::SO_ERROR)), libc::ECONNRESET);
    assert_eq!(must(option(a, libc::SO_ERROR)), 0);
}

fn datagram_to_a_closed_partner_is_refused() {
    let (a, b) = must(socket_pair(SOCK_DGRAM));
    must(close(b));
    fails(write(a, b"x"), libc::ECONNREFUSED);
    fails(write(a, b"x"), libc::ENOTCONN);
}

fn shutdown_of_sending_is_the_end_for_the_other_side() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    must(write(a, b"x"));
    must(shutdown(a, libc::SHUT_WR));
    fails(send(a, b"y", MSG_NOSIGNAL), libc::EPIPE);
    assert_eq!(must(read(b, &mut [0; 4])), 1);
    assert_eq!(must(read(b, &mut [0; 4])), 0);
    must(write(b, b"the other way"));
    assert_eq!(must(read(a, &mut [0; 20])), 13);
    fails(shutdown(a, 3), libc::EINVAL);
}

fn shutdown_of_receiving_breaks_the_other_side() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    must(write(a, b"x"));
    must(shutdown(b, libc::SHUT_RD));
    fails(send(a, b"y", MSG_NOSIGNAL), libc::EPIPE);
    assert_eq!(must(read(b, &mut [0; 4])), 1);
    assert_eq!(must(read(b, &mut [0; 4])), 0);
}

fn full_stream_blocks_and_goes_on() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let data: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let child = spawn(|| {
        must(close(b));
        i32::from(write(a, &data) != Ok(data.len()))
    });
    must(close(a));
    assert!(wait_for_state(child, "S"), "the writer does not sleep");
    assert!(must(read_to_end(b)) == data);
    exits(child, 0);
}

fn nonblocking_stream_fills_up() {
    let (a, b) = must(socket_pair(SOCK_STREAM | libc::SOCK_NONBLOCK));
    let mut total = 0;
    while let Ok(count) = write(a, &[1; 3000]) {
        total += count;
    }
    within(total, 60_000, 400_000, "bytes in a full stream");
    fails(write(a, b"x"), libc::EAGAIN);
    let mut got = 0;
    while let Ok(count) = read(b, &mut [0; 5000]) {
        got += count;
    }
    assert_eq!(got, total);
}

fn too_long_a_message_is_emsgsize() {
    let size = 212_992;
    for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, _b) = must(socket_pair(kind));
        fails(send(a, &vec![0; size], 0), libc::EMSGSIZE);
        assert_eq!(must(send(a, &vec![0; size - 32], 0)), size - 32);
    }
}

fn reader_in_another_process_is_woken() {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = must(socket_pair(kind));
        let child = spawn(|| i32::from(read(b, &mut [0u8; 8]) != Ok(3)));
        assert!(wait_for_state(child, "S"), "the reader does not sleep");
        must(write(a, b"abc"));
        exits(child, 0);
    }
}

fn events(fd: Fd) -> i16 {
    let asked = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP;
    must(poll(&[(fd, asked)], 0)).first().copied().unwrap_or(0)
}

fn poll_tells_both_directions_and_the_end() {
    let (a, b) = must(socket_pair(SOCK_STREAM | libc::SOCK_NONBLOCK));
    assert_eq!(events(b), libc::POLLOUT);
    must(write(a, b"x"));
    assert_eq!(events(b), libc::POLLIN | libc::POLLOUT);
    while write(a, &[0; 4096]).is_ok() {}
    assert_eq!(events(a), 0);
    while read(b, &mut [0; 65536]).is_ok() {}
    assert_eq!(events(a), libc::POLLOUT);
    must(shutdown(a, libc::SHUT_WR));
    assert_eq!(events(b), libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP);
    must(close(a));
    assert_eq!(events(b), libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP | libc::POLLHUP);
}

fn unconnected_stream_polls_hup() {
    assert_eq!(events(must(socket(SOCK_STREAM))), libc::POLLOUT | libc::POLLHUP);
    assert_eq!(events(must(socket(SOCK_DGRAM))), libc::POLLOUT);
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event {
    events: u32,
    data: u64,
}

fn watch(fd: Fd, events: i32) -> Fd {
    let set = must(call!(SYS_epoll_create1, 0)) as Fd;
    let event = Event { events: events as u32, data: 1 };
    must(call!(SYS_epoll_ctl, set, libc::EPOLL_CTL_ADD, fd, &event));
    set
}

fn happened(set: Fd) -> u32 {
    let mut event = Event::default();
    must(call!(SYS_epoll_pwait, set, &mut event, 1, 0, 0, 8));
    event.events
}

fn epoll_edge_reports_each_arrival() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let set = watch(b, libc::EPOLLIN | libc::EPOLLET);
    for _ in 0..3 {
        assert_eq!(happened(set), 0);
        must(write(a, b"x"));
        assert_eq!(happened(set), libc::EPOLLIN as u32);
        assert_eq!(happened(set), 0);
    }
    must(close(a));
    assert_ne!(happened(set), 0);
}

fn epoll_hears_of_room_though_it_was_added_before_the_connect() {
    let address = UnixAddress::hidden("room");
    let server = must(listener(SOCK_STREAM, &address, 5));
    let client = must(socket(SOCK_STREAM | libc::SOCK_NONBLOCK));
    let set = watch(client, libc::EPOLLOUT | libc::EPOLLET);
    assert_eq!(happened(set), (libc::EPOLLOUT | libc::EPOLLHUP) as u32);
    must(connect(client, &address));
    let accepted = must(accept(server, libc::SOCK_NONBLOCK));
    while write(client, &[0; 4096]).is_ok() {}
    while happened(set) != 0 {}
    while read(accepted, &mut [0; 65536]).is_ok() {}
    assert_eq!(happened(set), libc::EPOLLOUT as u32);
}

fn vectors_are_gathered_and_scattered() {
    let (a, b) = must(socket_pair(SOCK_DGRAM));
    let part = |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr() as *mut libc::c_void, iov_len: bytes.len() };
    let out = [part(b"one "), part(b""), part(b"message")];
    assert_eq!(must(call!(SYS_writev, a, out.as_ptr(), 3)), 11);
    let (first, second) = ([0u8; 3], [0u8; 20]);
    let vector = [part(&first), part(&second)];
    assert_eq!(must(call!(SYS_readv, b, vector.as_ptr(), 2)), 11);
    assert_eq!((&first, &second[..8]), (b"one", &b" message"[..]));
}

fn splice_goes_through_a_stream() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let (reader, writer) = must(pipe());
    must(write(writer, b"through"));
    assert_eq!(must(call!(SYS_splice, reader, 0, a, 0, 100, 0)), 7);
    assert_eq!(must(call!(SYS_splice, b, 0, writer, 0, 4, 0)), 4);
    let mut buffer = [0u8; 8];
    assert_eq!(must(read(reader, &mut buffer)), 4);
    assert_eq!(&buffer[..4], b"thro");
}

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

fn bad_pointers_are_efault_and_leak_nothing() {
    let before = must(list(c"/proc/self/fd")).len();
    fails(call!(SYS_socketpair, libc::AF_UNIX, SOCK_STREAM, 0, 8), libc::EFAULT);
    assert_eq!(must(list(c"/proc/self/fd")).len(), before, "descriptors leaked");
    let (a, b) = must(socket_pair(SOCK_SEQPACKET));
    fails(call!(SYS_sendto, a, 8, 10, 0, 0, 0), libc::EFAULT);
    must(write(a, b"kept"));
    fails(call!(SYS_sendmsg, a, 8, 0), libc::EFAULT);
    fails(call!(SYS_recvmsg, b, 8, MSG_DONTWAIT), libc::EFAULT);
    assert_eq!(must(recv(b, &mut [0; 10], MSG_DONTWAIT)), 4);
    fails(recv(b, &mut [0; 10], MSG_DONTWAIT), libc::EAGAIN);
}

fn threads_close_while_others_use_it() {
    for round in 0..60u64 {
        let (a, b) = must(socket_pair(SOCK_STREAM));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| while send(a, &[1; 2000], MSG_NOSIGNAL).is_ok() {});
                scope.spawn(|| while recv(b, &mut [0; 3000], 0).is_ok_and(|count| count > 0) {});
            }
            scope.spawn(|| {
                let _ = nanosleep(round * 20_000);
                must(shutdown(a, libc::SHUT_RDWR));
                must(close(b));
            });
        });
        must(close(a));
    }
}

fn many_writers_and_readers_lose_nothing() {
    const WRITERS: usize = 6;
    const EACH: usize = 400;
    let (a, b) = must(socket_pair(SOCK_SEQPACKET));
    let (results, sums) = must(pipe());
    let readers: Vec<Pid> = (0..3)
        .map(|_| {
            spawn(|| {
                must(close(a));
                let (mut sum, mut buffer) = (0u64, [0u8; 600]);
                loop {
                    let count = must(read(b, &mut buffer));
                    if count == 0 {
                        break;
                    }
                    assert!(buffer[..count].iter().all(|byte| *byte == buffer[0]), "messages are mixed");
                    sum += count as u64;
                }
                must(write_all(sums, &sum.to_ne_bytes()));
                0
            })
        })
        .collect();
    let writers: Vec<Pid> = (1..=WRITERS)
        .map(|id| {
            spawn(|| {
                (0..EACH).for_each(|n| assert_eq!(must(write(a, &vec![id as u8; 1 + n])), 1 + n));
                0
            })
        })
        .collect();
    must(close(a));
    must(close(sums));
    writers.into_iter().for_each(|child| exits(child, 0));
    readers.into_iter().for_each(|child| exits(child, 0));
    let sums = must(read_to_end(results));
    let total: u64 = sums.chunks_exact(8).map(|sum| u64::from_ne_bytes(sum.try_into().unwrap_or_default())).sum();
    assert_eq!(total as usize, WRITERS * EACH * (EACH + 1) / 2);
}
