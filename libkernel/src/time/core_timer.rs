//! The one-shot timer of each core and what it is armed for.
//!
//! Everything here is about the calling core and runs with interrupts masked for a moment; nothing sleeps. Users are woken
//! with nothing borrowed.

use alloc::sync::Arc;

use super::{Timer, TimerQueue};
use crate::machine;
use crate::message::{self, Message};
use crate::per_cpu;

/// How many timers one interrupt serves, with interrupts masked, before it lets other interrupts come.
pub(super) const BATCH: usize = 32;

struct CoreTimer {
    queue: TimerQueue,
    slice_end: Option<u64>,
    armed: Option<u64>,
}

per_cpu! {
    static TIMER: CoreTimer = CoreTimer { queue: TimerQueue::new(), slice_end: None, armed: None };
}

impl CoreTimer {
    fn next_event(&self) -> Option<u64> {
        match (self.queue.first_deadline(), self.slice_end) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Sets the hardware if what it is set to is not what comes next.
    fn rearm(&mut self) {
        let next = self.next_event();
        if next != self.armed {
            self.armed = next;
            machine::arm_timer(next);
        }
    }

    /// Sets the hardware only if the next event is earlier; a timer armed too early does no harm.
    fn advance(&mut self) {
        if let Some(next) = self.next_event()
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.armed = Some(next);
            machine::arm_timer(Some(next));
        }
    }
}

/// Starts an idle timer on this core; `false` if it is not idle.
pub(super) fn start(timer: &Arc<Timer>, deadline: u64) -> bool {
    TIMER.with(|core| {
        let started = core.queue.start(timer, machine::core_id() as u32, deadline);
        core.advance();
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
        TIMER.with(|core| core.queue.remove_cancelled(timer));
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
    TIMER.with(|core| core.queue.remove_cancelled(timer));
    if timer.is_movable() {
        timer.wake();
    }
}

/// What the timer interrupt does: wakes what is due at `now`, at most [`BATCH`] timers, and arms the timer for what comes next: at once, if more
/// is due. Returns whether the slice of the running task has ended; it counts as not set then.
pub fn expire(now: u64) -> bool {
    for _ in 0..BATCH {
        let Some(timer) = TIMER.with(|core| core.queue.pop_due(now)) else { break };
        timer.expire();
    }
    TIMER.with(|core| {
        let ended = core.slice_end.is_some_and(|end| end <= now);
        if ended {
            core.slice_end = None;
        }
        core.armed = None;
        machine::arm_timer(None);
        core.rearm();
        ended
    })
}

/// Says when the slice of the running task ends; `None` if nobody waits for its core.
pub fn set_slice_end(end: Option<u64>) {
    TIMER.with(|core| {
        core.slice_end = end;
        // Without it nothing comes earlier than before.
        if end.is_some() {
            core.advance();
        }
    });
}

/// Arms the timer for exactly what comes next, later or never if need be: on the way into idle.
pub fn rearm() {
    TIMER.with(CoreTimer::rearm);
}

/// When this core has to do something next.
pub fn next_event() -> Option<u64> {
    TIMER.with(|core| core.next_event())
}
