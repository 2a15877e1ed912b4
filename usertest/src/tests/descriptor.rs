//! Descriptors: numbers, duplicates, flags, limits (dup(2), fcntl(2)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, must};
use crate::sys::*;
use libc::{O_APPEND, O_RDONLY, O_RDWR, O_TRUNC};

tests!("descriptor":
    path_descriptor_cannot_be_read,
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
    memfd_is_a_file_and_can_be_sealed,
    write_seal_waits_for_the_last_writable_mapping,
    sealed_file_is_mapped_to_be_read_only,
    ioctl_of_a_file_is_enotty,
    unlinked_open_file_lives_on,
);

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

fn sealable_file() -> Fd {
    let fd = must(call!(SYS_memfd_create, c"sealable", libc::MFD_ALLOW_SEALING)) as Fd;
    must(ftruncate(fd, PAGE as i64 * 4));
    fd
}

fn write_seal_waits_for_the_last_writable_mapping() {
    let seal = |fd, seal: i32| fcntl(fd, libc::F_ADD_SEALS, seal as usize);
    // Mappings that may not write, or keep what they write to themselves, are in nobody's way.
    let fd = sealable_file();
    let reader =
        must(open(&std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default(), libc::O_RDONLY, 0));
    let shown = must(mmap(0, PAGE, libc::PROT_READ, libc::MAP_SHARED, reader, 0));
    let copied = must(mmap(0, PAGE, RW, libc::MAP_PRIVATE, fd, 0));
    must(seal(fd, libc::F_SEAL_WRITE));
    poke(copied, 1u8);
    assert_eq!((peek::<u8>(shown), peek::<u8>(copied)), (0, 1));

    // A mapping that may become writable counts, in all its parts and copies.
    let fd = sealable_file();
    let at = must(mmap(0, 4 * PAGE, RW, libc::MAP_SHARED, fd, 0));
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY);
    must(munmap(at + PAGE, PAGE));
    must(mprotect(at, PAGE, libc::PROT_READ));
    must(munmap(at + 2 * PAGE, 2 * PAGE));
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY);
    let (go, held) = (must(pipe()), must(pipe()));
    let child = spawn(|| {
        must(write(held.1, b"x"));
        must(read(go.0, &mut [0u8; 1]));
        0
    });
    must(read(held.0, &mut [0u8; 1]));
    let moved = must(call!(SYS_mremap, at, PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE));
    must(munmap(moved, 2 * PAGE));
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY);
    must(write(go.1, b"x"));
    exits(child, 0);
    must(seal(fd, libc::F_SEAL_WRITE));
    assert_eq!(must(fcntl(fd, libc::F_GET_SEALS, 0)) as i32, libc::F_SEAL_WRITE);
}

fn sealed_file_is_mapped_to_be_read_only() {
    for seal in [libc::F_SEAL_WRITE, libc::F_SEAL_FUTURE_WRITE] {
        let fd = sealable_file();
        let before = (seal == libc::F_SEAL_FUTURE_WRITE).then(|| must(mmap(0, PAGE, RW, libc::MAP_SHARED, fd, 0)));
        must(fcntl(fd, libc::F_ADD_SEALS, seal as usize));
        fails(mmap(0, PAGE, RW, libc::MAP_SHARED, fd, 0), libc::EPERM);
        let at = must(mmap(0, PAGE, libc::PROT_READ, libc::MAP_SHARED, fd, 0));
        fails(mprotect(at, PAGE, RW), libc::EACCES);
        must(mmap(0, PAGE, RW, libc::MAP_PRIVATE, fd, 0));
        // What was mapped before stays writable.
        if let Some(before) = before {
            poke(before, 5u8);
            assert_eq!(peek::<u8>(at), 5);
        }
    }
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
