//! How long after its wake, or its timer, a thread runs.

use super::{Figures, Row, compute, hog, percentiles, pin, several};
use crate::call;
use crate::check::must;
use crate::sys::*;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Latencies.
pub const ROWS: &[Row] = &[
    several("wake-latency", "ns", wake_latency),
    several("timer-latency", "ns", |n| timer_latency(n, false, None)),
    several("timer-latency-hogs", "ns", |n| timer_latency(n, true, None)),
    several("timer-latency-hogs-fifo", "ns", |n| timer_latency(n, true, Some(50))),
];

/// Messengers, each with workers of its own.
const MESSENGERS: usize = 2;
/// Workers of a messenger: on two cores four threads want each of them.
const WORKERS: usize = 4;
/// Thousands of instructions that a worker computes each time.
const THINK: u64 = 300;

/// A worker's states.
const RUNNING: u32 = 0;
const POSTED: u32 = 1;

#[derive(Default)]
struct Worker {
    state: AtomicU32,
    /// When it was last woken.
    woken: AtomicU64,
}

#[derive(Default)]
struct Messenger {
    /// How often a worker asked for work.
    posts: AtomicU32,
    workers: [Worker; WORKERS],
}

fn futex_wait(word: &AtomicU32, value: u32) {
    let _ = call!(SYS_futex, word, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, value, 0, 0, 0);
}

fn futex_wake(word: &AtomicU32) {
    let _ = call!(SYS_futex, word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1, 0, 0, 0);
}

/// In the manner of schbench: workers compute and then ask a messenger for more, which wakes each that asked. All
/// of them together want more than the cores have. The figure is the time from the wake to the worker running.
fn wake_latency(n: u64) -> Figures {
    let rounds = n * 2 / (MESSENGERS * WORKERS) as u64;
    let stop = AtomicBool::new(false);
    let messengers: [Messenger; MESSENGERS] = core::array::from_fn(|_| Messenger::default());
    let samples = std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for messenger in &messengers {
            scope.spawn(|| messenger.serve(&stop));
            for worker in &messenger.workers {
                workers.push(scope.spawn(move || (0..rounds).map(|_| worker.round(messenger)).collect::<Vec<u64>>()));
            }
        }
        // The first rounds are those of the threads' birth.
        let settled = |samples: Vec<u64>| samples.into_iter().skip(rounds as usize / 10);
        let samples = workers.into_iter().filter_map(|worker| worker.join().ok()).flat_map(settled).collect();
        stop.store(true, Ordering::Relaxed);
        for messenger in &messengers {
            messenger.posts.fetch_add(1, Ordering::Release);
            futex_wake(&messenger.posts);
        }
        samples
    });
    Ok(percentiles(samples))
}

impl Messenger {
    fn serve(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let posts = self.posts.load(Ordering::Acquire);
            for worker in &self.workers {
                if worker.state.load(Ordering::Acquire) == POSTED {
                    worker.woken.store(now(), Ordering::Relaxed);
                    worker.state.store(RUNNING, Ordering::Release);
                    futex_wake(&worker.state);
                }
            }
            futex_wait(&self.posts, posts);
        }
    }
}

impl Worker {
    fn round(&self, messenger: &Messenger) -> u64 {
        compute(THINK);
        self.state.store(POSTED, Ordering::Release);
        messenger.posts.fetch_add(1, Ordering::Release);
        futex_wake(&messenger.posts);
        while self.state.load(Ordering::Acquire) == POSTED {
            futex_wait(&self.state, POSTED);
        }
        now() - self.woken.load(Ordering::Relaxed)
    }
}

/// In the manner of cyclictest: a thread that wants to run every millisecond, without timer slack, perhaps beside two
/// hogs, perhaps with a real-time priority. All on one core: under instruction counting QEMU hands an interrupt to a core
/// only after the turns of the other busy ones, which are longest where a kernel needs no tick.
fn timer_latency(n: u64, hogs: bool, priority: Option<i32>) -> Figures {
    pin(0);
    if hogs {
        hog();
        hog();
    }
    must(call!(SYS_prctl, libc::PR_SET_TIMERSLACK, 1, 0, 0, 0));
    if let Some(priority) = priority {
        must(call!(SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &priority));
    }
    sleep_ms(20);
    let start = now();
    let latencies = (1..=n / 4).map(|round| {
        let due = start + round * MS;
        let time = timespec_of_ns(due);
        let _ = call!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, 0);
        now() - due
    });
    Ok(percentiles(latencies.collect()))
}
