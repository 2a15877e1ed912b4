//! Reaching into other processes and other cores: process_vm_readv(2), process_vm_writev(2), membarrier(2).

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, must};
use crate::sys::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, compiler_fence};

tests!("remote":
    memory_of_a_child_can_be_read,
    memory_of_a_child_can_be_written,
    vectors_need_not_match,
    copies_end_at_what_cannot_be_accessed,
    writing_breaks_copy_on_write,
    bad_arguments_of_remote_copies_fail,
    strangers_memory_is_closed,
    two_that_read_each_other_and_signal_each_other_get_on,
    barriers_need_registration,
    barriers_order_what_plain_stores_and_loads_do_not [30],
);

/// `struct iovec` entries, as words.
type Vector<'a> = &'a [[usize; 2]];

fn copy(number: usize, pid: Pid, own: Vector, theirs: Vector) -> Result<usize> {
    Errno::from_raw(raw(
        number,
        [pid as usize, own.as_ptr() as usize, own.len(), theirs.as_ptr() as usize, theirs.len(), 0],
    ))
}

const READ: usize = libc::SYS_process_vm_readv as usize;
const WRITE: usize = libc::SYS_process_vm_writev as usize;

/// Pages at an address that a later child has as well.
fn pages(count: usize) -> usize {
    must(call!(SYS_mmap, 0, count * 4096, 3, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0))
}

fn byte(address: usize) -> u8 {
    // SAFETY: `pages` mapped it.
    unsafe { core::ptr::with_exposed_provenance::<u8>(address).read_volatile() }
}

fn set_byte(address: usize, value: u8) {
    // SAFETY: as above.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(value) }
}

/// A child that runs `prepare`, and then waits for a byte to come before it runs `judge`.
fn child(prepare: impl FnOnce(), judge: impl FnOnce() -> bool) -> (Pid, Fd) {
    let (ready, go) = (must(pipe()), must(pipe()));
    let pid = spawn(|| {
        prepare();
        must(write(ready.1, b"x"));
        must(read(go.0, &mut [0]));
        i32::from(!judge())
    });
    must(read(ready.0, &mut [0]));
    (pid, go.1)
}

fn finish((pid, go): (Pid, Fd)) {
    must(write(go, b"x"));
    exits(pid, 0);
}

fn memory_of_a_child_can_be_read() {
    let at = pages(2);
    let child = child(|| (0..8192).for_each(|index| set_byte(at + index, (index % 251) as u8)), || true);
    let mut buffer = vec![0u8; 8192];
    assert_eq!(copy(READ, child.0, &[[buffer.as_mut_ptr() as usize, 8192]], &[[at, 8192]]), Ok(8192));
    assert!(buffer.iter().enumerate().all(|(index, byte)| *byte == (index % 251) as u8));
    assert_eq!(byte(at), 0, "one's own memory at that place is another");
    finish(child);
}

fn memory_of_a_child_can_be_written() {
    let at = pages(2);
    let child = child(|| (), || byte(at + 4090) == 9 && byte(at + 4099) == 9 && byte(at + 4100) == 0);
    let bytes = [9u8; 10];
    assert_eq!(copy(WRITE, child.0, &[[bytes.as_ptr() as usize, 10]], &[[at + 4090, 10]]), Ok(10));
    finish(child);
}

fn vectors_need_not_match() {
    let at = pages(1);
    let child = child(|| (0..100).for_each(|index| set_byte(at + index, index as u8)), || true);
    let mut buffer = [0u8; 100];
    let start = buffer.as_mut_ptr() as usize;
    let own = [[start, 3], [start + 3, 0], [start + 3, 30]];
    let theirs = [[at + 50, 10], [at, 7], [at + 90, 9]];
    assert_eq!(copy(READ, child.0, &own, &theirs), Ok(26));
    let expected: Vec<u8> = (50..60).chain(0..7).chain(90..99).chain([0]).collect();
    assert_eq!(buffer[..27], expected);
    assert_eq!(copy(READ, child.0, &[], &theirs), Ok(0));
    assert_eq!(copy(READ, child.0, &own, &[]), Ok(0));
    finish(child);
}

fn copies_end_at_what_cannot_be_accessed() {
    let at = pages(2);
    let child = child(
        || {
            must(call!(SYS_munmap, at + 4096, 4096));
        },
        || true,
    );
    let mut buffer = vec![0u8; 8192];
    let own = [[buffer.as_mut_ptr() as usize, 8192]];
    assert_eq!(copy(READ, child.0, &own, &[[at, 4096], [at + 4096, 4096]]), Ok(4096));
    fails(copy(READ, child.0, &own, &[[at + 4096, 10]]), libc::EFAULT);
    fails(copy(READ, child.0, &[[8, 10]], &[[at, 10]]), libc::EFAULT);
    finish(child);
}

fn writing_breaks_copy_on_write() {
    let at = pages(1);
    set_byte(at, 1);
    let child = child(|| (), || byte(at) == 5);
    assert_eq!(copy(WRITE, child.0, &[[[5u8].as_ptr() as usize, 1]], &[[at, 1]]), Ok(1));
    assert_eq!(byte(at), 1, "the writer's own copy stays");
    finish(child);
}

fn bad_arguments_of_remote_copies_fail() {
    let mut buffer = [0u8; 8];
    let own = [[buffer.as_mut_ptr() as usize, 8]];
    fails(copy(READ, 4_000_001, &own, &own), libc::ESRCH);
    fails(call!(SYS_process_vm_readv, getpid(), own.as_ptr(), 1, own.as_ptr(), 1, 1), libc::EINVAL);
    fails(call!(SYS_process_vm_readv, getpid(), own.as_ptr(), 1025, own.as_ptr(), 1, 0), libc::EINVAL);
    fails(call!(SYS_process_vm_readv, getpid(), 8, 1, own.as_ptr(), 1, 0), libc::EFAULT);
    assert_eq!(copy(READ, getpid(), &own, &own), Ok(8), "one's own memory may be meant");
}

fn strangers_memory_is_closed() {
    let parent = getpid();
    let at = pages(1);
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        let mut buffer = [0u8; 8];
        fails(copy(READ, parent, &[[buffer.as_mut_ptr() as usize, 8]], &[[at, 8]]), libc::EPERM);
    });
}

fn two_that_read_each_other_and_signal_each_other_get_on() {
    const ROUNDS: usize = 3_000;
    let at = pages(1);
    set_byte(at, 7);
    let meddle = |other: Pid| {
        let mut found = [0u8];
        let own = [[found.as_mut_ptr().expose_provenance(), 1]];
        for _ in 0..ROUNDS {
            assert_eq!(copy(READ, other, &own, &[[at, 1]]), Ok(1));
            must(kill(other, 0));
        }
        assert_eq!(found, [7]);
    };
    let (parent, done) = (getpid(), must(pipe()));
    let (child, go) = child(
        || {},
        || {
            meddle(parent);
            // Who has ended has no memory to read.
            must(read(done.0, &mut [0])) == 1
        },
    );
    must(write(go, b"x"));
    meddle(child);
    must(write(done.1, b"x"));
    exits(child, 0);
}

fn barriers_need_registration() {
    let supported = must(call!(SYS_membarrier, 0, 0, 0));
    assert_eq!(supported & 0b1_1001, 0b1_1001, "{supported:#b}");
    fails(call!(SYS_membarrier, 8, 0, 0), libc::EPERM);
    must(call!(SYS_membarrier, 16, 0, 0));
    must(call!(SYS_membarrier, 8, 0, 0));
    must(call!(SYS_membarrier, 1, 0, 0));
    fails(call!(SYS_membarrier, 1 << 20, 0, 0), libc::EINVAL);
    fails(call!(SYS_membarrier, 0, 4, 0), libc::EINVAL);
}

fn barriers_order_what_plain_stores_and_loads_do_not() {
    static ROUND: AtomicU32 = AtomicU32::new(0);
    static FAST: AtomicU32 = AtomicU32::new(0);
    static SLOW: AtomicU32 = AtomicU32::new(0);
    static SEEN: AtomicU32 = AtomicU32::new(0);
    static OVER: AtomicBool = AtomicBool::new(false);
    must(call!(SYS_membarrier, 16, 0, 0));
    // The fast side: a store and a load without any barrier of the processor's.
    let fast = std::thread::spawn(|| {
        let mut last = 0;
        while !OVER.load(Ordering::Relaxed) {
            let round = ROUND.load(Ordering::Acquire);
            if round == last {
                must(call!(SYS_sched_yield));
                continue;
            }
            last = round;
            FAST.store(round, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            let slow = SLOW.load(Ordering::Relaxed);
            SEEN.store(round << 1 | u32::from(slow == round), Ordering::Release);
        }
    });
    for round in 1..=200 {
        ROUND.store(round, Ordering::Release);
        SLOW.store(round, Ordering::Relaxed);
        must(call!(SYS_membarrier, 8, 0, 0));
        let saw_fast = FAST.load(Ordering::Relaxed) == round;
        while SEEN.load(Ordering::Acquire) >> 1 != round {
            must(call!(SYS_sched_yield));
        }
        let saw_slow = SEEN.load(Ordering::Acquire) & 1 != 0;
        assert!(saw_fast || saw_slow, "round {round}: neither saw the other's store");
    }
    OVER.store(true, Ordering::Relaxed);
    assert!(fast.join().is_ok());
}
