//! Unix sockets: pairs, bytes and messages, ends (unix(7)).

use super::tests;
use crate::call;
use crate::check::{dies_of, exits, fails, must, within};
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
    vectors_are_gathered_and_scattered,
    splice_goes_through_a_stream,
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
