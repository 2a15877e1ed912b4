//! Open files: flags, offsets, reading and writing, sizes, descriptors.

use super::tests;
use crate::call;
use crate::check::{dies_of, exits, fails, in_child, must};
use crate::sys::*;
use libc::{O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};

tests!("file":
    open_errors_are_the_right_ones,
    excl_creates_once,
    trunc_empties,
    append_writes_at_the_end_whatever_the_offset,
    append_of_many_processes_loses_nothing,
    directory_flag_refuses_files,
    directories_cannot_be_written,
    nofollow_refuses_links,
    path_descriptor_cannot_be_read,
    tmpfile_has_no_name_until_linked,
    access_mode_is_enforced,
    lseek_moves_and_refuses,
    seek_hole_and_data_find_edges,
    read_at_end_is_zero,
    write_beyond_the_end_leaves_zeros,
    pread_and_pwrite_leave_the_offset,
    vectors_gather_and_scatter,
    vector_limits_are_einval,
    preadv_takes_an_offset,
    truncate_cuts_and_grows,
    truncate_errors,
    file_size_limit_is_efbig_and_sigxfsz,
    dup_shares_offset_and_status_flags,
    dup_takes_the_lowest_number,
    dup3_replaces_and_refuses_itself,
    fcntl_dupfd_respects_minimum,
    fcntl_setfl_changes_append_and_nonblock_only,
    cloexec_is_per_descriptor,
    descriptor_limit_is_emfile,
    descriptor_bomb_recovers,
    closed_descriptor_is_ebadf_everywhere,
    close_range_closes_and_marks,
    record_locks_conflict_between_processes,
    record_locks_split_and_end_with_the_process,
    blocking_record_lock_waits,
    record_lock_deadlock_is_edeadlk,
    open_file_locks_belong_to_the_description,
    flock_excludes_and_is_shared_by_dup,
    fallocate_grows_and_punches,
    copy_file_range_copies,
    sendfile_copies_to_a_pipe,
    memfd_is_a_file_and_can_be_sealed,
    fsync_of_a_file_succeeds_of_a_pipe_fails,
    ioctl_of_a_file_is_enotty,
    large_offsets_work,
    openat_is_relative_to_its_descriptor,
    unlinked_open_file_lives_on,
);

fn open_errors_are_the_right_ones() {
    must(write_file(c"file", b""));
    fails(open(c"none", O_RDONLY, 0), libc::ENOENT);
    fails(open(c"", O_RDONLY, 0), libc::ENOENT);
    fails(open(c"none/x", O_CREAT | O_WRONLY, 0o644), libc::ENOENT);
    fails(open(c"file/x", O_RDONLY, 0), libc::ENOTDIR);
    fails(open(c"file/", O_RDONLY, 0), libc::ENOTDIR);
    let long = std::ffi::CString::new(vec![b'a'; 256]).unwrap_or_default();
    fails(open(&long, O_RDONLY, 0), libc::ENAMETOOLONG);
    let path = std::ffi::CString::new(b"a/".repeat(2100)).unwrap_or_default();
    fails(open(&path, O_RDONLY, 0), libc::ENAMETOOLONG);
    fails(call!(SYS_openat, 77, c"file", 0, 0), libc::EBADF);
    fails(call!(SYS_openat, libc::AT_FDCWD, 8, 0, 0), libc::EFAULT);
    let fd = must(open(c"file", O_RDONLY, 0));
    fails(call!(SYS_openat, fd, c"x", 0, 0), libc::ENOTDIR);
}

fn excl_creates_once() {
    must(open(c"file", O_CREAT | O_EXCL | O_RDWR, 0o600));
    fails(open(c"file", O_CREAT | O_EXCL | O_RDWR, 0o600), libc::EEXIST);
    must(symlink(c"nowhere", c"link"));
    fails(open(c"link", O_CREAT | O_EXCL | O_RDWR, 0o600), libc::EEXIST);
    must(open(c"link", O_CREAT | O_RDWR, 0o600));
    must(stat(c"nowhere"));
}

fn trunc_empties() {
    must(write_file(c"file", b"content"));
    let fd = must(open(c"file", O_RDWR | O_TRUNC, 0));
    assert_eq!(must(fstat(fd)).st_size, 0);
}

fn append_writes_at_the_end_whatever_the_offset() {
    must(write_file(c"file", b"one"));
    let fd = must(open(c"file", O_RDWR | O_APPEND, 0));
    assert_eq!(must(lseek(fd, 0, libc::SEEK_SET)), 0);
    must(write(fd, b"two"));
    assert_eq!(must(lseek(fd, 0, libc::SEEK_CUR)), 6);
    assert_eq!(must(read_file(c"file")), b"onetwo");
}

fn append_of_many_processes_loses_nothing() {
    let fd = must(open(c"file", O_CREAT | O_WRONLY | O_APPEND, 0o644));
    let children: Vec<Pid> = (0..4u8)
        .map(|id| {
            spawn(|| {
                let own = must(open(c"file", O_WRONLY | O_APPEND, 0));
                (0..100)
                    .for_each(|i| assert_eq!(must(write(if i % 2 == 0 { fd } else { own }, &[b'a' + id; 100])), 100));
                0
            })
        })
        .collect();
    children.into_iter().for_each(|child| exits(child, 0));
    let content = must(read_file(c"file"));
    assert_eq!(content.len(), 40_000);
    assert!(content.chunks(100).all(|record| record.iter().all(|byte| *byte == record[0])), "records are torn");
}

fn directory_flag_refuses_files() {
    must(write_file(c"file", b""));
    fails(open(c"file", O_RDONLY | O_DIRECTORY, 0), libc::ENOTDIR);
    must(open(c".", O_RDONLY | O_DIRECTORY, 0));
}

fn directories_cannot_be_written() {
    fails(open(c".", O_WRONLY, 0), libc::EISDIR);
    fails(open(c".", O_RDWR, 0), libc::EISDIR);
    fails(open(c".", O_CREAT | O_RDONLY, 0o644), libc::EISDIR);
    let fd = must(open(c".", O_RDONLY, 0));
    fails(read(fd, &mut [0u8; 10]), libc::EISDIR);
}

fn nofollow_refuses_links() {
    must(write_file(c"file", b""));
    must(symlink(c"file", c"link"));
    fails(open(c"link", O_RDONLY | O_NOFOLLOW, 0), libc::ELOOP);
    let fd = must(open(c"link", libc::O_PATH | O_NOFOLLOW, 0));
    assert_eq!(must(fstat(fd)).st_mode & libc::S_IFMT, libc::S_IFLNK);
}

fn path_descriptor_cannot_be_read() {
    must(write_file(c"file", b"x"));
    let fd = must(open(c"file", libc::O_PATH, 0));
    fails(read(fd, &mut [0u8; 1]), libc::EBADF);
    fails(write(fd, b"x"), libc::EBADF);
    fails(ftruncate(fd, 0), libc::EBADF);
    must(fstat(fd));
    let directory = must(open(c".", libc::O_PATH, 0));
    must(call!(SYS_openat, directory, c"file", O_RDONLY, 0));
}

fn tmpfile_has_no_name_until_linked() {
    let fd = must(open(c".", libc::O_TMPFILE | O_RDWR, 0o600));
    must(write(fd, b"hidden"));
    assert_eq!((must(list(c".")).len(), must(fstat(fd)).st_nlink), (0, 0));
    let path = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    must(call!(SYS_linkat, libc::AT_FDCWD, path.as_c_str(), libc::AT_FDCWD, c"named", libc::AT_SYMLINK_FOLLOW));
    assert_eq!(must(read_file(c"named")), b"hidden");
}

fn access_mode_is_enforced() {
    must(write_file(c"file", b"x"));
    let reading = must(open(c"file", O_RDONLY, 0));
    let writing = must(open(c"file", O_WRONLY, 0));
    fails(write(reading, b"x"), libc::EBADF);
    fails(read(writing, &mut [0u8; 1]), libc::EBADF);
    fails(ftruncate(reading, 0), libc::EINVAL);
}

fn lseek_moves_and_refuses() {
    let fd = must(scratch_file(c"file", 100));
    assert_eq!(must(lseek(fd, 10, libc::SEEK_SET)), 10);
    assert_eq!(must(lseek(fd, 5, libc::SEEK_CUR)), 15);
    assert_eq!(must(lseek(fd, -20, libc::SEEK_END)), 80);
    assert_eq!(must(lseek(fd, 1000, libc::SEEK_END)), 1100);
    fails(lseek(fd, -1, libc::SEEK_SET), libc::EINVAL);
    fails(lseek(fd, -5000, libc::SEEK_CUR), libc::EINVAL);
    fails(lseek(fd, 0, 99), libc::EINVAL);
    assert_eq!(must(lseek(fd, 0, libc::SEEK_CUR)), 1100, "a refused seek moves nothing");
}

fn seek_hole_and_data_find_edges() {
    let fd = must(scratch_file(c"file", 1 << 20));
    must(pwrite(fd, &[1u8; 4096], 512 * 1024));
    assert_eq!(must(lseek(fd, 0, libc::SEEK_DATA)), 512 * 1024);
    assert_eq!(must(lseek(fd, 512 * 1024, libc::SEEK_HOLE)), 512 * 1024 + 4096);
    assert_eq!(must(lseek(fd, 0, libc::SEEK_HOLE)), 0);
    fails(lseek(fd, 1 << 20, libc::SEEK_DATA), libc::ENXIO);
}

fn read_at_end_is_zero() {
    let fd = must(scratch_file(c"file", 3));
    let mut buffer = [7u8; 8];
    assert_eq!((must(read(fd, &mut buffer)), must(read(fd, &mut buffer))), (3, 0));
    assert_eq!(must(pread(fd, &mut buffer, 1 << 40)), 0);
}

fn write_beyond_the_end_leaves_zeros() {
    let fd = must(scratch_file(c"file", 0));
    must(write(fd, b"a"));
    must(pwrite(fd, b"z", 10_000));
    let content = must(read_file(c"file"));
    assert_eq!((content.len(), content[0], content[10_000]), (10_001, b'a', b'z'));
    assert!(content[1..10_000].iter().all(|byte| *byte == 0));
    assert!(must(fstat(fd)).st_blocks * 512 <= 12_288, "the hole takes space");
}

fn pread_and_pwrite_leave_the_offset() {
    let fd = must(scratch_file(c"file", 10));
    must(lseek(fd, 5, libc::SEEK_SET));
    must(pwrite(fd, b"xyz", 0));
    let mut buffer = [0u8; 3];
    assert_eq!(must(pread(fd, &mut buffer, 0)), 3);
    assert_eq!((&buffer, must(lseek(fd, 0, libc::SEEK_CUR))), (b"xyz", 5));
    fails(pread(fd, &mut buffer, -1), libc::EINVAL);
}

fn vectors_gather_and_scatter() {
    let fd = must(scratch_file(c"file", 0));
    let parts = [Arg::word(b"one"), 3, 0, 0, Arg::word(b"three"), 5];
    assert_eq!(must(call!(SYS_writev, fd, &parts, 3)), 8);
    must(lseek(fd, 0, libc::SEEK_SET));
    let (mut first, mut second) = ([0u8; 4], [0u8; 10]);
    let parts = [Arg::word(&mut first), 4, Arg::word(&mut second), 10];
    assert_eq!(must(call!(SYS_readv, fd, &parts, 2)), 8);
    assert_eq!((&first, &second[..4]), (b"onet", b"hree".as_slice()));
}

fn vector_limits_are_einval() {
    let fd = must(scratch_file(c"file", 10));
    let parts = [0usize, usize::MAX];
    fails(call!(SYS_readv, fd, &parts, 1), libc::EINVAL);
    fails(call!(SYS_readv, fd, &parts, 1025), libc::EINVAL);
    fails(call!(SYS_readv, fd, 8, 1), libc::EFAULT);
    assert_eq!(must(call!(SYS_readv, fd, &parts, 0)), 0);
}

fn preadv_takes_an_offset() {
    let fd = must(scratch_file(c"file", 0));
    must(write(fd, b"0123456789"));
    let mut buffer = [0u8; 3];
    let parts = [Arg::word(&mut buffer), 3];
    assert_eq!(must(call!(SYS_preadv, fd, &parts, 1, 4, 0)), 3);
    assert_eq!(&buffer, b"456");
    assert_eq!(must(call!(SYS_pwritev, fd, &parts, 1, 0, 0)), 3);
    assert_eq!(must(read_file(c"file")), b"4563456789");
}

fn truncate_cuts_and_grows() {
    let fd = must(scratch_file(c"file", 0));
    must(write_all(fd, &[9u8; 10_000]));
    must(ftruncate(fd, 5_000));
    must(ftruncate(fd, 9_000));
    let content = must(read_file(c"file"));
    assert_eq!(content.len(), 9_000);
    assert!(content[..5_000].iter().all(|byte| *byte == 9), "kept");
    assert!(content[5_000..].iter().all(|byte| *byte == 0), "old bytes come back");
    must(call!(SYS_truncate, c"file", 3));
    assert_eq!(must(stat(c"file")).st_size, 3);
}

fn truncate_errors() {
    let fd = must(scratch_file(c"file", 0));
    fails(ftruncate(fd, -1), libc::EINVAL);
    fails(call!(SYS_truncate, c"none", 0), libc::ENOENT);
    fails(call!(SYS_truncate, c".", 0), libc::EISDIR);
}

fn file_size_limit_is_efbig_and_sigxfsz() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_FSIZE, 5000, 5000));
        must(set_disposition(libc::SIGXFSZ, libc::SIG_IGN));
        let fd = must(scratch_file(c"file", 0));
        assert_eq!(must(write(fd, &[0u8; 8000])), 5000);
        fails(write(fd, b"x"), libc::EFBIG);
        fails(ftruncate(fd, 6000), libc::EFBIG);
        dies_of(libc::SIGXFSZ, || {
            must(set_disposition(libc::SIGXFSZ, libc::SIG_DFL));
            let _ = write(fd, b"x");
        });
    });
}

fn dup_shares_offset_and_status_flags() {
    let fd = must(scratch_file(c"file", 10));
    let copy = must(call!(SYS_dup, fd)) as Fd;
    must(lseek(fd, 7, libc::SEEK_SET));
    assert_eq!(must(lseek(copy, 0, libc::SEEK_CUR)), 7);
    must(fcntl(copy, libc::F_SETFL, O_APPEND as usize));
    assert!(must(fcntl(fd, libc::F_GETFL, 0)) as i32 & O_APPEND != 0);
    let other = must(open(c"file", O_RDWR, 0));
    assert_eq!(must(lseek(other, 0, libc::SEEK_CUR)), 0);
}

fn dup_takes_the_lowest_number() {
    let fds: Vec<usize> = (0..4).map(|_| must(call!(SYS_dup, 0))).collect();
    assert_eq!(fds, [3, 4, 5, 6]);
    must(close(4));
    assert_eq!(must(call!(SYS_dup, 0)), 4);
}

fn dup3_replaces_and_refuses_itself() {
    let fd = must(scratch_file(c"file", 10));
    assert_eq!(must(call!(SYS_dup3, fd, 50, libc::O_CLOEXEC)), 50);
    assert_eq!(must(fcntl(50, libc::F_GETFD, 0)), 1);
    let (reader, writer) = must(pipe());
    must(call!(SYS_dup3, fd, writer, 0));
    assert_eq!(must(read(reader, &mut [0u8; 1])), 0, "the replaced descriptor is closed");
    fails(call!(SYS_dup3, fd, fd, 0), libc::EINVAL);
    fails(call!(SYS_dup3, 77, 78, 0), libc::EBADF);
    fails(call!(SYS_dup3, fd, 1 << 30, 0), libc::EBADF);
    fails(call!(SYS_dup3, fd, -1, 0), libc::EBADF);
    fails(call!(SYS_dup3, fd, 60, O_APPEND), libc::EINVAL);
}

fn fcntl_dupfd_respects_minimum() {
    assert_eq!(must(fcntl(0, libc::F_DUPFD, 100)), 100);
    assert_eq!(must(fcntl(0, libc::F_DUPFD, 100)), 101);
    assert_eq!(must(fcntl(0, libc::F_DUPFD_CLOEXEC, 100)), 102);
    assert_eq!(must(fcntl(102, libc::F_GETFD, 0)), 1);
    fails(fcntl(0, libc::F_DUPFD, 1 << 30), libc::EINVAL);
    fails(fcntl(0, 9999, 0), libc::EINVAL);
}

fn fcntl_setfl_changes_append_and_nonblock_only() {
    must(write_file(c"file", b""));
    let fd = must(open(c"file", O_RDONLY, 0));
    must(fcntl(fd, libc::F_SETFL, (O_RDWR | libc::O_NONBLOCK | O_TRUNC) as usize));
    let flags = must(fcntl(fd, libc::F_GETFL, 0)) as i32;
    assert_eq!(flags & (libc::O_ACCMODE | libc::O_NONBLOCK | O_TRUNC), O_RDONLY | libc::O_NONBLOCK);
}

fn cloexec_is_per_descriptor() {
    let fd = must(open(c".", O_RDONLY | libc::O_CLOEXEC, 0));
    let copy = must(call!(SYS_dup, fd)) as Fd;
    assert_eq!((must(fcntl(fd, libc::F_GETFD, 0)), must(fcntl(copy, libc::F_GETFD, 0))), (1, 0));
}

fn descriptor_limit_is_emfile() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_NOFILE, 20, 20));
        let mut last = 0;
        let refused = loop {
            match call!(SYS_dup, 0) {
                Ok(fd) => last = fd,
                Err(errno) => break errno,
            }
        };
        assert_eq!((refused, last), (Errno(libc::EMFILE), 19));
        fails(pipe(), libc::EMFILE);
        fails(open(c".", O_RDONLY, 0), libc::EMFILE);
        must(close(10));
        fails(pipe(), libc::EMFILE);
        assert_eq!(must(open(c".", O_RDONLY, 0)), 10);
        fails(call!(SYS_dup3, 0, 20, 0), libc::EBADF);
    });
}

fn descriptor_bomb_recovers() {
    in_child(|| {
        let limit = must(getrlimit(libc::RLIMIT_NOFILE)).1.min(4096);
        let _ = setrlimit(libc::RLIMIT_NOFILE, limit, limit);
        let mut opened = 0;
        while pipe().is_ok() {
            opened += 1;
        }
        assert!(opened > 100, "only {opened} pipes");
        fails(pipe(), libc::EMFILE);
    });
    let (reader, writer) = must(pipe());
    must(write(writer, b"x"));
    assert_eq!(must(read(reader, &mut [0u8; 1])), 1);
}

fn closed_descriptor_is_ebadf_everywhere() {
    for fd in [77, -1, i32::MAX, i32::MIN] {
        fails(close(fd), libc::EBADF);
        fails(read(fd, &mut [0u8; 1]), libc::EBADF);
        fails(write(fd, b"x"), libc::EBADF);
        fails(fstat(fd), libc::EBADF);
        fails(lseek(fd, 0, 0), libc::EBADF);
        fails(fcntl(fd, libc::F_GETFD, 0), libc::EBADF);
        fails(call!(SYS_dup, fd), libc::EBADF);
        fails(call!(SYS_ioctl, fd, 0x5401, 0), libc::EBADF);
        fails(call!(SYS_fsync, fd), libc::EBADF);
        fails(call!(SYS_getdents64, fd, 8, 8), libc::EBADF);
    }
}

fn close_range_closes_and_marks() {
    for fd in 10..20 {
        must(call!(SYS_dup3, 0, fd, 0));
    }
    must(call!(SYS_close_range, 12, 15, 0));
    let open: Vec<Fd> = (10..20).filter(|fd| fcntl(*fd, libc::F_GETFD, 0).is_ok()).collect();
    assert_eq!(open, [10, 11, 16, 17, 18, 19]);
    must(call!(SYS_close_range, 18, 19, 4));
    assert_eq!((must(fcntl(18, libc::F_GETFD, 0)), must(fcntl(17, libc::F_GETFD, 0))), (1, 0));
    fails(call!(SYS_close_range, 15, 12, 0), libc::EINVAL);
}

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

fn fallocate_grows_and_punches() {
    let fd = must(scratch_file(c"file", 0));
    must(call!(SYS_fallocate, fd, 0, 0, 3 * PAGE));
    assert_eq!(must(fstat(fd)).st_size, 3 * PAGE as i64);
    must(call!(SYS_fallocate, fd, libc::FALLOC_FL_KEEP_SIZE, 0, 5 * PAGE));
    assert_eq!(must(fstat(fd)).st_size, 3 * PAGE as i64);
    must(pwrite(fd, &[5u8; 3 * PAGE], 0));
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    must(call!(SYS_fallocate, fd, punch, PAGE, PAGE));
    let content = must(read_file(c"file"));
    assert_eq!([0, PAGE, 2 * PAGE].map(|at| content[at]), [5, 0, 5]);
    fails(call!(SYS_fallocate, fd, 0, 0, 0), libc::EINVAL);
    fails(call!(SYS_fallocate, fd, 0, -1, 5), libc::EINVAL);
}

fn copy_file_range_copies() {
    let from = must(scratch_file(c"from", 0));
    must(write_all(from, b"0123456789"));
    let to = must(scratch_file(c"to", 0));
    let mut offset = 3i64;
    assert_eq!(must(call!(SYS_copy_file_range, from, &mut offset, to, 0, 100, 0)), 7);
    assert_eq!((offset, must(read_file(c"to"))), (10, b"3456789".to_vec()));
}

fn sendfile_copies_to_a_pipe() {
    let from = must(scratch_file(c"from", 0));
    must(write_all(from, b"0123456789"));
    let (reader, writer) = must(pipe());
    let mut offset = 2i64;
    assert_eq!(must(call!(SYS_sendfile, writer, from, &mut offset, 5)), 5);
    let mut buffer = [0u8; 10];
    assert_eq!((must(read(reader, &mut buffer)), &buffer[..5]), (5, b"23456".as_slice()));
    assert_eq!((offset, must(lseek(from, 0, libc::SEEK_CUR))), (7, 10));
}

fn memfd_is_a_file_and_can_be_sealed() {
    let fd = must(call!(SYS_memfd_create, c"name", libc::MFD_ALLOW_SEALING)) as Fd;
    must(write(fd, b"content"));
    assert_eq!(must(fstat(fd)).st_size, 7);
    let path = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    assert_eq!(must(readlink(&path)), b"/memfd:name (deleted)");
    must(fcntl(fd, libc::F_ADD_SEALS, (libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK) as usize));
    fails(write(fd, b"x"), libc::EPERM);
    fails(ftruncate(fd, 1), libc::EPERM);
    assert_eq!(must(fcntl(fd, libc::F_GET_SEALS, 0)) as i32, libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK);
}

fn fsync_of_a_file_succeeds_of_a_pipe_fails() {
    let fd = must(scratch_file(c"file", 10));
    must(call!(SYS_fsync, fd));
    must(call!(SYS_fdatasync, fd));
    must(call!(SYS_syncfs, fd));
    let (reader, _writer) = must(pipe());
    fails(call!(SYS_fsync, reader), libc::EINVAL);
}

fn ioctl_of_a_file_is_enotty() {
    let fd = must(scratch_file(c"file", 10));
    let mut buffer = [0u8; 64];
    fails(call!(SYS_ioctl, fd, libc::TCGETS as u32, &mut buffer), libc::ENOTTY);
    fails(call!(SYS_ioctl, fd, 0x1234_5678u32, &mut buffer), libc::ENOTTY);
    let mut left = -1i32;
    must(call!(SYS_ioctl, fd, libc::FIONREAD as u32, &mut left));
    assert_eq!(left, 10);
    must(call!(SYS_ioctl, fd, libc::FIOCLEX as u32, 0));
    assert_eq!(must(fcntl(fd, libc::F_GETFD, 0)), 1);
}

fn large_offsets_work() {
    let fd = must(scratch_file(c"file", 0));
    let far = 5 << 30;
    must(pwrite(fd, b"far", far));
    assert_eq!(must(fstat(fd)).st_size, far + 3);
    let mut buffer = [9u8; 6];
    assert_eq!(must(pread(fd, &mut buffer, far - 3)), 6);
    assert_eq!(&buffer, b"\0\0\0far");
    fails(pwrite(fd, b"x", i64::MAX), libc::EINVAL);
}

fn openat_is_relative_to_its_descriptor() {
    must(mkdir(c"sub", 0o755));
    must(write_file(c"sub/file", b"inside"));
    let directory = must(open(c"sub", O_RDONLY, 0));
    let fd = must(call!(SYS_openat, directory, c"file", O_RDONLY, 0)) as Fd;
    assert_eq!(must(read_to_end(fd)), b"inside");
    must(call!(SYS_openat, directory, c"/dev/null", O_RDONLY, 0));
    must(call!(SYS_openat, -1, c"/dev/null", O_RDONLY, 0));
    must(rename(c"sub", c"moved", 0));
    must(call!(SYS_openat, directory, c"file", O_RDONLY, 0));
}

fn unlinked_open_file_lives_on() {
    let fd = must(scratch_file(c"file", 0));
    must(write(fd, b"ghost"));
    must(unlink(c"file"));
    fails(stat(c"file"), libc::ENOENT);
    assert_eq!(must(fstat(fd)).st_nlink, 0);
    let mut buffer = [0u8; 5];
    must(pread(fd, &mut buffer, 0));
    assert_eq!(&buffer, b"ghost");
    let path = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    assert!(must(readlink(&path)).ends_with(b"/file (deleted)"));
}
