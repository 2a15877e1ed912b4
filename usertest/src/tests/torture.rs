//! Threads that contend: locks, barriers, channels, registers, ten thousand sleepers.

use super::tests;
use crate::call;
use crate::check::{exits, must, some};
use crate::sys::*;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};

tests!("torture":
    mutex_torture [30],
    condvar_torture [30],
    barrier_torture [30],
    channel_of_many_producers_loses_nothing [30],
    fp_registers_are_their_own [30],
    ten_thousand_sleepers_wake_on_one_instant [90],
);

const TORTURE_THREADS: usize = 4;
const TORTURE_ROUNDS: usize = 25_000;

fn mutex_torture() {
    let count = Arc::new(Mutex::new((0usize, 0usize)));
    let handles: Vec<_> = (0..TORTURE_THREADS)
        .map(|_| {
            let count = count.clone();
            std::thread::spawn(move || {
                for _ in 0..TORTURE_ROUNDS {
                    if let Ok(mut pair) = count.lock() {
                        pair.0 += 1;
                        pair.1 += 1;
                        assert_eq!(pair.0, pair.1);
                    }
                }
            })
        })
        .collect();
    handles.into_iter().for_each(|handle| drop(handle.join()));
    let total = some(count.lock().ok().map(|pair| *pair), "the count");
    assert_eq!(total, (TORTURE_THREADS * TORTURE_ROUNDS, TORTURE_THREADS * TORTURE_ROUNDS));
}

fn condvar_torture() {
    const ROUNDS: usize = 1_000;
    let state = Arc::new((Mutex::new(0usize), Condvar::new()));
    // Each of four takes its turn: turn number modulo four.
    let handles: Vec<_> = (0..4)
        .map(|id| {
            let state = state.clone();
            std::thread::spawn(move || {
                let (turn, changed) = &*state;
                for _ in 0..ROUNDS {
                    let Ok(guard) = turn.lock() else { return };
                    let Ok(mut guard) = changed.wait_while(guard, |turn| *turn % 4 != id) else {
                        return;
                    };
                    *guard += 1;
                    changed.notify_all();
                }
            })
        })
        .collect();
    handles.into_iter().for_each(|handle| drop(handle.join()));
    assert_eq!(state.0.lock().ok().map(|turn| *turn), Some(4 * ROUNDS));
}

fn barrier_torture() {
    const ROUNDS: usize = 1_000;
    let barrier = Arc::new(Barrier::new(4));
    let arrived = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..4)
        .map(|_| {
            let (barrier, arrived) = (barrier.clone(), arrived.clone());
            std::thread::spawn(move || {
                for round in 1..=ROUNDS {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    barrier.wait();
                    assert_eq!(arrived.load(Ordering::SeqCst), 4 * round);
                    barrier.wait();
                }
            })
        })
        .collect();
    handles.into_iter().for_each(|handle| drop(handle.join()));
    assert_eq!(arrived.load(Ordering::SeqCst), 4 * ROUNDS);
}

fn channel_of_many_producers_loses_nothing() {
    let (sender, receiver) = std::sync::mpsc::channel::<usize>();
    for id in 0..8 {
        let sender = sender.clone();
        std::thread::spawn(move || (0..2000).all(|i| sender.send(id * 2000 + i).is_ok()));
    }
    drop(sender);
    let mut all: Vec<usize> = receiver.iter().collect();
    all.sort();
    assert!(all.iter().copied().eq(0..16_000));
}

/// Keeps `id` in vector registers over `rounds` of being preempted and moved; true if it was still there each time.
fn keeps_its_pattern(id: u64, rounds: usize) -> bool {
    let mut good = true;
    for round in 0..rounds {
        let (low, high): (u64, u64);
        // SAFETY: only the declared registers change; the call yields the processor.
        unsafe {
            core::arch::asm!(
                "dup v7.2d, {id}", "dup v24.2d, {id}",
                "svc 0",
                "umov {low}, v7.d[1]", "umov {high}, v24.d[0]",
                id = in(reg) id, low = out(reg) low, high = out(reg) high,
                in("x8") libc::SYS_sched_yield, out("x0") _, out("v7") _, out("v24") _,
            )
        };
        good &= low == id && high == id;
        if round % 500 == 0 {
            let cores = affinity().unwrap_or_default();
            if let Some(core) = cores.get((round / 500 + id as usize) % cores.len().max(1)) {
                let _ = set_affinity(0, &[*core]);
                let _ = set_affinity(0, &cores);
            }
        }
    }
    good
}

fn fp_registers_are_their_own() {
    let handles: Vec<_> = (1..=6u64)
        .map(|id| std::thread::spawn(move || keeps_its_pattern(id.wrapping_mul(0x0101_0101_0101), 4000)))
        .collect();
    let child = spawn(|| i32::from(!keeps_its_pattern(u64::MAX, 4000)));
    assert!(handles.into_iter().all(|handle| handle.join().ok() == Some(true)), "a register changed");
    exits(child, 0);
}

static GATE: AtomicU32 = AtomicU32::new(0);
static INSTANT: AtomicU64 = AtomicU64::new(0);
static AWAKE: AtomicU32 = AtomicU32::new(0);
static EARLY: AtomicU32 = AtomicU32::new(0);

/// Waits at the gate, sleeps until the instant, and counts.
extern "C" fn sleep_until(argument: *mut libc::c_void) -> *mut libc::c_void {
    while GATE.load(Ordering::SeqCst) == 0 {
        let _ = call!(SYS_futex, &GATE, libc::FUTEX_WAIT, 0, 0);
    }
    let instant = INSTANT.load(Ordering::SeqCst);
    let time = timespec_of_ns(instant);
    let _ = call!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, 0);
    EARLY.fetch_add(u32::from(now() < instant), Ordering::SeqCst);
    AWAKE.fetch_add(1, Ordering::SeqCst);
    argument
}

/// Starts `count` threads with stacks of 16 KiB.
fn start_sleepers(count: usize) -> Vec<libc::pthread_t> {
    let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attributes, then sets two.
    unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), 16 * 1024);
        libc::pthread_attr_setguardsize(attributes.as_mut_ptr(), 0);
    }
    let start = |number: usize| {
        let mut handle = core::mem::MaybeUninit::uninit();
        // SAFETY: the attributes are initialised; the entry uses little stack.
        let error = unsafe {
            let argument = core::ptr::null_mut();
            libc::pthread_create(handle.as_mut_ptr(), attributes.as_ptr(), sleep_until, argument)
        };
        assert!(error == 0, "thread {number}: {:?}", Errno(error));
        // SAFETY: written by a successful pthread_create.
        unsafe { handle.assume_init() }
    };
    (0..count).map(start).collect()
}

fn ten_thousand_sleepers_wake_on_one_instant() {
    // Linux allows fewer on a small machine unless told otherwise.
    let _ = write_file(c"/proc/sys/kernel/threads-max", b"20000");
    let _ = setrlimit(libc::RLIMIT_NPROC, u64::MAX, u64::MAX);
    let handles = start_sleepers(10_000);
    INSTANT.store(now() + 2 * SECOND, Ordering::SeqCst);
    GATE.store(1, Ordering::SeqCst);
    must(call!(SYS_futex, &GATE, libc::FUTEX_WAKE, i32::MAX));
    for handle in handles {
        // SAFETY: each handle is joined once.
        unsafe { libc::pthread_join(handle, core::ptr::null_mut()) };
    }
    assert_eq!((AWAKE.load(Ordering::SeqCst), EARLY.load(Ordering::SeqCst)), (10_000, 0), "awake, too early");
}
