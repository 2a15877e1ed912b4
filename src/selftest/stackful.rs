//! Tests of tasks on stacks of their own: preemption, sleep in synchronous code, migration, faults.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::{Future, pending, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

use libkernel::machine;
use libkernel::sync::{Hold, IrqSpinLock, SpinLock};
use libkernel::task::{AffinityMask, Task, preempt, with_current, yield_now};
use libkernel::time::Alarm;

use super::tools::{MILLISECOND, Stop, finished, pause, spawn_on, spin, within};
use super::{Cx, Outcome, SelfTest};
use crate::arch::registers;
use crate::memory::task_stacks;
use crate::sched;
use crate::task::{CannotSleep, block_on, stackful};

pub const TESTS: &[SelfTest] = &[
    self_test!("stackful", an_endless_loop_does_not_stop_its_neighbours).within(30),
    self_test!("stackful", equal_loops_share_a_core),
    self_test!("stackful", yield_yields),
    self_test!("stackful", a_wake_before_the_sleep_is_not_lost_and_does_not_last),
    self_test!("stackful", block_on_sleeps),
    self_test!("stackful", block_on_refuses_where_it_may_not_sleep),
    self_test!("stackful", a_lock_holder_is_not_preempted),
    self_test!("stackful", a_loop_moves_to_every_core_and_keeps_its_registers).within(30),
    self_test!("stackful", a_request_before_it_runs_is_honoured),
    self_test!("stackful", a_request_in_a_masked_section_is_honoured_after_it),
    self_test!("stackful", stacks_come_back),
    self_test!("stackful", a_stack_in_a_stack),
    self_test!("stackful", a_switch_is_short),
];

/// Starts a task with a stack of its own on that core alone.
fn spawn_stackful_on(
    core: usize,
    future: impl Future<Output = ()> + Send + 'static,
) -> Result<Arc<Task>, alloc::string::String> {
    let future = stackful(future).map_err(|error| alloc::format!("no stack: {error}"))?;
    Ok(spawn_on(core, future))
}

async fn an_endless_loop_does_not_stop_its_neighbours(_: &Cx) -> Outcome {
    for core in 0..crate::online_cores() {
        let stop = Stop::new();
        let flag = stop.flag();
        let hog = spawn_stackful_on(core, async move { spin(&flag, || ()) })?;
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = turns.clone();
        let neighbour = spawn_on(core, async move {
            for _ in 0..20 {
                pause(1).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let came = within(2000, || turns.load(Ordering::Relaxed) == 20).await;
        check!(came, "core {core}: the neighbour of a loop had {} turns of 20", turns.load(Ordering::Relaxed));
        stop.stop();
        check!(finished(&[hog, neighbour]).await, "core {core}: the loop did not end");
    }
    Ok(())
}

async fn equal_loops_share_a_core(cx: &Cx) -> Outcome {
    for core in 0..crate::online_cores() {
        let stop = Stop::new();
        let mut loops = Vec::new();
        for _ in 0..3 {
            let flag = stop.flag();
            loops.push(spawn_stackful_on(core, async move { spin(&flag, || ()) })?);
        }
        pause(60).await;
        let times: Vec<u64> = loops.iter().map(|task| task.accounting().times.read().1).collect();
        stop.stop();
        let (least, most) = (times.iter().min().copied(), times.iter().max().copied());
        let (Some(least), Some(most)) = (least, most) else { return Ok(()) };
        cx.report(format_args!("core {core}: {} to {} us of 60 ms", least / 1000, most / 1000));
        check!(least * 2 > most && least > 5 * MILLISECOND, "core {core}: {least} against {most} ns");
        check!(finished(&loops).await, "core {core}: a loop did not end");
    }
    Ok(())
}

async fn yield_yields(_: &Cx) -> Outcome {
    let log: Arc<SpinLock<Vec<u8>>> = Arc::new(SpinLock::new(Vec::new()));
    let core = crate::online_cores() - 1;
    // Both begin when both are there.
    let (arrived, stayed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for name in [b'a', b'b'] {
        let (log, arrived, stayed) = (log.clone(), arrived.clone(), stayed.clone());
        tasks.push(spawn_stackful_on(core, async move {
            arrived.fetch_add(1, Ordering::Relaxed);
            while arrived.load(Ordering::Relaxed) < 2 {
                let _ = block_on(yield_now());
            }
            for _ in 0..50 {
                log.lock().push(name);
                sched::yield_current();
                let runs = || with_current(|task| task.accounting().runs.get());
                let before = runs();
                let _ = block_on(yield_now());
                stayed.fetch_add(usize::from(runs() == before), Ordering::Relaxed);
            }
        })?);
    }
    check!(finished(&tasks).await, "they do not come to an end");
    check_eq!(stayed.load(Ordering::Relaxed), 0);
    let log = log.lock();
    // Equal tasks may draw level, and then one has two turns; so one ends first, and the other is alone.
    let last = log.last().copied();
    let shared = log.iter().rposition(|name| Some(*name) != last).map_or(0, |end| end + 1);
    let longest = log.get(..shared).unwrap_or_default().chunk_by(|a, b| a == b).map(<[u8]>::len).max();
    check!(shared > 60 && longest.is_some_and(|longest| longest <= 2), "{longest:?} turns in a row, {shared} shared");
    Ok(())
}

async fn a_wake_before_the_sleep_is_not_lost_and_does_not_last(_: &Cx) -> Outcome {
    let (polls, quiet) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let (counted, runs) = (polls.clone(), quiet.clone());
    let task = spawn_stackful_on(0, async move {
        let woken_before_it_sleeps = poll_fn(|context| {
            if counted.fetch_add(1, Ordering::Relaxed) > 0 {
                return Poll::Ready(());
            }
            // Twice, and long before this poll is over.
            context.waker().wake_by_ref();
            context.waker().wake_by_ref();
            Poll::Pending
        });
        let _ = block_on(woken_before_it_sleeps);
        let before = with_current(|task| task.accounting().runs.get());
        let _ = block_on(pause(50));
        let after = with_current(|task| task.accounting().runs.get());
        runs.store(after.zip(before).map_or(u64::MAX, |(after, before)| after - before), Ordering::Relaxed);
    })?;
    check!(finished(&[task]).await, "the wake was lost");
    check_eq!(polls.load(Ordering::Relaxed), 2);
    let quiet = quiet.load(Ordering::Relaxed);
    check!(quiet <= 3, "polled {quiet} times during one sleep");
    Ok(())
}

async fn block_on_sleeps(_: &Cx) -> Outcome {
    let slept = Arc::new(AtomicU64::new(0));
    let duration = slept.clone();
    let task = spawn_stackful_on(0, async move {
        fn deep(levels: usize) -> u64 {
            if levels > 0 {
                return core::hint::black_box(deep(levels - 1));
            }
            let began = machine::monotonic_ns();
            let _ = block_on(pause(100));
            machine::monotonic_ns() - began
        }
        duration.store(deep(5), Ordering::Relaxed);
    })?;
    check!(finished(core::slice::from_ref(&task)).await, "it did not wake");
    let slept = slept.load(Ordering::Relaxed);
    check!(slept >= 100 * MILLISECOND, "it slept for {slept} ns");
    let (_, busy) = task.accounting().times.read();
    check!(busy < 50 * MILLISECOND, "it was busy for {busy} ns while it slept");
    Ok(())
}

/// What `block_on` says when it is asked in an interrupt handler.
struct AskInInterrupt {
    answer: AtomicUsize,
}

const NOT_ASKED: usize = 0;
const REFUSED: usize = 1;
const SLEPT: usize = 2;

impl Wake for AskInInterrupt {
    fn wake(self: Arc<Self>) {
        let refused = machine::in_interrupt() && block_on(async {}) == Err(CannotSleep::Masked);
        self.answer.store(if refused { REFUSED } else { SLEPT }, Ordering::Relaxed);
    }
}

async fn block_on_refuses_where_it_may_not_sleep(_: &Cx) -> Outcome {
    check_eq!(block_on(async {}), Err(CannotSleep::NoStack));
    let answers = Arc::new(SpinLock::new(Vec::new()));
    let asked = Arc::new(AskInInterrupt { answer: AtomicUsize::new(NOT_ASKED) });
    let (given, asks) = (answers.clone(), asked.clone());
    let task = spawn_stackful_on(0, async move {
        let free = block_on(async {});
        let locked = {
            let lock = SpinLock::new(());
            let _held = lock.lock();
            block_on(async {})
        };
        let masked = {
            let lock = IrqSpinLock::new(());
            let _held = lock.lock();
            block_on(async {})
        };
        let again = block_on(async {});
        given.lock().extend([free, locked, masked, again]);
        let mut alarm = Alarm::new();
        alarm.set(machine::monotonic_ns() + MILLISECOND, &Waker::from(asks.clone()));
        let end = machine::monotonic_ns() + 1000 * MILLISECOND;
        while asks.answer.load(Ordering::Relaxed) == NOT_ASKED && machine::monotonic_ns() < end {
            registers::relax();
        }
    })?;
    check!(finished(&[task]).await, "the task that asks does not end");
    let expected = [Ok(()), Err(CannotSleep::LockHeld), Err(CannotSleep::Masked), Ok(())];
    check_eq!(answers.lock().as_slice(), expected.as_slice());
    check_eq!(asked.answer.load(Ordering::Relaxed), REFUSED);
    Ok(())
}

async fn a_lock_holder_is_not_preempted(_: &Cx) -> Outcome {
    static LOCK: SpinLock<u64> = SpinLock::new(0);
    let stop = Stop::new();
    let core = crate::online_cores() - 1;
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let flag = stop.flag();
        tasks.push(spawn_stackful_on(core, async move {
            // Nearly always under the lock, so that nearly every preemption comes there.
            spin(&flag, || {
                let mut value = LOCK.lock();
                for _ in 0..2000 {
                    *value = core::hint::black_box(*value + 1);
                }
            });
        })?);
    }
    // Would wait for ever for a holder that waits for this core.
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    tasks.push(spawn_on(core, async move {
        for _ in 0..100 {
            pause(1).await;
            *LOCK.lock() += 1;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let came = within(5000, || turns.load(Ordering::Relaxed) == 100).await;
    stop.stop();
    check!(came, "{} turns of 100", turns.load(Ordering::Relaxed));
    check!(finished(&tasks).await, "they do not end");
    Ok(())
}

/// One step of a computation that needs all registers that a function has to preserve.
fn step(state: &mut [u64; 10]) {
    let mut carry = 0x9e37_79b9_7f4a_7c15;
    for word in state.iter_mut() {
        *word = word.rotate_left(7).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(carry);
        carry ^= *word;
    }
}

async fn a_loop_moves_to_every_core_and_keeps_its_registers(cx: &Cx) -> Outcome {
    let cores = crate::online_cores();
    let stop = Stop::new();
    let seen = Arc::new(AtomicU64::new(0));
    let result = Arc::new(SpinLock::new((0u64, [0u64; 10])));
    let (flag, visited, output) = (stop.flag(), seen.clone(), result.clone());
    let hog = spawn_stackful_on(0, async move {
        let (mut state, mut steps) = ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0);
        while !flag.load(Ordering::Relaxed) {
            step(&mut state);
            steps += 1;
            visited.fetch_or(1 << machine::core_id(), Ordering::Relaxed);
        }
        *output.lock() = (steps, state);
    })?;
    // Something that waits for each core, so that the loop is preempted there as well.
    let mut neighbours = Vec::new();
    for core in 0..cores {
        let flag = stop.flag();
        neighbours.push(spawn_stackful_on(core, async move { spin(&flag, || ()) })?);
    }
    for core in (0..cores).cycle().take(4 * cores) {
        hog.parameters().set_affinity(AffinityMask::only(core));
        sched::parameters_changed(&hog);
        seen.store(0, Ordering::Relaxed);
        let came = within(1000, || seen.load(Ordering::Relaxed) & (1 << core) != 0).await;
        check!(came, "the loop did not come to core {core}: seen {:#b}", seen.load(Ordering::Relaxed));
    }
    stop.stop();
    neighbours.push(hog.clone());
    check!(finished(&neighbours).await, "the loops do not end");
    let (steps, state) = *result.lock();
    let mut expected = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    for turn in 0..steps {
        step(&mut expected);
        if turn % 10_000 == 0 {
            yield_now().await;
        }
    }
    check_eq!(state, expected);
    let (moves, switches) = (hog.accounting().migrations.get(), hog.accounting().involuntary_switches.get());
    cx.report(format_args!("{moves} moves, {switches} preemptions, {steps} steps"));
    check!(cores == 1 || moves >= 3 * cores as u64, "{moves} moves");
    Ok(())
}

/// The scheduler is asked for after it has chosen the task, before its stack runs: an interrupt that came in between leaves no other trace.
async fn a_request_before_it_runs_is_honoured(_: &Cx) -> Outcome {
    for core in 0..crate::online_cores() {
        let begun = Arc::new(AtomicUsize::new(0));
        let (begins, looks) = (begun.clone(), begun.clone());
        let mut inner = stackful(async move {
            begins.fetch_add(1, Ordering::Relaxed);
        })
        .map_err(|error| alloc::format!("no stack: {error}"))?;
        let early = Arc::new(AtomicUsize::new(0));
        let (seen, mut polls) = (early.clone(), 0);
        let outer = spawn_on(
            core,
            poll_fn(move |context| {
                polls += 1;
                if polls == 1 {
                    preempt();
                }
                let result = Pin::new(&mut inner).poll(context);
                if polls == 1 {
                    seen.store(looks.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                result
            }),
        );
        check!(finished(&[outer]).await, "core {core}: it does not come to an end");
        check_eq!(early.load(Ordering::Relaxed), 0);
        check_eq!(begun.load(Ordering::Relaxed), 1);
    }
    Ok(())
}

async fn a_request_in_a_masked_section_is_honoured_after_it(_: &Cx) -> Outcome {
    for core in 0..crate::online_cores() {
        let turns = Arc::new(AtomicU64::new(0));
        let taken = turns.clone();
        let task = spawn_stackful_on(core, async move {
            let runs = || with_current(|task| task.accounting().runs.get()).unwrap_or(0);
            let before = runs();
            let state = machine::mask_interrupts();
            let held = Hold::new();
            preempt();
            drop(held);
            machine::restore_interrupts(state);
            let end = machine::monotonic_ns() + 100 * MILLISECOND;
            while runs() == before && machine::monotonic_ns() < end {
                registers::relax();
            }
            taken.store(runs() - before, Ordering::Relaxed);
        })?;
        check!(finished(&[task]).await, "core {core}: it does not come to an end");
        check!(turns.load(Ordering::Relaxed) > 0, "core {core}: it was not preempted");
    }
    Ok(())
}

async fn stacks_come_back(_: &Cx) -> Outcome {
    let before = task_stacks::in_use();
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    for turn in 0..300 {
        let counts = Counts(dropped.clone());
        let mut future = stackful(async move {
            let _counts = counts;
            match turn % 3 {
                // Never polled.
                0 => {}
                // Dropped while it waits.
                1 => pending().await,
                _ => yield_now().await,
            }
        })
        .map_err(|error| alloc::format!("no stack: {error}"))?;
        let mut context = Context::from_waker(Waker::noop());
        match turn % 3 {
            0 => {}
            1 => check!(Pin::new(&mut future).poll(&mut context).is_pending()),
            _ => future.await,
        }
    }
    check_eq!(dropped.load(Ordering::Relaxed), 300);
    check_eq!(task_stacks::in_use(), before);
    Ok(())
}

async fn a_stack_in_a_stack(_: &Cx) -> Outcome {
    let inner = stackful(async {
        pause(2).await;
        let _ = block_on(pause(2));
        1
    });
    let outer = stackful(async move {
        let one = match inner {
            Ok(inner) => block_on(inner).unwrap_or(0),
            Err(_) => 0,
        };
        let _ = block_on(pause(2));
        one + 1
    });
    check_eq!(outer.map_err(|error| alloc::format!("{error}"))?.await, 2);
    Ok(())
}

async fn a_switch_is_short(cx: &Cx) -> Outcome {
    const TURNS: u64 = 1000;
    let mut future = pin!(stackful(pending::<()>()).map_err(|error| alloc::format!("{error}"))?);
    let mut poll = move || {
        let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    };
    poll();
    let began = machine::monotonic_ns();
    (0..TURNS).for_each(|_| poll());
    let each = (machine::monotonic_ns() - began) / TURNS;
    cx.report(format_args!("{each} ns for a switch in and out"));
    // A nanosecond is an instruction where the machine is deterministic; elsewhere this says little.
    if registers::counts_instructions() {
        check!(each <= 300, "{each} instructions");
    }
    Ok(())
}
