//! What address spaces do at the edges: faults, limits, the stack, the break, what files take away.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::model_tests::check_invariants;
use super::remap::Move;
use super::*;
use crate::memory::address::{PAGE_SIZE, VirtAddr};
use crate::memory::shared::SharedMemory;
use crate::memory::vma::{Backing, Protection};

const BASE: u64 = 0x10_0000_0000;
const PAGE: u64 = PAGE_SIZE as u64;
const RW: Protection = Protection::READ.union(Protection::WRITE);

fn space() -> Arc<AddressSpace> {
    AddressSpace::new(11, MemoryLimits::INITIAL).unwrap()
}

#[test]
fn addresses_without_a_mapping_get_the_signals_of_linux() {
    use linux_raw_sys::general as linux;
    let space = space();
    let signal =
        |address, access| space.fault(VirtAddr(address), access).err().map(|signal| (signal.signal, signal.code));
    let maperr = Some((linux::SIGSEGV, linux::SEGV_MAPERR as i32));
    assert_eq!(signal(0, Access::Read), maperr);
    assert_eq!(signal(u64::MAX, Access::Write), maperr);
    let object = SharedMemory::new(PAGE);
    let request = MapRequest::anonymous(3 * PAGE, Protection::READ)
        .at(BASE)
        .of(Backing { source: object, name: None, writer: None }, 0);
    space.map(request).unwrap();
    assert_eq!(signal(BASE, Access::Read), None);
    assert_eq!(signal(BASE, Access::Write), Some((linux::SIGSEGV, linux::SEGV_ACCERR as i32)));
    assert_eq!(signal(BASE, Access::Execute), Some((linux::SIGSEGV, linux::SEGV_ACCERR as i32)));
    assert_eq!(signal(BASE + PAGE, Access::Read), Some((linux::SIGBUS, linux::BUS_ADRERR as i32)));
}

#[test]
fn a_tagged_fault_address_finds_its_page() {
    let space = space();
    space.map(MapRequest::anonymous(PAGE, RW).at(BASE)).unwrap();
    assert_eq!(space.fault(VirtAddr(BASE | 0x5a << 56), Access::Write), Ok(()));
}

#[test]
fn a_stack_grows_to_its_limit_and_keeps_its_distance() {
    let limits = MemoryLimits { stack: 64 * PAGE, ..MemoryLimits::INITIAL };
    let space = AddressSpace::new(5, limits).unwrap();
    let top = space.layout().stack_top;
    let mut stack = MapRequest::anonymous(2 * PAGE, RW).at(top - 2 * PAGE);
    stack.flags = VmaFlags::STACK | VmaFlags::GROWS_DOWN;
    space.map(stack).unwrap();
    assert_eq!(space.fault(VirtAddr(top - 10 * PAGE), Access::Write), Ok(()));
    assert_eq!(space.usage().stack, 10);
    assert_eq!(space.fault(VirtAddr(top - 64 * PAGE), Access::Write), Ok(()));
    assert!(space.fault(VirtAddr(top - 64 * PAGE - 1), Access::Write).is_err(), "beyond the limit");

    let space = AddressSpace::new(5, MemoryLimits::INITIAL).unwrap();
    let mut stack = MapRequest::anonymous(2 * PAGE, RW).at(top - 2 * PAGE);
    stack.flags = VmaFlags::STACK | VmaFlags::GROWS_DOWN;
    space.map(stack).unwrap();
    space.map(MapRequest::anonymous(PAGE, RW).at(top - 300 * PAGE)).unwrap();
    assert!(space.fault(VirtAddr(top - 43 * PAGE), Access::Write).is_ok());
    assert!(space.fault(VirtAddr(top - 44 * PAGE), Access::Write).is_err(), "within the guard gap");
}

#[test]
fn the_break_grows_shrinks_and_refuses() {
    let space = space();
    space.set_brk_start(0x40_0123);
    let start = space.brk(0);
    assert_eq!(start % PAGE, 0);
    assert_eq!(space.brk(start + 5 * PAGE + 3), start + 5 * PAGE + 3);
    space.write_remote(start + 5 * PAGE, b"x").unwrap();
    assert_eq!(space.brk(start - 1), start + 5 * PAGE + 3, "below the start nothing happens");
    assert_eq!(space.brk(start + 1), start + 1);
    assert!(space.read_remote(start + PAGE, &mut [0]).is_err());
    space.map(MapRequest::anonymous(PAGE, RW).at(start + 9 * PAGE)).unwrap();
    assert_eq!(space.brk(start + 9 * PAGE), start + 1, "no room for the break and its guard");
    assert_eq!(space.brk(start + 8 * PAGE), start + 8 * PAGE);
    assert_eq!(space.brk(u64::MAX), start + 8 * PAGE);
}

#[test]
fn limits_and_hopeless_requests_are_enomem() {
    let limits = MemoryLimits { address_space: 100 * PAGE, data: 10 * PAGE, ..MemoryLimits::INITIAL };
    let space = AddressSpace::new(5, limits).unwrap();
    let map = |pages: u64, protection| space.map(MapRequest::anonymous(pages * PAGE, protection)).map(drop);
    assert_eq!(map(11, RW), Err(Errno::ENOMEM));
    assert_eq!(map(10, RW), Ok(()));
    assert_eq!(map(1, RW), Err(Errno::ENOMEM));
    assert_eq!(map(90, Protection::READ), Ok(()));
    assert_eq!(map(1, Protection::READ), Err(Errno::ENOMEM));
    let space = AddressSpace::new(5, MemoryLimits::INITIAL).unwrap();
    let map = |length, protection| space.map(MapRequest::anonymous(length, protection)).map(drop);
    assert_eq!(map(1 << 46, RW), Err(Errno::ENOMEM), "more than there is");
    assert_eq!(map(1 << 46, Protection::empty()), Ok(()), "reserving addresses is free");
    assert_eq!(map(u64::MAX, RW), Err(Errno::ENOMEM));
    assert_eq!(map(0, RW), Err(Errno::EINVAL));
}

#[test]
fn mappings_go_downwards_and_holes_are_used_again() {
    let space = space();
    let map = |pages: u64| space.map(MapRequest::anonymous(pages * PAGE, RW)).unwrap().0;
    let (a, b, c) = (map(1), map(2), map(3));
    assert_eq!((b + 2 * PAGE, c + 3 * PAGE), (a, b));
    space.unmap(b, 2 * PAGE).unwrap();
    assert_eq!(map(2), b);
    assert_eq!(space.usage().size, 6);
    space.unmap(b + PAGE, PAGE).unwrap();
    let below = map(2);
    assert_eq!(below + 2 * PAGE, c, "the hole is too small");
    assert_eq!((map(1), map(1)), (b + PAGE, below - PAGE));
    let child = space.fork().unwrap();
    child.unmap(a, PAGE).unwrap();
    assert_eq!(child.map(MapRequest::anonymous(PAGE, RW)).unwrap().0, a);
}

#[test]
fn a_thousand_separate_mappings_stay_in_order() {
    let space = space();
    const COUNT: u64 = if cfg!(miri) { 300 } else { 2000 };
    for page in (0..COUNT).rev().step_by(2).chain((0..COUNT).step_by(2)) {
        space
            .map(MapRequest::anonymous(PAGE, if page % 4 < 2 { RW } else { Protection::READ }).at(BASE + page * PAGE))
            .unwrap();
    }
    check_invariants(&space);
    assert_eq!(space.usage().size, COUNT);
    space.unmap(BASE, COUNT * PAGE).unwrap();
    assert_eq!(space.usage().size, 0);
    assert_eq!(space.table_pages(), 1);
}

#[test]
fn remapping_grows_in_place_or_moves_with_its_contents() {
    let space = space();
    space.map(MapRequest::anonymous(2 * PAGE, RW).at(BASE)).unwrap();
    space.write_remote(BASE + PAGE, b"kept").unwrap();
    assert_eq!(space.remap(BASE, 2 * PAGE, 4 * PAGE, Move::Never), Ok(VirtAddr(BASE)));
    space.map(MapRequest::anonymous(PAGE, Protection::READ).at(BASE + 4 * PAGE)).unwrap();
    assert_eq!(space.remap(BASE, 4 * PAGE, 8 * PAGE, Move::Never), Err(Errno::ENOMEM));
    let moved = space.remap(BASE, 4 * PAGE, 8 * PAGE, Move::IfNeeded).unwrap().0;
    let mut bytes = [0; 4];
    space.read_remote(moved + PAGE, &mut bytes).unwrap();
    assert_eq!(&bytes, b"kept");
    assert!(space.read_remote(BASE, &mut bytes).is_err());
    assert_eq!(space.remap(moved, 8 * PAGE, PAGE, Move::Never), Ok(VirtAddr(moved)));
    assert_eq!(space.usage().size, 2);
    let copy = space.remap(moved, PAGE, PAGE, Move::LeavingEmpty(None)).unwrap().0;
    assert_ne!(copy, moved);
    assert_eq!(space.read_remote(moved, &mut bytes), Ok(4));
    check_invariants(&space);
}

#[test]
fn advice_about_fork_is_followed() {
    let space = space();
    let at = |page: u64| BASE + page * PAGE;
    for page in 0..3 {
        space.map(MapRequest::anonymous(PAGE, RW).at(at(page))).unwrap();
        space.write_remote(at(page), &[7]).unwrap();
    }
    space.advise(at(0), PAGE, Advice::Set(VmaFlags::DONT_FORK)).unwrap();
    space.advise(at(1), PAGE, Advice::Set(VmaFlags::WIPE_ON_FORK)).unwrap();
    let child = space.fork().unwrap();
    let read = |page| {
        let mut byte = [0];
        child.read_remote(at(page), &mut byte).map(|_| byte[0])
    };
    assert_eq!((read(0), read(1), read(2)), (Err(Errno::EFAULT), Ok(0), Ok(7)));
}

#[test]
fn maps_look_like_linux_s() {
    let space = space();
    let object = SharedMemory::new(4 * PAGE);
    let backing = Backing { source: object, name: Some(Arc::new("/bin/true")), writer: None };
    space
        .map(MapRequest::anonymous(2 * PAGE, Protection::READ | Protection::EXECUTE).at(0x40_0000).of(backing, PAGE))
        .unwrap();
    space.set_brk_start(0x40_2000);
    let start = space.brk(0);
    space.brk(start + PAGE);
    let mut text = alloc::string::String::new();
    space.write_maps(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "00400000-00402000 r-xp 00001000 00:00 0                                  /bin/true");
    assert!(lines[1].ends_with("rw-p 00000000 00:00 0                                  [heap]"), "{text}");
    assert_eq!(lines[0].find("/bin"), Some(73));
}

/// A file that can shrink.
struct Shrinking {
    memory: Arc<SharedMemory>,
    size: core::sync::atomic::AtomicU64,
    mappings: crate::memory::Mappings,
}

impl crate::memory::PageSource for Shrinking {
    fn page(&self, index: u64, write: bool) -> Result<crate::memory::Page> {
        self.memory.page(index, write)
    }

    fn size(&self) -> u64 {
        self.size.load(Relaxed)
    }

    fn mappings(&self) -> Option<&crate::memory::Mappings> {
        Some(&self.mappings)
    }
}

#[test]
fn what_a_file_loses_its_mappings_lose_in_all_processes() {
    let file = Arc::new(Shrinking {
        memory: SharedMemory::new(8 * PAGE),
        size: (8 * PAGE).into(),
        mappings: crate::memory::Mappings::new(),
    });
    let parent = space();
    let backing = Backing { source: file.clone(), name: None, writer: None };
    parent.map(MapRequest::anonymous(4 * PAGE, RW).at(BASE).of(backing.clone(), 2 * PAGE)).unwrap();
    parent.map(MapRequest::anonymous(4 * PAGE, RW).at(BASE + 16 * PAGE).of(backing, 0)).unwrap();
    parent.write_remote(BASE, &[1; 4 * PAGE_SIZE]).unwrap();
    let child = parent.fork().unwrap();
    file.size.store(3 * PAGE + 1, Relaxed);
    file.mappings.unmap_beyond(&*file, 3 * PAGE + 1);
    for space in [&parent, &child] {
        let mut byte = [0];
        assert_eq!(space.read_remote(BASE + PAGE, &mut byte), Ok(1));
        assert_eq!(space.read_remote(BASE + 2 * PAGE, &mut byte), Err(Errno::EFAULT));
        assert_eq!(space.read_remote(BASE + 19 * PAGE, &mut byte), Ok(1));
        check_invariants(space);
    }
}

#[test]
fn memory_can_be_freed_in_steps() {
    let space = space();
    space.map(MapRequest::anonymous(3000 * PAGE, RW).at(BASE)).unwrap();
    space.populate(BASE, BASE + 3000 * PAGE);
    assert_eq!(space.resident(), 3000);
    let (mut next, mut steps) = (Some(0), 0);
    while let Some(at) = next {
        next = space.free_some(at, crate::memory::USER_LIMIT, 500);
        check_invariants(&space);
        steps += 1;
    }
    assert_eq!(space.resident(), 0);
    assert!(steps >= 5);
}

#[test]
fn memory_can_be_protected_in_steps_up_to_a_hole() {
    let space = space();
    space.map(MapRequest::anonymous(3000 * PAGE, RW).at(BASE)).unwrap();
    space.map(MapRequest::anonymous(PAGE, RW).at(BASE + (1 << 40))).unwrap();
    space.populate(BASE, BASE + 2900 * PAGE);
    let (mut at, mut steps) = (BASE, 0);
    let refused = loop {
        match space.protect_some(at, BASE + (1 << 41) - at, Protection::READ, 500) {
            Ok(done) => at += done,
            Err(error) => break error,
        }
        check_invariants(&space);
        let changed = space.state.lock().vmas.find(BASE).unwrap().clone();
        assert_eq!((changed.end, changed.protection), (at.min(BASE + 3000 * PAGE), Protection::READ));
        steps += 1;
    };
    assert_eq!(refused, Errno::ENOMEM);
    assert!((3..=6).contains(&steps), "{steps}");
    assert!(space.fault(VirtAddr(BASE + 2999 * PAGE), Access::Write).is_err());
    assert_eq!(space.fault(VirtAddr(BASE + (1 << 40)), Access::Write), Ok(()));
}

#[test]
fn what_moves_because_it_grows_keeps_its_place_within_tables() {
    let space = space();
    let length = 2 * crate::memory::page_table::LEAF_SPAN;
    for at in [BASE, BASE + (1 << 30) + 77 * PAGE] {
        space.map(MapRequest::anonymous(length, RW).at(at)).unwrap();
        space.map(MapRequest::anonymous(PAGE, RW).at(at + length)).unwrap();
        space.write_remote(at + length - 5, b"there").unwrap();
        let moved = space.remap(at, length, length + PAGE, Move::IfNeeded).unwrap().0;
        assert_eq!(moved % (length / 2), at % (length / 2));
        let mut text = [0; 5];
        assert_eq!(space.read_remote(moved + length - 5, &mut text), Ok(5));
        assert_eq!(&text, b"there");
        assert!(space.fault(VirtAddr(at), Access::Read).is_err());
        check_invariants(&space);
    }
}

#[test]
fn locking_is_limited_unless_privileged() {
    let limits = MemoryLimits { locked: 4 * PAGE, ..MemoryLimits::INITIAL };
    let space = AddressSpace::new(5, limits).unwrap();
    space.map(MapRequest::anonymous(8 * PAGE, RW).at(BASE)).unwrap();
    assert_eq!(space.lock_range(BASE, 5 * PAGE, true, false), Err(Errno::ENOMEM));
    assert_eq!(space.lock_range(BASE + 1, 4 * PAGE - 1, true, false), Ok(BASE..BASE + 4 * PAGE));
    assert_eq!(space.usage().locked, 4);
    assert_eq!(space.lock_all(true, true, false), Err(Errno::ENOMEM));
    assert_eq!(space.lock_all(true, true, true), Ok(()));
    assert_eq!(space.usage().locked, 8);
    space.map(MapRequest::anonymous(100 * PAGE, RW)).unwrap();
    assert_eq!((space.usage().locked, space.resident()), (108, 100), "future mappings are locked too");
    assert_eq!(space.lock_all(false, false, false), Ok(()));
    assert_eq!(space.usage().locked, 0);
    space.set_limits(MemoryLimits { locked: 0, ..limits });
    assert_eq!(space.lock_range(BASE, PAGE, true, false), Err(Errno::EPERM));
    check_invariants(&space);
}

#[test]
fn with_as_many_mappings_as_may_be_those_there_are_can_be_removed_but_not_split() {
    let space = space();
    let length = 4 + 2 * 33_000;
    let at = space.map(MapRequest::anonymous(length * PAGE, RW)).unwrap().0;
    // The first four pages stay in one piece; of the rest every other page becomes a mapping.
    let odd = (4..length).step_by(2).map(|page| at + page * PAGE);
    let refused = odd.map(|page| space.protect(page, PAGE, Protection::READ)).find_map(Result::err);
    assert_eq!(refused, Some(Errno::ENOMEM), "this would leave two more");
    assert_eq!(space.protect(at, PAGE, Protection::READ), Ok(()), "the last one");
    assert_eq!(space.unmap(at + 2 * PAGE, PAGE), Err(Errno::ENOMEM), "this would leave one more");
    assert_eq!(space.protect(at + 3 * PAGE, PAGE, Protection::empty()), Err(Errno::ENOMEM));
    assert_eq!(space.map(MapRequest::anonymous(PAGE, Protection::empty())), Err(Errno::ENOMEM));
    assert_eq!(space.unmap(at, PAGE), Ok(()), "the number stays");
    assert_eq!(space.unmap(at + 4 * PAGE, PAGE), Ok(()), "one less");
    assert_eq!(space.protect(at + 3 * PAGE, PAGE, Protection::empty()), Ok(()));
}

#[test]
fn shared_memory_that_could_never_be_filled_is_refused_and_what_is_not_touched_costs_nothing() {
    let space = space();
    let free = frames::free_count();
    let huge = || MapRequest { flags: VmaFlags::SHARED, ..MapRequest::anonymous(1 << 45, RW) };
    assert_eq!(space.map(huge()), Err(Errno::ENOMEM));
    let at = space.map(MapRequest { flags: VmaFlags::SHARED | VmaFlags::NO_RESERVE, ..huge() }).unwrap();
    assert_eq!(space.fault(VirtAddr(at.0 + (1 << 45) - 1), Access::Write), Ok(()));
    // Other tests take frames meanwhile; a table of all its pages would be 128 MiB.
    assert!(frames::free_count() + 10_000 > free);
}
