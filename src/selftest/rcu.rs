//! Tests of read-copy-update on the real cores: row RT12 of what has to be shown.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use libkernel::machine;
use libkernel::memory::{AddressSpace, MapRequest, Protection};
use libkernel::rcu::{self, Hashed, RcuBox, RcuCell, RcuTable};
use libkernel::task::{AffinityMask, yield_now};
use libkernel::time::sleep_until;

use super::tools::{Tally, deterministic, median, run_on, spawn_on};
use super::{Cx, Outcome, SelfTest};
use crate::arch::context::UserContext;
use crate::arch::fp::FpState;
use crate::task::spawn_user;

pub const TESTS: &[SelfTest] = &[
    self_test!("rcu", a_read_guard_is_short),
    self_test!("rcu", synchronize_is_short_beside_idle_cores),
    self_test!("rcu", retired_objects_share_grace_periods),
    self_test!("rcu", a_barrier_waits_for_every_core),
    self_test!("rcu", a_grace_period_ends_beside_a_looping_program),
    self_test!("rcu", no_reader_sees_freed_memory).within(30),
    self_test!("rcu", torture).within(60).by_name(),
    self_test!("rcu", a_stall_is_reported_with_its_core).within(20).by_name(),
];

const MILLISECOND: u64 = 1_000_000;
/// What a read guard, and a wait for a grace period on four idle cores, may take in instructions.
const GUARD: u64 = 6;
const SYNCHRONIZE: u64 = 15_000;

/// An object that knows whether it is alive.
struct Canary {
    key: u64,
    state: AtomicU64,
    dropped: Arc<AtomicUsize>,
}

const ALIVE: u64 = 0x600d_cafe_600d_cafe;
const POISON: u64 = 0xdead_dead_dead_dead;

impl Canary {
    fn boxed(key: u64, dropped: &Arc<AtomicUsize>) -> Result<RcuBox<Self>, alloc::string::String> {
        RcuBox::try_new(Self { key, state: AtomicU64::new(ALIVE), dropped: dropped.clone() })
            .map_err(|error| alloc::format!("{error}"))
    }

    fn is_alive(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ALIVE
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.state.store(POISON, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Hashed for Canary {
    fn hash(&self) -> u64 {
        self.key
    }
}

/// Sums of what the cores counted: grace periods, requests.
fn counts() -> (u64, u64) {
    let statistics = (0..crate::online_cores()).filter_map(rcu::statistics);
    statistics.fold((0, 0), |(periods, requests), core| (periods + core.periods(), requests + core.requests()))
}

async fn synchronize() -> Outcome {
    rcu::synchronize().await.map_err(|error| alloc::format!("{error}"))
}

async fn barrier() -> Outcome {
    rcu::barrier().await.map_err(|error| alloc::format!("{error}"))
}

async fn a_read_guard_is_short(cx: &Cx) -> Outcome {
    const TIMES: u64 = 10_000;
    let lap = |body: fn()| {
        let state = machine::mask_interrupts();
        let began = machine::monotonic_ns();
        (0..TIMES).for_each(|_| body());
        let took = machine::monotonic_ns() - began;
        machine::restore_interrupts(state);
        took
    };
    #[inline(never)]
    fn guarded() {
        let _guard = rcu::read();
        core::hint::black_box(());
    }
    #[inline(never)]
    fn bare() {
        core::hint::black_box(());
    }
    let cost = lap(core::hint::black_box(guarded)).saturating_sub(lap(core::hint::black_box(bare))).div_ceil(TIMES);
    cx.report(format_args!("{cost} instructions (ns) for a read guard, begin and end"));
    check!(!deterministic() || cost <= GUARD, "{cost} instructions");
    Ok(())
}

async fn synchronize_is_short_beside_idle_cores(cx: &Cx) -> Outcome {
    sleep_until(machine::monotonic_ns() + 20 * MILLISECOND).await;
    let mut times = Vec::new();
    let before = counts();
    for _ in 0..21 {
        let began = machine::monotonic_ns();
        synchronize().await?;
        times.push(machine::monotonic_ns() - began);
    }
    let after = counts();
    let time = median(&mut times);
    cx.report(format_args!(
        "{time} instructions (ns) to synchronize on {} idle cores; {} requests for {} grace periods",
        crate::online_cores(),
        after.1 - before.1,
        after.0 - before.0
    ));
    if deterministic() {
        check!(time <= SYNCHRONIZE, "{time} instructions");
        check_eq!(after.1, before.1, "an idle core was disturbed");
    }
    Ok(())
}

async fn retired_objects_share_grace_periods(cx: &Cx) -> Outcome {
    const OBJECTS: usize = 1000;
    barrier().await?;
    let dropped = Arc::new(AtomicUsize::new(0));
    let before = counts();
    for key in 0..OBJECTS as u64 {
        Canary::boxed(key, &dropped)?.retire();
        if key % 10 == 0 {
            // A chance to begin a grace period.
            yield_now().await;
        }
    }
    barrier().await?;
    check_eq!(dropped.load(Ordering::Relaxed), OBJECTS);
    let periods = counts().0 - before.0;
    cx.report(format_args!("{periods} grace periods for {OBJECTS} objects and a barrier"));
    check!(periods <= 3 + crate::online_cores() as u64, "{periods} grace periods");
    Ok(())
}

async fn a_barrier_waits_for_every_core(_: &Cx) -> Outcome {
    const OBJECTS: usize = 100;
    let dropped = Arc::new(AtomicUsize::new(0));
    for core in 0..crate::online_cores() {
        let dropped = dropped.clone();
        run_on(core, async move {
            for key in 0..OBJECTS as u64 {
                Canary::boxed(key, &dropped)?.retire();
            }
            Ok::<(), alloc::string::String>(())
        })
        .await?;
    }
    barrier().await?;
    check_eq!(dropped.load(Ordering::Relaxed), OBJECTS * crate::online_cores());
    Ok(())
}

/// A program that loops without system calls until the word at the start of its data says to stop, and then sleeps for ever.
struct Looper {
    space: Arc<AddressSpace>,
}

impl Looper {
    const CODE: u64 = 0x10_0000;
    const DATA: u64 = 0x20_0000;
    /// `1: ldr w0, [x1]; cbz w0, 1b; 2: mov x0..x3, #0; mov x8, #73 (ppoll); svc #0; b 2b`
    const PROGRAM: [u32; 9] = [
        0xb940_0020,
        0x34ff_ffe0,
        0xd280_0000,
        0xd280_0001,
        0xd280_0002,
        0xd280_0003,
        0xd280_0928,
        0xd400_0001,
        0x17ff_fffa,
    ];

    async fn start(core: usize) -> libkernel::Result<Self> {
        let founder = super::first_process()?;
        let thread = founder.thread().clone();
        let space = thread.space();
        for page in [Self::CODE, Self::DATA] {
            space.map(MapRequest::anonymous(4096, Protection::READ | Protection::WRITE).at(page))?;
        }
        let program: Vec<u8> = Self::PROGRAM.iter().flat_map(|instruction| instruction.to_le_bytes()).collect();
        space.write_remote(Self::CODE, &program)?;
        space.protect(Self::CODE, 4096, Protection::READ | Protection::EXECUTE)?;
        let mut registers = UserContext::new(Self::CODE, Self::DATA + 4096);
        registers.x[1] = Self::DATA;
        let task = spawn_user(&thread, registers, FpState::new());
        task.parameters().set_affinity(AffinityMask::only(core));
        founder.publish(task.clone())?;
        task.wake();
        Ok(Self { space })
    }

    fn stop(&self) -> libkernel::Result<usize> {
        self.space.write_remote(Self::DATA, &[1])
    }
}

async fn a_grace_period_ends_beside_a_looping_program(cx: &Cx) -> Outcome {
    let last = crate::online_cores() - 1;
    let looper = Looper::start(last).await.map_err(|error| alloc::format!("{error}"))?;
    sleep_until(machine::monotonic_ns() + 5 * MILLISECOND).await;
    let before = counts();
    let mut times = Vec::new();
    for _ in 0..9 {
        let began = machine::monotonic_ns();
        synchronize().await?;
        times.push(machine::monotonic_ns() - began);
    }
    let asked = counts().1 - before.1;
    looper.stop().map_err(|error| alloc::format!("{error}"))?;
    let time = median(&mut times);
    cx.report(format_args!("{time} ns to synchronize beside a program that loops on core {last}; {asked} requests"));
    check!(last == 0 || asked >= 9, "the core of the program was asked {asked} times");
    check!(time < 100 * MILLISECOND, "{time} ns");
    Ok(())
}

/// Readers on each core, writers that replace and remove what they read, for that many nanoseconds.
async fn storm(cx: &Cx, duration: u64) -> Outcome {
    const KEYS: u64 = 64;
    let dropped = Arc::new(AtomicUsize::new(0));
    let made = Arc::new(AtomicUsize::new(1));
    let cell = Arc::new(RcuCell::holding(Canary::boxed(0, &dropped)?));
    let table = Arc::new(RcuTable::<Canary>::new());
    let dead = Arc::new(AtomicUsize::new(0));
    let reads = Arc::new(AtomicUsize::new(0));
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), Tally::new());
    let cores = crate::online_cores();
    let arena = (cell.clone(), table.clone(), stop.clone(), ended.clone());
    for core in 0..cores {
        let (cell, table, dead, reads, stop, ended) =
            (cell.clone(), table.clone(), dead.clone(), reads.clone(), stop.clone(), ended.clone());
        spawn_on(core, async move {
            let mut round = core as u64;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..50 {
                    round += 1;
                    let guard = rcu::read();
                    let key = round % KEYS;
                    let seen = [cell.load(&guard), table.find(&guard, key, |canary| canary.key == key)];
                    // Long enough for others to replace, remove and free what was found.
                    (0..round % 7 * 20).for_each(|_| core::hint::black_box(()));
                    if seen.iter().flatten().any(|canary| !canary.is_alive()) {
                        dead.fetch_add(1, Ordering::Relaxed);
                    }
                }
                reads.fetch_add(50, Ordering::Relaxed);
                yield_now().await;
            }
            ended.add();
        });
        let (cell, table, dropped, made, stop, ended) =
            (arena.0.clone(), arena.1.clone(), dropped.clone(), made.clone(), arena.2.clone(), arena.3.clone());
        spawn_on(core, async move {
            let mut key = core as u64;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    key = (key + cores as u64) % KEYS;
                    let (Ok(one), Ok(other)) = (Canary::boxed(key, &dropped), Canary::boxed(key, &dropped)) else {
                        break;
                    };
                    made.fetch_add(2, Ordering::Relaxed);
                    drop(cell.replace(Some(one)));
                    let mut writer = table.lock();
                    drop(writer.remove(key, |canary| canary.key == key));
                    let _ = writer.insert(other);
                }
                yield_now().await;
            }
            ended.add();
        });
    }
    sleep_until(machine::monotonic_ns() + duration).await;
    stop.store(true, Ordering::Relaxed);
    ended.reach(2 * cores).await;
    drop(cell.replace(None));
    table.lock().clear(|_| {});
    barrier().await?;
    let (made, gone) = (made.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed));
    cx.report(format_args!("{} reads of {made} objects", reads.load(Ordering::Relaxed)));
    check_eq!(dead.load(Ordering::Relaxed), 0, "dead objects were read");
    check_eq!(gone, made, "objects were lost");
    Ok(())
}

async fn no_reader_sees_freed_memory(cx: &Cx) -> Outcome {
    storm(cx, 200 * MILLISECOND).await
}

/// The same for as long as asked; the machine's seed decides how the cores meet.
async fn torture(cx: &Cx) -> Outcome {
    storm(cx, cx.duration.unwrap_or(10_000 * MILLISECOND)).await
}

/// Prints a report: a core keeps to the kernel for four seconds.
async fn a_stall_is_reported_with_its_core(_: &Cx) -> Outcome {
    let last = crate::online_cores() - 1;
    check!(last > 0, "one core does not wait for itself");
    spawn_on(last, async {
        super::tools::burn(4000 * MILLISECOND);
    });
    run_on(0, async {
        sleep_until(machine::monotonic_ns() + MILLISECOND).await;
        synchronize().await
    })
    .await
}
