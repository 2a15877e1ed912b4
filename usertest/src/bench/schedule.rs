//! Sleeping on time and sharing a core.

use super::{Row, pin};
use crate::call;
use crate::check::must;
use crate::sys::*;

/// Scheduling.
pub const ROWS: &[Row] = &[
    Row { name: "sleep-1ms-overshoot", unit: "ns", run: overshoot },
    Row { name: "hogs-spread", unit: "%", run: hogs_spread },
    Row { name: "nice-0-against-5-share", unit: "%", run: nice_share },
];

fn overshoot(n: u64) -> f64 {
    pin(0);
    let total: u64 = (0..n)
        .map(|_| {
            let start = now();
            let _ = nanosleep(MS);
            now() - start - MS
        })
        .sum();
    total as f64 / n as f64
}

/// Processor time that each of `nice` values got on one core within `ms` milliseconds.
fn compete(nice: &[i32], ms: u64) -> Vec<u64> {
    pin(0);
    let children: Vec<Pid> = nice
        .iter()
        .map(|nice| {
            spawn(|| {
                must(call!(SYS_setpriority, libc::PRIO_PROCESS, 0, *nice));
                let mut number = 1u64;
                loop {
                    number = core::hint::black_box(number.wrapping_mul(5));
                }
            })
        })
        .collect();
    // The clock that clock_getcpuclockid(3) names.
    let read = |pid: &Pid| clock((!*pid << 3) | 2).unwrap_or(0);
    sleep_ms(200);
    let before: Vec<u64> = children.iter().map(read).collect();
    sleep_ms(ms);
    let spent = children.iter().zip(before).map(|(child, before)| read(child) - before).collect();
    for child in children {
        let _ = kill(child, libc::SIGKILL);
    }
    spent
}

/// How far apart the least and the most served of four equal hogs are, relative to the most.
fn hogs_spread(_n: u64) -> f64 {
    let spent = compete(&[0; 4], 2000);
    let most = spent.iter().max().copied().unwrap_or(1).max(1) as f64;
    let least = spent.iter().min().copied().unwrap_or(0) as f64;
    (most - least) * 100.0 / most
}

fn nice_share(_n: u64) -> f64 {
    let spent = compete(&[0, 5], 4000);
    let all: u64 = spent.iter().sum();
    spent.first().copied().unwrap_or(0) as f64 * 100.0 / all.max(1) as f64
}
