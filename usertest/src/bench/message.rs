//! Round trips: pipes, sockets and futexes, and bytes through a pipe.

use super::{Figure, Figures, Row, each, ns, pin, several};
use crate::call;
use crate::check::{exits, must};
use crate::sys::*;
use core::sync::atomic::{AtomicU32, Ordering};

/// Where the two partners run.
#[derive(Clone, Copy)]
enum Place {
    SameCore,
    TwoCores,
    Unpinned,
}

impl Place {
    fn pin(self, side: usize) {
        match self {
            Self::SameCore => pin(0),
            Self::TwoCores => pin(side),
            Self::Unpinned => {}
        }
    }
}

/// Messages between processes.
pub const ROWS: &[Row] = &[
    ns("pipe-same-core", |n| pipe_trip(n, Place::SameCore)),
    ns("pipe-two-cores", |n| pipe_trip(n, Place::TwoCores)),
    ns("pipe-unpinned", |n| pipe_trip(n, Place::Unpinned)),
    ns("socket-same-core", |n| socket_trip(n, Place::SameCore)),
    ns("socket-two-cores", |n| socket_trip(n, Place::TwoCores)),
    ns("socket-send-receive", send_and_receive),
    ns("futex-same-core", |n| futex_trip(n, Place::SameCore)),
    ns("futex-two-cores", |n| futex_trip(n, Place::TwoCores)),
    ns("pipe-64k", through_a_pipe),
    several("sgis-per-cross-core-wake", "SGIs", interrupts_per_wake),
];

fn pipe_trip(n: u64, place: Place) -> f64 {
    let (there, back) = (must(pipe()), must(pipe()));
    let echo = spawn(|| {
        place.pin(1);
        must(close(there.1));
        let mut byte = [0u8; 1];
        while must(read(there.0, &mut byte)) == 1 {
            must(write(back.1, &byte));
        }
        0
    });
    place.pin(0);
    let time = each(n, || {
        must(write(there.1, b"x"));
        must(read(back.0, &mut [0u8; 1]));
    });
    must(close(there.1));
    exits(echo, 0);
    time
}

/// 100 bytes to a partner and back through a pair of stream sockets.
fn socket_trip(n: u64, place: Place) -> f64 {
    let (near, far) = must(socket_pair(libc::SOCK_STREAM));
    let echo = spawn(|| {
        place.pin(1);
        must(close(near));
        let mut message = [0u8; 100];
        while must(read(far, &mut message)) > 0 {
            must(write(far, &message));
        }
        0
    });
    place.pin(0);
    must(close(far));
    let mut message = [b'x'; 100];
    let time = each(n, || {
        must(write(near, &message));
        must(read(near, &mut message));
    });
    must(close(near));
    exits(echo, 0);
    time
}

/// 100 bytes sent and received by one process, where nobody waits.
fn send_and_receive(n: u64) -> f64 {
    pin(0);
    let (near, far) = must(socket_pair(libc::SOCK_STREAM));
    let mut message = [b'x'; 100];
    each(n, || {
        must(send(near, &message, 0));
        must(recv(far, &mut message, 0));
    })
}

fn wait_for(word: &AtomicU32, wanted: u32, before: u32) {
    while word.load(Ordering::Acquire) != wanted {
        let _ = call!(SYS_futex, word, libc::FUTEX_WAIT, before, 0, 0, 0);
    }
}

fn set(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    let _ = call!(SYS_futex, word, libc::FUTEX_WAKE, 1, 0, 0, 0);
}

fn futex_trip(n: u64, place: Place) -> f64 {
    let word = atomic_at(must(shared(PAGE)));
    let echo = spawn(|| {
        place.pin(1);
        loop {
            wait_for(word, 1, 0);
            set(word, 0);
        }
    });
    place.pin(0);
    let time = each(n, || {
        set(word, 1);
        wait_for(word, 0, 1);
    });
    must(kill(echo, libc::SIGKILL));
    time
}

/// 64 KiB written by one process and read by another, on one core.
fn through_a_pipe(n: u64) -> f64 {
    pin(0);
    let (reader, writer) = must(pipe());
    let sink = spawn(|| {
        must(close(writer));
        let mut buffer = vec![0u8; 65536];
        while must(read(reader, &mut buffer)) > 0 {}
        0
    });
    let data = vec![1u8; 65536];
    let time = each(n, || must(write_all(writer, &data)));
    must(close(writer));
    exits(sink, 0);
    time
}

/// Interrupts that cores sent to one another so far.
fn interrupts_between_cores() -> u64 {
    let text = must(read_text(c"/proc/interrupts"));
    let counts = |line: &str| {
        // On Linux a line for each kind, "IPI0:" and so on; on Lichen the SGI of the inboxes.
        let counted = line.trim_start().starts_with("IPI") || line.ends_with("message");
        let counts = line.split_ascii_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok());
        if counted { counts.sum() } else { 0 }
    };
    text.lines().map(counts).sum()
}

/// Two partners on two cores, each of which sleeps when the other one wakes it.
fn interrupts_per_wake(n: u64) -> Figures {
    if must(affinity()).len() < 2 {
        return Err("needs two cores");
    }
    let before = interrupts_between_cores();
    pipe_trip(n, Place::TwoCores);
    // With the warm-up, two wakes in each trip.
    let wakes = 2 * (n + n / 10);
    Ok(vec![Figure::new("", (interrupts_between_cores() - before) as f64 / wakes as f64)])
}
