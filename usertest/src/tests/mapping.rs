//! Mappings: mmap, munmap, mprotect, mremap and what /proc/self/maps says of them (mmap(2)).

use super::memory::{ANONYMOUS, brk, file_of};
use super::tests;
use crate::call;
use crate::check::{dies_of, fails, in_child, must, some};
use crate::sys::*;

tests!("mapping":
    private_file_mapping_keeps_changes_to_itself,
    shared_file_mapping_writes_the_file,
    write_is_seen_by_a_shared_mapping_at_once,
    file_mapping_starts_at_its_offset,
    mapping_outlives_descriptor_and_name,
    fixed_replaces_what_was_there,
    noreplace_refuses_to,
    hint_is_taken_when_free,
    munmap_in_the_middle_splits,
    munmap_of_a_hole_succeeds,
    munmap_that_fails_changes_nothing,
    munmap_bad_arguments_are_einval,
    mmap_bad_arguments_fail,
    mmap_of_a_write_only_file_is_eacces,
    mmap_shared_writable_of_a_read_only_file_is_eacces,
    mprotect_takes_and_gives_rights,
    mprotect_of_a_hole_is_enomem,
    mprotect_splits_and_merges,
    a_growing_mapping_stops_at_the_lowest_address,
    what_a_locked_mapping_grows_by_is_locked,
    a_hole_in_a_file_leaves_private_copies,
    execution_needs_prot_exec,
    mremap_grows_in_place_or_moves,
    mremap_shrinks,
    mremap_shrinks_a_sparse_giant_at_once,
    mremap_fixed_moves_there,
    mremap_without_maymove_fails_when_blocked,
    maps_describes_stack_heap_and_code,
);

fn private_file_mapping_keeps_changes_to_itself() {
    let fd = file_of(b"original");
    let at = must(mmap(0, PAGE, RW, libc::MAP_PRIVATE, fd, 0));
    assert_eq!(bytes_at(at, 9), b"original\0");
    poke(at, *b"CHANGED!");
    let mut content = [0u8; 8];
    must(pread(fd, &mut content, 0));
    assert_eq!(&content, b"original");
}

fn shared_file_mapping_writes_the_file() {
    let fd = file_of(b"original");
    let at = must(mmap(0, PAGE, RW, libc::MAP_SHARED, fd, 0));
    poke(at, *b"CHANGED!");
    let mut content = [0u8; 16];
    assert_eq!(must(pread(fd, &mut content, 0)), 8);
    assert_eq!(&content[..8], b"CHANGED!");
}

fn write_is_seen_by_a_shared_mapping_at_once() {
    let fd = file_of(b"original");
    let one = must(mmap(0, PAGE, libc::PROT_READ, libc::MAP_SHARED, fd, 0));
    let two = must(mmap(0, PAGE, RW, libc::MAP_SHARED, fd, 0));
    assert_eq!(peek::<u8>(one), b'o');
    must(pwrite(fd, b"W", 0));
    assert_eq!((peek::<u8>(one), peek::<u8>(two)), (b'W', b'W'));
    poke(two, b'M');
    assert_eq!(peek::<u8>(one), b'M');
}

fn file_mapping_starts_at_its_offset() {
    let fd = must(scratch_file(c"file", 3 * PAGE as i64));
    must(pwrite(fd, b"second page", PAGE as i64));
    let at = must(mmap(0, PAGE, libc::PROT_READ, libc::MAP_PRIVATE, fd, PAGE as i64));
    assert_eq!(bytes_at(at, 11), b"second page");
    fails(mmap(0, PAGE, libc::PROT_READ, libc::MAP_PRIVATE, fd, 100), libc::EINVAL);
}

fn mapping_outlives_descriptor_and_name() {
    let fd = file_of(b"still here");
    let at = must(mmap(0, PAGE, libc::PROT_READ, libc::MAP_SHARED, fd, 0));
    must(close(fd));
    must(unlink(c"file"));
    assert_eq!(bytes_at(at, 10), b"still here");
}

fn fixed_replaces_what_was_there() {
    let at = must(anonymous(3 * PAGE));
    (0..3).for_each(|page| poke(at + page * PAGE, 5u32));
    assert_eq!(must(mmap(at + PAGE, PAGE, RW, ANONYMOUS | libc::MAP_FIXED, -1, 0)), at + PAGE);
    assert_eq!([0, 1, 2].map(|page| peek::<u32>(at + page * PAGE)), [5, 0, 5]);
}

fn noreplace_refuses_to() {
    let at = must(anonymous(PAGE));
    let flags = ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    fails(mmap(at, PAGE, RW, flags, -1, 0), libc::EEXIST);
    must(munmap(at, PAGE));
    assert_eq!(must(mmap(at, PAGE, RW, flags, -1, 0)), at);
}

fn hint_is_taken_when_free() {
    let at = 0x2_0000_0000;
    assert_eq!(must(mmap(at, PAGE, RW, ANONYMOUS, -1, 0)), at);
    assert!(must(mmap(at, PAGE, RW, ANONYMOUS, -1, 0)) != at);
}

fn munmap_in_the_middle_splits() {
    let at = must(anonymous(5 * PAGE));
    (0..5).for_each(|page| poke(at + page * PAGE, page));
    must(munmap(at + 2 * PAGE, PAGE));
    for page in [0, 1, 3, 4] {
        assert_eq!(peek::<usize>(at + page * PAGE), page);
    }
    assert_eq!(must(mapping_of(at + 2 * PAGE)), None);
    dies_of(libc::SIGSEGV, || {
        let _ = peek::<u8>(at + 2 * PAGE);
    });
}

fn munmap_that_fails_changes_nothing() {
    const PAGES: usize = 8192;
    in_child(|| {
        let at = must(mmap(0, PAGES * PAGE, RW, ANONYMOUS, -1, 0));
        for page in 0..PAGES {
            poke(at + page * PAGE, page);
        }
        // Every other page of these gets rights of its own, until there may be no more mappings.
        let many = must(mmap(0, 80_000 * PAGE, libc::PROT_NONE, ANONYMOUS, -1, 0));
        let full = (0..40_000).find_map(|n| mprotect(many + 2 * n * PAGE, PAGE, libc::PROT_READ).err());
        assert_eq!(full, Some(Errno(libc::ENOMEM)));
        // Some of what is left is used up by mappings of one page.
        while mmap(0, PAGE, libc::PROT_READ, ANONYMOUS | libc::MAP_NORESERVE, -1, 0).is_ok()
            && mmap(0, PAGE, libc::PROT_NONE, ANONYMOUS, -1, 0).is_ok()
        {}
        fails(munmap(at + PAGE, (PAGES - 2) * PAGE), libc::ENOMEM);
        for page in 0..PAGES {
            assert_eq!(peek::<usize>(at + page * PAGE), page);
        }
    });
}

fn munmap_of_a_hole_succeeds() {
    let at = must(anonymous(3 * PAGE));
    must(munmap(at + PAGE, PAGE));
    must(munmap(at, 3 * PAGE));
    must(munmap(at, 3 * PAGE));
}

fn munmap_bad_arguments_are_einval() {
    let at = must(anonymous(PAGE));
    fails(munmap(at + 1, PAGE), libc::EINVAL);
    fails(munmap(at, 0), libc::EINVAL);
    fails(munmap(at, usize::MAX), libc::EINVAL);
    fails(munmap(0xffff_0000_0000_0000, PAGE), libc::EINVAL);
}

fn mmap_bad_arguments_fail() {
    fails(mmap(0, 0, RW, ANONYMOUS, -1, 0), libc::EINVAL);
    fails(mmap(0, PAGE, RW, libc::MAP_ANONYMOUS, -1, 0), libc::EINVAL);
    fails(mmap(123, PAGE, RW, ANONYMOUS | libc::MAP_FIXED, -1, 0), libc::EINVAL);
    fails(mmap(0, PAGE, RW, libc::MAP_PRIVATE, -1, 0), libc::EBADF);
    fails(mmap(0xffff_0000_0000_0000, PAGE, RW, ANONYMOUS | libc::MAP_FIXED, -1, 0), libc::ENOMEM);
    let (reader, _writer) = must(pipe());
    fails(mmap(0, PAGE, libc::PROT_READ, libc::MAP_PRIVATE, reader, 0), libc::ENODEV);
    // Only private memory without a file can grow downwards.
    let file = must(scratch_file(c"file", PAGE as i64));
    let growing = libc::MAP_GROWSDOWN;
    fails(mmap(0, PAGE, RW, libc::MAP_PRIVATE | growing, file, 0), libc::EINVAL);
    fails(mmap(0, PAGE, RW, libc::MAP_SHARED | growing, file, 0), libc::EINVAL);
    fails(mmap(0, PAGE, RW, libc::MAP_SHARED | libc::MAP_ANONYMOUS | growing, -1, 0), libc::EINVAL);
    must(mmap(0, PAGE, RW, ANONYMOUS | growing, -1, 0));
}

fn mmap_of_a_write_only_file_is_eacces() {
    must(write_file(c"file", b"x"));
    let fd = must(open(c"file", libc::O_WRONLY, 0));
    fails(mmap(0, PAGE, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0), libc::EACCES);
}

fn mmap_shared_writable_of_a_read_only_file_is_eacces() {
    must(write_file(c"file", b"x"));
    let fd = must(open(c"file", libc::O_RDONLY, 0));
    fails(mmap(0, PAGE, RW, libc::MAP_SHARED, fd, 0), libc::EACCES);
    let at = must(mmap(0, PAGE, libc::PROT_READ, libc::MAP_SHARED, fd, 0));
    fails(mprotect(at, PAGE, RW), libc::EACCES);
    must(mmap(0, PAGE, RW, libc::MAP_PRIVATE, fd, 0));
}

fn mprotect_takes_and_gives_rights() {
    let at = must(anonymous(PAGE));
    poke(at, 9u32);
    must(mprotect(at, PAGE, libc::PROT_READ));
    assert_eq!(peek::<u32>(at), 9);
    dies_of(libc::SIGSEGV, || poke(at, 1u32));
    must(mprotect(at, PAGE, libc::PROT_NONE));
    dies_of(libc::SIGSEGV, || {
        let _ = peek::<u32>(at);
    });
    must(mprotect(at, PAGE, RW));
    poke(at, peek::<u32>(at) + 1);
    assert_eq!(peek::<u32>(at), 10);
}

fn mprotect_of_a_hole_is_enomem() {
    let at = must(anonymous(3 * PAGE));
    must(munmap(at + PAGE, PAGE));
    fails(mprotect(at, 3 * PAGE, libc::PROT_READ), libc::ENOMEM);
    fails(mprotect(at + 1, PAGE, libc::PROT_READ), libc::EINVAL);
    must(mprotect(at, 0, libc::PROT_READ));
}

fn mprotect_splits_and_merges() {
    let at = must(mmap(0x3_0000_0000, 4 * PAGE, RW, ANONYMOUS, -1, 0));
    must(mprotect(at + PAGE, PAGE, libc::PROT_READ));
    let middle = some(must(mapping_of(at + PAGE)), "the middle");
    assert_eq!((middle.start, middle.end, middle.mode.as_str()), (at + PAGE, at + 2 * PAGE, "r--p"));
    must(mprotect(at + PAGE, PAGE, RW));
    let whole = some(must(mapping_of(at)), "the whole");
    assert_eq!((whole.start, whole.end, whole.mode.as_str()), (at, at + 4 * PAGE, "rw-p"));
}

/// `mov w0, #42; ret`.
const CODE: [u32; 2] = [0x5280_0540, 0xd65f_03c0];

fn call_code(at: usize) -> i32 {
    // SAFETY: the words at `at` are a function of this type, or the test expects the fault.
    let function: extern "C" fn() -> i32 = unsafe { core::mem::transmute(at) };
    function()
}

fn a_growing_mapping_stops_at_the_lowest_address() {
    const LOWEST: usize = 0x1_0000;
    let growing = ANONYMOUS | libc::MAP_FIXED | libc::MAP_GROWSDOWN;
    assert_eq!(mmap(LOWEST, PAGE, RW, growing, -1, 0), Ok(LOWEST));
    dies_of(libc::SIGSEGV, || poke(8, 1u8));
}

fn locked_kib() -> u64 {
    let status = must(read_text(c"/proc/self/status"));
    let line = some(status.lines().find_map(|line| line.strip_prefix("VmLck:")), "VmLck");
    some(line.trim().trim_end_matches(" kB").parse().ok(), "a number")
}

fn what_a_locked_mapping_grows_by_is_locked() {
    const ROOM: usize = 1024 * PAGE;
    let room = must(anonymous(ROOM));
    must(munmap(room, ROOM));
    let top = room + ROOM - PAGE;
    must(mmap(top, PAGE, RW, ANONYMOUS | libc::MAP_FIXED | libc::MAP_GROWSDOWN, -1, 0));
    must(call!(SYS_mlock, top, PAGE));
    assert_eq!(locked_kib(), 4);
    for page in 1..=10 {
        poke(top - page * PAGE, 1u8);
    }
    assert_eq!(locked_kib(), 44);
    must(call!(SYS_munlock, top - 10 * PAGE, 11 * PAGE));
    assert_eq!(locked_kib(), 0);
}

fn a_hole_in_a_file_leaves_private_copies() {
    let fd = file_of(&[b'f'; 3 * PAGE]);
    let at = must(mmap(0, 3 * PAGE, RW, libc::MAP_PRIVATE, fd, 0));
    poke(at + PAGE, b'c');
    assert_eq!([0, 2].map(|page| peek::<u8>(at + page * PAGE)), [b'f'; 2]);
    must(call!(SYS_fallocate, fd, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 0, 3 * PAGE));
    assert_eq!([0, 1, 2].map(|page| peek::<u8>(at + page * PAGE)), [0, b'c', 0]);
    must(ftruncate(fd, 0));
    dies_of(libc::SIGBUS, || assert_eq!(peek::<u8>(at + PAGE), 0));
}

fn execution_needs_prot_exec() {
    let at = must(anonymous(PAGE));
    poke(at, CODE);
    dies_of(libc::SIGSEGV, || {
        let _ = call_code(at);
    });
    // SAFETY: the usual sequence for code just written, on a mapped line.
    unsafe { core::arch::asm!("dc cvau, {0}", "dsb ish", "ic ivau, {0}", "dsb ish", "isb", in(reg) at) };
    must(mprotect(at, PAGE, libc::PROT_READ | libc::PROT_EXEC));
    assert_eq!(call_code(at), 42);
}

fn mremap(at: usize, old: usize, new: usize, flags: i32, to: usize) -> Result<usize> {
    call!(SYS_mremap, at, old, new, flags, to)
}

fn mremap_grows_in_place_or_moves() {
    let at = must(anonymous(2 * PAGE));
    poke(at, 11u32);
    poke(at + PAGE, 22u32);
    let new = must(mremap(at, 2 * PAGE, 100 * PAGE, libc::MREMAP_MAYMOVE, 0));
    assert_eq!((peek::<u32>(new), peek::<u32>(new + PAGE), peek::<u32>(new + 99 * PAGE)), (11, 22, 0));
    poke(new + 99 * PAGE, 1u32);
}

fn mremap_shrinks() {
    let at = must(anonymous(4 * PAGE));
    assert_eq!(must(mremap(at, 4 * PAGE, PAGE, 0, 0)), at);
    assert_eq!(must(mapping_of(at + PAGE)).map(|m| m.start == at), None);
}

fn mremap_shrinks_a_sparse_giant_at_once() {
    const SIZE: usize = 16 << 40;
    let at = must(mmap(0, SIZE, RW, ANONYMOUS | libc::MAP_NORESERVE, -1, 0));
    for offset in [0, SIZE / 2, SIZE - PAGE] {
        poke(at + offset, 1u8);
    }
    let begun = now();
    assert_eq!(must(mremap(at, SIZE, PAGE, 0, 0)), at);
    let took = now() - begun;
    assert!(took < SECOND, "{took} ns");
    assert_eq!(peek::<u8>(at), 1);
    assert_eq!(must(mapping_of(at + SIZE / 2)), None);
}

fn mremap_fixed_moves_there() {
    let at = must(anonymous(2 * PAGE));
    poke(at + PAGE, 5u32);
    let to = must(anonymous(4 * PAGE));
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    assert_eq!(must(mremap(at, 2 * PAGE, 2 * PAGE, flags, to)), to);
    assert_eq!(peek::<u32>(to + PAGE), 5);
    assert_eq!(must(mapping_of(at)), None);
}

fn mremap_without_maymove_fails_when_blocked() {
    let at = must(mmap(0x4_0000_0000, 2 * PAGE, RW, ANONYMOUS, -1, 0));
    must(mprotect(at + PAGE, PAGE, libc::PROT_READ));
    fails(mremap(at, PAGE, 2 * PAGE, 0, 0), libc::ENOMEM);
    fails(mremap(0x5_0000_0000, PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE, 0), libc::EFAULT);
    fails(mremap(at, PAGE, 0, 0, 0), libc::EINVAL);
    fails(mremap(at + 1, PAGE, PAGE, 0, 0), libc::EINVAL);
}

fn maps_describes_stack_heap_and_code() {
    let code = maps_describes_stack_heap_and_code as *const () as usize;
    let local = 0u8;
    let code = some(must(mapping_of(code)), "the code");
    assert_eq!(code.mode, "r-xp");
    assert_eq!(code.name.as_bytes(), must(readlink(c"/proc/self/exe")).as_slice());
    let stack = some(must(mapping_of(Arg::word(&local))), "the stack");
    assert_eq!((stack.mode.as_str(), stack.name.as_str()), ("rw-p", "[stack]"));
    in_child(|| {
        let end = brk(brk(0) + 4 * PAGE);
        let heap = some(must(mapping_of(end - 1)), "the heap");
        assert_eq!((heap.mode.as_str(), heap.name.as_str()), ("rw-p", "[heap]"));
    });
    let all = must(maps());
    assert!(all.windows(2).all(|pair| pair[0].end <= pair[1].start), "not sorted");
}
