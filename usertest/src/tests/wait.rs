//! Ends of processes and what parents learn of them (wait(2), _exit(2)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, killed, must, some, within};
use crate::sys::*;

tests!("wait":
    exit_status_is_the_low_eight_bits,
    signal_death_reports_the_signal,
    without_children_is_echild,
    of_a_stranger_is_echild,
    nohang_returns_zero_while_the_child_runs,
    any_child_takes_each_child_once,
    zombie_shows_state_z_until_reaped,
    zombie_can_still_be_signalled,
    untraced_reports_a_stop_once,
    continued_reports_sigcont,
    stop_that_is_cut_short_is_a_continuation,
    waitid_fills_in_siginfo,
    waitid_nowait_leaves_the_child_waitable,
    waitid_by_pidfd,
    waitid_by_a_pidfd_that_does_not_block_is_eagain,
    waitid_by_pidfd_means_the_process_not_its_number,
    by_process_group_takes_members_only,
    ignored_sigchld_reaps_by_itself,
    nocldwait_reaps_by_itself,
    status_pointer_may_be_null,
    bad_status_pointer_is_efault,
    bad_options_are_einval,
    rusage_of_the_child_is_reported,
    orphan_is_reparented_to_the_subreaper,
    many_children_are_all_reaped,
    blocked_wait_is_interrupted_by_a_handler,
    blocked_wait_restarts_with_sa_restart,
    threads_may_wait_for_each_others_children,
    exit_closes_descriptors,
);

fn exit_status_is_the_low_eight_bits() {
    exits(spawn(|| 7), 7);
    exits(spawn(|| 0x1234), 0x34);
    exits(spawn(|| -1), 255);
}

fn signal_death_reports_the_signal() {
    killed(
        spawn(|| {
            let _ = kill(getpid(), libc::SIGKILL);
            0
        }),
        libc::SIGKILL,
    );
    killed(
        spawn(|| {
            let _ = kill(getpid(), libc::SIGTERM);
            0
        }),
        libc::SIGTERM,
    );
}

fn without_children_is_echild() {
    fails(wait4(-1, 0), libc::ECHILD);
    fails(wait4(-1, libc::WNOHANG), libc::ECHILD);
}

fn of_a_stranger_is_echild() {
    let child = spawn(|| {
        sleep_ms(1000);
        0
    });
    fails(wait4(getppid(), 0), libc::ECHILD);
    fails(wait4(getpid(), 0), libc::ECHILD);
    must(kill(child, libc::SIGKILL));
}

fn nohang_returns_zero_while_the_child_runs() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| must(read(reader, &mut [0u8; 1])) as i32);
    assert_eq!(must(wait4(child, libc::WNOHANG)), None);
    must(write(writer, b"x"));
    exits(child, 1);
}

fn any_child_takes_each_child_once() {
    let mut expected: Vec<Pid> = (0..5).map(|code| spawn(|| code)).collect();
    while !expected.is_empty() {
        let (pid, _) = some(must(wait4(-1, 0)), "a child");
        let before = expected.len();
        expected.retain(|other| *other != pid);
        assert_eq!(expected.len(), before - 1, "{pid} was reported twice or is no child");
    }
    fails(wait4(-1, 0), libc::ECHILD);
}

fn zombie_shows_state_z_until_reaped() {
    let child = spawn(|| 3);
    assert!(wait_for_state(child, "Z"), "no zombie appears");
    exits(child, 3);
    assert_eq!(proc_stat(child, 3), None);
}

fn zombie_can_still_be_signalled() {
    let child = spawn(|| 3);
    assert!(wait_for_state(child, "Z"));
    must(kill(child, libc::SIGKILL));
    exits(child, 3);
    fails(kill(child, 0), libc::ESRCH);
}

fn pausing_child() -> Pid {
    spawn(|| {
        loop {
            sigsuspend(0);
        }
    })
}

fn untraced_reports_a_stop_once() {
    let child = pausing_child();
    must(kill(child, libc::SIGSTOP));
    let (_, status) = some(must(wait4(child, libc::WUNTRACED)), "the stop");
    assert_eq!(status, Status::Stopped(libc::SIGSTOP));
    assert_eq!(must(wait4(child, libc::WUNTRACED | libc::WNOHANG)), None);
    assert_eq!(proc_stat(child, 3).as_deref(), Some("T"));
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
}

fn continued_reports_sigcont() {
    let child = pausing_child();
    must(kill(child, libc::SIGSTOP));
    must(wait4(child, libc::WUNTRACED));
    must(kill(child, libc::SIGCONT));
    let (_, status) = some(must(wait4(child, libc::WCONTINUED)), "the continuation");
    assert_eq!(status, Status::Continued);
    assert_eq!(must(wait4(child, libc::WCONTINUED | libc::WNOHANG)), None);
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
}

fn waitid(which: u32, id: i32, options: i32) -> Result<Info> {
    let mut words = [0u64; 16];
    call!(SYS_waitid, which, id, &mut words, options, 0)?;
    Ok(Info::from_words(&words))
}

fn stop_that_is_cut_short_is_a_continuation() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        std::thread::spawn(move || {
            // Waits for its child in a way that no stop ends, so that the process never stops as a whole.
            match must(call!(SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0)) {
                0 => exit(i32::from(read(reader, &mut [0]) != Ok(1))),
                _ => loop {
                    sigsuspend(0);
                },
            }
        });
        loop {
            sigsuspend(0);
        }
    });
    sleep_ms(100);
    must(kill(child, libc::SIGSTOP));
    sleep_ms(100);
    assert_eq!(must(wait4(child, libc::WUNTRACED | libc::WNOHANG)), None, "stopped as a whole");
    must(kill(child, libc::SIGCONT));
    assert_eq!(must(wait4(child, libc::WUNTRACED | libc::WCONTINUED)), Some((child, Status::Continued)));
    assert_eq!(must(wait4(child, libc::WUNTRACED | libc::WCONTINUED | libc::WNOHANG)), None);
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
    must(write(writer, b"x"));
}

fn waitid_fills_in_siginfo() {
    let child = spawn(|| 42);
    let info = must(waitid(libc::P_PID, child, libc::WEXITED));
    assert_eq!((info.signal, info.code), (libc::SIGCHLD, libc::CLD_EXITED));
    assert_eq!((info.pid, info.value as i32), (child, 42));
    let child = pausing_child();
    must(kill(child, libc::SIGSTOP));
    let info = must(waitid(libc::P_PID, child, libc::WSTOPPED));
    assert_eq!((info.code, info.value as i32), (libc::CLD_STOPPED, libc::SIGSTOP));
    must(kill(child, libc::SIGKILL));
    let info = must(waitid(libc::P_ALL, 0, libc::WEXITED));
    assert_eq!((info.code, info.value as i32), (libc::CLD_KILLED, libc::SIGKILL));
}

fn waitid_nowait_leaves_the_child_waitable() {
    let child = spawn(|| 9);
    let info = must(waitid(libc::P_PID, child, libc::WEXITED | libc::WNOWAIT));
    assert_eq!(info.value as i32, 9);
    exits(child, 9);
    fails(waitid(libc::P_PID, child, libc::WEXITED), libc::ECHILD);
    fails(waitid(libc::P_PID, child, 0), libc::EINVAL);
}

fn waitid_by_pidfd() {
    let child = spawn(|| {
        sleep_ms(50);
        11
    });
    let pidfd = must(call!(SYS_pidfd_open, child, 0)) as Fd;
    assert_eq!(must(poll(&[(pidfd, libc::POLLIN)], 0)), [0]);
    assert_eq!(must(poll(&[(pidfd, libc::POLLIN)], 5000)), [libc::POLLIN]);
    let info = must(waitid(libc::P_PIDFD, pidfd, libc::WEXITED));
    assert_eq!((info.pid, info.value as i32), (child, 11));
}

fn waitid_by_a_pidfd_that_does_not_block_is_eagain() {
    let child = pausing_child();
    let pidfd = must(call!(SYS_pidfd_open, child, libc::O_NONBLOCK)) as Fd;
    fails(waitid(libc::P_PIDFD, pidfd, libc::WEXITED), libc::EAGAIN);
    assert_eq!(must(waitid(libc::P_PIDFD, pidfd, libc::WEXITED | libc::WNOHANG)).signal, 0);
    must(kill(child, libc::SIGKILL));
    assert_eq!(must(poll(&[(pidfd, libc::POLLIN)], 5000)), [libc::POLLIN]);
    assert_eq!(must(waitid(libc::P_PIDFD, pidfd, libc::WEXITED)).pid, child);
    fails(waitid(libc::P_PIDFD, pidfd, libc::WEXITED), libc::ECHILD);
    fails(waitid(libc::P_PIDFD, -1, libc::WEXITED), libc::EINVAL);
}

fn waitid_by_pidfd_means_the_process_not_its_number() {
    let (pidfd, namesake) = must(with_pid_max(400, || {
        // The lowest numbers are given out only once.
        let first = children_until(|child| child >= 300);
        let pidfd = must(call!(SYS_pidfd_open, first, 0)) as Fd;
        exits(first, 2);
        (pidfd, children_until(|child| child == first))
    }));
    fails(waitid(libc::P_PIDFD, pidfd, libc::WEXITED), libc::ECHILD);
    exits(namesake, 2);
}

/// Begins children, of which each ends with 2, until one has a number that `fits`; the others are waited for.
fn children_until(fits: impl Fn(Pid) -> bool) -> Pid {
    for _ in 0..1000 {
        let child = spawn(|| 2);
        if fits(child) {
            return child;
        }
        exits(child, 2);
    }
    panic!("no child has such a number");
}

fn by_process_group_takes_members_only() {
    let own = spawn(|| 1);
    let other = spawn(|| {
        sleep_ms(20);
        2
    });
    must(call!(SYS_setpgid, other, other));
    assert_eq!(must(wait4(-other, 0)), Some((other, Status::Exited(2))));
    fails(wait4(-other, 0), libc::ECHILD);
    assert_eq!(must(wait4(0, 0)), Some((own, Status::Exited(1))));
}

fn ignored_sigchld_reaps_by_itself() {
    must(set_disposition(libc::SIGCHLD, libc::SIG_IGN));
    let child = spawn(|| 5);
    fails(wait4(child, 0), libc::ECHILD);
    assert!(eventually(5000, || kill(child, 0) == Err(Errno(libc::ESRCH))), "it is still there");
}

fn nocldwait_reaps_by_itself() {
    must(on_signal(libc::SIGCHLD, record, libc::SA_NOCLDWAIT));
    let child = spawn(|| 5);
    loop {
        match wait4(child, 0) {
            Err(Errno(libc::EINTR)) => {}
            other => break fails(other, libc::ECHILD),
        }
    }
    assert_eq!(seen(), 1, "SIGCHLD is still sent");
}

fn status_pointer_may_be_null() {
    let child = spawn(|| 5);
    assert_eq!(must(call!(SYS_wait4, child, 0, 0, 0)) as Pid, child);
}

fn bad_status_pointer_is_efault() {
    let child = spawn(|| 5);
    assert!(wait_for_state(child, "Z"));
    fails(call!(SYS_wait4, child, 8, 0, 0), libc::EFAULT);
}

fn bad_options_are_einval() {
    fails(wait4(-1, 0x100), libc::EINVAL);
}

fn rusage_of_the_child_is_reported() {
    let child = spawn(|| {
        work_ms(50);
        0
    });
    let mut usage = [0u64; 18];
    must(call!(SYS_wait4, child, 0, 0, &mut usage));
    let micros = usage[0] * 1_000_000 + usage[1] + usage[2] * 1_000_000 + usage[3];
    within(micros, 1_000, 10_000_000, "microseconds of processor time");
    let mut all = [0u64; 18];
    must(call!(SYS_getrusage, libc::RUSAGE_CHILDREN, &mut all));
    assert!(all[0] * 1_000_000 + all[1] + all[2] * 1_000_000 + all[3] >= micros);
}

fn orphan_is_reparented_to_the_subreaper() {
    must(call!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    let (reader, writer) = must(pipe());
    let middle = spawn(|| {
        let grandchild = spawn(|| {
            assert!(eventually(5000, || getppid() == must(call!(SYS_getpgid, 0)) as Pid), "not adopted");
            33
        });
        must(write(writer, &grandchild.to_ne_bytes()));
        0
    });
    exits(middle, 0);
    let mut id = [0u8; 4];
    must(read(reader, &mut id));
    exits(Pid::from_ne_bytes(id), 33);
}

fn many_children_are_all_reaped() {
    let children: Vec<Pid> = (0..200).map(|i| spawn(move || i % 100)).collect();
    for (i, child) in children.into_iter().enumerate() {
        exits(child, i as i32 % 100);
    }
    fails(wait4(-1, 0), libc::ECHILD);
}

fn blocked_wait_is_interrupted_by_a_handler() {
    must(on_signal(libc::SIGALRM, record, 0));
    let child = pausing_child();
    alarm_in(30);
    fails(wait4(child, 0), libc::EINTR);
    must(kill(child, libc::SIGKILL));
}

fn blocked_wait_restarts_with_sa_restart() {
    must(on_signal(libc::SIGALRM, record, libc::SA_RESTART));
    let child = spawn(|| {
        sleep_ms(200);
        6
    });
    alarm_in(30);
    assert_eq!(must(wait4(child, 0)), Some((child, Status::Exited(6))));
    assert_eq!(seen(), 1);
}

fn threads_may_wait_for_each_others_children() {
    in_child(|| {
        let child = spawn(|| 4);
        let thread = std::thread::spawn(move || wait(child));
        assert_eq!(thread.join().ok(), Some(Ok(Status::Exited(4))));
    });
}

fn exit_closes_descriptors() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| 0);
    must(close(writer));
    assert_eq!(must(read(reader, &mut [0u8; 1])), 0);
    exits(child, 0);
}
