//! The milestones of the boot: what has to hold before the first process runs, and where it begins.
//!
//! Each is tried out, asserted in every build, and only then said, as `boot: NAME`, in the order of [`Milestone`]. A boot in which one does not
//! hold ends in a panic that names it; one in which one is left out does not pass `scripts/milestone-test.sh`.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use libkernel::fs::walk::{LastLink, resolve};
use libkernel::fs::{Caller, FsContext};
use libkernel::memory::{PAGE_SIZE, Page};
use libkernel::message::{self, remote_call};
use libkernel::process::birth::Founder;
use libkernel::process::{Credentials, table};
use libkernel::sched::load;
use libkernel::time::sleep_until;
use libkernel::{machine, rcu};

use crate::work;

/// What the boot comes by, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Milestone {
    Memory,
    Cores,
    RootFileSystem,
    Time,
    Messages,
    KernelThreads,
    WorkQueues,
    GracePeriods,
    FirstProcess,
    UserMode,
}

/// How many have been reached.
static REACHED: AtomicUsize = AtomicUsize::new(0);

/// How long the boot core had been idle when the first process was started, in nanoseconds.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// How long a milestone's sleep is, in nanoseconds.
const NAP: u64 = 10_000;

/// Says a milestone that holds.
fn reached(milestone: Milestone, holds: bool) {
    assert!(holds, "boot: {milestone:?} does not hold");
    let before = REACHED.fetch_add(1, Ordering::Relaxed);
    assert_eq!(before, milestone as usize, "boot: {milestone:?} comes out of order");
    log::info!("boot: {milestone:?}");
}

/// Frames and small objects can be had, and are one's own.
pub fn memory() {
    let mut byte = [0];
    let page = Page::zeroed().is_ok_and(|page| {
        page.write(PAGE_SIZE - 1, &[1]) == 1 && page.read(PAGE_SIZE - 1, &mut byte) == 1 && byte == [1]
    });
    reached(Milestone::Memory, page && Vec::<u64>::new().try_reserve_exact(1).is_ok());
}

/// The cores that were to come have come, but for those that the boot said it leaves out.
pub fn cores(wanted: usize, left_out: usize) {
    reached(Milestone::Cores, crate::online_cores() + left_out == wanted);
}

/// The root file system is there, with the console in it.
pub fn root(fs: &FsContext) {
    let console = resolve(&Caller::kernel(fs, &Credentials::root()), None, b"/dev/console", LastLink::Follow);
    reached(Milestone::RootFileSystem, console.is_ok());
}

/// A sleep ends, and not too early; every core takes its messages; kernel threads, work queues and grace periods do what they are for; and there
/// is a first process. By the boot's task.
pub async fn services(first: &Founder) {
    let until = machine::monotonic_ns() + NAP;
    sleep_until(until).await;
    reached(Milestone::Time, machine::monotonic_ns() >= until);
    reached(Milestone::Messages, every_core_answers().await);
    reached(Milestone::KernelThreads, table::processes().any(|process| process.is_kernel()));
    reached(Milestone::WorkQueues, every_queue_runs().await);
    reached(Milestone::GracePeriods, what_is_deferred_is_done().await);
    reached(Milestone::FirstProcess, first.thread().tid().number() == 1);
}

/// The first process is about to be started. By the boot's task, on core 0.
pub fn first_start() {
    IDLE.store(idle_time(), Ordering::Relaxed);
}

/// The first process begins on core 0, which was not idle since [`first_start`]. By its thread, with interrupts masked, when nothing is between
/// it and user mode any more.
pub fn user_mode() {
    let in_its_place = idle_time() - IDLE.load(Ordering::Relaxed);
    reached(Milestone::UserMode, machine::core_id() == 0 && in_its_place == 0);
}

/// How long core 0 was idle, in nanoseconds.
fn idle_time() -> u64 {
    load::of(0).map_or(0, |load| load.read().idle)
}

async fn every_core_answers() -> bool {
    let here = machine::core_id();
    for core in (0..crate::online_cores()).filter(|core| *core != here) {
        let (message, answer) = remote_call(machine::core_id);
        message::send(core, message);
        if answer.wait().await != core {
            return false;
        }
    }
    true
}

async fn every_queue_runs() -> bool {
    let Some(system) = work::system() else { return false };
    let runs = Arc::new(AtomicUsize::new(0));
    let queues = [&system.normal, &system.high, &system.unbound, &system.long, &system.ordered];
    for queue in queues {
        let counted = runs.clone();
        let item = queue.work(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            core::future::ready(())
        });
        if item.queue() != Ok(true) {
            return false;
        }
        item.flush().await;
    }
    runs.load(Ordering::Relaxed) == queues.len()
}

async fn what_is_deferred_is_done() -> bool {
    let done = Arc::new(AtomicUsize::new(0));
    let own = done.clone();
    rcu::defer(move || own.store(1, Ordering::Relaxed)).is_ok()
        && rcu::barrier().await.is_ok()
        && done.load(Ordering::Relaxed) == 1
}
