//! Mappings: mmap(2) and its kin, copy-on-write, protection, the heap and the stack.

use super::tests;
use crate::call;
use crate::check::{dies_of, exits, fails, in_child, must, within};
use crate::sys::*;

tests!("memory":
    anonymous_memory_is_zero_and_writable,
    shared_anonymous_memory_is_shared_with_children,
    copy_on_write_isolates_the_child,
    copy_on_write_isolates_the_parent,
    copy_on_write_holds_over_generations,
    brk_grows_and_shrinks_zeroed,
    dontneed_gives_zeros_back,
    dontneed_of_a_private_file_page_rereads_the_file,
    madvise_bad_arguments_fail,
    stack_grows_on_demand,
    stack_stops_at_its_limit,
    huge_reservation_costs_nothing,
    rlimit_as_is_enomem,
    impossible_length_is_enomem,
    msync_of_a_mapping_succeeds_of_a_hole_fails,
    mincore_knows_touched_pages,
    mlock_succeeds,
    map_bomb_ends_in_enomem [30],
    populate_faults_in_advance,
    fork_child_can_unmap_without_hurting_the_parent,
    read_into_a_fresh_mapping_faults_it_in,
    read_into_cow_memory_breaks_the_sharing,
    read_into_read_only_memory_is_efault,
    partial_copy_is_reported_before_efault,
);

fn anonymous_memory_is_zero_and_writable() {
    let at = must(anonymous(64 * PAGE));
    assert!(bytes_at(at, 64 * PAGE).iter().all(|byte| *byte == 0));
    (0..64).for_each(|page| poke(at + page * PAGE, page));
    (0..64).for_each(|page| assert_eq!(peek::<usize>(at + page * PAGE), page));
}

pub(super) fn file_of(content: &[u8]) -> Fd {
    let fd = must(scratch_file(c"file", 0));
    must(write_all(fd, content));
    fd
}

fn shared_anonymous_memory_is_shared_with_children() {
    let at = must(shared(2 * PAGE));
    in_child(|| poke(at + PAGE, 42u32));
    assert_eq!(peek::<u32>(at + PAGE), 42);
    let child = spawn(|| i32::from(!eventually(5000, || peek::<u32>(at) == 7)));
    poke(at, 7u32);
    exits(child, 0);
}

fn copy_on_write_isolates_the_child() {
    let at = must(anonymous(16 * PAGE));
    (0..16).for_each(|page| poke(at + page * PAGE, 1u32));
    in_child(|| (0..16).for_each(|page| poke(at + page * PAGE, 2u32)));
    (0..16).for_each(|page| assert_eq!(peek::<u32>(at + page * PAGE), 1));
}

fn copy_on_write_isolates_the_parent() {
    let at = must(anonymous(16 * PAGE));
    (0..16).for_each(|page| poke(at + page * PAGE, 1u32));
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        must(read(reader, &mut [0u8; 1]));
        i32::from((0..16).any(|page| peek::<u32>(at + page * PAGE) != 1))
    });
    (0..16).for_each(|page| poke(at + page * PAGE, 3u32));
    must(write(writer, b"x"));
    exits(child, 0);
}

fn copy_on_write_holds_over_generations() {
    let at = must(anonymous(PAGE));
    poke(at, 0u32);
    in_child(|| {
        poke(at, 1u32);
        in_child(|| {
            assert_eq!(peek::<u32>(at), 1);
            poke(at, 2u32);
            in_child(|| {
                assert_eq!(peek::<u32>(at), 2);
                poke(at, 3u32);
            });
            assert_eq!(peek::<u32>(at), 2);
        });
        assert_eq!(peek::<u32>(at), 1);
    });
    assert_eq!(peek::<u32>(at), 0);
}

pub(super) const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

pub(super) fn brk(to: usize) -> usize {
    raw(libc::SYS_brk as usize, pad([to])) as usize
}

fn brk_grows_and_shrinks_zeroed() {
    in_child(|| {
        let start = brk(0);
        let base = start.next_multiple_of(PAGE);
        assert_eq!(brk(base + 4 * PAGE), base + 4 * PAGE);
        poke(base + 3 * PAGE, 5u32);
        assert_eq!(brk(base + PAGE), base + PAGE);
        assert_eq!(brk(base + 4 * PAGE), base + 4 * PAGE);
        assert_eq!(peek::<u32>(base + 3 * PAGE), 0, "memory given back keeps its content");
        assert_eq!(brk(usize::MAX / 2), base + 4 * PAGE, "an impossible break is refused");
        assert_eq!(brk(PAGE), base + 4 * PAGE);
    });
}

fn dontneed_gives_zeros_back() {
    let at = must(anonymous(4 * PAGE));
    (0..4).for_each(|page| poke(at + page * PAGE, 8u32));
    must(madvise(at + PAGE, 2 * PAGE, libc::MADV_DONTNEED));
    assert_eq!([0, 1, 2, 3].map(|page| peek::<u32>(at + page * PAGE)), [8, 0, 0, 8]);
}

fn dontneed_of_a_private_file_page_rereads_the_file() {
    let fd = file_of(b"original");
    let at = must(mmap(0, PAGE, RW, libc::MAP_PRIVATE, fd, 0));
    poke(at, b'X');
    must(madvise(at, PAGE, libc::MADV_DONTNEED));
    assert_eq!(peek::<u8>(at), b'o');
}

fn madvise_bad_arguments_fail() {
    let at = must(anonymous(3 * PAGE));
    fails(madvise(at + 1, PAGE, libc::MADV_DONTNEED), libc::EINVAL);
    fails(madvise(at, PAGE, 9999), libc::EINVAL);
    must(munmap(at + PAGE, PAGE));
    fails(madvise(at, 3 * PAGE, libc::MADV_DONTNEED), libc::ENOMEM);
}

#[inline(never)]
fn deep(levels: usize) -> usize {
    let frame = core::hint::black_box([levels; 128]);
    if levels == 0 { 0 } else { deep(levels - 1) + frame[levels % 128] - levels + 1 }
}

fn stack_grows_on_demand() {
    in_child(|| assert_eq!(deep(4000), 4000));
}

fn stack_stops_at_its_limit() {
    dies_of(libc::SIGSEGV, || {
        let _ = deep(20_000);
    });
}

fn huge_reservation_costs_nothing() {
    let size = 64 << 30;
    let at = must(mmap(0, size, libc::PROT_NONE, ANONYMOUS | libc::MAP_NORESERVE, -1, 0));
    must(mprotect(at + (32 << 30), PAGE, RW));
    poke(at + (32 << 30), 1u32);
    must(munmap(at, size));
}

fn rlimit_as_is_enomem() {
    in_child(|| {
        must(setrlimit(libc::RLIMIT_AS, 64 << 20, 64 << 20));
        fails(anonymous(65 << 20), libc::ENOMEM);
        must(anonymous(16 << 20));
    });
}

fn impossible_length_is_enomem() {
    fails(mmap(0, 1 << 55, libc::PROT_NONE, ANONYMOUS, -1, 0), libc::ENOMEM);
    fails(mmap(0, usize::MAX - 5, libc::PROT_NONE, ANONYMOUS, -1, 0), libc::ENOMEM);
}

fn msync_of_a_mapping_succeeds_of_a_hole_fails() {
    let fd = file_of(b"data");
    let at = must(mmap(0, PAGE, RW, libc::MAP_SHARED, fd, 0));
    poke(at, b'D');
    must(call!(SYS_msync, at, PAGE, libc::MS_SYNC));
    must(munmap(at, PAGE));
    fails(call!(SYS_msync, at, PAGE, libc::MS_SYNC), libc::ENOMEM);
    fails(call!(SYS_msync, at + 1, PAGE, libc::MS_SYNC), libc::EINVAL);
}

fn mincore_knows_touched_pages() {
    let at = must(anonymous(3 * PAGE));
    poke(at + PAGE, 1u8);
    let mut residence = [9u8; 3];
    must(call!(SYS_mincore, at, 3 * PAGE, residence.as_mut_slice()));
    assert_eq!(residence.map(|byte| byte & 1), [0, 1, 0]);
}

fn mlock_succeeds() {
    let at = must(anonymous(2 * PAGE));
    must(call!(SYS_mlock, at, 2 * PAGE));
    must(call!(SYS_munlock, at, 2 * PAGE));
    fails(call!(SYS_mlock, 0x6_0000_0000u64, PAGE), libc::ENOMEM);
}

fn map_bomb_ends_in_enomem() {
    in_child(|| {
        let (mut count, mut last) = (0u32, 0);
        let refused = loop {
            // Alternating protections keep neighbours from merging.
            let prot = if count.is_multiple_of(2) { libc::PROT_READ } else { RW };
            match mmap(0, PAGE, prot, ANONYMOUS, -1, 0) {
                Ok(at) => (count, last) = (count + 1, at),
                Err(errno) => break errno,
            }
            assert!(count < 200_000, "no limit on the number of mappings");
        };
        assert_eq!(refused, Errno(libc::ENOMEM));
        within(count, 30_000, 70_000, "mappings");
        // What leaves no more mappings than there are still works.
        must(munmap(last, PAGE));
        must(mmap(last, PAGE, RW, ANONYMOUS, -1, 0));
    });
    must(anonymous(PAGE));
}

fn populate_faults_in_advance() {
    let at = must(mmap(0, 4 * PAGE, RW, ANONYMOUS | libc::MAP_POPULATE, -1, 0));
    let mut residence = [0u8; 4];
    must(call!(SYS_mincore, at, 4 * PAGE, residence.as_mut_slice()));
    assert_eq!(residence.map(|byte| byte & 1), [1; 4]);
}

fn fork_child_can_unmap_without_hurting_the_parent() {
    let at = must(anonymous(8 * PAGE));
    (0..8).for_each(|page| poke(at + page * PAGE, page));
    in_child(|| must(munmap(at, 8 * PAGE)));
    (0..8).for_each(|page| assert_eq!(peek::<usize>(at + page * PAGE), page));
}

fn read_into_a_fresh_mapping_faults_it_in() {
    let fd = must(scratch_file(c"file", 0));
    must(write_all(fd, &vec![0x5a; 10 * PAGE]));
    let at = must(anonymous(10 * PAGE));
    assert_eq!(must(call!(SYS_pread64, fd, at, 10 * PAGE, 0)), 10 * PAGE);
    assert!(bytes_at(at, 10 * PAGE).iter().all(|byte| *byte == 0x5a));
}

fn read_into_cow_memory_breaks_the_sharing() {
    let fd = file_of(b"from the file");
    let at = must(anonymous(PAGE));
    poke(at, *b"before");
    in_child(|| {
        assert_eq!(must(call!(SYS_pread64, fd, at, 13, 0)), 13);
        assert_eq!(bytes_at(at, 13), b"from the file");
    });
    assert_eq!(bytes_at(at, 6), b"before");
}

fn read_into_read_only_memory_is_efault() {
    let fd = file_of(b"data");
    let at = must(anonymous(PAGE));
    poke(at, 0u8);
    must(mprotect(at, PAGE, libc::PROT_READ));
    fails(call!(SYS_pread64, fd, at, 4, 0), libc::EFAULT);
    assert_eq!(peek::<u32>(at), 0);
}

fn partial_copy_is_reported_before_efault() {
    let at = must(anonymous(2 * PAGE));
    must(munmap(at + PAGE, PAGE));
    let (reader, writer) = must(pipe());
    fails(call!(SYS_write, writer, at + PAGE, 10), libc::EFAULT);
    let fd = must(scratch_file(c"file", 0));
    let n = must(call!(SYS_pwrite64, fd, at + PAGE - 100, 200, 0));
    assert_eq!(n, 100, "what could be copied is written");
    must(write(writer, &[1u8; 200]));
    fails(call!(SYS_read, reader, at + PAGE, 200), libc::EFAULT);
}
