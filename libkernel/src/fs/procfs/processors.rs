//! What `/proc` tells of the processors: `stat`, `schedstat`, `loadavg`, `uptime` (proc(5)).
//!
//! Everything comes from what the cores publish (`sched::load`): idle time is time without a runnable task, user time is its tasks'
//! own, and the rest, interrupts included, is the kernel's.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::Result;
use crate::fs::mount::Path;
use crate::fs::sysfs::online_cores;
use crate::fs::virtual_fs::Text;
use crate::machine::{self, MAX_CORES};
use crate::process::clock::SECOND;
use crate::process::table;
use crate::process::usage::ticks;
use crate::sched::load::{self, Account, LOAD_ONE};
use crate::sync::{SetOnce, SpinLock};
use crate::task::Task;

static INTERRUPTS: SetOnce<fn() -> u64> = SetOnce::new();

/// Says how to count the interrupts of all cores; only the first counts.
pub fn set_interrupt_count(count: fn() -> u64) {
    // A second way to count the same would do as well.
    let _ = INTERRUPTS.set(count);
}

/// Processes and threads that ever were.
static BIRTHS: AtomicU64 = AtomicU64::new(0);

/// Counts a process or thread that begins.
pub(crate) fn count_birth() {
    BIRTHS.fetch_add(1, Ordering::Relaxed);
}

/// Where the time of a core went, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Split {
    user: u64,
    nice: u64,
    system: u64,
    idle: u64,
}

impl Split {
    fn later(self, other: Self) -> Self {
        Self {
            user: self.user.max(other.user),
            nice: self.nice.max(other.nice),
            system: self.system.max(other.system),
            idle: self.idle.max(other.idle),
        }
    }

    fn sum(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            nice: self.nice + other.nice,
            system: self.system + other.system,
            idle: self.idle + other.idle,
        }
    }
}

fn each_task(mut action: impl FnMut(&Arc<Task>)) {
    for process in table::processes() {
        process.for_each_thread(|thread| {
            if let Some(task) = thread.task() {
                action(task);
            }
        });
    }
}

fn accounts() -> impl Iterator<Item = Account> {
    (0..online_cores().clamp(1, MAX_CORES)).filter_map(load::of).map(|load| load.read())
}

/// What each core's time went to. A task that moves while this looks may be missed; no number ever goes back, though.
fn splits() -> [Split; MAX_CORES] {
    static LAST: SpinLock<[Split; MAX_CORES]> =
        SpinLock::new([Split { user: 0, nice: 0, system: 0, idle: 0 }; MAX_CORES]);
    let mut splits = [Split::default(); MAX_CORES];
    // The credits before the tasks: one that moves in between is then missed, not counted twice.
    for (split, account) in splits.iter_mut().zip(accounts()) {
        (split.user, split.nice) = (account.user, account.nice);
    }
    each_task(|task| {
        if let Some(split) = splits.get_mut(task.accounting().last_core()) {
            let time = task.accounting().uncredited();
            *if task.parameters().nice() > 0 { &mut split.nice } else { &mut split.user } += time;
        }
    });
    for (split, account) in splits.iter_mut().zip(accounts()) {
        split.idle = account.idle;
        split.system = account.total.saturating_sub(account.idle + split.user + split.nice);
    }
    let mut last = LAST.lock();
    for (split, last) in splits.iter_mut().zip(last.iter_mut()) {
        *last = last.later(*split);
        *split = *last;
    }
    splits
}

/// `/proc/stat`.
pub fn statistics(_root: &Path, text: &mut Text) -> Result<()> {
    let splits = splits();
    let sum = splits.iter().fold(Split::default(), |sum, split| sum.sum(*split));
    let line = |text: &mut Text, name: core::fmt::Arguments<'_>, split: &Split| {
        let Split { user, nice, system, idle } = *split;
        text.write_fmt(format_args!(
            "{name} {} {} {} {} 0 0 0 0 0 0\n",
            ticks(user),
            ticks(nice),
            ticks(system),
            ticks(idle)
        ))
    };
    line(text, format_args!("cpu "), &sum)?;
    for (core, split) in splits.iter().enumerate().take(online_cores()) {
        line(text, format_args!("cpu{core}"), split)?;
    }
    let (turns, runnable) =
        accounts().fold((0, 0), |(turns, runnable), account| (turns + account.turns, runnable + account.runnable));
    text.write_fmt(format_args!(
        "intr {}\nctxt {turns}\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\n",
        INTERRUPTS.get().map_or(0, |count| count()),
        machine::realtime_offset_ns() / SECOND,
        BIRTHS.load(Ordering::Relaxed),
        runnable.max(1)
    ))
}

/// `/proc/uptime`: seconds since boot, and idle seconds of all cores.
pub fn uptime(_root: &Path, text: &mut Text) -> Result<()> {
    let hundredths = |ns: u64| (ns / SECOND, ns % SECOND / 10_000_000);
    let up = hundredths(machine::monotonic_ns());
    let idle = hundredths(accounts().map(|account| account.idle).sum());
    text.write_fmt(format_args!("{}.{:02} {}.{:02}\n", up.0, up.1, idle.0, idle.1))
}

/// The load averages of the machine over 1, 5 and 15 minutes, in units of 1/[`LOAD_ONE`].
#[must_use]
pub fn load_averages() -> [u64; 3] {
    accounts().fold([0; 3], |mut sum, account| {
        sum.iter_mut().zip(account.averages).for_each(|(sum, average)| *sum += average);
        sum
    })
}

/// `/proc/loadavg`.
pub fn load_average(_root: &Path, text: &mut Text) -> Result<()> {
    for average in load_averages() {
        text.write_fmt(format_args!("{}.{:02} ", average / LOAD_ONE, average % LOAD_ONE * 100 / LOAD_ONE))?;
    }
    let runnable: u64 = accounts().map(|account| account.runnable).sum();
    let last = table::processes().last().map_or(1, |process| process.pid().number());
    text.write_fmt(format_args!("{}/{} {last}\n", runnable.max(1), table::thread_count()))
}

/// `/proc/schedstat`: for each core the times run and waited by its tasks in nanoseconds, and the turns; what Linux counts besides is 0.
pub fn scheduling(_root: &Path, text: &mut Text) -> Result<()> {
    text.write_fmt(format_args!("version 15\ntimestamp {}\n", ticks(machine::monotonic_ns())))?;
    for (core, account) in accounts().enumerate() {
        let busy = account.total.saturating_sub(account.idle);
        let waited = account.runnable_time.saturating_sub(busy);
        let turns = account.turns;
        text.write_fmt(format_args!("cpu{core} 0 0 {turns} 0 0 0 {busy} {waited} {turns}\n"))?;
    }
    Ok(())
}
