//! futex(2): check-and-sleep, exact wakes, timeouts, requeueing, robust lists.

use super::tests;
use crate::call;
use crate::check::{exits, fails, must, within};
use crate::sys::*;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

tests!("futex":
    wait_with_another_value_is_eagain,
    wait_times_out,
    wait_with_a_bad_timeout_pointer_is_efault,
    wait_with_a_bad_timeout_is_einval,
    wake_and_requeue_ignore_the_timeout_pointer,
    bad_address_is_efault,
    unaligned_address_is_einval,
    unknown_operation_is_enosys,
    wake_without_waiters_is_zero,
    wake_wakes_exactly_as_many_as_asked,
    wakes_a_waiter_in_another_process,
    shared_file_mapping_is_one_futex,
    private_futexes_of_two_processes_do_not_meet,
    bitset_selects_waiters,
    bitset_timeout_is_absolute,
    requeue_moves_waiters,
    cmp_requeue_checks_the_value,
    wake_op_changes_and_wakes,
    wait_is_interrupted_by_a_handler,
    wait_is_restarted_after_an_ignored_signal,
    robust_list_marks_the_owner_dead,
    waiters_die_with_their_process,
    no_wake_is_lost_in_ping_pong [30],
    waitv_wakes_on_either,
);

fn word() -> &'static AtomicU32 {
    atomic_at(must(shared(PAGE)))
}

fn futex(word: &AtomicU32, operation: i32, value: u32) -> Result<usize> {
    call!(SYS_futex, word, operation, value, 0, 0, 0)
}

fn wait_ms(word: &AtomicU32, value: u32, ms: u64) -> Result<usize> {
    let limit = timespec_of_ns(ms * MS);
    call!(SYS_futex, word, libc::FUTEX_WAIT, value, &limit, 0, 0)
}

fn wake(word: &AtomicU32, count: u32) -> usize {
    must(futex(word, libc::FUTEX_WAKE, count))
}

fn wait_with_another_value_is_eagain() {
    let word = word();
    word.store(5, Ordering::SeqCst);
    fails(futex(word, libc::FUTEX_WAIT, 4), libc::EAGAIN);
}

fn wait_times_out() {
    let word = word();
    let start = now();
    fails(wait_ms(word, 0, 40), libc::ETIMEDOUT);
    within(now() - start, 40 * MS, 3 * SECOND, "waited");
}

fn wait_with_a_bad_timeout_pointer_is_efault() {
    let word = word();
    for pointer in [8usize, 0xffff_0000_0000_0000, usize::MAX - 8] {
        fails(call!(SYS_futex, word, libc::FUTEX_WAIT, 0, pointer, 0, 0), libc::EFAULT);
        fails(call!(SYS_futex, word, libc::FUTEX_WAIT_BITSET, 0, pointer, 0, 1), libc::EFAULT);
    }
}

fn wait_with_a_bad_timeout_is_einval() {
    let word = word();
    fails(call!(SYS_futex, word, libc::FUTEX_WAIT, 0, &[0i64, 1_000_000_000], 0, 0), libc::EINVAL);
    fails(call!(SYS_futex, word, libc::FUTEX_WAIT, 0, &[-1i64, 0], 0, 0), libc::EINVAL);
}

fn wake_and_requeue_ignore_the_timeout_pointer() {
    let (one, two) = (word(), word());
    for garbage in [8usize, 0xffff_0000_0000_0000] {
        assert_eq!(must(call!(SYS_futex, one, libc::FUTEX_WAKE, 1, garbage, 0, 0)), 0);
        assert_eq!(must(call!(SYS_futex, one, libc::FUTEX_WAKE_BITSET, 1, garbage, 0, 1)), 0);
    }
    // Here the same register is a count.
    assert_eq!(must(call!(SYS_futex, one, libc::FUTEX_REQUEUE, 1, 8, two, 0)), 0);
}

fn bad_address_is_efault() {
    fails(call!(SYS_futex, 4, libc::FUTEX_WAIT, 0, 0, 0, 0), libc::EFAULT);
    fails(call!(SYS_futex, 0xffff_0000_0000_0000u64, libc::FUTEX_WAIT, 0, 0, 0, 0), libc::EFAULT);
    fails(call!(SYS_futex, 0xffff_0000_0000_0000u64, libc::FUTEX_WAKE, 1, 0, 0, 0), libc::EFAULT);
}

fn unaligned_address_is_einval() {
    let at = must(shared(PAGE));
    fails(call!(SYS_futex, at + 2, libc::FUTEX_WAIT, 0, 0, 0, 0), libc::EINVAL);
    fails(call!(SYS_futex, at + 1, libc::FUTEX_WAKE, 1, 0, 0, 0), libc::EINVAL);
}

fn unknown_operation_is_enosys() {
    fails(futex(word(), 77, 0), libc::ENOSYS);
}

fn wake_without_waiters_is_zero() {
    assert_eq!(wake(word(), u32::MAX >> 1), 0);
}

/// Starts `count` threads that wait on `word`; each adds one to the counter when woken.
fn waiters(word: &'static AtomicU32, count: usize, mask: u32) -> Arc<AtomicU32> {
    let woken = Arc::new(AtomicU32::new(0));
    let ids = Arc::new(std::sync::Mutex::new(Vec::new()));
    for _ in 0..count {
        let (woken, ids) = (woken.clone(), ids.clone());
        std::thread::spawn(move || {
            if let Ok(mut ids) = ids.lock() {
                ids.push(gettid());
            }
            if call!(SYS_futex, word, libc::FUTEX_WAIT_BITSET, 0, 0, 0, mask).is_ok() {
                woken.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let all = eventually(5000, || {
        let ids = ids.lock().map(|ids| ids.clone()).unwrap_or_default();
        ids.len() == count && ids.iter().all(|tid| proc_stat(*tid, 3).as_deref() == Some("S"))
    });
    assert!(all, "the waiters do not sleep");
    woken
}

#[track_caller]
fn reaches(counter: &AtomicU32, value: u32) {
    let fine = eventually(5000, || counter.load(Ordering::SeqCst) >= value);
    assert!(fine, "{} instead of {value} woke", counter.load(Ordering::SeqCst));
    sleep_ms(10);
    assert_eq!(counter.load(Ordering::SeqCst), value, "woken");
}

fn wake_wakes_exactly_as_many_as_asked() {
    let word = word();
    let woken = waiters(word, 10, u32::MAX);
    assert_eq!(wake(word, 3), 3);
    reaches(&woken, 3);
    assert_eq!(wake(word, 1), 1);
    reaches(&woken, 4);
    assert_eq!(wake(word, 100), 6);
    reaches(&woken, 10);
}

fn wakes_a_waiter_in_another_process() {
    let word = word();
    let child = spawn(|| i32::from(wait_ms(word, 0, 5000) != Ok(0)));
    assert!(eventually(5000, || wake(word, 1) == 1));
    exits(child, 0);
}

fn shared_file_mapping_is_one_futex() {
    let fd = must(scratch_file(c"file", PAGE as i64));
    let one = must(mmap(0, PAGE, RW, libc::MAP_SHARED, fd, 0));
    let child = spawn(|| {
        must(munmap(one, PAGE));
        let other = must(mmap(0x7_0000_0000, PAGE, RW, libc::MAP_SHARED, fd, 0));
        i32::from(wait_ms(atomic_at(other + 16), 0, 5000) != Ok(0))
    });
    assert!(eventually(5000, || wake(atomic_at(one + 16), 1) == 1));
    exits(child, 0);
}

fn private_futexes_of_two_processes_do_not_meet() {
    let at = must(anonymous(PAGE));
    poke(at, 0u32);
    let child = spawn(|| {
        let limit = timespec_of_ns(100 * MS);
        let wait = call!(SYS_futex, at, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0, &limit, 0, 0);
        i32::from(wait != Err(Errno(libc::ETIMEDOUT)))
    });
    assert!(wait_for_state(child, "S"));
    assert_eq!(must(futex(atomic_at(at), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1)), 0);
    exits(child, 0);
}

fn bitset_selects_waiters() {
    let word = word();
    let one = waiters(word, 2, 0b01);
    let two = waiters(word, 2, 0b10);
    let wake_mask = |mask: u32| must(call!(SYS_futex, word, libc::FUTEX_WAKE_BITSET, 10, 0, 0, mask));
    assert_eq!(wake_mask(0b100), 0);
    assert_eq!(wake_mask(0b10), 2);
    reaches(&two, 2);
    assert_eq!(one.load(Ordering::SeqCst), 0);
    assert_eq!(wake_mask(0b11), 2);
    fails(call!(SYS_futex, word, libc::FUTEX_WAKE_BITSET, 10, 0, 0, 0), libc::EINVAL);
}

fn bitset_timeout_is_absolute() {
    let word = word();
    let past = timespec_of_ns(now() - MS);
    fails(call!(SYS_futex, word, libc::FUTEX_WAIT_BITSET, 0, &past, 0, 1), libc::ETIMEDOUT);
    let start = now();
    let soon = timespec_of_ns(start + 30 * MS);
    fails(call!(SYS_futex, word, libc::FUTEX_WAIT_BITSET, 0, &soon, 0, 1), libc::ETIMEDOUT);
    within(now() - start, 30 * MS, 3 * SECOND, "waited");
}

fn requeue_moves_waiters() {
    let (from, to) = (word(), word());
    let woken = waiters(from, 5, u32::MAX);
    assert_eq!(must(call!(SYS_futex, from, libc::FUTEX_CMP_REQUEUE, 1, 3, to, 0)), 4);
    reaches(&woken, 1);
    assert_eq!(wake(to, 2), 2);
    reaches(&woken, 3);
    assert_eq!((wake(from, 10), wake(to, 10)), (1, 1));
    reaches(&woken, 5);
}

fn cmp_requeue_checks_the_value() {
    let (from, to) = (word(), word());
    fails(call!(SYS_futex, from, libc::FUTEX_CMP_REQUEUE, 1, 1, to, 9), libc::EAGAIN);
}

fn wake_op_changes_and_wakes() {
    let (one, two) = (word(), word());
    let on_one = waiters(one, 1, u32::MAX);
    let on_two = waiters(two, 1, u32::MAX);
    // FUTEX_OP_ADD 7 to *two; wake there if the old value equals 0.
    let operation = 1u32 << 28 | 7 << 12;
    assert_eq!(must(call!(SYS_futex, one, libc::FUTEX_WAKE_OP, 1, 1, two, operation)), 2);
    assert_eq!(two.load(Ordering::SeqCst), 7);
    reaches(&on_one, 1);
    reaches(&on_two, 1);
}

fn wait_is_interrupted_by_a_handler() {
    must(on_signal(libc::SIGALRM, record, 0));
    let word = word();
    alarm_in(30);
    fails(wait_ms(word, 0, 5000), libc::EINTR);
    must(on_signal(libc::SIGALRM, record, libc::SA_RESTART));
    alarm_in(30);
    // Without a timeout the wait is restarted, so somebody has to end it.
    let child = spawn(|| {
        sleep_ms(150);
        i32::from(wake(word, 1) != 1)
    });
    assert_eq!(must(futex(word, libc::FUTEX_WAIT, 0)), 0);
    assert_eq!(seen(), 2);
    exits(child, 0);
}

fn wait_is_restarted_after_an_ignored_signal() {
    let word = word();
    let child = spawn(|| i32::from(wait_ms(word, 0, 5000) != Ok(0)));
    assert!(wait_for_state(child, "S"));
    must(kill(child, libc::SIGWINCH));
    must(kill(child, libc::SIGSTOP));
    must(wait4(child, libc::WUNTRACED));
    must(kill(child, libc::SIGCONT));
    assert!(eventually(5000, || wake(word, 1) == 1));
    exits(child, 0);
}

fn robust_list_marks_the_owner_dead() {
    let at = must(shared(PAGE));
    let futex_word = atomic_at(at + 64);
    let child = spawn(|| {
        // A head at 0, one entry at 32 whose futex lies 32 bytes on.
        poke(at, [at + 32, 32, 0]);
        poke(at + 32, at);
        must(call!(SYS_set_robust_list, at, 24));
        futex_word.store(gettid() as u32, Ordering::SeqCst);
        0
    });
    exits(child, 0);
    assert_eq!(futex_word.load(Ordering::SeqCst), 0x4000_0000, "FUTEX_OWNER_DIED");
    fails(call!(SYS_set_robust_list, at, 23), libc::EINVAL);
}

fn waiters_die_with_their_process() {
    let word = word();
    let child = spawn(|| {
        let _ = futex(word, libc::FUTEX_WAIT, 0);
        0
    });
    assert!(wait_for_state(child, "S"));
    must(kill(child, libc::SIGKILL));
    must(wait(child));
    assert_eq!(wake(word, 10), 0);
}

fn no_wake_is_lost_in_ping_pong() {
    const ROUNDS: u32 = 3_000;
    let word = word();
    let child = spawn(|| {
        for round in 0..ROUNDS {
            while word.load(Ordering::SeqCst) != 2 * round + 1 {
                let _ = futex(word, libc::FUTEX_WAIT, 2 * round);
            }
            word.store(2 * round + 2, Ordering::SeqCst);
            wake(word, 1);
        }
        0
    });
    for round in 0..ROUNDS {
        word.store(2 * round + 1, Ordering::SeqCst);
        wake(word, 1);
        while word.load(Ordering::SeqCst) != 2 * round + 2 {
            let _ = futex(word, libc::FUTEX_WAIT, 2 * round + 1);
        }
    }
    exits(child, 0);
}

fn waitv_wakes_on_either() {
    let (one, two) = (word(), word());
    let child = spawn(|| {
        // struct futex_waitv: val, uaddr, flags (FUTEX2_SIZE_U32), reserved.
        let set = [0u64, Arg::word(one) as u64, 2, 0, Arg::word(two) as u64, 2];
        let limit = timespec_of_ns(now() + 5 * SECOND);
        match call!(SYS_futex_waitv, &set, 2, 0, &limit, libc::CLOCK_MONOTONIC) {
            Ok(index) => index as i32,
            Err(errno) => 100 + errno.0,
        }
    });
    assert!(eventually(5000, || wake(two, 1) == 1));
    exits(child, 1);
}
