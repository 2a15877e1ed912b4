//! Tests of unix sockets.

use super::*;
use crate::fs::testing::World;
use crate::fs::{FileObject, OpenFile, OpenFlags};
use crate::io::{SliceSink, SliceSource};
use crate::net::{Shutdown, SocketType};
use crate::poll::{PollEvents, PollTable};
use crate::process::Credentials;
use crate::{Errno, Result};
use SocketType::{Datagram, SequencedPacket, Stream};
use alloc::sync::{Arc, Weak};
use std::time::{Duration, Instant};

const ME: Identity = Identity { pid: 7, uid: 1, gid: 2 };

fn pair(kind: SocketType) -> (Arc<Socket>, Arc<Socket>) {
    Socket::pair(kind, ME)
}

fn send(socket: &Socket, bytes: &[u8]) -> Result<usize> {
    socket.send(&mut SliceSource::new(bytes), None, &mut Ancillary::default())
}

fn receive(socket: &Socket, count: usize) -> Result<Vec<u8>> {
    receive_with(socket, count, false).map(|(bytes, _)| bytes)
}

fn receive_with(socket: &Socket, count: usize, peek: bool) -> Result<(Vec<u8>, Received)> {
    let mut bytes = vec![0; count];
    let mut received = Received::default();
    let count = socket.receive(&mut SliceSink::new(&mut bytes), peek, &mut received)?;
    bytes.truncate(count);
    Ok((bytes, received))
}

fn events(socket: &Socket) -> PollEvents {
    socket.poll(&mut PollTable::query())
}

fn open(socket: Arc<Socket>) -> Arc<OpenFile> {
    socket.open(OpenFlags::empty(), &Credentials::root()).unwrap()
}

/// Whether `test` comes true: a thread of another test may be the one that collects, or that drops what all throw away.
fn soon(mut test: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match test() {
            true => return true,
            false if Instant::now() > end => return false,
            false => std::thread::yield_now(),
        }
    }
}

fn with_files(files: &[&Arc<OpenFile>]) -> Ancillary {
    let files = files.iter().copied().cloned().collect();
    let descriptors = Some(Descriptors::new(files, u32::MAX - 5, usize::MAX).unwrap());
    Ancillary { descriptors, ..Ancillary::default() }
}

fn send_files(socket: &Socket, bytes: &[u8], files: &[&Arc<OpenFile>]) {
    let sent = socket.send(&mut SliceSource::new(bytes), None, &mut with_files(files));
    assert_eq!(sent, Ok(bytes.len()));
}

#[test]
fn a_stream_has_no_bounds_and_messages_have() {
    let (a, b) = pair(Stream);
    send(&a, b"ab").unwrap();
    send(&a, b"cd").unwrap();
    assert_eq!(receive(&b, 3), Ok(b"abc".to_vec()));
    assert_eq!(receive(&b, 3), Ok(b"d".to_vec()));
    assert_eq!(receive(&b, 3), Err(Errno::EAGAIN));
    for kind in [Datagram, SequencedPacket] {
        let (a, b) = pair(kind);
        for message in [&b"abc"[..], b"", b"d"] {
            send(&a, message).unwrap();
        }
        let (bytes, received) = receive_with(&b, 2, false).unwrap();
        assert_eq!((&bytes[..], received.length), (&b"ab"[..], 3));
        assert_eq!(receive(&b, 2), Ok(b"".to_vec()));
        assert_eq!(receive(&b, 2), Ok(b"d".to_vec()));
        assert_eq!(receive(&b, 2), Err(Errno::EAGAIN));
    }
}

#[test]
fn what_is_under_way_has_a_limit_whatever_its_size() {
    let (a, b) = pair(Stream);
    let mut total = 0;
    while let Ok(count) = send(&a, &[1; 1000]) {
        total += count;
    }
    assert!((DEFAULT_LIMIT..DEFAULT_LIMIT + 4096).contains(&total));
    assert!(!events(&a).contains(PollEvents::OUT));
    receive(&b, total / 2).unwrap();
    assert!(!events(&a).contains(PollEvents::OUT), "half full");
    receive(&b, total / 3).unwrap();
    assert!(events(&a).contains(PollEvents::OUT));
    let (a, b) = pair(SequencedPacket);
    b.set_option(linux_raw_sys::net::SO_PASSCRED, 1, Level::Ordinary).unwrap();
    assert!((0..100_000).any(|_| send(&a, b"") == Err(Errno::EAGAIN)), "empty messages count too");
    assert_eq!(send(&a, &[0; DEFAULT_LIMIT]), Err(Errno::EMSGSIZE));
}

#[test]
fn the_last_close_of_one_side_is_told_to_the_other() {
    let (a, b) = pair(Stream);
    send(&a, b"x").unwrap();
    drop(a);
    assert!(events(&b).contains(PollEvents::IN | PollEvents::HUP | PollEvents::RDHUP));
    assert_eq!(receive(&b, 9), Ok(b"x".to_vec()));
    assert_eq!(receive(&b, 9), Ok(Vec::new()));
    assert_eq!(send(&b, b"x"), Err(Errno::EPIPE));
    let (a, b) = pair(Stream);
    send(&a, b"unread").unwrap();
    drop(b);
    assert!(events(&a).contains(PollEvents::ERR));
    assert_eq!(receive(&a, 9), Err(Errno::ECONNRESET));
    assert_eq!(receive(&a, 9), Ok(Vec::new()));
    let (a, b) = pair(Datagram);
    drop(b);
    assert_eq!(send(&a, b"x"), Err(Errno::ECONNREFUSED));
    assert_eq!(send(&a, b"x"), Err(Errno::ENOTCONN));
    assert_eq!(receive(&a, 9), Err(Errno::EAGAIN));
}

#[test]
fn a_shutdown_ends_one_direction() {
    let (a, b) = pair(Stream);
    send(&a, b"x").unwrap();
    a.shut_down(Shutdown::from_number(1).unwrap());
    assert_eq!(send(&a, b"x"), Err(Errno::EPIPE));
    assert_eq!(receive(&b, 9), Ok(b"x".to_vec()));
    assert_eq!(receive(&b, 9), Ok(Vec::new()));
    assert_eq!(send(&b, b"y"), Ok(1));
    assert_eq!(receive(&a, 9), Ok(b"y".to_vec()));
    assert_eq!(events(&a) & PollEvents::ALWAYS, PollEvents::empty());
    b.shut_down(Shutdown::from_number(1).unwrap());
    assert!(events(&a).contains(PollEvents::HUP));
    assert_eq!(Shutdown::from_number(3), Err(Errno::EINVAL));
}

#[test]
fn names_are_found_by_type_and_go_with_the_socket() {
    let world = World::new();
    let server = Socket::new(Stream);
    bind(server.endpoint(), Name::Path(b"/s"), &world.caller()).unwrap();
    let find_it = |kind| find(Name::Path(b"/s"), kind, &world.caller()).map(|_| ());
    assert_eq!(find_it(Stream), Ok(()));
    assert_eq!(find_it(Datagram), Err(Errno::EPROTOTYPE));
    assert_eq!(bind(server.endpoint(), Name::Path(b"/t"), &world.caller()), Err(Errno::EINVAL));
    let other = Socket::new(Stream);
    assert_eq!(bind(other.endpoint(), Name::Path(b"/s"), &world.caller()), Err(Errno::EADDRINUSE));
    bind_anywhere(other.endpoint()).unwrap();
    let Some(Address::Abstract(name)) = other.endpoint().address.get().map(|name| &**name) else { panic!() };
    let find_other = |kind| find(Name::Abstract(name), kind, &world.caller()).map(|_| ());
    assert_eq!(find_other(Stream), Ok(()));
    assert_eq!(find_other(Datagram), Err(Errno::ECONNREFUSED));
    let name = name.clone();
    drop((server, other));
    assert_eq!(find_it(Stream), Err(Errno::ECONNREFUSED));
    assert_eq!(find(Name::Abstract(&name), Stream, &world.caller()).err(), Some(Errno::ECONNREFUSED));
}

fn listener(name: &'static [u8], backlog: u32) -> (World, Arc<Socket>) {
    let (world, server) = (World::new(), Socket::new(Stream));
    bind(server.endpoint(), Name::Abstract(name), &world.caller()).unwrap();
    server.listen(backlog, ME).unwrap();
    (world, server)
}

#[test]
fn connections_wait_in_the_backlog_and_may_send_before_the_accept() {
    let (_world, server) = listener(b"backlog", 1);
    let clients = [(); 3].map(|()| Socket::new(Stream));
    let who = Identity { pid: 9, ..ME };
    assert_eq!(clients[0].connect(server.endpoint(), who), Ok(()));
    assert_eq!(clients[0].connect(server.endpoint(), who), Err(Errno::EISCONN));
    assert_eq!(clients[1].connect(server.endpoint(), who), Ok(()));
    assert_eq!(clients[2].connect(server.endpoint(), who), Err(Errno::EAGAIN));
    send(&clients[0], b"early").unwrap();
    assert!(events(&server).contains(PollEvents::IN));
    let accepted = server.accept(true).unwrap();
    assert_eq!(receive(&accepted, 9), Ok(b"early".to_vec()));
    assert_eq!((accepted.peer_identity(), clients[0].peer_identity()), (who, ME));
    assert_eq!(clients[2].connect(server.endpoint(), who), Ok(()));
    drop(server);
    assert_eq!(receive(&clients[1], 1), Err(Errno::ECONNRESET), "it was never accepted");
    assert_eq!(send(&accepted, b"still"), Ok(5));
    assert_eq!(Socket::new(Stream).accept(true).err(), Some(Errno::EINVAL));
    assert_eq!(Socket::new(Datagram).listen(1, ME), Err(Errno::EOPNOTSUPP));
}

#[test]
fn datagrams_from_strangers_are_few_and_a_partner_keeps_others_out() {
    let world = World::new();
    let receiver = Socket::new(Datagram);
    bind(receiver.endpoint(), Name::Abstract(b"few"), &world.caller()).unwrap();
    let sender = Socket::new(Datagram);
    sender.connect(receiver.endpoint(), ME).unwrap();
    let sent = (0..100).take_while(|_| send(&sender, b"x").is_ok()).count();
    assert_eq!(sent, MAX_DATAGRAMS + 1);
    assert!(!events(&sender).contains(PollEvents::OUT));
    receive(&receiver, 1).unwrap();
    assert!(events(&sender).contains(PollEvents::OUT));
    let partner = Socket::new(Datagram);
    receiver.connect(partner.endpoint(), ME).unwrap();
    assert_eq!(sender.connect(receiver.endpoint(), ME), Err(Errno::EPERM));
}

#[test]
fn a_stream_stops_behind_descriptors_and_hands_them_over_once() {
    let (a, b) = pair(Stream);
    let passed = open(Socket::new(Stream));
    send(&a, b"ab").unwrap();
    send_files(&a, b"cd", &[&passed]);
    send(&a, b"ef").unwrap();
    let (bytes, peeked) = receive_with(&b, 9, true).unwrap();
    assert_eq!(bytes, b"abcd");
    assert_eq!(peeked.ancillary.descriptors.unwrap().files().len(), 1);
    let (bytes, received) = receive_with(&b, 3, false).unwrap();
    assert_eq!(bytes, b"abc");
    let files = received.ancillary.descriptors.unwrap().into_files();
    assert!(Arc::ptr_eq(&files[0], &passed));
    let (bytes, received) = receive_with(&b, 9, false).unwrap();
    assert_eq!(bytes, b"def");
    assert!(received.ancillary.descriptors.is_none());
    drop(files);
    let weak = Arc::downgrade(&passed);
    drop(passed);
    assert!(soon(|| weak.strong_count() == 0));
}

#[test]
fn bytes_of_different_senders_are_told_apart_where_that_matters() {
    let (a, b) = pair(Stream);
    let say = |bytes: &[u8], pid| {
        let mut ancillary = Ancillary { identity: Some(Identity { pid, ..ME }), ..Ancillary::default() };
        a.send(&mut SliceSource::new(bytes), None, &mut ancillary).unwrap();
    };
    say(b"ab", 1);
    say(b"cd", 1);
    say(b"ef", 2);
    assert_eq!(receive(&b, 1), Ok(b"a".to_vec()));
    b.set_option(linux_raw_sys::net::SO_PASSCRED, 1, Level::Ordinary).unwrap();
    let mut pids = Vec::new();
    while let Ok((bytes, received)) = receive_with(&b, 9, false) {
        pids.push((bytes, received.ancillary.identity.unwrap().pid));
    }
    assert_eq!(pids, [(b"bcd".to_vec(), 1), (b"ef".to_vec(), 2)]);
}

/// Closes sockets until `socket` is collected.
fn is_collected(socket: &Weak<Socket>) -> bool {
    soon(|| {
        drop(Socket::new(Stream));
        socket.strong_count() == 0
    })
}

#[test]
fn sockets_that_only_wait_at_one_another_are_collected() {
    let (a, b) = pair(Stream);
    let (weak_a, weak_b) = (Arc::downgrade(&a), Arc::downgrade(&b));
    let (file_a, file_b) = (open(a.clone()), open(b.clone()));
    // Each is sent to both, so that both wait at both.
    send_files(&a, b"x", &[&file_a, &file_b]);
    send_files(&b, b"x", &[&file_a, &file_b]);
    let listening = listener(b"garbage", 5).1;
    let weak_listener = Arc::downgrade(&listening);
    let client = Socket::new(Stream);
    client.connect(listening.endpoint(), ME).unwrap();
    let file = open(listening.clone());
    send_files(&client, b"x", &[&file]);
    drop((a, b, file_a, listening, file, client));
    assert!(is_collected(&weak_listener), "at its own backlog");
    assert!(weak_a.strong_count() > 0, "one is still open");
    drop(file_b);
    assert!(is_collected(&weak_a) && is_collected(&weak_b));
}

#[test]
fn a_socket_in_flight_that_can_be_received_is_not_collected() {
    let (a, b) = pair(Stream);
    let (inner, far) = pair(Stream);
    let file = open(inner);
    send_files(&far, b"y", &[&file]);
    send_files(&a, b"x", &[&file]);
    drop(file);
    (0..100).for_each(|_| drop(Socket::new(Stream)));
    let (_, received) = receive_with(&b, 9, false).unwrap();
    let files = received.ancillary.descriptors.unwrap().into_files();
    let inner = files[0].object_as::<Socket>().unwrap();
    let (bytes, received) = receive_with(&inner, 9, false).unwrap();
    assert_eq!(bytes, b"y");
    assert!(Arc::ptr_eq(&received.ancillary.descriptors.unwrap().files()[0], &files[0]));
}

#[test]
fn a_long_chain_of_sockets_in_sockets_is_dropped_without_depth() {
    let mut last = open(Socket::new(Stream));
    for _ in 0..20_000 {
        let (holder, sender) = pair(Stream);
        send_files(&sender, b"x", &[&last]);
        last = open(holder);
    }
    let (outer, sender) = pair(Stream);
    send_files(&sender, b"x", &[&last]);
    drop((last, outer));
}

#[test]
fn each_user_has_a_limit_of_what_is_in_flight() {
    let file = open(Socket::new(Stream));
    let uid = 4_000_000_000;
    let first = Descriptors::new(vec![file.clone(); 10], uid, 9).unwrap();
    assert_eq!(Descriptors::new(vec![file.clone()], uid, 9).err(), Some(Errno::ETOOMANYREFS));
    drop(first);
    assert!(soon(|| Descriptors::new(vec![file.clone()], uid, 9).is_ok()));
    assert_eq!(Descriptors::new(vec![file; MOST_DESCRIPTORS + 1], uid, 9).err(), Some(Errno::EINVAL));
}
