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
    epoll_level_reports_until_drained,
    epoll_edge_reports_once_for_each_change,
    epoll_oneshot_needs_rearming,
    epoll_ctl_errors,
    epoll_forgets_closed_files,
    epoll_can_be_polled_and_nested,
    epoll_wait_wakes_and_times_out,
    epoll_returns_at_most_what_fits_and_rotates,
    epoll_wakes_one_of_many_waiters_for_edge,
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

/// `struct epoll_event` as arm64 lays it out.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Event {
    events: u32,
    data: u64,
}

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ET: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;

fn epoll() -> Fd {
    must(call!(SYS_epoll_create1, libc::EPOLL_CLOEXEC)) as Fd
}

fn control(epoll: Fd, operation: i32, fd: Fd, events: u32) -> Result<usize> {
    let event = Event { events, data: fd as u64 };
    call!(SYS_epoll_ctl, epoll, operation, fd, &event)
}

fn add(epoll: Fd, fd: Fd, events: u32) {
    must(control(epoll, libc::EPOLL_CTL_ADD, fd, events));
}

fn wait_for(epoll: Fd, room: usize, ms: i32) -> Vec<(Fd, u32)> {
    let mut events = vec![Event::default(); room];
    let n = must(call!(SYS_epoll_pwait, epoll, events.as_mut_ptr(), room, ms, 0, 8));
    events.iter().take(n).map(|event| (event.data as Fd, event.events)).collect()
}

fn epoll_level_reports_until_drained() {
    let (reader, writer) = must(pipe());
    let poller = epoll();
    add(poller, reader, IN);
    assert_eq!(wait_for(poller, 4, 0), []);
    must(write(writer, b"xy"));
    assert_eq!(wait_for(poller, 4, 0), [(reader, IN)]);
    must(read(reader, &mut [0u8; 1]));
    assert_eq!(wait_for(poller, 4, 0), [(reader, IN)]);
    must(read(reader, &mut [0u8; 1]));
    assert_eq!(wait_for(poller, 4, 0), []);
}

fn epoll_edge_reports_once_for_each_change() {
    let (reader, writer) = must(pipe());
    let poller = epoll();
    add(poller, reader, IN | ET);
    must(write(writer, b"x"));
    assert_eq!(wait_for(poller, 4, 0), [(reader, IN)]);
    assert_eq!(wait_for(poller, 4, 0), []);
    must(write(writer, b"y"));
    assert_eq!(wait_for(poller, 4, 0), [(reader, IN)]);
    // What is ready already when it is added, or changed, is reported.
    must(control(poller, libc::EPOLL_CTL_MOD, reader, IN | ET));
    assert_eq!(wait_for(poller, 4, 0), [(reader, IN)]);
}

fn epoll_oneshot_needs_rearming() {
    let (reader, writer) = must(pipe());
    let poller = epoll();
    add(poller, reader, IN | ONESHOT);
    must(write(writer, b"x"));
    assert_eq!(wait_for(poller, 4, 0), [(reader, IN)]);
    must(write(writer, b"y"));
    assert_eq!(wait_for(poller, 4, 0), []);
    must(control(poller, libc::EPOLL_CTL_MOD, reader, IN | ONESHOT));
    assert_eq!(wait_for(poller, 4, 0), [(reader, IN)]);
}

fn epoll_ctl_errors() {
    let (reader, _writer) = must(pipe());
    let poller = epoll();
    let file = must(scratch_file(c"file", 0));
    fails(control(poller, libc::EPOLL_CTL_ADD, file, IN), libc::EPERM);
    fails(control(poller, libc::EPOLL_CTL_ADD, 77, IN), libc::EBADF);
    fails(control(poller, libc::EPOLL_CTL_MOD, reader, IN), libc::ENOENT);
    fails(control(poller, libc::EPOLL_CTL_DEL, reader, IN), libc::ENOENT);
    add(poller, reader, IN);
    fails(control(poller, libc::EPOLL_CTL_ADD, reader, IN), libc::EEXIST);
    fails(control(poller, libc::EPOLL_CTL_ADD, poller, IN), libc::EINVAL);
    fails(control(reader, libc::EPOLL_CTL_ADD, poller, IN), libc::EINVAL);
    fails(control(poller, 9, reader, IN), libc::EINVAL);
    fails(call!(SYS_epoll_ctl, poller, libc::EPOLL_CTL_MOD, reader, 8), libc::EFAULT);
    fails(call!(SYS_epoll_pwait, poller, 8, 0, 0, 0, 8), libc::EINVAL);
    fails(call!(SYS_epoll_pwait, file, 8, 1, 0, 0, 8), libc::EINVAL);
    must(control(poller, libc::EPOLL_CTL_DEL, reader, 0));
}

fn epoll_forgets_closed_files() {
    let (reader, writer) = must(pipe());
    let poller = epoll();
    add(poller, reader, IN);
    must(write(writer, b"x"));
    let copy = must(call!(SYS_dup, reader)) as Fd;
    must(close(reader));
    assert_eq!(wait_for(poller, 4, 0), [(reader, IN)], "the description is still open");
    must(close(copy));
    assert_eq!(wait_for(poller, 4, 0), []);
}

fn epoll_can_be_polled_and_nested() {
    let (reader, writer) = must(pipe());
    let (inner, outer) = (epoll(), epoll());
    add(inner, reader, IN);
    add(outer, inner, IN);
    assert_eq!(must(poll(&[(outer, POLLIN)], 0)), [0]);
    must(write(writer, b"x"));
    assert_eq!(must(poll(&[(outer, POLLIN)], 1000)), [POLLIN]);
    assert_eq!(wait_for(outer, 4, 1000), [(inner, IN)]);
    fails(control(inner, libc::EPOLL_CTL_ADD, outer, IN), libc::ELOOP);
}

fn epoll_wait_wakes_and_times_out() {
    let (reader, writer) = must(pipe());
    let poller = epoll();
    add(poller, reader, IN);
    let start = now();
    assert_eq!(wait_for(poller, 4, 30), []);
    assert!(now() - start >= 30 * MS);
    let child = spawn(|| {
        sleep_ms(30);
        must(write(writer, b"x"));
        0
    });
    assert_eq!(wait_for(poller, 4, -1), [(reader, IN)]);
    exits(child, 0);
    must(read(reader, &mut [0u8; 1]));
    must(close(writer));
    assert_eq!(wait_for(poller, 4, -1), [(reader, libc::EPOLLHUP as u32)]);
}

fn epoll_returns_at_most_what_fits_and_rotates() {
    let poller = epoll();
    let pipes: Vec<(Fd, Fd)> = (0..5).map(|_| must(pipe())).collect();
    pipes.iter().for_each(|(_, writer)| add(poller, *writer, OUT));
    let mut found: Vec<Fd> = (0..5).flat_map(|_| wait_for(poller, 2, 0)).map(|(fd, _)| fd).collect();
    assert_eq!(found.len(), 10);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 5, "some ready descriptors are never reported");
}

fn epoll_wakes_one_of_many_waiters_for_edge() {
    let (reader, writer) = must(pipe());
    let poller = epoll();
    add(poller, reader, IN | ET);
    let children: Vec<Pid> = (0..3).map(|_| spawn(|| wait_for(poller, 1, 400).len() as i32)).collect();
    children.iter().for_each(|child| assert!(wait_for_state(*child, "S")));
    must(write(writer, b"x"));
    let woken: i32 = children.iter().map(|child| i32::from(must(wait(*child)) == Status::Exited(1))).sum();
    assert_eq!(woken, 1);
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
