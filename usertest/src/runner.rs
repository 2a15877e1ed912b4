//! Runs tests: each in a session of its own, with a scratch directory and a time limit.
//!
//! A test reports nothing when it succeeds. When it fails, its panic hook writes
//! one line to a pipe which the runner reads after the test's process has ended.
//! The runner sleeps in `sigtimedwait` until a child ends or a limit expires.

use crate::call;
use crate::sys::{self, Errno, Fd, MS, Pid, SECOND, Status};
use crate::tests::Test;
use std::ffi::CString;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicI32, Ordering};

/// What the command line asked for.
pub struct Options {
    /// Only tests whose name contains one of these; all if empty.
    pub filters: Vec<String>,
    /// How often to run each.
    pub repeat: usize,
    /// How many at a time.
    pub jobs: usize,
    /// Factor on every time limit, for slow machines.
    pub patience: u64,
    /// Whether to print how long each took.
    pub times: bool,
}

/// How many tests passed and failed.
#[derive(Default)]
pub struct Tally {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    times: bool,
}

struct Running {
    test: &'static Test,
    pid: Pid,
    report: Fd,
    started: u64,
    limit: u64,
    scratch: CString,
}

/// Where reports go: high, so that tests meet the descriptor numbers that they expect.
const REPORT_FD: Fd = 900;
static REPORT: AtomicI32 = AtomicI32::new(-1);

/// Runs all selected tests and prints a line for each and the closing line.
pub fn run(options: &Options) -> Tally {
    let mut queue =
        (0..options.repeat).flat_map(|_| crate::tests::all()).filter(|test| selected(test, &options.filters));
    let mut running: Vec<Running> = Vec::new();
    let mut tally = Tally { times: options.times, ..Tally::default() };
    let mut number = 0;
    // Strays of a finished test are reparented here and reaped.
    let _ = call!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    let _ = sys::block(sys::bit(libc::SIGCHLD));
    loop {
        while running.len() < options.jobs {
            let Some(test) = queue.next() else { break };
            number += 1;
            match start(test, number, options.patience) {
                Ok(entry) => running.push(entry),
                Err(errno) => tally.count(test, 0, Err(format!("cannot start it: {errno:?}"))),
            }
        }
        if running.is_empty() {
            break;
        }
        wait_for_news(&mut running, &mut tally);
    }
    tally
}

impl Tally {
    fn count(&mut self, test: &Test, spent: u64, outcome: Result<(), String>) {
        let time = if self.times { format!(" ({} ms)", spent / MS) } else { String::new() };
        let mut out = std::io::stdout().lock();
        let _ = match outcome {
            Ok(()) => {
                self.passed += 1;
                writeln!(out, "ok {}{time}", test.name())
            }
            Err(reason) => {
                self.failed += 1;
                writeln!(out, "FAILED {}: {reason}{time}", test.name())
            }
        };
        let _ = out.flush();
    }
}

/// Whether `test` is chosen by `filters`.
pub fn selected(test: &Test, filters: &[String]) -> bool {
    let name = test.name();
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
}

fn start(test: &'static Test, number: usize, patience: u64) -> sys::Result<Running> {
    let name = format!("/tmp/usertest.{}.{number}", sys::getpid());
    let scratch = CString::new(name).map_err(|_| Errno(libc::EINVAL))?;
    sys::mkdir(&scratch, 0o755)?;
    let (report, sender) = sys::pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK)?;
    let Some(pid) = sys::fork()? else { run_test(test, &scratch, sender) };
    sys::close(sender)?;
    let limit = test.limit_seconds * patience * SECOND;
    Ok(Running { test, pid, report, started: sys::now(), limit, scratch })
}

/// The life of a test's process.
fn run_test(test: &Test, scratch: &CString, sender: Fd) -> ! {
    let _ = call!(SYS_setsid);
    let _ = call!(SYS_dup3, sender, REPORT_FD, libc::O_CLOEXEC);
    REPORT.store(REPORT_FD, Ordering::SeqCst);
    let _ = call!(SYS_close_range, 3, REPORT_FD - 1, 0);
    if let Ok(null) = sys::open(c"/dev/null", libc::O_RDWR, 0) {
        let _ = call!(SYS_dup3, null, 0, 0);
        let _ = sys::close(null);
    }
    let _ = sys::setrlimit(libc::RLIMIT_CORE, 0, 0);
    forget_the_runtime();
    std::panic::set_hook(Box::new(report_panic));
    let _ = sys::unblock(sys::bit(libc::SIGCHLD));
    crate::check::must(sys::chdir(scratch));
    (test.body)();
    sys::exit(0)
}

/// Undoes what the standard library did to signals: handlers for stack overflow, ignored SIGPIPE.
fn forget_the_runtime() {
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGPIPE] {
        let _ = sys::set_disposition(signal, libc::SIG_DFL);
    }
    let _ = call!(SYS_sigaltstack, &[0usize, libc::SS_DISABLE as usize, 0], 0);
}

/// Sends the reason of a failed assertion to the runner and ends the process.
fn report_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let text = info.payload_as_str().unwrap_or("panic without a message");
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = sys::write(REPORT.load(Ordering::SeqCst), format!("{line} ({place})\n").as_bytes());
    sys::exit(101)
}

/// Sleeps until a child ended or a limit expired, and settles what that finished.
fn wait_for_news(running: &mut Vec<Running>, tally: &mut Tally) {
    let now = sys::now();
    let next = running.iter().map(|entry| (entry.started + entry.limit).saturating_sub(now)).min();
    match sys::sigtimedwait(sys::bit(libc::SIGCHLD), next) {
        Ok(_) | Err(Errno(libc::EAGAIN | libc::EINTR)) => {}
        Err(_) => sys::sleep_ms(5),
    }
    while let Ok(Some((pid, status))) = sys::wait4(-1, libc::WNOHANG) {
        if let Some(at) = running.iter().position(|entry| entry.pid == pid) {
            settle(running.swap_remove(at), Some(status), tally);
        }
    }
    let now = sys::now();
    while let Some(at) = running.iter().position(|entry| now >= entry.started + entry.limit) {
        settle(running.swap_remove(at), None, tally);
    }
}

/// Counts a finished test (`status`) or one whose time is up (`None`), and clears away what it left.
fn settle(entry: Running, status: Option<Status>, tally: &mut Tally) {
    let spent = sys::now() - entry.started;
    let outcome = match status {
        None => Err(format!("time limit of {} s{}", entry.limit / SECOND, whereabouts(entry.pid))),
        Some(status) => verdict(status, &take_report(entry.report)),
    };
    let _ = sys::kill(-entry.pid, libc::SIGKILL);
    if status.is_none() {
        let _ = sys::kill(entry.pid, libc::SIGKILL);
        let _ = sys::wait(entry.pid);
    }
    let _ = sys::close(entry.report);
    if let Ok(path) = entry.scratch.to_str() {
        let _ = std::fs::remove_dir_all(path);
    }
    tally.count(entry.test, spent, outcome);
}

/// Where a process that hangs is waiting, for the report.
fn whereabouts(pid: Pid) -> String {
    let read = |name: &str| {
        let path = CString::new(format!("/proc/{pid}/{name}")).unwrap_or_default();
        sys::read_text(&path).map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    format!(" (wchan {}, syscall {})", read("wchan"), read("syscall"))
}

fn take_report(report: Fd) -> String {
    let mut buffer = [0u8; 1024];
    let n = sys::read(report, &mut buffer).unwrap_or(0);
    let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

fn verdict(status: Status, report: &str) -> Result<(), String> {
    match status {
        Status::Exited(0) if report.is_empty() => Ok(()),
        _ if !report.is_empty() => Err(report.to_owned()),
        Status::Killed(signal, _) => Err(format!("killed by signal {signal}")),
        other => Err(format!("ended with {other:?}")),
    }
}
