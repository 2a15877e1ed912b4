//! In a process of its own, so that the number of free frames is exact: whatever address spaces do, and however their threads
//! race, all frames come back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Barrier};
use std::thread;

use libkernel::Errno;
use libkernel::fs::epoll::Epoll;
use libkernel::fs::eventfd::EventFd;
use libkernel::fs::inode::{FileSystem, NewInode};
use libkernel::fs::locks::{FileLocks, LockKind, Owner, Record};
use libkernel::fs::pipe::Pipe;
use libkernel::fs::tmpfs::Tmpfs;
use libkernel::fs::{DeviceId, Fd, FdTable, FileType, OpenFlags, anonymous};
use libkernel::io::{SliceSink, SliceSource};
use libkernel::memory::shared::SharedMemory;
use libkernel::memory::{
    Access, AddressSpace, Backing, MapRequest, MemoryLimits, Need, PAGE_SIZE, PageSource, Protection, VirtAddr,
    VmaFlags, frames,
};

const PAGE: u64 = PAGE_SIZE as u64;
const BASE: u64 = 0x20_0000_0000;
const PAGES: u64 = 2000;
const RW: Protection = Protection::READ.union(Protection::WRITE);

/// Eight threads fault on the same pages at once; every fault must succeed.
fn fault_together(space: &Arc<AddressSpace>, access: Access) {
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8u64)
        .map(|number| {
            let (space, barrier) = (space.clone(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                for page in 0..PAGES {
                    // Two directions, so that they meet.
                    let page = if number % 2 == 0 { page } else { PAGES - 1 - page };
                    space.fault(VirtAddr(BASE + page * PAGE), access).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn anonymous_memory() {
    let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
    space.map(MapRequest::anonymous(PAGES * PAGE, RW).at(BASE)).unwrap();
    let before = frames::free_count();
    fault_together(&space, Access::Write);
    // 2000 pages from a 1 GiB border need four tables at level 3, and one each at levels 1 and 2.
    assert_eq!(before - frames::free_count(), PAGES as usize + 6);
    assert_eq!(space.usage().resident, PAGES);
}

fn copy_on_write() {
    let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
    space.map(MapRequest::anonymous(PAGES * PAGE, RW).at(BASE)).unwrap();
    fault_together(&space, Access::Write);
    let child = space.fork().unwrap();
    let before = frames::free_count();
    fault_together(&child, Access::Write);
    assert_eq!(before - frames::free_count(), PAGES as usize);
    fault_together(&space, Access::Write);
    assert_eq!(before - frames::free_count(), PAGES as usize, "the last owner writes in place");
}

fn object(shared: bool) {
    let source = SharedMemory::new(PAGES * PAGE);
    for index in 0..PAGES {
        source.page(index, true).unwrap();
    }
    let backing = Backing { source, name: None, writer: None };
    let mut request = MapRequest::anonymous(PAGES * PAGE, RW).at(BASE).of(backing, 0);
    request.flags.set(VmaFlags::SHARED, shared);
    let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
    space.map(request).unwrap();
    fault_together(&space, Access::Read);
    let before = frames::free_count();
    fault_together(&space, Access::Write);
    assert_eq!(before - frames::free_count(), if shared { 0 } else { PAGES as usize });
}

/// One thread maps and unmaps under the others' faults, which may fail but must not harm.
fn storm() {
    let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 0..20_000u64 {
                    let address = BASE + round % 64 * PAGE;
                    let _ = space.fault(VirtAddr(address), if round % 3 == 0 { Access::Read } else { Access::Write });
                }
            });
        }
        scope.spawn(|| {
            for round in 0..2000u64 {
                space.map(MapRequest::anonymous(64 * PAGE, RW).at(BASE)).unwrap();
                space.protect(BASE + 8 * PAGE, 8 * PAGE, Protection::READ).unwrap();
                if round % 16 == 0 {
                    drop(space.fork().unwrap());
                }
                space.unmap(BASE + round % 32 * PAGE, 32 * PAGE).unwrap();
            }
        });
    });
}

#[test]
fn every_frame_comes_back() {
    // The arena starts with the first allocation.
    drop(AddressSpace::new(1, MemoryLimits::INITIAL).unwrap());
    let before = frames::free_count();
    for step in [anonymous_memory as fn(), copy_on_write, || object(false), || object(true), storm] {
        step();
        assert_eq!(frames::free_count(), before);
    }
    exhaustion();
    assert_eq!(frames::free_count(), before);
}

/// A program that wants everything is told so, and the kernel's reserve remains.
fn exhaustion() {
    let limit = frames::total() as u64;
    let pipe = Pipe::new().unwrap();
    let _ends = (pipe.open(true, false), pipe.open(false, true));
    let sent: Vec<u8> = (0..10_000u32).map(|n| (n / 3) as u8).collect();
    assert_eq!(pipe.write(&mut SliceSource::new(&sent)), Ok(sent.len()));
    let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
    space.map(MapRequest::anonymous(limit * PAGE, RW).at(BASE)).unwrap();
    let refused = (0..limit).find_map(|page| space.fault(VirtAddr(BASE + page * PAGE), Access::Write).err());
    assert_eq!(refused.unwrap().signal, 9);
    assert!(frames::free_count() > 100, "the kernel keeps a reserve");
    assert!(AddressSpace::new(2, MemoryLimits::INITIAL).is_err());
    assert!(space.fork().is_err());
    assert_eq!(pipe.set_capacity(1 << 20), Err(Errno::ENOMEM));
    let mut received = vec![0; sent.len()];
    assert_eq!(pipe.read(&mut SliceSink::new(&mut received)), Ok(sent.len()));
    assert!(received == sent, "a pipe that cannot grow keeps its bytes");
    kernel_memory_is_refused_to_programs_before_it_ends();
}

/// What takes the kernel's memory for a program, however little each time, is refused while there is still some left for the kernel.
fn kernel_memory_is_refused_to_programs_before_it_ends() {
    let event = || anonymous::open(EventFd::new(0, false), "event", OpenFlags::READ_WRITE).unwrap();
    let (files, set, locks) = (FdTable::new(), Epoll::new(), FileLocks::new());
    let memory = Tmpfs::new("tmpfs", u64::MAX, u64::MAX);
    let new = NewInode { kind: FileType::Regular, permissions: 0o600, uid: 0, gid: 0, device: DeviceId::default() };
    let attempts = |name: &[u8]| {
        let file = event();
        let added = set.add(Fd(name.len() as i32), &file, 1, 0);
        let inserted = files.insert(file, false, 0, 1000);
        let owner = Owner::File(name.len());
        let at = name.len() as u64 * 10;
        let locked = locks.set(Record { first: at, last: at, kind: LockKind::Shared, owner, process: -1 });
        let whole = locks.lock_whole(owner, LockKind::Shared);
        [added.err(), inserted.err(), memory.root().create(name, &new).err(), locked.err(), whole.err()]
    };
    assert_eq!(attempts(b"a"), [None; 5], "opening a file needs only the kernel's own memory");
    let reserve = frames::free_count();
    let mut taken = Vec::new();
    while !frames::low() {
        taken.push(frames::alloc(Need::Kernel).expect("some is left"));
    }
    let left = frames::free_count();
    assert!((reserve / 4..reserve * 3 / 4).contains(&left), "{left} of {reserve} frames are left");
    let (no_memory, no_lock) = (Some(Errno::ENOMEM), Some(Errno::ENOLCK));
    assert_eq!(attempts(b"bc"), [no_memory, no_memory, no_memory, no_lock, no_lock]);
    // What gives memory back is never refused.
    assert_eq!(locks.clear(Owner::File(1), 0, 100), Ok(()));
    for frame in taken {
        // SAFETY: taken above, and used by nobody.
        unsafe { frames::free(frame) };
    }
    assert_eq!(attempts(b"def"), [None; 5]);
}
