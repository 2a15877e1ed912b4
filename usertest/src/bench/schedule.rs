//! Sleeping on time and sharing a core.

use super::{Better, Figure, Figures, Row, hog, ns, one, pin, several};
use crate::call;
use crate::check::must;
use crate::sys::*;

/// Scheduling.
pub const ROWS: &[Row] = &[
    ns("sleep-1ms-overshoot", overshoot),
    one("hogs-spread", "%", Better::Lower, hogs_spread),
    one("nice-0-against-5-share", "%", Better::Near(75.3), |n| shares(n, &[(0, 1024), (5, 335)])[0].value),
    several("nice-share", "%", nice_shares),
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
            let child = hog();
            must(call!(SYS_setpriority, libc::PRIO_PROCESS, child, *nice));
            child
        })
        .collect();
    // The clock that clock_getcpuclockid(3) names.
    let read = |pid: &Pid| clock((!*pid << 3) | 2).unwrap_or(0);
    sleep_ms(ms / 10);
    let before: Vec<u64> = children.iter().map(read).collect();
    sleep_ms(ms);
    let spent = children.iter().zip(before).map(|(child, before)| read(child) - before).collect();
    for child in children {
        must(kill(child, libc::SIGKILL));
    }
    spent
}

/// How far apart the least and the most served of four equal hogs are, relative to the most.
fn hogs_spread(n: u64) -> f64 {
    let spent = compete(&[0; 4], n / 2);
    let most = spent.iter().max().copied().unwrap_or(1).max(1) as f64;
    let least = spent.iter().min().copied().unwrap_or(0) as f64;
    (most - least) * 100.0 / most
}

/// The shares of one core that hogs of these nice values and weights get, each with the share that is due to it.
fn shares(n: u64, hogs: &[(i32, u64)]) -> Vec<Figure> {
    let (nice, weights): (Vec<i32>, Vec<u64>) = hogs.iter().copied().unzip();
    let spent = compete(&nice, n);
    let percent = |part: u64, all: &[u64]| part as f64 * 100.0 / all.iter().sum::<u64>().max(1) as f64;
    let figure = |(spent_by_one, weight): (&u64, &u64)| Figure {
        part: "",
        value: percent(*spent_by_one, &spent),
        better: Better::Near(percent(*weight, &weights)),
    };
    spent.iter().zip(&weights).map(figure).collect()
}

/// Four hogs with weights of `sched(7)`'s table, and how far the worst served is from its share, relative to that.
fn nice_shares(n: u64) -> Figures {
    let mut figures = shares(2 * n, &[(-5, 3121), (0, 1024), (5, 335), (10, 110)]);
    let mut worst = 0.0f64;
    for (figure, part) in figures.iter_mut().zip(["minus5", "0", "5", "10"]) {
        figure.part = part;
        if let Better::Near(due) = figure.better {
            worst = worst.max((figure.value - due).abs() * 100.0 / due);
        }
    }
    figures.push(Figure::new("error", worst));
    Ok(figures)
}
