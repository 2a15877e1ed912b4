//! Unix sockets: readiness, by poll and epoll (unix(7), epoll(7)).

use super::tests;
use crate::call;
use crate::check::must;
use crate::sys::*;
use libc::{SOCK_DGRAM, SOCK_STREAM};

tests!("socket":
    poll_tells_both_directions_and_the_end,
    unconnected_stream_polls_hup,
    epoll_edge_reports_each_arrival,
    epoll_hears_of_room_though_it_was_added_before_the_connect,
);

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
