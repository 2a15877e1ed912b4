//! The state of a work item: one atomic word, and the only code that changes it.
//!
//! `QUEUED` (a run is wanted that has not begun) and `RUNNING` (a run has begun and has not ended) are what a user knows. `LINKED` says
//! that a pool has the item in its hands: in its inbox or list, or under its poll. Whoever sets `LINKED` puts the item into the inbox;
//! so it is in one place, and polled by one core. `WOKEN` asks for one more poll of the run.
//!
//! | state | meaning |
//! |---|---|
//! | (none) | idle |
//! | `QUEUED, LINKED` | queued |
//! | `RUNNING, LINKED` | running: polled now, or with `WOKEN` about to be |
//! | `RUNNING` | running, asleep: held by what it waits for |
//! | `RUNNING, QUEUED` (with or without `LINKED`) | running and queued again |
//! | `LINKED` | cancelled; the pool will find nothing to do |
//!
//! | event | from | to | what follows |
//! |---|---|---|---|
//! | `queue` | neither `RUNNING` nor `LINKED` | `QUEUED, LINKED` | the caller puts it into its home's inbox |
//! | `queue` | `RUNNING` or `LINKED`, not `QUEUED` | the same and `QUEUED` | nothing: the pool will see it |
//! | `queue` | `QUEUED` | the same | refused (the write still orders the caller before the run) |
//! | `queue` | blocked | the same | refused |
//! | `take` | `RUNNING` | without `WOKEN` | the run is polled on |
//! | `take` | `QUEUED` | `RUNNING, LINKED` | a run begins |
//! | `take` | neither | idle | nothing |
//! | `wake` | `RUNNING` | and `WOKEN`, `LINKED` | the caller puts it into its home's inbox if it set `LINKED` |
//! | `wake` | not `RUNNING` | the same | nothing: the run that was waited for is over |
//! | `end_poll` | `WOKEN` | the same | the pool puts it at the back |
//! | `end_poll` | not `WOKEN` | without `LINKED` | asleep |
//! | `finish` | `RUNNING, LINKED` | idle | who flushes is told |
//! | `finish` | `RUNNING, LINKED, QUEUED` | `QUEUED, LINKED` | the same, and the pool puts it at the back |
//! | `cancel` | `QUEUED` | not `QUEUED` | who flushes is told |
//!
//! The rest of the word: how many callers forbid queueing for now, under which [`Ticket`]s the queue counts the wanted run and the one that
//! goes on, and how many runs have ended.

use crate::sync::atomic::{AtomicU64, Ordering};

const QUEUED: u64 = 1;
const RUNNING: u64 = 2;
const LINKED: u64 = 4;
const WOKEN: u64 = 8;

const BLOCKED: Field = Field { shift: 4, bits: 10 };
const QUEUED_TICKET: Field = Field { shift: 14, bits: 6 };
const RUNNING_TICKET: Field = Field { shift: 20, bits: 6 };
const FINISHED: Field = Field { shift: 26, bits: 38 };

/// A number inside the word.
struct Field {
    shift: u32,
    bits: u32,
}

impl Field {
    const fn mask(&self) -> u64 {
        (u64::MAX >> (64 - self.bits)) << self.shift
    }

    const fn get(&self, word: u64) -> u64 {
        (word & self.mask()) >> self.shift
    }

    const fn set(&self, word: u64, value: u64) -> u64 {
        (word & !self.mask()) | ((value << self.shift) & self.mask())
    }

    const fn add(&self, word: u64, amount: u64) -> u64 {
        self.set(word, self.get(word).wrapping_add(amount))
    }
}

/// Under what a queue counts a run, from the acceptance to the end: the lane, and the lane's colour at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u8);

impl Ticket {
    /// Lanes are below this.
    pub const MAX_LANES: usize = 32;

    /// A ticket of the lane, of one of its two colours.
    pub const fn new(lane: usize, colour: usize) -> Self {
        Self(((lane % Self::MAX_LANES) << 1 | colour & 1) as u8)
    }

    /// The lane.
    pub const fn lane(self) -> usize {
        (self.0 >> 1) as usize
    }

    /// The colour, 0 or 1.
    pub const fn colour(self) -> usize {
        (self.0 & 1) as usize
    }
}

/// The state; see the tables above.
#[derive(Debug)]
pub struct ItemState(AtomicU64);

/// The answer to a request to queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Queueing {
    /// Accepted; the caller owns the item for a moment and puts it into its home's inbox.
    Link,
    /// Accepted; the pool has the item, or what wakes the sleeping run will bring it there.
    Accepted,
    /// Refused: it is queued, and the run to come sees everything from before this call.
    Already,
    /// Refused: somebody is cancelling it.
    Blocked,
}

/// What a pool does with an item that it took out of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// Begin a run and poll it.
    Start,
    /// Poll the run that is going on.
    Resume,
    /// Let go of it.
    Nothing,
}

/// A run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ended {
    /// What the queue counted it under.
    pub ticket: Ticket,
    /// It was queued meanwhile: the pool keeps it.
    pub again: bool,
}

/// How many runs have to end until what was queued has been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(u64);

impl ItemState {
    /// Idle.
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Replaces the word by what `change` makes of it, unless it makes nothing; returns the word before.
    #[inline]
    fn update(&self, change: impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let Some(new) = change(word) else { return Err(word) };
            match self.0.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(word),
                Err(current) => word = current,
            }
        }
    }

    /// Whether a request to queue would be refused, and how. To ask before the queue counts; a refusal here is final.
    #[inline]
    pub fn refusal(&self) -> Option<Queueing> {
        // Written with the same value: the run to come acquires what the caller did before.
        match self.update(|word| (word & QUEUED != 0).then_some(word)) {
            Ok(_) => Some(Queueing::Already),
            Err(word) => (BLOCKED.get(word) > 0).then_some(Queueing::Blocked),
        }
    }

    /// Asks for a run. If it is refused, the ticket is the caller's to give back.
    #[inline]
    pub fn queue(&self, ticket: Ticket) -> Queueing {
        let before = self.update(|word| match () {
            () if word & QUEUED != 0 => Some(word),
            () if BLOCKED.get(word) > 0 => None,
            () => {
                let link = if word & (RUNNING | LINKED) == 0 { LINKED } else { 0 };
                Some(QUEUED_TICKET.set(word, u64::from(ticket.0)) | QUEUED | link)
            }
        });
        match before {
            Err(_) => Queueing::Blocked,
            Ok(word) if word & QUEUED != 0 => Queueing::Already,
            Ok(word) if word & (RUNNING | LINKED) == 0 => Queueing::Link,
            Ok(_) => Queueing::Accepted,
        }
    }

    /// The pool took the item out of its list.
    #[inline]
    pub fn take(&self) -> Turn {
        let before = self.update(|word| {
            debug_assert_ne!(word & LINKED, 0, "an item came out of a list without being linked");
            Some(if word & RUNNING != 0 {
                word & !WOKEN
            } else if word & QUEUED != 0 {
                RUNNING_TICKET.set(word, QUEUED_TICKET.get(word)) & !QUEUED | RUNNING
            } else {
                word & !LINKED
            })
        });
        match before.unwrap_or_else(|word| word) {
            word if word & RUNNING != 0 => Turn::Resume,
            word if word & QUEUED != 0 => Turn::Start,
            _ => Turn::Nothing,
        }
    }

    /// What the run waited for has come. `true`: the caller owns the item for a moment and puts it into its home's inbox.
    #[inline]
    #[must_use]
    pub fn wake(&self) -> bool {
        // Written even if `WOKEN` is set already: the poll that clears it must see what happened before this wake.
        let before = self.update(|word| (word & RUNNING != 0).then_some(word | WOKEN | LINKED));
        before.is_ok_and(|word| word & LINKED == 0)
    }

    /// After a pending poll. `true`: woken meanwhile, the pool keeps it; `false`: asleep.
    #[inline]
    #[must_use]
    pub fn end_poll(&self) -> bool {
        self.update(|word| (word & WOKEN == 0).then_some(word & !LINKED)).is_err()
    }

    /// The run is over.
    #[inline]
    pub fn finish(&self) -> Ended {
        let before = self.update(|word| {
            debug_assert_eq!(word & (RUNNING | LINKED), RUNNING | LINKED, "an item ended that was not being polled");
            let keep = if word & QUEUED != 0 { !(RUNNING | WOKEN) } else { !(RUNNING | WOKEN | LINKED) };
            Some(FINISHED.add(word & keep, 1))
        });
        let word = before.unwrap_or_else(|word| word);
        Ended { ticket: Ticket(RUNNING_TICKET.get(word) as u8), again: word & QUEUED != 0 }
    }

    /// Takes the request for a run back, if there is one that has not begun; the ticket is the caller's to give back.
    #[must_use]
    pub fn cancel(&self) -> Option<Ticket> {
        let before = self.update(|word| (word & QUEUED != 0).then_some(word & !QUEUED)).ok()?;
        Some(Ticket(QUEUED_TICKET.get(before) as u8))
    }

    /// As [`cancel`](Self::cancel), and refuses requests until [`unblock`](Self::unblock). Calls nest, to a depth of a thousand.
    #[must_use]
    pub fn block(&self) -> Option<Ticket> {
        let before = self.update(|word| Some(BLOCKED.add(word & !QUEUED, 1)));
        let word = before.unwrap_or_else(|word| word);
        (word & QUEUED != 0).then(|| Ticket(QUEUED_TICKET.get(word) as u8))
    }

    /// Undoes one [`block`](Self::block).
    pub fn unblock(&self) {
        let before = self.update(|word| Some(BLOCKED.add(word, u64::MAX)));
        debug_assert!(BLOCKED.get(before.unwrap_or_else(|word| word)) > 0, "unblocked more often than blocked");
    }

    /// What to wait for until everything that was queued before now has run, or was cancelled; `None` if the item is idle.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        // A write, so that what the caller did before is seen by a run that begins afterwards.
        let word = self.update(Some).unwrap_or_else(|word| word);
        let outstanding = u64::from(word & QUEUED != 0) + u64::from(word & RUNNING != 0);
        (outstanding > 0).then(|| Target(FINISHED.get(word) + outstanding))
    }

    /// Whether it has come to that.
    #[must_use]
    pub fn has_reached(&self, target: Target) -> bool {
        let word = self.0.load(Ordering::Acquire);
        let ahead = FINISHED.get(word).wrapping_sub(target.0) << (64 - FINISHED.bits);
        word & (QUEUED | RUNNING) == 0 || (ahead as i64) >= 0
    }

    /// Whether no run is going on.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.0.load(Ordering::Acquire) & RUNNING == 0
    }

    /// Whether a run is wanted that has not begun, as a hint.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.0.load(Ordering::Relaxed) & QUEUED != 0
    }

    /// The tickets of an item that is about to vanish: of the run that goes on, and of the one that is wanted.
    #[must_use]
    pub fn tickets(&self) -> [Option<Ticket>; 2] {
        let word = self.0.load(Ordering::Acquire);
        [
            (word & RUNNING != 0).then(|| Ticket(RUNNING_TICKET.get(word) as u8)),
            (word & QUEUED != 0).then(|| Ticket(QUEUED_TICKET.get(word) as u8)),
        ]
    }
}

impl Default for ItemState {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const FIRST: Ticket = Ticket::new(3, 1);
    const SECOND: Ticket = Ticket::new(31, 0);

    fn running() -> ItemState {
        let state = ItemState::new();
        assert_eq!(state.queue(FIRST), Queueing::Link);
        assert_eq!(state.take(), Turn::Start);
        state
    }

    #[test]
    fn a_queued_item_is_refused_and_a_running_one_runs_once_more() {
        let state = ItemState::new();
        assert_eq!(state.queue(FIRST), Queueing::Link);
        assert_eq!(state.queue(SECOND), Queueing::Already);
        assert_eq!(state.refusal(), Some(Queueing::Already));
        assert_eq!(state.take(), Turn::Start);
        assert_eq!(state.queue(SECOND), Queueing::Accepted);
        assert_eq!(state.queue(SECOND), Queueing::Already);
        assert_eq!(state.finish(), Ended { ticket: FIRST, again: true });
        assert_eq!(state.take(), Turn::Start);
        assert_eq!(state.finish(), Ended { ticket: SECOND, again: false });
        assert_eq!(state.queue(FIRST), Queueing::Link, "a finished item may be queued again");
    }

    #[test]
    fn a_run_that_sleeps_is_linked_again_by_one_wake() {
        let state = running();
        assert!(!state.end_poll());
        assert!(state.wake());
        assert!(!state.wake());
        assert_eq!(state.take(), Turn::Resume);
        assert!(!state.wake(), "woken during the poll");
        assert!(state.end_poll());
        assert_eq!(state.take(), Turn::Resume);
        assert!(!state.finish().again);
        assert!(!state.wake(), "the run is over");
    }

    #[test]
    fn queueing_a_sleeping_run_does_not_link_it_twice() {
        let state = running();
        assert!(!state.end_poll());
        assert_eq!(state.queue(SECOND), Queueing::Accepted);
        assert!(state.wake());
        assert_eq!(state.take(), Turn::Resume);
        assert_eq!(state.finish(), Ended { ticket: FIRST, again: true });
    }

    #[test]
    fn a_cancelled_item_does_not_run_and_can_be_queued_while_the_pool_still_has_it() {
        let state = ItemState::new();
        assert_eq!(state.queue(FIRST), Queueing::Link);
        assert_eq!(state.cancel(), Some(FIRST));
        assert_eq!(state.cancel(), None);
        assert_eq!(state.queue(SECOND), Queueing::Accepted);
        assert_eq!(state.cancel(), Some(SECOND));
        assert_eq!(state.take(), Turn::Nothing);
        assert_eq!(state.queue(FIRST), Queueing::Link);
    }

    #[test]
    fn a_blocked_item_refuses_until_the_last_block_is_gone() {
        let state = running();
        assert_eq!(state.queue(SECOND), Queueing::Accepted);
        assert_eq!(state.block(), Some(SECOND));
        assert_eq!(state.block(), None);
        assert_eq!(state.queue(FIRST), Queueing::Blocked);
        state.unblock();
        assert_eq!(state.refusal(), Some(Queueing::Blocked));
        state.unblock();
        assert_eq!(state.refusal(), None);
        assert_eq!(state.queue(FIRST), Queueing::Accepted);
    }

    #[test]
    fn a_flush_waits_for_what_was_queued_before_it() {
        let state = ItemState::new();
        assert_eq!(state.target(), None);
        let state = running();
        assert_eq!(state.queue(SECOND), Queueing::Accepted);
        let target = state.target().unwrap();
        assert!(!state.finish().again || !state.has_reached(target));
        assert_eq!(state.take(), Turn::Start);
        assert_eq!(state.queue(FIRST), Queueing::Accepted);
        assert!(!state.has_reached(target));
        assert!(state.finish().again);
        assert!(state.has_reached(target), "the third run came after the flush");
    }

    #[test]
    fn a_flush_ends_when_the_run_is_cancelled() {
        let state = ItemState::new();
        assert_eq!(state.queue(FIRST), Queueing::Link);
        let target = state.target().unwrap();
        assert!(!state.has_reached(target));
        assert!(state.cancel().is_some());
        assert!(state.has_reached(target));
    }

    #[test]
    fn tickets_hold_lane_and_colour() {
        assert_eq!((FIRST.lane(), FIRST.colour()), (3, 1));
        assert_eq!((SECOND.lane(), SECOND.colour()), (31, 0));
    }
}
