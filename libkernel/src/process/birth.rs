//! How processes and threads come to be: the part of clone(2) that has no machine in it.
//!
//! A birth has two steps. [`Unborn`] is everything that needs memory; dropped, it leaves no trace. [`Unborn::publish`]
//! links it to its relatives and makes it visible, after which the caller starts it.
#![forbid(unsafe_code)]

use super::credentials::Credentials;
use super::group::ProcessGroup;
use super::id::Pid;
use super::limits::{Limits, Resource};
use super::name::Name;
use super::process::{Process, Seed};
use super::resources::Resources;
use super::table::ReservedPid;
use super::thread::Thread;
use super::tree;
use crate::fs::procfs::count_birth;
use crate::signal::{ProcessSignals, SignalSet};
use crate::task::Task;
use crate::{Errno, Result, machine};
use alloc::sync::Arc;

/// What a new process is to its relatives.
#[derive(Clone, Copy, Debug)]
pub struct Kinship {
    /// The signal its parent gets when it ends.
    pub exit_signal: Option<u8>,
    /// Is it a sibling of its creator rather than a child (`CLONE_PARENT`)?
    pub sibling: bool,
    /// Does it share its creator's table of signal actions (`CLONE_SIGHAND`)?
    pub share_actions: bool,
}

/// A thread that nobody can see yet, perhaps with a process around it.
pub struct Unborn {
    number: ReservedPid,
    thread: Arc<Thread>,
    kinship: Option<Kinship>,
}

impl Unborn {
    /// A thread of `creator`'s process.
    ///
    /// # Errors
    /// `EAGAIN` without a free number, `ENOMEM`.
    pub fn thread_of(creator: &Arc<Thread>, resources: Resources) -> Result<Unborn> {
        check_limit(creator)?;
        let number = ReservedPid::take()?;
        let thread = like(creator, number.pid(), creator.process().clone(), resources);
        Ok(Unborn { number, thread: Arc::new(thread), kinship: None })
    }

    /// The first thread of a new process that inherits from `creator`'s.
    ///
    /// # Errors
    /// As for [`Unborn::thread_of`].
    pub fn process_of(creator: &Arc<Thread>, kinship: Kinship, resources: Resources) -> Result<Unborn> {
        check_limit(creator)?;
        let number = ReservedPid::take()?;
        let process = Arc::new(creator.process().offspring(
            number.pid(),
            machine::monotonic_ns(),
            creator.name(),
            kinship.share_actions,
        ));
        let thread = like(creator, number.pid(), process, resources);
        Ok(Unborn { number, thread: Arc::new(thread), kinship: Some(kinship) })
    }

    /// The thread, to be given what it needs to run.
    #[must_use]
    pub fn thread(&self) -> &Arc<Thread> {
        &self.thread
    }

    /// Makes the thread, which `task` will run, visible as a child or thread of `creator`'s process.
    ///
    /// # Errors
    /// `ERESTARTNOINTR` when the process is on its way out (or another of its threads is in exec), and when a signal waits that
    /// a new process would escape, so that the thread sees to that first; `ENOMEM`. Nothing has happened then.
    pub fn publish(self, creator: &Arc<Thread>, task: Arc<Task>) -> Result<Arc<Thread>> {
        let thread = self.thread.clone();
        match self.kinship {
            None => self.join_process(&task)?,
            Some(kinship) => self.join_family(creator, kinship, &task)?,
        }
        count_birth();
        thread.account().begin_thread();
        // From here on a signal may start it.
        thread.set_task(task);
        Ok(thread)
    }

    fn join_process(self, task: &Arc<Task>) -> Result<()> {
        let process = self.thread.process().clone();
        process.enlist(&self.thread, task)?;
        let published = self.number.publish(&self.thread, None);
        if published.is_err() {
            process.withdraw(&self.thread);
        }
        process.processor_alarms().thread_joined(&process);
        published
    }

    fn join_family(self, forker: &Thread, kinship: Kinship, task: &Arc<Task>) -> Result<()> {
        let creator = forker.process();
        let process = &self.thread.process().clone();
        let mut tree = tree::lock();
        if creator.ending().is_some() {
            return Err(Errno::ERESTARTNOINTR);
        }
        let elder = if kinship.sibling { creator.relations.get(&tree).parent.clone() } else { None };
        let parent = elder.unwrap_or_else(|| creator.clone());
        parent.relations.get_mut(&mut tree).children.try_reserve(1)?;
        process.enlist(&self.thread, task)?;
        // Group and terminal are the creator's of this moment: they may have changed since the process was made.
        let group = creator.group();
        process.set_group(group.clone());
        process.set_attachment(&mut tree, creator.attachment());
        let joined = group.join(&mut tree, process);
        // Who signals a group goes through its list, and who signals all processes holds the tree's lock all the time: what was sent to the
        // creator before this child could be seen is pending here, and the child would not have got it.
        let free =
            joined.and_then(|()| if forker.signals().has_to_look() { Err(Errno::ERESTARTNOINTR) } else { Ok(()) });
        if let Err(error) = free.and_then(|()| self.number.publish(&self.thread, Some(process))) {
            group.leave(&mut tree, process);
            process.withdraw(&self.thread);
            return Err(error);
        }
        // As on Linux, a sibling sends what its creator does: nobody chooses what signal another one's parent gets.
        process.set_exit_signal(if kinship.sibling { creator.exit_signal() } else { kinship.exit_signal });
        process.set_parent(&mut tree, Some(parent.clone()));
        parent.relations.get_mut(&mut tree).children.push_back(process.clone());
        Ok(())
    }
}

/// Makes the first process, with a session and group of its own, and its one thread, not yet published.
///
/// # Errors
/// `EEXIST` when there is a process already, `ENOMEM`.
pub fn first_process(name: Name, limits: Limits, resources: Resources) -> Result<Founder> {
    let number = ReservedPid::take()?;
    if number.pid() != Pid::INIT {
        return Err(Errno::EEXIST);
    }
    Founder::new(number, name, limits, resources)
}

/// A process without parent, in a session of its own, and its thread, which nobody can see yet.
pub struct Founder {
    number: ReservedPid,
    group: Arc<ProcessGroup>,
    thread: Arc<Thread>,
}

impl Founder {
    pub(super) fn new(number: ReservedPid, name: Name, limits: Limits, resources: Resources) -> Result<Founder> {
        let group = ProcessGroup::unlisted_session(number.pid())?;
        let seed = Seed { limits, name, signals: Arc::new(ProcessSignals::new()), program: None };
        let process = Arc::new(Process::new(number.pid(), machine::monotonic_ns(), group.clone(), seed));
        let credentials = Arc::new(Credentials::root());
        let thread = Arc::new(Thread::new(number.pid(), process, credentials, name, SignalSet::EMPTY, resources));
        Ok(Founder { number, group, thread })
    }

    /// The thread, to be given what it needs to run.
    #[must_use]
    pub fn thread(&self) -> &Arc<Thread> {
        &self.thread
    }

    /// Makes it visible; `task` will run it.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn publish(self, task: Arc<Task>) -> Result<Arc<Thread>> {
        let process = self.thread.process();
        let mut tree = tree::lock();
        process.enlist(&self.thread, &task)?;
        self.number.publish(&self.thread, Some(process))?;
        self.group.list_session()?;
        self.group.join(&mut tree, process)?;
        self.thread.set_task(task);
        self.thread.account().begin_thread();
        Ok(self.thread)
    }
}

/// May `creator`'s user have another thread?
fn check_limit(creator: &Thread) -> Result<()> {
    let limit = creator.process().limit(Resource::Processes).soft;
    let account = creator.account();
    creator.with_credentials(|credentials| account.check_threads(credentials, limit))
}

/// A thread that starts out as `creator` is.
fn like(creator: &Thread, tid: Pid, process: Arc<Process>, resources: Resources) -> Thread {
    let blocked = creator.signals().blocked();
    Thread::new(tid, process, creator.credentials(), creator.name(), blocked, resources)
}
