//! The tests, by area. Every one of them passes on Linux; that makes it a test of Linux behaviour.
//!
//! A test is a function that returns if the behaviour is right. Its name is a
//! sentence about that behaviour; its area is the file that it stands in.

mod action;
mod balance;
mod clone;
mod cred;
mod descriptor;
mod device;
mod dir;
mod epoll;
mod exec;
mod fault;
mod file;
mod frame;
mod futex;
mod hostile;
mod job;
mod lock;
mod log;
mod mapping;
mod memory;
mod metadata;
mod mount;
mod pipe;
mod poll;
mod proc;
mod process;
mod processor_time;
mod remote;
mod sched;
mod signal;
mod smp;
mod socket;
mod socket_message;
mod socket_name;
mod socket_option;
mod socket_poll;
mod thread;
mod time;
mod torture;
mod tty;
mod vector;
mod visible;
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
    clone::TESTS,
    wait::TESTS,
    exec::TESTS,
    thread::TESTS,
    torture::TESTS,
    futex::TESTS,
    signal::TESTS,
    action::TESTS,
    fault::TESTS,
    frame::TESTS,
    memory::TESTS,
    mapping::TESTS,
    pipe::TESTS,
    socket::TESTS,
    socket_poll::TESTS,
    socket_option::TESTS,
    socket_name::TESTS,
    socket_message::TESTS,
    file::TESTS,
    vector::TESTS,
    lock::TESTS,
    log::TESTS,
    descriptor::TESTS,
    dir::TESTS,
    mount::TESTS,
    metadata::TESTS,
    poll::TESTS,
    epoll::TESTS,
    time::TESTS,
    processor_time::TESTS,
    proc::TESTS,
    visible::TESTS,
    device::TESTS,
    cred::TESTS,
    sched::TESTS,
    smp::TESTS,
    balance::TESTS,
    tty::TESTS,
    job::TESTS,
    remote::TESTS,
    hostile::TESTS,
];

/// Every test, in order.
pub fn all() -> impl Iterator<Item = &'static Test> {
    AREAS.iter().flat_map(|area| area.iter())
}
