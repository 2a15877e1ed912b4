//! What signals do by default, job control, child status and timers (signal(7)).

use super::tests;
use crate::call;
use crate::check::{dies_of, exits, fails, in_child, killed, must, some, within};
use crate::sys::*;

tests!("action":
    resethand_restores_the_default,
    kill_and_stop_cannot_be_blocked_or_caught,
    default_actions_end_the_process,
    default_ignored_signals_do_nothing,
    core_dumping_signals_kill,
    stop_and_continue_from_the_terminal_kind,
    sigcont_discards_pending_stops,
    sigkill_ends_a_stopped_process,
    sigkill_ends_a_blocked_process,
    null_signal_checks_existence,
    permission_to_signal_follows_user_ids,
    permission_is_asked_for_a_zombie_too,
    sigchld_tells_who_ended_and_how,
    sigchld_tells_of_stops_unless_nocldstop,
    alarm_delivers_sigalrm,
    interval_timer_repeats,
    disposition_query_returns_what_was_set,
    ignoring_discards_what_is_pending,
    queue_limit_is_eagain,
    queued_signals_are_counted_per_user,
    queued_signals_stay_with_the_user_they_were_for,
);

fn resethand_restores_the_default() {
    dies_of(libc::SIGUSR1, || {
        must(on_signal(libc::SIGUSR1, record, libc::SA_RESETHAND));
        must(raise(libc::SIGUSR1));
        assert_eq!(seen(), 1);
        let _ = raise(libc::SIGUSR1);
    });
}

fn kill_and_stop_cannot_be_blocked_or_caught() {
    fails(set_disposition(libc::SIGKILL, libc::SIG_IGN), libc::EINVAL);
    fails(set_disposition(libc::SIGSTOP, libc::SIG_IGN), libc::EINVAL);
    must(block(!0));
    let set = must(block(0));
    assert_eq!(set & (bit(libc::SIGKILL) | bit(libc::SIGSTOP)), 0);
    dies_of(libc::SIGKILL, || must(raise(libc::SIGKILL)));
}

fn default_actions_end_the_process() {
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
        libc::SIGPWR,
        libc::SIGSTKFLT,
        34,
        64,
    ] {
        dies_of(signal, || {
            must(set_disposition(signal, libc::SIG_DFL));
            must(raise(signal));
        });
    }
}

fn default_ignored_signals_do_nothing() {
    for signal in [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT] {
        in_child(|| must(raise(signal)));
    }
}

fn core_dumping_signals_kill() {
    for signal in [
        libc::SIGQUIT,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGSEGV,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGSYS,
    ] {
        dies_of(signal, || {
            must(set_disposition(signal, libc::SIG_DFL));
            must(raise(signal));
        });
    }
}

fn pausing_child() -> Pid {
    spawn(|| {
        loop {
            sigsuspend(0);
        }
    })
}

fn stop_and_continue_from_the_terminal_kind() {
    for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        let child = pausing_child();
        // In a group of its own with a parent in another group of the session: not orphaned.
        must(call!(SYS_setpgid, child, child));
        must(kill(child, signal));
        let stop = some(must(wait4(child, libc::WUNTRACED)), "a stop");
        assert_eq!(stop.1, Status::Stopped(signal));
        must(kill(child, libc::SIGCONT));
        assert_eq!(must(wait4(child, libc::WCONTINUED)), Some((child, Status::Continued)));
        must(kill(child, libc::SIGKILL));
        killed(child, libc::SIGKILL);
    }
}

fn sigcont_discards_pending_stops() {
    in_child(|| {
        must(block(bit(libc::SIGTSTP) | bit(libc::SIGCONT)));
        must(kill(getpid(), libc::SIGTSTP));
        assert_eq!(must(pending()), bit(libc::SIGTSTP));
        must(kill(getpid(), libc::SIGCONT));
        assert_eq!(must(pending()) & bit(libc::SIGTSTP), 0);
    });
}

fn sigkill_ends_a_stopped_process() {
    let child = pausing_child();
    must(kill(child, libc::SIGSTOP));
    must(wait4(child, libc::WUNTRACED));
    must(kill(child, libc::SIGTERM));
    assert_eq!(must(wait4(child, libc::WNOHANG)), None, "SIGTERM waits for SIGCONT");
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
}

fn sigkill_ends_a_blocked_process() {
    let (reader, _writer) = must(pipe());
    let child = spawn(|| {
        must(block(!0));
        let _ = read(reader, &mut [0u8; 1]);
        0
    });
    assert!(wait_for_state(child, "S"));
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
}

fn null_signal_checks_existence() {
    let child = pausing_child();
    must(kill(child, 0));
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
    fails(kill(child, 0), libc::ESRCH);
}

fn permission_to_signal_follows_user_ids() {
    let other = pausing_child();
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        fails(kill(other, 0), libc::EPERM);
        fails(kill(other, libc::SIGTERM), libc::EPERM);
        let same = pausing_child();
        must(kill(same, libc::SIGTERM));
        killed(same, libc::SIGTERM);
    });
    must(kill(other, libc::SIGKILL));
    killed(other, libc::SIGKILL);
}

fn permission_is_asked_for_a_zombie_too() {
    let other = spawn(|| 0);
    assert!(wait_for_state(other, "Z"));
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        fails(kill(other, 0), libc::EPERM);
        fails(kill(other, libc::SIGTERM), libc::EPERM);
        let same = spawn(|| 0);
        assert!(wait_for_state(same, "Z"));
        must(kill(same, libc::SIGTERM));
        exits(same, 0);
    });
    must(kill(other, libc::SIGTERM));
    exits(other, 0);
}

fn sigchld_tells_who_ended_and_how() {
    must(block(bit(libc::SIGCHLD)));
    let child = spawn(|| 12);
    let info = must(sigtimedwait(bit(libc::SIGCHLD), Some(5 * SECOND)));
    assert_eq!((info.code, info.pid, info.value as i32), (libc::CLD_EXITED, child, 12));
    exits(child, 12);
    let child = spawn(|| {
        must(kill(getpid(), libc::SIGKILL));
        0
    });
    let info = must(sigtimedwait(bit(libc::SIGCHLD), Some(5 * SECOND)));
    assert_eq!((info.code, info.pid, info.value as i32), (libc::CLD_KILLED, child, libc::SIGKILL));
}

fn sigchld_tells_of_stops_unless_nocldstop() {
    must(block(bit(libc::SIGCHLD)));
    let child = pausing_child();
    must(kill(child, libc::SIGSTOP));
    let info = must(sigtimedwait(bit(libc::SIGCHLD), Some(5 * SECOND)));
    assert_eq!((info.code, info.pid, info.value as i32), (libc::CLD_STOPPED, child, libc::SIGSTOP));
    must(kill(child, libc::SIGCONT));
    let info = must(sigtimedwait(bit(libc::SIGCHLD), Some(5 * SECOND)));
    assert_eq!((info.code, info.value as i32), (libc::CLD_CONTINUED, libc::SIGCONT));
    must(on_signal(libc::SIGCHLD, record, libc::SA_NOCLDSTOP));
    must(kill(child, libc::SIGSTOP));
    must(wait4(child, libc::WUNTRACED));
    fails(sigtimedwait(bit(libc::SIGCHLD), Some(20 * MS)), libc::EAGAIN);
    must(kill(child, libc::SIGKILL));
}

fn alarm_delivers_sigalrm() {
    must(on_signal(libc::SIGALRM, record, 0));
    let start = now();
    alarm_in(40);
    assert_eq!(sigsuspend(0), Errno(libc::EINTR));
    within(now() - start, 40 * MS, 3 * SECOND, "alarm after");
    assert_eq!(last_info().code, 0x80, "SI_KERNEL");
    alarm_in(60_000);
    let mut old = [0u64; 4];
    must(call!(SYS_setitimer, libc::ITIMER_REAL, &[0u64; 4], &mut old));
    within(old[2], 50, 60, "seconds that were left");
}

fn interval_timer_repeats() {
    must(on_signal(libc::SIGALRM, record, 0));
    let timer = [0u64, 10_000, 0, 10_000];
    must(call!(SYS_setitimer, libc::ITIMER_REAL, &timer, 0));
    assert!(eventually(5000, || seen() >= 5), "only {} expirations", seen());
    let mut current = [0u64; 4];
    must(call!(SYS_getitimer, libc::ITIMER_REAL, &mut current));
    assert_eq!(current[1], 10_000);
}

fn disposition_query_returns_what_was_set() {
    must(on_signal_masking(libc::SIGUSR1, record, libc::SA_RESTART | libc::SA_NODEFER, 0xf00));
    let mut action = [0usize; 4];
    must(call!(SYS_rt_sigaction, libc::SIGUSR1, 0, &mut action, 8));
    assert_eq!(action[0], record as *const () as usize);
    let flags = libc::SA_RESTART | libc::SA_NODEFER | libc::SA_SIGINFO;
    assert_eq!(action[1] as i32 & flags, flags);
    assert_eq!(action[3], 0xf00 & !(bit(libc::SIGKILL) as usize));
}

fn ignoring_discards_what_is_pending() {
    must(on_signal(libc::SIGUSR1, record, 0));
    must(block(bit(libc::SIGUSR1)));
    must(kill(getpid(), libc::SIGUSR1));
    must(set_disposition(libc::SIGUSR1, libc::SIG_IGN));
    assert_eq!(must(pending()), 0);
    must(unblock(bit(libc::SIGUSR1)));
}

fn queue_limit_is_eagain() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_SIGPENDING, 4, 4));
        must(call!(SYS_setresuid, 23456, 23456, 23456));
        must(block(bit(40)));
        let sent = (0..10).take_while(|i| sigqueue(getpid(), 40, *i).is_ok()).count();
        assert_eq!(sent, 4);
        fails(sigqueue(getpid(), 40, 9), libc::EAGAIN);
    });
}

/// "queued/limit" of /proc/self/status.
fn queued_and_limit() -> String {
    let text = must(read_text(c"/proc/self/status"));
    some(text.lines().find_map(|line| line.strip_prefix("SigQ:\t")), "SigQ").to_owned()
}

fn queued_signals_are_counted_per_user() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_SIGPENDING, 4, 4));
        must(call!(SYS_setresuid, 23457, 23457, 23457));
        must(block(bit(40) | bit(libc::SIGUSR1)));
        let child = spawn(|| must(call!(SYS_ppoll, 0, 0, 0, 0, 8)) as i32);
        for value in 0..3 {
            must(sigqueue(child, 40, value));
        }
        must(sigqueue(getpid(), 40, 3));
        assert_eq!(queued_and_limit(), "4/4");
        fails(sigqueue(getpid(), 40, 4), libc::EAGAIN);
        fails(sigqueue(child, 40, 4), libc::EAGAIN);
        // A standard signal by kill exceeds the limit, and is queued all the same.
        must(kill(getpid(), libc::SIGUSR1));
        assert_eq!(queued_and_limit(), "5/4");
        let info = must(sigtimedwait(bit(libc::SIGUSR1), Some(SECOND)));
        assert_eq!((info.code, info.pid), (libc::SI_USER, getpid()));
        // What waited for the child goes with it.
        must(kill(child, libc::SIGKILL));
        killed(child, libc::SIGKILL);
        assert_eq!(queued_and_limit(), "1/4");
        let sent = (0..10).take_while(|value| sigqueue(getpid(), 40, *value).is_ok()).count();
        assert_eq!(sent, 3);
    });
}

fn queued_signals_stay_with_the_user_they_were_for() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_SIGPENDING, 4, 4));
        must(block(bit(40)));
        let fill = || (0..10).take_while(|value| sigqueue(getpid(), 40, *value).is_ok()).count();
        for user in [23458, 23459] {
            must(call!(SYS_setresuid, user, 0, 0));
            assert_eq!(queued_and_limit(), "0/4");
            assert_eq!(fill(), 4);
            fails(sigqueue(getpid(), 40, 9), libc::EAGAIN);
        }
        for left in [4, 4, 4, 4, 3] {
            must(sigtimedwait(bit(40), Some(SECOND)));
            assert_eq!(queued_and_limit(), format!("{left}/4"));
        }
    });
}
