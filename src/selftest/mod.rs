//! The kernel's tests of itself: `selftest=NAME[,NAME...]` on the command line runs them at boot, in place of the first process.
//!
//! A test is an async function of a room's file in this folder, listed in that file's `TESTS`; the list of rooms is [`ROOMS`]. Tests run
//! one after the other as part of one task, interrupts enabled, free to sleep and to allocate, each with a time limit. `all` names every
//! test that is not marked [`SelfTest::by_name`]; `work` all of one room; `work::torture@600` a test together with the seconds it is to last.
//!
//! What is printed stands between two lines `lichen-selftest begin` and `lichen-selftest end STATUS`, which `qemu-runner.sh --selftest`
//! takes off again. The last line before the end is `N passed, N failed`; then the machine powers off.

/// Leaves the test with a failure that says what did not hold.
macro_rules! check {
    ($condition:expr $(,)?) => {
        if !$condition {
            return Err(alloc::format!("{}:{}: {} does not hold", file!(), line!(), stringify!($condition)));
        }
    };
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(alloc::format!("{}:{}: {}", file!(), line!(), format_args!($($text)+)));
        }
    };
}

/// Leaves the test with a failure that shows both values if they differ.
macro_rules! check_eq {
    ($left:expr, $right:expr $(, $($text:tt)+)?) => {
        match (&$left, &$right) {
            (left, right) => check!(left == right, "{} is {:?}, not {:?}{}", stringify!($left), left, right,
                concat!("" $(, ": ", stringify!($($text)+))?)),
        }
    };
}

/// The entry of a test: its room, and the function that is the test.
macro_rules! self_test {
    ($room:literal, $function:ident) => {
        $crate::selftest::SelfTest::new(concat!($room, "::", stringify!($function)), |cx| {
            alloc::boxed::Box::pin($function(cx))
        })
    };
}

mod faults;
mod logging;
mod panics;
mod rcu;
mod sched;
mod stackful;
mod tasks;
mod threads;
mod tools;
mod watchdog;
mod work;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::future::Future;
use core::pin::Pin;

use libkernel::machine;
use libkernel::process::birth::Founder;
use libkernel::sync::SpinLock;
use libkernel::task::{AffinityMask, Task};
use libkernel::time::with_timeout;

use crate::arch::psci;
use crate::console_log::Line;
use crate::drivers::uart;

/// All tests, in the order in which they run.
const ROOMS: &[&[SelfTest]] = &[
    tasks::TESTS,
    sched::TESTS,
    threads::TESTS,
    work::items::TESTS,
    work::queues::TESTS,
    work::contexts::TESTS,
    work::delayed::TESTS,
    work::torture::TESTS,
    rcu::TESTS,
    stackful::TESTS,
    faults::TESTS,
    watchdog::TESTS,
    logging::TESTS,
    panics::TESTS,
];

/// Passed, or why not.
pub type Outcome = Result<(), String>;

type Run = for<'a> fn(&'a Cx) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

const SECOND: u64 = 1_000_000_000;

/// One test.
pub struct SelfTest {
    name: &'static str,
    run: Run,
    /// Seconds that it may take, beyond the duration that was asked for.
    limit: u64,
    by_name: bool,
}

impl SelfTest {
    /// For [`self_test!`].
    pub const fn new(name: &'static str, run: Run) -> Self {
        Self { name, run, limit: 10, by_name: false }
    }

    /// The same test with another time limit, in seconds.
    pub const fn within(mut self, seconds: u64) -> Self {
        self.limit = seconds;
        self
    }

    /// The same test, left out of `all` and of its room's name.
    pub const fn by_name(mut self) -> Self {
        self.by_name = true;
        self
    }

    /// Whether `wanted` names it.
    fn is_selected(&self, wanted: &str) -> bool {
        let in_room = self.name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with("::"));
        self.name == wanted || (!self.by_name && (wanted == "all" || in_room))
    }
}

/// What a test is given.
pub struct Cx {
    name: &'static str,
    /// How long the test was asked to last, in nanoseconds.
    pub duration: Option<u64>,
}

impl Cx {
    /// Prints a line about the test: a figure, a seed.
    pub fn report(&self, text: core::fmt::Arguments<'_>) {
        print(format_args!("        {}: {text}", self.name));
    }
}

/// The first process, which has no program, until a test takes it.
static FIRST: SpinLock<Option<Founder>> = SpinLock::new(None);

/// The first process, for a test that needs one.
///
/// # Errors
/// `ESRCH` after the first call.
pub fn first_process() -> libkernel::Result<Founder> {
    FIRST.lock().take().ok_or(libkernel::Errno::ESRCH)
}

/// Runs the tests that `list` names as a task of this core, then powers off. `first` has no program.
pub fn start(list: &'static str, first: Founder) {
    *FIRST.lock() = Some(first);
    let task = Task::new("selftest", async move {
        print(format_args!("lichen-selftest begin"));
        let failed = run_all(list).await;
        print(format_args!("\nlichen-selftest end {}", u8::from(failed)));
        psci::power_off();
    });
    // So that a test knows which cores are the others.
    task.parameters().set_affinity(AffinityMask::only(0));
    task.wake();
}

/// The tests that `wanted` names.
fn select(wanted: &str) -> Vec<&'static SelfTest> {
    ROOMS.iter().flat_map(|room| room.iter()).filter(|test| test.is_selected(wanted)).collect()
}

/// Runs the tests and counts; returns whether something went wrong.
async fn run_all(list: &str) -> bool {
    let (mut passed, mut failed) = (0, 0);
    for word in list.split(',').filter(|word| !word.is_empty()) {
        let (name, duration) = match word.rsplit_once('@') {
            Some((name, seconds)) => (name, seconds.parse::<u64>().ok().map(|seconds| seconds * SECOND)),
            None => (word, None),
        };
        let selected = select(name);
        if selected.is_empty() {
            print(format_args!("FAILED  {name}: no such test"));
            failed += 1;
        }
        for test in selected {
            if run_one(test, duration).await { passed += 1 } else { failed += 1 }
        }
    }
    print(format_args!("{passed} passed, {failed} failed"));
    failed > 0
}

/// Runs one test, prints its line, and returns whether it passed.
async fn run_one(test: &SelfTest, duration: Option<u64>) -> bool {
    let cx = Cx { name: test.name, duration };
    let began = machine::monotonic_ns();
    let limit = test.limit * SECOND + duration.unwrap_or(0);
    let outcome = with_timeout(Some(began + limit), (test.run)(&cx)).await;
    let milliseconds = (machine::monotonic_ns() - began) / 1_000_000;
    match outcome {
        Ok(Ok(())) => {
            print(format_args!("ok      {} ({milliseconds} ms)", test.name));
            true
        }
        Ok(Err(reason)) => {
            print(format_args!("FAILED  {}: {reason}", test.name));
            false
        }
        Err(_) => {
            print(format_args!("FAILED  {}: no end within {} s", test.name, limit / SECOND));
            false
        }
    }
}

fn print(text: core::fmt::Arguments<'_>) {
    let mut line = Line::new();
    let _ = line.write_fmt(text);
    line.end();
    uart::write_polled(line.bytes());
}
