//! Signals: generation, masks, delivery, default actions (signal(7)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, must, some, within};
use crate::sys::*;
use core::sync::atomic::{AtomicUsize, Ordering};

tests!("signal":
    handler_receives_siginfo_of_kill,
    handler_receives_siginfo_of_tgkill,
    queued_value_arrives,
    blocked_signal_waits_until_unblocked,
    ordinary_signals_coalesce,
    realtime_signals_queue_in_order,
    lower_realtime_number_is_delivered_first,
    own_signal_is_masked_in_its_handler,
    nodefer_leaves_it_unmasked,
    sa_mask_holds_back_others,
    mask_is_restored_after_the_handler,
    handlers_nest,
    sigsuspend_swaps_the_mask_atomically,
    sigtimedwait_takes_a_pending_signal,
    sigtimedwait_times_out,
    sigtimedwait_wakes_on_arrival,
    eintr_without_sa_restart,
    sa_restart_restarts_a_read,
    nanosleep_is_not_restarted_and_tells_the_rest,
    bad_numbers_are_einval,
    bad_pointers_are_efault,
    works_without_a_restorer,
    process_signal_goes_to_a_thread_that_takes_it,
    thread_directed_signal_stays_with_its_thread,
    a_signal_to_a_group_that_forks_reaches_everybody,
    a_signal_to_all_reaches_who_forks_while_numbers_come_round [30],
);

fn handler_receives_siginfo_of_kill() {
    must(on_signal(libc::SIGUSR1, record, 0));
    must(kill(getpid(), libc::SIGUSR1));
    let info = last_info();
    assert_eq!((seen(), info.signal, info.code), (1, libc::SIGUSR1, libc::SI_USER));
    assert_eq!((info.pid, info.uid), (getpid(), 0));
}

fn handler_receives_siginfo_of_tgkill() {
    must(on_signal(libc::SIGUSR1, record, 0));
    must(raise(libc::SIGUSR1));
    let info = last_info();
    assert_eq!((info.code, info.pid), (libc::SI_TKILL, getpid()));
    fails(call!(SYS_tgkill, getpid(), 1, libc::SIGUSR1), libc::ESRCH);
    fails(call!(SYS_tgkill, 0, gettid(), libc::SIGUSR1), libc::EINVAL);
}

fn queued_value_arrives() {
    must(on_signal(libc::SIGUSR1, record, 0));
    must(sigqueue(getpid(), libc::SIGUSR1, 0xfeed_f00d_1234));
    let info = last_info();
    assert_eq!((info.code, info.value), (libc::SI_QUEUE, 0xfeed_f00d_1234));
}

fn blocked_signal_waits_until_unblocked() {
    must(on_signal(libc::SIGUSR1, record, 0));
    must(block(bit(libc::SIGUSR1)));
    must(kill(getpid(), libc::SIGUSR1));
    assert_eq!((seen(), must(pending())), (0, bit(libc::SIGUSR1)));
    must(unblock(bit(libc::SIGUSR1)));
    assert_eq!((seen(), must(pending())), (1, 0));
}

fn ordinary_signals_coalesce() {
    must(on_signal(libc::SIGUSR1, record, 0));
    must(block(bit(libc::SIGUSR1)));
    (0..5).for_each(|_| must(kill(getpid(), libc::SIGUSR1)));
    must(unblock(bit(libc::SIGUSR1)));
    assert_eq!(seen(), 1);
}

fn realtime_signals_queue_in_order() {
    must(block(bit(40)));
    (0..5).for_each(|i| must(sigqueue(getpid(), 40, i)));
    for i in 0..5 {
        assert_eq!(must(sigtimedwait(bit(40), Some(0))).value, i);
    }
    fails(sigtimedwait(bit(40), Some(0)), libc::EAGAIN);
}

fn lower_realtime_number_is_delivered_first() {
    let set = bit(40) | bit(35) | bit(libc::SIGTERM);
    must(block(set));
    for signal in [40, 35, libc::SIGTERM] {
        must(sigqueue(getpid(), signal, 0));
    }
    let order: Vec<i32> = (0..3).map(|_| must(sigtimedwait(set, Some(0))).signal).collect();
    assert_eq!(order, [libc::SIGTERM, 35, 40]);
}

static DEPTH: AtomicUsize = AtomicUsize::new(0);
static DEEPEST: AtomicUsize = AtomicUsize::new(0);
static ORDER: AtomicUsize = AtomicUsize::new(0);

/// Raises its own signal again, twice, and notes how deep the calls nest.
extern "C" fn reraise(signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let depth = DEPTH.fetch_add(1, Ordering::SeqCst) + 1;
    DEEPEST.fetch_max(depth, Ordering::SeqCst);
    if SEEN.fetch_add(1, Ordering::SeqCst) < 2 {
        let _ = raise(signal);
    }
    DEPTH.fetch_sub(1, Ordering::SeqCst);
}

fn own_signal_is_masked_in_its_handler() {
    must(on_signal(libc::SIGUSR1, reraise, 0));
    must(raise(libc::SIGUSR1));
    assert_eq!((seen(), DEEPEST.load(Ordering::SeqCst)), (3, 1));
}

fn nodefer_leaves_it_unmasked() {
    must(on_signal(libc::SIGUSR1, reraise, libc::SA_NODEFER));
    must(raise(libc::SIGUSR1));
    assert_eq!((seen(), DEEPEST.load(Ordering::SeqCst)), (3, 3));
}

/// Raises SIGUSR2 within SIGUSR1's handler; ORDER grows by a digit at each step.
extern "C" fn outer(signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let note = |digit| ORDER.store(ORDER.load(Ordering::SeqCst) * 10 + digit, Ordering::SeqCst);
    if signal == libc::SIGUSR1 {
        note(1);
        let _ = raise(libc::SIGUSR2);
        note(3);
    } else {
        note(2);
    }
}

fn sa_mask_holds_back_others() {
    must(on_signal_masking(libc::SIGUSR1, outer, 0, bit(libc::SIGUSR2)));
    must(on_signal(libc::SIGUSR2, outer, 0));
    must(raise(libc::SIGUSR1));
    assert_eq!(ORDER.load(Ordering::SeqCst), 132);
}

fn handlers_nest() {
    must(on_signal(libc::SIGUSR1, outer, 0));
    must(on_signal(libc::SIGUSR2, outer, 0));
    must(raise(libc::SIGUSR1));
    assert_eq!(ORDER.load(Ordering::SeqCst), 123);
}

fn mask_is_restored_after_the_handler() {
    must(on_signal_masking(libc::SIGUSR1, record, 0, !0));
    let before = must(block(bit(libc::SIGHUP))) | bit(libc::SIGHUP);
    must(raise(libc::SIGUSR1));
    assert_eq!(must(block(0)), before);
}

fn sigsuspend_swaps_the_mask_atomically() {
    must(on_signal(libc::SIGUSR1, record, 0));
    must(block(bit(libc::SIGUSR1)));
    let parent = getpid();
    let child = spawn(|| {
        sleep_ms(30);
        must(kill(parent, libc::SIGUSR1));
        0
    });
    assert_eq!(sigsuspend(0), Errno(libc::EINTR));
    assert_eq!(seen(), 1);
    assert!(must(block(0)) & bit(libc::SIGUSR1) != 0, "the old mask is back");
    exits(child, 0);
}

fn sigtimedwait_takes_a_pending_signal() {
    must(block(bit(libc::SIGUSR1)));
    must(kill(getpid(), libc::SIGUSR1));
    let info = must(sigtimedwait(bit(libc::SIGUSR1), None));
    assert_eq!((info.signal, info.pid), (libc::SIGUSR1, getpid()));
    assert_eq!(must(pending()), 0);
}

fn sigtimedwait_times_out() {
    must(block(bit(libc::SIGUSR1)));
    let start = now();
    fails(sigtimedwait(bit(libc::SIGUSR1), Some(30 * MS)), libc::EAGAIN);
    within(now() - start, 30 * MS, 3 * SECOND, "waited");
}

fn sigtimedwait_wakes_on_arrival() {
    must(block(bit(libc::SIGUSR1)));
    let parent = getpid();
    let child = spawn(|| {
        sleep_ms(30);
        must(sigqueue(parent, libc::SIGUSR1, 77));
        0
    });
    let info = must(sigtimedwait(bit(libc::SIGUSR1), Some(5 * SECOND)));
    assert_eq!((info.pid, info.value), (child, 77));
    exits(child, 0);
}

fn eintr_without_sa_restart() {
    must(on_signal(libc::SIGALRM, record, 0));
    let (reader, _writer) = must(pipe());
    alarm_in(30);
    fails(read(reader, &mut [0u8; 1]), libc::EINTR);
}

fn sa_restart_restarts_a_read() {
    must(on_signal(libc::SIGALRM, record, libc::SA_RESTART));
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        sleep_ms(200);
        must(write(writer, b"x"));
        0
    });
    alarm_in(30);
    assert_eq!(must(read(reader, &mut [0u8; 1])), 1);
    assert_eq!(seen(), 1);
    exits(child, 0);
}

fn nanosleep_is_not_restarted_and_tells_the_rest() {
    must(on_signal(libc::SIGALRM, record, libc::SA_RESTART));
    alarm_in(30);
    let (errno, rest) = some(nanosleep(5 * SECOND).err(), "an interruption");
    assert_eq!(errno, Errno(libc::EINTR));
    within(rest, 2 * SECOND, 5 * SECOND - 25 * MS, "nanoseconds left");
}

fn bad_numbers_are_einval() {
    fails(kill(getpid(), 65), libc::EINVAL);
    fails(kill(getpid(), -1), libc::EINVAL);
    fails(set_disposition(65, 0), libc::EINVAL);
    fails(set_disposition(0, 0), libc::EINVAL);
    fails(mask(77, 0), libc::EINVAL);
    fails(call!(SYS_rt_sigprocmask, 0, 0, 0, 4), libc::EINVAL);
    fails(kill(1 << 22, 0), libc::ESRCH);
}

fn bad_pointers_are_efault() {
    fails(call!(SYS_rt_sigaction, libc::SIGUSR1, 8, 0, 8), libc::EFAULT);
    fails(call!(SYS_rt_sigaction, libc::SIGUSR1, 0, 8, 8), libc::EFAULT);
    fails(call!(SYS_rt_sigprocmask, 0, 8, 0, 8), libc::EFAULT);
    fails(call!(SYS_rt_sigpending, 8, 8), libc::EFAULT);
    fails(call!(SYS_sigaltstack, 8, 0), libc::EFAULT);
}

fn works_without_a_restorer() {
    let action = [record as *const () as usize, libc::SA_SIGINFO as usize, 0, 0];
    must(call!(SYS_rt_sigaction, libc::SIGUSR1, &action, 0, 8));
    must(raise(libc::SIGUSR1));
    assert_eq!(seen(), 1);
}

static TAKER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn note_thread(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    TAKER.store(gettid() as usize, Ordering::SeqCst);
    SEEN.fetch_add(1, Ordering::SeqCst);
}

fn process_signal_goes_to_a_thread_that_takes_it() {
    must(on_signal(libc::SIGUSR1, note_thread, 0));
    let tid = std::sync::Arc::new(AtomicUsize::new(0));
    let shared = tid.clone();
    std::thread::spawn(move || {
        shared.store(gettid() as usize, Ordering::SeqCst);
        loop {
            sigsuspend(0);
        }
    });
    must(block(bit(libc::SIGUSR1)));
    assert!(eventually(5000, || tid.load(Ordering::SeqCst) != 0));
    must(kill(getpid(), libc::SIGUSR1));
    assert!(eventually(5000, || seen() == 1), "nobody took it");
    assert_eq!(TAKER.load(Ordering::SeqCst), tid.load(Ordering::SeqCst));
}

fn thread_directed_signal_stays_with_its_thread() {
    must(on_signal(libc::SIGUSR1, note_thread, 0));
    std::thread::spawn(|| {
        loop {
            sigsuspend(0);
        }
    });
    must(block(bit(libc::SIGUSR1)));
    must(raise(libc::SIGUSR1));
    sleep_ms(20);
    assert_eq!(seen(), 0, "another thread took it");
    must(unblock(bit(libc::SIGUSR1)));
    assert_eq!(TAKER.load(Ordering::SeqCst), gettid() as usize);
}

fn a_signal_to_a_group_that_forks_reaches_everybody() {
    must(call!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    for round in 0..40 {
        let leader = spawn(|| {
            must(call!(SYS_setpgid, 0, 0));
            // Each one that ends leaves one behind, so that always somebody is in the middle of a fork.
            while must(fork()).is_none() {}
            0
        });
        while kill(-leader, 0).is_err() {
            must(call!(SYS_sched_yield));
        }
        sleep_ms(round % 4);
        must(kill(-leader, libc::SIGKILL));
        let end = now() + 5 * SECOND;
        while kill(-leader, 0).is_ok() {
            assert!(now() < end, "somebody escaped");
            while let Ok(Some(_)) = wait4(-1, libc::WNOHANG) {}
        }
    }
}

fn a_signal_to_all_reaches_who_forks_while_numbers_come_round() {
    /// Nobody else is of this user, so it can signal these alone.
    const USER: u32 = 4242;
    let of_the_user = |body: &dyn Fn()| loop {
        match fork() {
            Ok(Some(_)) => break,
            Ok(None) => {
                must(call!(SYS_setresuid, USER, USER, USER));
                body();
                exit(0);
            }
            // All numbers are in use.
            Err(_) => drop(must(call!(SYS_sched_yield))),
        }
    };
    must(call!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    must(set_disposition(libc::SIGCHLD, libc::SIG_IGN));
    let escape = with_pid_max(500, || {
        (0..20).find(|_| {
            let (reader, writer) = must(pipe());
            for _ in 0..20 {
                of_the_user(&|| {
                    must(write(writer, b"x"));
                    // Each one that ends leaves one behind.
                    while fork() == Ok(None) {}
                });
                must(read(reader, &mut [0u8; 1]));
            }
            of_the_user(&|| must(kill(-1, libc::SIGKILL)));
            must(close(writer));
            must(poll(&[(reader, libc::POLLIN)], 5000)) != [libc::POLLHUP]
        })
    });
    assert_eq!(must(escape), None, "in this round somebody escaped");
}
