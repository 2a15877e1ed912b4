//! Descriptors in flight: how many each user has, and those that nobody can ever receive.
//!
//! A socket whose only references are in messages, all of which wait at such sockets, is garbage: sent to itself and closed, for instance. As on
//! Linux the collector runs when some socket is closed for good while sockets are in flight; where many are, not at each close, so that a close
//! costs little.
//!
//! # Why it frees nothing that is in use
//! The list's lock is held from the counting to the judgement, and files enter the list before they come into a queue. A file that has no
//! reference but those in messages can be got only by receiving one. If that happens after the counting, its reference is missing in the
//! queue that is looked through, or was found there; either way that queue can be reached, so the file is not judged to be garbage, and what
//! waits at it is judged by the references as they were found. What is sent meanwhile waits for the lock.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::endpoint::State;
use super::incoming::Content;
use super::socket::Socket;
use crate::fs::OpenFile;
use crate::sync::SpinLock;
use crate::{Errno, Result};

struct InFlight {
    /// How many descriptors each user has in flight.
    users: BTreeMap<u32, usize>,
    /// Sockets in flight by their address, each with how often it is.
    sockets: BTreeMap<usize, (Weak<OpenFile>, usize)>,
    /// Sockets closed since the last collection.
    closed: usize,
}

/// A collection looks at up to this many sockets for each that was closed.
const SOCKETS_PER_CLOSE: usize = 16;

static IN_FLIGHT: SpinLock<InFlight> =
    SpinLock::new(InFlight { users: BTreeMap::new(), sockets: BTreeMap::new(), closed: 0 });

/// Whether sockets are in flight, as a hint for those that are closed.
static ANY: AtomicBool = AtomicBool::new(false);

fn socket_of(file: &OpenFile) -> Option<Arc<Socket>> {
    file.object_as::<Socket>()
}

/// Files go on their way.
///
/// # Errors
/// `ETOOMANYREFS` when the user has more than `limit` in flight.
pub(super) fn enter(files: &[Arc<OpenFile>], uid: u32, limit: usize) -> Result<()> {
    let mut in_flight = IN_FLIGHT.lock();
    let count = in_flight.users.entry(uid).or_insert(0);
    if *count > limit {
        return Err(Errno::ETOOMANYREFS);
    }
    *count += files.len();
    for file in files.iter().filter(|file| socket_of(file).is_some()) {
        let entry = in_flight.sockets.entry(Arc::as_ptr(file) as usize);
        entry.or_insert_with(|| (Arc::downgrade(file), 0)).1 += 1;
        ANY.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// They have arrived, or are thrown away.
pub(super) fn leave(files: &[Arc<OpenFile>], uid: u32) {
    let mut in_flight = IN_FLIGHT.lock();
    if let Some(count) = in_flight.users.get_mut(&uid) {
        *count -= files.len().min(*count);
        if *count == 0 {
            in_flight.users.remove(&uid);
        }
    }
    for file in files {
        let key = Arc::as_ptr(file) as usize;
        if let Some((_, count)) = in_flight.sockets.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                in_flight.sockets.remove(&key);
            }
        }
    }
    if in_flight.sockets.is_empty() {
        ANY.store(false, Ordering::Relaxed);
    }
}

/// A socket all of whose references are in messages.
struct Candidate {
    file: Arc<OpenFile>,
    socket: Arc<Socket>,
    /// References from queues that are not known to be garbage.
    outside: usize,
    reachable: bool,
}

/// A socket was closed.
pub(super) fn note_close() {
    if !ANY.load(Ordering::Relaxed) {
        return;
    }
    let due = {
        let mut in_flight = IN_FLIGHT.lock();
        in_flight.closed += 1;
        let due = in_flight.closed * SOCKETS_PER_CLOSE >= in_flight.sockets.len();
        if due {
            in_flight.closed = 0;
        }
        due
    };
    if due {
        collect();
    }
}

/// Finds what nobody can receive any more, and empties it.
fn collect() {
    static COLLECTING: AtomicBool = AtomicBool::new(false);
    if COLLECTING.swap(true, Ordering::Acquire) {
        return;
    }
    let garbage = find_garbage().unwrap_or_default();
    let contents: Vec<_> = garbage.iter().map(empty).collect();
    drop((contents, garbage));
    COLLECTING.store(false, Ordering::Release);
}

/// # Errors
/// `ENOMEM`: some other time.
fn find_garbage() -> Result<Vec<Arc<Socket>>> {
    let in_flight = IN_FLIGHT.lock();
    let mut candidates: BTreeMap<usize, Candidate> = BTreeMap::new();
    for (key, (file, count)) in &in_flight.sockets {
        let Some(file) = file.upgrade() else { continue };
        // Ours is one more.
        if Arc::strong_count(&file) == count + 1
            && let Some(socket) = socket_of(&file)
        {
            candidates.insert(*key, Candidate { file, socket, outside: *count, reachable: false });
        }
    }
    let mut edges: Vec<(usize, usize)> = Vec::new();
    for (from, candidate) in &candidates {
        for_each_file(&candidate.socket, &mut |file| {
            let to = Arc::as_ptr(file) as usize;
            if candidates.contains_key(&to) {
                edges.push((*from, to));
            }
        });
    }
    for (_, to) in &edges {
        if let Some(candidate) = candidates.get_mut(to) {
            candidate.outside = candidate.outside.saturating_sub(1);
        }
    }
    let mut reached: Vec<usize> =
        candidates.iter().filter(|(_, found)| found.outside > 0).map(|(key, _)| *key).collect();
    while let Some(at) = reached.pop() {
        let Some(candidate) = candidates.get_mut(&at) else { continue };
        if !core::mem::replace(&mut candidate.reachable, true) {
            let first = edges.partition_point(|(from, _)| *from < at);
            let behind = edges.iter().skip(first).take_while(|(from, _)| *from == at);
            reached.extend(behind.map(|(_, to)| *to));
        }
    }
    drop(in_flight);
    let mut garbage = Vec::new();
    garbage.try_reserve_exact(candidates.len())?;
    for candidate in candidates.into_values() {
        if !candidate.reachable {
            garbage.push(candidate.socket);
        }
        drop(candidate.file);
    }
    Ok(garbage)
}

/// Calls `action` with each file that waits at a socket, or at a connection that waits to be accepted there.
fn for_each_file(socket: &Socket, action: &mut dyn FnMut(&Arc<OpenFile>)) {
    let own = socket.endpoint();
    own.incoming.lock().for_each_file(&mut *action);
    if let State::Listening(backlog) = &*own.state.lock() {
        for pending in &backlog.pending {
            pending.endpoint().incoming.lock().for_each_file(&mut *action);
        }
    }
}

/// Takes out what waits at a socket.
fn empty(socket: &Arc<Socket>) -> Vec<Content> {
    let own = socket.endpoint();
    let mut contents = Vec::from([own.incoming.lock().take_content()]);
    if let State::Listening(backlog) = &*own.state.lock() {
        contents.extend(backlog.pending.iter().map(|pending| pending.endpoint().incoming.lock().take_content()));
    }
    contents
}
