//! epoll(7).

use super::tests;
use crate::call;
use crate::check::{exits, fails, must};
use crate::sys::*;
use libc::POLLIN;

tests!("epoll":
    epoll_level_reports_until_drained,
    epoll_edge_reports_once_for_each_change,
    epoll_oneshot_needs_rearming,
    epoll_ctl_errors,
    epoll_forgets_closed_files,
    epoll_can_be_polled_and_nested,
    epoll_wait_wakes_and_times_out,
    epoll_returns_at_most_what_fits_and_rotates,
    epoll_keeps_what_could_not_be_copied_out,
    epoll_wakes_one_of_many_waiters_for_edge,
    epoll_sets_are_not_nested_without_end,
    epoll_circles_are_refused_to_two_at_once [30],
);

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

fn epoll_keeps_what_could_not_be_copied_out() {
    let poller = epoll();
    let pipes = [must(pipe()), must(pipe()), must(pipe())];
    let readers = pipes.map(|(reader, _)| reader);
    for ((reader, writer), mode) in pipes.iter().zip([ET, ET | ONESHOT, 0]) {
        add(poller, *reader, IN | mode);
        must(write(*writer, b"x"));
    }
    fails(call!(SYS_epoll_pwait, poller, 8, 3, 0, 0, 8), libc::EFAULT);
    // Memory that ends behind the first event: that one is delivered, the others stay.
    let pages = must(anonymous(2 * PAGE));
    must(munmap(pages + PAGE, PAGE));
    let last = pages + PAGE - size_of::<Event>();
    assert_eq!(must(call!(SYS_epoll_pwait, poller, last, 3, 0, 0, 8)), 1);
    assert_eq!(wait_for(poller, 3, 0), [(readers[1], IN), (readers[2], IN)]);
    assert_eq!(wait_for(poller, 3, 0), [(readers[2], IN)]);
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

fn epoll_sets_are_not_nested_without_end() {
    // From the top down, so that each addition alone looks shallow. Some kernels notice only when there is a file at the end.
    let sets: Vec<Fd> = (0..40).map(|_| epoll()).collect();
    let (reader, writer) = must(pipe());
    let mut refused = None;
    for (above, below) in sets.iter().zip(sets.iter().skip(1).chain([&reader])) {
        if let Err(errno) = control(*above, libc::EPOLL_CTL_ADD, *below, IN) {
            refused = Some(errno);
            break;
        }
    }
    assert!(matches!(refused, Some(Errno(libc::ELOOP | libc::EINVAL))), "{refused:?}");
    must(write(writer, b"x"));
    let last = sets[sets.len() - 1];
    let _ = control(last, libc::EPOLL_CTL_ADD, reader, IN);
    wait_for(last, 4, 0);
}

fn epoll_circles_are_refused_to_two_at_once() {
    let [first, second] = [epoll(), epoll()];
    let barrier = std::sync::Barrier::new(2);
    let add_often = |above, below| {
        for _ in 0..300 {
            barrier.wait();
            let result = control(above, libc::EPOLL_CTL_ADD, below, IN);
            wait_for(above, 4, 0);
            // Both sets are as they came to be; then the next round begins with empty ones.
            barrier.wait();
            if result.is_ok() {
                let circle = control(below, libc::EPOLL_CTL_ADD, above, IN);
                fails(circle, libc::ELOOP);
                must(control(above, libc::EPOLL_CTL_DEL, below, 0));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| add_often(first, second));
        add_often(second, first);
    });
}
