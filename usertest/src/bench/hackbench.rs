//! Many senders and receivers at once, in the manner of hackbench, and Debian's own hackbench.
//!
//! One group as hackbench has it: twenty senders each send to every one of twenty
//! receivers, 100 bytes at a time. The figure is the time per message.

use super::{Figure, Figures, Row, ns, several};
use crate::check::{exits, must};
use crate::sys::*;
use std::process::Command;

/// Message storms.
pub const ROWS: &[Row] = &[
    ns("hackbench-pipes", |n| with_processes(n, must_pipes())),
    ns("hackbench-sockets", |n| with_processes(n, must_sockets())),
    ns("hackbench-threads", with_threads),
    several("debian-hackbench-pipes", "ms", |n| debian(n, &["-p"])),
    several("debian-hackbench-sockets", "ms", |n| debian(n, &[])),
    several("debian-hackbench-threads", "ms", |n| debian(n, &["-p", "-T"])),
];

/// Senders, and receivers.
const SIDE: usize = 20;
const MESSAGE: [u8; 100] = [b'h'; 100];

/// What one receiver reads from and its senders write to.
type Channel = (Fd, Fd);

fn must_pipes() -> Vec<Channel> {
    (0..SIDE).map(|_| must(pipe())).collect()
}

fn must_sockets() -> Vec<Channel> {
    (0..SIDE).map(|_| must(socket_pair(libc::SOCK_STREAM))).collect()
}

/// Messages that a sender sends to each receiver.
fn loops(n: u64) -> u64 {
    n / 40
}

fn per_message(elapsed: u64, n: u64) -> f64 {
    elapsed as f64 / (loops(n) * (SIDE * SIDE) as u64) as f64
}

fn send(channels: &[Channel], n: u64) {
    for _ in 0..loops(n) {
        channels.iter().for_each(|channel| must(write_all(channel.1, &MESSAGE)));
    }
}

fn receive(channel: Channel, n: u64) {
    let mut left = loops(n) as usize * SIDE * MESSAGE.len();
    while left > 0 {
        left -= must(read(channel.0, &mut [0u8; MESSAGE.len()]));
    }
}

/// Everyone waits for a byte through this pipe before it starts.
fn wait_for_start(gate: Channel) {
    must(read(gate.0, &mut [0u8]));
}

fn start_all(gate: Channel) -> u64 {
    // All have to sleep at the gate before the clock runs.
    sleep_ms(20);
    let start = now();
    must(write_all(gate.1, &[0; 2 * SIDE]));
    start
}

fn with_processes(n: u64, channels: Vec<Channel>) -> f64 {
    let gate = must(pipe());
    let child = |body: &dyn Fn()| {
        spawn(|| {
            wait_for_start(gate);
            body();
            0
        })
    };
    let receivers = channels.iter().map(|channel| child(&|| receive(*channel, n)));
    let senders = (0..SIDE).map(|_| child(&|| send(&channels, n)));
    let children: Vec<Pid> = receivers.chain(senders).collect();
    let start = start_all(gate);
    children.into_iter().for_each(|child| exits(child, 0));
    per_message(now() - start, n)
}

fn with_threads(n: u64) -> f64 {
    let (gate, channels) = (must(pipe()), must_pipes());
    let start = std::thread::scope(|scope| {
        for channel in &channels {
            scope.spawn(move || {
                wait_for_start(gate);
                receive(*channel, n);
            });
        }
        for _ in 0..SIDE {
            scope.spawn(|| {
                wait_for_start(gate);
                send(&channels, n);
            });
        }
        start_all(gate)
    });
    per_message(now() - start, n)
}

/// Debian's hackbench from rt-tests with as many messages; the figure is the time that it prints.
fn debian(n: u64, options: &[&str]) -> Figures {
    let output = Command::new("hackbench").args(["-g", "1", "-l", &loops(n).to_string()]).args(options).output();
    let Ok(output) = output else { return Err("no hackbench in the root file system") };
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds = text.lines().find_map(|line| line.strip_prefix("Time: ")?.trim().parse::<f64>().ok());
    match seconds {
        Some(seconds) if output.status.success() => Ok(vec![Figure::new("", seconds * 1000.0)]),
        _ => panic!("hackbench: {}, {text}{}", output.status, String::from_utf8_lossy(&output.stderr)),
    }
}
