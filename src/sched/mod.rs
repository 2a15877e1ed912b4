//! The scheduler's shell: each core's run queue, which that core alone touches, and where a task that became ready goes.
//!
//! What runs next, and for how long, is `libkernel::sched`'s to decide. Here its decisions meet the core: its clock, its timer, its
//! `need_resched` flag, the messages to other cores. All functions are about the calling core; they mask interrupts while they
//! borrow the queue, and drop nothing meanwhile.

pub mod balance;
mod inspect;
mod placement;

use alloc::sync::Arc;
use core::sync::atomic::{Ordering, fence};

use libkernel::message::{self, Message};
use libkernel::sched::{Arrival, Departure, Preemption, RunQueue, load};
use libkernel::sync::Hold;
use libkernel::task::{Changed, Decision, Runnable, Scheduler, SchedulingFacts, Task};
use libkernel::{machine, per_cpu, rcu, time};

use crate::arch::core_local;
use crate::drivers::core_online;
use placement::HINTS;

per_cpu! {
    static QUEUE: RunQueue<Runnable> = RunQueue::new(0);
}

struct Cores;

libkernel::install_scheduler!(Cores);

impl Scheduler for Cores {
    #[inline]
    fn enqueue(runnable: Runnable) {
        let _here = Hold::new();
        let arrival = if runnable.entity.is_new() { Arrival::Born } else { Arrival::Woken };
        let core = machine::core_id();
        let target = placement::choose(runnable.task(), arrival, core);
        if target != core {
            send(target, runnable, arrival);
        } else if let Some(runnable) = arrive(runnable, arrival, core) {
            note_length(QUEUE.with(|queue| insert(queue, runnable, arrival)));
        }
    }

    fn preempt() {
        core_local::this().set_need_resched();
    }

    fn inspect(task: &Arc<Task>) -> Option<SchedulingFacts> {
        inspect::inspect(task)
    }
}

/// Gives each core its queue when it comes online.
pub fn init() {
    core_online::register("run queue", |core| {
        QUEUE.with(|queue| {
            *queue = RunQueue::new(core as u32);
            queue.set_core_count(crate::platform().core_count);
        });
        if let Some(load) = load::of(core) {
            load.start();
        }
        balance::init(core);
    });
}

/// Queues a task on the core where it belongs.
fn place(runnable: Runnable, arrival: Arrival) {
    let core = machine::core_id();
    let target = placement::choose(runnable.task(), arrival, core);
    if target == core { enqueue_here(runnable, arrival) } else { send(target, runnable, arrival) }
}

#[inline(never)]
fn send(target: usize, runnable: Runnable, arrival: Arrival) {
    let message = match arrival {
        Arrival::Moved => Message::Moved(runnable),
        Arrival::Born | Arrival::Woken => Message::Placed(runnable),
    };
    HINTS.expect(target);
    message::send(target, message);
}

/// Queues a task on this core, if it may be here; else it goes to another one.
#[inline(never)]
fn enqueue_here(runnable: Runnable, arrival: Arrival) {
    if let Some(runnable) = arrive(runnable, arrival, machine::core_id()) {
        note_length(QUEUE.with(|queue| insert(queue, runnable, arrival)));
    }
}

/// Notes that a task has come to this core, which is `core`; one that may not be here goes to another one.
#[inline(always)]
fn arrive(runnable: Runnable, arrival: Arrival, core: usize) -> Option<Runnable> {
    let accounting = runnable.task().accounting();
    if accounting.last_core() != core && !runnable.entity.is_new() {
        accounting.migrations.add(1);
        balance::count_migration();
        if let Some(load) = load::of(accounting.last_core()) {
            load.credit(runnable.task());
        }
    }
    accounting.set_last_core(core);
    // Who changes the parameters stores them, then looks for the task's core (`parameters_changed`): this core is found there, or
    // the change is seen here.
    fence(Ordering::SeqCst);
    // Its affinity may have changed while the task was on its way.
    if let Some(target) = placement::elsewhere(runnable.task(), arrival, core) {
        // Its sender announced it to the others.
        QUEUE.with(|queue| publish(queue));
        send(target, runnable, arrival);
        return None;
    }
    Some(runnable)
}

/// Queues a task that has arrived; returns how many there are now. Inlined, with the borrow of the queue, into the path of every wake.
#[inline(always)]
fn insert(queue: &mut RunQueue<Runnable>, runnable: Runnable, arrival: Arrival) -> usize {
    // One that was moved has been waiting.
    if arrival != Arrival::Moved {
        runnable.task().accounting().begin_wait();
    }
    let decision = queue.enqueue(runnable, arrival, machine::monotonic_ns());
    honour(queue, decision)
}

/// Notes how many tasks there are now: after the first one, those who refused this core work may be asked again.
#[inline(always)]
fn note_length(length: usize) {
    if length == 1 {
        balance::forget_refusals();
    }
}

/// Carries a decision out: the flag for the next scheduling point, or the timer for the end of the slice. While the core has yet to
/// come to its scheduling point the slice is over, and the timer has nothing to say: it would interrupt without end. Returns how many
/// tasks there are.
#[inline(always)]
fn honour(queue: &RunQueue<Runnable>, decision: Preemption) -> usize {
    let count = publish(queue);
    let core = core_local::this();
    if decision == Preemption::Reschedule {
        core.set_need_resched();
    }
    if !core.need_resched() {
        arm_slice_end(queue);
    }
    count
}

/// Sees to it that the end of the running task's slice is noticed, if anybody waits for it. A slice that ends later than the timer is armed
/// for needs nothing: the timer arms itself anew.
#[inline(always)]
fn arm_slice_end(queue: &RunQueue<Runnable>) {
    if let Some(end) = queue.slice_end() {
        time::arm_by(end);
    }
}

/// Tells the other cores how long this one's queue is, and the caller.
#[inline]
fn publish(queue: &RunQueue<Runnable>) -> usize {
    let (core, count) = (machine::core_id(), queue.len());
    HINTS.publish(core, count);
    if let Some(load) = load::of(core) {
        load.change(count);
    }
    count
}

/// Takes in a batch of what other cores sent. Interrupts are masked. What is left the executor takes in, at the scheduling point for which this
/// asks then.
pub fn receive_messages() {
    let left = message::receive_batch(receive);
    let core = core_local::this();
    core.set_messages_left(left);
    if left {
        core.set_need_resched();
    }
}

/// Takes in the next batch of what was left, if anything: at every scheduling point, the way into idle among them.
#[inline]
pub fn receive_rest() {
    if core_local::this().messages_left() {
        let interrupts = machine::mask_interrupts();
        receive_messages();
        machine::restore_interrupts(interrupts);
    }
}

fn receive(message: Message) {
    match message {
        Message::Placed(runnable) => {
            let arrival = if runnable.entity.is_new() { Arrival::Born } else { Arrival::Woken };
            enqueue_here(runnable, arrival);
        }
        Message::Moved(runnable) => enqueue_here(runnable, Arrival::Moved),
        // It may have gone to another core meanwhile; then the news follows it.
        Message::Changed(news) => parameters_changed(&news.receive()),
        Message::TimerCancelled(timer) => time::cancelled(&timer),
        Message::Call(call) => call.run(),
        Message::GraceRequest(request) => rcu::requested(request),
        Message::GraceAnswer(answer) => rcu::answered(answer),
        Message::Steal(request) => balance::answer(request),
        Message::StealAnswer(request) => balance::answered(request),
    }
}

/// The timer interrupt: wakes what is due, and ends the slice if it is over.
pub fn timer_due() {
    time::expire(machine::monotonic_ns());
    QUEUE.with(|queue| {
        let now = machine::monotonic_ns();
        let is_over = queue.slice_end().is_some_and(|end| end <= now);
        let decision = if is_over { queue.update(now) } else { Preemption::Continue };
        // Who chooses looks after that.
        if is_over && decision == Preemption::Continue && queue.relief_is_due(now) {
            balance::relieve(queue, now);
        }
        honour(queue, decision);
    });
}

/// The task to poll next, if there is one; it is the core's current one until [`finish_turn`].
pub fn next() -> Option<Arc<Task>> {
    let picked = QUEUE.with(|queue| {
        let now = machine::monotonic_ns();
        let task = choose(queue, now);
        // One that was made to wait may be the one to spare.
        if queue.relief_is_due(now) {
            balance::relieve(queue, now);
        }
        arm_slice_end(queue);
        task
    });
    settle(picked)
}

#[inline(always)]
fn choose(queue: &mut RunQueue<Runnable>, now: u64) -> Option<Arc<Task>> {
    core_local::this().take_need_resched();
    queue.pick(now).map(|runnable| runnable.task().clone())
}

#[inline(always)]
fn pick(queue: &mut RunQueue<Runnable>, now: u64) -> Option<Arc<Task>> {
    let task = choose(queue, now);
    arm_slice_end(queue);
    task
}

/// The picked task, or another one if it may not be here any more.
#[inline(always)]
fn settle(mut picked: Option<Arc<Task>>) -> Option<Arc<Task>> {
    loop {
        let task = picked?;
        // Asked after the request to reschedule was taken, which may have been made because of this.
        if !leave(&task) {
            task.accounting().runs.add(1);
            task.accounting().end_wait();
            if let Some(load) = load::of(machine::core_id()) {
                load.count_turn();
            }
            return Some(task);
        }
        picked = QUEUE.with(|queue| pick(queue, machine::monotonic_ns()));
    }
}

/// Sends the current task to another core, if it may not be here any more.
#[inline]
fn leave(task: &Task) -> bool {
    let Some(target) = placement::elsewhere(task, Arrival::Moved, machine::core_id()) else { return false };
    if let Some(runnable) = remove_current(Departure::Move) {
        send(target, runnable, Arrival::Moved);
    }
    true
}

/// Does what the poll of the current task decided; returns the task to poll next, as [`next`] does.
pub fn finish_turn(task: &Task, decision: Decision) -> Option<Arc<Task>> {
    match decision {
        Decision::Sleep => {
            task.accounting().voluntary_switches.add(1);
            let (woken, picked) = QUEUE.with(|queue| {
                let now = machine::monotonic_ns();
                // Parking drops a reference, but not the last one: `task` is another.
                let woken = queue.remove_current(Departure::Sleep, now).and_then(Runnable::park);
                // One that was woken meanwhile may be the one to run here.
                let picked = if woken.is_some() { None } else { pick(queue, now) };
                publish(queue);
                (woken, picked)
            });
            let Some(runnable) = woken else { return settle(picked) };
            place(runnable, Arrival::Woken);
        }
        Decision::Requeue => {
            task.accounting().involuntary_switches.add(1);
            task.accounting().begin_wait();
            leave(task);
        }
        Decision::Finished => {
            drop(remove_current(Departure::Exit));
            if let Some(load) = load::of(machine::core_id()) {
                load.credit(task);
            }
        }
    }
    next()
}

#[inline(never)]
fn remove_current(departure: Departure) -> Option<Runnable> {
    QUEUE.with(|queue| {
        let runnable = queue.remove_current(departure, machine::monotonic_ns());
        publish(queue);
        runnable
    })
}

/// An interrupt came to user mode and has not been served yet: counts a request to reschedule that user mode ran on with.
#[inline]
pub fn check_request() {
    if core_local::this().need_resched()
        && let Some(load) = load::of(machine::core_id())
    {
        load.count_dropped();
    }
}

/// This core is about to sleep, with interrupts masked: lets others know, and asks for work. Look for messages once more afterwards.
pub fn enter_idle() {
    balance::ask();
    HINTS.enter_idle(machine::core_id());
}

/// This core is awake again.
pub fn leave_idle() {
    HINTS.leave_idle(machine::core_id());
}

/// Whether this core has a task to run.
pub fn has_work() -> bool {
    QUEUE.with(|queue| !queue.is_empty())
}

/// The current task gives the rest of its request up, if another waits (`sched_yield(2)`); the switch comes on the way to user mode.
pub fn yield_current() {
    QUEUE.with(|queue| {
        if queue.has_waiting() {
            queue.yield_current(machine::monotonic_ns());
            core_local::this().set_need_resched();
        }
    });
}

/// Makes a change of a task's requested parameters (nice, policy, slice, affinity) take effect where it is queued or runs. Any
/// context; does not wait for the other core.
pub fn parameters_changed(task: &Arc<Task>) {
    fence(Ordering::SeqCst);
    let _here = Hold::new();
    let home = task.accounting().last_core();
    if home == machine::core_id() {
        refresh(task);
    } else if home < crate::online_cores()
        && let Some(news) = Changed::announce(task)
    {
        message::send(home, Message::Changed(news));
    }
}

/// A task that has left this core meanwhile needs nothing: parameters are read whenever a task is queued.
fn refresh(task: &Arc<Task>) {
    let now = machine::monotonic_ns();
    let is_it = |runnable: &Runnable| Arc::ptr_eq(runnable.task(), task);
    if task.parameters().affinity().contains(machine::core_id()) {
        QUEUE.with(|queue| {
            let decision = queue.refresh(task.position(), is_it, now);
            honour(queue, decision);
        });
        return;
    }
    let (running, waiting) = QUEUE.with(|queue| {
        let running = queue.current().is_some_and(is_it);
        (running, if running { None } else { queue.remove_waiting(task.position(), is_it, now) })
    });
    if running {
        core_local::this().set_need_resched();
    }
    if let Some(runnable) = waiting {
        place(runnable, Arrival::Moved);
    }
}
