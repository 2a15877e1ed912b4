//! The address space against a naive model: a map from page to permissions and content, page by page.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::remap::Move;
use super::*;
use crate::memory::address::{PAGE_SIZE, VirtAddr};
use crate::memory::shared::SharedMemory;
use crate::memory::vma::{Backing, Protection};

const BASE: u64 = 0x10_0000_0000;
const PAGE: u64 = PAGE_SIZE as u64;
const WINDOW: u64 = 40;
const OBJECT_PAGES: u64 = 10;
const RW: Protection = Protection::READ.union(Protection::WRITE);

fn address(page: u64) -> u64 {
    // The window straddles the border of two tables.
    BASE - 20 * PAGE + page * PAGE
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Content {
    /// Anonymous or copied: the byte that the program sees.
    Own(u8),
    /// Page `index` of an object; written through if shared.
    Object { object: usize, index: u64, shared: bool },
}

type Pages = BTreeMap<u64, (Protection, Content)>;

struct World {
    objects: Vec<Arc<SharedMemory>>,
    contents: Vec<[u8; OBJECT_PAGES as usize]>,
    spaces: Vec<(Arc<AddressSpace>, Pages)>,
}

#[derive(Clone, Debug)]
enum Operation {
    Map { page: u64, count: u64, protection: u8, object: Option<(usize, u64, bool)> },
    Unmap { page: u64, count: u64 },
    Protect { page: u64, count: u64, protection: u8 },
    Move { page: u64, count: u64, to: u64, new_count: u64 },
    Discard { page: u64, count: u64 },
    Write { page: u64, value: u8 },
    Read { page: u64 },
    Fork,
    Exit,
    Switch(usize),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let range = || (0..WINDOW, 1..12u64);
    let object = prop::option::of((0..2usize, 0..OBJECT_PAGES, any::<bool>()));
    let one = prop_oneof![
        3 => (range(), 0..8u8, object)
            .prop_map(|((page, count), protection, object)| Operation::Map { page, count, protection, object }),
        2 => range().prop_map(|(page, count)| Operation::Unmap { page, count }),
        2 => (range(), 0..8u8)
            .prop_map(|((page, count), protection)| Operation::Protect { page, count, protection }),
        1 => (range(), range())
            .prop_map(|((page, count), (to, new_count))| Operation::Move { page, count, to, new_count }),
        1 => range().prop_map(|(page, count)| Operation::Discard { page, count }),
        6 => (0..WINDOW, 1..255u8).prop_map(|(page, value)| Operation::Write { page, value }),
        3 => (0..WINDOW).prop_map(|page| Operation::Read { page }),
        1 => Just(Operation::Fork),
        1 => Just(Operation::Exit),
        1 => (0..4usize).prop_map(Operation::Switch),
    ];
    prop::collection::vec(one, 1..80)
}

impl World {
    fn new() -> Self {
        let space = AddressSpace::new(3, MemoryLimits::INITIAL).unwrap();
        Self {
            objects: (0..2).map(|_| SharedMemory::new(OBJECT_PAGES * PAGE).unwrap()).collect(),
            contents: alloc::vec![[0; OBJECT_PAGES as usize]; 2],
            spaces: alloc::vec![(space, Pages::new())],
        }
    }

    fn apply(&mut self, operation: Operation) {
        let Self { objects, contents, spaces } = self;
        let active = spaces.len() - 1;
        let (space, model) = &mut spaces[active];
        match operation {
            Operation::Map { page, count, protection, object } => {
                let protection = Protection::from_bits_truncate(protection);
                let mut request = MapRequest::anonymous(count * PAGE, protection).at(address(page));
                if let Some((object, index, shared)) = object {
                    request.flags.set(VmaFlags::SHARED, shared);
                    request = request.of(Backing { source: objects[object].clone(), name: None }, index * PAGE);
                }
                assert_eq!(space.map(request), Ok(VirtAddr(address(page))));
                for at in 0..count {
                    let content = match object {
                        None => Content::Own(0),
                        Some((object, index, shared)) => Content::Object { object, index: index + at, shared },
                    };
                    model.insert(page + at, (protection, content));
                }
            }
            Operation::Unmap { page, count } => {
                assert_eq!(space.unmap(address(page), count * PAGE), Ok(()));
                model.retain(|at, _| !(page..page + count).contains(at));
            }
            Operation::Protect { page, count, protection } => {
                let protection = Protection::from_bits_truncate(protection);
                let result = space.protect(address(page), count * PAGE, protection);
                let mapped = (page..page + count).take_while(|at| model.contains_key(at)).count() as u64;
                assert_eq!(result, if mapped == count { Ok(()) } else { Err(Errno::ENOMEM) });
                model.range_mut(page..page + mapped).for_each(|(_, entry)| entry.0 = protection);
            }
            Operation::Move { page, count, to, new_count } => {
                let result = space.remap(address(page), count * PAGE, new_count * PAGE, Move::To(address(to)));
                if result.is_err() {
                    return;
                }
                let moved: Vec<_> = (page..page + count).map(|at| model.remove(&at).unwrap()).collect();
                model.retain(|at, _| !(to..to + new_count).contains(at));
                for at in 0..new_count {
                    let entry = moved.get(at as usize).copied().unwrap_or_else(|| {
                        let (protection, first) = space_entry(space, to + at);
                        (protection, first)
                    });
                    model.insert(to + at, entry);
                }
            }
            Operation::Discard { page, count } => {
                let result = space.advise(address(page), count * PAGE, Advice::DontNeed);
                let complete = (page..page + count).all(|at| model.contains_key(&at));
                assert_eq!(result, if complete { Ok(()) } else { Err(Errno::ENOMEM) });
                for at in page..page + count {
                    if let Some(entry) = model.get_mut(&at) {
                        entry.1 = space_entry(space, at).1;
                    }
                }
            }
            Operation::Write { page, value } => {
                let result = space.write_remote(address(page), &[value]);
                let expected = match model.get_mut(&page) {
                    Some((protection, content)) if protection.contains(Protection::WRITE) => match content {
                        Content::Object { index, .. } if *index >= OBJECT_PAGES => Err(Errno::EFAULT),
                        Content::Object { object, index, shared: true } => {
                            contents[*object][*index as usize] = value;
                            Ok(1)
                        }
                        _ => {
                            *content = Content::Own(value);
                            Ok(1)
                        }
                    },
                    _ => Err(Errno::EFAULT),
                };
                assert_eq!(result, expected);
            }
            Operation::Read { page } => check_read(space, page, model.get(&page), contents),
            Operation::Fork => {
                if spaces.len() < 4 {
                    let (space, model) = (spaces[active].0.fork().unwrap(), spaces[active].1.clone());
                    spaces.push((space, model));
                }
            }
            Operation::Exit => {
                if spaces.len() > 1 {
                    spaces.pop();
                }
            }
            Operation::Switch(index) => {
                let index = index % spaces.len();
                spaces.swap(index, active);
            }
        }
    }

    fn check(&self) {
        for (space, model) in &self.spaces {
            check_invariants(space);
            for page in 0..WINDOW + 12 {
                check_read(space, page, model.get(&page), &self.contents);
            }
            check_invariants(space);
        }
    }
}

/// What the mapping at `page` shows where nothing was written: asked of the address space, for pages that the model cannot
/// know because they came from growing a mapping.
fn space_entry(space: &AddressSpace, page: u64) -> (Protection, Content) {
    let state = space.state.lock();
    let vma = state.vmas.find(address(page)).unwrap();
    let content = match &vma.backing {
        None => Content::Own(0),
        Some(backing) => {
            let pointer = Arc::as_ptr(&backing.source).cast::<()>();
            let object = OBJECTS.with(|objects| objects.borrow().iter().position(|&known| known == pointer.addr()));
            Content::Object { object: object.unwrap(), index: vma.page_index(address(page)), shared: !vma.is_private() }
        }
    };
    (vma.protection, content)
}

std::thread_local! {
    static OBJECTS: core::cell::RefCell<Vec<usize>> = const { core::cell::RefCell::new(Vec::new()) };
}

fn check_read(
    space: &AddressSpace,
    page: u64,
    entry: Option<&(Protection, Content)>,
    contents: &[[u8; OBJECT_PAGES as usize]],
) {
    let mut byte = [0xff];
    let result = space.read_remote(address(page), &mut byte);
    let expected = match entry {
        Some((protection, content)) if !protection.is_empty() => match *content {
            Content::Own(value) => Some(value),
            Content::Object { object, index, .. } => contents[object].get(index as usize).copied(),
        },
        _ => None,
    };
    assert_eq!(result.ok().map(|_| byte[0]), expected, "page {page}");
}

/// The invariants that tie mappings, tables and counts together.
fn check_invariants(space: &AddressSpace) {
    let state = space.state.lock();
    let mut counts = Counts::default();
    let mut resident = super::Pages::default();
    let vmas: Vec<Vma> = state.vmas.iter().cloned().collect();
    assert_eq!(vmas.len(), state.vmas.len());
    for pair in vmas.windows(2) {
        assert!(pair[0].end <= pair[1].start);
        assert!(!pair[0].continues_with(&pair[1]), "{pair:?} should be one");
    }
    for vma in &vmas {
        assert!(vma.start < vma.end);
        counts.add(vma);
        state.table.for_each(vma.start, vma.end, |at, entry| {
            resident.all += 1;
            resident.anonymous += u64::from(entry.is_anonymous());
            let (has, may) = (entry.access(), vma.access());
            assert!(!has.write || may.write, "{vma:?} at {at:#x}");
            assert!(!has.execute || may.execute);
            assert_eq!(has.read, may.read);
            if has.write && vma.is_private() {
                assert_eq!(state.table.page(at).unwrap().references(), 2, "a writable private page is shared");
            }
        });
    }
    assert_eq!(counts, state.counts);
    assert_eq!(resident, state.resident);
    let mut everywhere = 0;
    state.table.for_each(0, crate::memory::USER_LIMIT, |_, _| everywhere += 1);
    assert_eq!(everywhere, resident.all, "a page is mapped outside of every mapping");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 400 }, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn address_spaces_behave_like_the_model(operations in operations()) {
        let mut world = World::new();
        let known = world.objects.iter().map(|object| Arc::as_ptr(object).addr()).collect();
        OBJECTS.set(known);
        for operation in operations {
            world.apply(operation);
        }
        world.check();
        let objects = world.objects;
        drop(world.spaces);
        for object in objects {
            let mut pages = [const { None }; OBJECT_PAGES as usize];
            crate::memory::PageSource::present_pages(&*object, 0, &mut pages);
            for page in pages.iter().flatten() {
                prop_assert_eq!(page.references(), 2, "a mapping left a reference behind");
            }
        }
    }
}

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
    let object = SharedMemory::new(PAGE).unwrap();
    let request =
        MapRequest::anonymous(3 * PAGE, Protection::READ).at(BASE).of(Backing { source: object, name: None }, 0);
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
    let object = SharedMemory::new(4 * PAGE).unwrap();
    let backing = Backing { source: object, name: Some(Arc::new("/bin/true")) };
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
        memory: SharedMemory::new(8 * PAGE).unwrap(),
        size: (8 * PAGE).into(),
        mappings: crate::memory::Mappings::new(),
    });
    let parent = space();
    let backing = Backing { source: file.clone(), name: None };
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
fn locking_is_limited_unless_privileged() {
    let limits = MemoryLimits { locked: 4 * PAGE, ..MemoryLimits::INITIAL };
    let space = AddressSpace::new(5, limits).unwrap();
    space.map(MapRequest::anonymous(8 * PAGE, RW).at(BASE)).unwrap();
    assert_eq!(space.lock_range(BASE, 5 * PAGE, true, true, false), Err(Errno::ENOMEM));
    assert_eq!(space.lock_range(BASE + 1, 4 * PAGE - 1, true, true, false), Ok(()));
    assert_eq!((space.usage().locked, space.resident()), (4, 4));
    assert_eq!(space.lock_all(true, true, true, false), Err(Errno::ENOMEM));
    assert_eq!(space.lock_all(true, true, true, true), Ok(()));
    assert_eq!(space.resident(), 8);
    space.map(MapRequest::anonymous(100 * PAGE, RW)).unwrap();
    assert_eq!((space.usage().locked, space.resident()), (108, 108), "future mappings are locked too");
    assert_eq!(space.lock_all(false, false, false, false), Ok(()));
    assert_eq!(space.usage().locked, 0);
    space.set_limits(MemoryLimits { locked: 0, ..limits });
    assert_eq!(space.lock_range(BASE, PAGE, true, true, false), Err(Errno::EPERM));
    check_invariants(&space);
}
