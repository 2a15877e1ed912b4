//! The same work on every core at once, in the manner of will-it-scale.
//!
//! The figure is the time that passes for each operation of all workers together, so on a machine
//! that scales it falls as cores are added. Under instruction counting, where cores take turns, it is the
//! work for each operation, and ought not to grow with them.

use super::{Row, compute, ns};
use crate::check::{exits, must};
use crate::sys::*;

/// Parallel work.
pub const ROWS: &[Row] = &[
    ns("parallel-compute", |n| together(n, |n| compute(n * 10))),
    ns("parallel-getppid", |n| together(n * 10, calls)),
    ns("parallel-pipe", |n| together(n, ping_pong)),
    ns("parallel-fork", |n| together(n / 10, |n| (0..n).for_each(|_| exits(spawn(|| 0), 0)))),
    ns("parallel-fault", |n| together(n, fault)),
    ns("parallel-thread-fault", parallel_thread_fault),
];

/// A worker for each core does its `n` operations.
fn together(n: u64, work: impl Fn(u64)) -> f64 {
    let cores = must(affinity()).len();
    let (reader, writer) = must(pipe());
    let workers: Vec<Pid> = (0..cores)
        .map(|_| {
            spawn(|| {
                must(read(reader, &mut [0u8]));
                work(n);
                0
            })
        })
        .collect();
    sleep_ms(20);
    let start = now();
    must(write_all(writer, &vec![0; cores]));
    workers.into_iter().for_each(|worker| exits(worker, 0));
    (now() - start) as f64 / (n * cores as u64) as f64
}

/// The cheapest call.
fn calls(n: u64) {
    for _ in 0..n {
        core::hint::black_box(getppid());
    }
}

/// Round trips with a child.
fn ping_pong(n: u64) {
    let (there, back) = (must(pipe()), must(pipe()));
    let echo = spawn(|| {
        must(close(there.1));
        while must(read(there.0, &mut [0u8])) == 1 {
            must(write(back.1, b"x"));
        }
        0
    });
    for _ in 0..n {
        must(write(there.1, b"x"));
        must(read(back.0, &mut [0u8]));
    }
    must(close(there.1));
    exits(echo, 0);
}

/// Pages of one mapping.
const PAGES: u64 = 128;

/// First writes to pages, among mappings and unmappings.
fn fault(n: u64) {
    for first in (0..n).step_by(PAGES as usize) {
        let at = must(anonymous(PAGES as usize * PAGE));
        let _ = madvise(at, PAGES as usize * PAGE, libc::MADV_NOHUGEPAGE);
        (0..PAGES.min(n - first)).for_each(|page| poke(at + page as usize * PAGE, 1u8));
        must(munmap(at, PAGES as usize * PAGE));
    }
}

/// [`fault`] in one address space.
fn parallel_thread_fault(n: u64) -> f64 {
    let cores = must(affinity()).len();
    let barrier = std::sync::Barrier::new(cores + 1);
    let start = std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                barrier.wait();
                fault(n);
            });
        }
        barrier.wait();
        now()
    });
    (now() - start) as f64 / (n * cores as u64) as f64
}
