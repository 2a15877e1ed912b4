//! Pipes: capacity, atomicity, end of file, broken pipes (pipe(7)).

use super::tests;
use crate::call;
use crate::check::{dies_of, exits, fails, in_child, must, within};
use crate::sys::*;

tests!("pipe":
    carries_bytes_in_order,
    reader_sees_eof_when_last_writer_closes,
    eof_waits_for_every_copy_of_the_write_end,
    write_without_reader_is_epipe_when_sigpipe_is_ignored,
    write_without_reader_raises_sigpipe,
    holds_65536_bytes,
    empty_nonblocking_read_is_eagain,
    full_nonblocking_write_is_eagain,
    nonblocking_write_is_partial_beyond_pipe_buf,
    small_nonblocking_write_is_all_or_nothing,
    reader_wakes_a_blocked_writer,
    writer_wakes_a_blocked_reader,
    each_write_wakes_one_of_many_readers,
    a_reader_that_leaves_something_wakes_the_next,
    writes_up_to_pipe_buf_do_not_interleave,
    large_write_to_a_slow_reader_arrives_whole,
    two_readers_share_what_one_writer_sends,
    closing_the_reader_wakes_a_blocked_writer,
    seek_is_espipe,
    read_of_the_write_end_is_ebadf,
    is_a_fifo_to_fstat,
    fionread_counts_bytes,
    cloexec_and_nonblock_flags_are_set,
    zero_length_write_is_nothing,
    direct_keeps_packets_or_is_refused,
    capacity_can_be_changed,
    fifo_opens_meet,
    fifo_nonblocking_write_open_without_reader_is_enxio,
    bad_result_pointer_is_efault,
    splice_moves_bytes_into_a_pipe,
    splice_leaves_in_the_pipe_what_the_target_refuses,
    splice_of_a_pipe_to_itself_or_an_appending_file_is_einval,
    splice_into_a_pipe_without_reader_raises_sigpipe,
    two_splices_of_one_pipe_lose_nothing,
    splice_takes_nothing_from_a_socket_for_a_pipe_without_reader,
    splice_that_may_not_wait_is_eagain,
    blocked_read_is_interrupted_by_a_signal,
);

fn carries_bytes_in_order() {
    let (reader, writer) = must(pipe());
    assert_eq!(must(write(writer, b"hello ")), 6);
    assert_eq!(must(write(writer, b"world")), 5);
    let mut buffer = [0u8; 32];
    assert_eq!(must(read(reader, &mut buffer[..8])), 8);
    assert_eq!(&buffer[..8], b"hello wo");
    assert_eq!(must(read(reader, &mut buffer)), 3);
    assert_eq!(&buffer[..3], b"rld");
}

fn reader_sees_eof_when_last_writer_closes() {
    let (reader, writer) = must(pipe());
    must(write(writer, b"x"));
    must(close(writer));
    let mut buffer = [0u8; 8];
    assert_eq!(must(read(reader, &mut buffer)), 1);
    assert_eq!(must(read(reader, &mut buffer)), 0);
    assert_eq!(must(read(reader, &mut buffer)), 0);
}

fn eof_waits_for_every_copy_of_the_write_end() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        sleep_ms(50);
        must(write(writer, b"late"));
        0
    });
    must(close(writer));
    assert_eq!(must(read_to_end(reader)), b"late");
    exits(child, 0);
}

fn write_without_reader_is_epipe_when_sigpipe_is_ignored() {
    must(set_disposition(libc::SIGPIPE, libc::SIG_IGN));
    let (reader, writer) = must(pipe());
    must(close(reader));
    fails(write(writer, b"x"), libc::EPIPE);
}

fn write_without_reader_raises_sigpipe() {
    must(set_disposition(libc::SIGPIPE, libc::SIG_DFL));
    dies_of(libc::SIGPIPE, || {
        let (reader, writer) = must(pipe());
        must(close(reader));
        let _ = write(writer, b"x");
    });
}

fn fill(writer: Fd, piece: usize) -> usize {
    let data = vec![7u8; piece];
    let mut total = 0;
    while let Ok(n) = write(writer, &data) {
        total += n;
    }
    total
}

fn holds_65536_bytes() {
    let (_reader, writer) = must(pipe2(libc::O_NONBLOCK));
    assert_eq!(fill(writer, 4096), 65536);
    assert_eq!(must(fcntl(writer, libc::F_GETPIPE_SZ, 0)), 65536);
}

fn empty_nonblocking_read_is_eagain() {
    let (reader, _writer) = must(pipe2(libc::O_NONBLOCK));
    fails(read(reader, &mut [0u8; 4]), libc::EAGAIN);
}

fn full_nonblocking_write_is_eagain() {
    let (_reader, writer) = must(pipe2(libc::O_NONBLOCK));
    fill(writer, 4096);
    fails(write(writer, b"x"), libc::EAGAIN);
}

fn nonblocking_write_is_partial_beyond_pipe_buf() {
    let (_reader, writer) = must(pipe2(libc::O_NONBLOCK));
    assert_eq!(must(write(writer, &vec![1u8; 100_000])), 65536);
}

fn small_nonblocking_write_is_all_or_nothing() {
    let (reader, writer) = must(pipe2(libc::O_NONBLOCK));
    fill(writer, 4096);
    must(read(reader, &mut [0u8; 1000]));
    fails(write(writer, &[0u8; 4096]), libc::EAGAIN);
}

fn reader_wakes_a_blocked_writer() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| i32::from(write_all(writer, &vec![3u8; 200_000]).is_err()));
    must(close(writer));
    assert!(wait_for_state(child, "S"), "the writer does not sleep");
    assert_eq!(must(read_to_end(reader)).len(), 200_000);
    exits(child, 0);
}

fn writer_wakes_a_blocked_reader() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| i32::from(read(reader, &mut [0u8; 8]) != Ok(3)));
    assert!(wait_for_state(child, "S"), "the reader does not sleep");
    must(write(writer, b"abc"));
    exits(child, 0);
}

/// Children that sleep in a read of one byte, then answer with a byte and end.
fn sleeping_readers(count: usize, requests: Fd, answers: Fd) -> Vec<Pid> {
    let child = || (must(read(requests, &mut [0; 1])) == 1 && must(write(answers, b"!")) == 1) as i32;
    let children: Vec<_> = (0..count).map(|_| spawn(child)).collect();
    assert!(children.iter().all(|&child| wait_for_state(child, "S")));
    children
}

fn each_write_wakes_one_of_many_readers() {
    const READERS: usize = 30;
    in_child(|| {
        must(set_affinity(0, &[must(affinity())[0]]));
        let (requests, answers) = (must(pipe()), must(pipe()));
        let children = sleeping_readers(READERS, requests.0, answers.1);
        for _ in &children {
            must(write(requests.1, b"?"));
            must(read(answers.0, &mut [0; 1]));
        }
        children.into_iter().for_each(|child| exits(child, 1));
        // SAFETY: rusage is plain data.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        must(call!(SYS_getrusage, libc::RUSAGE_CHILDREN, &mut usage));
        within(usage.ru_nvcsw as u64, READERS as u64, 3 * READERS as u64, "times that readers went to sleep");
    });
}

fn a_reader_that_leaves_something_wakes_the_next() {
    let (requests, answers) = (must(pipe()), must(pipe()));
    let children = sleeping_readers(8, requests.0, answers.1);
    must(write(requests.1, &vec![0; children.len()]));
    children.into_iter().for_each(|child| exits(child, 1));
}

fn writes_up_to_pipe_buf_do_not_interleave() {
    let (reader, writer) = must(pipe());
    let children: Vec<Pid> = (0..4u8)
        .map(|id| {
            spawn(|| {
                (0..50).for_each(|_| {
                    must(write(writer, &[id; 4096]));
                });
                0
            })
        })
        .collect();
    must(close(writer));
    let all = must(read_to_end(reader));
    assert_eq!(all.len(), 4 * 50 * 4096);
    for piece in all.chunks(4096) {
        assert!(piece.iter().all(|byte| *byte == piece[0]), "records are mixed");
    }
    children.into_iter().for_each(|child| exits(child, 0));
}

fn large_write_to_a_slow_reader_arrives_whole() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        let data: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        i32::from(write(writer, &data) != Ok(data.len()))
    });
    must(close(writer));
    let mut all = Vec::new();
    let mut buffer = [0u8; 1777];
    loop {
        let n = must(read(reader, &mut buffer));
        if n == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..n]);
    }
    assert_eq!(all.len(), 300_000);
    assert!(all.iter().enumerate().all(|(i, byte)| *byte == (i % 251) as u8), "bytes out of order");
    exits(child, 0);
}

fn two_readers_share_what_one_writer_sends() {
    let (reader, writer) = must(pipe());
    let (counts, count_sink) = must(pipe());
    for _ in 0..2 {
        spawn(|| {
            must(close(writer));
            let n = must(read_to_end(reader)).len() as u64;
            must(write(count_sink, &n.to_ne_bytes()));
            0
        });
    }
    must(write_all(writer, &vec![0u8; 500_000]));
    must(close(writer));
    must(close(count_sink));
    let words = must(read_to_end(counts));
    let total: u64 = words.chunks_exact(8).map(|w| u64::from_ne_bytes(w.try_into().unwrap_or_default())).sum();
    assert_eq!(total, 500_000);
}

fn closing_the_reader_wakes_a_blocked_writer() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        must(set_disposition(libc::SIGPIPE, libc::SIG_IGN));
        must(close(reader));
        i32::from(write_all(writer, &vec![0u8; 100_000]) != Err(Errno(libc::EPIPE)))
    });
    assert!(wait_for_state(child, "S"), "the writer does not sleep");
    must(close(reader));
    exits(child, 0);
}

fn seek_is_espipe() {
    let (reader, writer) = must(pipe());
    fails(lseek(reader, 0, libc::SEEK_CUR), libc::ESPIPE);
    fails(pread(reader, &mut [0u8; 1], 0), libc::ESPIPE);
    fails(pwrite(writer, b"x", 0), libc::ESPIPE);
}

fn read_of_the_write_end_is_ebadf() {
    let (reader, writer) = must(pipe());
    fails(read(writer, &mut [0u8; 1]), libc::EBADF);
    fails(write(reader, b"x"), libc::EBADF);
}

fn is_a_fifo_to_fstat() {
    let (reader, _writer) = must(pipe());
    let stat = must(fstat(reader));
    assert_eq!(stat.st_mode & libc::S_IFMT, libc::S_IFIFO);
    let link = must(readlink(&std::ffi::CString::new(format!("/proc/self/fd/{reader}")).unwrap_or_default()));
    assert_eq!(String::from_utf8_lossy(&link), format!("pipe:[{}]", stat.st_ino));
}

fn fionread_counts_bytes() {
    let (reader, writer) = must(pipe());
    must(write(writer, &[0u8; 123]));
    let mut count = -1i32;
    must(call!(SYS_ioctl, reader, libc::FIONREAD as u32, &mut count));
    assert_eq!(count, 123);
}

fn cloexec_and_nonblock_flags_are_set() {
    let (reader, writer) = must(pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK));
    assert_eq!(must(fcntl(reader, libc::F_GETFD, 0)), libc::FD_CLOEXEC as usize);
    let reader_flags = must(fcntl(reader, libc::F_GETFL, 0)) as i32;
    let writer_flags = must(fcntl(writer, libc::F_GETFL, 0)) as i32;
    assert_eq!(reader_flags & (libc::O_ACCMODE | libc::O_NONBLOCK), libc::O_RDONLY | libc::O_NONBLOCK);
    assert_eq!(writer_flags & (libc::O_ACCMODE | libc::O_NONBLOCK), libc::O_WRONLY | libc::O_NONBLOCK);
    fails(pipe2(0x4000_0000), libc::EINVAL);
}

fn zero_length_write_is_nothing() {
    let (reader, writer) = must(pipe2(libc::O_NONBLOCK));
    assert_eq!(must(write(writer, b"")), 0);
    fails(read(reader, &mut [0u8; 4]), libc::EAGAIN);
}

fn direct_keeps_packets_or_is_refused() {
    let keeps_packets = |reader, writer| {
        must(write(writer, b"first"));
        must(write(writer, b"second"));
        let mut buffer = [0u8; 8];
        assert_eq!(must(read(reader, &mut buffer[..2])), 2);
        assert_eq!(must(read(reader, &mut buffer)), 6);
        assert_eq!(&buffer[..6], b"second");
    };
    match pipe2(libc::O_DIRECT) {
        Ok((reader, writer)) => keeps_packets(reader, writer),
        Err(error) => assert_eq!(error, Errno(libc::EINVAL)),
    }
    let (reader, writer) = must(pipe());
    match fcntl(writer, libc::F_SETFL, libc::O_DIRECT as usize) {
        Ok(_) => keeps_packets(reader, writer),
        Err(error) => assert_eq!(error, Errno(libc::EINVAL)),
    }
}

fn capacity_can_be_changed() {
    let (_reader, writer) = must(pipe2(libc::O_NONBLOCK));
    let size = must(fcntl(writer, libc::F_SETPIPE_SZ, 5000));
    assert_eq!(size, 8192);
    assert_eq!(fill(writer, 4096), 8192);
    fails(fcntl(writer, libc::F_SETPIPE_SZ, 4096), libc::EBUSY);
}

fn fifo_opens_meet() {
    must(call!(SYS_mknodat, libc::AT_FDCWD, c"fifo", libc::S_IFIFO | 0o600, 0));
    let child = spawn(|| {
        let writer = must(open(c"fifo", libc::O_WRONLY, 0));
        must(write(writer, b"through the fifo"));
        0
    });
    let reader = must(open(c"fifo", libc::O_RDONLY, 0));
    assert_eq!(must(read_to_end(reader)), b"through the fifo");
    exits(child, 0);
}

fn fifo_nonblocking_write_open_without_reader_is_enxio() {
    must(call!(SYS_mknodat, libc::AT_FDCWD, c"fifo", libc::S_IFIFO | 0o600, 0));
    fails(open(c"fifo", libc::O_WRONLY | libc::O_NONBLOCK, 0), libc::ENXIO);
    let reader = must(open(c"fifo", libc::O_RDONLY | libc::O_NONBLOCK, 0));
    assert_eq!(must(read(reader, &mut [0u8; 4])), 0);
    let writer = must(open(c"fifo", libc::O_WRONLY | libc::O_NONBLOCK, 0));
    fails(read(reader, &mut [0u8; 4]), libc::EAGAIN);
    must(close(writer));
}

fn bad_result_pointer_is_efault() {
    let before = must(list(c"/proc/self/fd")).len();
    fails(call!(SYS_pipe2, 8, 0), libc::EFAULT);
    assert_eq!(must(list(c"/proc/self/fd")).len(), before, "descriptors leaked");
}

fn splice_moves_bytes_into_a_pipe() {
    let file = must(scratch_file(c"file", 0));
    must(write(file, b"spliced data"));
    let (reader, writer) = must(pipe());
    let mut offset = 2i64;
    assert_eq!(must(call!(SYS_splice, file, &mut offset, writer, 0, 5, 0)), 5);
    assert_eq!(offset, 7);
    let mut buffer = [0u8; 16];
    assert_eq!(must(read(reader, &mut buffer)), 5);
    assert_eq!(&buffer[..5], b"liced");
}

/// A memfd of `size` bytes that cannot grow.
fn memfd_of_fixed_size(size: u64) -> Fd {
    let fd = must(call!(SYS_memfd_create, c"fixed", libc::MFD_ALLOW_SEALING)) as Fd;
    must(ftruncate(fd, size as i64));
    must(fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_GROW as usize));
    fd
}

fn splice_leaves_in_the_pipe_what_the_target_refuses() {
    let (reader, writer) = must(pipe());
    let sent: Vec<u8> = (0..3 * 4096u32).map(|n| (n / 7) as u8).collect();
    must(write_all(writer, &sent));
    fails(call!(SYS_splice, reader, 0, memfd_of_fixed_size(0), 0, sent.len(), 0), libc::EPERM);
    let file = must(open(c"file", libc::O_CREAT | libc::O_RDWR, 0o600));
    in_child(|| {
        must(set_disposition(libc::SIGXFSZ, libc::SIG_IGN));
        must(setrlimit(libc::RLIMIT_FSIZE, 5000, 5000));
        assert_eq!(must(call!(SYS_splice, reader, 0, file, 0, sent.len(), 0)), 5000);
        fails(call!(SYS_splice, reader, 0, file, 0, sent.len(), 0), libc::EFBIG);
    });
    must(close(writer));
    assert!(must(read_to_end(reader)) == sent[5000..], "the pipe kept something else");
    assert!(must(read_file(c"file")) == sent[..5000], "the file got something else");
}

fn splice_of_a_pipe_to_itself_or_an_appending_file_is_einval() {
    let (reader, writer) = must(pipe());
    must(write(writer, b"stays"));
    fails(call!(SYS_splice, reader, 0, writer, 0, 5, 0), libc::EINVAL);
    let file = must(open(c"file", libc::O_CREAT | libc::O_WRONLY | libc::O_APPEND, 0o600));
    fails(call!(SYS_splice, reader, 0, file, 0, 5, 0), libc::EINVAL);
    must(close(writer));
    assert_eq!(must(read_to_end(reader)), b"stays");
}

fn splice_into_a_pipe_without_reader_raises_sigpipe() {
    let file = must(scratch_file(c"file", 10));
    dies_of(libc::SIGPIPE, || {
        let (reader, writer) = must(pipe());
        must(close(reader));
        let _ = call!(SYS_splice, file, 0, writer, 0, 5, 0);
    });
}

fn splice_takes_nothing_from_a_socket_for_a_pipe_without_reader() {
    let mut ends = [0i32; 2];
    must(call!(SYS_socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, &mut ends));
    let (reader, writer) = must(pipe());
    must(write(ends[0], b"stays there"));
    must(close(reader));
    dies_of(libc::SIGPIPE, || {
        let _ = call!(SYS_splice, ends[1], 0, writer, 0, 100, 0);
    });
    must(close(ends[0]));
    assert_eq!(must(read_to_end(ends[1])), b"stays there");
}

fn splice_that_may_not_wait_is_eagain() {
    let (reader, writer) = must(pipe());
    let file = must(scratch_file(c"file", 0));
    fails(call!(SYS_splice, reader, 0, file, 0, 5, libc::SPLICE_F_NONBLOCK), libc::EAGAIN);
    must(write(writer, b"there"));
    assert_eq!(must(call!(SYS_splice, reader, 0, file, 0, 9, libc::SPLICE_F_NONBLOCK)), 5);
    fails(call!(SYS_splice, reader, 0, file, 0, 5, 0x10), libc::EINVAL);
}

fn two_splices_of_one_pipe_lose_nothing() {
    const BYTES: usize = 1 << 20;
    let (reader, writer) = must(pipe());
    let files = [c"one", c"two"].map(|name| must(open(name, libc::O_CREAT | libc::O_RDWR, 0o600)));
    let children = files.map(|file| {
        spawn(|| {
            must(close(writer));
            while must(call!(SYS_splice, reader, 0, file, 0, 3000, 0)) > 0 {}
            0
        })
    });
    must(close(reader));
    must(write_all(writer, &vec![7; BYTES]));
    must(close(writer));
    for child in children {
        exits(child, 0);
    }
    assert_eq!(files.map(|file| must(fstat(file)).st_size as usize).iter().sum::<usize>(), BYTES);
}

fn blocked_read_is_interrupted_by_a_signal() {
    in_child(|| {
        must(on_signal(libc::SIGALRM, record, 0));
        let (reader, _writer) = must(pipe());
        alarm_in(30);
        let start = now();
        fails(read(reader, &mut [0u8; 1]), libc::EINTR);
        within(now() - start, 25 * MS, 3 * SECOND, "nanoseconds until the interruption");
        assert_eq!(seen(), 1);
    });
}
