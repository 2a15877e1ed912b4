//! The inboxes of the cores, and what was counted about them.
//!
//! A core reads its own inbox only; sending is open to all. The counters of a core are written by that core.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{Inbox, Message, Reader};
use crate::machine::{self, MAX_CORES};
use crate::per_cpu;

/// How many messages a core takes in while its interrupts are masked, before it lets other interrupts come.
pub const BATCH: usize = 32;

#[repr(align(128))]
struct Slot(Inbox<Message>);

static INBOXES: [Slot; MAX_CORES] = [const { Slot(Inbox::new()) }; MAX_CORES];

per_cpu! {
    static READER: Reader<Message> = Reader::new();
}

/// What a core counted about messages.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Statistics {
    sent: AtomicU64,
    interrupts: AtomicU64,
    received: AtomicU64,
    cut_short: AtomicU64,
    to_itself: AtomicU64,
}

static STATISTICS: [Statistics; MAX_CORES] = [const {
    Statistics {
        sent: AtomicU64::new(0),
        interrupts: AtomicU64::new(0),
        received: AtomicU64::new(0),
        cut_short: AtomicU64::new(0),
        to_itself: AtomicU64::new(0),
    }
}; MAX_CORES];

impl Statistics {
    /// Messages that the core sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Interrupts that the core raised for them: far fewer than messages under load.
    pub fn interrupts(&self) -> u64 {
        self.interrupts.load(Ordering::Relaxed)
    }

    /// Messages that the core received.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Batches after which messages were left for the next one.
    pub fn cut_short(&self) -> u64 {
        self.cut_short.load(Ordering::Relaxed)
    }

    /// Messages that the core sent to itself: always 0.
    pub fn to_itself(&self) -> u64 {
        self.to_itself.load(Ordering::Relaxed)
    }
}

/// The counters of a core.
pub fn statistics(core: usize) -> Option<&'static Statistics> {
    STATISTICS.get(core)
}

#[inline]
fn count(select: impl Fn(&Statistics) -> &AtomicU64) {
    if let Some(statistics) = STATISTICS.get(machine::core_id()) {
        // An interrupt on this core may count too, so a plain load and store would not do.
        select(statistics).fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends a message to a core, and interrupts it if its inbox was empty. Any context; does not allocate.
///
/// # Panics
/// In debug builds, if a core sends to itself or to a core that cannot exist.
pub fn send(core: usize, message: Message) {
    let Some(Slot(inbox)) = INBOXES.get(core) else {
        debug_assert!(false, "no core {core}");
        return;
    };
    count(|statistics| &statistics.sent);
    if core == machine::core_id() {
        debug_assert!(false, "a core sent itself a message");
        count(|statistics| &statistics.to_itself);
    }
    if inbox.push(message) {
        count(|statistics| &statistics.interrupts);
        machine::raise_ipi(core);
    }
}

/// How many messages a core had received, if some wait for it now: for a look from outside, stale at once.
pub fn waiting(core: usize) -> Option<u64> {
    let Slot(inbox) = INBOXES.get(core)?;
    if inbox.is_empty() { None } else { STATISTICS.get(core).map(Statistics::received) }
}

/// The next message of this core.
#[inline]
pub fn receive() -> Option<Message> {
    let Slot(inbox) = INBOXES.get(machine::core_id())?;
    let message = READER.with(|reader| reader.next(inbox))?;
    count(|statistics| &statistics.received);
    Some(message)
}

/// Takes in the next messages of this core, at most [`BATCH`] of them. Interrupts are masked. Returns whether some are left: no interrupt may
/// come for those, so the caller has to see to it that the core comes back before it sleeps.
#[must_use = "nobody interrupts this core for what is left"]
pub fn receive_batch(mut take: impl FnMut(Message)) -> bool {
    for _ in 0..BATCH {
        let Some(message) = receive() else { return false };
        take(message);
    }
    let left = pending();
    if left {
        count(|statistics| &statistics.cut_short);
    }
    left
}

/// Whether this core has messages to receive. Exact with interrupts masked, as on the way into idle.
#[inline]
pub fn pending() -> bool {
    let Some(Slot(inbox)) = INBOXES.get(machine::core_id()) else { return false };
    !inbox.is_empty() || READER.with(|reader| !reader.is_empty())
}
