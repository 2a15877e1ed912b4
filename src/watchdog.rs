//! The watchdogs: a task that keeps its core, a core that does not take its messages, a task that sleeps for too long where no signal reaches.
//!
//! What counts as trouble is `libkernel::watchdog`'s and `libkernel::task::uninterruptible`'s to say. Here each core looks, in its timer
//! interrupt, every two seconds while it is busy. An idle core does not look: its alarm goes off once more, at most, after it became idle,
//! and lapses unless another core is under suspicion; it is set again when the core has work. So an idle core keeps no tick, and a busy
//! one pays for one interrupt in two seconds.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::Waker;

use libkernel::machine::{self, MAX_CORES};
use libkernel::message;
use libkernel::per_cpu;
use libkernel::task::uninterruptible;
use libkernel::task::{Activity, Task, with_current, with_current_of};
use libkernel::time::{Alarm, with_timeout};
use libkernel::watchdog::{Lookout, PATIENCE, Stretch};

use crate::arch::{core_local, registers, stack_switch};
use crate::drivers::core_online;
use crate::{panic, sched, whereabouts};

const SECOND: u64 = 1_000_000_000;

struct Watch {
    lookout: Lookout,
    alarm: Alarm,
    /// What the alarm wakes: [`look`].
    waker: Option<Waker>,
}

per_cpu! {
    static WATCH: Watch = Watch { lookout: Lookout::new(), alarm: Alarm::new(), waker: None };
}

/// What a core's interrupt and its idle loop tell each other.
#[repr(align(128))]
struct Flags {
    /// The executor found nothing to do and has not looked again.
    idle: AtomicBool,
    /// The alarm is not set.
    lapsed: AtomicBool,
}

static FLAGS: [Flags; MAX_CORES] =
    [const { Flags { idle: AtomicBool::new(false), lapsed: AtomicBool::new(false) } }; MAX_CORES];

/// How often each trouble was reported.
pub struct Reports {
    /// Tasks that kept their core.
    pub stuck_tasks: AtomicU64,
    /// Cores that did not take their messages.
    pub silent_cores: AtomicU64,
    /// Tasks that slept for too long.
    pub long_sleeps: AtomicU64,
}

/// The reports since boot.
pub static REPORTS: Reports =
    Reports { stuck_tasks: AtomicU64::new(0), silent_cores: AtomicU64::new(0), long_sleeps: AtomicU64::new(0) };

/// The alarm's waker.
struct Look;

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        look();
    }
}

/// Makes each core look out from when it comes online.
pub fn init() {
    core_online::register("watchdog", |_| {
        WATCH.with(|watch| {
            let waker = watch.waker.insert(Waker::from(Arc::new(Look)));
            watch.alarm.set(machine::monotonic_ns() + PATIENCE, waker);
        });
    });
}

/// Starts the task that reports long sleeps.
pub fn start() {
    Task::new("watchdog", report_sleepers()).wake();
}

fn flags() -> Option<&'static Flags> {
    FLAGS.get(core_local::this().id())
}

/// Sets the calling core's patience with itself and with others, from its next look on: for tests.
pub fn set_patience(nanoseconds: u64) {
    WATCH.with(|watch| watch.lookout.set_patience(nanoseconds));
}

/// The executor has found nothing to do: until [`leave_idle`] the alarm may lapse.
#[inline]
pub fn enter_idle() {
    if let Some(flags) = flags() {
        flags.idle.store(true, Ordering::Relaxed);
    }
}

/// The executor looks for work again; interrupts have been taken.
#[inline]
pub fn leave_idle() {
    let Some(flags) = flags() else { return };
    flags.idle.store(false, Ordering::Relaxed);
    if flags.lapsed.load(Ordering::Relaxed) && (sched::has_work() || message::pending()) {
        flags.lapsed.store(false, Ordering::Relaxed);
        WATCH.with(Watch::set);
    }
}

impl Watch {
    fn set(&mut self) {
        if let Some(waker) = &self.waker {
            self.alarm.set(machine::monotonic_ns() + self.lookout.patience(), waker);
        }
    }

    /// Looks at every other core; calls `silent` for one that has not taken messages for too long.
    fn look_at_others(&mut self, now: u64, mut silent: impl FnMut(usize, u64)) {
        let me = machine::core_id();
        for core in (0..crate::online_cores()).filter(|core| *core != me) {
            if let Some(lasted) = self.lookout.at_other(core, message::waiting(core), now) {
                silent(core, lasted);
            }
        }
    }
}

/// The alarm went off: in the timer interrupt, or, late, in a core's own call of the timer queue.
fn look() {
    let now = machine::monotonic_ns();
    let executes = if stack_switch::on_task_stack() { None } else { with_current(stretch).flatten() };
    let (stuck, silent) = WATCH.with(|watch| {
        let mut silent = None;
        watch.look_at_others(now, |core, lasted| silent = Some((core, lasted)));
        let stuck = watch.lookout.at_itself(executes, now);
        match flags() {
            Some(flags) if flags.idle.load(Ordering::Relaxed) && !watch.lookout.is_suspicious() => {
                flags.lapsed.store(true, Ordering::Relaxed);
            }
            _ => watch.set(),
        }
        (stuck, silent)
    });
    if let Some(lasted) = stuck {
        report_stuck(lasted);
    }
    if let Some((core, lasted)) = silent {
        report_silent(core, lasted);
    }
}

fn stretch(task: &Arc<Task>) -> Option<Stretch> {
    Some(Stretch { task: task.id().get(), turn: task.accounting().times.turn()? })
}

fn report_stuck(lasted: u64) {
    REPORTS.stuck_tasks.fetch_add(1, Ordering::Relaxed);
    let (core, seconds) = (machine::core_id(), lasted / SECOND);
    with_current(|task| log::warn!("watchdog: {task:?} keeps core {core} for {seconds} s without a scheduling point"));
    panic::log_backtrace(registers::frame_pointer());
}

fn report_silent(core: usize, lasted: u64) {
    REPORTS.silent_cores.fetch_add(1, Ordering::Relaxed);
    let seconds = lasted / SECOND;
    let named = with_current_of(core, |task| {
        log::warn!("watchdog: core {core} has taken no message for {seconds} s; it runs {task:?}");
    });
    if named.is_none() {
        log::warn!("watchdog: core {core} has taken no message for {seconds} s; it runs no task");
    }
    // It says where it is as soon as it takes interrupts.
    whereabouts::ask(core);
}

/// The watchdog's task: reports tasks that sleep for too long where no signal ends it.
async fn report_sleepers() {
    loop {
        let next = uninterruptible::check(machine::monotonic_ns(), |task, lasted| {
            REPORTS.long_sleeps.fetch_add(1, Ordering::Relaxed);
            let (core, seconds) = (task.accounting().last_core(), lasted / SECOND);
            // It may have been woken this instant.
            let place = task.waiting();
            if task.activity() == Activity::Asleep {
                log::warn!("watchdog: {task:?} sleeps since {seconds} s, last on core {core}");
            } else {
                log::warn!("watchdog: {task:?} slept for {seconds} s at {place}, on core {core}");
            }
        });
        let _ = with_timeout(next, uninterruptible::news()).await;
    }
}
