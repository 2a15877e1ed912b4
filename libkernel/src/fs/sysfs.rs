//! `/sys`, as far as the C library and lscpu(1) look at it: the processors.
#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::inode::FileSystem;
use super::kernel_fs::KernelFs;
use super::metadata::FileType::{self, Directory, Regular};
use super::mount::Path;
use super::virtual_fs::{self, Fixed, Listing, Node, Text};
use crate::Result;
use crate::sync::SetOnce;

const MAGIC: u64 = 0x6265_6572;

/// How many cores run.
static ONLINE: AtomicUsize = AtomicUsize::new(1);

static FILE_SYSTEM: SetOnce<Arc<KernelFs>> = SetOnce::new();

/// Says how many cores run; their numbers are below it.
pub fn set_online_cores(count: usize) {
    ONLINE.store(count, Relaxed);
}

/// How many cores run.
#[must_use]
pub fn online_cores() -> usize {
    ONLINE.load(Relaxed)
}

/// The one sysfs.
#[must_use]
pub fn file_system() -> Arc<dyn FileSystem> {
    if FILE_SYSTEM.get().is_none() {
        // Whoever was first made the one that counts.
        let _ = FILE_SYSTEM.set(virtual_fs::file_system("sysfs", MAGIC, Fixed(ROOT)));
    }
    match FILE_SYSTEM.get() {
        Some(file_system) => file_system.clone(),
        None => virtual_fs::file_system("sysfs", MAGIC, Fixed(ROOT)),
    }
}

const ROOT: &[(&str, FileType, fn() -> Node)] = &[
    ("bus", Directory, || Node::directory(Fixed(&[]))),
    ("class", Directory, || Node::directory(Fixed(&[]))),
    ("dev", Directory, || Node::directory(Fixed(&[]))),
    ("devices", Directory, || Node::directory(Fixed(DEVICES))),
    ("fs", Directory, || Node::directory(Fixed(&[]))),
    ("kernel", Directory, || Node::directory(Fixed(KERNEL))),
];

const KERNEL: &[(&str, FileType, fn() -> Node)] = &[("mm", Directory, || Node::directory(Fixed(&[])))];

const DEVICES: &[(&str, FileType, fn() -> Node)] =
    &[("system", Directory, || Node::directory(Fixed(&[("cpu", Directory, || Node::directory(Processors))])))];

/// The files of `/sys/devices/system/cpu`.
const PROCESSOR_FILES: [&str; 4] = ["kernel_max", "online", "possible", "present"];

struct Processors;

fn range(_root: &Path, text: &mut Text) -> Result<()> {
    match online_cores() {
        0 | 1 => text.push(b"0\n"),
        count => text.write_fmt(format_args!("0-{}\n", count - 1)),
    }
}

fn largest(_root: &Path, text: &mut Text) -> Result<()> {
    text.write_fmt(format_args!("{}\n", crate::machine::MAX_CORES - 1))
}

impl Listing for Processors {
    fn find(&self, name: &[u8]) -> Option<Node> {
        match name {
            b"kernel_max" => return Some(Node::file(0o444, largest)),
            b"online" | b"possible" | b"present" => return Some(Node::file(0o444, range)),
            _ => {}
        }
        let number = core::str::from_utf8(name.strip_prefix(b"cpu")?).ok()?.parse::<usize>().ok()?;
        let exists = number < online_cores() && format!("cpu{number}").as_bytes() == name;
        exists.then(|| Node::directory(Processor(number)))
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) {
        let files = PROCESSOR_FILES.iter().map(|name| (String::from(*name), Regular));
        let cores = (0..online_cores()).map(|number| (format!("cpu{number}"), Directory));
        for (position, (name, kind)) in (1..).zip(files.chain(cores)).skip(usize::try_from(from).unwrap_or(usize::MAX))
        {
            if !emit(name.as_bytes(), kind, position) {
                return;
            }
        }
    }
}

struct Processor(usize);

impl Listing for Processor {
    fn find(&self, name: &[u8]) -> Option<Node> {
        let number = self.0;
        match name {
            b"online" => Some(Node::file(0o444, |_: &Path, text: &mut Text| text.push(b"1\n"))),
            b"topology" => Some(Node::directory(Topology(number))),
            _ => None,
        }
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) {
        for (position, (name, kind)) in (1..).zip([("online", Regular), ("topology", Directory)]).skip(from as usize) {
            if !emit(name.as_bytes(), kind, position) {
                return;
            }
        }
    }
}

/// The core's place: each is a core of its own in one package.
struct Topology(usize);

const TOPOLOGY_FILES: [&str; 8] = [
    "core_id",
    "core_cpus",
    "core_cpus_list",
    "core_siblings",
    "core_siblings_list",
    "physical_package_id",
    "thread_siblings",
    "thread_siblings_list",
];

impl Listing for Topology {
    fn find(&self, name: &[u8]) -> Option<Node> {
        let number = self.0;
        let show = match name {
            b"core_id" | b"core_cpus_list" | b"thread_siblings_list" => format!("{number}\n"),
            b"core_cpus" | b"thread_siblings" => format!("{:x}\n", 1u64 << number),
            b"core_siblings" => format!("{:x}\n", (1u64 << online_cores()) - 1),
            b"core_siblings_list" => format!("0-{}\n", online_cores() - 1),
            b"physical_package_id" => String::from("0\n"),
            _ => return None,
        };
        Some(Node::file(0o444, move |_: &Path, text: &mut Text| text.push(show.as_bytes())))
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) {
        for (position, name) in (1..).zip(TOPOLOGY_FILES).skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            if !emit(name.as_bytes(), Regular, position) {
                return;
            }
        }
    }
}
