//! Alarms on CPU time, and the limit on it (`RLIMIT_CPU`), without a tick.
//!
//! A CPU-time clock advances only while one of its threads has a core. So when a thread of a process that has such alarms gets
//! one, the core's timer is armed for the earliest moment at which one of them can be due: the time left, divided by the
//! number of cores that may be at work on it. The interrupt only asks for the scheduler; the thread goes through it, and as its next turn
//! begins it looks what is due and rings, in its own context. Where nothing is armed, a turn costs one load and one compare.
//!
//! A thread that is started while others run, and an alarm that is set, make the running threads begin a new turn.
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Poll, Waker};

use crate::fs::sysfs::online_cores;
use crate::message::{self, Message};
use crate::process::clock::SECOND;
use crate::process::limits::{INFINITY, Limit, Resource};
use crate::process::processor_clock::{ProcessorClock, ProcessorTime, Subject};
use crate::process::{Process, Thread};
use crate::signal::Signal;
use crate::sync::{IrqSpinLock, SetOnce};
use crate::task::{self, Activity, Changed, WaitLocation};
use crate::time::Alarm;
use crate::{Errno, Result, machine, per_cpu};

/// How late an alarm may ring, in nanoseconds: a core is not interrupted more often for it.
const GRAIN: u64 = 100_000;

/// The alarms on the CPU time of a process and of its threads.
pub struct ProcessorAlarms {
    /// There is something that can become due. A thread reads it as its turn begins, after its task has become running; who
    /// sets it looks afterwards who is running.
    armed: AtomicBool,
    /// No alarm on the process as a whole can be due before this point of the monotonic clock.
    look_at: AtomicU64,
    book: IrqSpinLock<Book>,
}

struct Book {
    entries: Vec<Entry>,
    /// How often something changed that a plan rests on: an alarm, the limit, the number of threads. Who changes it counts
    /// afterwards, so a plan that was begun before does not count.
    changes: u64,
}

struct Entry {
    id: u64,
    /// The thread, for an alarm on its own time.
    thread: Option<Weak<Thread>>,
    user_only: bool,
    deadline: Option<u64>,
    waker: Waker,
}

impl Entry {
    /// How far off it is; `None` if it is off, or another thread's.
    fn left(&self, process: ProcessorTime, thread: &Arc<Thread>, own: ProcessorTime) -> Option<u64> {
        let time = match &self.thread {
            None => process,
            Some(of) if core::ptr::eq(of.as_ptr(), Arc::as_ptr(thread)) => own,
            Some(_) => return None,
        };
        Some(self.deadline?.saturating_sub(time.of(self.user_only)))
    }
}

/// Asks for the scheduler on the core whose timer rang.
struct Preempt;

impl Wake for Preempt {
    fn wake(self: Arc<Self>) {
        task::preempt();
    }
}

static PREEMPT: SetOnce<Waker> = SetOnce::new();

per_cpu! {
    static NEXT_LOOK: Alarm = Alarm::new();
}

fn set_next_look(at: u64) {
    if PREEMPT.get().is_none() {
        // Whoever was first made the one that counts.
        let _ = PREEMPT.set(Waker::from(Arc::new(Preempt)));
    }
    if let Some(waker) = PREEMPT.get() {
        NEXT_LOOK.with(|alarm| alarm.set(at, waker));
    }
}

/// A turn of `thread` begins on this core: in its own context, its task running.
#[inline]
pub fn begin_turn(thread: &Arc<Thread>) {
    if thread.process().processor_alarms().is_armed()
        && let Some(next) = watch(thread)
    {
        set_next_look(next);
    }
}

/// The turn that [`begin_turn`] began is over.
#[inline]
pub fn end_turn(thread: &Thread) {
    if thread.process().processor_alarms().is_armed() {
        NEXT_LOOK.with(Alarm::clear);
    }
}

/// Rings what is due, if it is time to look; returns when this turn has to end for the next look.
#[cold]
fn watch(thread: &Arc<Thread>) -> Option<u64> {
    let alarms = thread.process().processor_alarms();
    let own = thread.processor_time();
    if machine::monotonic_ns() >= alarms.look_at() || own.total >= thread.processor_look() {
        while let Some(waker) = alarms.take_due(thread) {
            waker.wake();
        }
        enforce_limit(thread);
        alarms.plan(thread);
    }
    let now = machine::monotonic_ns();
    let left = thread.processor_look().saturating_sub(own.total);
    let next = alarms.look_at().min(now.saturating_add(left));
    (next != u64::MAX).then(|| next.max(now.saturating_add(GRAIN)))
}

/// Sends what `RLIMIT_CPU` asks for (getrlimit(2)): `SIGXCPU` at the soft limit, which moves on by a second then, `SIGKILL` at
/// the hard one. `thread`, which runs, is the first that may take it.
fn enforce_limit(thread: &Thread) {
    let process = thread.process();
    let Limit { soft, hard } = process.limit(Resource::Cpu);
    if soft == INFINITY {
        return;
    }
    let used = process.processor_time().total / SECOND;
    if used >= hard {
        process.signals().send_kernel(Signal::KILL);
    } else if used >= soft {
        process.signals().send_alarm(Signal::XCPU, Some(thread.signals()));
        process.with_limits(|limits| limits.advance_cpu(soft));
    }
}

/// Makes the running threads among those that `concerned` selects begin a new turn. Does not allocate: the news that travels is part of the
/// task, and who receives it for a task that runs asks for the scheduler.
fn disturb(process: &Process, concerned: impl Fn(&Arc<Thread>) -> bool) {
    process.for_each_thread(|thread| {
        let Some(task) = thread.task().filter(|task| task.activity() == Activity::Running) else { return };
        if !concerned(thread) {
            return;
        }
        let interrupts = machine::mask_interrupts();
        let core = task.accounting().last_core();
        if core == machine::core_id() {
            task::preempt();
        } else if let Some(news) = Changed::announce(task) {
            message::send(core, Message::Changed(news));
        }
        machine::restore_interrupts(interrupts);
    });
}

impl ProcessorAlarms {
    /// None; but the process has a limit on its CPU time if `limited`.
    pub(crate) const fn new(limited: bool) -> Self {
        let book = Book { entries: Vec::new(), changes: 0 };
        Self { armed: AtomicBool::new(limited), look_at: AtomicU64::new(0), book: IrqSpinLock::new(book) }
    }

    #[inline]
    fn is_armed(&self) -> bool {
        self.armed.load(Ordering::SeqCst)
    }

    fn look_at(&self) -> u64 {
        self.look_at.load(Ordering::Relaxed)
    }

    /// The process has one more thread: its time may pass faster than was planned for.
    pub(crate) fn thread_joined(&self, process: &Process) {
        if self.is_armed() {
            self.replan();
            disturb(process, |_| true);
        }
    }

    /// The limit of `process`, whose alarms these are, on its CPU time was set.
    pub fn limit_changed(&self, process: &Process) {
        self.replan();
        disturb(process, |_| true);
    }

    /// What the plan rests on has changed: the next turn of a thread of the process makes another.
    fn replan(&self) {
        let mut book = self.book.lock();
        book.changes += 1;
        self.look_at.store(0, Ordering::Relaxed);
        self.armed.store(true, Ordering::SeqCst);
    }

    fn take_due(&self, thread: &Arc<Thread>) -> Option<Waker> {
        let (process, own) = (thread.process().processor_time(), thread.processor_time());
        let mut book = self.book.lock();
        let due = book.entries.iter_mut().find(|entry| entry.left(process, thread, own) == Some(0))?;
        due.deadline = None;
        Some(due.waker.clone())
    }

    /// Works out when to look next, for the process and for `thread`.
    fn plan(&self, thread: &Arc<Thread>) {
        self.adopt(thread, &self.survey(thread));
    }

    fn survey(&self, thread: &Arc<Thread>) -> Survey {
        let changes = self.book.lock().changes;
        let owner = thread.process();
        Survey {
            changes,
            process: owner.processor_time(),
            own: thread.processor_time(),
            soft: owner.soft_limit(Resource::Cpu),
            cores: if owner.thread_count() > 1 { online_cores().max(1) as u64 } else { 1 },
        }
    }

    /// Plans by a survey, unless it is out of date: then the next turn makes another.
    fn adopt(&self, thread: &Arc<Thread>, survey: &Survey) {
        let Survey { changes, process, own, soft, cores } = *survey;
        let now = machine::monotonic_ns();
        let book = self.book.lock();
        let earliest = |threads: bool| {
            let concerned = book.entries.iter().filter(|entry| entry.thread.is_some() == threads);
            concerned.filter_map(|entry| entry.left(process, thread, own)).min()
        };
        thread.set_processor_look(earliest(true).map_or(u64::MAX, |left| own.total.saturating_add(left.max(GRAIN))));
        if book.changes != changes {
            return;
        }
        let limit = soft.map(|soft| soft.saturating_mul(SECOND).saturating_sub(process.total));
        let left = earliest(false).into_iter().chain(limit).min();
        let look_at = left.map_or(u64::MAX, |left| now.saturating_add((left / cores).max(GRAIN)));
        self.look_at.store(look_at, Ordering::Relaxed);
        let armed = soft.is_some() || book.entries.iter().any(|entry| entry.deadline.is_some());
        self.armed.store(armed, Ordering::SeqCst);
    }
}

/// What a plan rests on, as it was one after the other.
struct Survey {
    /// The changes that it can be sure to have seen.
    changes: u64,
    process: ProcessorTime,
    own: ProcessorTime,
    soft: Option<u64>,
    /// How many cores may be at work for the process.
    cores: u64,
}

/// An alarm on a CPU-time clock, which wakes what it was made for. It is off until it is set, and after it has rung.
pub struct ProcessorAlarm {
    clock: ProcessorClock,
    id: u64,
}

impl ProcessorAlarm {
    /// An alarm that is off, and wakes nobody yet.
    ///
    /// # Errors
    /// `EINVAL` when the clock's subject is gone, `ENOMEM`.
    pub fn new(clock: ProcessorClock) -> Result<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed);
        let process = clock.process().ok_or(Errno::EINVAL)?;
        let thread = match &clock.subject {
            Subject::Process(_) => None,
            Subject::Thread(thread) => Some(thread.clone()),
        };
        let entry = Entry { id, thread, user_only: clock.user_only, deadline: None, waker: Waker::noop().clone() };
        let mut book = process.processor_alarms().book.lock();
        book.entries.try_reserve(1)?;
        book.entries.push(entry);
        drop(book);
        Ok(Self { clock, id })
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &ProcessorClock {
        &self.clock
    }

    fn with_entry(&self, action: impl FnOnce(&mut Entry)) {
        let Some(process) = self.clock.process() else { return };
        let mut book = process.processor_alarms().book.lock();
        if let Some(entry) = book.entries.iter_mut().find(|entry| entry.id == self.id) {
            action(entry);
        }
    }

    /// Says what it wakes.
    pub fn set_waker(&self, mut waker: Waker) {
        self.with_entry(|entry| core::mem::swap(&mut entry.waker, &mut waker));
    }

    /// Sets it to ring when the clock shows `deadline`, or off. Call [`announce`](Self::announce) afterwards, with no lock held.
    pub fn set(&self, deadline: Option<u64>) {
        self.with_entry(|entry| entry.deadline = deadline);
    }

    /// Lets the threads that advance the clock know that it was set.
    pub fn announce(&self) {
        let Some(process) = self.clock.process() else { return };
        if let Subject::Thread(thread) = &self.clock.subject
            && let Some(thread) = thread.upgrade()
        {
            thread.set_processor_look(0);
        }
        process.processor_alarms().replan();
        disturb(&process, |thread| match &self.clock.subject {
            Subject::Process(_) => true,
            Subject::Thread(of) => core::ptr::eq(of.as_ptr(), Arc::as_ptr(thread)),
        });
    }
}

impl Drop for ProcessorAlarm {
    fn drop(&mut self) {
        let Some(process) = self.clock.process() else { return };
        let mut book = process.processor_alarms().book.lock();
        let gone = book.entries.iter().position(|entry| entry.id == self.id).map(|at| book.entries.swap_remove(at));
        drop(book);
        drop(gone);
    }
}

/// Sleeps until the clock shows `deadline`; for ever if nobody advances it.
///
/// # Errors
/// As for [`ProcessorAlarm::new`].
#[track_caller]
pub fn sleep_until(clock: ProcessorClock, deadline: u64) -> impl Future<Output = Result<()>> {
    let location = core::panic::Location::caller();
    let mut alarm = None;
    poll_fn(move |context| {
        if alarm.is_none() {
            match ProcessorAlarm::new(clock.clone()) {
                Ok(new) => {
                    new.set_waker(context.waker().clone());
                    new.set(Some(deadline));
                    new.announce();
                    alarm = Some(new);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if clock.read() >= deadline {
            return Poll::Ready(Ok(()));
        }
        WaitLocation::record(context.waker(), location);
        Poll::Pending
    })
}
