//! Locks on files: records, open file descriptions, flock (fcntl_locking(2), flock(2)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, must};
use crate::sys::*;
use libc::{O_RDONLY, O_RDWR};

tests!("lock":
    record_locks_conflict_between_processes,
    record_locks_split_and_end_with_the_process,
    blocking_record_lock_waits,
    record_lock_deadlock_is_edeadlk,
    a_lock_set_while_its_descriptor_is_closed_does_not_stay,
    open_file_locks_belong_to_the_description,
    flock_excludes_and_is_shared_by_dup,
);

fn lock(fd: Fd, command: i32, kind: i32, start: i64, length: i64) -> Result<libc::flock> {
    let mut lock = zeroed::<libc::flock>();
    lock.l_type = kind as i16;
    lock.l_start = start;
    lock.l_len = length;
    fcntl(fd, command, Arg::word(&mut lock))?;
    Ok(lock)
}

fn record_locks_conflict_between_processes() {
    let fd = must(scratch_file(c"file", 100));
    must(lock(fd, libc::F_SETLK, libc::F_WRLCK, 10, 10));
    let parent = getpid();
    in_child(|| {
        fails(lock(fd, libc::F_SETLK, libc::F_RDLCK, 15, 1), libc::EAGAIN);
        must(lock(fd, libc::F_SETLK, libc::F_WRLCK, 20, 10));
        let found = must(lock(fd, libc::F_GETLK, libc::F_WRLCK, 0, 0));
        assert_eq!((i32::from(found.l_type), found.l_start, found.l_len, found.l_pid), (libc::F_WRLCK, 10, 10, parent));
    });
    let free = must(lock(fd, libc::F_GETLK, libc::F_WRLCK, 0, 0));
    assert_eq!(i32::from(free.l_type), libc::F_UNLCK, "a process's own locks and those of the dead do not count");
}

fn record_locks_split_and_end_with_the_process() {
    let fd = must(scratch_file(c"file", 100));
    must(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 30));
    must(lock(fd, libc::F_SETLK, libc::F_UNLCK, 10, 10));
    in_child(|| {
        fails(lock(fd, libc::F_SETLK, libc::F_RDLCK, 0, 5), libc::EAGAIN);
        must(lock(fd, libc::F_SETLK, libc::F_RDLCK, 10, 10));
        fails(lock(fd, libc::F_SETLK, libc::F_RDLCK, 20, 5), libc::EAGAIN);
    });
    // Closing any descriptor of the file releases all of the process's locks.
    must(close(must(open(c"file", O_RDONLY, 0))));
    in_child(|| {
        must(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0));
    });
}

fn blocking_record_lock_waits() {
    let fd = must(scratch_file(c"file", 100));
    must(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0));
    let child = spawn(|| i32::from(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 0, 0).is_err()));
    assert!(wait_for_state(child, "S"));
    must(lock(fd, libc::F_SETLK, libc::F_UNLCK, 0, 0));
    exits(child, 0);
}

fn record_lock_deadlock_is_edeadlk() {
    let fd = must(scratch_file(c"file", 100));
    must(lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 1));
    let child = spawn(|| {
        must(lock(fd, libc::F_SETLK, libc::F_WRLCK, 1, 1));
        must(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 0, 1));
        0
    });
    assert!(wait_for_state(child, "S"));
    fails(lock(fd, libc::F_SETLKW, libc::F_WRLCK, 1, 1), libc::EDEADLK);
    must(lock(fd, libc::F_SETLK, libc::F_UNLCK, 0, 1));
    exits(child, 0);
}

fn open_file_locks_belong_to_the_description() {
    let fd = must(scratch_file(c"file", 100));
    let other = must(open(c"file", O_RDWR, 0));
    must(lock(fd, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 10));
    fails(lock(other, libc::F_OFD_SETLK, libc::F_WRLCK, 5, 1), libc::EAGAIN);
    must(close(must(open(c"file", O_RDONLY, 0))));
    fails(lock(other, libc::F_OFD_SETLK, libc::F_WRLCK, 5, 1), libc::EAGAIN);
    must(close(fd));
    must(lock(other, libc::F_OFD_SETLK, libc::F_WRLCK, 5, 1));
}

fn a_lock_set_while_its_descriptor_is_closed_does_not_stay() {
    use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
    let probe = must(scratch_file(c"file", 100));
    let offered = AtomicI32::new(-1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                match offered.load(SeqCst) {
                    -1 => std::thread::yield_now(),
                    -2 => return,
                    fd => {
                        // Whether it comes before the close or behind it is all the same.
                        let _ = lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0);
                        offered.store(-1, SeqCst);
                    }
                }
            }
        });
        // Where the cores take turns, each offer waits for one.
        let end = now() + 2000 * MS;
        for round in (0..300).take_while(|_| now() < end) {
            let fd = must(open(c"file", O_RDWR, 0));
            offered.store(fd, SeqCst);
            for _ in 0..round {
                core::hint::spin_loop();
            }
            must(close(fd));
            while offered.load(SeqCst) != -1 {
                std::thread::yield_now();
                spin();
            }
            let found = must(lock(probe, libc::F_OFD_GETLK, libc::F_WRLCK, 0, 0));
            assert_eq!(i32::from(found.l_type), libc::F_UNLCK, "round {round}: nobody can release this lock");
        }
        offered.store(-2, SeqCst);
    });
}

fn flock_excludes_and_is_shared_by_dup() {
    let fd = must(scratch_file(c"file", 0));
    let copy = must(call!(SYS_dup, fd)) as Fd;
    let other = must(open(c"file", O_RDONLY, 0));
    must(call!(SYS_flock, fd, libc::LOCK_EX));
    must(call!(SYS_flock, copy, libc::LOCK_EX | libc::LOCK_NB));
    fails(call!(SYS_flock, other, libc::LOCK_SH | libc::LOCK_NB), libc::EAGAIN);
    must(close(fd));
    fails(call!(SYS_flock, other, libc::LOCK_SH | libc::LOCK_NB), libc::EAGAIN);
    let child = spawn(|| {
        must(close(copy));
        i32::from(call!(SYS_flock, other, libc::LOCK_EX).is_err())
    });
    assert!(wait_for_state(child, "S"));
    must(close(copy));
    exits(child, 0);
}
