//! `usertest bench [ROW]... [--n N] [--quick] [--list]`: how long operations take.
//!
//! One line for each figure, for people and programs: name, value, unit and which
//! values are good (`lower`, `higher`, or `near X`), with tabs between; or name, `-`
//! and the reason why this kernel cannot be measured; or name and `failed`.
//!
//! Under QEMU's instruction counting a nanosecond is an instruction and a run
//! repeats exactly; otherwise the figures are wall-clock time. Every row runs in
//! a process of its own, after the machine has settled, pinned where its name
//! says so, with at least 2000 repetitions unless the run is a quick one, whose
//! figures only show that the row works.

mod balance;
mod files;
mod hackbench;
mod latency;
mod memory;
mod message;
mod parallel;
mod process;
mod schedule;

use crate::sys;
use std::fmt;

/// Which values of a figure are good.
#[derive(Clone, Copy)]
pub enum Better {
    Lower,
    Near(f64),
}

impl fmt::Display for Better {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lower => f.write_str("lower"),
            Self::Near(value) => write!(f, "near {value:.1}"),
        }
    }
}

/// One of the figures of a row that has several.
pub struct Figure {
    /// What follows the row's name, after a hyphen.
    part: &'static str,
    value: f64,
    better: Better,
}

impl Figure {
    fn new(part: &'static str, value: f64) -> Self {
        Self { part, value, better: Better::Lower }
    }
}

/// A value, or why this kernel cannot be measured.
type Possible<T> = Result<T, &'static str>;

/// Figures of a row.
type Figures = Possible<Vec<Figure>>;

enum Run {
    One(fn(u64) -> f64),
    Several(fn(u64) -> Figures),
}

/// One row of the table.
pub struct Row {
    name: &'static str,
    unit: &'static str,
    better: Better,
    run: Run,
}

/// A row that reports nanoseconds for each of `n` operations.
const fn ns(name: &'static str, run: fn(u64) -> f64) -> Row {
    one(name, "ns", Better::Lower, run)
}

/// A row with one figure.
const fn one(name: &'static str, unit: &'static str, better: Better, run: fn(u64) -> f64) -> Row {
    Row { name, unit, better, run: Run::One(run) }
}

/// A row with several figures, each with a name and a goal of its own, or with none at all on some kernels.
const fn several(name: &'static str, unit: &'static str, run: fn(u64) -> Figures) -> Row {
    Row { name, unit, better: Better::Lower, run: Run::Several(run) }
}

/// Fewest repetitions.
const LEAST: u64 = 2000;
/// Repetitions of a quick run.
const QUICK: u64 = 100;
/// Milliseconds of idleness before the first row.
const SETTLE: u64 = 2000;

const ROWS: &[&[Row]] = &[
    process::CALLS,
    message::ROWS,
    process::ROWS,
    memory::ROWS,
    files::ROWS,
    schedule::ROWS,
    hackbench::ROWS,
    latency::ROWS,
    balance::ROWS,
    parallel::ROWS,
];

/// The sub-command; the value is the exit status.
pub fn command(args: &[String]) -> u8 {
    let (mut n, mut settle, mut list) = (LEAST, SETTLE, false);
    let mut chosen = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--n" => match args.next().and_then(|text| text.parse().ok()) {
                Some(number) => n = LEAST.max(number),
                None => return crate::usage("--n needs a number"),
            },
            "--quick" => (n, settle) = (QUICK, SETTLE / 10),
            "--list" => list = true,
            word if word.starts_with('-') => return crate::usage(&format!("unknown option {word}")),
            row => chosen.push(row),
        }
    }
    let rows: Vec<&Row> = ROWS
        .iter()
        .flat_map(|group| group.iter())
        .filter(|row| chosen.is_empty() || chosen.iter().any(|word| row.name.contains(word)))
        .collect();
    if rows.is_empty() {
        return crate::usage("no such row");
    }
    if list {
        rows.iter().for_each(|row| println!("{}", row.name));
        return 0;
    }
    sys::sleep_ms(settle);
    // A row that cannot be measured counts as failed, the others go on.
    u8::from(rows.into_iter().filter(|row| !measured(row, n)).count() > 0)
}

/// Runs one row in a child, which leads a session of its own so that nothing it started outlives it,
/// and prints its lines; false if it failed.
fn measured(row: &Row, n: u64) -> bool {
    let Ok(child) = sys::fork() else { return false };
    let Some(child) = child else {
        let _ = crate::call!(SYS_setsid);
        print(row, n);
        sys::exit(0)
    };
    let fine = sys::wait(child) == Ok(sys::Status::Exited(0));
    let _ = sys::kill(-child, libc::SIGKILL);
    if !fine {
        println!("{}\tfailed", row.name);
    }
    fine
}

fn print(row: &Row, n: u64) {
    let Row { name, unit, better, run } = row;
    match run {
        Run::One(run) => println!("{name}\t{:.1}\t{unit}\t{better}", run(n)),
        Run::Several(run) => match run(n) {
            Ok(figures) => figures.iter().for_each(|Figure { part, value, better }| {
                let dash = if part.is_empty() { "" } else { "-" };
                println!("{name}{dash}{part}\t{value:.1}\t{unit}\t{better}");
            }),
            Err(reason) => println!("{name}\t-\t{reason}"),
        },
    }
}

/// Nanoseconds for each of `n` runs of `operation`, after a tenth as many to warm up.
fn each(n: u64, mut operation: impl FnMut()) -> f64 {
    (0..n / 10).for_each(|_| operation());
    let start = sys::now();
    (0..n).for_each(|_| operation());
    (sys::now() - start) as f64 / n as f64
}

/// Median, 90th and 99th percentile and maximum of latencies.
fn percentiles(mut samples: Vec<u64>) -> Vec<Figure> {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    let at = |percent: usize| samples.get(last * percent / 100).copied().unwrap_or(0) as f64;
    [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)].map(|(part, percent)| Figure::new(part, at(percent))).into()
}

/// Binds the caller to its `index`-th core; with fewer cores, to the last.
fn pin(index: usize) {
    let cores = sys::affinity().unwrap_or_default();
    if let Some(core) = cores.get(index).or(cores.last()) {
        let _ = sys::set_affinity(0, &[*core]);
    }
}

/// Work that makes no system call: `units` times about a thousand instructions.
fn compute(units: u64) {
    let mut number = 1u64;
    for _ in 0..units * 250 {
        number = core::hint::black_box(number.wrapping_mul(5));
    }
}

/// A child that computes until the row ends.
fn hog() -> sys::Pid {
    sys::spawn(|| {
        loop {
            compute(1000);
        }
    })
}
