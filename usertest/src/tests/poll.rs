//! Readiness: poll, select, epoll, and the descriptors made for them (poll(2), epoll(7)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, must, within};
use crate::sys::*;
use libc::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT};

tests!("poll":
    pipe_is_writable_then_readable,
    hang_up_and_error_are_reported_unasked,
    closed_descriptor_is_nval_and_negative_is_ignored,
    times_out,
    wakes_when_data_comes,
    wakes_when_room_comes,
    files_are_always_ready,
    is_interrupted_by_a_handler,
    ppoll_swaps_the_mask,
    ppoll_stores_the_time_left,
    bad_arguments_fail,
    pselect_reports_sets,
    pselect_times_out_and_fails_on_bad_descriptors,
    eventfd_counts_and_resets,
    eventfd_semaphore_counts_down,
    eventfd_blocks_at_its_limit,
    timerfd_expires_and_counts,
    timerfd_absolute_and_gettime,
    signalfd_reads_signals,
    many_descriptors_at_once,
);

fn pipe_is_writable_then_readable() {
    let (reader, writer) = must(pipe());
    assert_eq!(must(poll(&[(reader, POLLIN), (writer, POLLOUT)], 0)), [0, POLLOUT]);
    must(write(writer, b"x"));
    assert_eq!(must(poll(&[(reader, POLLIN), (writer, POLLOUT)], 0)), [POLLIN, POLLOUT]);
    must(fcntl(writer, libc::F_SETFL, libc::O_NONBLOCK as usize));
    while write(writer, &[0u8; 4096]).is_ok() {}
    assert_eq!(must(poll(&[(writer, POLLOUT)], 0)), [0]);
}

fn hang_up_and_error_are_reported_unasked() {
    let (reader, writer) = must(pipe());
    must(write(writer, b"x"));
    must(close(writer));
    assert_eq!(must(poll(&[(reader, POLLIN)], 0)), [POLLIN | POLLHUP]);
    must(read(reader, &mut [0u8; 1]));
    assert_eq!(must(poll(&[(reader, 0)], 0)), [POLLHUP]);
    let (reader, writer) = must(pipe());
    must(close(reader));
    assert_eq!(must(poll(&[(writer, POLLOUT)], 0)), [POLLOUT | POLLERR]);
}

fn closed_descriptor_is_nval_and_negative_is_ignored() {
    assert_eq!(must(poll(&[(77, POLLIN), (-1, POLLIN)], 0)), [POLLNVAL, 0]);
}

fn times_out() {
    let (reader, _writer) = must(pipe());
    let start = now();
    assert_eq!(must(poll(&[(reader, POLLIN)], 40)), [0]);
    within(now() - start, 40 * MS, 3 * SECOND, "waited");
    let start = now();
    assert_eq!(must(poll(&[], 20)), []);
    assert!(now() - start >= 20 * MS);
}

fn wakes_when_data_comes() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        sleep_ms(30);
        must(write(writer, b"x"));
        0
    });
    assert_eq!(must(poll(&[(reader, POLLIN)], -1)), [POLLIN]);
    exits(child, 0);
}

fn wakes_when_room_comes() {
    let (reader, writer) = must(pipe2(libc::O_NONBLOCK));
    while write(writer, &[0u8; 4096]).is_ok() {}
    let child = spawn(|| {
        sleep_ms(30);
        must(read(reader, &mut [0u8; 8192]));
        0
    });
    assert_eq!(must(poll(&[(writer, POLLOUT)], 5000)), [POLLOUT]);
    exits(child, 0);
}

fn files_are_always_ready() {
    let file = must(scratch_file(c"file", 0));
    let null = must(open(c"/dev/null", libc::O_RDWR, 0));
    let ready = POLLIN | POLLOUT;
    assert_eq!(must(poll(&[(file, ready), (null, ready)], 0)), [ready, ready]);
}

fn is_interrupted_by_a_handler() {
    must(on_signal(libc::SIGALRM, record, libc::SA_RESTART));
    alarm_in(30);
    fails(poll(&[], 5000), libc::EINTR);
    assert_eq!(seen(), 1);
}

fn ppoll_swaps_the_mask() {
    must(on_signal(libc::SIGUSR1, record, 0));
    must(block(bit(libc::SIGUSR1)));
    must(raise(libc::SIGUSR1));
    fails(call!(SYS_ppoll, 0, 0, 0, &0u64, 8), libc::EINTR);
    assert_eq!(seen(), 1);
    assert!(must(block(0)) & bit(libc::SIGUSR1) != 0);
    fails(call!(SYS_ppoll, 0, 0, 0, &0u64, 4), libc::EINVAL);
}

fn ppoll_stores_the_time_left() {
    let (reader, writer) = must(pipe());
    must(write(writer, b"x"));
    let mut limit = timespec_of_ns(10 * SECOND);
    let mut set = libc::pollfd { fd: reader, events: POLLIN, revents: 0 };
    assert_eq!(must(call!(SYS_ppoll, &mut set, 1, &mut limit, 0, 8)), 1);
    within(ns_of_timespec(&limit), 5 * SECOND, 10 * SECOND - 1, "left");
}

fn bad_arguments_fail() {
    fails(call!(SYS_ppoll, 8, 1, 0, 0, 8), libc::EFAULT);
    fails(call!(SYS_ppoll, 0, 0, &[0i64, -1], 0, 8), libc::EINVAL);
    fails(call!(SYS_ppoll, 0, 1 << 30, 0, 0, 8), libc::EINVAL);
}

fn pselect_reports_sets() {
    let (reader, writer) = must(pipe());
    must(write(writer, b"x"));
    let (mut reading, mut writing) = ([0u64; 16], [0u64; 16]);
    reading[0] = 1 << reader | 1 << writer;
    writing[0] = 1 << writer;
    assert_eq!(must(call!(SYS_pselect6, writer + 1, &mut reading, &mut writing, 0, 0, 0)), 2);
    assert_eq!((reading[0], writing[0]), (1 << reader, 1 << writer));
}

fn pselect_times_out_and_fails_on_bad_descriptors() {
    let (reader, _writer) = must(pipe());
    let mut set = [0u64; 16];
    set[0] = 1 << reader;
    let limit = timespec_of_ns(30 * MS);
    let start = now();
    assert_eq!(must(call!(SYS_pselect6, reader + 1, &mut set, 0, 0, &limit, 0)), 0);
    assert!(now() - start >= 30 * MS && set[0] == 0);
    set[0] = 1 << 50;
    fails(call!(SYS_pselect6, 51, &mut set, 0, 0, 0, 0), libc::EBADF);
    fails(call!(SYS_pselect6, -1, 0, 0, 0, 0, 0), libc::EINVAL);
}

fn eventfd(initial: u32, flags: i32) -> Fd {
    must(call!(SYS_eventfd2, initial, flags)) as Fd
}

fn read_u64(fd: Fd) -> Result<u64> {
    let mut bytes = [0u8; 8];
    read(fd, &mut bytes).map(|_| u64::from_ne_bytes(bytes))
}

fn eventfd_counts_and_resets() {
    let fd = eventfd(3, libc::EFD_NONBLOCK);
    must(write(fd, &4u64.to_ne_bytes()));
    assert_eq!(must(read_u64(fd)), 7);
    fails(read_u64(fd), libc::EAGAIN);
    assert_eq!(must(poll(&[(fd, POLLIN | POLLOUT)], 0)), [POLLOUT]);
    fails(write(fd, &[1u8; 4]), libc::EINVAL);
    fails(read(fd, &mut [0u8; 4]), libc::EINVAL);
    fails(write(fd, &u64::MAX.to_ne_bytes()), libc::EINVAL);
}

fn eventfd_semaphore_counts_down() {
    let fd = eventfd(2, libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE);
    assert_eq!((must(read_u64(fd)), must(read_u64(fd))), (1, 1));
    fails(read_u64(fd), libc::EAGAIN);
}

fn eventfd_blocks_at_its_limit() {
    let fd = eventfd(0, 0);
    must(write(fd, &(u64::MAX - 1).to_ne_bytes()));
    assert_eq!(must(poll(&[(fd, POLLIN | POLLOUT)], 0)), [POLLIN]);
    let child = spawn(|| i32::from(write(fd, &1u64.to_ne_bytes()).is_err()));
    assert!(wait_for_state(child, "S"));
    assert_eq!(must(read_u64(fd)), u64::MAX - 1);
    exits(child, 0);
    assert_eq!(must(read_u64(fd)), 1);
}

fn timerfd_expires_and_counts() {
    let fd = must(call!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK)) as Fd;
    fails(read_u64(fd), libc::EAGAIN);
    must(call!(SYS_timerfd_settime, fd, 0, &[0u64, 10 * MS, 0, 20 * MS], 0));
    let start = now();
    assert_eq!(must(poll(&[(fd, POLLIN)], 5000)), [POLLIN]);
    within(now() - start, 19 * MS, 3 * SECOND, "expired after");
    sleep_ms(50);
    within(must(read_u64(fd)), 4, 500, "expirations");
    must(call!(SYS_timerfd_settime, fd, 0, &[0u64; 4], 0));
    fails(read_u64(fd), libc::EAGAIN);
}

fn timerfd_absolute_and_gettime() {
    let fd = must(call!(SYS_timerfd_create, libc::CLOCK_REALTIME, 0)) as Fd;
    let at = timespec_of_ns(must(clock(libc::CLOCK_REALTIME)) + 30 * MS);
    let value = [0u64, 0, at.tv_sec as u64, at.tv_nsec as u64];
    must(call!(SYS_timerfd_settime, fd, libc::TFD_TIMER_ABSTIME, &value, 0));
    assert_eq!(must(read_u64(fd)), 1);
    must(call!(SYS_timerfd_settime, fd, 0, &[7u64, 0, 100, 0], 0));
    let mut left = [0u64; 4];
    must(call!(SYS_timerfd_gettime, fd, &mut left));
    assert_eq!(left[0], 7);
    within(left[2], 95, 100, "seconds left");
    fails(call!(SYS_timerfd_create, 99, 0), libc::EINVAL);
    fails(call!(SYS_timerfd_settime, fd, 0, &[0u64, 0, 0, SECOND], 0), libc::EINVAL);
}

fn signalfd_reads_signals() {
    let set = bit(libc::SIGUSR1) | bit(40);
    must(block(set));
    let fd = must(call!(SYS_signalfd4, -1, &set, 8, libc::SFD_NONBLOCK)) as Fd;
    let mut record = [0u32; 32];
    fails(call!(SYS_read, fd, &mut record, 128), libc::EAGAIN);
    must(sigqueue(getpid(), 40, 0x1234));
    assert_eq!(must(poll(&[(fd, POLLIN)], 0)), [POLLIN]);
    assert_eq!(must(call!(SYS_read, fd, &mut record, 128)), 128);
    assert_eq!((record[0], record[3]), (40, getpid() as u32), "number and sender");
    assert_eq!(must(pending()), 0);
    fails(call!(SYS_read, fd, &mut record, 100), libc::EINVAL);
}

fn many_descriptors_at_once() {
    let pipes: Vec<(Fd, Fd)> = (0..200).map(|_| must(pipe())).collect();
    let set: Vec<(Fd, i16)> = pipes.iter().map(|(reader, _)| (*reader, POLLIN)).collect();
    let writer = pipes[137].1;
    let child = spawn(|| {
        sleep_ms(30);
        must(write(writer, b"x"));
        0
    });
    let ready = must(poll(&set, -1));
    assert_eq!(ready.iter().position(|events| *events != 0), Some(137));
    exits(child, 0);
}
