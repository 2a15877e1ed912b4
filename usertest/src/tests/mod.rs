//! The tests, by area. Every one of them passes on Linux; that makes it a test of Linux behaviour.
//!
//! A test is a function that returns if the behaviour is right. Its name is a
//! sentence about that behaviour; its area is the file that it stands in.

mod cred;
mod dir;
mod exec;
mod fault;
mod file;
mod futex;
mod hostile;
mod memory;
mod pipe;
mod poll;
mod proc;
mod process;
mod sched;
mod signal;
mod smp;
mod thread;
mod time;
mod tty;
mod wait;

/// One test.
pub struct Test {
    area: &'static str,
    sentence: &'static str,
    /// Seconds until the runner gives up on it.
    pub limit_seconds: u64,
    /// The test itself.
    pub body: fn(),
}

impl Test {
    /// `area::sentence`.
    pub fn name(&self) -> String {
        format!("{}::{}", self.area, self.sentence)
    }
}

/// The time limit of a test that names none, in seconds.
const LIMIT: u64 = 10;

/// `tests!("area": name, slow_one [30], ...)` declares the list of a file, `TESTS`.
macro_rules! tests {
    ($area:literal: $($name:ident $([$limit:literal])?),* $(,)?) => {
        /// The tests of this file.
        pub const TESTS: &[$crate::tests::Test] = &[$(
            $crate::tests::Test {
                area: $area,
                sentence: stringify!($name),
                limit_seconds: $crate::tests::tests!(@limit $($limit)?),
                body: $name,
            }
        ),*];
    };
    (@limit) => { $crate::tests::LIMIT };
    (@limit $limit:literal) => { $limit };
}
pub(crate) use tests;

const AREAS: &[&[Test]] = &[
    process::TESTS,
    wait::TESTS,
    exec::TESTS,
    thread::TESTS,
    futex::TESTS,
    signal::TESTS,
    fault::TESTS,
    memory::TESTS,
    pipe::TESTS,
    file::TESTS,
    dir::TESTS,
    poll::TESTS,
    time::TESTS,
    proc::TESTS,
    cred::TESTS,
    sched::TESTS,
    smp::TESTS,
    tty::TESTS,
    hostile::TESTS,
];

/// Every test, in order.
pub fn all() -> impl Iterator<Item = &'static Test> {
    AREAS.iter().flat_map(|area| area.iter())
}
