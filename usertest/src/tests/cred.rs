//! Users, groups, capabilities and limits (credentials(7), capabilities(7), getrlimit(2)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, must};
use crate::helper::exec_self;
use crate::sys::*;

tests!("cred":
    root_has_all_ids_zero,
    setuid_of_root_changes_all_three,
    setresuid_keeps_what_is_minus_one,
    ordinary_users_move_among_their_ids_only,
    leaving_root_drops_capabilities,
    keepcaps_keeps_the_permitted_set,
    effective_ids_can_come_back,
    setreuid_moves_the_saved_id,
    setgroups_needs_rights,
    fsuid_governs_file_access,
    capget_reports_the_full_set_for_root,
    capset_cannot_raise,
    no_new_privs_sticks,
    exec_gives_root_its_capabilities_back_but_for_no_new_privs,
    limits_can_be_lowered_not_raised,
    soft_limit_may_not_exceed_hard,
    limits_are_inherited_and_per_process,
    cpu_limit_sends_sigxcpu,
    children_inherit_credentials,
    memory_of_others_is_not_shown,
);

/// `CAP_KILL` in the low word of a set.
const KILL: u32 = 1 << 5;
const ROOT: ([u32; 3], [u32; 3]) = ([0; 3], [0; 3]);

fn root_has_all_ids_zero() {
    assert_eq!(call_ids(), ROOT);
    for call in [libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid] {
        assert_eq!(raw(call as usize, [0; 6]), 0);
    }
}

fn setuid_of_root_changes_all_three() {
    in_child(|| {
        must(call!(SYS_setgid, 77));
        must(call!(SYS_setuid, 88));
        assert_eq!(call_ids(), ([88; 3], [77; 3]));
        fails(call!(SYS_setuid, 0), libc::EPERM);
        fails(call!(SYS_setgid, 0), libc::EPERM);
        must(call!(SYS_setuid, 88));
    });
}

fn setresuid_keeps_what_is_minus_one() {
    in_child(|| {
        must(call!(SYS_setresgid, 1, -1, 3));
        must(call!(SYS_setresuid, 1, 2, -1));
        assert_eq!(call_ids(), ([1, 2, 0], [1, 0, 3]));
    });
}

fn ordinary_users_move_among_their_ids_only() {
    in_child(|| {
        must(call!(SYS_setresuid, 10, 20, 30));
        must(call!(SYS_setresuid, 30, 10, 20));
        fails(call!(SYS_setresuid, 40, -1, -1), libc::EPERM);
        fails(call!(SYS_setresuid, -1, 0, -1), libc::EPERM);
        assert_eq!(call_ids().0, [30, 10, 20]);
    });
}

fn leaving_root_drops_capabilities() {
    in_child(|| {
        must(call!(SYS_setresuid, 0, 1000, 0));
        let (effective, permitted) = must(capabilities());
        assert!(effective == 0 && permitted != 0);
        must(call!(SYS_setresuid, -1, 0, -1));
        assert!(must(capabilities()).0 != 0);
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        assert_eq!(must(capabilities()), (0, 0));
    });
}

fn keepcaps_keeps_the_permitted_set() {
    in_child(|| {
        must(call!(SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0));
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        let (effective, permitted) = must(capabilities());
        assert!(effective == 0 && permitted != 0);
    });
}

fn effective_ids_can_come_back() {
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 0));
        must(call!(SYS_setresuid, -1, 0, -1));
        assert_eq!(call_ids().0, [1000, 0, 0]);
    });
}

fn setreuid_moves_the_saved_id() {
    in_child(|| {
        must(call!(SYS_setreuid, 5, 6));
        assert_eq!(call_ids().0, [5, 6, 6]);
        must(call!(SYS_setreuid, 6, 5));
        assert_eq!(call_ids().0, [6, 5, 5]);
    });
}

fn setgroups_needs_rights() {
    in_child(|| {
        must(call!(SYS_setgroups, 3, &[1u32, 2, 3]));
        assert_eq!(must(call!(SYS_getgroups, 0, 0)), 3);
        fails(call!(SYS_getgroups, 2, &mut [0u32; 2]), libc::EINVAL);
        fails(call!(SYS_setgroups, 70_000, 8), libc::EINVAL);
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        fails(call!(SYS_setgroups, 1, &[9u32]), libc::EPERM);
    });
}

fn fsuid_governs_file_access() {
    must(write_file(c"file", b""));
    must(call!(SYS_fchmodat, libc::AT_FDCWD, c"file", 0o600));
    in_child(|| {
        assert_eq!(must(call!(SYS_setfsuid, 1000)), 0);
        fails(open(c"file", libc::O_RDONLY, 0), libc::EACCES);
        assert_eq!(must(call!(SYS_setfsuid, 0)), 1000);
        must(open(c"file", libc::O_RDONLY, 0));
    });
}

fn capget_reports_the_full_set_for_root() {
    assert_eq!(must(capabilities()), (u32::MAX, u32::MAX));
    fails(call!(SYS_capget, &[0x2008_0522u32, 1 << 22], &mut [0u32; 6]), libc::ESRCH);
    let mut header = [1u32, 0];
    fails(call!(SYS_capget, &mut header, &mut [0u32; 6]), libc::EINVAL);
    assert_eq!(header[0], 0x2008_0522, "the preferred version is told");
}

fn capset_cannot_raise() {
    in_child(|| {
        let header = [0x2008_0522u32, 0];
        let less = !KILL;
        must(call!(SYS_capset, &header, &[less, less, 0, 0x1ff, 0x1ff, 0]));
        assert_eq!(must(capabilities()), (less, less));
        fails(call!(SYS_capset, &header, &[u32::MAX, u32::MAX, 0, 0x1ff, 0x1ff, 0]), libc::EPERM);
    });
}

fn no_new_privs_sticks() {
    in_child(|| {
        assert_eq!(must(call!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)), 0);
        must(call!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        fails(call!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), libc::EINVAL);
        in_child(|| assert_eq!(must(call!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)), 1));
    });
}

fn exec_gives_root_its_capabilities_back_but_for_no_new_privs() {
    let permitted_after = |no_new_privileges: bool| {
        let (reader, writer) = must(pipe());
        let child = spawn(|| {
            must(call!(SYS_capset, &[0x2008_0522u32, 0], &[!KILL, !KILL, 0, 0x1ff, 0x1ff, 0]));
            if no_new_privileges {
                must(call!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
            }
            must(call!(SYS_dup3, writer, 1, 0));
            exec_self(&["permitted"])
        });
        must(close(writer));
        let text = must(read_to_end(reader));
        exits(child, 0);
        String::from_utf8_lossy(&text).trim().to_owned()
    };
    assert_eq!(permitted_after(false), format!("{:08x}", u32::MAX));
    assert_eq!(permitted_after(true), format!("{:08x}", !KILL));
}

fn limits_can_be_lowered_not_raised() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_NOFILE, 100, 200));
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        must(setrlimit(libc::RLIMIT_NOFILE, 200, 200));
        fails(setrlimit(libc::RLIMIT_NOFILE, 200, 201), libc::EPERM);
        must(setrlimit(libc::RLIMIT_NOFILE, 50, 50));
        assert_eq!(must(getrlimit(libc::RLIMIT_NOFILE)), (50, 50));
    });
}

fn soft_limit_may_not_exceed_hard() {
    fails(setrlimit(libc::RLIMIT_NOFILE, 200, 100), libc::EINVAL);
    fails(setrlimit(99, 1, 1), libc::EINVAL);
    fails(call!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, 8, 0), libc::EFAULT);
    fails(call!(SYS_prlimit64, 1 << 22, libc::RLIMIT_NOFILE, 0, 0), libc::ESRCH);
}

fn limits_are_inherited_and_per_process() {
    must(setrlimit(libc::RLIMIT_STACK, 1 << 20, 2 << 20));
    in_child(|| {
        assert_eq!(must(getrlimit(libc::RLIMIT_STACK)), (1 << 20, 2 << 20));
        must(setrlimit(libc::RLIMIT_STACK, 3 << 19, 2 << 20));
    });
    assert_eq!(must(getrlimit(libc::RLIMIT_STACK)), (1 << 20, 2 << 20));
    let child = spawn(|| {
        sleep_ms(5000);
        0
    });
    let limit = [7u64, 9];
    must(call!(SYS_prlimit64, child, libc::RLIMIT_CORE, &limit, 0));
    let mut found = [0u64; 2];
    must(call!(SYS_prlimit64, child, libc::RLIMIT_CORE, 0, &mut found));
    assert_eq!(found, limit);
    must(kill(child, libc::SIGKILL));
}

fn cpu_limit_sends_sigxcpu() {
    let child = spawn(|| {
        must(setrlimit(libc::RLIMIT_CPU, 1, 4));
        loop {
            spin();
        }
    });
    crate::check::killed(child, libc::SIGXCPU);
}

fn children_inherit_credentials() {
    in_child(|| {
        must(call!(SYS_setresgid, 4, 5, 6));
        must(call!(SYS_setresuid, 1, 2, 3));
        in_child(|| assert_eq!(call_ids(), ([1, 2, 3], [4, 5, 6])));
    });
}

/// What a process of user and group `id` gets from opening `path`, and from reading the memory of `pid` at `address`.
fn looks(id: u32, path: &std::ffi::CStr, pid: Pid, address: usize) -> (i32, i32) {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        must(call!(SYS_setgroups, 0, 0));
        must(call!(SYS_setresgid, id, id, id));
        must(call!(SYS_setresuid, id, id, id));
        let errno = |result: Result<usize>| result.map_or_else(|errno| errno.0, |_| 0);
        let opened = open(path, libc::O_RDONLY, 0).map(|fd| fd as usize);
        let mut word = 0u64;
        let own = [(&raw mut word).expose_provenance(), 8];
        let read = call!(SYS_process_vm_readv, pid, &own, 1, &[address, 8], 1, 0);
        let seen = [errno(opened), errno(read)];
        must(write(writer, &[seen[0] as u8, seen[1] as u8]));
        0
    });
    let mut seen = [0u8; 2];
    must(read(reader, &mut seen));
    exits(child, 0);
    (seen[0].into(), seen[1].into())
}

fn memory_of_others_is_not_shown() {
    static WORD: u64 = 7;
    let address = (&raw const WORD).expose_provenance();
    let (ready_reader, ready_writer) = must(pipe());
    let (step_reader, step_writer) = must(pipe());
    let target = spawn(|| {
        must(call!(SYS_setgroups, 0, 0));
        must(call!(SYS_setresgid, 2001, 2001, 2001));
        must(call!(SYS_setresuid, 2001, 2001, 2001));
        for dumpable in [1, 0] {
            must(call!(SYS_prctl, libc::PR_SET_DUMPABLE, dumpable, 0, 0, 0));
            must(write(ready_writer, b"r"));
            must(read(step_reader, &mut [0u8; 1]));
        }
        0
    });
    let path = std::ffi::CString::new(format!("/proc/{target}/maps")).unwrap_or_default();
    must(read(ready_reader, &mut [0u8; 1]));
    assert_eq!(looks(2001, &path, target, address), (0, 0), "its own user");
    assert_eq!(looks(2002, &path, target, address), (libc::EACCES, libc::EPERM), "another user");
    assert_eq!(looks(0, &path, target, address), (0, 0), "root");
    must(write(step_writer, b"s"));
    must(read(ready_reader, &mut [0u8; 1]));
    assert_eq!(looks(2001, &path, target, address), (libc::EACCES, libc::EPERM), "its own user, when it hides");
    assert_eq!(looks(0, &path, target, address), (0, 0), "root, when it hides");
    must(write(step_writer, b"s"));
    exits(target, 0);
}
