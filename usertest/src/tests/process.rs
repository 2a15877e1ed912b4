//! Processes: fork, clone, identity, sessions and groups.

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, killed, must, within};
use crate::sys::*;

tests!("process":
    fork_gives_the_child_its_own_ids,
    fork_copies_memory,
    fork_shares_file_offsets,
    fork_keeps_masks_and_handlers_but_not_pending_signals,
    fork_keeps_directory_and_umask,
    child_of_a_fork_has_one_thread,
    pid_is_not_reused_at_once,
    setsid_makes_a_leader,
    setsid_of_a_group_leader_is_eperm,
    setpgid_joins_and_leaves,
    setpgid_to_another_session_is_eperm,
    setpgid_after_exec_is_eacces,
    kill_of_a_group_reaches_every_member,
    name_is_set_by_prctl_and_shown_in_comm,
    pdeathsig_arrives_when_the_parent_dies,
    times_and_rusage_grow_with_work,
    exec_resets_the_name,
    fork_fails_with_eagain_at_rlimit_nproc,
);

fn fork_gives_the_child_its_own_ids() {
    let parent = getpid();
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        assert!(getpid() != parent && getpid() == gettid());
        assert_eq!(getppid(), parent);
        must(write(writer, &getpid().to_ne_bytes()));
        0
    });
    let mut id = [0u8; 4];
    must(read(reader, &mut id));
    assert_eq!(Pid::from_ne_bytes(id), child);
    exits(child, 0);
}

fn fork_copies_memory() {
    let at = must(anonymous(PAGE));
    poke(at, 1u32);
    let child = spawn(|| {
        poke(at, 2u32);
        peek::<u32>(at) as i32
    });
    exits(child, 2);
    assert_eq!(peek::<u32>(at), 1);
}

fn fork_shares_file_offsets() {
    let fd = must(scratch_file(c"file", 100));
    exits(spawn(|| must(lseek(fd, 42, libc::SEEK_SET)) as i32), 42);
    assert_eq!(must(lseek(fd, 0, libc::SEEK_CUR)), 42);
}

fn fork_keeps_masks_and_handlers_but_not_pending_signals() {
    must(on_signal(libc::SIGUSR2, record, 0));
    must(block(bit(libc::SIGUSR1)));
    must(kill(getpid(), libc::SIGUSR1));
    in_child(|| {
        assert_eq!(must(pending()), 0);
        assert!(must(block(0)) & bit(libc::SIGUSR1) != 0);
        must(raise(libc::SIGUSR2));
        assert_eq!(seen(), 1);
    });
    assert_eq!(must(pending()), bit(libc::SIGUSR1));
}

fn fork_keeps_directory_and_umask() {
    must(mkdir(c"sub", 0o755));
    must(chdir(c"sub"));
    must(call!(SYS_umask, 0o27));
    in_child(|| {
        must(write_file(c"made-by-child", b""));
        assert_eq!(must(call!(SYS_umask, 0)), 0o27);
    });
    assert_eq!(must(stat(c"made-by-child")).st_mode & 0o777, 0o640);
}

fn child_of_a_fork_has_one_thread() {
    std::thread::spawn(|| sleep_ms(3000));
    assert_eq!(must(list(c"/proc/self/task")).len(), 2);
    let child = spawn(|| i32::from(must(list(c"/proc/self/task")).len() != 1));
    exits(child, 0);
}

fn pid_is_not_reused_at_once() {
    let ids: Vec<Pid> = (0..20)
        .map(|_| {
            let child = spawn(|| 0);
            exits(child, 0);
            child
        })
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
}

fn setsid_makes_a_leader() {
    in_child(|| {
        let me = getpid();
        assert_eq!(must(call!(SYS_setsid)) as Pid, me);
        assert_eq!(must(call!(SYS_getsid, 0)) as Pid, me);
        assert_eq!(must(call!(SYS_getpgid, 0)) as Pid, me);
    });
}

fn setsid_of_a_group_leader_is_eperm() {
    in_child(|| {
        must(call!(SYS_setpgid, 0, 0));
        fails(call!(SYS_setsid), libc::EPERM);
    });
}

fn setpgid_joins_and_leaves() {
    let own = must(call!(SYS_getpgid, 0));
    let child = spawn(|| {
        sleep_ms(2000);
        0
    });
    assert_eq!(must(call!(SYS_getpgid, child)), own);
    must(call!(SYS_setpgid, child, 0));
    assert_eq!(must(call!(SYS_getpgid, child)) as Pid, child);
    must(call!(SYS_setpgid, child, own));
    assert_eq!(must(call!(SYS_getpgid, child)), own);
    fails(call!(SYS_setpgid, child, 1 << 21), libc::EPERM);
    fails(call!(SYS_setpgid, 1, 0), libc::ESRCH);
    fails(call!(SYS_setpgid, child, -5), libc::EINVAL);
    must(kill(child, libc::SIGKILL));
}

fn setpgid_to_another_session_is_eperm() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        must(call!(SYS_setsid));
        must(write(writer, b"x"));
        sleep_ms(2000);
        0
    });
    must(read(reader, &mut [0u8; 1]));
    fails(call!(SYS_setpgid, child, 0), libc::EPERM);
    fails(call!(SYS_setpgid, 0, child), libc::EPERM);
    must(kill(child, libc::SIGKILL));
}

fn setpgid_after_exec_is_eacces() {
    let (reader, writer) = must(pipe2(libc::O_CLOEXEC));
    let child = spawn(|| crate::helper::exec(c"/proc/self/exe", &["usertest", "--helper", "pause"], &[]).0);
    must(close(writer));
    assert_eq!(must(read(reader, &mut [0u8; 1])), 0, "exec closes the pipe");
    fails(call!(SYS_setpgid, child, 0), libc::EACCES);
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
}

fn kill_of_a_group_reaches_every_member() {
    let leader = spawn(|| {
        loop {
            sigsuspend(0);
        }
    });
    must(call!(SYS_setpgid, leader, leader));
    let others: Vec<Pid> = (0..3)
        .map(|_| {
            let pid = spawn(|| {
                loop {
                    sigsuspend(0);
                }
            });
            must(call!(SYS_setpgid, pid, leader));
            pid
        })
        .collect();
    must(kill(-leader, libc::SIGTERM));
    killed(leader, libc::SIGTERM);
    others.into_iter().for_each(|pid| killed(pid, libc::SIGTERM));
    fails(kill(-leader, 0), libc::ESRCH);
}

fn name_is_set_by_prctl_and_shown_in_comm() {
    must(call!(SYS_prctl, libc::PR_SET_NAME, c"a-rather-long-name", 0, 0, 0));
    let mut name = [0u8; 16];
    must(call!(SYS_prctl, libc::PR_GET_NAME, &mut name, 0, 0, 0));
    assert_eq!(&name, b"a-rather-long-n\0");
    assert_eq!(must(read_text(c"/proc/self/comm")), "a-rather-long-n\n");
    assert_eq!(proc_stat(getpid(), 2).as_deref(), Some("a-rather-long-n"));
    must(write_file(c"/proc/self/comm", b"written"));
    assert_eq!(must(read_text(c"/proc/self/comm")), "written\n");
}

fn pdeathsig_arrives_when_the_parent_dies() {
    let (reader, writer) = must(pipe());
    let middle = spawn(|| {
        let (ready, go) = must(pipe());
        spawn(|| {
            must(block(bit(libc::SIGUSR1)));
            must(call!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR1, 0, 0, 0));
            must(write(go, b"x"));
            let info = must(sigtimedwait(bit(libc::SIGUSR1), Some(5 * SECOND)));
            assert_eq!(info.signal, libc::SIGUSR1);
            must(write(writer, b"got it"));
            0
        });
        must(read(ready, &mut [0u8; 1]));
        0
    });
    must(close(writer));
    exits(middle, 0);
    assert_eq!(must(read_to_end(reader)), b"got it");
}

fn times_and_rusage_grow_with_work() {
    let mut times = [0u64; 4];
    must(call!(SYS_times, &mut times));
    let mut before = [0u64; 18];
    must(call!(SYS_getrusage, libc::RUSAGE_SELF, &mut before));
    work_ms(60);
    let mut after = [0u64; 18];
    must(call!(SYS_getrusage, libc::RUSAGE_SELF, &mut after));
    let micros = |usage: &[u64; 18]| (usage[0] + usage[2]) * 1_000_000 + usage[1] + usage[3];
    within(micros(&after) - micros(&before), 2_000, 5_000_000, "microseconds used");
    within(after[4], 100, 1 << 20, "kilobytes resident at most");
    fails(call!(SYS_getrusage, 55, &mut after), libc::EINVAL);
}

fn exec_resets_the_name() {
    must(call!(SYS_prctl, libc::PR_SET_NAME, c"before", 0, 0, 0));
    let path =
        std::ffi::CString::new(std::env::current_exe().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default())
            .unwrap_or_default();
    let text = crate::helper::output(&path, &["x", "--helper", "comm"], &[]);
    let file = path.to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
    assert_eq!(text.trim(), file);
}

fn fork_fails_with_eagain_at_rlimit_nproc() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_NPROC, 3, 3));
        must(call!(SYS_setresuid, 12345, 12345, 12345));
        let mut born = Vec::new();
        let refused = loop {
            match fork() {
                Ok(None) => loop {
                    sigsuspend(0);
                },
                Ok(Some(pid)) => born.push(pid),
                Err(errno) => break errno,
            }
            assert!(born.len() < 10, "the limit of 3 is not obeyed");
        };
        assert_eq!(refused, Errno(libc::EAGAIN));
        assert_eq!(born.len(), 2);
        for pid in born {
            must(kill(pid, libc::SIGKILL));
            killed(pid, libc::SIGKILL);
        }
    });
}
