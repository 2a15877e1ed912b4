//! `/proc` itself: the kernel's files, and a directory for each process.
#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use super::process::{Subject, ThreadDirectory};
use super::{REGISTERED, mounts, processors, sysctl, system};
use crate::Errno;
use crate::fs::caller::Caller;
use crate::fs::inode::Link;
use crate::fs::metadata::FileType::{self, Directory, Regular, Symlink};
use crate::fs::mount::Path;
use crate::fs::virtual_fs::{Content, Fixed, Listing, Node, Source, Text};
use crate::process::id::Pid;
use crate::process::table;

/// Files whose text the kernel's parts in this library make.
const ENTRIES: &[(&str, FileType, fn() -> Node)] = &[
    ("devices", Regular, || Node::file(0o444, system::devices)),
    ("diskstats", Regular, || Node::file(0o444, system::nothing)),
    ("filesystems", Regular, || Node::file(0o444, mounts::filesystems)),
    ("loadavg", Regular, || Node::file(0o444, processors::load_average)),
    ("meminfo", Regular, || Node::file(0o444, system::memory)),
    ("mounts", Symlink, || Node::link(|_| Ok(Link::Text(Arc::from(*b"self/mounts"))))),
    ("schedstat", Regular, || Node::file(0o444, processors::scheduling)),
    ("self", Symlink, || Node::link(to_self)),
    ("stat", Regular, || Node::file(0o444, processors::statistics)),
    ("swaps", Regular, || Node::file(0o444, system::swaps)),
    ("sys", Directory, || Node::directory(Fixed(sysctl::ROOT))),
    ("thread-self", Symlink, || Node::link(to_thread_self)),
    ("uptime", Regular, || Node::file(0o444, processors::uptime)),
    ("version", Regular, || Node::file(0o444, system::version)),
    ("vmstat", Regular, || Node::file(0o444, system::virtual_memory)),
];

/// Positions of the files from here on are those of registered ones, and from `PROCESSES` on of processes.
const FIRST_REGISTERED: u64 = 64;
const PROCESSES: u64 = 256;

fn to_self(caller: &Caller<'_>) -> crate::Result<Link> {
    let pid = caller.process.ok_or(Errno::ENOENT)?;
    Ok(Link::Text(pid.to_string().into_bytes().into()))
}

fn to_thread_self(caller: &Caller<'_>) -> crate::Result<Link> {
    let (process, thread) = (caller.process.ok_or(Errno::ENOENT)?, caller.thread.ok_or(Errno::ENOENT)?);
    Ok(Link::Text(format!("{process}/task/{thread}").into_bytes().into()))
}

/// A number in decimal, spelt as the kernel spells it.
pub(super) fn number(name: &[u8]) -> Option<i32> {
    let value: i32 = core::str::from_utf8(name).ok()?.parse().ok()?;
    (value.to_string().as_bytes() == name).then_some(value)
}

/// A registered source, as a source of its own.
struct Shared(Arc<dyn Source>);

impl Source for Shared {
    fn show(&self, root: &Path, text: &mut Text) -> crate::Result<()> {
        self.0.show(root, text)
    }

    fn store(&self, bytes: &[u8]) -> crate::Result<()> {
        self.0.store(bytes)
    }
}

/// The entry `name` among the registered ones below the folder `prefix`, which is empty or ends with a slash.
fn registered(prefix: &str, name: &[u8]) -> Option<Node> {
    let path = format!("{prefix}{}", core::str::from_utf8(name).ok()?);
    let found = REGISTERED.lock().get(path.as_str()).cloned();
    if let Some((mode, source)) = found {
        return Some(Node { content: Content::File(Arc::new(Shared(source))), mode, uid: 0, gid: 0 });
    }
    let folder = path + "/";
    let exists = REGISTERED.lock().keys().any(|path| path.starts_with(&folder));
    exists.then(|| Node::directory(Folder(folder)))
}

/// Lists them, a folder once; positions count all names below `prefix`. `false`: `emit` did not want more.
fn list_registered(prefix: &str, from: usize, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) -> bool {
    let registered = REGISTERED.lock();
    let mut last = None;
    let names = registered.keys().filter_map(|path| path.strip_prefix(prefix));
    for (position, name) in (1..).zip(names) {
        let (name, kind) = name.split_once('/').map_or((name, Regular), |(folder, _)| (folder, Directory));
        let again = kind == Directory && last.replace(name) == Some(name);
        if position > from && !again && !emit(name.as_bytes(), kind, position as u64) {
            return false;
        }
    }
    true
}

/// A folder of registered files.
struct Folder(String);

impl Listing for Folder {
    fn find(&self, name: &[u8]) -> Option<Node> {
        registered(&self.0, name)
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) {
        list_registered(&self.0, usize::try_from(from).unwrap_or(usize::MAX), emit);
    }
}

/// The listing of `/proc`.
pub struct Root;

impl Listing for Root {
    fn find(&self, name: &[u8]) -> Option<Node> {
        if let Some(pid) = number(name).and_then(Pid::new) {
            // A thread's number leads to it too, though it is not listed.
            if let Some(process) = table::process(pid) {
                return Some(Subject::of_process(process).directory());
            }
            let thread = table::thread(pid)?;
            return Some(Subject { process: thread.process().clone(), thread: Some(thread) }.directory());
        }
        if let Some(node) = Fixed(ENTRIES).find(name) {
            return Some(node);
        }
        registered("", name)
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) {
        let mut going = true;
        if from < FIRST_REGISTERED {
            Fixed(ENTRIES).list(from, &mut |name, kind, next| {
                going = emit(name, kind, next);
                going
            });
        }
        if going && from < PROCESSES {
            let skip = from.saturating_sub(FIRST_REGISTERED) as usize;
            going =
                list_registered("", skip, &mut |name, kind, position| emit(name, kind, FIRST_REGISTERED + position));
        }
        let mut next = u32::try_from(from.saturating_sub(PROCESSES)).unwrap_or(u32::MAX);
        while going && let Some(process) = table::next_process(next) {
            let pid = process.pid();
            next = pid.number() + 1;
            going = emit(pid.to_string().as_bytes(), Directory, PROCESSES + u64::from(next));
        }
    }
}

/// The threads of a process: `/proc/PID/task`.
pub(super) fn thread_directory(subject: &Subject) -> Node {
    Node::directory(ThreadDirectory(subject.process.clone()))
}
