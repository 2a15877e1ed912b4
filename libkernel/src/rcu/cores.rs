//! Each core's grace periods, and what the rest of the kernel tells of quiescent states. Everything here is about the calling core; any
//! context, unless said otherwise.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::barrier::Countdown;
use super::callback::{Callback, Callbacks};
use super::grace::{GracePeriods, Plan};
use super::owned;
use super::quiescence::Quiescence;
use super::request::GraceRequest;
use crate::machine::{self, MAX_CORES};
use crate::message::{self, Message, remote_call};
use crate::per_cpu;
use crate::sync::{Hold, SetOnce};
use crate::task::Task;
use crate::{Errno, Result};

per_cpu! {
    static GRACE: GracePeriods = GracePeriods::new();
}

/// What a core did for read-copy-update. It alone writes it.
#[derive(Debug)]
pub struct Statistics {
    periods: AtomicU64,
    requests: AtomicU64,
    deferred: AtomicU64,
    callbacks: AtomicU64,
}

impl Statistics {
    /// Grace periods that the core began.
    pub fn periods(&self) -> u64 {
        self.periods.load(Ordering::Relaxed)
    }

    /// Requests that it sent for them: none to a core that is idle.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Callbacks that were left to its worker: objects retired, closures deferred.
    pub fn deferred(&self) -> u64 {
        self.deferred.load(Ordering::Relaxed)
    }

    /// Callbacks that its worker ran.
    pub fn callbacks(&self) -> u64 {
        self.callbacks.load(Ordering::Relaxed)
    }
}

#[repr(align(128))]
struct Core {
    /// Whether the next quiescent state is waited for. Written by the core itself, with the grace periods borrowed.
    wanted: AtomicBool,
    quiescence: Quiescence,
    worker: SetOnce<Arc<Task>>,
    statistics: Statistics,
}

static CORES: [Core; MAX_CORES] = [const {
    Core {
        wanted: AtomicBool::new(false),
        quiescence: Quiescence::new(),
        worker: SetOnce::new(),
        statistics: Statistics {
            periods: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
            callbacks: AtomicU64::new(0),
        },
    }
}; MAX_CORES];

/// The cores that have come online have lower numbers.
static ONLINE: AtomicUsize = AtomicUsize::new(0);

#[inline]
fn this() -> Option<&'static Core> {
    CORES.get(machine::core_id())
}

/// Works on this core's grace periods, and notes whether they wait for a quiescent state.
#[inline]
fn with<R>(action: impl FnOnce(&mut GracePeriods) -> R) -> R {
    GRACE.with(|grace| {
        let result = action(grace);
        if let Some(core) = this() {
            core.wanted.store(grace.is_wanted(), Ordering::Relaxed);
        }
        result
    })
}

fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// Interrupts are masked: a handler may defer too.
#[inline]
fn count_deferred() {
    if let Some(core) = this() {
        count(&core.statistics.deferred, 1);
    }
}

fn wake_worker() {
    if let Some(worker) = this().and_then(|core| core.worker.get()) {
        worker.wake();
    }
}

/// This core, one of `cores`, comes online: from now on grace periods wait for it.
pub fn online(core: usize, cores: usize) {
    for _ in 1..cores {
        let request = Box::new(GraceRequest::new(core));
        with(|grace| grace.add_request(request));
    }
    ONLINE.fetch_max(core + 1, Ordering::Relaxed);
    leave_idle();
}

/// Says which task, bound to that core, runs what was deferred there ([`run_callbacks`], [`plan`]), and wakes it: what was deferred before
/// waits until then. Grace periods that somebody waits for need no worker.
pub fn set_worker(core: usize, worker: &Arc<Task>) {
    if CORES.get(core).is_some_and(|core| core.worker.set(worker.clone()).is_ok()) {
        worker.wake();
    }
}

/// This core sleeps until [`leave_idle`]: interrupts are masked and there is no reader.
#[inline]
pub fn enter_idle() {
    if let Some(core) = this() {
        core.quiescence.enter();
    }
}

/// This core is awake again, and may read.
#[inline]
pub fn leave_idle() {
    if let Some(core) = this() {
        core.quiescence.leave();
    }
}

/// Whether somebody waits for a quiescent state of this core. Who interrupted the kernel asks for a scheduling point then.
#[inline]
pub fn is_wanted() -> bool {
    this().is_some_and(|core| core.wanted.load(Ordering::Relaxed))
}

/// This core has no reader at this moment.
#[inline]
pub fn quiescent() {
    if is_wanted() {
        report();
    }
}

#[cold]
fn report() {
    while let Some(request) = with(GracePeriods::answer) {
        message::send(request.from(), Message::GraceAnswer(request));
    }
    let me = machine::core_id();
    let Some(core) = CORES.get(me) else { return };
    let mut sent = 0;
    let began = with(|grace| {
        let is_extended = |core: usize| CORES.get(core).is_none_or(|core| core.quiescence.is_extended());
        grace.begin(me, ONLINE.load(Ordering::Relaxed), machine::monotonic_ns(), is_extended, |request| {
            sent += 1;
            message::send(request.to(), Message::GraceRequest(request));
        })
    });
    if began {
        count(&core.statistics.periods, 1);
        count(&core.statistics.requests, sent);
        if sent != 0 {
            // It looks whether the grace period stalls.
            wake_worker();
        }
        end();
    }
}

/// Ends the grace period if nobody is left to answer.
fn end() {
    let (ended, needs_worker) = with(|grace| (grace.end(), grace.needs_worker()));
    let Some(mut prompt) = ended else { return };
    while let Some(callback) = prompt.pop() {
        callback.run();
    }
    if needs_worker {
        wake_worker();
    }
}

/// What a core does with [`Message::GraceRequest`].
pub fn requested(request: Box<GraceRequest>) {
    with(|grace| grace.requested(request));
}

/// What a core does with [`Message::GraceAnswer`].
pub fn answered(answer: Box<GraceRequest>) {
    with(|grace| grace.answered(answer));
    end();
}

#[inline]
pub(super) fn defer(callback: Callback) {
    let interrupts = machine::mask_interrupts();
    count_deferred();
    if with(|grace| grace.defer(callback, machine::monotonic_ns)) {
        wake_worker();
    }
    machine::restore_interrupts(interrupts);
}

pub(super) fn notify(callback: Callback) {
    with(|grace| grace.notify(callback));
}

pub(super) fn barrier() -> Result<Arc<Countdown>> {
    let cores = ONLINE.load(Ordering::Relaxed);
    let countdown = Countdown::new(cores);
    let mut steps = Callbacks::new();
    for _ in 0..cores {
        let step = countdown.clone();
        steps.push(owned::callback(move || step.step())?);
    }
    let _here = Hold::new();
    for core in 0..cores {
        let step = steps.pop().ok_or(Errno::ENOMEM)?;
        let (message, _answer) = remote_call(move || defer_urgently(step));
        match message {
            Message::Call(call) if core == machine::core_id() => call.run(),
            message => message::send(core, message),
        }
    }
    Ok(countdown)
}

fn defer_urgently(callback: Callback) {
    let interrupts = machine::mask_interrupts();
    count_deferred();
    with(|grace| grace.defer_urgently(callback, machine::monotonic_ns()));
    wake_worker();
    machine::restore_interrupts(interrupts);
}

/// Runs up to `limit` callbacks whose grace period is over; returns how many. For this core's worker, with interrupts as they come.
pub fn run_callbacks(limit: usize) -> usize {
    let mut run = 0;
    while run < limit
        && let Some(callback) = with(GracePeriods::pop_done)
    {
        callback.run();
        run += 1;
    }
    if let Some(core) = this() {
        count(&core.statistics.callbacks, run as u64);
    }
    run
}

/// What this core's worker waits for when there is no callback to run.
pub fn plan() -> Plan {
    with(|grace| grace.plan(machine::monotonic_ns()))
}

/// The cores that this core's grace period waits for, a bit each.
pub fn unanswered() -> u32 {
    with(|grace| grace.unanswered())
}

/// What a core counted.
pub fn statistics(core: usize) -> Option<&'static Statistics> {
    CORES.get(core).map(|core| &core.statistics)
}
