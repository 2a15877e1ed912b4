//! Assertions. Besides `assert!` and `assert_eq!` the tests use these, which name errors.
//!
//! A failed assertion panics; the hook that the runner installs sends message
//! and place to the runner and ends the process, also when a child process or
//! another thread of the test panicked.

use crate::sys::{Errno, Pid, Result, Status, wait};

/// The value of a call that has to succeed.
#[track_caller]
pub fn must<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(errno) => panic!("expected success, got {errno:?}"),
    }
}

/// Asserts that a call failed with `errno`.
#[track_caller]
pub fn fails<T>(result: Result<T>, errno: i32) {
    match result {
        Ok(_) => panic!("expected {:?}, got success", Errno(errno)),
        Err(got) => assert!(got == Errno(errno), "expected {:?}, got {got:?}", Errno(errno)),
    }
}

/// The content of an `Option` that has to have one.
#[track_caller]
pub fn some<T>(value: Option<T>, what: &str) -> T {
    match value {
        Some(value) => value,
        None => panic!("missing: {what}"),
    }
}

/// Waits for `pid` and asserts that it exited with `code`.
#[track_caller]
pub fn exits(pid: Pid, code: i32) {
    let status = must(wait(pid));
    assert!(status == Status::Exited(code), "child: expected exit {code}, got {status:?}");
}

/// Waits for `pid` and asserts that `signal` killed it.
#[track_caller]
pub fn killed(pid: Pid, signal: i32) {
    let status = must(wait(pid));
    let fits = matches!(status, Status::Killed(by, _) if by == signal);
    assert!(fits, "child: expected death by signal {signal}, got {status:?}");
}

/// Runs `body` in a child process and asserts that `signal` kills it.
#[track_caller]
pub fn dies_of(signal: i32, body: impl FnOnce()) {
    let pid = crate::sys::spawn(|| {
        body();
        0
    });
    killed(pid, signal);
}

/// Runs `body` in a child process and asserts that it comes to its end.
#[track_caller]
pub fn in_child(body: impl FnOnce()) {
    let pid = crate::sys::spawn(|| {
        body();
        0
    });
    exits(pid, 0);
}

/// Asserts that `value` is within `low..=high`.
#[track_caller]
pub fn within<T: PartialOrd + core::fmt::Debug>(value: T, low: T, high: T, what: &str) {
    assert!(value >= low && value <= high, "{what}: {value:?} is not within {low:?}..={high:?}");
}
