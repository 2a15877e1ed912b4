//! Unix sockets: names, connections, datagrams with addresses (unix(7), bind(2), connect(2), accept(2)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, must, some};
use crate::sys::*;
use libc::{MSG_DONTWAIT, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM};

tests!("socket":
    client_and_server_talk_through_a_path,
    abstract_names_need_no_file,
    names_are_told_as_they_were_bound,
    autobind_chooses_an_abstract_name,
    bind_errors,
    socket_file_has_the_mode_of_the_umask,
    stale_socket_file_is_refused,
    unlinked_name_does_not_lead_to_the_socket,
    connect_needs_write_permission,
    connect_errors,
    listen_errors,
    accept_errors,
    accept_takes_connections_in_order,
    client_may_send_before_the_accept,
    full_backlog_is_eagain_or_waits,
    closed_listener_resets_what_it_had_not_accepted,
    listener_polls_readable,
    accept_waits_and_is_woken,
    accept_flags_are_not_inherited,
    datagrams_carry_their_senders_address,
    datagram_queue_of_strangers_is_short,
    connected_datagram_socket_hears_only_its_partner,
    unspecified_address_dissolves_a_partnership,
    peer_credentials_are_those_of_connect_and_listen,
);

fn text(address: &UnixAddress) -> String {
    String::from_utf8_lossy(address.name()).into_owned()
}

fn client_and_server_talk_through_a_path() {
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let address = UnixAddress::path("server");
        let server = must(listener(kind, &address, 5));
        let child = spawn(|| {
            let client = must(connected(kind, &address));
            must(write(client, b"ping"));
            i32::from(read(client, &mut [0; 8]) != Ok(4))
        });
        let accepted = must(accept(server, 0));
        assert_eq!(must(read(accepted, &mut [0; 8])), 4);
        must(write(accepted, b"pong"));
        exits(child, 0);
        must(close(server));
        must(unlink(c"server"));
    }
}

fn abstract_names_need_no_file() {
    let address = UnixAddress::hidden("lichen\0with a zero");
    let server = must(listener(SOCK_STREAM, &address, 5));
    let client = must(connected(SOCK_STREAM, &address));
    let accepted = must(accept(server, 0));
    must(write(client, b"x"));
    assert_eq!(must(read(accepted, &mut [0; 8])), 1);
    fails(connected(SOCK_STREAM, &UnixAddress::hidden("lichen")), libc::ECONNREFUSED);
    // Each type has names of its own.
    fails(connected(SOCK_DGRAM, &address), libc::ECONNREFUSED);
    must(bind(must(socket(SOCK_DGRAM)), &address));
    must(close(server));
    fails(connected(SOCK_STREAM, &address), libc::ECONNREFUSED);
}

fn names_are_told_as_they_were_bound() {
    let server = must(listener(SOCK_STREAM, &UnixAddress::path("./named"), 5));
    let client = must(connected(SOCK_STREAM, &UnixAddress::path("named")));
    let accepted = must(accept(server, 0));
    assert_eq!(must(name_of(client, false)).length, 2);
    assert_eq!(text(&must(name_of(client, true))), "./named\0");
    assert_eq!(text(&must(name_of(accepted, false))), "./named\0");
    assert_eq!(must(name_of(accepted, true)).length, 2);
    fails(name_of(server, true), libc::ENOTCONN);
    let (mut raw, mut length) = ([0xffu8; 5], 5u32);
    must(call!(SYS_getsockname, server, &mut raw, &mut length));
    assert_eq!((&raw[2..], length), (&b"./n"[..], 10), "cut, with its whole length");
    fails(call!(SYS_getsockname, server, &mut raw, &mut { u32::MAX }), libc::EINVAL);
}

fn autobind_chooses_an_abstract_name() {
    let fd = must(socket(SOCK_DGRAM));
    must(bind(fd, &UnixAddress::EMPTY));
    let name = must(name_of(fd, false));
    assert_eq!((name.length, name.name()[0]), (8, 0));
    assert!(name.name()[1..].iter().all(u8::is_ascii_hexdigit));
    let other = must(socket(SOCK_DGRAM));
    must(bind(other, &UnixAddress::EMPTY));
    assert_ne!(text(&name), text(&must(name_of(other, false))));
}

fn bind_errors() {
    let fd = must(socket(SOCK_STREAM));
    must(write_file(c"file", b"x"));
    fails(bind(fd, &UnixAddress::path("file")), libc::EADDRINUSE);
    fails(bind(fd, &UnixAddress::path("no/such/place")), libc::ENOENT);
    let mut wrong = UnixAddress::path("x");
    wrong.raw.sun_family = libc::AF_INET as u16;
    fails(bind(fd, &wrong), libc::EINVAL);
    fails(call!(SYS_bind, fd, &wrong.raw, 111), libc::EINVAL);
    fails(call!(SYS_bind, fd, &wrong.raw, -1), libc::EINVAL);
    fails(call!(SYS_bind, fd, 8, 10), libc::EFAULT);
    must(bind(fd, &UnixAddress::path("mine")));
    fails(bind(fd, &UnixAddress::path("another")), libc::EINVAL);
    fails(bind(must(socket(SOCK_STREAM)), &UnixAddress::path("mine")), libc::EADDRINUSE);
    fails(stat(c"another"), libc::ENOENT);
}

fn socket_file_has_the_mode_of_the_umask() {
    must(call!(SYS_umask, 0o027));
    must(bind(must(socket(SOCK_STREAM)), &UnixAddress::path("mode")));
    assert_eq!(must(stat(c"mode")).st_mode, libc::S_IFSOCK | 0o750);
    fails(open(c"mode", libc::O_RDWR, 0), libc::ENXIO);
}

fn stale_socket_file_is_refused() {
    let address = UnixAddress::path("stale");
    let server = must(listener(SOCK_STREAM, &address, 5));
    must(close(must(connected(SOCK_STREAM, &address))));
    must(close(server));
    must(stat(c"stale"));
    fails(connected(SOCK_STREAM, &address), libc::ECONNREFUSED);
    fails(bind(must(socket(SOCK_STREAM)), &address), libc::EADDRINUSE);
}

fn unlinked_name_does_not_lead_to_the_socket() {
    let server = must(listener(SOCK_STREAM, &UnixAddress::path("before"), 5));
    must(rename(c"before", c"after", 0));
    must(connected(SOCK_STREAM, &UnixAddress::path("after")));
    fails(connected(SOCK_STREAM, &UnixAddress::path("before")), libc::ENOENT);
    must(unlink(c"after"));
    fails(connected(SOCK_STREAM, &UnixAddress::path("after")), libc::ENOENT);
    must(accept(server, 0));
}

fn connect_needs_write_permission() {
    must(call!(SYS_fchmodat, libc::AT_FDCWD, c".", 0o755));
    let _server = must(listener(SOCK_STREAM, &UnixAddress::path("guarded"), 5));
    must(call!(SYS_fchmodat, libc::AT_FDCWD, c"guarded", 0o755));
    let guarded = must(open(c".", libc::O_RDONLY | libc::O_DIRECTORY, 0));
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        must(call!(SYS_fchdir, guarded));
        fails(connected(SOCK_STREAM, &UnixAddress::path("guarded")), libc::EACCES);
    });
}

fn connect_errors() {
    let fd = must(socket(SOCK_STREAM));
    fails(connect(fd, &UnixAddress::path("nothing")), libc::ENOENT);
    must(write_file(c"file", b"x"));
    fails(connect(fd, &UnixAddress::path("file")), libc::ECONNREFUSED);
    fails(connect(fd, &UnixAddress::EMPTY), libc::EINVAL);
    let server = must(socket(SOCK_STREAM));
    let address = UnixAddress::path("server");
    must(bind(server, &address));
    fails(connect(fd, &address), libc::ECONNREFUSED);
    must(listen(server, 5));
    fails(connected(SOCK_DGRAM, &address), libc::EPROTOTYPE);
    must(connect(fd, &address));
    fails(connect(fd, &address), libc::EISCONN);
    fails(connect(server, &address), libc::EINVAL);
    must(shutdown(server, libc::SHUT_RD));
    fails(connected(SOCK_STREAM, &address), libc::ECONNREFUSED);
}

fn listen_errors() {
    fails(listen(must(socket(SOCK_STREAM)), 5), libc::EINVAL);
    fails(listen(must(socket(SOCK_DGRAM)), 5), libc::EOPNOTSUPP);
    fails(listen(must(socket_pair(SOCK_STREAM)).0, 5), libc::EINVAL);
    let fd = must(listener(SOCK_STREAM, &UnixAddress::EMPTY, 5));
    assert_eq!(must(option(fd, libc::SO_ACCEPTCONN)), 1);
    must(listen(fd, -1));
    fails(recv(fd, &mut [0; 1], 0), libc::EINVAL);
    fails(send(fd, b"x", libc::MSG_NOSIGNAL), libc::ENOTCONN);
}

fn accept_errors() {
    fails(accept(must(socket(SOCK_STREAM)), 0), libc::EINVAL);
    fails(accept(must(socket(SOCK_DGRAM)), 0), libc::EOPNOTSUPP);
    let address = UnixAddress::hidden("accept errors");
    let fd = must(listener(SOCK_STREAM | SOCK_NONBLOCK, &address, 5));
    fails(accept(fd, 0), libc::EAGAIN);
    fails(accept(fd, 1), libc::EINVAL);
    must(connected(SOCK_STREAM, &address));
    must(shutdown(fd, libc::SHUT_RD));
    must(accept(fd, 0));
    fails(accept(fd, 0), libc::EAGAIN);
    must(fcntl(fd, libc::F_SETFL, 0));
    fails(accept(fd, 0), libc::EINVAL);
}

fn accept_takes_connections_in_order() {
    let address = UnixAddress::hidden("in order");
    let server = must(listener(SOCK_STREAM, &address, 5));
    let clients: Vec<Fd> = (0..4).map(|_| must(connected(SOCK_STREAM, &address))).collect();
    for (index, client) in clients.iter().enumerate() {
        must(write(*client, &[index as u8]));
    }
    for index in 0..4 {
        let mut byte = [9u8];
        must(read(must(accept(server, 0)), &mut byte));
        assert_eq!(byte[0], index);
    }
}

fn client_may_send_before_the_accept() {
    let address = UnixAddress::hidden("early");
    let server = must(listener(SOCK_STREAM, &address, 5));
    let client = must(connected(SOCK_STREAM, &address));
    must(write(client, b"early"));
    must(close(client));
    let accepted = must(accept(server, 0));
    assert_eq!(must(read_to_end(accepted)), b"early");
}

fn full_backlog_is_eagain_or_waits() {
    let address = UnixAddress::hidden("full");
    let server = must(listener(SOCK_STREAM, &address, 1));
    let _held = [(); 2].map(|()| must(connected(SOCK_STREAM, &address)));
    fails(connected(SOCK_STREAM | SOCK_NONBLOCK, &address), libc::EAGAIN);
    let child = spawn(|| i32::from(connected(SOCK_STREAM, &address).is_err()));
    assert!(wait_for_state(child, "S"), "connect does not wait");
    must(accept(server, 0));
    exits(child, 0);
}

fn closed_listener_resets_what_it_had_not_accepted() {
    let address = UnixAddress::hidden("closed");
    let server = must(listener(SOCK_STREAM, &address, 5));
    let client = must(connected(SOCK_STREAM, &address));
    must(close(server));
    fails(read(client, &mut [0; 1]), libc::ECONNRESET);
    assert_eq!(must(read(client, &mut [0; 1])), 0);
    fails(send(client, b"x", libc::MSG_NOSIGNAL), libc::EPIPE);
}

fn listener_polls_readable() {
    let address = UnixAddress::hidden("polled");
    let server = must(listener(SOCK_STREAM, &address, 5));
    let events = || must(poll(&[(server, libc::POLLIN | libc::POLLOUT)], 0));
    assert_eq!(events(), [0]);
    let _client = must(connected(SOCK_STREAM, &address));
    assert_eq!(events(), [libc::POLLIN]);
    must(accept(server, 0));
    assert_eq!(events(), [0]);
}

fn accept_waits_and_is_woken() {
    let address = UnixAddress::hidden("woken");
    let server = must(listener(SOCK_STREAM, &address, 5));
    let child = spawn(|| i32::from(accept(server, 0).is_err()));
    assert!(wait_for_state(child, "S"), "accept does not wait");
    must(connected(SOCK_STREAM, &address));
    exits(child, 0);
}

fn accept_flags_are_not_inherited() {
    let address = UnixAddress::hidden("flags");
    let server = must(listener(SOCK_STREAM | SOCK_NONBLOCK, &address, 5));
    let _clients = [(); 2].map(|()| must(connected(SOCK_STREAM, &address)));
    let plain = must(accept(server, 0));
    assert_eq!(must(fcntl(plain, libc::F_GETFL, 0)), libc::O_RDWR as usize);
    let flagged = must(accept(server, SOCK_NONBLOCK | libc::SOCK_CLOEXEC));
    assert_eq!(must(fcntl(flagged, libc::F_GETFL, 0)), (libc::O_RDWR | libc::O_NONBLOCK) as usize);
    assert_eq!(must(fcntl(flagged, libc::F_GETFD, 0)), libc::FD_CLOEXEC as usize);
}

fn datagrams_carry_their_senders_address() {
    let receiver = must(socket(SOCK_DGRAM));
    must(bind(receiver, &UnixAddress::path("inbox")));
    let named = must(socket(SOCK_DGRAM));
    must(bind(named, &UnixAddress::hidden("sender")));
    must(send_to(named, b"from a name", &UnixAddress::path("inbox")));
    must(send_to(must(socket(SOCK_DGRAM)), b"from nobody", &UnixAddress::path("inbox")));
    let (count, sender) = must(recv_from(receiver, &mut [0; 32]));
    assert_eq!((count, sender.name()), (11, &b"\0sender"[..]));
    let (count, sender) = must(recv_from(receiver, &mut [0; 32]));
    assert_eq!((count, sender.length), (11, 0));
    fails(send_to(named, b"x", &UnixAddress::path("nowhere")), libc::ENOENT);
    fails(send(named, b"x", 0), libc::ENOTCONN);
    let (a, _b) = must(socket_pair(SOCK_STREAM));
    fails(send_to(a, b"x", &UnixAddress::path("inbox")), libc::EISCONN);
}

fn datagram_queue_of_strangers_is_short() {
    let receiver = must(socket(SOCK_DGRAM));
    must(bind(receiver, &UnixAddress::path("short")));
    let sender = must(connected(SOCK_DGRAM | SOCK_NONBLOCK, &UnixAddress::path("short")));
    let sent = (0..100).take_while(|_| send(sender, b"x", 0).is_ok()).count();
    assert_eq!(sent, 11);
    fails(send(sender, b"x", 0), libc::EAGAIN);
    assert_eq!(must(poll(&[(sender, libc::POLLOUT)], 0)), [0]);
    must(read(receiver, &mut [0; 1]));
    assert_eq!(must(poll(&[(sender, libc::POLLOUT)], 0)), [libc::POLLOUT]);
}

fn connected_datagram_socket_hears_only_its_partner() {
    let receiver = must(socket(SOCK_DGRAM));
    must(bind(receiver, &UnixAddress::path("picky")));
    let partner = must(socket(SOCK_DGRAM));
    must(bind(partner, &UnixAddress::path("partner")));
    must(connect(receiver, &UnixAddress::path("partner")));
    fails(send_to(must(socket(SOCK_DGRAM)), b"x", &UnixAddress::path("picky")), libc::EPERM);
    must(send_to(partner, b"x", &UnixAddress::path("picky")));
    assert_eq!(must(read(receiver, &mut [0; 4])), 1);
}

fn unspecified_address_dissolves_a_partnership() {
    let (a, b) = must(socket_pair(SOCK_DGRAM));
    let mut unspecified = UnixAddress::EMPTY;
    unspecified.raw.sun_family = libc::AF_UNSPEC as u16;
    must(connect(a, &unspecified));
    fails(send(a, b"x", 0), libc::ENOTCONN);
    fails(recv(b, &mut [0; 1], MSG_DONTWAIT), libc::EAGAIN);
    let (stream, _other) = must(socket_pair(SOCK_STREAM));
    fails(connect(stream, &unspecified), libc::EINVAL);
}

fn peer_credentials_are_those_of_connect_and_listen() {
    let (uid, gid) = some(ids(), "ids");
    let own = [getpid() as u32, uid, gid];
    let (a, b) = must(socket_pair(SOCK_STREAM));
    assert_eq!((must(peer_credentials(a)), must(peer_credentials(b))), (own, own));
    let address = UnixAddress::hidden("credentials");
    let server = must(listener(SOCK_STREAM, &address, 5));
    let (hold, release) = must(pipe());
    let child = spawn(|| {
        must(close(release));
        let client = must(connected(SOCK_STREAM, &address));
        let seen = must(peer_credentials(client));
        must(read(hold, &mut [0; 1]));
        i32::from(seen != own)
    });
    let accepted = must(accept(server, 0));
    assert_eq!(must(peer_credentials(accepted)), [child as u32, uid, gid]);
    must(close(release));
    exits(child, 0);
    assert_eq!(must(peer_credentials(must(socket(SOCK_STREAM)))), [0, u32::MAX, u32::MAX]);
}

/// The effective ids.
fn ids() -> Option<(u32, u32)> {
    Some((call!(SYS_geteuid).ok()? as u32, call!(SYS_getegid).ok()? as u32))
}
