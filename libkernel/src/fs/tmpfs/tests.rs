//! tmpfs through the VFS: what programs see.

extern crate std;

use alloc::sync::Arc;

use linux_raw_sys::general::FALLOC_FL_PUNCH_HOLE;

use super::*;
use crate::Errno;
use crate::fs::inode::{NewInode, RenameMode, WritePosition};
use crate::fs::mount::{Mount, attach, detach};
use crate::fs::namespace;
use crate::fs::open::open;
use crate::fs::open_file::{OpenFile, Whence};
use crate::fs::open_flags::OpenFlags;
use crate::fs::testing::{World, user};
use crate::fs::walk::{LastLink, resolve};
use crate::io::{SliceSink, SliceSource};

const CREATE: OpenFlags = OpenFlags::CREATE.union(OpenFlags::READ_WRITE);
const NONE: DeviceId = DeviceId::new(0, 0);

impl World {
    fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        open(&self.caller(), None, path.as_bytes(), flags, 0o666)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        assert_eq!(self.open(path, CREATE).unwrap().write(u64::MAX, &mut SliceSource::new(bytes)), Ok(bytes.len()));
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut bytes = vec![0; 100_000];
        let count = self.open(path, OpenFlags::empty())?.read(&mut SliceSink::new(&mut bytes))?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn mkdir(&self, path: &str) -> Result<()> {
        namespace::make(&self.caller(), None, path.as_bytes(), FileType::Directory, 0o777, NONE).map(drop)
    }

    fn remove(&self, path: &str) -> Result<()> {
        namespace::remove(&self.caller(), None, path.as_bytes(), false)
    }

    fn rmdir(&self, path: &str) -> Result<()> {
        namespace::remove(&self.caller(), None, path.as_bytes(), true)
    }

    fn rename(&self, from: &str, to: &str, mode: RenameMode) -> Result<()> {
        namespace::rename(&self.caller(), None, from.as_bytes(), None, to.as_bytes(), mode)
    }

    fn symlink(&self, target: &str, path: &str) -> Result<()> {
        namespace::symlink(&self.caller(), target.as_bytes(), None, path.as_bytes())
    }

    fn links(&self, path: &str) -> u32 {
        let path = resolve(&self.caller(), None, path.as_bytes(), LastLink::Keep).unwrap();
        path.inode().attributes().links()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let mut names = Vec::new();
        let directory = self.open(path, OpenFlags::DIRECTORY).unwrap();
        directory
            .read_directory(&mut |entry| {
                names.push(String::from_utf8(entry.name.to_vec()).unwrap());
                true
            })
            .unwrap();
        names
    }
}

#[test]
fn what_is_written_is_read_and_holes_are_zeros() {
    let world = World::new();
    world.write("/f", b"head");
    let file = world.open("/f", OpenFlags::READ_WRITE).unwrap();
    file.write_at(10_000, u64::MAX, &mut SliceSource::new(b"tail")).unwrap();
    let bytes = world.read("/f").unwrap();
    assert_eq!(bytes.len(), 10_004);
    assert_eq!((&bytes[..4], &bytes[10_000..]), (&b"head"[..], &b"tail"[..]));
    assert!(bytes[4..10_000].iter().all(|byte| *byte == 0));
    assert_eq!(file.seek(0, Whence::Hole), Ok(4096));
    assert_eq!(file.seek(4096, Whence::Data), Ok(8192));
}

#[test]
fn a_file_cut_short_and_grown_again_reads_zeros_there() {
    let world = World::new();
    world.write("/f", &[7; 9000]);
    let file = world.open("/f", OpenFlags::READ_WRITE).unwrap();
    file.truncate(5000).unwrap();
    file.truncate(9000).unwrap();
    let bytes = world.read("/f").unwrap();
    assert!(bytes[..5000].iter().all(|byte| *byte == 7) && bytes[5000..].iter().all(|byte| *byte == 0));
}

#[test]
fn appends_of_two_opens_do_not_overwrite_each_other() {
    let world = World::new();
    let flags = CREATE | OpenFlags::APPEND;
    let (first, second) = (world.open("/f", flags).unwrap(), world.open("/f", flags).unwrap());
    for file in [&first, &second, &first] {
        file.write(u64::MAX, &mut SliceSource::new(b"ab")).unwrap();
    }
    assert_eq!(world.read("/f"), Ok(b"ababab".to_vec()));
    assert_eq!((first.offset(), second.offset()), (6, 4));
}

#[test]
fn an_unlinked_file_lives_on_while_it_is_open_and_its_memory_returns() {
    let world = World::new();
    let usage = |world: &World| world.context.root().mount.file_system().statistics().free_blocks;
    let before = usage(&world);
    world.write("/f", &[1; 10_000]);
    let file = world.open("/f", OpenFlags::empty()).unwrap();
    world.remove("/f").unwrap();
    assert_eq!(world.read("/f"), Err(Errno::ENOENT));
    let mut bytes = [0; 10];
    assert_eq!(file.read(&mut SliceSink::new(&mut bytes)), Ok(10));
    assert_eq!(file.inode().attributes().links(), 0);
    assert_eq!(usage(&world), before - 3);
    drop(file);
    assert_eq!(usage(&world), before);
}

#[test]
fn symbolic_links_are_followed_up_to_forty() {
    let world = World::new();
    world.mkdir("/d").unwrap();
    world.write("/d/f", b"x");
    world.symlink("d", "/l").unwrap();
    world.symlink("../l/f", "/d/g").unwrap();
    assert_eq!(world.read("/l/g"), Ok(b"x".to_vec()));
    assert_eq!(world.open("/d/g", OpenFlags::NO_FOLLOW).err(), Some(Errno::ELOOP));
    assert_eq!(world.read("/d/f/"), Err(Errno::ENOTDIR));
    world.symlink("loop", "/loop").unwrap();
    assert_eq!(world.read("/loop"), Err(Errno::ELOOP));
    world.symlink("/d/f", "/s0").unwrap();
    for n in 1..=40 {
        world.symlink(&format!("s{}", n - 1), &format!("/s{n}")).unwrap();
    }
    assert_eq!(world.read("/s39"), Ok(b"x".to_vec()));
    assert_eq!(world.read("/s40"), Err(Errno::ELOOP));
}

#[test]
fn creating_through_a_dangling_link_makes_its_target() {
    let world = World::new();
    world.mkdir("/d").unwrap();
    world.symlink("d/new", "/l").unwrap();
    assert_eq!(world.open("/l", CREATE | OpenFlags::EXCLUSIVE).err(), Some(Errno::EEXIST));
    world.write("/l", b"made");
    assert_eq!(world.read("/d/new"), Ok(b"made".to_vec()));
    assert_eq!(world.open("/d/new/", CREATE).err(), Some(Errno::EISDIR));
    assert_eq!(world.open("/d", CREATE).err(), Some(Errno::EISDIR));
}

#[test]
fn directories_are_counted_removed_and_refuse_new_entries_then() {
    let world = World::new();
    world.mkdir("/d").unwrap();
    world.mkdir("/d/e/").unwrap();
    assert_eq!(world.mkdir("/d"), Err(Errno::EEXIST));
    assert_eq!(world.links("/d"), 3);
    assert_eq!(world.rmdir("/d"), Err(Errno::ENOTEMPTY));
    assert_eq!(world.remove("/d/e"), Err(Errno::EISDIR));
    let inside = resolve(&world.caller(), None, b"/d/e", LastLink::Follow).unwrap();
    world.rmdir("/d/e").unwrap();
    assert_eq!(open(&world.caller(), Some(&inside), b"f", CREATE, 0).err(), Some(Errno::ENOENT));
    assert_eq!(world.rmdir("/d/."), Err(Errno::EINVAL));
    world.rmdir("/d").unwrap();
    assert_eq!(world.links("/"), 2);
}

#[test]
fn rename_replaces_exchanges_and_refuses() {
    let world = World::new();
    world.mkdir("/a").unwrap();
    world.mkdir("/a/b").unwrap();
    world.write("/f", b"f");
    world.write("/g", b"g");
    assert_eq!(world.rename("/a", "/a/b/c", RenameMode::Replace), Err(Errno::EINVAL));
    assert_eq!(world.rename("/a/b", "/a", RenameMode::Replace), Err(Errno::ENOTEMPTY));
    assert_eq!(world.rename("/f", "/a", RenameMode::Replace), Err(Errno::EISDIR));
    assert_eq!(world.rename("/a", "/f", RenameMode::Replace), Err(Errno::ENOTDIR));
    assert_eq!(world.rename("/f", "/g", RenameMode::NoReplace), Err(Errno::EEXIST));
    world.rename("/f", "/a", RenameMode::Exchange).unwrap();
    assert_eq!(world.read("/a"), Ok(b"f".to_vec()));
    world.rename("/f/b", "/b", RenameMode::Replace).unwrap();
    assert_eq!((world.links("/f"), world.links("/")), (2, 4));
    world.rename("/a", "/g", RenameMode::Replace).unwrap();
    assert_eq!(world.read("/g"), Ok(b"f".to_vec()));
    assert_eq!(world.names("/"), [".", "..", "f", "g", "b"]);
}

#[test]
fn hard_links_share_the_file_and_the_working_directory_follows_a_rename() {
    let world = World::new();
    world.mkdir("/d").unwrap();
    world.write("/d/f", b"1");
    let file = resolve(&world.caller(), None, b"/d/f", LastLink::Keep).unwrap();
    namespace::link(&world.caller(), &file, None, b"/h").unwrap();
    assert_eq!(world.links("/h"), 2);
    world.context.set_working_directory(resolve(&world.caller(), None, b"/d", LastLink::Follow).unwrap());
    world.rename("/d", "/e", RenameMode::Replace).unwrap();
    world.write("f", b"2");
    assert_eq!(world.read("/h"), Ok(b"2".to_vec()));
    let root = world.context.root();
    assert_eq!(world.context.working_directory().text(&root), Ok(Some(b"/e".to_vec())));
    // Two names of one file: renaming one onto the other does nothing.
    world.rename("/h", "/e/f", RenameMode::Replace).unwrap();
    assert_eq!(world.links("/h"), 2);
}

#[test]
fn permissions_hold_for_users() {
    let mut world = World::new();
    world.mkdir("/d").unwrap();
    world.write("/d/f", b"1");
    world.credentials = user(1000, 1000);
    assert_eq!(world.open("/d/f", OpenFlags::READ_WRITE).err(), Some(Errno::EACCES));
    assert_eq!(world.open("/d/new", CREATE).err(), Some(Errno::EACCES));
    assert_eq!(world.remove("/d/f"), Err(Errno::EACCES));
    assert_eq!(world.read("/d/f"), Ok(b"1".to_vec()));
    assert_eq!(world.mkdir("/d"), Err(Errno::EEXIST));
}

#[test]
fn the_size_limit_holds_and_the_file_size_limit_too() {
    let world = World::new();
    let fs = Tmpfs::new("tmpfs", 8192, 10);
    let mount = Mount::detached(fs, "x");
    world.mkdir("/m").unwrap();
    attach(&mount, resolve(&world.caller(), None, b"/m", LastLink::Follow).unwrap()).unwrap();
    let file = world.open("/m/f", CREATE).unwrap();
    assert_eq!(file.write(u64::MAX, &mut SliceSource::new(&[1; 10_000])), Ok(8192));
    assert_eq!(file.write(u64::MAX, &mut SliceSource::new(&[1; 10])), Err(Errno::ENOSPC));
    let file = world.open("/g", CREATE).unwrap();
    assert_eq!(file.write(5, &mut SliceSource::new(b"1234567")), Ok(5));
    assert_eq!(file.write(5, &mut SliceSource::new(b"1")), Err(Errno::EFBIG));
    assert_eq!(world.rmdir("/m"), Err(Errno::EBUSY));
    drop(mount);
    drop(file);
    let _ = world.remove("/m/f");
    let mounted = resolve(&world.caller(), None, b"/m", LastLink::Follow).unwrap();
    detach(mounted, true).unwrap();
    world.rmdir("/m").unwrap();
}

#[test]
fn a_directory_is_covered_or_removed_but_never_both() {
    let world = World::new();
    let barrier = std::sync::Barrier::new(2);
    let at = || resolve(&world.caller(), None, b"/m", LastLink::Follow).unwrap();
    std::thread::scope(|scope| {
        let remover = scope.spawn(|| {
            let race = |_| (barrier.wait(), world.rmdir("/m"), barrier.wait()).1.is_ok();
            (0..2000).map(race).collect::<Vec<_>>()
        });
        let cover = |_| {
            world.mkdir("/m").unwrap();
            let (mount, place) = (Mount::detached(Tmpfs::new("tmpfs", 8192, 10), "x"), at());
            barrier.wait();
            let covered = attach(&mount, place).is_ok();
            barrier.wait();
            if covered {
                drop(mount);
                detach(at(), false).unwrap();
                world.rmdir("/m").unwrap();
            }
            covered
        };
        let covered: Vec<_> = (0..2000).map(cover).collect();
        let removed = remover.join().unwrap();
        assert!(covered.iter().zip(&removed).all(|(covered, removed)| covered != removed));
    });
}

#[test]
fn reading_a_directory_goes_on_where_it_was() {
    let world = World::new();
    for n in 0..50 {
        world.write(&format!("/f{n}"), b"");
    }
    let directory = world.open("/", OpenFlags::DIRECTORY).unwrap();
    let mut seen = Vec::new();
    for round in 0..60 {
        let mut count = 0;
        directory
            .read_directory(&mut |entry| {
                count += 1;
                if count > 1 {
                    return false;
                }
                seen.push(entry.name.to_vec());
                true
            })
            .unwrap();
        if round == 20 {
            for n in 5..30 {
                world.remove(&format!("/f{n}")).unwrap();
            }
        }
    }
    // Two dots, the nineteen that were read before the removal, the twenty that were left after it.
    assert_eq!(seen.len(), 2 + 19 + 20);
    assert_eq!(seen.last().map(Vec::as_slice), Some(&b"f49"[..]));
}

#[test]
fn a_mapping_sees_writes_and_writes_are_seen_through_it() {
    let world = World::new();
    world.write("/f", &[1; 5000]);
    let file = world.open("/f", OpenFlags::READ_WRITE).unwrap();
    let source = file.page_source().unwrap();
    let page = source.page(1, true).unwrap();
    page.write(0, b"mapped");
    file.write_at(4096 + 6, u64::MAX, &mut SliceSource::new(b"written")).unwrap();
    let bytes = world.read("/f").unwrap();
    assert_eq!(&bytes[4096..4109], b"mappedwritten");
    assert!(source.page(2, false).is_err());
}

#[test]
fn a_deep_tree_is_dropped_without_recursion() {
    let world = World::new();
    let mut path = resolve(&world.caller(), None, b"/", LastLink::Follow).unwrap();
    for _ in 0..20_000 {
        path = namespace::make(&world.caller(), Some(&path), b"d", FileType::Directory, 0o777, NONE).unwrap();
    }
    drop(path);
    drop(world);
}

#[test]
fn allocation_makes_pages_by_steps_and_grows_the_file_with_the_last() {
    let fs = Tmpfs::new("tmpfs", 1000 * PAGE_SIZE as u64, 10);
    let new = NewInode { kind: FileType::Regular, permissions: 0o600, uid: 0, gid: 0, device: DeviceId::default() };
    let file = fs.root_directory().create(b"file", &new).unwrap();
    let page = PAGE_SIZE as u64;
    assert_eq!(file.allocate(0, 0, 1001 * page), Err(Errno::ENOSPC));
    assert_eq!(file.allocate(0, 5, 300 * page), Ok(256 * page - 5));
    assert_eq!((file.size(), file.metadata().blocks), (0, 256 * page / 512));
    assert_eq!(file.allocate(0, 256 * page, 44 * page + 5), Ok(44 * page + 5));
    assert_eq!((file.size(), file.metadata().blocks), (300 * page + 5, 301 * page / 512));
}

#[test]
fn zeroing_and_punching_take_as_long_as_there_is_content_not_size() {
    use linux_raw_sys::general::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
    static BORN: [u8; 5000] = [7; 5000];
    let fs = Tmpfs::new("tmpfs", 1 << 30, 10);
    let new = NewInode { kind: FileType::Regular, permissions: 0o600, uid: 0, gid: 0, device: DeviceId::default() };
    let huge = i64::MAX as u64 - 10;
    for mode in [FALLOC_FL_ZERO_RANGE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE] {
        let file = fs.root_directory().create_from(format!("{mode}").as_bytes(), &new, &BORN).unwrap();
        file.truncate(huge).unwrap();
        file.write_at(WritePosition::At(huge - 3), u64::MAX, &mut SliceSource::new(b"abc")).unwrap();
        assert_eq!(file.allocate(mode, 1, huge - 2), Ok(huge - 2));
        let byte = |at| {
            let mut byte = [9];
            file.read_at(at, &mut SliceSink::new(&mut byte)).unwrap();
            byte[0]
        };
        assert_eq!([0, 1, 4999, 5000, huge - 3, huge - 2, huge - 1].map(byte), [7, 0, 0, 0, 0, 0, b'c']);
    }
}
