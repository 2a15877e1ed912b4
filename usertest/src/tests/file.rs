//! Open files: flags, offsets, reading and writing, sizes, descriptors.

use super::tests;
use crate::call;
use crate::check::{dies_of, exits, fails, in_child, killed, must};
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
    fallocate_grows_and_punches,
    fallocate_makes_room_for_later,
    fallocate_of_a_huge_hole_takes_no_time,
    copy_file_range_copies,
    copy_file_range_refuses_what_it_cannot_copy,
    copy_file_range_within_a_file_must_not_overlap,
    sendfile_copies_to_a_pipe,
    sendfile_without_end_can_be_killed,
    fsync_of_a_file_succeeds_of_a_pipe_fails,
    large_offsets_work,
    bytes_of_any_number_and_alignment_come_through,
    a_buffer_and_a_path_may_end_where_memory_ends,
    openat_is_relative_to_its_descriptor,
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
    fails(open(c"link", O_RDONLY | O_NOFOLLOW | O_DIRECTORY, 0), libc::ENOTDIR);
    let fd = must(open(c"link", libc::O_PATH | O_NOFOLLOW, 0));
    assert_eq!(must(fstat(fd)).st_mode & libc::S_IFMT, libc::S_IFLNK);
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

fn fallocate_makes_room_for_later() {
    let fd = must(scratch_file(c"file", 0));
    must(call!(SYS_fallocate, fd, libc::FALLOC_FL_KEEP_SIZE, 0, 1000 * PAGE));
    let status = must(fstat(fd));
    assert_eq!((status.st_size, status.st_blocks), (0, 1000 * PAGE as i64 / 512));
    must(call!(SYS_fallocate, fd, 0, 10, 1200 * PAGE));
    let status = must(fstat(fd));
    assert_eq!((status.st_size, status.st_blocks), (1200 * PAGE as i64 + 10, 1201 * PAGE as i64 / 512));
    assert!(must(read_file(c"file")).iter().all(|byte| *byte == 0));
    must(ftruncate(fd, 0));
    assert_eq!(must(fstat(fd)).st_blocks, 0);
    fails(call!(SYS_fallocate, fd, 0, 0, 1usize << 50), libc::ENOSPC);
    assert_eq!(must(fstat(fd)).st_blocks, 0, "nothing is taken for what cannot be had");
}

fn fallocate_of_a_huge_hole_takes_no_time() {
    let fd = must(memfd());
    let huge = 1usize << 62;
    must(ftruncate(fd, huge as i64));
    must(call!(SYS_fallocate, fd, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 1, huge - 1));
    // Linux's tmpfs does not know it.
    let zeroed = call!(SYS_fallocate, fd, libc::FALLOC_FL_ZERO_RANGE, 0, huge);
    assert!(matches!(zeroed, Ok(0) | Err(Errno(libc::EOPNOTSUPP))), "{zeroed:?}");
}

fn copy_file_range_copies() {
    let from = must(scratch_file(c"from", 0));
    must(write_all(from, b"0123456789"));
    let to = must(scratch_file(c"to", 0));
    let mut offset = 3i64;
    assert_eq!(must(call!(SYS_copy_file_range, from, &mut offset, to, 0, 100, 0)), 7);
    assert_eq!((offset, must(read_file(c"to"))), (10, b"3456789".to_vec()));
}

fn copy_file_range_refuses_what_it_cannot_copy() {
    let from = must(scratch_file(c"from", 10));
    let to = must(scratch_file(c"to", 0));
    let copy = |from: Fd, to: Fd| call!(SYS_copy_file_range, from, 0, to, 0, 10, 0);
    fails(call!(SYS_copy_file_range, from, 0, to, 0, 10, 1), libc::EINVAL);
    let directory = must(open(c".", libc::O_RDONLY, 0));
    fails(copy(directory, to), libc::EISDIR);
    fails(copy(from, directory), libc::EISDIR);
    let (reader, writer) = must(pipe());
    fails(copy(reader, to), libc::EINVAL);
    fails(copy(from, writer), libc::EINVAL);
    fails(copy(must(open(c"from", libc::O_WRONLY, 0)), to), libc::EBADF);
    fails(copy(from, must(open(c"to", libc::O_RDONLY, 0))), libc::EBADF);
    let appends = must(open(c"to", libc::O_WRONLY | libc::O_APPEND, 0));
    fails(copy(from, appends), libc::EBADF);
    fails(call!(SYS_sendfile, appends, from, 0, 10), libc::EINVAL);
    let mut offset = 1i64;
    fails(call!(SYS_copy_file_range, from, &mut offset, to, 0, usize::MAX, 0), libc::EOVERFLOW);
    assert_eq!((offset, must(fstat(to)).st_size), (1, 0));
}

fn copy_file_range_within_a_file_must_not_overlap() {
    let file = must(scratch_file(c"file", 0));
    must(write_all(file, b"0123456789"));
    let copy = |mut from: i64, mut to: i64, length: usize| {
        call!(SYS_copy_file_range, file, &mut from, file, &mut to, length, 0)
    };
    fails(copy(0, 0, 5), libc::EINVAL);
    fails(copy(0, 4, 5), libc::EINVAL);
    fails(copy(4, 0, 5), libc::EINVAL);
    assert_eq!(must(copy(0, 5, 5)), 5);
    // What lies beyond the end does not count as the source's.
    assert_eq!(must(copy(5, 10, 1000)), 5);
    assert_eq!(must(copy(15, 3, 1000)), 0);
    assert_eq!(must(read_file(c"file")), b"012340123401234");
}

fn sendfile_without_end_can_be_killed() {
    let hole = must(memfd());
    must(ftruncate(hole, 1 << 62));
    let null = must(open(c"/dev/null", libc::O_WRONLY, 0));
    let child = spawn(|| {
        loop {
            must(call!(SYS_sendfile, null, hole, 0, usize::MAX >> 1));
        }
    });
    sleep_ms(50);
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
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

fn fsync_of_a_file_succeeds_of_a_pipe_fails() {
    let fd = must(scratch_file(c"file", 10));
    must(call!(SYS_fsync, fd));
    must(call!(SYS_fdatasync, fd));
    must(call!(SYS_syncfs, fd));
    let (reader, _writer) = must(pipe());
    fails(call!(SYS_fsync, reader), libc::EINVAL);
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

fn bytes_of_any_number_and_alignment_come_through() {
    let fd = must(scratch_file(c"file", 0));
    let pattern: Vec<u8> = (0..1100u32).map(|n| (n * 7 + n / 256) as u8).collect();
    for length in (0..300).chain([511, 512, 513, 767, 768, 1023, 1024, 1025]) {
        for shift in [0, 1, 7, 8, 15] {
            let data = &pattern[shift..shift + length];
            assert_eq!(must(pwrite(fd, data, shift as i64)), length);
            let mut buffer = vec![0xee; length + 2 * 16];
            assert_eq!(must(pread(fd, &mut buffer[shift..shift + length], shift as i64)), length);
            assert!(&buffer[shift..shift + length] == data, "{length} bytes, {shift} further on");
            assert!(buffer[..shift].iter().chain(&buffer[shift + length..]).all(|&byte| byte == 0xee));
        }
    }
}

fn a_buffer_and_a_path_may_end_where_memory_ends() {
    const PAGE: usize = 4096;
    let at = must(anonymous(2 * PAGE));
    must(munmap(at + PAGE, PAGE));
    let fd = must(scratch_file(c"file", 0));
    for length in 1..300 {
        let start = at + PAGE - length;
        (start..at + PAGE).for_each(|place| poke(place, b'/'));
        assert_eq!(must(call!(SYS_pwrite64, fd, start, length, 0)), length);
        assert_eq!(must(call!(SYS_pread64, fd, start, length, 0)), length);
        fails(call!(SYS_faccessat, libc::AT_FDCWD, start, 0), libc::EFAULT);
        poke(at + PAGE - 1, 0u8);
        let root = call!(SYS_faccessat, libc::AT_FDCWD, start, 0);
        if length == 1 { fails(root, libc::ENOENT) } else { assert_eq!(must(root), 0) }
    }
}
