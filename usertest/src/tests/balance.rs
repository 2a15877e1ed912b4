//! Tasks between cores: changes of affinity and policy that race with sleeping and waking, spreading, who is preempted where.

use super::tests;
use crate::call;
use crate::check::{killed, must};
use crate::sys::*;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

tests!("balance":
    policy_changes_of_a_busy_sleeper_lose_no_wake [30],
    policy_changes_from_all_sides_lose_nobody [30],
    affinity_changes_race_with_wakes [30],
    hogs_born_on_one_core_leave_it [20],
    hogs_leave_a_core_with_a_busy_real_time_task [20],
    sleepers_on_every_core_preempt_its_hog [20],
    a_short_slice_gets_its_latency [20],
    a_loop_of_children_stays_on_its_core [20],
    ping_pong_between_cores_needs_no_tick [20],
    idle_cores_take_few_timer_interrupts [20],
    switches_on_one_core_need_no_other [20],
    the_last_reference_closes_a_pipe_on_any_core [30],
    what_only_a_bug_counts_stays_zero [20],
);

static WORD: AtomicU32 = AtomicU32::new(0);
static ROUNDS: AtomicUsize = AtomicUsize::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

fn futex_wait(word: &AtomicU32, value: u32) {
    let _ = call!(SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, value, 0);
}

fn futex_wake(word: &AtomicU32) {
    let _ = call!(SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX);
}

/// Sleeps on [`WORD`] for each change of it until it is told to stop.
fn sleep_and_wake(tid: &AtomicU32) {
    tid.store(gettid() as u32, Ordering::SeqCst);
    while !STOP.load(Ordering::SeqCst) {
        futex_wait(&WORD, WORD.load(Ordering::SeqCst));
        ROUNDS.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs `action` while a thread, whose id it gets, sleeps and is woken by another as fast as it can.
fn beside_a_busy_sleeper(action: impl FnOnce(Pid)) {
    let tid = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| sleep_and_wake(&tid));
        scope.spawn(|| {
            while !STOP.load(Ordering::SeqCst) {
                WORD.fetch_add(1, Ordering::SeqCst);
                futex_wake(&WORD);
            }
        });
        assert!(eventually(5000, || tid.load(Ordering::SeqCst) != 0));
        action(tid.load(Ordering::SeqCst) as Pid);
        let seen = ROUNDS.load(Ordering::SeqCst);
        assert!(eventually(5000, || ROUNDS.load(Ordering::SeqCst) > seen), "it does not wake any more");
        STOP.store(true, Ordering::SeqCst);
        // Whoever slept meanwhile is woken once more.
        assert!(eventually(5000, || {
            WORD.fetch_add(1, Ordering::SeqCst);
            futex_wake(&WORD);
            call!(SYS_tgkill, getpid(), tid.load(Ordering::SeqCst), 0).is_err()
        }));
    });
}

fn policy_changes_of_a_busy_sleeper_lose_no_wake() {
    beside_a_busy_sleeper(|tid| {
        for round in 0..2000u32 {
            let (policy, priority) =
                if round.is_multiple_of(2) { (libc::SCHED_FIFO, 5) } else { (libc::SCHED_OTHER, 0) };
            must(call!(SYS_sched_setscheduler, tid, policy, &priority));
        }
    });
}

fn policy_changes_from_all_sides_lose_nobody() {
    let count = must(affinity()).len() + 1;
    let tids: Vec<AtomicU32> = (0..count).map(|_| AtomicU32::new(0)).collect();
    let rounds: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for (tid, rounds) in tids.iter().zip(&rounds) {
            scope.spawn(move || {
                tid.store(gettid() as u32, Ordering::SeqCst);
                while !STOP.load(Ordering::SeqCst) {
                    if rounds.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
                        let _ = nanosleep(20_000);
                    } else {
                        let _ = call!(SYS_sched_yield);
                    }
                }
            });
        }
        assert!(eventually(5000, || tids.iter().all(|tid| tid.load(Ordering::SeqCst) != 0)));
        for round in 0..3000usize {
            let tid = tids[round % count].load(Ordering::SeqCst);
            let (policy, priority) = match round % 5 {
                0 => (libc::SCHED_RR, 1 + (round % 7) as u32),
                2 => (libc::SCHED_BATCH, 0),
                3 => (libc::SCHED_IDLE, 0),
                _ => (libc::SCHED_OTHER, 0),
            };
            must(call!(SYS_sched_setscheduler, tid, policy, &priority));
        }
        for tid in &tids {
            must(call!(SYS_sched_setscheduler, tid.load(Ordering::SeqCst), libc::SCHED_OTHER, &0u32));
        }
        let seen: Vec<_> = rounds.iter().map(|rounds| rounds.load(Ordering::SeqCst)).collect();
        let all = || rounds.iter().zip(&seen).all(|(now, then)| now.load(Ordering::SeqCst) > *then);
        assert!(eventually(5000, all), "a thread does not run any more");
        STOP.store(true, Ordering::SeqCst);
    });
}

fn affinity_changes_race_with_wakes() {
    let cores = must(affinity());
    beside_a_busy_sleeper(|tid| {
        for round in 0..1000 {
            must(set_affinity(tid, &[cores[round % cores.len()]]));
        }
    });
    // One that never sleeps is moved, whichever core it was on its way to.
    let at = must(shared(PAGE));
    let child = spawn(|| {
        loop {
            atomic_at(at).store(current_core().unwrap_or(99) as u32, Ordering::Relaxed);
        }
    });
    for round in 0..100 {
        must(set_affinity(child, &cores));
        must(set_affinity(child, &[cores[round % cores.len()]]));
        let here = || atomic_at(at).load(Ordering::Relaxed) as usize == cores[round % cores.len()];
        assert!(eventually(3000, here), "it is not on core {} in round {round}", cores[round % cores.len()]);
    }
    end(vec![child]);
}

/// A child that counts at `at` and stores its core behind the count.
fn hog(at: usize) -> Pid {
    spawn(|| {
        loop {
            atomic_at(at).fetch_add(1, Ordering::Relaxed);
            atomic_at(at + 4).store(current_core().unwrap_or(99) as u32, Ordering::Relaxed);
            spin();
        }
    })
}

fn end(children: Vec<Pid>) {
    for child in children {
        must(kill(child, libc::SIGKILL));
        killed(child, libc::SIGKILL);
    }
}

/// How many of `count` hogs that note at `at` where they are run on each of `cores`.
fn lengths(at: usize, count: usize, cores: &[usize]) -> Vec<usize> {
    let homes: Vec<usize> = (0..count).map(|i| atomic_at(at + 64 * i + 4).load(Ordering::Relaxed) as usize).collect();
    cores.iter().map(|core| homes.iter().filter(|home| *home == core).count()).collect()
}

fn hogs_born_on_one_core_leave_it() {
    let cores = must(affinity());
    let at = must(shared(PAGE));
    must(set_affinity(0, &[cores[0]]));
    let count = 4 * cores.len();
    let children: Vec<Pid> = (0..count).map(|i| hog(at + 64 * i)).collect();
    children.iter().for_each(|child| must(set_affinity(*child, &cores)));
    let spread = || lengths(at, count, &cores).iter().all(|length| (2..=6).contains(length));
    assert!(eventually(10_000, spread), "some cores have too many hogs");
    end(children);
}

/// Hardly a slice ends where a real-time task preempts the hogs at each look.
fn hogs_leave_a_core_with_a_busy_real_time_task() {
    let cores = must(affinity());
    let at = must(shared(PAGE));
    must(set_affinity(0, &[cores[0]]));
    let count = 4 * cores.len();
    let children: Vec<Pid> = (0..count).map(|i| hog(at + 64 * i)).collect();
    must(call!(SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &50i32));
    sleep_ms(50);
    children.iter().for_each(|child| must(set_affinity(*child, &cores)));
    let start = now();
    while !lengths(at, count, &cores).iter().all(|length| (1..=8).contains(length)) {
        assert!(now() - start < 2000 * MS, "{:?}", lengths(at, count, &cores));
        let _ = nanosleep(MS / 4);
    }
    end(children);
}

/// The median of `samples`.
fn median(mut samples: Vec<u64>) -> u64 {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or(0)
}

/// How late a sleep of 3 ms ends, in the median.
fn lateness(samples: usize) -> u64 {
    let late = |_| {
        let start = now();
        let _ = nanosleep(3 * MS);
        now() - start - 3 * MS
    };
    median((0..samples).map(late).collect())
}

fn sleepers_on_every_core_preempt_its_hog() {
    let cores = must(affinity());
    let at = must(shared(PAGE));
    let hogs: Vec<Pid> = cores.iter().enumerate().map(|(i, _)| hog(at + 64 * i)).collect();
    cores.iter().zip(&hogs).for_each(|(core, hog)| must(set_affinity(*hog, &[*core])));
    for core in &cores {
        must(set_affinity(0, &[*core]));
        let late = lateness(10);
        assert_eq!(must(current_core()), *core);
        // In the deterministic mode a core that another one interrupts waits for its turn of up to 12 ms a core.
        assert!(late < 120 * MS, "{late} ns late on core {core}");
    }
    end(hogs);
}

fn a_short_slice_gets_its_latency() {
    must(set_affinity(0, &[must(affinity())[0]]));
    let at = must(shared(PAGE));
    let hogs: Vec<Pid> = (0..6).map(|i| hog(at + 64 * i)).collect();
    // Size and policy; flags; nice and priority; runtime, which is the slice; deadline, period.
    let short = [48u64, 0, 0, 100_000, 0, 0];
    must(call!(SYS_sched_setattr, 0, &short, 0));
    let late = lateness(50);
    assert!(late < 10 * MS, "{late} ns late among six hogs");
    end(hogs);
}

fn a_loop_of_children_stays_on_its_core() {
    const ROUNDS: u32 = 300;
    let (mut moves, mut core) = (0, must(current_core()));
    for _ in 0..ROUNDS {
        crate::check::exits(spawn(|| crate::helper::exec(c"/bin/true", &["true"], &[]).0), 0);
        let now_on = must(current_core());
        moves += u32::from(now_on != core);
        core = now_on;
    }
    let most = if counter(c"/proc/lichen/steals", "turns").is_some() { ROUNDS / 10 } else { ROUNDS * 3 / 10 };
    assert!(moves < most, "the parent moved {moves} times in {ROUNDS} rounds");
}

fn ping_pong_between_cores_needs_no_tick() {
    let cores = must(affinity());
    let (first, last) = (cores[0], cores[cores.len() - 1]);
    let (there, back) = (must(pipe()), must(pipe()));
    let echo = spawn(|| {
        must(set_affinity(0, &[last]));
        let mut byte = [0u8; 1];
        must(close(there.1));
        while must(read(there.0, &mut byte)) == 1 {
            must(write(back.1, &byte));
        }
        0
    });
    must(set_affinity(0, &[first]));
    let start = now();
    for _ in 0..500 {
        must(write(there.1, b"x"));
        must(read(back.0, &mut [0u8; 1]));
    }
    // A wake that waited for a tick of 1 ms or more on each side would take as long as that.
    let trip = (now() - start) / 500;
    assert!(trip < 8 * MS, "a round trip takes {trip} ns");
    must(close(there.1));
    crate::check::exits(echo, 0);
}

/// Interrupts so far of the lines of `/proc/interrupts` that `wanted` selects, summed over all cores.
fn interrupts(wanted: impl Fn(&str) -> bool) -> u64 {
    let text = must(read_text(c"/proc/interrupts"));
    let lines = text.lines().filter(|line| wanted(line));
    lines.flat_map(|line| line.split_whitespace().skip(1).map_while(|word| word.parse::<u64>().ok())).sum()
}

fn idle_cores_take_few_timer_interrupts() {
    let timer = |line: &str| line.ends_with("timer") || line.contains("timer ");
    assert!(interrupts(timer) > 0, "{}", must(read_text(c"/proc/interrupts")));
    sleep_ms(500);
    let before = interrupts(timer);
    sleep_ms(3000);
    let per_core = (interrupts(timer) - before) / must(affinity()).len() as u64;
    // A tick, even of 100 Hz, would be 300. Lichen promises fewer than two a second.
    let most = if counter(c"/proc/lichen/messages", "sent").is_some() { 6 } else { 60 };
    assert!(per_core < most, "{per_core} timer interrupts in 3 s on each idle core");
}

/// A column of one of Lichen's own files of counters, summed over the cores; `None` on another kernel.
fn counter(file: &CStr, name: &str) -> Option<u64> {
    let text = read_text(file).ok()?;
    let mut lines = text.lines();
    let column = lines.next()?.split_whitespace().position(|word| word == name);
    let column = column.unwrap_or_else(|| panic!("{file:?} has no {name}"));
    Some(lines.filter_map(|line| line.split_whitespace().nth(column)?.parse::<u64>().ok()).sum())
}

/// Requests to reschedule with which a program ran on, messages of a core to itself, allocations in handlers: of all that this boot did.
fn what_only_a_bug_counts_stays_zero() {
    let cores = must(affinity());
    let at = must(shared(PAGE));
    // Something of everything, so that it does not depend on what ran before.
    let hogs: Vec<Pid> = (0..2 * cores.len()).map(|i| hog(at + 64 * i)).collect();
    for round in 0..100 {
        must(set_affinity(hogs[round % hogs.len()], &[cores[round % cores.len()]]));
        crate::check::exits(spawn(|| 0), 0);
        let _ = nanosleep(MS);
    }
    end(hogs);
    for (file, name) in [
        (c"/proc/lichen/steals", "dropped-reschedules"),
        (c"/proc/lichen/messages", "to-itself"),
        (c"/proc/lichen/messages", "allocations-in-interrupts"),
    ] {
        let count = counter(file, name);
        assert!(count.is_none_or(|count| count == 0), "{name}: {count:?}");
    }
}

fn switches_on_one_core_need_no_other() {
    must(set_affinity(0, &[must(affinity())[0]]));
    let (there, back) = (must(pipe()), must(pipe()));
    let echo = spawn(|| {
        let mut byte = [0u8; 1];
        must(close(there.1));
        while must(read(there.0, &mut byte)) == 1 {
            must(write(back.1, &byte));
        }
        0
    });
    let inter_processor = |line: &str| line.trim_start().starts_with("IPI") || line.ends_with("message");
    sleep_ms(50);
    let before = interrupts(inter_processor);
    for _ in 0..1000 {
        must(write(there.1, b"x"));
        must(read(back.0, &mut [0u8; 1]));
    }
    let sent = interrupts(inter_processor) - before;
    // Two switches a round.
    assert!(sent < 200, "{sent} interrupts between cores for 2000 switches");
    must(close(there.1));
    crate::check::exits(echo, 0);
}

fn the_last_reference_closes_a_pipe_on_any_core() {
    let cores = must(affinity());
    for round in 0..100 {
        let (reader, writer) = must(pipe());
        let child = spawn(|| {
            must(set_affinity(0, &[cores[round % cores.len()]]));
            must(close(reader));
            // The descriptor table, and with it the pipe's end, goes with the last of these threads.
            std::thread::spawn(|| {
                loop {
                    sigsuspend(0);
                }
            });
            if round % 2 == 1 {
                must(kill(getpid(), libc::SIGKILL));
            }
            0
        });
        must(close(writer));
        assert_eq!(must(read(reader, &mut [0u8; 1])), 0, "the end of the file in round {round}");
        must(close(reader));
        must(wait(child));
    }
}
