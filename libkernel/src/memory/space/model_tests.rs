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
            objects: (0..2).map(|_| SharedMemory::new(OBJECT_PAGES * PAGE)).collect(),
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
                    request =
                        request.of(Backing { source: objects[object].clone(), name: None, writer: None }, index * PAGE);
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
pub(super) fn check_invariants(space: &AddressSpace) {
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
