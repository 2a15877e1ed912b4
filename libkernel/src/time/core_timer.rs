//! The one-shot timer of each core and what it is armed for.
//!
//! Everything here is about the calling core and runs with interrupts masked for a moment; nothing sleeps. Users are woken
//! with nothing borrowed.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Timer, TimerQueue};
use crate::machine::{self, MAX_CORES};
use crate::message::{self, Message};
use crate::per_cpu;

/// How many timers one interrupt serves, with interrupts masked, before it lets other interrupts come.
pub(super) const BATCH: usize = 32;

/// What the hardware of a core is armed for, in nanoseconds.
#[repr(align(128))]
struct Armed(AtomicU64);

/// It is not armed.
const NEVER: u64 = u64::MAX;

/// Each entry is touched by its own core alone, with interrupts masked.
static ARMED: [Armed; MAX_CORES] = [const { Armed(AtomicU64::new(NEVER)) }; MAX_CORES];

per_cpu! {
    static TIMERS: TimerQueue = TimerQueue::new();
}

impl Armed {
    #[inline]
    fn of_this_core() -> Option<&'static Self> {
        ARMED.get(machine::core_id())
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(never)]
    fn set(&self, deadline: u64) {
        self.0.store(deadline, Ordering::Relaxed);
        machine::arm_timer(Some(deadline).filter(|&deadline| deadline != NEVER));
    }
}

/// Has this core interrupted at `deadline` (nanoseconds) or earlier: a timer armed too early does no harm. Interrupts are masked.
#[inline]
pub fn arm_by(deadline: u64) {
    if let Some(armed) = Armed::of_this_core()
        && deadline < armed.get()
    {
        armed.set(deadline);
    }
}

/// Starts an idle timer on this core; `false` if it is not idle.
pub(super) fn start(timer: &Arc<Timer>, deadline: u64) -> bool {
    TIMERS.with(|queue| {
        let started = queue.start(timer, machine::core_id() as u32, deadline);
        if let Some(first) = queue.first_deadline() {
            arm_by(first);
        }
        started
    })
}

/// Cancels a timer wherever it is: afterwards it wakes nobody, unless it has expired already.
pub(super) fn cancel(timer: &Arc<Timer>) {
    if !timer.state().cancel() {
        return;
    }
    let interrupts = machine::mask_interrupts();
    let home = timer.home() as usize;
    if home == machine::core_id() {
        TIMERS.with(|queue| queue.remove_cancelled(timer));
        if timer.is_movable() {
            drop(timer.take_waker());
        }
    } else {
        message::send(home, Message::TimerCancelled(timer.clone()));
    }
    machine::restore_interrupts(interrupts);
}

/// What a core does with [`Message::TimerCancelled`].
pub fn cancelled(timer: &Arc<Timer>) {
    TIMERS.with(|queue| queue.remove_cancelled(timer));
    if timer.is_movable() {
        timer.wake();
    }
}

/// What the timer interrupt does: wakes what is due at `now`, at most [`BATCH`] timers, and arms the hardware for the next timer: at once, if
/// more is due. What else was to be interrupted for has to be armed again.
pub fn expire(now: u64) {
    for _ in 0..BATCH {
        let Some(timer) = TIMERS.with(|queue| queue.pop_due(now)) else { break };
        timer.expire();
    }
    TIMERS.with(|queue| {
        if let Some(armed) = Armed::of_this_core() {
            armed.set(queue.first_deadline().unwrap_or(NEVER));
        }
    });
}

/// Arms the hardware for exactly the next timer, later or never if need be: on the way into idle.
pub fn rearm() {
    TIMERS.with(|queue| {
        let next = queue.first_deadline().unwrap_or(NEVER);
        if let Some(armed) = Armed::of_this_core()
            && next != armed.get()
        {
            armed.set(next);
        }
    });
}

/// When the first timer of this core is due.
pub fn next_event() -> Option<u64> {
    TIMERS.with(|queue| queue.first_deadline())
}
