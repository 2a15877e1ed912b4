//! Unix sockets: descriptors and credentials in messages, several messages at once (unix(7), sendmsg(2), sendmmsg(2)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, must, within};
use crate::sys::*;
use libc::{MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_PEEK, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};

tests!("socket":
    descriptor_arrives_as_the_same_open_file,
    descriptors_arrive_in_order_and_with_cloexec,
    descriptor_survives_its_senders_close,
    read_closes_descriptors_that_come_along,
    peek_gives_descriptors_of_their_own,
    too_little_room_closes_the_rest,
    full_table_truncates,
    stream_stops_behind_descriptors,
    bad_control_messages_are_refused,
    huge_control_messages_are_refused,
    nobody_has_more_in_flight_than_he_may_open,
    socket_sent_to_itself_is_collected,
    cycle_of_sockets_is_collected,
    credentials_come_with_each_message,
    false_credentials_need_privilege,
    several_messages_at_once,
    receiver_of_several_learns_the_time_left,
);

/// Room for many descriptors.
const ROOM: usize = 256;

fn send_fds(socket: Fd, fds: &[Fd]) {
    assert_eq!(must(send_message(socket, b"f", &mut rights(fds), 0)), 1);
}

fn descriptor_arrives_as_the_same_open_file() {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = must(socket_pair(kind));
        let file = must(scratch_file(c"passed", 0));
        must(write(file, b"0123456789"));
        must(lseek(file, 4, libc::SEEK_SET));
        send_fds(a, &[file]);
        let message = must(recv_message(b, 8, ROOM, 0));
        assert_eq!((&message.bytes[..], message.fds.len(), message.flags), (&b"f"[..], 1, 0));
        let fd = message.fds[0];
        assert_ne!(fd, file);
        assert_eq!(must(lseek(fd, 1, libc::SEEK_CUR)), 5);
        assert_eq!(must(lseek(file, 0, libc::SEEK_CUR)), 5, "they share the offset");
        must(unlink(c"passed"));
    }
}

fn descriptors_arrive_in_order_and_with_cloexec() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let (reader, writer) = must(pipe());
    send_fds(a, &[writer, reader, writer]);
    let message = must(recv_message(b, 8, ROOM, MSG_CMSG_CLOEXEC));
    let &[first, second, third] = &message.fds[..] else { panic!("{:?}", message.fds) };
    must(write(first, b"x"));
    must(write(third, b"y"));
    assert_eq!(must(read(second, &mut [0; 4])), 2);
    assert_eq!(must(fcntl(second, libc::F_GETFD, 0)), libc::FD_CLOEXEC as usize);
    send_fds(a, &[reader]);
    let message = must(recv_message(b, 8, ROOM, 0));
    assert_eq!(must(fcntl(message.fds[0], libc::F_GETFD, 0)), 0);
}

fn descriptor_survives_its_senders_close() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let child = spawn(|| {
        let (reader, writer) = must(pipe());
        must(write(writer, b"inherited"));
        send_fds(a, &[reader]);
        0
    });
    exits(child, 0);
    let message = must(recv_message(b, 8, ROOM, 0));
    assert_eq!(must(read_to_end(message.fds[0])), b"inherited");
}

/// A pipe whose writing end is only in `socket`'s messages from now on; the end of the reading one tells when it is gone.
fn pipe_into(socket: Fd) -> Fd {
    let (reader, writer) = must(pipe2(libc::O_NONBLOCK));
    send_fds(socket, &[writer]);
    must(close(writer));
    reader
}

fn has_writer(reader: Fd) -> bool {
    read(reader, &mut [0; 1]) != Ok(0)
}

fn read_closes_descriptors_that_come_along() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let reader = pipe_into(a);
    assert!(has_writer(reader));
    assert_eq!(must(read(b, &mut [0; 8])), 1);
    assert!(eventually(2000, || !has_writer(reader)), "the descriptor leaked");
    let reader = pipe_into(a);
    let message = must(recv_message(b, 8, 0, 0));
    assert_eq!(message.flags & MSG_CTRUNC, MSG_CTRUNC);
    assert!(eventually(2000, || !has_writer(reader)), "the descriptor leaked");
    let reader = pipe_into(a);
    must(close(a));
    must(close(b));
    assert!(eventually(2000, || !has_writer(reader)), "the descriptor leaked");
}

fn peek_gives_descriptors_of_their_own() {
    for kind in [SOCK_STREAM, SOCK_DGRAM] {
        let (a, b) = must(socket_pair(kind));
        let reader = pipe_into(a);
        let peeked = must(recv_message(b, 8, ROOM, MSG_PEEK));
        let message = must(recv_message(b, 8, ROOM, 0));
        assert_eq!((peeked.fds.len(), message.fds.len()), (1, 1));
        must(close(peeked.fds[0]));
        assert!(has_writer(reader));
        must(close(message.fds[0]));
        assert!(eventually(2000, || !has_writer(reader)));
    }
}

fn too_little_room_closes_the_rest() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let readers = [(); 2].map(|()| must(pipe2(libc::O_NONBLOCK)));
    send_fds(a, &[readers[0].1, readers[1].1]);
    readers.iter().for_each(|pipe| must(close(pipe.1)));
    let message = must(recv_message(b, 8, 20, 0));
    assert_eq!((message.fds.len(), message.flags & MSG_CTRUNC), (1, MSG_CTRUNC));
    assert!(has_writer(readers[0].0));
    assert!(eventually(2000, || !has_writer(readers[1].0)));
}

fn full_table_truncates() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let (reader, _writer) = must(pipe());
    send_fds(a, &[reader, reader]);
    must(setrlimit(libc::RLIMIT_NOFILE, reader as u64 + 3, 1024));
    let message = must(recv_message(b, 8, ROOM, 0));
    assert_eq!((message.fds.len(), message.flags & MSG_CTRUNC), (1, MSG_CTRUNC));
}

fn stream_stops_behind_descriptors() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let (reader, writer) = must(pipe());
    must(write(a, b"ab"));
    must(send_message(a, b"cd", &mut rights(&[reader]), 0));
    must(send_message(a, b"ef", &mut rights(&[writer]), 0));
    let first = must(recv_message(b, 100, ROOM, 0));
    assert_eq!((&first.bytes[..], first.fds.len()), (&b"abcd"[..], 1));
    let second = must(recv_message(b, 100, ROOM, 0));
    assert_eq!((&second.bytes[..], second.fds.len()), (&b"ef"[..], 1));
}

fn bad_control_messages_are_refused() {
    let (a, b) = must(socket_pair(SOCK_STREAM));
    let with = |mut control: Vec<u8>| send_message(a, b"x", &mut control, 0);
    fails(with(rights(&[999])), libc::EBADF);
    fails(with(rights(&[-1])), libc::EBADF);
    fails(with(control(77, b"")), libc::EINVAL);
    fails(with(control(libc::SCM_CREDENTIALS, &[0; 4])), libc::EINVAL);
    for length in [0u64, 15, 1000, u64::MAX, u64::MAX - 7, 1 << 63] {
        let mut bytes = rights(&[a]);
        bytes[..8].copy_from_slice(&length.to_ne_bytes());
        fails(with(bytes), libc::EINVAL);
    }
    fails(with(rights(&vec![a; 254])), libc::EINVAL);
    must(with(rights(&vec![a; 253])));
    must(with(vec![1; 9]));
    let vector = [];
    let message = header(&vector, 8 as *mut u8, 24);
    fails(call!(SYS_sendmsg, a, &message, 0), libc::EFAULT);
    fails(call!(SYS_recvmsg, b, 8, 0), libc::EFAULT);
}

fn huge_control_messages_are_refused() {
    let (a, _b) = must(socket_pair(SOCK_STREAM));
    let vector = [];
    let mut bytes = rights(&[a]);
    for length in [1usize << 31, usize::MAX, 1 << 24] {
        fails(call!(SYS_sendmsg, a, &header(&vector, bytes.as_mut_ptr(), length), 0), libc::ENOBUFS);
    }
    let mut message = header(&vector, core::ptr::null_mut(), 0);
    message[3] = 1025;
    fails(call!(SYS_sendmsg, a, &message, 0), libc::EMSGSIZE);
    fails(call!(SYS_recvmsg, a, &mut message, MSG_DONTWAIT), libc::EMSGSIZE);
}

fn nobody_has_more_in_flight_than_he_may_open() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_NOFILE, 20, 20));
        must(call!(SYS_setresuid, 4242, 4242, 4242));
        let (a, _b) = must(socket_pair(SOCK_STREAM));
        let mut sent = 0;
        let refused = loop {
            match send_message(a, b"x", &mut rights(&[a]), MSG_DONTWAIT) {
                Ok(_) => sent += 1,
                refused => break refused,
            }
        };
        fails(refused, libc::ETOOMANYREFS);
        assert_eq!(sent, 21);
    });
}

/// Closes sockets, which starts the collector, until the pipe has no writer any more.
fn is_collected(reader: Fd) -> bool {
    eventually(5000, || {
        let (a, b) = must(socket_pair(SOCK_STREAM));
        must(close(a));
        must(close(b));
        !has_writer(reader)
    })
}

fn socket_sent_to_itself_is_collected() {
    for kind in [SOCK_STREAM, SOCK_DGRAM] {
        let (a, b) = must(socket_pair(kind));
        let reader = pipe_into(b);
        send_fds(b, &[a]);
        must(close(b));
        assert!(has_writer(reader));
        must(close(a));
        assert!(is_collected(reader), "kept alive by itself");
    }
}

fn cycle_of_sockets_is_collected() {
    let pairs: Vec<(Fd, Fd)> = (0..5).map(|_| must(socket_pair(SOCK_STREAM))).collect();
    let reader = pipe_into(pairs[0].1);
    for (index, pair) in pairs.iter().enumerate() {
        // Each waits at the next one, the last at the first.
        send_fds(pair.1, &[pairs[(index + 1) % pairs.len()].0]);
    }
    let keep = must(call!(SYS_dup, pairs[2].0)) as Fd;
    for pair in &pairs {
        must(close(pair.0));
        must(close(pair.1));
    }
    for _ in 0..20 {
        let (a, _) = must(socket_pair(SOCK_STREAM));
        must(close(a));
    }
    assert!(has_writer(reader), "it can still be received");
    must(close(keep));
    assert!(is_collected(reader), "kept alive by one another");
}

fn credentials_come_with_each_message() {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = must(socket_pair(kind));
        must(set_option(b, libc::SO_PASSCRED, &1i32));
        let child = spawn(|| {
            must(write(a, b"child"));
            0
        });
        exits(child, 0);
        must(write(a, b"parent"));
        let ids = [must(call!(SYS_getuid)) as u32, must(call!(SYS_getgid)) as u32];
        for (pid, bytes) in [(child, &b"child"[..]), (getpid(), b"parent")] {
            let message = must(recv_message(b, 100, ROOM, 0));
            assert_eq!(message.bytes, bytes);
            assert_eq!(message.credentials, Some([pid as u32, ids[0], ids[1]]));
        }
        must(write(a, b"x"));
        assert_eq!(must(recv_message(b, 100, 0, 0)).flags & MSG_CTRUNC, MSG_CTRUNC);
    }
}

fn false_credentials_need_privilege() {
    let credentials = |ids: Ucred| {
        let words: Vec<u8> = ids.iter().flat_map(|id| id.to_ne_bytes()).collect();
        control(libc::SCM_CREDENTIALS, &words)
    };
    let (a, b) = must(socket_pair(SOCK_DGRAM));
    must(set_option(b, libc::SO_PASSCRED, &1i32));
    must(send_message(a, b"x", &mut credentials([1, 77, 88]), 0));
    assert_eq!(must(recv_message(b, 8, ROOM, 0)).credentials, Some([1, 77, 88]));
    fails(send_message(a, b"x", &mut credentials([i32::MAX as u32, 0, 0]), 0), libc::ESRCH);
    in_child(|| {
        must(call!(SYS_setresgid, 900, 901, 902));
        must(call!(SYS_setresuid, 800, 801, 802));
        let own = getpid() as u32;
        for ids in [[1, 800, 900], [own, 0, 900], [own, 800, 0]] {
            fails(send_message(a, b"x", &mut credentials(ids), 0), libc::EPERM);
        }
        must(send_message(a, b"x", &mut credentials([own, 802, 901]), 0));
    });
    assert_eq!(must(recv_message(b, 8, ROOM, 0)).credentials.map(|ids| [ids[1], ids[2]]), Some([802, 901]));
}

fn several_messages_at_once() {
    let (a, b) = must(socket_pair(SOCK_DGRAM));
    let buffers = [[1u8; 4], [2; 4], [3; 4]];
    let vectors = buffers
        .each_ref()
        .map(|buffer| [libc::iovec { iov_base: buffer.as_ptr() as *mut libc::c_void, iov_len: buffer.len() }]);
    let entries = || {
        let mut words = Vec::new();
        for vector in &vectors {
            words.extend(header(vector, core::ptr::null_mut(), 0));
            words.push(0);
        }
        words
    };
    let lengths = |words: &[u64]| words.chunks(8).map(|entry| entry[7]).collect::<Vec<_>>();
    let mut out = entries();
    assert_eq!(must(call!(SYS_sendmmsg, a, out.as_mut_ptr(), 3, 0)), 3);
    assert_eq!(lengths(&out), [4, 4, 4]);
    must(write(a, b"last"));
    let mut incoming = entries();
    assert_eq!(must(call!(SYS_recvmmsg, b, incoming.as_mut_ptr(), 3, 0, 0)), 3);
    assert_eq!(lengths(&incoming), [4, 4, 4]);
    let wait_for_one = 0x10000;
    assert_eq!(must(call!(SYS_recvmmsg, b, incoming.as_mut_ptr(), 3, wait_for_one, 0)), 1);
    fails(call!(SYS_recvmmsg, b, incoming.as_mut_ptr(), 3, MSG_DONTWAIT, 0), libc::EAGAIN);
    assert_eq!(must(call!(SYS_sendmmsg, a, out.as_mut_ptr(), 0, 0)), 0);
    must(close(b));
    fails(call!(SYS_sendmmsg, a, out.as_mut_ptr(), 3, 0), libc::ECONNREFUSED);
}

fn receiver_of_several_learns_the_time_left() {
    let (a, b) = must(socket_pair(SOCK_DGRAM));
    for _ in 0..3 {
        must(write(a, b"x"));
    }
    let mut buffer = 0u8;
    let vector = [libc::iovec { iov_base: (&raw mut buffer).cast(), iov_len: 1 }];
    let mut entries =
        [header(&vector, core::ptr::null_mut(), 0); 2].map(|[a, b, c, d, e, f, g]| [a, b, c, d, e, f, g, 0]);
    let mut receive = |count: usize, flags: i32, timeout: &mut [i64; 2]| {
        call!(SYS_recvmmsg, b, entries.as_mut_ptr(), count, flags, timeout.as_mut_ptr())
    };
    let mut timeout = [10, 0];
    assert_eq!(must(receive(0, 0, &mut timeout)), 0);
    assert_eq!(timeout, [10, 0], "nothing was received");
    assert_eq!(must(receive(2, 0, &mut timeout)), 2);
    within(timeout, [5, 0], [9, 999_999_999], "time left");
    let mut timeout = [0, 0];
    assert_eq!(must(receive(2, 0, &mut timeout)), 1);
    assert_eq!(timeout, [0, 0]);
    let mut timeout = [7, 0];
    fails(receive(2, MSG_DONTWAIT, &mut timeout), libc::EAGAIN);
    assert_eq!(timeout, [7, 0], "nothing was received");
}
