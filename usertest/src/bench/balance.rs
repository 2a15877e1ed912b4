//! How soon threads get to cores: stolen, sent, spread.

use super::{Better, Figures, Possible, Row, compute, each, hog, ns, one, percentiles, pin, several};
use crate::call;
use crate::check::must;
use crate::sys::*;
use core::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// Balance between cores.
pub const ROWS: &[Row] = &[
    several("steal-latency", "ns", steal_latency),
    ns("migrate-self", migrate_self),
    several("migrate-running", "ns", |n| migrate(n, 1)),
    several("migrate-queued", "ns", |n| migrate(n, 0)),
    one("spread-16-released-hogs", "ms", Better::Lower, |_| spread(true)),
    one("spread-16-newborn-hogs", "ms", Better::Lower, |_| spread(false)),
];

/// A thread that computes, and notes when it finds itself on another core.
#[derive(Default)]
struct Roamer {
    tid: AtomicI32,
    core: AtomicUsize,
    since: AtomicU64,
}

impl Roamer {
    /// Starts one on `core`; it runs until the row ends.
    fn start(core: usize) -> &'static Self {
        let roamer: &Self = Box::leak(Box::default());
        std::thread::spawn(move || {
            must(set_affinity(0, &[core]));
            roamer.tid.store(gettid(), Ordering::Release);
            loop {
                let core = must(current_core());
                if core != roamer.core.load(Ordering::Relaxed) {
                    roamer.since.store(now(), Ordering::Relaxed);
                    roamer.core.store(core, Ordering::Release);
                }
            }
        });
        assert!(eventually(5000, || roamer.tid.load(Ordering::Acquire) != 0), "the thread does not start");
        roamer
    }

    fn allow(&self, cores: &[usize]) {
        must(set_affinity(self.tid.load(Ordering::Relaxed), cores));
    }

    /// When it arrived on `core`, if it is there.
    fn arrival(&self, core: usize) -> Option<u64> {
        (self.core.load(Ordering::Acquire) == core).then(|| self.since.load(Ordering::Relaxed))
    }
}

fn two_cores() -> Possible<(usize, usize)> {
    match must(affinity())[..] {
        [first, second, ..] => Ok((first, second)),
        _ => Err("needs two cores"),
    }
}

/// Three threads compute on the first core, two of which may leave it; the second core falls idle. The figure is the time
/// until one of them runs there.
fn steal_latency(n: u64) -> Figures {
    let (first, second) = two_cores()?;
    must(set_affinity(0, &[second]));
    let _stays = Roamer::start(first);
    let movable = [Roamer::start(first), Roamer::start(first)];
    let latencies = (0..n / 40).map(|_| {
        movable.iter().for_each(|roamer| roamer.allow(&[first]));
        sleep_ms(5);
        compute(1000);
        movable.iter().for_each(|roamer| roamer.allow(&[first, second]));
        let idle = now();
        sleep_ms(10);
        let arrival = movable.iter().filter_map(|roamer| roamer.arrival(second)).min();
        arrival.unwrap_or_else(now).saturating_sub(idle)
    });
    Ok(percentiles(latencies.collect()))
}

/// A thread that sends itself to another core and back.
fn migrate_self(n: u64) -> f64 {
    let cores = must(affinity());
    let mut next = cores.iter().take(2).cycle();
    each(n, || {
        let core = next.next().copied().unwrap_or(0);
        must(set_affinity(0, &[core]));
    })
}

/// A computing thread is sent from core to core by one on the first core: from there it has to be taken out of the queue,
/// from the second core off the processor. The figure is the time until it runs on the other one.
fn migrate(n: u64, from: usize) -> Figures {
    let (first, second) = two_cores()?;
    must(set_affinity(0, &[first]));
    let roamer = Roamer::start(second);
    let (from, to) = if from == 0 { (first, second) } else { (second, first) };
    let latencies = (0..n / 40).map(|_| {
        roamer.allow(&[from]);
        sleep_ms(2);
        let start = now();
        roamer.allow(&[to]);
        sleep_ms(5);
        roamer.arrival(to).unwrap_or_else(now).saturating_sub(start)
    });
    Ok(percentiles(latencies.collect()))
}

/// Sixteen computing processes from one core: the time until each core has its share of them, give or take one.
/// They are born there and may leave at once, or have to stay until all are released together. Who watches has a
/// real-time priority, so that the hogs do not keep it from looking.
fn spread(released: bool) -> f64 {
    const HOGS: usize = 16;
    /// Milliseconds after which one should give up.
    const PATIENCE: u64 = 20_000;
    let cores = must(affinity());
    pin(0);
    must(call!(SYS_sched_setscheduler, 0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &50i32));
    if !released {
        must(set_affinity(0, &cores));
    }
    let mut start = now();
    let hogs: Vec<Pid> = (0..HOGS).map(|_| hog()).collect();
    if released {
        sleep_ms(50);
        start = now();
        hogs.iter().for_each(|pid| must(set_affinity(*pid, &cores)));
    }
    let share = HOGS / cores.len();
    let even = || {
        let homes: Vec<String> = hogs.iter().filter_map(|pid| proc_stat(*pid, 39)).collect();
        let on = |core: &usize| homes.iter().filter(|home| **home == core.to_string()).count();
        cores.iter().map(on).all(|count| count + 1 >= share && count <= share + 1)
    };
    while !even() {
        assert!(now() - start < PATIENCE * MS, "not spread after {PATIENCE} ms");
        let _ = nanosleep(MS / 4);
    }
    (now() - start) as f64 / MS as f64
}
