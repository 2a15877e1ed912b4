//! The torture of work queues: actors on every core do at random whatever can be done to shared items, for as long as is asked.
//!
//! Afterwards the books have to balance: what was accepted was run or taken back, nothing ran on two cores at once, nothing is left.
//! The random numbers come from the kernel's seed, so in the deterministic mode a failure repeats with the same `--icount`.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libkernel::task::yield_now;
use libkernel::time::sleep_until;
use libkernel::work::{Class, DelayedWork, Work, WorkQueue};
use libkernel::{machine, random};

use super::MILLISECOND;
use crate::selftest::tools::{Tally, burn, spawn_on};
use crate::selftest::{Cx, Outcome, SelfTest};
use crate::work;

pub const TESTS: &[SelfTest] = &[self_test!("work", torture).by_name().within(60)];

/// Items of each queue; few, so that actors meet.
const ITEMS: usize = 6;
/// How long it lasts if nobody says.
const DEFAULT_DURATION: u64 = 5_000 * MILLISECOND;

/// A small generator of its own for each actor and run.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Self(random::next_u64() | 1)
    }

    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        // Xorshift (Marsaglia, 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What the books say of an item.
#[derive(Default)]
struct Books {
    busy: AtomicBool,
    twice: AtomicU64,
    accepted: AtomicU64,
    cancelled: AtomicU64,
    executed: AtomicU64,
}

/// One run: at once, by and by, or with sleeps.
async fn run(books: Arc<Books>) {
    if books.busy.swap(true, Ordering::SeqCst) {
        books.twice.fetch_add(1, Ordering::Relaxed);
    }
    let mut dice = Dice::new();
    match dice.roll(8) {
        0 => sleep_until(machine::monotonic_ns() + dice.roll(50_000)).await,
        1..4 => yield_now().await,
        4 => burn(dice.roll(2000)),
        _ => {}
    }
    books.executed.fetch_add(1, Ordering::Relaxed);
    books.busy.store(false, Ordering::SeqCst);
}

/// An item that is queued at once, with its books, and a delayed one.
struct Victim {
    work: Work,
    books: Arc<Books>,
    delayed: DelayedWork,
    delayed_books: Arc<Books>,
}

impl Victim {
    fn new(queue: &Arc<WorkQueue>) -> Self {
        let (books, delayed_books) = (Arc::new(Books::default()), Arc::new(Books::default()));
        let (own, delayed_own) = (books.clone(), delayed_books.clone());
        let work = queue.work(move || run(own.clone()));
        let delayed = queue.delayed_work(move || run(delayed_own.clone()));
        Self { work, books, delayed, delayed_books }
    }

    /// Does one thing to it.
    async fn suffer(&self, dice: &mut Dice, cores: usize) {
        let count = |counter: &AtomicU64, yes: bool| {
            counter.fetch_add(u64::from(yes), Ordering::Relaxed);
        };
        let cancelled = |yes| count(&self.books.cancelled, yes);
        let accepted = |yes| count(&self.books.accepted, yes);
        match dice.roll(16) {
            0..6 => accepted(self.work.queue() == Ok(true)),
            6 => accepted(self.work.queue_on(dice.roll(cores as u64) as usize) == Ok(true)),
            7 => cancelled(self.work.cancel()),
            8 => cancelled(self.work.cancel_and_wait().await),
            9 => self.work.flush().await,
            10 => self.work.work_queue().flush().await,
            11 => {
                let _ = self.delayed.queue_delayed(dice.roll(100_000));
            }
            12 | 13 => {
                let _ = self.delayed.modify_delayed(dice.roll(100_000));
            }
            14 => {
                self.delayed.cancel();
            }
            _ => {
                self.delayed.cancel_and_wait().await;
            }
        }
    }
}

/// Creates a queue, uses it while others may not know it any more, and destroys it.
async fn short_lived(dice: &mut Dice) -> bool {
    let queue = if dice.roll(2) == 0 { work::ordered_queue("brief") } else { work::queue("brief", Class::Unbound) };
    let items: Vec<_> = (0..3).map(|_| Victim::new(&queue)).collect();
    for item in &items {
        item.books.accepted.fetch_add(u64::from(item.work.queue() == Ok(true)), Ordering::Relaxed);
    }
    queue.destroy().await;
    items.iter().all(|item| item.books.executed.load(Ordering::Relaxed) == 1)
}

async fn torture(cx: &Cx) -> Outcome {
    let cores = crate::online_cores();
    let end = machine::monotonic_ns() + cx.duration.unwrap_or(DEFAULT_DURATION);
    let queues: Vec<_> = [Class::Normal, Class::High, Class::Unbound]
        .into_iter()
        .map(|class| work::queue("tortured", class))
        .chain([work::ordered_queue("tortured")])
        .collect();
    let victims: Arc<Vec<_>> =
        Arc::new(queues.iter().flat_map(|queue| (0..ITEMS).map(|_| Victim::new(queue))).collect());
    let (done, deeds, lost) = (Tally::new(), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for actor in 0..3 * cores {
        let (victims, done, deeds, lost) = (victims.clone(), done.clone(), deeds.clone(), lost.clone());
        spawn_on(actor % cores, async move {
            let mut dice = Dice::new();
            while machine::monotonic_ns() < end {
                let chosen = dice.roll(victims.len() as u64) as usize;
                if let Some(victim) = victims.get(chosen) {
                    victim.suffer(&mut dice, cores).await;
                }
                if dice.roll(64) == 0 {
                    lost.fetch_add(u64::from(!short_lived(&mut dice).await), Ordering::Relaxed);
                }
                if dice.roll(4) == 0 {
                    yield_now().await;
                }
                deeds.fetch_add(1, Ordering::Relaxed);
            }
            done.add();
        });
    }
    done.reach(3 * cores).await;
    for victim in victims.iter() {
        victim.delayed.cancel_and_wait().await;
    }
    for queue in &queues {
        queue.drain().await;
        check_eq!(queue.counts().1, 0);
        queue.destroy().await;
    }
    let mut runs = 0;
    for (number, victim) in victims.iter().enumerate() {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let books = &victim.books;
        let (accepted, cancelled, executed) = (read(&books.accepted), read(&books.cancelled), read(&books.executed));
        check_eq!(read(&books.twice) + read(&victim.delayed_books.twice), 0);
        check!(
            accepted == cancelled + executed,
            "item {number}: {accepted} accepted, {cancelled} taken back, {executed} run"
        );
        runs += executed + read(&victim.delayed_books.executed);
    }
    check_eq!(lost.load(Ordering::Relaxed), 0);
    cx.report(format_args!("{} deeds, {runs} runs", deeds.load(Ordering::Relaxed)));
    Ok(())
}
