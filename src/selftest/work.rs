//! Tests of work queues on the real workers: rows WQ1 to WQ15 of what has to be shown.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use libkernel::machine;
use libkernel::memory::{KernelHeap, frames};
use libkernel::message::{self, remote_call};
use libkernel::sync::{Completion, SpinLock};
use libkernel::task::{Activity, current, with_current, yield_now};
use libkernel::time::{Appointment, Due, sleep_until};
use libkernel::work::{Class, Refused, Work, WorkQueue};

use super::tools::{CACHED_FRAMES, Tally, burn, deterministic, median, run_on, spawn_on};
use super::{Cx, Outcome, SelfTest};
use crate::work::{self, System};

pub const TESTS: &[SelfTest] = &[
    self_test!("work", hammered_item_runs_once_for_each_acceptance).within(60),
    self_test!("work", queueing_is_refused_repeated_and_accepted_again),
    self_test!("work", ordered_queue_keeps_order).within(30),
    self_test!("work", a_flush_sleeps_and_needs_no_tick),
    self_test!("work", items_queue_others_while_their_queue_is_flushed),
    self_test!("work", destroy_loses_nothing_in_the_race).within(60),
    self_test!("work", every_waiter_is_told),
    self_test!("work", an_idle_core_has_no_task),
    self_test!("work", a_blocked_task_leaves_its_core),
    self_test!("work", waiter_and_worker_play_no_ping_pong),
    self_test!("work", queues_come_and_go),
    self_test!("work", queueing_in_an_interrupt_allocates_nothing),
    self_test!("work", a_sleeping_item_lets_the_next_one_start),
    self_test!("work", delayed_items_keep_their_time),
    self_test!("work", delayed_items_move_between_cores),
    self_test!("work", cancelled_items_do_not_run),
    self_test!("work", items_progress_without_memory),
    self_test!("work", items_stay_on_their_core_and_unbound_ones_spread),
    self_test!("work", an_item_starts_soon),
];

const MILLISECOND: u64 = 1_000_000;

fn system() -> Result<&'static System, alloc::string::String> {
    work::system().ok_or_else(|| "there are no system queues".into())
}

/// An item that counts its runs.
fn counting(queue: &Arc<WorkQueue>) -> (Work, Arc<Tally>) {
    let runs = Tally::new();
    let counted = runs.clone();
    let work = queue.work(move || {
        counted.add();
        core::future::ready(())
    });
    (work, runs)
}

/// An item whose runs count, wait for `gate`, and count again.
fn gated(queue: &Arc<WorkQueue>, gate: &Arc<Completion>) -> (Work, Arc<Tally>, Arc<Tally>) {
    let (began, ended) = (Tally::new(), Tally::new());
    let (gate, begin, end) = (gate.clone(), began.clone(), ended.clone());
    let work = queue.work(move || {
        let (gate, begin, end) = (gate.clone(), begin.clone(), end.clone());
        async move {
            begin.add();
            gate.wait().await;
            end.add();
        }
    });
    (work, began, ended)
}

/// What is done in an interrupt: see [`interrupt`].
struct Probe<F>(F);

impl<F: Fn() + Send + Sync + 'static> Due for Probe<F> {
    fn due(&self) {
        (self.0)();
    }
}

/// Something to be done in a timer interrupt of this core, once [`soon`] is called.
fn interrupt(action: impl Fn() + Send + Sync + 'static) -> Arc<Appointment<impl Due>> {
    Appointment::new(Probe(action))
}

fn soon<D: Due>(appointment: &Arc<Appointment<D>>) {
    appointment.set(machine::monotonic_ns() + 100_000);
}

/// Does something in a timer interrupt of this core, soon.
fn in_interrupt(action: impl Fn() + Send + Sync + 'static) {
    soon(&interrupt(action));
}

/// WQ1.
async fn hammered_item_runs_once_for_each_acceptance(cx: &Cx) -> Outcome {
    const REQUESTS: usize = 1_000_000;
    let cores = crate::online_cores();
    for queue in [&system()?.normal, &system()?.unbound] {
        let (busy, twice, runs) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new((busy, twice, runs));
        let own = shared.clone();
        let work = queue.work(move || {
            let shared = own.clone();
            async move {
                let (busy, twice, runs) = &*shared;
                if busy.swap(true, Ordering::SeqCst) {
                    twice.fetch_add(1, Ordering::SeqCst);
                }
                if runs.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
                    yield_now().await;
                }
                busy.store(false, Ordering::SeqCst);
            }
        });
        let (accepted, done) = (Arc::new(AtomicUsize::new(0)), Tally::new());
        for core in 0..cores {
            let (work, accepted, done) = (work.clone(), accepted.clone(), done.clone());
            spawn_on(core, async move {
                for request in 0..REQUESTS / 2 / cores {
                    accepted.fetch_add(usize::from(work.queue() == Ok(true)), Ordering::Relaxed);
                    if request % 8 == 0 {
                        yield_now().await;
                    }
                }
                done.add();
            });
        }
        done.reach(cores).await;
        work.flush().await;
        let (_, twice, runs) = &*shared;
        let (runs, accepted) = (runs.load(Ordering::SeqCst), accepted.load(Ordering::SeqCst));
        cx.report(format_args!("{}: {accepted} of {} requests accepted", queue.name(), REQUESTS / 2));
        check_eq!(twice.load(Ordering::SeqCst), 0);
        check_eq!(runs, accepted);
    }
    Ok(())
}

/// WQ2.
async fn queueing_is_refused_repeated_and_accepted_again(_: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let (work, began, ended) = gated(&system()?.normal, &gate);
    check_eq!(work.queue(), Ok(true));
    check_eq!(work.queue(), Ok(false));
    began.reach(1).await;
    check_eq!(work.queue(), Ok(true));
    check_eq!(work.queue(), Ok(false));
    check_eq!(began.get(), 1);
    gate.complete_all();
    ended.reach(2).await;
    work.flush().await;
    check_eq!(began.get(), 2);
    check_eq!(work.queue(), Ok(true));
    work.flush().await;
    check_eq!(ended.get(), 3);
    Ok(())
}

/// WQ3.
async fn ordered_queue_keeps_order(_: &Cx) -> Outcome {
    const ITEMS: usize = 10_000;
    let queue = &system()?.ordered;
    // The next number, and how many came out of order or while another was under way.
    let state = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false)));
    for number in 0..ITEMS {
        let state = state.clone();
        let work = queue.work(move || {
            let state = state.clone();
            async move {
                let (next, wrong, busy) = &*state;
                let in_turn = next.fetch_add(1, Ordering::SeqCst) == number && !busy.swap(true, Ordering::SeqCst);
                wrong.fetch_add(usize::from(!in_turn), Ordering::SeqCst);
                match number % 100 {
                    0 => sleep_until(machine::monotonic_ns() + 10_000).await,
                    1..10 => yield_now().await,
                    _ => {}
                }
                busy.store(false, Ordering::SeqCst);
            }
        });
        check_eq!(work.queue(), Ok(true));
        if number % 1000 == 0 {
            yield_now().await;
        }
    }
    queue.flush().await;
    let (next, wrong, _) = &*state;
    check_eq!(next.load(Ordering::SeqCst), ITEMS);
    check_eq!(wrong.load(Ordering::SeqCst), 0);
    Ok(())
}

/// WQ4.
async fn a_flush_sleeps_and_needs_no_tick(_: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let queue = work::queue("flushed", Class::Normal);
    let (work, began, _) = gated(&queue, &gate);
    check_eq!(work.queue(), Ok(true));
    began.reach(1).await;
    let done = Tally::new();
    let waiters: Vec<_> = (0..2)
        .map(|which| {
            let (work, queue, done) = (work.clone(), queue.clone(), done.clone());
            spawn_on(0, async move {
                if which == 0 {
                    work.flush().await
                } else {
                    queue.flush().await
                }
                done.add();
            })
        })
        .collect();
    sleep_until(machine::monotonic_ns() + 50 * MILLISECOND).await;
    for waiter in &waiters {
        check_eq!(waiter.activity(), Activity::Asleep);
        // Once to go to sleep; a poll more would be a look without reason.
        check_eq!(waiter.accounting().runs.get(), 1);
    }
    // From here on no timer is armed on behalf of this test.
    gate.complete_all();
    done.reach(2).await;
    Ok(())
}

/// WQ5.
async fn items_queue_others_while_their_queue_is_flushed(_: &Cx) -> Outcome {
    let queue = work::queue("chained", Class::Normal);
    let gate = Arc::new(Completion::new());
    let (second, second_began, second_ended) = gated(&queue, &gate);
    let (third, thirds) = counting(&queue);
    let go = Arc::new(Completion::new());
    let first = {
        let (second, third, go) = (second.clone(), third.clone(), go.clone());
        queue.work(move || {
            let (second, third, go) = (second.clone(), third.clone(), go.clone());
            async move {
                go.wait().await;
                // Both are accepted although their queue is being flushed; this one's end waits for the third.
                let _ = (second.queue(), third.queue());
                third.flush().await;
            }
        })
    };
    check_eq!(first.queue(), Ok(true));
    let flushed = Tally::new();
    let (own, done) = (queue.clone(), flushed.clone());
    spawn_on(0, async move {
        own.flush().await;
        done.add();
    });
    sleep_until(machine::monotonic_ns() + MILLISECOND).await;
    go.complete();
    flushed.reach(1).await;
    check_eq!(thirds.get(), 1);
    // The second was accepted after the flush began, and is not waited for.
    second_began.reach(1).await;
    check_eq!(second_ended.get(), 0);
    gate.complete();
    queue.drain().await;
    check_eq!(second_ended.get(), 1);
    Ok(())
}

/// WQ6.
async fn destroy_loses_nothing_in_the_race(cx: &Cx) -> Outcome {
    const RACES: usize = 10_000;
    let cores = crate::online_cores();
    let (accepted, executed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut refused = 0;
    for race in 0..RACES {
        let class = if race % 2 == 0 { Class::Normal } else { Class::Unbound };
        let queue = if race % 3 == 0 { work::ordered_queue("raced") } else { work::queue("raced", class) };
        let before = accepted.load(Ordering::SeqCst);
        let tried = Tally::new();
        // One other core a race, each in turn; this core races by yielding to its own.
        let core = race % cores;
        let (own, accepts, tries, executes) = (queue.clone(), accepted.clone(), tried.clone(), executed.clone());
        spawn_on(core, async move {
            for _ in 0..4 {
                let executes = executes.clone();
                let work = own.work(move || {
                    executes.fetch_add(1, Ordering::SeqCst);
                    core::future::ready(())
                });
                accepts.fetch_add(usize::from(work.queue() == Ok(true)), Ordering::SeqCst);
                yield_now().await;
            }
            tries.add();
        });
        burn((race as u64 * 37) % 4000);
        if race % 5 == 0 {
            yield_now().await;
        }
        queue.destroy().await;
        queue.destroy().await;
        let (work, _) = counting(&queue);
        check_eq!(work.queue(), Err(Refused::Destroyed));
        check_eq!(queue.counts().1, 0);
        tried.reach(1).await;
        refused += 4 - (accepted.load(Ordering::SeqCst) - before);
    }
    cx.report(format_args!("{refused} of {} requests refused", 4 * RACES));
    check!(refused > 0 && accepted.load(Ordering::SeqCst) > 0, "nothing raced");
    check_eq!(accepted.load(Ordering::SeqCst), executed.load(Ordering::SeqCst));
    Ok(())
}

/// WQ7: no number stands for "nobody", so any task may wait, the first one too.
async fn every_waiter_is_told(_: &Cx) -> Outcome {
    let (completion, told) = (Arc::new(Completion::new()), Tally::new());
    for core in 0..crate::online_cores() {
        for _ in 0..16 {
            let (completion, told) = (completion.clone(), told.clone());
            spawn_on(core, async move {
                completion.wait().await;
                told.add();
            });
        }
    }
    let waiters = 16 * crate::online_cores();
    sleep_until(machine::monotonic_ns() + MILLISECOND).await;
    check_eq!(told.get(), 0);
    for expected in 1..=4 {
        completion.complete();
        told.reach(expected).await;
        sleep_until(machine::monotonic_ns() + MILLISECOND).await;
        check_eq!(told.get(), expected);
    }
    completion.complete_all();
    told.reach(waiters).await;
    completion.wait().await;
    Ok(())
}

/// WQ8: being idle is not a task, so it can neither wait nor be queued.
async fn an_idle_core_has_no_task(_: &Cx) -> Outcome {
    check!(with_current(|_| ()).is_some());
    // What the tests before left behind is done.
    sleep_until(machine::monotonic_ns() + MILLISECOND).await;
    for core in 1..crate::online_cores() {
        // From core 0, which is none of them. A task from before, or a worker, may have a last thing to do there.
        let seen = run_on(0, async move {
            let mut seen = (false, false);
            for _ in 0..100 {
                let (message, answer) = remote_call(|| (with_current(|_| ()).is_none(), machine::in_interrupt()));
                message::send(core, message);
                seen = answer.wait().await;
                if seen == (true, true) {
                    break;
                }
                sleep_until(machine::monotonic_ns() + MILLISECOND).await;
            }
            seen
        })
        .await;
        check_eq!(seen, (true, true));
    }
    let (tasks, looked) = (Arc::new(AtomicUsize::new(0)), Tally::new());
    let (seen, tell) = (tasks.clone(), looked.clone());
    // While this task sleeps its core is idle, and the interrupt finds nobody.
    in_interrupt(move || {
        seen.fetch_add(usize::from(with_current(|_| ()).is_some()), Ordering::SeqCst);
        tell.add();
    });
    looked.reach(1).await;
    check_eq!(tasks.load(Ordering::SeqCst), 0);
    Ok(())
}

/// WQ9.
async fn a_blocked_task_leaves_its_core(_: &Cx) -> Outcome {
    for core in 0..crate::online_cores() {
        let (blocked, freed) = (Tally::new(), Arc::new(Completion::new()));
        let (tell, wait) = (blocked.clone(), freed.clone());
        let task = spawn_on(core, async move {
            tell.add();
            wait.wait().await;
            tell.add();
        });
        blocked.reach(1).await;
        // Another task of the same core gets to run, and only it lets the first one go on.
        run_on(core, async move { freed.complete() }).await;
        blocked.reach(2).await;
        check!(task.accounting().runs.get() <= 3);
    }
    Ok(())
}

/// WQ10.
async fn waiter_and_worker_play_no_ping_pong(cx: &Cx) -> Outcome {
    const ITEMS: u64 = 1000;
    let (work, runs) = counting(&system()?.normal);
    let (waiter, workers) =
        (current().ok_or("no current task")?, || (0..crate::online_cores()).filter_map(work::worker));
    let switches =
        || waiter.accounting().runs.get() + workers().map(|worker| worker.accounting().runs.get()).sum::<u64>();
    let before = switches();
    for _ in 0..ITEMS {
        check_eq!(work.queue(), Ok(true));
        work.flush().await;
    }
    let count = switches() - before;
    check_eq!(runs.get() as u64, ITEMS);
    cx.report(format_args!("{}.{:02} switches an item", count / ITEMS, count * 100 / ITEMS % 100));
    check!(count <= 4 * ITEMS, "{count} switches for {ITEMS} items");
    Ok(())
}

/// WQ11.
async fn queues_come_and_go(_: &Cx) -> Outcome {
    async fn once(number: usize) -> Outcome {
        let queue = match number % 4 {
            0 => work::ordered_queue("late"),
            1 => work::queue("late", Class::High),
            2 => work::queue("late", Class::Unbound),
            _ => work::queue("late", Class::Normal),
        };
        let (work, runs) = counting(&queue);
        check_eq!(work.queue(), Ok(true));
        work.flush().await;
        check_eq!(runs.get(), 1);
        queue.destroy().await;
        Ok(())
    }
    for number in 0..100 {
        once(number).await?;
    }
    let before = frames::free_count();
    for number in 0..1000 {
        once(number).await?;
    }
    let lost = before.saturating_sub(frames::free_count());
    check!(lost <= CACHED_FRAMES, "{lost} frames did not come back");
    Ok(())
}

/// WQ12.
async fn queueing_in_an_interrupt_allocates_nothing(_: &Cx) -> Outcome {
    let before = KernelHeap::allocations_in_interrupts();
    let mut items = Vec::new();
    for queue in [&system()?.normal, &system()?.high, &system()?.unbound, &system()?.long, &system()?.ordered] {
        let delayed = queue.delayed_work(|| core::future::ready(()));
        items.push((counting(queue), delayed));
    }
    let items = Arc::new(items);
    let (inside, allocated) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(u64::MAX)));
    let (own, seen, counted) = (items.clone(), inside.clone(), allocated.clone());
    let done = Tally::new();
    let tell = done.clone();
    in_interrupt(move || {
        let before = KernelHeap::allocations_of(machine::core_id());
        for ((work, _), delayed) in own.iter() {
            let _ = (work.queue(), work.cancel(), work.queue());
            let _ = (delayed.queue_delayed(MILLISECOND), delayed.modify_delayed(2 * MILLISECOND));
        }
        counted.store(KernelHeap::allocations_of(machine::core_id()) - before, Ordering::SeqCst);
        seen.store(machine::in_interrupt(), Ordering::SeqCst);
        tell.add();
    });
    done.reach(1).await;
    check!(inside.load(Ordering::SeqCst));
    check_eq!(allocated.load(Ordering::SeqCst), 0);
    for ((work, runs), delayed) in items.iter() {
        runs.reach(1).await;
        work.flush().await;
        check_eq!(runs.get(), 1);
        delayed.cancel_and_wait().await;
    }
    check_eq!(KernelHeap::allocations_in_interrupts(), before);
    Ok(())
}

/// WQ13: the example of Linux's workqueue documentation.
async fn a_sleeping_item_lets_the_next_one_start(cx: &Cx) -> Outcome {
    // In which order the parts are burnt, and when the last was.
    let log = Arc::new((SpinLock::new(Vec::with_capacity(8)), AtomicU64::new(0)));
    let items: Vec<_> = (0..3)
        .map(|number| {
            let log = log.clone();
            system().map(|system| {
                system.normal.work(move || {
                    let log = log.clone();
                    async move {
                        burn(5 * MILLISECOND);
                        log.0.lock().push(number);
                        sleep_until(machine::monotonic_ns() + 10 * MILLISECOND).await;
                        if number == 0 {
                            burn(5 * MILLISECOND);
                        }
                        log.0.lock().push(number);
                        log.1.store(machine::monotonic_ns(), Ordering::Release);
                    }
                })
            })
        })
        .collect::<Result<_, _>>()?;
    let core = crate::online_cores() - 1;
    let own = items.clone();
    let (began, accepted) =
        run_on(core, async move { (machine::monotonic_ns(), own.iter().all(|item| item.queue() == Ok(true))) }).await;
    check!(accepted);
    for item in &items {
        item.flush().await;
    }
    let took = log.1.load(Ordering::Acquire) - began;
    cx.report(format_args!("{}.{} ms", took / MILLISECOND, took % MILLISECOND / 100_000));
    check!(*log.0.lock() == [0, 1, 2, 0, 1, 2]);
    check!((25 * MILLISECOND..30 * MILLISECOND).contains(&took), "{took} ns");
    Ok(())
}

/// WQ14.
async fn delayed_items_keep_their_time(_: &Cx) -> Outcome {
    let ran_at = Arc::new(AtomicU64::new(0));
    let (own, runs) = (ran_at.clone(), Tally::new());
    let counted = runs.clone();
    let work = system()?.normal.delayed_work(move || {
        own.store(machine::monotonic_ns(), Ordering::SeqCst);
        counted.add();
        core::future::ready(())
    });
    let late = |began: u64, delay: u64| ran_at.load(Ordering::SeqCst).wrapping_sub(began + delay);
    let began = machine::monotonic_ns();
    check_eq!(work.queue_delayed(5 * MILLISECOND), Ok(true));
    check_eq!(work.queue_delayed(1), Ok(false));
    runs.reach(1).await;
    check!(late(began, 5 * MILLISECOND) < 5 * MILLISECOND, "{} ns late", late(began, 5 * MILLISECOND));
    // Later, earlier.
    let began = machine::monotonic_ns();
    check_eq!(work.queue_delayed(5 * MILLISECOND), Ok(true));
    check_eq!(work.modify_delayed(30 * MILLISECOND), Ok(true));
    check_eq!(work.modify_delayed(10 * MILLISECOND), Ok(true));
    runs.reach(2).await;
    check!(late(began, 10 * MILLISECOND) < 5 * MILLISECOND, "{} ns late", late(began, 10 * MILLISECOND));
    // Cancelled, flushed.
    check_eq!(work.queue_delayed(MILLISECOND), Ok(true));
    check!(work.cancel());
    check!(!work.cancel());
    sleep_until(machine::monotonic_ns() + 3 * MILLISECOND).await;
    check_eq!(runs.get(), 2);
    check_eq!(work.queue_delayed(3_600_000 * MILLISECOND), Ok(true));
    work.flush().await;
    check_eq!(runs.get(), 3);
    check_eq!(work.deadline(), None);
    check_eq!(work.queue_delayed(MILLISECOND), Ok(true));
    check!(work.cancel_and_wait().await);
    sleep_until(machine::monotonic_ns() + 3 * MILLISECOND).await;
    check_eq!(runs.get(), 3);
    Ok(())
}

/// WQ14, with the timer elsewhere.
async fn delayed_items_move_between_cores(_: &Cx) -> Outcome {
    let runs = Tally::new();
    let counted = runs.clone();
    let work = Arc::new(system()?.unbound.delayed_work(move || {
        counted.add();
        core::future::ready(())
    }));
    let cores = crate::online_cores();
    for round in 0..100 {
        let (from, to) = (round % cores, (round + 1) % cores);
        let own = work.clone();
        check_eq!(run_on(from, async move { own.queue_delayed(3_600_000 * MILLISECOND) }).await, Ok(true));
        // Several moves at once, from everywhere; the last one is the earliest.
        for core in 0..cores {
            let own = work.clone();
            let delay = (1000 - core as u64) * MILLISECOND;
            check_eq!(run_on(core, async move { own.modify_delayed(delay) }).await, Ok(true));
        }
        let own = work.clone();
        check_eq!(run_on(to, async move { own.modify_delayed(50_000) }).await, Ok(true));
        runs.reach(round + 1).await;
        work.work().flush().await;
        check_eq!(runs.get(), round + 1);
        let own = work.clone();
        check_eq!(run_on(to, async move { own.queue_delayed(3_600_000 * MILLISECOND) }).await, Ok(true));
        let own = work.clone();
        check!(run_on(from, async move { own.cancel_and_wait().await }).await);
    }
    Ok(())
}

/// WQ14.
async fn cancelled_items_do_not_run(_: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let (work, began, ended) = gated(&system()?.normal, &gate);
    check_eq!(work.queue(), Ok(true));
    check!(work.cancel());
    work.flush().await;
    yield_now().await;
    check_eq!(began.get(), 0);
    check_eq!(work.queue(), Ok(true));
    began.reach(1).await;
    check_eq!(work.queue(), Ok(true));
    let (own, cancelled) = (work.clone(), Tally::new());
    let tell = cancelled.clone();
    spawn_on(crate::online_cores() - 1, async move {
        if own.cancel_and_wait().await {
            tell.add();
        }
    });
    while work.queue() != Err(Refused::Cancelling) {
        yield_now().await;
    }
    check_eq!(cancelled.get(), 0);
    gate.complete_all();
    cancelled.reach(1).await;
    check_eq!((began.get(), ended.get()), (1, 1));
    // Cancelled as it starts, again and again: afterwards it is at rest.
    let busy = Arc::new(AtomicBool::new(false));
    let own = busy.clone();
    let work = system()?.unbound.work(move || {
        let busy = own.clone();
        async move {
            busy.store(true, Ordering::SeqCst);
            yield_now().await;
            busy.store(false, Ordering::SeqCst);
        }
    });
    for round in 0..2000 {
        check_eq!(work.queue(), Ok(true));
        burn(round % 50 * 200);
        work.cancel_and_wait().await;
        check!(!busy.load(Ordering::SeqCst), "round {round}: still running");
    }
    Ok(())
}

/// WQ15.
async fn items_progress_without_memory(cx: &Cx) -> Outcome {
    let gate = Arc::new(Completion::new());
    let mut items = Vec::new();
    for queue in [&system()?.normal, &system()?.high, &system()?.unbound, &system()?.ordered] {
        items.push(gated(queue, &gate));
    }
    let items = Arc::new(items);
    let (own, queued) = (items.clone(), Tally::new());
    let tell = queued.clone();
    let queueing = interrupt(move || {
        for (work, ..) in own.iter() {
            let _ = work.queue();
        }
        tell.add();
    });
    // Everything that the heap can give, from large blocks down to the smallest objects.
    let mut hoard: Vec<Vec<u8>> = Vec::with_capacity(1 << 16);
    let mut size = 4 << 20;
    while size >= 8 && hoard.len() < hoard.capacity() {
        let mut block = Vec::new();
        match block.try_reserve_exact(size) {
            Ok(()) => hoard.push(block),
            Err(_) => size /= 2,
        }
    }
    let left = frames::free_count();
    let before = KernelHeap::allocations();
    soon(&queueing);
    queued.reach(1).await;
    for (_, began, _) in items.iter() {
        began.reach(1).await;
        gate.complete();
    }
    for (work, _, ended) in items.iter() {
        work.flush().await;
        ended.reach(1).await;
    }
    let allocations = KernelHeap::allocations() - before;
    drop(hoard);
    cx.report(format_args!("with {left} frames left"));
    check_eq!(allocations, 0);
    Ok(())
}

/// Items run where they were queued; unbound ones use all cores.
async fn items_stay_on_their_core_and_unbound_ones_spread(_: &Cx) -> Outcome {
    let cores = crate::online_cores();
    let place = Arc::new(AtomicUsize::new(usize::MAX));
    let own = place.clone();
    let work = system()?.normal.work(move || {
        let place = own.clone();
        async move {
            place.store(machine::core_id(), Ordering::SeqCst);
            yield_now().await;
            if machine::core_id() != place.load(Ordering::SeqCst) {
                place.store(usize::MAX, Ordering::SeqCst);
            }
        }
    });
    for core in 0..cores {
        check_eq!(work.queue_on(core), Ok(true));
        work.flush().await;
        check_eq!(place.load(Ordering::SeqCst), core);
    }
    check_eq!(work.queue_on(cores), Err(Refused::NoSuchCore));
    let seen = Arc::new(AtomicU64::new(0));
    let items: Vec<_> = (0..cores)
        .map(|_| {
            let seen = seen.clone();
            let began = machine::monotonic_ns();
            system().map(|system| {
                system.unbound.work(move || {
                    let seen = seen.clone();
                    async move {
                        // As long as not all cores have been seen, but not for ever.
                        seen.fetch_or(1 << machine::core_id(), Ordering::SeqCst);
                        while seen.load(Ordering::SeqCst).count_ones() < cores as u32
                            && machine::monotonic_ns() < began + 1000 * MILLISECOND
                        {
                            yield_now().await;
                            seen.fetch_or(1 << machine::core_id(), Ordering::SeqCst);
                        }
                    }
                })
            })
        })
        .collect::<Result<_, _>>()?;
    for item in &items {
        check_eq!(item.queue(), Ok(true));
    }
    for item in &items {
        item.flush().await;
    }
    check_eq!(seen.load(Ordering::SeqCst).count_ones() as usize, cores);
    Ok(())
}

/// The figures: instructions from the request to the item's first.
async fn an_item_starts_soon(cx: &Cx) -> Outcome {
    const ROUNDS: usize = 101;
    /// Instructions, for an item of the same idle core and of another one.
    const BOUNDS: [u64; 2] = [1500, 3500];
    let (began, runs) = (Arc::new(AtomicU64::new(0)), Tally::new());
    let (own, counted) = (began.clone(), runs.clone());
    let work = system()?.normal.work(move || {
        own.store(machine::monotonic_ns(), Ordering::SeqCst);
        counted.add();
        core::future::ready(())
    });
    let mut rounds = 0;
    let mut times = Vec::new();
    let asked = Arc::new(AtomicU64::new(0));
    let probe = {
        let (work, asked) = (work.clone(), asked.clone());
        Appointment::new(Probe(move || {
            asked.store(machine::monotonic_ns(), Ordering::SeqCst);
            let _ = work.queue();
        }))
    };
    for _ in 0..ROUNDS {
        probe.set(machine::monotonic_ns() + 200_000);
        rounds += 1;
        runs.reach(rounds).await;
        times.push(began.load(Ordering::SeqCst) - asked.load(Ordering::SeqCst));
    }
    let here = median(&mut times);
    cx.report(format_args!("{here} instructions (ns) to an item of the same idle core"));
    let other = crate::online_cores() - 1;
    times.clear();
    if other > 0 {
        for _ in 0..ROUNDS {
            sleep_until(machine::monotonic_ns() + 200_000).await;
            let asked = machine::monotonic_ns();
            check_eq!(work.queue_on(other), Ok(true));
            rounds += 1;
            runs.reach(rounds).await;
            times.push(began.load(Ordering::SeqCst) - asked);
        }
    }
    let there = median(&mut times);
    cx.report(format_args!("{there} to one of another idle core"));
    check!(!deterministic() || (here <= BOUNDS[0] && there <= BOUNDS[1]), "{here} and {there} instructions");
    Ok(())
}
