//! Names: directories, links, renames, metadata, permissions, mounts.

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, must, some, within};
use crate::sys::*;
use std::ffi::CString;

tests!("dir":
    mkdir_and_rmdir_keep_link_counts,
    mkdir_errors,
    rmdir_errors,
    listing_is_complete_over_many_calls,
    listing_is_stable_while_deleting,
    listing_includes_dot_and_types,
    listing_restarts_with_lseek,
    hard_links_share_the_inode,
    link_errors,
    unlink_errors,
    symlinks_are_followed_and_read,
    symlink_loops_are_eloop,
    readlink_errors_and_truncation,
    rename_replaces_atomically,
    rename_of_directories,
    rename_errors,
    rename_noreplace_and_exchange,
    rename_across_mounts_is_exdev,
    rename_over_an_open_file_keeps_it_readable,
    stat_fields_are_right,
    statx_agrees_with_stat,
    times_move_with_changes,
    utimensat_sets_times,
    umask_applies_to_creation,
    chmod_changes_the_mode,
    chown_clears_set_id_bits,
    permissions_bind_other_users,
    groups_grant_group_rights,
    directory_search_permission_is_needed,
    sticky_directories_protect_names,
    access_asks_for_the_real_user,
    chdir_and_getcwd,
    getcwd_errors,
    dot_dot_of_root_is_root,
    trailing_slashes_and_doubles,
    fchdir_follows_a_renamed_directory,
    chroot_hides_the_rest,
    tmpfs_mounts_and_unmounts,
    busy_mounts_are_ebusy,
    bind_mounts_show_the_same_files,
    mount_by_others_is_eperm,
    statfs_knows_its_kind,
    mknod_makes_devices_and_fifos,
    deep_paths_work,
    concurrent_creation_has_one_winner,
    rename_storm_loses_no_file [30],
);

fn links(path: &std::ffi::CStr) -> u64 {
    u64::from(must(stat(path)).st_nlink)
}

fn mkdir_and_rmdir_keep_link_counts() {
    must(mkdir(c"a", 0o755));
    assert_eq!(links(c"a"), 2);
    must(mkdir(c"a/b", 0o755));
    assert_eq!(links(c"a"), 3);
    must(rmdir(c"a/b"));
    assert_eq!(links(c"a"), 2);
    must(rmdir(c"a"));
    fails(stat(c"a"), libc::ENOENT);
}

fn mkdir_errors() {
    must(write_file(c"file", b""));
    must(mkdir(c"a", 0o755));
    fails(mkdir(c"a", 0o755), libc::EEXIST);
    fails(mkdir(c"file", 0o755), libc::EEXIST);
    fails(mkdir(c"file/x", 0o755), libc::ENOTDIR);
    fails(mkdir(c"none/x", 0o755), libc::ENOENT);
    fails(mkdir(c".", 0o755), libc::EEXIST);
    fails(mkdir(c"", 0o755), libc::ENOENT);
    must(mkdir(c"slash/", 0o755));
}

fn rmdir_errors() {
    must(write_file(c"file", b""));
    must(mkdir(c"a", 0o755));
    must(write_file(c"a/file", b""));
    fails(rmdir(c"a"), libc::ENOTEMPTY);
    fails(rmdir(c"file"), libc::ENOTDIR);
    fails(rmdir(c"none"), libc::ENOENT);
    fails(rmdir(c"a/."), libc::EINVAL);
    fails(rmdir(c"a/.."), libc::ENOTEMPTY);
    fails(rmdir(c"/"), libc::EBUSY);
}

fn make_files(count: usize) {
    for i in 0..count {
        let name = CString::new(format!("name-{i:05}")).unwrap_or_default();
        must(write_file(&name, b""));
    }
}

fn listing_is_complete_over_many_calls() {
    make_files(1000);
    let fd = must(open(c".", libc::O_RDONLY, 0));
    let mut names = Vec::new();
    loop {
        let entries = must(getdents(fd, 512));
        if entries.is_empty() {
            break;
        }
        names.extend(entries.into_iter().map(|entry| entry.name));
    }
    names.retain(|name| name.starts_with("name-"));
    names.sort();
    assert_eq!(names.len(), 1000);
    names.dedup();
    assert_eq!(names.len(), 1000, "names come twice");
    let directory = must(open(c".", libc::O_RDONLY, 0));
    fails(getdents(directory, 20), libc::EINVAL);
}

fn listing_is_stable_while_deleting() {
    make_files(500);
    let fd = must(open(c".", libc::O_RDONLY, 0));
    let mut seen = 0;
    loop {
        let entries = must(getdents(fd, 600));
        if entries.is_empty() {
            break;
        }
        for entry in entries.iter().filter(|entry| entry.name.starts_with("name-")) {
            seen += 1;
            must(unlink(&CString::new(entry.name.as_str()).unwrap_or_default()));
        }
    }
    assert_eq!((seen, must(list(c".")).len()), (500, 0));
}

fn listing_includes_dot_and_types() {
    must(mkdir(c"d", 0o755));
    must(symlink(c"d", c"l"));
    must(write_file(c"f", b""));
    let fd = must(open(c".", libc::O_RDONLY, 0));
    let entries = must(getdents(fd, 4096));
    let kind = |name: &str| some(entries.iter().find(|entry| entry.name == name), name).kind;
    assert_eq!([".", "..", "d", "l", "f"].map(kind), [4, 4, 4, 10, 8]);
    let file = some(entries.iter().find(|entry| entry.name == "f"), "f");
    assert_eq!(file.ino, must(stat(c"f")).st_ino);
}

fn listing_restarts_with_lseek() {
    make_files(10);
    let fd = must(open(c".", libc::O_RDONLY, 0));
    assert_eq!(must(getdents(fd, 8192)).len(), 12);
    assert!(must(getdents(fd, 8192)).is_empty());
    must(lseek(fd, 0, libc::SEEK_SET));
    assert_eq!(must(getdents(fd, 8192)).len(), 12);
}

fn hard_links_share_the_inode() {
    must(write_file(c"one", b"content"));
    must(link(c"one", c"two"));
    assert_eq!((must(stat(c"one")).st_ino, links(c"one")), (must(stat(c"two")).st_ino, 2));
    must(unlink(c"one"));
    assert_eq!((must(read_file(c"two")), links(c"two")), (b"content".to_vec(), 1));
}

fn link_errors() {
    must(write_file(c"file", b""));
    must(mkdir(c"d", 0o755));
    fails(link(c"none", c"x"), libc::ENOENT);
    fails(link(c"file", c"d"), libc::EEXIST);
    fails(link(c"d", c"x"), libc::EPERM);
    fails(link(c"file", c"none/x"), libc::ENOENT);
    fails(link(c"file", c"/dev/usertest-link"), libc::EXDEV);
}

fn unlink_errors() {
    must(mkdir(c"d", 0o755));
    fails(unlink(c"d"), libc::EISDIR);
    fails(unlink(c"none"), libc::ENOENT);
    fails(call!(SYS_unlinkat, libc::AT_FDCWD, c"d", 0x1000), libc::EINVAL);
    fails(unlink(c"."), libc::EISDIR);
}

fn symlinks_are_followed_and_read() {
    must(mkdir(c"d", 0o755));
    must(write_file(c"d/file", b"content"));
    must(symlink(c"d", c"to-d"));
    must(symlink(c"../d/file", c"d/relative"));
    assert_eq!(must(read_file(c"to-d/relative")), b"content");
    assert_eq!(must(readlink(c"d/relative")), b"../d/file");
    let link = must(fstatat(c"to-d", libc::AT_SYMLINK_NOFOLLOW));
    assert_eq!((link.st_mode, link.st_size), (libc::S_IFLNK | 0o777, 1));
    assert_eq!(must(stat(c"to-d")).st_mode & libc::S_IFMT, libc::S_IFDIR);
    must(unlink(c"to-d"));
    must(stat(c"d/file"));
    fails(symlink(c"x", c"d"), libc::EEXIST);
    fails(symlink(c"", c"empty"), libc::ENOENT);
}

fn symlink_loops_are_eloop() {
    must(symlink(c"b", c"a"));
    must(symlink(c"a", c"b"));
    fails(stat(c"a"), libc::ELOOP);
    fails(open(c"a", libc::O_RDONLY, 0), libc::ELOOP);
    must(write_file(c"end", b""));
    let mut last = c"end".to_owned();
    for i in 0..41 {
        let name = CString::new(format!("link{i}")).unwrap_or_default();
        must(symlink(&last, &name));
        last = name;
    }
    must(stat(c"link39"));
    fails(stat(c"link40"), libc::ELOOP);
}

fn readlink_errors_and_truncation() {
    must(write_file(c"file", b""));
    must(symlink(c"target", c"link"));
    fails(readlink(c"file"), libc::EINVAL);
    fails(readlink(c"none"), libc::ENOENT);
    let mut small = [b'?'; 4];
    assert_eq!(must(call!(SYS_readlinkat, libc::AT_FDCWD, c"link", &mut small, 3)), 3);
    assert_eq!(&small, b"tar?");
    fails(call!(SYS_readlinkat, libc::AT_FDCWD, c"link", &mut small, 0), libc::EINVAL);
}

fn rename_replaces_atomically() {
    must(write_file(c"target", b"old"));
    let child = spawn(|| {
        for _ in 0..300 {
            must(write_file(c"new", b"new"));
            must(rename(c"new", c"target", 0));
        }
        0
    });
    let mut looks = 0;
    while must(wait4(child, libc::WNOHANG)).is_none() {
        let content = must(read_file(c"target"));
        assert!(content == b"old" || content == b"new");
        looks += 1;
    }
    assert!(looks > 0);
    assert_eq!(must(list(c".")), ["target"]);
}

fn rename_of_directories() {
    must(mkdir(c"a", 0o755));
    must(mkdir(c"b", 0o755));
    must(write_file(c"a/file", b""));
    must(rename(c"a", c"b/a", 0));
    must(stat(c"b/a/file"));
    assert_eq!(must(stat(c"b/a/..")).st_ino, must(stat(c"b")).st_ino);
    assert_eq!(links(c"b"), 3);
    must(mkdir(c"empty", 0o755));
    must(rename(c"b/a", c"empty", 0));
    must(stat(c"empty/file"));
}

fn rename_errors() {
    must(write_file(c"file", b""));
    must(mkdir(c"d", 0o755));
    must(mkdir(c"d/e", 0o755));
    must(mkdir(c"x", 0o755));
    fails(rename(c"none", c"x", 0), libc::ENOENT);
    fails(rename(c"d", c"d/e/f", 0), libc::EINVAL);
    fails(rename(c"file", c"x", 0), libc::EISDIR);
    fails(rename(c"x", c"file", 0), libc::ENOTDIR);
    fails(rename(c"x", c"d", 0), libc::ENOTEMPTY);
    fails(rename(c"file", c"none/x", 0), libc::ENOENT);
    fails(rename(c".", c"y", 0), libc::EBUSY);
    fails(rename(c"file", c"y", 0x80), libc::EINVAL);
    must(rename(c"file", c"file", 0));
    must(link(c"file", c"same"));
    must(rename(c"file", c"same", 0));
    must(stat(c"file"));
}

fn rename_noreplace_and_exchange() {
    must(write_file(c"a", b"A"));
    must(write_file(c"b", b"B"));
    fails(rename(c"a", c"b", libc::RENAME_NOREPLACE), libc::EEXIST);
    must(rename(c"a", c"c", libc::RENAME_NOREPLACE));
    must(rename(c"c", c"b", libc::RENAME_EXCHANGE));
    assert_eq!((must(read_file(c"b")), must(read_file(c"c"))), (b"A".to_vec(), b"B".to_vec()));
    fails(rename(c"b", c"none", libc::RENAME_EXCHANGE), libc::ENOENT);
}

fn rename_across_mounts_is_exdev() {
    must(write_file(c"file", b""));
    fails(rename(c"file", c"/proc/file", 0), libc::EXDEV);
}

fn rename_over_an_open_file_keeps_it_readable() {
    must(write_file(c"old", b"old"));
    must(write_file(c"new", b"new"));
    let fd = must(open(c"old", libc::O_RDONLY, 0));
    must(rename(c"new", c"old", 0));
    assert_eq!(must(read_to_end(fd)), b"old");
    assert_eq!(must(read_file(c"old")), b"new");
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

fn chmod(path: &std::ffi::CStr, mode: u32) -> Result<usize> {
    call!(SYS_fchmodat, libc::AT_FDCWD, path, mode)
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

fn become_user(id: u32) {
    must(call!(SYS_setgroups, 0, 0));
    must(call!(SYS_setresgid, id, id, id));
    must(call!(SYS_setresuid, id, id, id));
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

fn cwd() -> Result<String> {
    let mut buffer = [0u8; 4096];
    let n = call!(SYS_getcwd, &mut buffer, 4096)?;
    Ok(String::from_utf8_lossy(&buffer[..n - 1]).into_owned())
}

fn chdir_and_getcwd() {
    let home = must(cwd());
    must(mkdir(c"d", 0o755));
    must(chdir(c"d"));
    assert_eq!(must(cwd()), format!("{home}/d"));
    must(chdir(c".."));
    assert_eq!(must(cwd()), home);
    must(chdir(c"/"));
    assert_eq!(must(cwd()), "/");
    fails(chdir(c"/none"), libc::ENOENT);
    let path = CString::new(home).unwrap_or_default();
    must(chdir(&path));
    must(write_file(c"file", b""));
    fails(chdir(c"file"), libc::ENOTDIR);
}

fn getcwd_errors() {
    fails(call!(SYS_getcwd, &mut [0u8; 2], 2), libc::ERANGE);
    must(mkdir(c"d", 0o755));
    must(chdir(c"d"));
    must(rmdir(c"../d"));
    fails(cwd(), libc::ENOENT);
    fails(write_file(c"file", b""), libc::ENOENT);
}

fn dot_dot_of_root_is_root() {
    assert_eq!(must(stat(c"/..")).st_ino, must(stat(c"/")).st_ino);
    must(stat(c"/../../../proc/self"));
}

fn trailing_slashes_and_doubles() {
    must(mkdir(c"d", 0o755));
    must(write_file(c"d/file", b""));
    must(stat(c".//d///file"));
    must(stat(c"d/./../d/file"));
    must(stat(c"d/"));
    fails(stat(c"d/file/"), libc::ENOTDIR);
    fails(stat(c"d/file/."), libc::ENOTDIR);
    fails(open(c"new/", libc::O_CREAT | libc::O_WRONLY, 0o644), libc::EISDIR);
}

fn fchdir_follows_a_renamed_directory() {
    must(mkdir(c"d", 0o755));
    let fd = must(open(c"d", libc::O_RDONLY, 0));
    must(rename(c"d", c"moved", 0));
    must(call!(SYS_fchdir, fd));
    assert!(must(cwd()).ends_with("/moved"));
    let file = must(scratch_file(c"file", 0));
    fails(call!(SYS_fchdir, file), libc::ENOTDIR);
}

fn chroot_hides_the_rest() {
    must(mkdir(c"d", 0o755));
    must(write_file(c"d/file", b"inside"));
    in_child(|| {
        must(call!(SYS_chroot, c"d"));
        must(chdir(c"/"));
        assert_eq!(must(list(c"/")), ["file"]);
        assert_eq!(must(read_file(c"/../../file")), b"inside");
        become_user(1000);
        fails(call!(SYS_chroot, c"/"), libc::EPERM);
    });
}

fn mount(source: &std::ffi::CStr, at: &std::ffi::CStr, kind: &std::ffi::CStr, flags: u64) -> Result<usize> {
    call!(SYS_mount, source, at, kind, flags, 0)
}

fn umount(at: &std::ffi::CStr) -> Result<usize> {
    call!(SYS_umount2, at, 0)
}

fn tmpfs_mounts_and_unmounts() {
    must(mkdir(c"m", 0o755));
    must(write_file(c"m/below", b""));
    let before = must(stat(c"m")).st_dev;
    must(mount(c"tmpfs", c"m", c"tmpfs", 0));
    assert!(must(list(c"m")).is_empty());
    assert!(must(stat(c"m")).st_dev != before);
    must(write_file(c"m/above", b""));
    let path = format!("{}/m", must(cwd()));
    let mounts = must(read_text(c"/proc/self/mounts"));
    assert!(mounts.lines().any(|line| line.starts_with(&format!("tmpfs {path} tmpfs rw"))), "{mounts}");
    assert_eq!(must(stat(c"m/..")).st_ino, must(stat(c".")).st_ino);
    must(umount(c"m"));
    assert_eq!(must(list(c"m")), ["below"]);
    fails(umount(c"m"), libc::EINVAL);
    fails(mount(c"x", c"m", c"no-such-kind", 0), libc::ENODEV);
    fails(mount(c"tmpfs", c"none", c"tmpfs", 0), libc::ENOENT);
}

fn busy_mounts_are_ebusy() {
    must(mkdir(c"m", 0o755));
    must(mount(c"tmpfs", c"m", c"tmpfs", 0));
    let fd = must(scratch_file(c"m/file", 0));
    fails(umount(c"m"), libc::EBUSY);
    fails(rmdir(c"m"), libc::EBUSY);
    must(call!(SYS_umount2, c"m", libc::MNT_DETACH));
    must(write(fd, b"still works"));
    assert!(must(list(c"m")).is_empty());
}

fn bind_mounts_show_the_same_files() {
    must(mkdir(c"a", 0o755));
    must(mkdir(c"b", 0o755));
    must(write_file(c"a/file", b"content"));
    must(mount(c"a", c"b", c"none", libc::MS_BIND));
    assert_eq!(must(read_file(c"b/file")), b"content");
    assert_eq!(must(stat(c"a/file")).st_ino, must(stat(c"b/file")).st_ino);
    must(umount(c"b"));
    assert!(must(list(c"b")).is_empty());
}

fn mount_by_others_is_eperm() {
    must(mkdir(c"m", 0o777));
    in_child(|| {
        become_user(1000);
        fails(mount(c"tmpfs", c"m", c"tmpfs", 0), libc::EPERM);
    });
}

fn statfs_knows_its_kind() {
    let kind = |path: &std::ffi::CStr| {
        let mut words = [0u64; 15];
        must(call!(SYS_statfs, path, &mut words));
        (words[0], words[1])
    };
    assert_eq!(kind(c"/proc"), (0x9fa0, 4096));
    assert_eq!(kind(c"."), (0x0102_1994, 4096));
    fails(call!(SYS_statfs, c"none", 8), libc::ENOENT);
}

fn mknod_makes_devices_and_fifos() {
    must(call!(SYS_mknodat, libc::AT_FDCWD, c"null", libc::S_IFCHR | 0o666, 0x103));
    let stat_one = must(stat(c"null"));
    assert_eq!((stat_one.st_mode & libc::S_IFMT, stat_one.st_rdev), (libc::S_IFCHR, 0x103));
    must(call!(SYS_mknodat, libc::AT_FDCWD, c"plain", libc::S_IFREG | 0o600, 0));
    assert_eq!(must(stat(c"plain")).st_mode, libc::S_IFREG | 0o600);
    fails(call!(SYS_mknodat, libc::AT_FDCWD, c"plain", libc::S_IFIFO | 0o600, 0), libc::EEXIST);
    in_child(|| {
        must(chmod(c".", 0o777));
        become_user(1000);
        fails(call!(SYS_mknodat, libc::AT_FDCWD, c"dev", libc::S_IFCHR | 0o666, 0x103), libc::EPERM);
        must(call!(SYS_mknodat, libc::AT_FDCWD, c"fifo", libc::S_IFIFO | 0o666, 0));
    });
}

fn deep_paths_work() {
    for _ in 0..200 {
        must(mkdir(c"deeper-and-deeper", 0o755));
        must(chdir(c"deeper-and-deeper"));
    }
    assert!(must(cwd()).len() > 200 * 18);
    must(write_file(c"bottom", b"x"));
    for _ in 0..200 {
        must(chdir(c".."));
    }
    must(stat(c"deeper-and-deeper/deeper-and-deeper"));
}

fn concurrent_creation_has_one_winner() {
    for round in 0..20 {
        let name = CString::new(format!("file{round}")).unwrap_or_default();
        let children: Vec<Pid> =
            (0..4).map(|_| spawn(|| i32::from(open(&name, libc::O_CREAT | libc::O_EXCL, 0o600).is_ok()))).collect();
        let winners: i32 = children.into_iter().map(|child| i32::from(must(wait(child)) == Status::Exited(1))).sum();
        assert_eq!(winners, 1, "in round {round}");
    }
}

fn rename_storm_loses_no_file() {
    must(mkdir(c"a", 0o755));
    must(mkdir(c"b", 0o755));
    (0..8).for_each(|i| must(write_file(&CString::new(format!("a/{i}")).unwrap_or_default(), b"")));
    let children: Vec<Pid> = (0..4u64)
        .map(|id| {
            spawn(|| {
                let mut random = crate::fuzz::Random::new(id + 1);
                for _ in 0..1000 {
                    let side = |random: &mut crate::fuzz::Random| {
                        if random.below(2) == 0 { "a" } else { "b" }
                    };
                    let from = format!("{}/{}", side(&mut random), random.below(8));
                    let to = format!("{}/{}", side(&mut random), random.below(8));
                    let (from, to) = (CString::new(from).unwrap_or_default(), CString::new(to).unwrap_or_default());
                    let _ = rename(&from, &to, libc::RENAME_NOREPLACE);
                }
                0
            })
        })
        .collect();
    children.into_iter().for_each(|child| exits(child, 0));
    assert_eq!(must(list(c"a")).len() + must(list(c"b")).len(), 8);
}
