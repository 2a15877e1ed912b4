//! Read-copy-update where it meets the machine: each core's worker, which drops what was retired on that core, and the report of a grace
//! period that does not end. The protocol is `libkernel::rcu`; its quiescent states are told by the executor, the idle loop and the loop
//! of a user thread.

use alloc::format;
use core::future::poll_fn;
use core::task::Poll;

use libkernel::rcu::{self, Plan};
use libkernel::task::yield_now;
use libkernel::time::Alarm;
use libkernel::{Result, machine};

use crate::drivers::core_online;
use crate::task::kernel_thread::{Placement, prepare};
use crate::whereabouts;

/// How many callbacks a worker runs before it lets others run.
const BATCH: usize = 32;

/// A worker's slice in nanoseconds: so short that nobody leaves the core for its sake.
const SLICE: u64 = 100_000;

/// Makes each core take part when it comes online.
pub fn init() {
    core_online::register("read-copy-update", |core| {
        rcu::online(core, crate::platform().core_count);
    });
}

/// Starts the workers of all cores that are online, as kernel threads: `rcu/0` and so on.
///
/// # Errors
/// `ENOMEM`, `EAGAIN`, `ESRCH`: as for [`prepare`].
pub fn start_workers() -> Result<()> {
    for core in 0..crate::online_cores() {
        // A worker is never stopped: what is retired on its core needs it.
        let worker = prepare(&format!("rcu/{core}"), Placement::on(core), |_| work())?;
        worker.task().parameters().set_slice(Some(SLICE));
        rcu::set_worker(core, worker.task());
    }
    Ok(())
}

/// Runs callbacks whose grace period is over, begins a grace period when patience ends, and reports one that does not end.
async fn work() {
    let mut alarm = Alarm::new();
    loop {
        if rcu::run_callbacks(BATCH) == BATCH {
            yield_now().await;
            continue;
        }
        let until = match rcu::plan() {
            Plan::Sleep => None,
            Plan::Until(time) => Some(time),
            Plan::Stalled(began, cores) => {
                report_stall(began, cores);
                continue;
            }
        };
        sleep(until, &mut alarm).await;
    }
}

/// Sleeps until the task is woken for whatever reason, or the time has come. Woken between the plan and the sleep, it does not sleep.
async fn sleep(until: Option<u64>, alarm: &mut Alarm) {
    let mut has_slept = false;
    poll_fn(|context| {
        if core::mem::replace(&mut has_slept, true) {
            return Poll::Ready(());
        }
        if let Some(time) = until {
            alarm.set(time, context.waker());
        }
        Poll::Pending
    })
    .await;
    if until.is_some() {
        alarm.clear();
    }
}

/// Says which cores this core's grace period waits for, and lets them say what they do.
fn report_stall(began: u64, cores: u32) {
    let seconds = machine::monotonic_ns().saturating_sub(began) / 1_000_000_000;
    for core in (0..u32::BITS).filter(|core| cores & (1 << core) != 0) {
        log::warn!("core {}: a grace period waits for core {core} since {seconds} s", machine::core_id());
        whereabouts::ask(core as usize);
    }
}
