//! Names: directories, links, renames, metadata, permissions, mounts.

use super::metadata::become_user;
use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, must, some};
use crate::sys::*;
use std::ffi::CString;

tests!("dir":
    mkdir_and_rmdir_keep_link_counts,
    mkdir_errors,
    rmdir_errors,
    listing_is_complete_over_many_calls,
    listing_is_stable_while_deleting,
    listing_includes_dot_and_types,
    listing_restarts_with_lseek,
    hard_links_share_the_inode,
    link_errors,
    an_open_file_without_a_name_is_linked_only_if_it_was_made_so,
    an_open_file_is_linked_by_its_opener_or_with_the_capability,
    unlink_errors,
    symlinks_are_followed_and_read,
    symlink_loops_are_eloop,
    readlink_errors_and_truncation,
    rename_replaces_atomically,
    rename_of_directories,
    rename_errors,
    rename_noreplace_and_exchange,
    rename_across_mounts_is_exdev,
    rename_over_an_open_file_keeps_it_readable,
    trailing_slashes_and_doubles,
    concurrent_creation_has_one_winner,
    rename_storm_loses_no_file [30],
);

fn links(path: &std::ffi::CStr) -> u64 {
    u64::from(must(stat(path)).st_nlink)
}

fn mkdir_and_rmdir_keep_link_counts() {
    must(mkdir(c"a", 0o755));
    assert_eq!(links(c"a"), 2);
    must(mkdir(c"a/b", 0o755));
    assert_eq!(links(c"a"), 3);
    must(rmdir(c"a/b"));
    assert_eq!(links(c"a"), 2);
    must(rmdir(c"a"));
    fails(stat(c"a"), libc::ENOENT);
}

fn mkdir_errors() {
    must(write_file(c"file", b""));
    must(mkdir(c"a", 0o755));
    fails(mkdir(c"a", 0o755), libc::EEXIST);
    fails(mkdir(c"file", 0o755), libc::EEXIST);
    fails(mkdir(c"file/x", 0o755), libc::ENOTDIR);
    fails(mkdir(c"none/x", 0o755), libc::ENOENT);
    fails(mkdir(c".", 0o755), libc::EEXIST);
    fails(mkdir(c"", 0o755), libc::ENOENT);
    must(mkdir(c"slash/", 0o755));
}

fn rmdir_errors() {
    must(write_file(c"file", b""));
    must(mkdir(c"a", 0o755));
    must(write_file(c"a/file", b""));
    fails(rmdir(c"a"), libc::ENOTEMPTY);
    fails(rmdir(c"file"), libc::ENOTDIR);
    fails(rmdir(c"none"), libc::ENOENT);
    fails(rmdir(c"a/."), libc::EINVAL);
    fails(rmdir(c"a/.."), libc::ENOTEMPTY);
    fails(rmdir(c"/"), libc::EBUSY);
}

fn make_files(count: usize) {
    for i in 0..count {
        let name = CString::new(format!("name-{i:05}")).unwrap_or_default();
        must(write_file(&name, b""));
    }
}

fn listing_is_complete_over_many_calls() {
    make_files(1000);
    let fd = must(open(c".", libc::O_RDONLY, 0));
    let mut names = Vec::new();
    loop {
        let entries = must(getdents(fd, 512));
        if entries.is_empty() {
            break;
        }
        names.extend(entries.into_iter().map(|entry| entry.name));
    }
    names.retain(|name| name.starts_with("name-"));
    names.sort();
    assert_eq!(names.len(), 1000);
    names.dedup();
    assert_eq!(names.len(), 1000, "names come twice");
    let directory = must(open(c".", libc::O_RDONLY, 0));
    fails(getdents(directory, 20), libc::EINVAL);
}

fn listing_is_stable_while_deleting() {
    make_files(500);
    let fd = must(open(c".", libc::O_RDONLY, 0));
    let mut seen = 0;
    loop {
        let entries = must(getdents(fd, 600));
        if entries.is_empty() {
            break;
        }
        for entry in entries.iter().filter(|entry| entry.name.starts_with("name-")) {
            seen += 1;
            must(unlink(&CString::new(entry.name.as_str()).unwrap_or_default()));
        }
    }
    assert_eq!((seen, must(list(c".")).len()), (500, 0));
}

fn listing_includes_dot_and_types() {
    must(mkdir(c"d", 0o755));
    must(symlink(c"d", c"l"));
    must(write_file(c"f", b""));
    let fd = must(open(c".", libc::O_RDONLY, 0));
    let entries = must(getdents(fd, 4096));
    let kind = |name: &str| some(entries.iter().find(|entry| entry.name == name), name).kind;
    assert_eq!([".", "..", "d", "l", "f"].map(kind), [4, 4, 4, 10, 8]);
    let file = some(entries.iter().find(|entry| entry.name == "f"), "f");
    assert_eq!(file.ino, must(stat(c"f")).st_ino);
}

fn listing_restarts_with_lseek() {
    make_files(10);
    let fd = must(open(c".", libc::O_RDONLY, 0));
    assert_eq!(must(getdents(fd, 8192)).len(), 12);
    assert!(must(getdents(fd, 8192)).is_empty());
    must(lseek(fd, 0, libc::SEEK_SET));
    assert_eq!(must(getdents(fd, 8192)).len(), 12);
}

fn hard_links_share_the_inode() {
    must(write_file(c"one", b"content"));
    must(link(c"one", c"two"));
    assert_eq!((must(stat(c"one")).st_ino, links(c"one")), (must(stat(c"two")).st_ino, 2));
    must(unlink(c"one"));
    assert_eq!((must(read_file(c"two")), links(c"two")), (b"content".to_vec(), 1));
}

fn link_errors() {
    must(write_file(c"file", b""));
    must(mkdir(c"d", 0o755));
    fails(link(c"none", c"x"), libc::ENOENT);
    fails(link(c"file", c"d"), libc::EEXIST);
    fails(link(c"d", c"x"), libc::EPERM);
    fails(link(c"file", c"none/x"), libc::ENOENT);
    fails(link(c"file", c"/dev/usertest-link"), libc::EXDEV);
}

/// Links what is open as `fd`, by the descriptor itself.
fn link_open(fd: Fd, to: &std::ffi::CStr) -> Result<usize> {
    call!(SYS_linkat, fd, c"", libc::AT_FDCWD, to, libc::AT_EMPTY_PATH)
}

/// Links what is open as `fd`, by its name in `/proc`.
fn link_by_proc(fd: Fd, to: &std::ffi::CStr) -> Result<usize> {
    let path = CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    call!(SYS_linkat, libc::AT_FDCWD, path.as_c_str(), libc::AT_FDCWD, to, libc::AT_SYMLINK_FOLLOW)
}

fn an_open_file_without_a_name_is_linked_only_if_it_was_made_so() {
    let unlinked = must(scratch_file(c"file", 0));
    must(unlink(c"file"));
    fails(link_by_proc(unlinked, c"named"), libc::ENOENT);
    fails(link_open(unlinked, c"named"), libc::ENOENT);
    let unnamed = |flags| must(open(c".", libc::O_TMPFILE | libc::O_RDWR | flags, 0o600));
    let exclusive = unnamed(libc::O_EXCL);
    fails(link_by_proc(exclusive, c"named"), libc::ENOENT);
    fails(link_open(exclusive, c"named"), libc::ENOENT);
    let linkable = unnamed(0);
    must(link_open(linkable, c"named"));
    must(link_by_proc(linkable, c"again"));
    must(unlink(c"named"));
    must(unlink(c"again"));
    fails(link_open(linkable, c"named"), libc::ENOENT);
}

fn an_open_file_is_linked_by_its_opener_or_with_the_capability() {
    must(call!(SYS_fchmodat, libc::AT_FDCWD, c".", 0o777));
    let of_root = must(scratch_file(c"file", 0));
    in_child(|| {
        must(link_open(of_root, c"by-root"));
        become_user(1000);
        fails(link_open(of_root, c"by-another"), libc::ENOENT);
        let own = must(scratch_file(c"own", 0));
        must(link_open(own, c"by-opener"));
        std::thread::scope(|scope| {
            scope.spawn(|| must(link_open(own, c"by-its-thread")));
        });
    });
}

fn unlink_errors() {
    must(mkdir(c"d", 0o755));
    fails(unlink(c"d"), libc::EISDIR);
    fails(unlink(c"none"), libc::ENOENT);
    fails(call!(SYS_unlinkat, libc::AT_FDCWD, c"d", 0x1000), libc::EINVAL);
    fails(unlink(c"."), libc::EISDIR);
}

fn symlinks_are_followed_and_read() {
    must(mkdir(c"d", 0o755));
    must(write_file(c"d/file", b"content"));
    must(symlink(c"d", c"to-d"));
    must(symlink(c"../d/file", c"d/relative"));
    assert_eq!(must(read_file(c"to-d/relative")), b"content");
    assert_eq!(must(readlink(c"d/relative")), b"../d/file");
    let link = must(fstatat(c"to-d", libc::AT_SYMLINK_NOFOLLOW));
    assert_eq!((link.st_mode, link.st_size), (libc::S_IFLNK | 0o777, 1));
    assert_eq!(must(stat(c"to-d")).st_mode & libc::S_IFMT, libc::S_IFDIR);
    must(unlink(c"to-d"));
    must(stat(c"d/file"));
    fails(symlink(c"x", c"d"), libc::EEXIST);
    fails(symlink(c"", c"empty"), libc::ENOENT);
}

fn symlink_loops_are_eloop() {
    must(symlink(c"b", c"a"));
    must(symlink(c"a", c"b"));
    fails(stat(c"a"), libc::ELOOP);
    fails(open(c"a", libc::O_RDONLY, 0), libc::ELOOP);
    must(write_file(c"end", b""));
    let mut last = c"end".to_owned();
    for i in 0..41 {
        let name = CString::new(format!("link{i}")).unwrap_or_default();
        must(symlink(&last, &name));
        last = name;
    }
    must(stat(c"link39"));
    fails(stat(c"link40"), libc::ELOOP);
}

fn readlink_errors_and_truncation() {
    must(write_file(c"file", b""));
    must(symlink(c"target", c"link"));
    fails(readlink(c"file"), libc::EINVAL);
    fails(readlink(c"none"), libc::ENOENT);
    let mut small = [b'?'; 4];
    assert_eq!(must(call!(SYS_readlinkat, libc::AT_FDCWD, c"link", &mut small, 3)), 3);
    assert_eq!(&small, b"tar?");
    fails(call!(SYS_readlinkat, libc::AT_FDCWD, c"link", &mut small, 0), libc::EINVAL);
}

fn rename_replaces_atomically() {
    must(write_file(c"target", b"old"));
    let child = spawn(|| {
        for _ in 0..300 {
            must(write_file(c"new", b"new"));
            must(rename(c"new", c"target", 0));
        }
        0
    });
    let mut looks = 0;
    while must(wait4(child, libc::WNOHANG)).is_none() {
        let content = must(read_file(c"target"));
        assert!(content == b"old" || content == b"new");
        looks += 1;
    }
    assert!(looks > 0);
    assert_eq!(must(list(c".")), ["target"]);
}

fn rename_of_directories() {
    must(mkdir(c"a", 0o755));
    must(mkdir(c"b", 0o755));
    must(write_file(c"a/file", b""));
    must(rename(c"a", c"b/a", 0));
    must(stat(c"b/a/file"));
    assert_eq!(must(stat(c"b/a/..")).st_ino, must(stat(c"b")).st_ino);
    assert_eq!(links(c"b"), 3);
    must(mkdir(c"empty", 0o755));
    must(rename(c"b/a", c"empty", 0));
    must(stat(c"empty/file"));
}

fn rename_errors() {
    must(write_file(c"file", b""));
    must(mkdir(c"d", 0o755));
    must(mkdir(c"d/e", 0o755));
    must(mkdir(c"x", 0o755));
    fails(rename(c"none", c"x", 0), libc::ENOENT);
    fails(rename(c"d", c"d/e/f", 0), libc::EINVAL);
    fails(rename(c"file", c"x", 0), libc::EISDIR);
    fails(rename(c"x", c"file", 0), libc::ENOTDIR);
    fails(rename(c"x", c"d", 0), libc::ENOTEMPTY);
    fails(rename(c"file", c"none/x", 0), libc::ENOENT);
    fails(rename(c".", c"y", 0), libc::EBUSY);
    fails(rename(c"file", c"y", 0x80), libc::EINVAL);
    must(rename(c"file", c"file", 0));
    must(link(c"file", c"same"));
    must(rename(c"file", c"same", 0));
    must(stat(c"file"));
}

fn rename_noreplace_and_exchange() {
    must(write_file(c"a", b"A"));
    must(write_file(c"b", b"B"));
    fails(rename(c"a", c"b", libc::RENAME_NOREPLACE), libc::EEXIST);
    must(rename(c"a", c"c", libc::RENAME_NOREPLACE));
    must(rename(c"c", c"b", libc::RENAME_EXCHANGE));
    assert_eq!((must(read_file(c"b")), must(read_file(c"c"))), (b"A".to_vec(), b"B".to_vec()));
    fails(rename(c"b", c"none", libc::RENAME_EXCHANGE), libc::ENOENT);
}

fn rename_across_mounts_is_exdev() {
    must(write_file(c"file", b""));
    fails(rename(c"file", c"/proc/file", 0), libc::EXDEV);
}

fn rename_over_an_open_file_keeps_it_readable() {
    must(write_file(c"old", b"old"));
    must(write_file(c"new", b"new"));
    let fd = must(open(c"old", libc::O_RDONLY, 0));
    must(rename(c"new", c"old", 0));
    assert_eq!(must(read_to_end(fd)), b"old");
    assert_eq!(must(read_file(c"old")), b"new");
}

fn trailing_slashes_and_doubles() {
    must(mkdir(c"d", 0o755));
    must(write_file(c"d/file", b""));
    must(stat(c".//d///file"));
    must(stat(c"d/./../d/file"));
    must(stat(c"d/"));
    fails(stat(c"d/file/"), libc::ENOTDIR);
    fails(stat(c"d/file/."), libc::ENOTDIR);
    fails(open(c"new/", libc::O_CREAT | libc::O_WRONLY, 0o644), libc::EISDIR);
}

fn concurrent_creation_has_one_winner() {
    for round in 0..20 {
        let name = CString::new(format!("file{round}")).unwrap_or_default();
        let children: Vec<Pid> =
            (0..4).map(|_| spawn(|| i32::from(open(&name, libc::O_CREAT | libc::O_EXCL, 0o600).is_ok()))).collect();
        let winners: i32 = children.into_iter().map(|child| i32::from(must(wait(child)) == Status::Exited(1))).sum();
        assert_eq!(winners, 1, "in round {round}");
    }
}

fn rename_storm_loses_no_file() {
    must(mkdir(c"a", 0o755));
    must(mkdir(c"b", 0o755));
    (0..8).for_each(|i| must(write_file(&CString::new(format!("a/{i}")).unwrap_or_default(), b"")));
    let children: Vec<Pid> = (0..4u64)
        .map(|id| {
            spawn(|| {
                let mut random = crate::fuzz::Random::new(id + 1);
                for _ in 0..1000 {
                    let side = |random: &mut crate::fuzz::Random| {
                        if random.below(2) == 0 { "a" } else { "b" }
                    };
                    let from = format!("{}/{}", side(&mut random), random.below(8));
                    let to = format!("{}/{}", side(&mut random), random.below(8));
                    let (from, to) = (CString::new(from).unwrap_or_default(), CString::new(to).unwrap_or_default());
                    let _ = rename(&from, &to, libc::RENAME_NOREPLACE);
                }
                0
            })
        })
        .collect();
    children.into_iter().for_each(|child| exits(child, 0));
    assert_eq!(must(list(c"a")).len() + must(list(c"b")).len(), 8);
}
