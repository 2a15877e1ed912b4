//! Scheduling, messages and interrupts on the real cores, where a program cannot look: who runs where, what was counted.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libkernel::memory::heap::KernelHeap;
use libkernel::message::{self, remote_call};
use libkernel::sched::replay;
use libkernel::task::{AffinityMask, Task, yield_now};
use libkernel::time::sleep_until;
use libkernel::{machine, message::Statistics};

use crate::drivers::core_online;

use super::tools::{deterministic, run_on, spawn_on};
use super::{Cx, Outcome, SelfTest};

/// The tests of this room.
pub const TESTS: &[SelfTest] = &[
    self_test!("sched", a_recorded_trace_gives_the_schedule_of_the_host),
    self_test!("sched", messages_of_all_cores_arrive_once_and_in_batches).within(60),
    self_test!("sched", changes_of_a_task_do_not_pile_up_at_its_core),
    self_test!("sched", a_core_without_one_of_its_hooks_is_refused),
    self_test!("sched", as_many_hogs_as_cores_get_one_each),
    self_test!("sched", sixteen_hogs_released_on_one_core_spread),
    self_test!("sched", timers_and_allocations_meet_no_half_changed_state).within(60),
    self_test!("sched", a_slow_handler_delays_no_other_core),
];

const MS: u64 = 1_000_000;

async fn a_recorded_trace_gives_the_schedule_of_the_host(_: &Cx) -> Outcome {
    check_eq!(replay::hash(replay::SEED, replay::EVENTS), replay::RECORDED);
    Ok(())
}

/// A number that all cores counted, summed.
fn sum(select: impl Fn(&Statistics) -> u64) -> u64 {
    (0..crate::online_cores()).filter_map(message::statistics).map(select).sum()
}

/// Sleeps, again and again for a millisecond, until `condition` holds; false after `limit` milliseconds.
async fn eventually(limit: u64, condition: impl Fn() -> bool) -> bool {
    let end = machine::monotonic_ns() + limit * MS;
    while !condition() {
        if machine::monotonic_ns() > end {
            return false;
        }
        sleep_until(machine::monotonic_ns() + MS).await;
    }
    true
}

async fn messages_of_all_cores_arrive_once_and_in_batches(cx: &Cx) -> Outcome {
    const BURST: usize = 64;
    let cores = crate::online_cores();
    if cores < 2 {
        return Ok(());
    }
    let rounds = if cx.duration.is_some() { 1_000_000 / BURST / cores } else { 20_000 / BURST / cores };
    let (sent, received, interrupts) = (sum(Statistics::sent), sum(Statistics::received), sum(Statistics::interrupts));
    let (done, wrong) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for core in 0..cores {
        let (done, wrong) = (done.clone(), wrong.clone());
        spawn_on(core, async move {
            for round in 0..rounds {
                let target = (core + 1 + round % (cores - 1)) % cores;
                let answers: Vec<_> = (0..BURST)
                    .map(|_| {
                        let (message, answer) = remote_call(machine::core_id);
                        message::send(target, message);
                        answer
                    })
                    .collect();
                for answer in answers {
                    wrong.fetch_add(usize::from(answer.wait().await != target), Ordering::Relaxed);
                }
            }
            done.fetch_add(1, Ordering::Release);
        });
    }
    check!(eventually(50_000, || done.load(Ordering::Acquire) == cores).await, "messages are missing");
    check_eq!(wrong.load(Ordering::Relaxed), 0);
    let under_way = || (sum(Statistics::sent) - sent).abs_diff(sum(Statistics::received) - received);
    check!(eventually(1000, || under_way() == 0).await, "{} messages were sent, but not received", under_way());
    let (sent, interrupts) = (sum(Statistics::sent) - sent, sum(Statistics::interrupts) - interrupts);
    cx.report(format_args!("{sent} messages with {interrupts} interrupts"));
    check!(sent >= (rounds * BURST * cores) as u64);
    check!(interrupts * 2 < sent, "{interrupts} interrupts for {sent} messages");
    check_eq!(sum(Statistics::to_itself), 0);
    Ok(())
}

async fn changes_of_a_task_do_not_pile_up_at_its_core(_: &Cx) -> Outcome {
    const CHANGES: u64 = 10_000;
    let core = crate::online_cores() - 1;
    if core == 0 {
        return Ok(());
    }
    let (deaf, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_deaf, may_hear) = (deaf.clone(), heard.clone());
    let task = spawn_on(core, async move {
        let interrupts = machine::mask_interrupts();
        is_deaf.store(true, Ordering::Release);
        while !may_hear.load(Ordering::Acquire) {
            machine::relax();
        }
        machine::restore_interrupts(interrupts);
    });
    check!(eventually(1000, || deaf.load(Ordering::Acquire)).await);
    let sent = sum(Statistics::sent);
    for turn in 0..CHANGES {
        task.parameters().set_nice((turn % 10) as i8);
        crate::sched::parameters_changed(&task);
    }
    let sent = sum(Statistics::sent) - sent;
    heard.store(true, Ordering::Release);
    check!(sent < CHANGES / 100, "{sent} messages for {CHANGES} changes");
    Ok(())
}

async fn a_core_without_one_of_its_hooks_is_refused(_: &Cx) -> Outcome {
    let all = core_online::registered();
    check_eq!(core_online::missing(all.clone()), None);
    for name in ["interrupt controller", "timer", "run queue", "read-copy-update"] {
        // What a core would panic about in place of going on.
        check_eq!(core_online::missing(all.clone().filter(|hook| hook.name != name)), Some(name));
    }
    Ok(())
}

/// Tasks that keep their cores busy until they are dropped, and say where they run.
struct Hogs {
    places: Arc<[AtomicUsize]>,
    stop: Arc<AtomicBool>,
    tasks: Vec<Arc<Task>>,
}

impl Hogs {
    fn new(count: usize, core: Option<usize>) -> Self {
        let places: Arc<[AtomicUsize]> = (0..count).map(|_| AtomicUsize::new(usize::MAX)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..count).map(|index| {
            let (places, stop) = (places.clone(), stop.clone());
            let body = async move {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(place) = places.get(index) {
                        place.store(machine::core_id(), Ordering::Relaxed);
                    }
                    let end = machine::monotonic_ns() + 50_000;
                    while machine::monotonic_ns() < end {
                        machine::relax();
                    }
                    yield_now().await;
                }
            };
            match core {
                Some(core) => spawn_on(core, body),
                None => {
                    let task = Task::new("hog", body);
                    task.wake();
                    task
                }
            }
        });
        let tasks = tasks.collect();
        Self { places, stop, tasks }
    }

    /// How many there are on each core.
    fn lengths(&self) -> Vec<usize> {
        let on = |core| self.places.iter().filter(|place| place.load(Ordering::Relaxed) == core).count();
        (0..crate::online_cores()).map(on).collect()
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn as_many_hogs_as_cores_get_one_each(cx: &Cx) -> Outcome {
    let began = machine::monotonic_ns();
    let hogs = Hogs::new(crate::online_cores(), None);
    // On a busy machine's own clock nothing is sure.
    let limit = if deterministic() { 10 } else { 500 };
    let spread = eventually(limit, || hogs.lengths().iter().all(|length| *length == 1)).await;
    check!(spread, "hogs on each core: {:?}", hogs.lengths());
    cx.report(format_args!("after {} us", (machine::monotonic_ns() - began) / 1000));
    Ok(())
}

async fn sixteen_hogs_released_on_one_core_spread(cx: &Cx) -> Outcome {
    let hogs = Hogs::new(16, Some(0));
    sleep_until(machine::monotonic_ns() + 5 * MS).await;
    let began = machine::monotonic_ns();
    for task in &hogs.tasks {
        task.parameters().set_affinity(AffinityMask::ALL);
        crate::sched::parameters_changed(task);
    }
    let fair = 16 / crate::online_cores();
    let even = || hogs.lengths().iter().all(|length| (fair.saturating_sub(1).max(1)..=fair + 2).contains(length));
    let limit = if deterministic() { 50 } else { 1000 };
    check!(eventually(limit, even).await, "hogs on each core: {:?}", hogs.lengths());
    cx.report(format_args!("after {} us", (machine::monotonic_ns() - began) / 1000));
    Ok(())
}

async fn timers_and_allocations_meet_no_half_changed_state(_: &Cx) -> Outcome {
    const ROUNDS: usize = 500;
    let finished = Arc::new(AtomicUsize::new(0));
    let cores = crate::online_cores();
    for core in 0..cores {
        // Every queue operation and every allocation is met by a timer interrupt some time.
        for _ in 0..3 {
            let finished = finished.clone();
            spawn_on(core, async move {
                while finished.load(Ordering::Acquire) < cores {
                    drop(Box::new([core; 32]));
                    yield_now().await;
                }
            });
        }
        let finished = finished.clone();
        spawn_on(core, async move {
            for round in 0..ROUNDS as u64 {
                sleep_until(machine::monotonic_ns() + 20_000 + round % 97 * 1000).await;
            }
            finished.fetch_add(1, Ordering::Release);
        });
    }
    check!(eventually(50_000, || finished.load(Ordering::Acquire) == cores).await, "a sleeper was lost");
    check_eq!(KernelHeap::allocations_in_interrupts(), 0);
    Ok(())
}

async fn a_slow_handler_delays_no_other_core(_: &Cx) -> Outcome {
    for core in 1..crate::online_cores() {
        let was_served = run_on(0, async move {
            let met = Arc::new(AtomicBool::new(false));
            let seen = met.clone();
            // Runs in the handler of the message interrupt, and leaves it only when core 0's timer interrupt has been served.
            let (message, answer) = remote_call(move || {
                let end = machine::monotonic_ns() + 2000 * MS;
                while !seen.load(Ordering::Acquire) && machine::monotonic_ns() < end {
                    machine::relax();
                }
                seen.load(Ordering::Acquire)
            });
            spawn_on(0, async move {
                sleep_until(machine::monotonic_ns() + MS).await;
                met.store(true, Ordering::Release);
            });
            message::send(core, message);
            answer.wait().await
        })
        .await;
        check!(was_served, "core 0 waited for the handler of core {core}");
    }
    Ok(())
}
