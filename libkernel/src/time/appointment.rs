//! A time at which something is done, that may be set, moved and cleared from any core, in any context, without allocating.
//!
//! One timer, made with the appointment, runs on the core that armed it. The time that counts is under a lock of its own: when the timer goes
//! off, or its home core has taken it out after a cancellation from elsewhere, [`Appointment::look`] does what the time then says: act, arm
//! the timer again there, or nothing. So a timer may go off too early, but not too late.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::Waker;

use super::{Timer, core_timer};
use crate::machine;
use crate::sync::IrqSpinLock;

/// What is done when the time has come.
pub trait Due: Send + Sync + 'static {
    /// Does it: in interrupt context, with interrupts masked.
    fn due(&self);
}

/// A time for something. While a time is set the timer keeps the appointment alive.
pub struct Appointment<D> {
    timer: Arc<Timer>,
    /// The time, in monotonic nanoseconds.
    time: IrqSpinLock<Option<u64>>,
    about: D,
}

impl<D: Due> Appointment<D> {
    /// No time is set.
    pub fn new(about: D) -> Arc<Self> {
        Arc::new(Self { timer: Timer::new_movable(), time: IrqSpinLock::new(None), about })
    }

    /// What it is about.
    pub fn about(&self) -> &D {
        &self.about
    }

    /// The time, if one is set.
    pub fn deadline(&self) -> Option<u64> {
        *self.time.lock()
    }

    /// Sets the time, instead of what was set before; returns whether something was.
    pub fn set(self: &Arc<Self>, deadline: u64) -> bool {
        let mut time = self.time.lock();
        let before = time.replace(deadline);
        self.arm(deadline);
        drop(time);
        before.is_some()
    }

    /// Sets the time unless one is set; returns whether it did.
    pub fn set_if_unset(self: &Arc<Self>, deadline: u64) -> bool {
        let mut time = self.time.lock();
        let unset = time.is_none();
        if unset {
            *time = Some(deadline);
            self.arm(deadline);
        }
        drop(time);
        unset
    }

    /// Forgets the time; returns whether one was set. What is being done already is not waited for.
    pub fn clear(&self) -> bool {
        let mut time = self.time.lock();
        let was_set = time.take().is_some();
        if was_set {
            core_timer::cancel(&self.timer);
        }
        drop(time);
        was_set
    }

    /// Starts the timer, under the lock of the time. One that is under way and not too late is left: it will look.
    fn arm(self: &Arc<Self>, deadline: u64) {
        if self.timer.is_armed_until(deadline) {
            return;
        }
        // At home this takes it out at once; elsewhere its home core looks when it has done so.
        core_timer::cancel(&self.timer);
        self.timer.set_waker(&Waker::from(self.clone()));
        core_timer::start(&self.timer, deadline);
    }

    /// Acts if the time has come, and otherwise waits on.
    fn look(self: &Arc<Self>) {
        let mut time = self.time.lock();
        let due = time.is_some_and(|deadline| deadline <= machine::monotonic_ns());
        if due {
            *time = None;
        } else if let Some(deadline) = *time {
            // Whoever woke us took the waker, also if another core has started the timer since.
            self.timer.set_waker(&Waker::from(self.clone()));
            self.arm(deadline);
        }
        drop(time);
        if due {
            self.about.due();
        }
    }
}

impl<D: Due> Wake for Appointment<D> {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}
