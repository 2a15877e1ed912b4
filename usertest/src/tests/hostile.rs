//! Programs that try to hurt the kernel: they get errors or signals, and the machine lives on.

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, killed, must};
use crate::sys::*;
use std::sync::atomic::{AtomicBool, Ordering};

tests!("hostile":
    unknown_calls_are_enosys,
    kernel_pointers_are_efault_in_every_call,
    unmapped_pointers_are_efault_in_every_call,
    kernel_memory_cannot_be_written_through_read,
    lengths_that_wrap_are_refused,
    pointers_across_the_end_of_user_space_are_refused,
    paths_without_end_are_refused,
    fork_bomb_ends_at_its_limit [30],
    thread_bomb_ends_at_its_limit [30],
    memory_hog_is_refused_or_killed_alone [120],
    deep_recursion_of_fork_survives,
    random_calls_do_not_hurt [60],
    random_calls_on_all_cores_do_not_hurt [60],
    wild_jumps_die,
    bad_stack_pointers_die,
    kernel_memory_is_not_leaked_in_padding,
    argument_registers_of_others_are_not_visible,
    many_signals_to_a_dying_process_are_fine,
    descriptor_races_are_harmless [30],
    mapping_races_are_harmless [30],
    self_tracing_oddities_do_not_hang,
    long_calls_give_way [60],
    giving_up_or_changing_much_memory_gives_way [60],
);

fn works() {
    let (reader, writer) = must(pipe());
    exits(spawn(|| must(write(writer, b"fine")) as i32), 4);
    assert_eq!(must(read(reader, &mut [0u8; 8])), 4);
}

fn unknown_calls_are_enosys() {
    for number in [600usize, 999, 1 << 16, 1 << 31, usize::MAX, usize::MAX - 450, 244, 259, 1 << 32 | 172] {
        let result = raw(number, [0; 6]);
        // Only the low 32 bits of x8 are the number.
        let wanted = if number == 1 << 32 | 172 { getpid() as isize } else { -(libc::ENOSYS as isize) };
        assert_eq!(result, wanted, "call {number:#x}");
    }
}

/// Calls with a pointer at `bad`, each with arguments that are right otherwise.
fn calls_with(bad: usize) -> Vec<(&'static str, Result<usize>)> {
    let fd = must(scratch_file(c"file", 4096));
    let (reader, writer) = must(pipe2(libc::O_NONBLOCK));
    must(write(writer, &[1u8; 64]));
    let directory = must(open(c".", libc::O_RDONLY, 0));
    let mut good = [0u64; 64];
    let vector = [bad, 64];
    vec![
        ("read", call!(SYS_read, reader, bad, 64)),
        ("write", call!(SYS_write, writer, bad, 64)),
        ("pread64", call!(SYS_pread64, fd, bad, 64, 0)),
        ("pwrite64", call!(SYS_pwrite64, fd, bad, 64, 0)),
        ("readv", call!(SYS_readv, reader, bad, 1)),
        ("readv base", call!(SYS_readv, reader, &vector, 1)),
        ("writev base", call!(SYS_writev, writer, &vector, 1)),
        ("openat", call!(SYS_openat, libc::AT_FDCWD, bad, 0, 0)),
        ("mkdirat", call!(SYS_mkdirat, libc::AT_FDCWD, bad, 0)),
        ("unlinkat", call!(SYS_unlinkat, libc::AT_FDCWD, bad, 0)),
        ("renameat2 from", call!(SYS_renameat2, libc::AT_FDCWD, bad, libc::AT_FDCWD, c"x", 0)),
        ("renameat2 to", call!(SYS_renameat2, libc::AT_FDCWD, c"file", libc::AT_FDCWD, bad, 0)),
        ("symlinkat", call!(SYS_symlinkat, bad, libc::AT_FDCWD, c"x")),
        ("linkat", call!(SYS_linkat, libc::AT_FDCWD, bad, libc::AT_FDCWD, c"x", 0)),
        ("readlinkat", call!(SYS_readlinkat, libc::AT_FDCWD, c"/proc/self/exe", bad, 64)),
        ("newfstatat", call!(SYS_newfstatat, libc::AT_FDCWD, c".", bad, 0)),
        ("fstat", call!(SYS_fstat, fd, bad)),
        ("statx", call!(SYS_statx, libc::AT_FDCWD, c".", 0, 0x7ff, bad)),
        ("statfs", call!(SYS_statfs, c".", bad)),
        ("getdents64", call!(SYS_getdents64, directory, bad, 4096)),
        ("getcwd", call!(SYS_getcwd, bad, 4096)),
        ("chdir", call!(SYS_chdir, bad)),
        ("execve", call!(SYS_execve, bad, 0, 0)),
        ("execve argv", call!(SYS_execve, c"/proc/self/exe", bad, 0)),
        ("pipe2", call!(SYS_pipe2, bad, 0)),
        ("ppoll", call!(SYS_ppoll, bad, 1, 0, 0, 8)),
        ("pselect6", call!(SYS_pselect6, 4, bad, 0, 0, 0, 0)),
        ("uname", call!(SYS_uname, bad)),
        ("sysinfo", call!(SYS_sysinfo, bad)),
        ("times", call!(SYS_times, bad)),
        ("getrusage", call!(SYS_getrusage, 0, bad)),
        ("prlimit64 new", call!(SYS_prlimit64, 0, 7, bad, 0)),
        ("prlimit64 old", call!(SYS_prlimit64, 0, 7, 0, bad)),
        ("clock_gettime", call!(SYS_clock_gettime, 0, bad)),
        ("clock_getres", call!(SYS_clock_getres, 0, bad)),
        ("nanosleep", call!(SYS_nanosleep, bad, 0)),
        ("gettimeofday", call!(SYS_gettimeofday, bad, 0)),
        ("setitimer", call!(SYS_setitimer, 0, bad, 0)),
        ("getitimer", call!(SYS_getitimer, 0, bad)),
        ("rt_sigaction", call!(SYS_rt_sigaction, 10, bad, 0, 8)),
        ("rt_sigaction old", call!(SYS_rt_sigaction, 10, 0, bad, 8)),
        ("rt_sigprocmask", call!(SYS_rt_sigprocmask, 0, bad, 0, 8)),
        ("rt_sigprocmask old", call!(SYS_rt_sigprocmask, 0, 0, bad, 8)),
        ("rt_sigpending", call!(SYS_rt_sigpending, bad, 8)),
        ("rt_sigsuspend", call!(SYS_rt_sigsuspend, bad, 8)),
        ("rt_sigtimedwait", call!(SYS_rt_sigtimedwait, bad, 0, 0, 8)),
        ("rt_sigqueueinfo", call!(SYS_rt_sigqueueinfo, getpid(), 10, bad)),
        ("sigaltstack", call!(SYS_sigaltstack, bad, 0)),
        ("futex wait", call!(SYS_futex, bad, libc::FUTEX_WAIT, 0, 0, 0, 0)),
        ("sched_getaffinity", call!(SYS_sched_getaffinity, 0, 128, bad)),
        ("sched_setaffinity", call!(SYS_sched_setaffinity, 0, 8, bad)),
        ("sched_setscheduler", call!(SYS_sched_setscheduler, 0, 0, bad)),
        ("getcpu", call!(SYS_getcpu, bad, 0, 0)),
        ("getresuid", call!(SYS_getresuid, &mut good, &mut good, bad)),
        ("setgroups", call!(SYS_setgroups, 2, bad)),
        ("capget", call!(SYS_capget, bad, 0)),
        ("prctl name", call!(SYS_prctl, libc::PR_GET_NAME, bad, 0, 0, 0)),
        ("prctl set name", call!(SYS_prctl, libc::PR_SET_NAME, bad, 0, 0, 0)),
        ("getrandom", call!(SYS_getrandom, bad, 64, 0)),
        ("epoll_ctl", call!(SYS_epoll_ctl, must(call!(SYS_epoll_create1, 0)), 1, reader, bad)),
        ("memfd_create", call!(SYS_memfd_create, bad, 0)),
        ("utimensat", call!(SYS_utimensat, libc::AT_FDCWD, c"file", bad, 0)),
        ("ioctl FIONREAD", call!(SYS_ioctl, reader, libc::FIONREAD as u32, bad)),
        ("fcntl F_GETLK", fcntl(fd, libc::F_GETLK, bad)),
        ("sendfile", call!(SYS_sendfile, writer, fd, bad, 10)),
        ("sethostname", call!(SYS_sethostname, bad, 5)),
        ("clone3", call!(SYS_clone3, bad, 88)),
        ("mincore", call!(SYS_mincore, good.as_ptr().expose_provenance() & !4095, 4096, bad)),
    ]
}

#[track_caller]
fn all_are_efault(bad: usize) {
    for (name, result) in calls_with(bad) {
        assert!(result == Err(Errno(libc::EFAULT)), "{name} with {bad:#x}: {result:?}");
    }
}

fn kernel_pointers_are_efault_in_every_call() {
    for bad in [0xffff_0000_4000_0000, 0xffff_8000_8000_0000, 0xffff_ffff_ffff_f000] {
        all_are_efault(bad);
    }
}

fn unmapped_pointers_are_efault_in_every_call() {
    // Reserved without rights, so that nothing else gets mapped there meanwhile.
    let at = must(mmap(0, 2 * PAGE, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
    all_are_efault(at);
    all_are_efault(64);
}

fn kernel_memory_cannot_be_written_through_read() {
    let zero = must(open(c"/dev/zero", libc::O_RDONLY, 0));
    // The usual places of kernel images and linear maps, and every top-level slot of the upper half.
    let slots = (0..512usize).map(|slot| 0xffff_0000_0000_0000 + (slot << 39));
    for at in slots.chain([0xffff_8000_8000_0000, 0xffff_ff80_0000_0000]) {
        fails(call!(SYS_read, zero, at, 4096), libc::EFAULT);
        fails(call!(SYS_getrandom, at, 4096, 0), libc::EFAULT);
    }
}

fn lengths_that_wrap_are_refused() {
    let fd = must(scratch_file(c"file", 4096));
    let buffer = must(anonymous(2 * PAGE));
    must(mprotect(buffer + PAGE, PAGE, libc::PROT_NONE));
    // Linux cuts a count to 2 GiB less a page, then checks the range of addresses.
    assert!(call!(SYS_read, fd, buffer, usize::MAX).is_err());
    assert!(call!(SYS_write, fd, buffer, usize::MAX).is_err());
    assert!(call!(SYS_getrandom, buffer, usize::MAX, 0).is_err() || peek::<u64>(buffer) != 0);
    fails(call!(SYS_readv, fd, &[buffer, usize::MAX / 2, buffer, usize::MAX / 2 + 2], 2), libc::EINVAL);
    fails(call!(SYS_ppoll, buffer, usize::MAX, 0, 0, 8), libc::EINVAL);
}

fn pointers_across_the_end_of_user_space_are_refused() {
    let zero = must(open(c"/dev/zero", libc::O_RDONLY, 0));
    for at in [(1usize << 48) - 8, (1 << 48) - 4096, 1 << 48, usize::MAX - 8] {
        fails(call!(SYS_read, zero, at, 64), libc::EFAULT);
        fails(call!(SYS_getrandom, at, 64, 0), libc::EFAULT);
    }
}

fn paths_without_end_are_refused() {
    let at = must(anonymous(2 * PAGE));
    must(munmap(at + PAGE, PAGE));
    (0..PAGE).for_each(|i| poke(at + i, b'a'));
    fails(call!(SYS_openat, libc::AT_FDCWD, at, 0, 0), libc::ENAMETOOLONG);
    fails(call!(SYS_openat, libc::AT_FDCWD, at + 10, 0, 0), libc::EFAULT);
    poke(at + PAGE - 1, 0u8);
    fails(call!(SYS_openat, libc::AT_FDCWD, at + PAGE - 6, 0, 0), libc::ENOENT);
}

fn become_other() {
    must(call!(SYS_setresgid, 31_337, 31_337, 31_337));
    must(call!(SYS_setresuid, 31_337, 31_337, 31_337));
}

fn fork_bomb_ends_at_its_limit() {
    let bomb = spawn(|| {
        must(call!(SYS_setpgid, 0, 0));
        must(setrlimit(libc::RLIMIT_NPROC, 60, 60));
        become_other();
        loop {
            let _ = fork();
        }
    });
    sleep_ms(300);
    works();
    // New members may be born while the group is signalled; the kill is repeated until none is left.
    let gone = eventually(15_000, || {
        let _ = kill(-bomb, libc::SIGKILL);
        while let Ok(Some(_)) = wait4(-1, libc::WNOHANG) {}
        kill(-bomb, 0).is_err()
    });
    assert!(gone, "the bomb cannot be put out");
    works();
}

fn thread_bomb_ends_at_its_limit() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_NPROC, 100, 100));
        become_other();
        let mut count = 0;
        while std::thread::Builder::new().spawn(|| sleep_ms(20_000)).is_ok() {
            count += 1;
            assert!(count < 1000, "no limit");
        }
        assert_eq!(count, 99);
    });
    works();
}

fn memory_hog_is_refused_or_killed_alone() {
    let hog = spawn(|| {
        must(write_file(c"/proc/self/oom_score_adj", b"1000"));
        loop {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
            match mmap(0, 16 << 20, RW, flags, -1, 0) {
                Ok(at) => (0..4096).for_each(|page| poke(at + page * PAGE, page)),
                Err(_) => exit(12),
            }
        }
    });
    let status = must(wait(hog));
    let fits = matches!(status, Status::Exited(12) | Status::Killed(libc::SIGKILL, _));
    assert!(fits, "{status:?}");
    works();
    let at = must(anonymous(8 << 20));
    (0..2048).for_each(|page| poke(at + page * PAGE, page));
}

fn deep_recursion_of_fork_survives() {
    fn descend(levels: i32) -> i32 {
        if levels == 0 { 0 } else { i32::from(wait(spawn(|| descend(levels - 1))) != Ok(Status::Exited(0))) }
    }
    assert_eq!(descend(100), 0);
}

fn random_calls_do_not_hurt() {
    let outcome = crate::fuzz::run(1, 5_000);
    assert!(outcome.is_ok(), "{outcome:?}");
    works();
}

fn random_calls_on_all_cores_do_not_hurt() {
    let children: Vec<Pid> = must(affinity())
        .into_iter()
        .map(|core| {
            spawn(move || {
                must(call!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
                must(set_affinity(0, &[core]));
                crate::fuzz::batches(core as u64 * 1000, 20);
                0
            })
        })
        .collect();
    children.into_iter().for_each(|child| exits(child, 0));
    works();
}

fn wild_jumps_die() {
    let mut random = crate::fuzz::Random::new(7);
    for _ in 0..40 {
        let at = random.next() as usize & !3;
        let child = spawn(|| {
            // SAFETY: none; the child is expected to die of it.
            unsafe { core::arch::asm!("br {0}", in(reg) at, options(noreturn)) }
        });
        let status = must(wait(child));
        assert!(
            matches!(status, Status::Killed(libc::SIGSEGV | libc::SIGBUS | libc::SIGILL, _)),
            "{at:#x}: {status:?}"
        );
    }
}

fn bad_stack_pointers_die() {
    for sp in [0usize, 16, 0xffff_0000_0000_0000, (1 << 48) - 16, usize::MAX & !15] {
        let child = spawn(|| {
            must(on_signal(libc::SIGUSR1, record, 0));
            let (pid, signal) = (getpid() as usize, libc::SIGUSR1 as usize);
            // SAFETY: none; pushing the signal's frame there has to kill the child.
            unsafe {
                core::arch::asm!("mov sp, {sp}", "svc 0", "mov x8, #94", "mov x0, #3", "svc 0", sp = in(reg) sp,
                     in("x8") libc::SYS_kill, in("x0") pid, in("x1") signal, options(noreturn))
            }
        });
        killed(child, libc::SIGSEGV);
    }
}

fn kernel_memory_is_not_leaked_in_padding() {
    // What the kernel does not set has to be zero in each structure, however dirty the buffer and the kernel's stack.
    let mut info = [0xa5a5_a5a5_a5a5_a5a5u64; 16];
    let child = spawn(|| 3);
    must(call!(SYS_waitid, libc::P_PID, child, &mut info, libc::WEXITED | libc::WNOWAIT, 0));
    assert_eq!(info[0] >> 32, 0, "si_errno");
    exits(child, 3);
    let mut usage = [0xa5u64; 18];
    must(call!(SYS_getrusage, 0, &mut usage));
    assert!(usage.iter().all(|word| *word < 1 << 40), "{usage:x?}");
    let mut stat = [0xa5a5_a5a5_a5a5_a5a5u64; 16];
    must(call!(SYS_newfstatat, libc::AT_FDCWD, c".", &mut stat, 0));
    assert_eq!(stat[15], 0, "the unused words at the end");
    let mut names = [[0xa5u8; 65]; 6];
    must(call!(SYS_uname, &mut names));
    for name in names {
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(0);
        assert!(name[end..].iter().all(|byte| *byte == 0 || byte.is_ascii()), "{name:?}");
    }
}

fn argument_registers_of_others_are_not_visible() {
    // Registers after fork, exec aside, are the parent's; after exec all but sp and pc are zero.
    exits(spawn(|| crate::helper::exec_self(&["registers"])), 0);
}

fn many_signals_to_a_dying_process_are_fine() {
    for _ in 0..30 {
        let child = spawn(|| 0);
        for signal in [libc::SIGSTOP, libc::SIGCONT, libc::SIGTERM, libc::SIGKILL] {
            let _ = kill(child, signal);
        }
        must(wait(child));
    }
}

fn descriptor_races_are_harmless() {
    in_child(|| {
        must(set_disposition(libc::SIGPIPE, libc::SIG_IGN));
        let end = now() + 400 * MS;
        let threads: Vec<_> = (0..4u64)
            .map(|id| {
                std::thread::spawn(move || {
                    let mut random = crate::fuzz::Random::new(id + 9);
                    while now() < end {
                        let fd = 10 + random.below(8);
                        match random.below(5) {
                            0 => drop(pipe2(libc::O_NONBLOCK).map(|(reader, writer)| {
                                let _ = call!(SYS_dup3, reader, 10 + random.below(8), 0);
                                let _ = call!(SYS_dup3, writer, 10 + random.below(8), 0);
                                let _ = (close(reader), close(writer));
                            })),
                            1 => drop(close(fd as Fd)),
                            2 => drop(write(fd as Fd, &[0u8; 512])),
                            3 => drop(read(fd as Fd, &mut [0u8; 512])),
                            _ => drop(poll(&[(fd as Fd, libc::POLLIN)], 0)),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
    });
    works();
}

fn mapping_races_are_harmless() {
    in_child(|| {
        let at = must(anonymous(64 * PAGE));
        let file = must(scratch_file(c"file", 64 * PAGE as i64));
        let end = now() + 400 * MS;
        let threads: Vec<_> = (0..4u64)
            .map(|id| {
                std::thread::spawn(move || {
                    let mut random = crate::fuzz::Random::new(id + 5);
                    while now() < end {
                        let page = at + random.below(48) as usize * PAGE;
                        let length = (1 + random.below(16) as usize) * PAGE;
                        let fixed = libc::MAP_PRIVATE | libc::MAP_FIXED;
                        let _ = match random.below(6) {
                            0 => mmap(page, length, RW, fixed | libc::MAP_ANONYMOUS, -1, 0),
                            1 => mmap(page, length, RW, fixed, file, 0),
                            // Not unmapped: the hole could become the stack of a thread just starting.
                            2 => mmap(page, length, libc::PROT_NONE, fixed | libc::MAP_ANONYMOUS, -1, 0),
                            3 => call!(SYS_mprotect, page, length, libc::PROT_READ),
                            4 => call!(SYS_pread64, file, page, length, 0),
                            _ => call!(SYS_madvise, page, length, libc::MADV_DONTNEED),
                        };
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
    });
    works();
}

fn self_tracing_oddities_do_not_hang() {
    in_child(|| {
        fails(kill(0, 99), libc::EINVAL);
        fails(wait4(getpid(), libc::WNOHANG), libc::ECHILD);
        fails(call!(SYS_setpgid, getpid(), -1), libc::EINVAL);
        fails(call!(SYS_tgkill, -1, -1, 0), libc::EINVAL);
        fails(call!(SYS_tkill, 0, 0), libc::EINVAL);
        fails(kill(i32::MIN, 0), libc::ESRCH);
    });
}

/// How long a thread on the same core had to wait at most for its turn while `call` went on, and how long that took, in nanoseconds.
fn longest_wait_during(call: impl FnOnce()) -> (u64, u64) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ticker = scope.spawn(|| {
            let (mut last, mut longest) = (now(), 0);
            while !over.load(Ordering::SeqCst) {
                sleep_ms(1);
                let this = now();
                longest = longest.max(this - last);
                last = this;
            }
            longest
        });
        sleep_ms(20);
        let begun = now();
        call();
        let took = now() - begun;
        over.store(true, Ordering::SeqCst);
        (ticker.join().unwrap_or(u64::MAX), took)
    })
}

fn long_calls_give_way() {
    const SIZE: usize = 24 << 20;
    const POPULATE: i32 = 23;
    in_child(|| {
        must(set_affinity(0, &[must(affinity())[0]]));
        let memory = || must(mmap(0, SIZE, RW, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
        let (touched, populated, locked) = (memory(), memory(), memory());
        (0..SIZE).step_by(PAGE).for_each(|at| poke(touched + at, 1u8));
        let calls: [(&str, Call); 3] = [
            ("getrandom", Box::new(move || assert!(call!(SYS_getrandom, touched, SIZE / 2, 0).is_ok()))),
            ("madvise", Box::new(move || assert_eq!(must(call!(SYS_madvise, populated, SIZE, POPULATE)), 0))),
            ("mlock", Box::new(move || assert_eq!(must(call!(SYS_mlock, locked, SIZE)), 0))),
        ];
        others_wait_little(0, calls);
    });
}

fn giving_up_or_changing_much_memory_gives_way() {
    const SIZE: usize = 192 << 20;
    const EXECUTABLE: i32 = libc::PROT_READ | libc::PROT_EXEC;
    in_child(|| {
        must(set_affinity(0, &[must(affinity())[0]]));
        let touch = |start: usize| {
            let begun = now();
            (0..SIZE).step_by(PAGE).for_each(|at| poke(start + at, 1u8));
            now() - begun
        };
        let memory = must(mmap(0, SIZE, RW, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
        // To give a page up costs a part of what it cost to get it.
        let patience = touch(memory) / 6;
        others_wait_little(
            patience,
            [
                ("mprotect", Box::new(move || assert_eq!(must(call!(SYS_mprotect, memory, SIZE, EXECUTABLE)), 0))),
                ("mremap", Box::new(move || assert_eq!(must(call!(SYS_mremap, memory, SIZE, PAGE, 0)), memory))),
            ],
        );
        let start = must(call!(SYS_brk, 0));
        assert_eq!(must(call!(SYS_brk, start + SIZE)), start + SIZE);
        touch(start);
        others_wait_little(patience, [("brk", Box::new(move || assert_eq!(must(call!(SYS_brk, start)), start)))]);
        assert_eq!(peek::<u8>(memory), 1);
    });
}

type Call = Box<dyn FnOnce()>;

/// That a thread on this core gets its turns while each of these calls goes on; it may wait for `patience` nanoseconds, which a slow
/// machine stretches.
fn others_wait_little<const N: usize>(patience: u64, calls: [(&str, Call); N]) {
    for (name, call) in calls {
        let (wait, took) = longest_wait_during(call);
        let most = patience.max(25 * MS).max(took / 3);
        assert!(wait < most, "{name} took {took} ns, and others waited {wait} ns");
    }
}
