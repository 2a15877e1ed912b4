//! Page faults and mappings.

use super::{Better, Row, each, ns, one, pin};
use crate::call;
use crate::check::must;
use crate::sys::*;
use core::sync::atomic::{AtomicU32, Ordering};

/// Memory.
pub const ROWS: &[Row] = &[
    ns("anonymous-fault", anonymous_fault),
    ns("mmap-64k-touch-munmap", map_touch_unmap),
    one("idle-thread-memory", "bytes", Better::Lower, idle_thread_memory),
];

/// One first write to a page of a large mapping.
fn anonymous_fault(n: u64) -> f64 {
    pin(0);
    let size = (n + n / 10) as usize * PAGE;
    let fresh = || {
        let at = must(anonymous(size));
        // Small pages only, on kernels that would otherwise map large ones.
        let _ = madvise(at, size, libc::MADV_NOHUGEPAGE);
        at
    };
    // Memory that an emulator's guest touches for the first time costs the host a page fault of its own.
    let rehearsal = fresh();
    (0..size).step_by(PAGE).for_each(|offset| poke(rehearsal + offset, 1u8));
    must(munmap(rehearsal, size));
    let mut at = fresh();
    each(n, || {
        poke(at, 1u8);
        at += PAGE;
    })
}

/// A mapping of which one page is used.
fn map_touch_unmap(n: u64) -> f64 {
    pin(0);
    each(n, || {
        let at = must(anonymous(16 * PAGE));
        poke(at, 1u8);
        must(munmap(at, 16 * PAGE));
    })
}

/// Bytes of memory that a thread asleep in a futex costs the kernel: what is free less, without the pages of the program.
fn idle_thread_memory(_: u64) -> f64 {
    const THREADS: u32 = 1000;
    let used = || {
        let resident = must(read_text(c"/proc/self/statm"));
        let pages: i64 = resident.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let text = must(read_text(c"/proc/meminfo"));
        let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
        let free: i64 = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0);
        -free * 1024 - pages * PAGE as i64
    };
    // The caches of the kernel and of the C library are full afterwards.
    while_asleep(THREADS / 4, || ());
    let before = used();
    let mut after = before;
    while_asleep(THREADS, || after = used());
    (after - before) as f64 / f64::from(THREADS)
}

/// Calls `action` while so many threads with small stacks sleep.
fn while_asleep(threads: u32, action: impl FnOnce()) {
    let (gate, asleep) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let body = || {
                asleep.fetch_add(1, Ordering::SeqCst);
                while gate.load(Ordering::SeqCst) == 0 {
                    let _ = call!(SYS_futex, gate.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0, 0);
                }
            };
            must(
                std::thread::Builder::new()
                    .stack_size(16 * 1024)
                    .spawn_scoped(scope, body)
                    .map_err(|_| Errno(libc::EAGAIN)),
            );
        }
        assert!(eventually(20_000, || asleep.load(Ordering::SeqCst) == threads));
        sleep_ms(100);
        action();
        gate.store(1, Ordering::SeqCst);
        must(call!(SYS_futex, gate.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX));
    });
}
