//! `usertest bench [ROW]... [--n N]`: how long operations take, one line each: `ROW<TAB>value unit`.
//!
//! Under QEMU's instruction counting a nanosecond is an instruction and a run
//! repeats exactly; otherwise the figures are wall-clock time. Every row runs in
//! a process of its own, after the machine has settled, pinned where its name
//! says so, with at least 2000 repetitions.

mod files;
mod memory;
mod message;
mod process;
mod schedule;

use crate::sys;

/// One row of the table.
pub struct Row {
    name: &'static str,
    unit: &'static str,
    run: fn(u64) -> f64,
}

/// A row that reports nanoseconds for each of `n` operations.
const fn ns(name: &'static str, run: fn(u64) -> f64) -> Row {
    Row { name, unit: "ns", run }
}

/// Fewest repetitions.
const LEAST: u64 = 2000;
/// Seconds of idleness before the first row.
const SETTLE: u64 = 2;

const ROWS: &[&[Row]] = &[process::CALLS, message::ROWS, process::ROWS, memory::ROWS, files::ROWS, schedule::ROWS];

/// The sub-command; the value is the exit status.
pub fn command(args: &[String]) -> u8 {
    let mut n = LEAST;
    let mut chosen = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--n" => match args.next().and_then(|text| text.parse().ok()) {
                Some(number) => n = LEAST.max(number),
                None => return crate::usage("--n needs a number"),
            },
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
    sys::sleep_ms(SETTLE * 1000);
    // A row that cannot be measured counts as failed, the others go on.
    u8::from(rows.into_iter().filter(|row| !measured(row, n)).count() > 0)
}

/// Runs one row in a child and prints its line; false if it failed.
fn measured(row: &Row, n: u64) -> bool {
    let Ok(child) = sys::fork() else { return false };
    let Some(child) = child else {
        let value = (row.run)(n);
        println!("{}\t{value:.1} {}", row.name, row.unit);
        sys::exit(0)
    };
    let fine = sys::wait(child) == Ok(sys::Status::Exited(0));
    if !fine {
        println!("{}\tfailed", row.name);
    }
    fine
}

/// Nanoseconds for each of `n` runs of `operation`, after a tenth as many to warm up.
fn each(n: u64, mut operation: impl FnMut()) -> f64 {
    (0..n / 10).for_each(|_| operation());
    let start = sys::now();
    (0..n).for_each(|_| operation());
    (sys::now() - start) as f64 / n as f64
}

/// Binds the caller to its `index`-th core; with fewer cores, to the last.
fn pin(index: usize) {
    let cores = sys::affinity().unwrap_or_default();
    if let Some(core) = cores.get(index).or(cores.last()) {
        let _ = sys::set_affinity(0, &[*core]);
    }
}
