//! procfs through the VFS.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::fs::metadata::{DeviceId, FileType};
use crate::fs::mount::{Mount, Path, attach};
use crate::fs::open::open;
use crate::fs::open_flags::OpenFlags;
use crate::fs::testing::World;
use crate::fs::virtual_fs::Text;
use crate::fs::walk::{LastLink, resolve};
use crate::fs::{namespace, sysfs};
use crate::io::SliceSink;
use crate::{Errno, Result};

fn world() -> World {
    let world = World::new();
    for (path, file_system) in [("/proc", super::file_system()), ("/sys", sysfs::file_system())] {
        namespace::make(&world.caller(), None, path.as_bytes(), FileType::Directory, 0o755, DeviceId::default())
            .unwrap();
        let place = resolve(&world.caller(), None, path.as_bytes(), LastLink::Follow).unwrap();
        attach(&Mount::detached(file_system, "none"), place).unwrap();
    }
    world
}

fn read(world: &World, path: &str) -> Result<String> {
    let file = open(&world.caller(), None, path.as_bytes(), OpenFlags::empty(), 0)?;
    let mut all = Vec::new();
    loop {
        let mut bytes = [0; 100];
        let count = file.read(&mut SliceSink::new(&mut bytes))?;
        if count == 0 {
            return Ok(String::from_utf8(all).unwrap());
        }
        all.extend_from_slice(&bytes[..count]);
    }
}

fn names(world: &World, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let directory = open(&world.caller(), None, path.as_bytes(), OpenFlags::DIRECTORY, 0).unwrap();
    directory
        .read_directory(&mut |entry| {
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            true
        })
        .unwrap();
    names
}

#[test]
fn every_listed_file_can_be_read() {
    let world = world();
    let mut pending = alloc::vec![String::from("/proc/sys"), String::from("/sys")];
    let mut count = 0;
    while let Some(path) = pending.pop() {
        for name in names(&world, &path).into_iter().filter(|name| name != "." && name != "..") {
            let path = alloc::format!("{path}/{name}");
            let found = resolve(&world.caller(), None, path.as_bytes(), LastLink::Keep).unwrap();
            match found.inode().attributes().kind() {
                FileType::Directory => pending.push(path),
                _ => assert!(!read(&world, &path).unwrap().is_empty(), "{path}"),
            }
            count += 1;
        }
    }
    assert!(count > 30);
}

#[test]
fn the_list_of_mounts_shows_where_and_what() {
    let world = world();
    let mut text = Text::default();
    super::mounts::mounts(&world.context.root(), &mut text).unwrap();
    let text = String::from_utf8(text.bytes().to_vec()).unwrap();
    assert!(text.contains("none /proc proc rw,relatime 0 0\n"), "{text}");
    assert!(read(&world, "/proc/filesystems").unwrap().contains("nodev\ttmpfs\n"));
}

#[test]
fn a_registered_file_appears_and_a_long_text_is_read_in_parts() {
    let world = world();
    let long = "0123456789".repeat(100);
    let copy = long.clone();
    super::register("long", 0o444, Arc::new(move |_: &Path, text: &mut Text| text.push(copy.as_bytes())));
    assert!(names(&world, "/proc").contains(&String::from("long")));
    assert_eq!(read(&world, "/proc/long"), Ok(long));
}

#[test]
fn the_kernel_has_no_self_and_nothing_can_be_made() {
    let world = world();
    assert_eq!(read(&world, "/proc/self/stat"), Err(Errno::ENOENT));
    assert_eq!(read(&world, "/proc/0"), Err(Errno::ENOENT));
    assert_eq!(read(&world, "/proc/007/stat"), Err(Errno::ENOENT));
    let made = open(&world.caller(), None, b"/proc/new", OpenFlags::CREATE, 0o644);
    assert_eq!(made.err(), Some(Errno::EPERM));
}

#[test]
fn a_setting_is_changed_by_writing_to_it() {
    let world = world();
    let file = open(&world.caller(), None, b"/proc/sys/kernel/hostname", OpenFlags::READ_WRITE, 0).unwrap();
    file.write(u64::MAX, &mut crate::io::SliceSource::new(b"a-name\n")).unwrap();
    assert_eq!(read(&world, "/proc/sys/kernel/hostname"), Ok(String::from("a-name\n")));
    assert_eq!(file.write(u64::MAX, &mut crate::io::SliceSource::new(&[b'x'; 100])), Err(Errno::EINVAL));
}
