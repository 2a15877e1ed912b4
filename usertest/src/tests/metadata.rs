//! What is known about a file, and who may change or use it (inode(7), path_resolution(7)).

use super::tests;
use crate::call;
use crate::check::{fails, in_child, must, within};
use crate::sys::*;

tests!("metadata":
    stat_fields_are_right,
    statx_agrees_with_stat,
    times_move_with_changes,
    utimensat_sets_times,
    umask_applies_to_creation,
    chmod_changes_the_mode,
    chown_clears_set_id_bits,
    writing_takes_set_id_bits_unless_privileged,
    permissions_bind_other_users,
    groups_grant_group_rights,
    directory_search_permission_is_needed,
    sticky_directories_protect_names,
    access_asks_for_the_real_user,
);

pub(super) fn become_user(id: u32) {
    must(call!(SYS_setgroups, 0, 0));
    must(call!(SYS_setresgid, id, id, id));
    must(call!(SYS_setresuid, id, id, id));
}

pub(super) fn chmod(path: &std::ffi::CStr, mode: u32) -> Result<usize> {
    call!(SYS_fchmodat, libc::AT_FDCWD, path, mode)
}

fn stat_fields_are_right() {
    must(write_file(c"file", &[1u8; 5000]));
    let stat = must(stat(c"file"));
    assert_eq!((stat.st_mode, stat.st_size, stat.st_nlink), (libc::S_IFREG | 0o644, 5000, 1));
    assert_eq!((stat.st_uid, stat.st_gid, stat.st_blksize), (0, 0, 4096));
    within(stat.st_blocks, 10, 16, "blocks of 512 bytes");
    let here = must(clock(libc::CLOCK_REALTIME)) / SECOND;
    within(stat.st_mtime as u64, here - 5, here + 1, "modification time");
    assert_eq!(must(fstatat(c".", 0)).st_dev, stat.st_dev);
    let fd = must(open(c"file", libc::O_RDONLY, 0));
    let mut by_fd = zeroed::<libc::stat>();
    must(call!(SYS_newfstatat, fd, c"", &mut by_fd, libc::AT_EMPTY_PATH));
    assert_eq!(by_fd.st_ino, stat.st_ino);
    fails(fstatat(c"file", 1 << 30), libc::EINVAL);
    fails(call!(SYS_newfstatat, libc::AT_FDCWD, c"file", 8, 0), libc::EFAULT);
}

fn statx_agrees_with_stat() {
    must(write_file(c"file", &[1u8; 77]));
    let plain = must(stat(c"file"));
    let mut words = [0u32; 64];
    must(call!(SYS_statx, libc::AT_FDCWD, c"file", 0, 0x7ff, &mut words));
    assert!(words[0] & 0x7ff == 0x7ff, "mask {:#x}", words[0]);
    assert_eq!((words[4], words[5], words[6]), (1, 0, 0), "nlink, uid, gid");
    assert_eq!(words[7] & 0xffff, plain.st_mode);
    assert_eq!(u64::from(words[8]) | u64::from(words[9]) << 32, plain.st_ino);
    assert_eq!(words[10], 77);
}

fn modified(path: &std::ffi::CStr) -> (u64, u64) {
    let stat = must(stat(path));
    let ns = |seconds: i64, ns: i64| seconds as u64 * SECOND + ns as u64;
    (ns(stat.st_mtime, stat.st_mtime_nsec), ns(stat.st_ctime, stat.st_ctime_nsec))
}

fn times_move_with_changes() {
    must(write_file(c"file", b"x"));
    let (mtime, ctime) = modified(c"file");
    let directory = modified(c".").0;
    sleep_ms(20);
    must(call!(SYS_fchmodat, libc::AT_FDCWD, c"file", 0o600));
    assert_eq!(modified(c"file").0, mtime);
    assert!(modified(c"file").1 > ctime, "chmod moves ctime");
    let fd = must(open(c"file", libc::O_WRONLY, 0));
    must(write(fd, b"y"));
    assert!(modified(c"file").0 > mtime, "write moves mtime");
    assert_eq!(modified(c".").0, directory);
    must(unlink(c"file"));
    assert!(modified(c".").0 > directory, "unlink moves the directory's mtime");
}

const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;

fn utimensat_sets_times() {
    must(write_file(c"file", b"x"));
    must(call!(SYS_utimensat, libc::AT_FDCWD, c"file", &[1000i64, 5, 2000, 6], 0));
    let stat_one = must(stat(c"file"));
    assert_eq!((stat_one.st_atime, stat_one.st_atime_nsec), (1000, 5));
    assert_eq!((stat_one.st_mtime, stat_one.st_mtime_nsec), (2000, 6));
    must(call!(SYS_utimensat, libc::AT_FDCWD, c"file", &[0, UTIME_NOW, 0, UTIME_OMIT], 0));
    let stat_two = must(stat(c"file"));
    assert!(stat_two.st_atime > 1000 && stat_two.st_mtime == 2000);
    must(call!(SYS_utimensat, libc::AT_FDCWD, c"file", 0, 0));
    assert!(must(stat(c"file")).st_mtime > 2000);
    fails(call!(SYS_utimensat, libc::AT_FDCWD, c"file", &[0, -1i64, 0, 0], 0), libc::EINVAL);
}

fn umask_applies_to_creation() {
    must(call!(SYS_umask, 0o027));
    must(open(c"file", libc::O_CREAT, 0o666));
    must(mkdir(c"d", 0o777));
    assert_eq!(must(stat(c"file")).st_mode & 0o777, 0o640);
    assert_eq!(must(stat(c"d")).st_mode & 0o777, 0o750);
    assert_eq!(must(call!(SYS_umask, 0o7777)), 0o027);
    assert_eq!(must(call!(SYS_umask, 0)), 0o777);
}

fn chown(path: &std::ffi::CStr, user: u32, group: u32) -> Result<usize> {
    call!(SYS_fchownat, libc::AT_FDCWD, path, user, group, 0)
}

fn chmod_changes_the_mode() {
    must(write_file(c"file", b""));
    must(chmod(c"file", 0o4751));
    assert_eq!(must(stat(c"file")).st_mode & 0o7777, 0o4751);
    let fd = must(open(c"file", libc::O_RDONLY, 0));
    must(call!(SYS_fchmod, fd, 0o600));
    assert_eq!(must(stat(c"file")).st_mode & 0o7777, 0o600);
    in_child(|| {
        become_user(1000);
        fails(chmod(c"file", 0o777), libc::EPERM);
    });
}

fn chown_clears_set_id_bits() {
    must(write_file(c"file", b""));
    must(chmod(c"file", 0o6755));
    must(chown(c"file", 1000, 1000));
    let stat_one = must(stat(c"file"));
    assert_eq!((stat_one.st_uid, stat_one.st_gid, stat_one.st_mode & 0o7777), (1000, 1000, 0o755));
    must(chown(c"file", u32::MAX, 7));
    assert_eq!((must(stat(c"file")).st_uid, must(stat(c"file")).st_gid), (1000, 7));
    in_child(|| {
        become_user(1000);
        fails(chown(c"file", 1001, u32::MAX), libc::EPERM);
        fails(chown(c"file", u32::MAX, 55), libc::EPERM);
        must(chown(c"file", u32::MAX, 1000));
    });
}

fn permissions_bind_other_users() {
    must(chmod(c".", 0o777));
    must(write_file(c"private", b"secret"));
    must(chmod(c"private", 0o600));
    must(write_file(c"readable", b"hello"));
    in_child(|| {
        become_user(1000);
        fails(open(c"private", libc::O_RDONLY, 0), libc::EACCES);
        fails(open(c"readable", libc::O_WRONLY, 0), libc::EACCES);
        must(open(c"readable", libc::O_RDONLY, 0));
        must(write_file(c"mine", b""));
        must(chmod(c"mine", 0));
        fails(open(c"mine", libc::O_RDONLY, 0), libc::EACCES);
        assert_eq!(must(stat(c"mine")).st_uid, 1000);
    });
    must(open(c"mine", libc::O_RDWR, 0));
}

fn writing_takes_set_id_bits_unless_privileged() {
    let changes: [fn(&std::ffi::CStr) -> Result<usize>; 5] = [
        |name| write(open(name, libc::O_WRONLY, 0)?, b"x"),
        |name| pwrite(open(name, libc::O_WRONLY, 0)?, b"x", 0),
        |name| ftruncate(open(name, libc::O_WRONLY, 0)?, 1).map(|()| 0),
        |name| call!(SYS_truncate, name, 1),
        |name| open(name, libc::O_WRONLY | libc::O_TRUNC, 0).map(|_| 0),
    ];
    let mode = || must(stat(c"file")).st_mode & 0o7777;
    for (index, change) in changes.into_iter().enumerate() {
        must(write_file(c"file", b"content"));
        must(chmod(c"file", 0o6777));
        must(change(c"file"));
        assert_eq!(mode(), 0o6777, "change {index} by root");
        in_child(|| {
            become_user(1000);
            must(write(must(open(c"file", libc::O_WRONLY, 0)), b""));
            assert_eq!(mode(), 0o6777, "nothing was written");
            must(change(c"file"));
        });
        assert_eq!(mode(), 0o777, "change {index} by another user");
        // Of a file that its group may not execute, only who belongs to the group leaves the group's bit.
        must(chmod(c"file", 0o6766));
        in_child(|| {
            become_user(1000);
            must(change(c"file"));
        });
        assert_eq!(mode(), 0o766, "change {index}, group without x");
        must(chmod(c"file", 0o6766));
        in_child(|| {
            must(call!(SYS_setresuid, 1000, 1000, 1000));
            must(change(c"file"));
        });
        assert_eq!(mode(), 0o2766, "change {index}, group without x, by a member");
    }
}

fn groups_grant_group_rights() {
    must(write_file(c"file", b""));
    must(chmod(c"file", 0o040));
    must(chown(c"file", 5, 555));
    in_child(|| {
        must(call!(SYS_setgroups, 2, &[4u32, 555]));
        let mut groups = [0u32; 4];
        assert_eq!(must(call!(SYS_getgroups, 4, &mut groups)), 2);
        assert_eq!(groups[..2], [4, 555]);
        must(call!(SYS_setresgid, 1000, 1000, 1000));
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        must(open(c"file", libc::O_RDONLY, 0));
        fails(open(c"file", libc::O_WRONLY, 0), libc::EACCES);
        fails(call!(SYS_setgroups, 0, 0), libc::EPERM);
    });
    in_child(|| {
        // The owner is judged by the owner's bits alone.
        must(call!(SYS_setgroups, 1, &[555u32]));
        must(call!(SYS_setresuid, 5, 5, 5));
        fails(open(c"file", libc::O_RDONLY, 0), libc::EACCES);
    });
}

fn directory_search_permission_is_needed() {
    must(mkdir(c"d", 0o755));
    must(write_file(c"d/file", b""));
    must(chmod(c"d", 0o744));
    in_child(|| {
        become_user(1000);
        fails(stat(c"d/file"), libc::EACCES);
        fails(chdir(c"d"), libc::EACCES);
        assert_eq!(must(list(c"d")), ["file"]);
    });
    must(chmod(c"d", 0o711));
    in_child(|| {
        become_user(1000);
        must(stat(c"d/file"));
        fails(list(c"d"), libc::EACCES);
        fails(unlink(c"d/file"), libc::EACCES);
    });
}

fn sticky_directories_protect_names() {
    must(mkdir(c"d", 0o777));
    must(chmod(c"d", 0o1777));
    must(write_file(c"d/file", b""));
    in_child(|| {
        become_user(1000);
        fails(unlink(c"d/file"), libc::EPERM);
        fails(rename(c"d/file", c"d/other", 0), libc::EPERM);
        must(write_file(c"d/own", b""));
        must(unlink(c"d/own"));
    });
}

fn access_asks_for_the_real_user() {
    must(write_file(c"file", b""));
    must(chmod(c"file", 0o600));
    must(call!(SYS_faccessat, libc::AT_FDCWD, c"file", libc::R_OK | libc::W_OK));
    fails(call!(SYS_faccessat, libc::AT_FDCWD, c"file", libc::X_OK), libc::EACCES);
    fails(call!(SYS_faccessat, libc::AT_FDCWD, c"none", libc::F_OK), libc::ENOENT);
    fails(call!(SYS_faccessat, libc::AT_FDCWD, c"file", 9), libc::EINVAL);
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 0, 0));
        fails(call!(SYS_faccessat, libc::AT_FDCWD, c"file", libc::R_OK), libc::EACCES);
        must(call!(SYS_faccessat2, libc::AT_FDCWD, c"file", libc::R_OK, libc::AT_EACCESS));
    });
}
