//! Threads of one process: birth, end, and what the process makes of them.

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, killed, must, some};
use crate::helper::exec_self;
use crate::sys::*;
use core::sync::atomic::Ordering;

tests!("thread":
    create_and_join_a_thousand,
    ids_differ_and_group_id_is_shared,
    each_has_its_own_locals,
    exit_of_one_leaves_the_others,
    first_thread_may_leave_first,
    exit_status_is_that_of_the_group_call,
    sigchld_comes_once_when_the_last_of_a_hundred_is_gone,
    exit_group_ends_blocked_threads,
    fatal_signal_ends_all,
    stop_signal_stops_all,
    clear_child_tid_is_cleared_and_woken,
    task_directory_lists_them,
    names_are_their_own,
    descriptors_are_shared,
    directory_is_shared,
    credentials_are_per_thread_to_the_kernel,
    blocked_reader_does_not_stop_others,
    exec_waits_for_nobody_blocked,
);

fn create_and_join_a_thousand() {
    let total: usize = (0..1000).filter_map(|i| std::thread::spawn(move || i).join().ok()).sum();
    assert_eq!(total, 499_500);
}

fn ids_differ_and_group_id_is_shared() {
    let pid = getpid();
    let handles: Vec<_> = (0..10).map(|_| std::thread::spawn(|| (getpid(), gettid(), getppid()))).collect();
    let mut tids = vec![gettid()];
    for handle in handles {
        let (other_pid, tid, parent) = some(handle.join().ok(), "result");
        assert_eq!((other_pid, parent), (pid, getppid()));
        tids.push(tid);
    }
    tids.sort();
    tids.dedup();
    assert!(tids.len() > 1 && tids.contains(&pid));
}

thread_local! {
    static LOCAL: std::cell::Cell<usize> = const { std::cell::Cell::new(5) };
}

fn each_has_its_own_locals() {
    LOCAL.set(1);
    let handles: Vec<_> = (0..50)
        .map(|i| {
            std::thread::spawn(move || {
                let fresh = LOCAL.get() == 5;
                LOCAL.set(i);
                let _ = call!(SYS_sched_yield);
                fresh && LOCAL.get() == i
            })
        })
        .collect();
    assert!(handles.into_iter().all(|handle| handle.join().ok() == Some(true)));
    assert_eq!(LOCAL.get(), 1);
}

fn exit_of_one_leaves_the_others() {
    let child = spawn(|| {
        std::thread::spawn(|| exit_thread(9));
        sleep_ms(50);
        4
    });
    exits(child, 4);
}

fn first_thread_may_leave_first() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        std::thread::spawn(move || {
            let leader = getpid();
            assert!(wait_for_state(leader, "Z"), "the leader is no zombie");
            must(write(writer, b"still here"));
            exit(6);
        });
        exit_thread(1)
    });
    must(close(writer));
    assert_eq!(must(read_to_end(reader)), b"still here");
    exits(child, 6);
}

fn exit_status_is_that_of_the_group_call() {
    let child = spawn(|| {
        std::thread::spawn(|| exit(33));
        loop {
            sigsuspend(0);
        }
    });
    exits(child, 33);
    // If all leave one by one, the status is that of the last.
    let child = spawn(|| {
        std::thread::spawn(|| {
            sleep_ms(30);
            exit_thread(2)
        });
        exit_thread(8)
    });
    exits(child, 2);
}

fn sigchld_comes_once_when_the_last_of_a_hundred_is_gone() {
    must(block(bit(libc::SIGCHLD)));
    must(on_signal(libc::SIGCHLD, record, 0));
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        must(close(writer));
        for i in 0..99u64 {
            std::thread::spawn(move || {
                let _ = read(reader, &mut [0u8; 1]);
                sleep_ms(i % 7);
                exit_thread(1)
            });
        }
        exit_thread(0)
    });
    must(close(reader));
    assert!(wait_for_state(child, "Z"));
    fails(sigtimedwait(bit(libc::SIGCHLD), Some(50 * MS)), libc::EAGAIN);
    assert_eq!(must(wait4(child, libc::WNOHANG)), None, "waited for before the last thread ended");
    must(close(writer));
    let info = must(sigtimedwait(bit(libc::SIGCHLD), Some(5 * SECOND)));
    assert_eq!((info.code, info.pid), (libc::CLD_EXITED, child));
    fails(sigtimedwait(bit(libc::SIGCHLD), Some(50 * MS)), libc::EAGAIN);
    exits(child, 1);
}

fn exit_group_ends_blocked_threads() {
    let child = spawn(|| {
        let (reader, _writer) = must(pipe());
        for _ in 0..10 {
            std::thread::spawn(move || read(reader, &mut [0u8; 1]));
        }
        std::thread::spawn(|| {
            loop {
                core::hint::spin_loop();
            }
        });
        sleep_ms(10);
        5
    });
    exits(child, 5);
}

fn fatal_signal_ends_all() {
    let child = spawn(|| {
        for _ in 0..5 {
            std::thread::spawn(|| {
                loop {
                    sigsuspend(0);
                }
            });
        }
        std::thread::spawn(|| raise(libc::SIGTERM));
        loop {
            sigsuspend(0);
        }
    });
    killed(child, libc::SIGTERM);
}

fn stop_signal_stops_all() {
    let at = must(shared(PAGE));
    let child = spawn(|| {
        for _ in 0..2 {
            std::thread::spawn(move || {
                loop {
                    atomic_at(at).fetch_add(1, Ordering::Relaxed);
                    sleep_ms(1);
                }
            });
        }
        loop {
            sigsuspend(0);
        }
    });
    assert!(eventually(5000, || atomic_at(at).load(Ordering::Relaxed) > 10));
    must(kill(child, libc::SIGSTOP));
    must(wait4(child, libc::WUNTRACED));
    let frozen = atomic_at(at).load(Ordering::Relaxed);
    sleep_ms(50);
    assert_eq!(atomic_at(at).load(Ordering::Relaxed), frozen, "a thread runs on");
    must(kill(child, libc::SIGCONT));
    assert!(eventually(5000, || atomic_at(at).load(Ordering::Relaxed) > frozen + 10));
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
}

fn clear_child_tid_is_cleared_and_woken() {
    let at = must(shared(PAGE));
    let word = atomic_at(at);
    word.store(77, Ordering::SeqCst);
    let child = spawn(|| {
        // The address is used if another process shares the memory: a thread of ours.
        std::thread::spawn(move || {
            must(call!(SYS_set_tid_address, at));
            sleep_ms(30);
            exit_thread(0)
        });
        let limit = timespec_of_ns(5 * SECOND);
        while word.load(Ordering::SeqCst) == 77 {
            let _ = call!(SYS_futex, at, libc::FUTEX_WAIT, 77, &limit);
        }
        word.load(Ordering::SeqCst) as i32
    });
    exits(child, 0);
}

fn task_directory_lists_them() {
    for _ in 0..5 {
        std::thread::spawn(|| sleep_ms(5000));
    }
    let tasks = must(list(c"/proc/self/task"));
    assert_eq!(tasks.len(), 6);
    assert!(tasks.contains(&getpid().to_string()));
    let status = must(read_text(c"/proc/self/status"));
    assert!(status.lines().any(|line| line == "Threads:\t6"), "{status}");
}

fn names_are_their_own() {
    must(call!(SYS_prctl, libc::PR_SET_NAME, c"first", 0, 0, 0));
    let handle = std::thread::spawn(|| {
        must(call!(SYS_prctl, libc::PR_SET_NAME, c"second", 0, 0, 0));
        let path = std::ffi::CString::new(format!("/proc/self/task/{}/comm", gettid())).unwrap_or_default();
        must(read_text(&path))
    });
    assert_eq!(handle.join().ok().as_deref(), Some("second\n"));
    assert_eq!(must(read_text(c"/proc/self/comm")), "first\n");
}

fn descriptors_are_shared() {
    let fd = std::thread::spawn(|| must(scratch_file(c"file", 5))).join().unwrap_or(-1);
    assert_eq!(must(fstat(fd)).st_size, 5);
    let _ = std::thread::spawn(move || close(fd)).join();
    fails(fcntl(fd, libc::F_GETFD, 0), libc::EBADF);
}

fn directory_is_shared() {
    must(mkdir(c"sub", 0o755));
    let _ = std::thread::spawn(|| chdir(c"sub")).join();
    let link = must(readlink(c"/proc/self/cwd"));
    assert!(link.ends_with(b"/sub"));
}

fn credentials_are_per_thread_to_the_kernel() {
    in_child(|| {
        let other = std::thread::spawn(|| {
            must(call!(SYS_setresuid, 777, 777, 777));
            must(call!(SYS_getuid))
        });
        assert_eq!(other.join().ok(), Some(777));
        assert_eq!(must(call!(SYS_getuid)), 0);
    });
}

fn blocked_reader_does_not_stop_others() {
    let (reader, writer) = must(pipe());
    let handle = std::thread::spawn(move || read(reader, &mut [0u8; 4]));
    sleep_ms(10);
    must(write(writer, b"wake"));
    assert_eq!(handle.join().ok(), Some(Ok(4)));
}

fn exec_waits_for_nobody_blocked() {
    let child = spawn(|| {
        let (reader, _writer) = must(pipe());
        for _ in 0..5 {
            std::thread::spawn(move || read(reader, &mut [0u8; 1]));
        }
        sleep_ms(10);
        exec_self(&["exit", "12"])
    });
    exits(child, 12);
}
