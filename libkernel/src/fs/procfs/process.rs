//! `/proc/PID` and `/proc/PID/task/TID`: the directory of a process or thread, and its smaller files.
#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::ToString;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use super::root::{number, thread_directory};
use super::{descriptors, mounts, scheduling, status};
use crate::fs::caller::Caller;
use crate::fs::inode::Link;
use crate::fs::metadata::FileType::{self, Directory, Regular, Symlink};
use crate::fs::mount::Path;
use crate::fs::virtual_fs::{Listing, Node, Source, Text};
use crate::memory::AddressSpace;
use crate::process::id::Pid;
use crate::process::name::Name;
use crate::process::{Process, Thread, table};
use crate::{Errno, Result};

/// What a directory is about: a process, or one of its threads.
#[derive(Clone)]
pub struct Subject {
    /// The process.
    pub process: Arc<Process>,
    /// The thread, in a directory below `task`.
    pub thread: Option<Arc<Thread>>,
}

type Show = fn(&Subject, &mut Text) -> Result<()>;
type Make = fn(&Subject) -> Node;

/// What an entry of the directory is.
enum Entry {
    Text(u32, Show),
    /// A text about the program's memory, for those who may look into that.
    Private(u32, Show),
    Other(FileType, Make),
}

const ENTRIES: &[(&str, Entry)] = &[
    ("auxv", Entry::Private(0o400, auxiliary)),
    ("cgroup", Entry::Text(0o444, |_, text| text.push(b"0::/\n"))),
    ("cmdline", Entry::Text(0o444, command_line)),
    ("comm", Entry::Other(Regular, comm)),
    ("cwd", Entry::Other(Symlink, |subject| place(subject, |thread| Ok(thread.fs().working_directory())))),
    ("environ", Entry::Private(0o400, environment)),
    ("exe", Entry::Other(Symlink, executable)),
    ("fd", Entry::Other(Directory, descriptors::links)),
    ("fdinfo", Entry::Other(Directory, descriptors::facts)),
    ("limits", Entry::Text(0o444, status::limits)),
    ("loginuid", Entry::Text(0o644, |_, text| text.push(b"4294967295"))),
    ("maps", Entry::Private(0o444, maps)),
    ("mountinfo", Entry::Other(Regular, |_| Node::file(0o444, mounts::mount_information))),
    ("mounts", Entry::Other(Regular, |_| Node::file(0o444, mounts::mounts))),
    ("oom_score", Entry::Text(0o444, |_, text| text.push(b"0\n"))),
    ("oom_score_adj", Entry::Other(Regular, |subject| Node::file(0o644, OomScoreAdjust(subject.clone())))),
    ("root", Entry::Other(Symlink, |subject| place(subject, |thread| Ok(thread.fs().root())))),
    ("sched", Entry::Text(0o444, scheduling::sched)),
    ("schedstat", Entry::Text(0o444, scheduling::statistics)),
    ("sessionid", Entry::Text(0o444, |_, text| text.push(b"4294967295"))),
    ("smaps_rollup", Entry::Private(0o444, smaps_rollup)),
    ("stat", Entry::Text(0o444, status::stat)),
    ("statm", Entry::Text(0o444, status::statm)),
    ("status", Entry::Text(0o444, status::status)),
    ("task", Entry::Other(Directory, thread_directory)),
    ("wchan", Entry::Text(0o444, wait_location)),
];

impl Subject {
    /// A process.
    #[must_use]
    pub fn of_process(process: Arc<Process>) -> Self {
        Self { process, thread: None }
    }

    /// The thread that stands for the subject: the given one, or the first, or any.
    ///
    /// # Errors
    /// `ESRCH` when all have ended.
    pub fn thread(&self) -> Result<Arc<Thread>> {
        let thread = self.thread.clone().or_else(|| self.process.leader());
        thread.or_else(|| self.process.find_thread(|_| true)).ok_or(Errno::ESRCH)
    }

    /// Fails when the process is gone: ended, and waited for.
    fn check_there(&self) -> Result<()> {
        let there = table::process(self.process.pid()).is_some_and(|process| Arc::ptr_eq(&process, &self.process));
        if there { Ok(()) } else { Err(Errno::ESRCH) }
    }

    /// The number by which it is called.
    #[must_use]
    pub fn id(&self) -> Pid {
        self.thread.as_ref().map_or(self.process.pid(), |thread| thread.tid())
    }

    /// Its memory.
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn space(&self) -> Result<Arc<AddressSpace>> {
        Ok(self.thread()?.space())
    }

    /// Who owns its files: the effective user and group.
    fn owner(&self) -> (u32, u32) {
        let Ok(thread) = self.thread() else { return (0, 0) };
        thread.with_credentials(|credentials| (credentials.uid.effective.raw(), credentials.gid.effective.raw()))
    }

    /// Its directory.
    #[must_use]
    pub fn directory(self) -> Node {
        let (uid, gid) = self.owner();
        Node::directory(self).owned_by(uid, gid)
    }

    fn entry(&self, entry: &Entry) -> Node {
        let (uid, gid) = self.owner();
        match entry {
            Entry::Text(mode, show) => {
                let (subject, show) = (self.clone(), *show);
                Node::file(*mode, move |_: &Path, text: &mut Text| {
                    subject.check_there()?;
                    show(&subject, text)
                })
            }
            Entry::Private(mode, show) => Node::file(*mode, PrivateText::new(self, *show)),
            Entry::Other(_, make) => make(self),
        }
        .owned_by(uid, gid)
    }
}

impl Listing for Subject {
    fn find(&self, name: &[u8]) -> Option<Node> {
        let (name, entry) = ENTRIES.iter().find(|(entry, _)| entry.as_bytes() == name)?;
        (*name != "task" || self.thread.is_none()).then(|| self.entry(entry))
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) {
        for (position, (name, entry)) in (1..).zip(ENTRIES).skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            let kind = match entry {
                Entry::Text(..) | Entry::Private(..) => Regular,
                Entry::Other(kind, _) => *kind,
            };
            if (*name != "task" || self.thread.is_none()) && !emit(name.as_bytes(), kind, position) {
                return;
            }
        }
    }
}

/// A text about the program's memory.
struct PrivateText {
    subject: Subject,
    show: Show,
    /// The memory when the file was looked up, before the right to open it was checked: of another program's, run since, it tells nothing.
    space: Weak<AddressSpace>,
}

impl PrivateText {
    fn new(subject: &Subject, show: Show) -> Self {
        let space = subject.space().map_or_else(|_| Weak::new(), |space| Arc::downgrade(&space));
        Self { subject: subject.clone(), show, space }
    }
}

impl Source for PrivateText {
    fn check_open(&self, caller: &Caller<'_>) -> Result<()> {
        // A process that has ended has no memory to hide.
        self.subject.thread().map_or(Ok(()), |thread| check_inspection(caller, &thread))
    }

    fn show(&self, _root: &Path, text: &mut Text) -> Result<()> {
        self.subject.check_there()?;
        match self.subject.space() {
            Ok(space) if !core::ptr::eq(Arc::as_ptr(&space), self.space.as_ptr()) => Ok(()),
            _ => (self.show)(&self.subject, text),
        }
    }
}

/// `/proc/PID/task`.
pub struct ThreadDirectory(pub Arc<Process>);

impl Listing for ThreadDirectory {
    fn find(&self, name: &[u8]) -> Option<Node> {
        let wanted = Pid::new(number(name)?)?;
        let thread = self.0.find_thread(|thread| thread.tid() == wanted)?;
        Some(Subject { process: self.0.clone(), thread: Some(thread) }.directory())
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(&[u8], FileType, u64) -> bool) {
        let mut tids = Vec::new();
        self.0.for_each_thread(|thread| tids.push(thread.tid().number()));
        tids.sort_unstable();
        for tid in tids.into_iter().filter(|tid| u64::from(*tid) >= from) {
            if !emit(tid.to_string().as_bytes(), Directory, u64::from(tid) + 1) {
                return;
            }
        }
    }
}

/// `oom_score_adj`.
struct OomScoreAdjust(Subject);

impl Source for OomScoreAdjust {
    fn show(&self, _root: &Path, text: &mut Text) -> Result<()> {
        text.write_fmt(format_args!("{}\n", self.0.process.oom_score_adjust()))
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let number = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?.trim().parse();
        self.0.process.set_oom_score_adjust(number.map_err(|_| Errno::EINVAL)?)
    }
}

/// A link to a place that the thread has; it can be followed even where no path leads there.
fn place(subject: &Subject, of: fn(&Thread) -> Result<Path>) -> Node {
    let subject = subject.clone();
    Node::link(move |caller| {
        let thread = subject.thread().map_err(|_| Errno::ENOENT)?;
        check_inspection(caller, &thread)?;
        Ok(Link::Jump(of(&thread)?))
    })
}

/// Whether the caller may look into the thread's memory and files (ptrace(2)).
pub(super) fn check_inspection(caller: &Caller<'_>, thread: &Thread) -> Result<()> {
    let process = thread.process();
    let own = caller.process == Some(process.pid());
    let may = || thread.with_credentials(|target| caller.credentials.may_inspect(target, process.dumpable()));
    if own || may() { Ok(()) } else { Err(Errno::EACCES) }
}

fn executable(subject: &Subject) -> Node {
    let subject = subject.clone();
    Node::link(move |caller| {
        check_inspection(caller, &*subject.thread().map_err(|_| Errno::ENOENT)?)?;
        Ok(Link::Jump(subject.process.program().ok_or(Errno::ENOENT)?.file.clone()))
    })
}

struct Comm(Subject);

impl Source for Comm {
    fn show(&self, _root: &Path, text: &mut Text) -> Result<()> {
        text.push(name(&self.0).as_bytes())?;
        text.push(b"\n")
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        self.0.thread()?.set_name(Name::new(bytes.strip_suffix(b"\n").unwrap_or(bytes)));
        Ok(())
    }
}

/// The short name of the subject.
pub(super) fn name(subject: &Subject) -> Name {
    subject.thread.as_ref().map_or_else(|| subject.process.name(), |thread| thread.name())
}

fn comm(subject: &Subject) -> Node {
    Node::file(0o644, Comm(subject.clone()))
}

/// Copies a range of the program's memory, as far as it is there.
fn memory(subject: &Subject, range: core::ops::Range<u64>, text: &mut Text) -> Result<()> {
    let space = subject.space()?;
    let mut bytes = [0; 256];
    let mut at = range.start;
    while at < range.end {
        let wanted = (range.end - at).min(bytes.len() as u64) as usize;
        let Some(part) = bytes.get_mut(..wanted) else { break };
        let count = space.read_remote(at, part).unwrap_or(0);
        text.push(part.get(..count).unwrap_or_default())?;
        if count < wanted {
            break;
        }
        at += count as u64;
    }
    Ok(())
}

fn command_line(subject: &Subject, text: &mut Text) -> Result<()> {
    // A zombie has no arguments any more.
    match (subject.process.program(), subject.thread()) {
        (Some(program), Ok(_)) => memory(subject, program.arguments.clone(), text),
        _ => Ok(()),
    }
}

fn environment(subject: &Subject, text: &mut Text) -> Result<()> {
    match (subject.process.program(), subject.thread()) {
        (Some(program), Ok(_)) => memory(subject, program.environment.clone(), text),
        _ => Ok(()),
    }
}

fn auxiliary(subject: &Subject, text: &mut Text) -> Result<()> {
    match (subject.process.program(), subject.thread()) {
        (Some(program), Ok(_)) => text.push(&program.auxiliary),
        _ => Ok(()),
    }
}

fn maps(subject: &Subject, text: &mut Text) -> Result<()> {
    match subject.space() {
        Ok(space) => space.write_maps(text).map_err(|_| Errno::ENOMEM),
        Err(_) => Ok(()),
    }
}

fn smaps_rollup(subject: &Subject, text: &mut Text) -> Result<()> {
    subject.space()?.write_smaps_rollup(text).map_err(|_| Errno::ENOMEM)
}

/// Where the thread sleeps: file and line of the wait.
fn wait_location(subject: &Subject, text: &mut Text) -> Result<()> {
    use crate::task::Activity;
    match subject.thread().ok().and_then(|thread| thread.task().cloned()) {
        Some(task) if task.activity() == Activity::Asleep => text.push(format!("{}", task.waiting()).as_bytes()),
        _ => text.push(b"0"),
    }
}
