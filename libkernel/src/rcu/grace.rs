//! The grace periods of one core: what waits for one, whom it waits for, and what is owed to the grace periods of other cores.
//!
//! A state machine without a machine: the clock, the other cores' states and the sending of messages come in as arguments.
#![forbid(unsafe_code)]

use alloc::boxed::Box;

use super::callback::{Callback, Callbacks};
use super::quiescence::order_removals;
use super::request::{GraceRequest, Requests};

/// How long retired objects wait for others to share their grace period, in nanoseconds.
pub const PATIENCE: u64 = 10_000_000;
/// How many retired objects end the patience.
const MANY: usize = 512;
/// After how many nanoseconds a grace period counts as stalled.
pub const STALL: u64 = 3_000_000_000;

/// What waits for the end of one grace period.
struct Batch {
    /// Run at its end, wherever that is noticed: wake somebody.
    prompt: Callbacks,
    /// Run later by the core's worker: drop something.
    deferred: Callbacks,
}

impl Batch {
    const fn new() -> Self {
        Self { prompt: Callbacks::new(), deferred: Callbacks::new() }
    }

    fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.deferred.is_empty()
    }
}

/// What the worker has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing, until it is woken.
    Sleep,
    /// Look again at this time (monotonic nanoseconds).
    Until(u64),
    /// The grace period that began then waits for the cores of this mask too long. Said once of each.
    Stalled(u64, u32),
}

/// One core's part in read-copy-update.
pub struct GracePeriods {
    /// Whether a grace period is under way.
    running: bool,
    /// The cores that have yet to answer, a bit each.
    unanswered: u32,
    began: u64,
    reported: bool,
    current: Batch,
    next: Batch,
    /// When the first object of `next` was retired.
    next_since: u64,
    /// Whether `next` is to begin as soon as possible.
    urgent: bool,
    done: Callbacks,
    /// This core's requests that are not under way.
    spare: Requests,
    /// Other cores' requests that this core has to answer.
    owed: Requests,
}

impl GracePeriods {
    /// A core that is not online.
    pub const fn new() -> Self {
        Self {
            running: false,
            unanswered: 0,
            began: 0,
            reported: false,
            current: Batch::new(),
            next: Batch::new(),
            next_since: 0,
            urgent: false,
            done: Callbacks::new(),
            spare: Requests::new(),
            owed: Requests::new(),
        }
    }

    /// Adds a request to ask another core with; as many are needed as there are other cores.
    pub fn add_request(&mut self, request: Box<GraceRequest>) {
        self.spare.push(request);
    }

    /// Queues what the worker is to do after a grace period. `true`: the worker has to be woken, to be patient from now on.
    #[inline]
    pub fn defer(&mut self, callback: Callback, now: impl FnOnce() -> u64) -> bool {
        let first = self.next.deferred.is_empty();
        if first {
            self.next_since = now();
        }
        self.next.deferred.push(callback);
        if self.next.deferred.len() >= MANY {
            self.urgent = true;
        }
        first && !self.running
    }

    /// Queues what the worker is to do after a grace period that begins soon.
    pub fn defer_urgently(&mut self, callback: Callback, now: u64) {
        self.defer(callback, || now);
        self.urgent = true;
    }

    /// Queues what is done at the very end of a grace period, which begins soon. It may be done in an interrupt.
    pub fn notify(&mut self, callback: Callback) {
        self.next.prompt.push(callback);
        self.urgent = true;
    }

    /// Whether this core's next quiescent state is waited for: by others, or to begin a grace period.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        !self.owed.is_empty() || self.urgent && !self.running
    }

    /// Another core wants to know of this core's next quiescent state.
    pub fn requested(&mut self, request: Box<GraceRequest>) {
        self.owed.push(request);
    }

    /// A request that may be answered: this core is in a quiescent state.
    pub fn answer(&mut self) -> Option<Box<GraceRequest>> {
        self.owed.pop()
    }

    /// Begins a grace period if one is wanted and none is under way: this core is in a quiescent state. Asks, by
    /// `send`, each of the `cores` but `me` that is not in an extended quiescent state. `true`: it has begun.
    pub fn begin(
        &mut self,
        me: usize,
        cores: usize,
        now: u64,
        is_extended: impl Fn(usize) -> bool,
        mut send: impl FnMut(Box<GraceRequest>),
    ) -> bool {
        if self.running || !self.urgent || self.next.is_empty() {
            return false;
        }
        self.urgent = false;
        self.running = true;
        self.began = now;
        self.reported = false;
        self.current = core::mem::replace(&mut self.next, Batch::new());
        order_removals();
        for core in (0..cores).filter(|core| *core != me && !is_extended(*core)) {
            self.unanswered |= 1 << core;
            let request = self.spare.pop();
            debug_assert!(request.is_some(), "more cores than requests");
            if let Some(mut request) = request {
                request.address_to(core);
                send(request);
            }
        }
        true
    }

    /// An answer came.
    pub fn answered(&mut self, request: Box<GraceRequest>) {
        self.unanswered &= !(1 << request.to());
        self.spare.push(request);
    }

    /// Ends the grace period if all have answered; returns what has to be done at once. What the worker
    /// has to do comes from [`pop_done`](Self::pop_done) then.
    pub fn end(&mut self) -> Option<Callbacks> {
        if !self.running || self.unanswered != 0 {
            return None;
        }
        self.running = false;
        self.done.append(self.current.deferred.take());
        Some(self.current.prompt.take())
    }

    /// The next thing that the worker has to do.
    pub fn pop_done(&mut self) -> Option<Callback> {
        self.done.pop()
    }

    /// Whether the worker has something to do, or to wait for.
    pub fn needs_worker(&self) -> bool {
        self.running || !self.done.is_empty() || !self.next.deferred.is_empty()
    }

    /// What the worker, with nothing to do, waits for. Ends the patience if it is over: see [`is_wanted`](Self::is_wanted).
    pub fn plan(&mut self, now: u64) -> Plan {
        if self.running {
            let stalls = self.began + STALL;
            if self.reported {
                return Plan::Sleep;
            }
            if now < stalls {
                return Plan::Until(stalls);
            }
            self.reported = true;
            return Plan::Stalled(self.began, self.unanswered);
        }
        if self.next.deferred.is_empty() || self.urgent {
            return Plan::Sleep;
        }
        let due = self.next_since + PATIENCE;
        if now < due {
            return Plan::Until(due);
        }
        self.urgent = true;
        Plan::Sleep
    }

    /// The cores that have yet to answer, a bit each.
    pub fn unanswered(&self) -> u32 {
        self.unanswered
    }
}

impl Default for GracePeriods {
    fn default() -> Self {
        Self::new()
    }
}
