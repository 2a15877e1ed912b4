//! Several cores in one address space: faults, stale translations, counters, moving tasks.

use super::tests;
use crate::call;
use crate::check::{dies_of, exits, in_child, must, within};
use crate::sys::*;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

tests!("smp":
    eight_threads_fault_the_same_anonymous_pages [60],
    eight_threads_fault_the_same_file_pages [60],
    eight_threads_break_the_same_copy_on_write_pages [60],
    memory_of_a_program_that_ran_on_all_cores_returns_at_its_end [40],
    faulting_leaks_no_memory [60],
    no_stale_translation_after_mprotect [30],
    no_stale_translation_after_munmap [30],
    no_stale_translation_after_remapping [30],
    fork_with_writing_threads_gives_a_consistent_copy [30],
    atomics_count_exactly_across_cores [30],
    message_passing_is_ordered [30],
    exit_while_others_fault_is_clean [30],
    code_written_on_one_core_runs_on_another,
    address_spaces_do_not_mix [30],
    many_address_spaces_do_not_mix [60],
);

const THREADS: usize = 8;
const PAGES: usize = 10_000;
/// Pages in each round of the test for leaks.
const FEWER_PAGES: usize = 2_000;

/// Every thread touches every page, in an order of its own, adding its bit; true if all bits arrived.
fn fault_together(at: usize, pages: usize, start: u8) {
    let barrier = std::sync::Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for id in 0..THREADS {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for i in 0..pages {
                    // All start on the same pages, so that they collide; half of them go backwards.
                    let page = if id % 2 == 0 { i } else { pages - 1 - i };
                    let word = atomic_at(at + page * PAGE + 8);
                    word.fetch_or(1 << id, Ordering::Relaxed);
                    assert_eq!(peek::<u8>(at + page * PAGE), start, "page {page}");
                }
            });
        }
    });
    for page in 0..pages {
        assert_eq!(peek::<u32>(at + page * PAGE + 8), 0xff, "a write to page {page} is lost");
    }
}

fn eight_threads_fault_the_same_anonymous_pages() {
    fault_together(must(anonymous(PAGES * PAGE)), PAGES, 0);
}

fn eight_threads_fault_the_same_file_pages() {
    let fd = must(scratch_file(c"file", 0));
    let mut page = vec![0u8; PAGE];
    page[0] = b'f';
    (0..PAGES).for_each(|_| must(write_all(fd, &page)));
    fault_together(must(mmap(0, PAGES * PAGE, RW, libc::MAP_SHARED, fd, 0)), PAGES, b'f');
    let mut word = [0u8; 4];
    must(pread(fd, &mut word, 5000 * PAGE as i64 + 8));
    assert_eq!(word, [0xff, 0, 0, 0]);
}

fn eight_threads_break_the_same_copy_on_write_pages() {
    let at = must(anonymous(PAGES * PAGE));
    (0..PAGES).for_each(|page| poke(at + page * PAGE, b'c'));
    let holder = spawn(|| {
        loop {
            sigsuspend(0);
        }
    });
    fault_together(at, PAGES, b'c');
    must(kill(holder, libc::SIGKILL));
}

fn free_kb() -> u64 {
    let text = must(read_text(c"/proc/meminfo"));
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Asserts that of 40,000 kB which were used since `before` kilobytes were free, nearly all come back. Linux's cores have lists of
/// free pages that `MemFree` leaves out; a worker shortens them in the seconds after.
#[track_caller]
fn returns_to(before: u64) {
    let lost = || before.saturating_sub(free_kb());
    assert!(eventually(20_000, || lost() < 8 * 1024), "{} kB are gone", lost());
}

fn faulting_leaks_no_memory() {
    let round = || in_child(|| fault_together(must(anonymous(FEWER_PAGES * PAGE)), FEWER_PAGES, 0));
    round();
    let before = free_kb();
    (0..5).for_each(|_| round());
    returns_to(before);
}

fn memory_of_a_program_that_ran_on_all_cores_returns_at_its_end() {
    let before = free_kb();
    exits(
        spawn(|| {
            let at = must(anonymous(PAGES * PAGE));
            for core in must(affinity()) {
                must(set_affinity(0, &[core]));
                (0..PAGES).for_each(|page| poke(at + page * PAGE, core));
            }
            0
        }),
        0,
    );
    returns_to(before);
}

static PHASE: AtomicU32 = AtomicU32::new(0);
static DONE: AtomicBool = AtomicBool::new(false);
static FAULTS: AtomicUsize = AtomicUsize::new(0);
static TARGET: AtomicUsize = AtomicUsize::new(0);

/// Skips the faulting store.
extern "C" fn skip(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let pc = context.expose_provenance() + 176 + 8 + 32 * 8;
    poke(pc, peek::<usize>(pc) + 4);
    FAULTS.fetch_add(1, Ordering::SeqCst);
}

fn store(at: usize, value: u64) {
    // SAFETY: a store that may fault; the handler skips it.
    unsafe { core::arch::asm!("str {v}, [{a}]", v = in(reg) value, a = in(reg) at) }
}

/// Writers store to the target for as long as the test runs. All are under way before the rounds begin: a thread that starts allocates
/// memory, and must not be given the address that a round has just unmapped.
fn with_writers(rounds: impl FnOnce()) {
    const WRITERS: usize = 3;
    must(on_signal(libc::SIGSEGV, skip, 0));
    let started = std::sync::Barrier::new(WRITERS + 1);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                started.wait();
                let mut value = 1;
                while !DONE.load(Ordering::Relaxed) {
                    store(TARGET.load(Ordering::Relaxed), value);
                    value += 1;
                }
            });
        }
        started.wait();
        rounds();
        DONE.store(true, Ordering::Relaxed);
    });
}

fn no_stale_translation_after_mprotect() {
    let at = must(anonymous(PAGE));
    poke(at, 0u64);
    TARGET.store(at, Ordering::SeqCst);
    with_writers(|| {
        for round in 0..300 {
            must(mprotect(at, PAGE, libc::PROT_READ));
            let frozen = peek::<u64>(at);
            for _ in 0..200 {
                assert_eq!(peek::<u64>(at), frozen, "a write in round {round} after the page was made read-only");
            }
            must(mprotect(at, PAGE, RW));
            let _ = call!(SYS_sched_yield);
        }
    });
}

fn no_stale_translation_after_munmap() {
    // The page behind the mapping is watched through a second mapping of the same file.
    let fd = must(scratch_file(c"file", PAGE as i64));
    let watch = must(mmap(0, PAGE, libc::PROT_READ, libc::MAP_SHARED, fd, 0));
    let at = must(mmap(0, PAGE, RW, libc::MAP_SHARED, fd, 0));
    TARGET.store(at, Ordering::SeqCst);
    with_writers(|| {
        for round in 0..300 {
            must(munmap(at, PAGE));
            let frozen = peek::<u64>(watch);
            for _ in 0..200 {
                assert_eq!(peek::<u64>(watch), frozen, "a write in round {round} after the page was unmapped");
            }
            assert_eq!(must(mmap(at, PAGE, RW, libc::MAP_SHARED | libc::MAP_FIXED, fd, 0)), at);
            let _ = call!(SYS_sched_yield);
        }
    });
}

fn no_stale_translation_after_remapping() {
    let at = must(anonymous(PAGE));
    poke(at, 0u32);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !DONE.load(Ordering::SeqCst) {
                let before = PHASE.load(Ordering::SeqCst);
                let value = peek::<u32>(at);
                let after = PHASE.load(Ordering::SeqCst);
                // An even phase is stable: the page then holds the phase.
                assert!(before != after || before % 2 == 1 || value == before, "read {value} in phase {before}");
            }
        });
        for phase in (2..600).step_by(2) {
            PHASE.store(phase - 1, Ordering::SeqCst);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            must(mmap(at, PAGE, RW, flags, -1, 0));
            poke(at, phase);
            PHASE.store(phase, Ordering::SeqCst);
            for _ in 0..100 {
                core::hint::black_box(peek::<u32>(at));
            }
        }
        DONE.store(true, Ordering::SeqCst);
    });
}

fn fork_with_writing_threads_gives_a_consistent_copy() {
    let at = must(anonymous(4 * PAGE));
    std::thread::scope(|scope| {
        for id in 0..3usize {
            scope.spawn(move || {
                while !DONE.load(Ordering::Relaxed) {
                    atomic_at(at + id * PAGE).fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..50 {
            // In the child nobody else writes: what it reads has to stay.
            let child = must(call!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0));
            if child == 0 {
                let read = || [0, 1, 2].map(|id| peek::<u32>(at + id * PAGE));
                let first = read();
                for _ in 0..10 {
                    let _ = call!(SYS_sched_yield);
                    spin();
                }
                exit(i32::from(read() != first));
            }
            crate::check::exits(child as Pid, 0);
        }
        DONE.store(true, Ordering::Relaxed);
    });
    assert!(peek::<u32>(at) > 0);
}

fn atomics_count_exactly_across_cores() {
    let at = must(shared(PAGE));
    let cores = must(affinity());
    let children: Vec<Pid> = (0..4)
        .map(|i| {
            spawn(|| {
                must(set_affinity(0, &[cores[i % cores.len()]]));
                for _ in 0..50_000 {
                    atomic_at(at).fetch_add(1, Ordering::Relaxed);
                }
                0
            })
        })
        .collect();
    children.into_iter().for_each(|child| crate::check::exits(child, 0));
    assert_eq!(peek::<u32>(at), 200_000);
}

fn message_passing_is_ordered() {
    static DATA: AtomicU64 = AtomicU64::new(0);
    static FLAG: AtomicU64 = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 1..=100_000u64 {
                DATA.store(i, Ordering::Relaxed);
                FLAG.store(i, Ordering::Release);
            }
        });
        let mut last = 0;
        while last < 100_000 {
            last = FLAG.load(Ordering::Acquire);
            assert!(DATA.load(Ordering::Relaxed) >= last);
        }
    });
}

fn exit_while_others_fault_is_clean() {
    for _ in 0..20 {
        in_child(|| {
            let at = must(anonymous(2000 * PAGE));
            for id in 0..3 {
                std::thread::spawn(move || {
                    for page in 0..2000 {
                        poke(at + page * PAGE, id);
                    }
                });
            }
            sleep_ms(2);
        });
    }
    dies_of(libc::SIGKILL, || {
        let at = must(anonymous(2000 * PAGE));
        std::thread::spawn(move || kill(getpid(), libc::SIGKILL));
        loop {
            (0..2000).for_each(|page| poke(at + page * PAGE, 1u8));
            must(madvise(at, 2000 * PAGE, libc::MADV_DONTNEED));
        }
    });
}

fn code_written_on_one_core_runs_on_another() {
    let cores = must(affinity());
    let at = must(mmap(0, PAGE, RW | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
    for round in 0..50u32 {
        must(set_affinity(0, &[cores[round as usize % cores.len()]]));
        // mov w0, #round; ret
        poke(at, [0x5280_0000 | round << 5, 0xd65f_03c0]);
        // SAFETY: cache maintenance on a mapped line, as after any writing of code.
        unsafe { core::arch::asm!("dc cvau, {0}", "dsb ish", "ic ivau, {0}", "dsb ish", "isb", in(reg) at) };
        must(set_affinity(0, &[cores[(round as usize + 1) % cores.len()]]));
        // SAFETY: the two instructions form a function of this type.
        let function: extern "C" fn() -> u32 = unsafe { core::mem::transmute(at) };
        assert_eq!(function(), round);
    }
}

/// Children at one virtual address with values of their own, all alive at once and moving about.
fn mix(count: usize, rounds: usize) {
    let at = must(mmap(0x8_0000_0000, PAGE, RW, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
    let cores = must(affinity());
    let children: Vec<Pid> = (0..count)
        .map(|id| {
            spawn(|| {
                poke(at, id);
                for round in 0..rounds {
                    if round % 20 == 0 {
                        must(set_affinity(0, &[cores[(id + round / 20) % cores.len()]]));
                    }
                    let _ = call!(SYS_sched_yield);
                    assert_eq!(peek::<usize>(at), id, "another process's page");
                }
                0
            })
        })
        .collect();
    children.into_iter().for_each(|child| crate::check::exits(child, 0));
}

fn address_spaces_do_not_mix() {
    mix(8, 1000);
}

fn many_address_spaces_do_not_mix() {
    // More than 256 at once, so that machines with 8-bit ASIDs have to share them out anew.
    mix(300, 40);
    within(must(list(c"/proc/self/fd")).len(), 3, 10, "descriptors");
}
