//! The working directory, the root and mounts (getcwd(3), mount(2), statfs(2)).

use super::metadata::{become_user, chmod};
use super::tests;
use crate::call;
use crate::check::{fails, in_child, must};
use crate::sys::*;
use std::ffi::CString;

tests!("mount":
    chdir_and_getcwd,
    getcwd_errors,
    dot_dot_of_root_is_root,
    fchdir_follows_a_renamed_directory,
    chroot_hides_the_rest,
    tmpfs_mounts_and_unmounts,
    busy_mounts_are_ebusy,
    bind_mounts_show_the_same_files,
    mount_by_others_is_eperm,
    nothing_is_executed_from_a_noexec_mount,
    lazy_umount_takes_the_mounts_below_along,
    nothing_is_mounted_in_a_mount_that_was_taken_away,
    mount_and_rmdir_of_one_directory_have_one_winner [30],
    statfs_knows_its_kind,
    mknod_makes_devices_and_fifos,
    deep_paths_work,
);

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

fn nothing_is_executed_from_a_noexec_mount() {
    must(mkdir(c"m", 0o755));
    must(mount(c"tmpfs", c"m", c"tmpfs", libc::MS_NOEXEC));
    must(write_file(c"m/file", b"#!/bin/sh\n"));
    must(chmod(c"m/file", 0o755));
    let access = |path: &std::ffi::CStr, mode| call!(SYS_faccessat2, libc::AT_FDCWD, path, mode, libc::AT_EACCESS);
    fails(access(c"m/file", libc::X_OK), libc::EACCES);
    fails(call!(SYS_faccessat, libc::AT_FDCWD, c"m/file", libc::X_OK), libc::EACCES);
    must(access(c"m/file", libc::R_OK | libc::W_OK));
    must(access(c"m", libc::X_OK));
    let file = must(open(c"m/file", libc::O_RDWR, 0));
    let map = |prot| mmap(0, PAGE, prot, libc::MAP_PRIVATE, file, 0);
    fails(map(libc::PROT_READ | libc::PROT_EXEC), libc::EPERM);
    fails(mmap(0, PAGE, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_SHARED, file, 0), libc::EPERM);
    let at = must(map(libc::PROT_READ));
    fails(mprotect(at, PAGE, libc::PROT_READ | libc::PROT_EXEC), libc::EACCES);
    must(mprotect(at, PAGE, RW));
    let written_only = must(open(c"m/file", libc::O_WRONLY, 0));
    fails(mmap(0, PAGE, libc::PROT_EXEC, libc::MAP_PRIVATE, written_only, 0), libc::EACCES);
}

fn lazy_umount_takes_the_mounts_below_along() {
    let mounts = || must(read_text(c"/proc/self/mountinfo")).lines().count();
    let before = mounts();
    must(mkdir(c"a", 0o755));
    must(mount(c"tmpfs", c"a", c"tmpfs", 0));
    for below in [c"a/b", c"a/b/c", c"a/d"] {
        must(mkdir(below, 0o755));
        must(mount(c"tmpfs", below, c"tmpfs", 0));
    }
    must(write_file(c"a/b/file", b""));
    let directory = must(open(c"a", libc::O_RDONLY | libc::O_DIRECTORY, 0));
    fails(umount(c"a"), libc::EBUSY);
    must(call!(SYS_umount2, c"a", libc::MNT_DETACH));
    assert_eq!(mounts(), before);
    fails(call!(SYS_openat, directory, c"b/file", libc::O_RDONLY), libc::ENOENT);
    must(call!(SYS_unlinkat, directory, c"b", libc::AT_REMOVEDIR));
}

fn nothing_is_mounted_in_a_mount_that_was_taken_away() {
    must(mkdir(c"m", 0o755));
    must(mount(c"tmpfs", c"m", c"tmpfs", 0));
    must(mkdir(c"m/d", 0o755));
    must(chdir(c"m"));
    must(call!(SYS_umount2, c"../m", libc::MNT_DETACH));
    fails(mount(c"tmpfs", c"d", c"tmpfs", 0), libc::ENOENT);
    fails(umount(c"."), libc::EINVAL);
    must(rmdir(c"d"));
}

fn mount_and_rmdir_of_one_directory_have_one_winner() {
    let barrier = std::sync::Barrier::new(2);
    let rounds = 300;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..rounds {
                barrier.wait();
                let removed = rmdir(c"m");
                assert!(matches!(removed, Ok(()) | Err(Errno(libc::EBUSY))), "{removed:?}");
                barrier.wait();
            }
        });
        for _ in 0..rounds {
            must(mkdir(c"m", 0o755));
            barrier.wait();
            let mounted = mount(c"tmpfs", c"m", c"tmpfs", 0);
            barrier.wait();
            match mounted {
                Ok(_) => {
                    must(umount(c"m"));
                    must(rmdir(c"m"));
                }
                Err(error) => assert_eq!(error, Errno(libc::ENOENT)),
            }
        }
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
