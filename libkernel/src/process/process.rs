//! What the threads of a program share.
#![forbid(unsafe_code)]

use super::accounts::{self, SignalAllowance};
use super::attachment::AttachmentCell;
use super::credentials::UserIds;
use super::exec::ProgramFacts;
use super::group::{ProcessGroup, Session};
use super::id::Pid;
use super::limits::{INFINITY, Limit, Limits, Resource};
use super::name::Name;
use super::roster::{Member, Roster};
use super::status::ExitStatus;
use super::thread::Thread;
use super::tree::{Tree, TreeCell};
use super::usage::Usage;
use crate::memory::AddressSpace;
use crate::signal::{ProcessSignals, Signal};
use crate::sync::{SpinLock, WaitQueue};
use crate::timers::ProcessorAlarms;
use crate::{Errno, Result};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicI16, AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// Who may look into a process (prctl(2), `PR_SET_DUMPABLE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dumpable {
    /// The super-user only: its rights changed at exec.
    No = 0,
    /// Its owner.
    Yes = 1,
}

/// A running program: an address space, the threads in it, and its place among the other processes.
pub struct Process {
    pid: Pid,
    start_ns: u64,
    place: AtomicUsize,
    parent_pid: AtomicU32,
    group: SpinLock<Arc<ProcessGroup>>,
    pub(super) attachment: AttachmentCell,
    pub(super) relations: TreeCell<Relations>,
    pub(super) threads: SpinLock<Threads>,
    limits: SpinLock<Limits>,
    name: SpinLock<Name>,
    exit_signal: AtomicU8,
    dumpable: AtomicU8,
    subreaper: AtomicBool,
    oom_score_adjust: AtomicI16,
    execs: AtomicU32,
    parent_execs: AtomicU32,
    pub(super) borrows_memory: AtomicBool,
    kernel: AtomicBool,
    program: SpinLock<Option<Arc<ProgramFacts>>>,
    death_signal: AtomicU8,
    last_user: SpinLock<UserIds>,
    pub(super) children_usage: SpinLock<Usage>,
    signals: Arc<ProcessSignals>,
    events: Arc<WaitQueue>,
    processor_alarms: ProcessorAlarms,
    barriers: AtomicU32,
}

/// What a process takes over from the one that made it.
pub(super) struct Seed {
    pub limits: Limits,
    pub name: Name,
    pub signals: Arc<ProcessSignals>,
    pub program: Option<Arc<ProgramFacts>>,
}

/// The relations of a process, which change under the tree's lock.
pub(super) struct Relations {
    /// Who is told of its end and may wait for it. `None` for init, and after it was waited for.
    pub parent: Option<Arc<Process>>,
    /// Its children in order of birth, zombies among them.
    pub children: VecDeque<Arc<Process>>,
    /// Set once its last thread is gone: it is a zombie.
    pub ended: Option<ExitStatus>,
    /// The number of the signal that stopped it, while it is stopped.
    pub stopped: Option<u8>,
    /// Has wait(2) reported the stop?
    pub stop_reported: bool,
    /// A continuation that wait(2) has not reported yet.
    pub continued: bool,
}

/// The threads of a process.
pub(super) struct Threads {
    /// Those alive.
    pub alive: Roster<Thread>,
    /// What those have used that are gone: each thread is in one of the two.
    pub gone: Usage,
    /// How the process ends, from the first exit_group(2) or fatal signal on.
    pub ending: Option<ExitStatus>,
    /// One of them is about to run another program and waits for the others to end.
    pub exec: bool,
}

impl Process {
    /// A process without threads, not yet related to any other.
    pub(super) fn new(pid: Pid, start_ns: u64, group: Arc<ProcessGroup>, seed: Seed) -> Process {
        let Seed { limits, name, signals, program } = seed;
        Process {
            pid,
            start_ns,
            place: AtomicUsize::new(0),
            parent_pid: AtomicU32::new(0),
            group: SpinLock::new(group),
            attachment: AttachmentCell::new(),
            relations: TreeCell::new(Relations {
                parent: None,
                children: VecDeque::new(),
                ended: None,
                stopped: None,
                stop_reported: false,
                continued: false,
            }),
            processor_alarms: ProcessorAlarms::new(limits.get(Resource::Cpu).soft != INFINITY),
            barriers: AtomicU32::new(0),
            threads: SpinLock::new(Threads { alive: Roster::new(), gone: Usage::default(), ending: None, exec: false }),
            limits: SpinLock::new(limits),
            name: SpinLock::new(name),
            exit_signal: AtomicU8::new(0),
            dumpable: AtomicU8::new(Dumpable::Yes as u8),
            subreaper: AtomicBool::new(false),
            oom_score_adjust: AtomicI16::new(0),
            execs: AtomicU32::new(0),
            parent_execs: AtomicU32::new(0),
            borrows_memory: AtomicBool::new(false),
            kernel: AtomicBool::new(false),
            program: SpinLock::new(program),
            death_signal: AtomicU8::new(0),
            last_user: SpinLock::new(UserIds::ROOT),
            children_usage: SpinLock::new(Usage::default()),
            signals,
            events: Arc::new(WaitQueue::new()),
        }
    }

    /// A process that takes over what fork passes on; nothing refers to it yet. With `share_actions` the two have one
    /// table of signal actions (`CLONE_SIGHAND`).
    pub(super) fn offspring(&self, pid: Pid, start_ns: u64, name: Name, share_actions: bool) -> Process {
        let signals = Arc::new(self.signals.fork(share_actions));
        let seed = Seed { limits: self.limits.lock().clone(), name, signals, program: self.program() };
        let process = Process::new(pid, start_ns, self.group(), seed);
        process.set_dumpable(self.dumpable());
        process.oom_score_adjust.store(self.oom_score_adjust(), Ordering::Relaxed);
        process
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// When it began, in nanoseconds since boot.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// Its parent's number; `None` for init. One load: getppid(2).
    #[must_use]
    #[inline]
    pub fn parent_pid(&self) -> Option<Pid> {
        Pid::new(self.parent_pid.load(Ordering::Relaxed) as i32)
    }

    /// Whether it stands for a thread of the kernel.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.kernel.load(Ordering::Relaxed)
    }

    /// Says that it stands for a thread of the kernel, and who is called its parent.
    pub(super) fn mark_kernel(&self, parent: Option<Pid>) {
        self.kernel.store(true, Ordering::Relaxed);
        self.parent_pid.store(parent.map_or(0, |pid| pid.number()), Ordering::Relaxed);
    }

    /// Its parent, to be told something. Takes the tree's lock.
    #[must_use]
    pub fn parent(&self) -> Option<Arc<Process>> {
        self.relations.get(&super::tree::lock()).parent.clone()
    }

    /// Its process group.
    #[must_use]
    pub fn group(&self) -> Arc<ProcessGroup> {
        self.group.lock().clone()
    }

    /// The number of its process group.
    #[must_use]
    pub fn group_id(&self) -> Pid {
        self.group.lock().id()
    }

    /// Its session.
    #[must_use]
    pub fn session(&self) -> Arc<Session> {
        self.group.lock().session().clone()
    }

    /// The number of its session.
    #[must_use]
    pub fn session_id(&self) -> Pid {
        self.group.lock().session().id()
    }

    /// Does it lead its session?
    #[must_use]
    pub fn is_session_leader(&self) -> bool {
        self.session_id() == self.pid
    }

    /// Does `action` for each living thread, with the list locked: it may signal and wake, it may not begin or end a thread, and may
    /// not drop the last reference to one. Not in an interrupt.
    pub fn for_each_thread(&self, mut action: impl FnMut(&Arc<Thread>)) {
        self.threads.lock().alive.iter().for_each(&mut action);
    }

    /// The first living thread for which `test` holds; under the same conditions as [`Process::for_each_thread`].
    #[must_use]
    pub fn find_thread(&self, mut test: impl FnMut(&Arc<Thread>) -> bool) -> Option<Arc<Thread>> {
        self.threads.lock().alive.iter().find(|thread| test(thread)).cloned()
    }

    /// The thread whose number is the process's, while it is alive.
    #[must_use]
    pub fn leader(&self) -> Option<Arc<Thread>> {
        self.find_thread(|thread| thread.tid() == self.pid)
    }

    /// How many threads are alive.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.threads.lock().alive.len()
    }

    /// How the process ends, once that is decided: its threads are on their way out.
    #[must_use]
    pub fn ending(&self) -> Option<ExitStatus> {
        self.threads.lock().ending
    }

    /// Has its last thread ended?
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.relations.get(&super::tree::lock()).ended.is_some()
    }

    /// A resource limit.
    #[must_use]
    pub fn limit(&self, resource: Resource) -> Limit {
        self.limits.lock().get(resource)
    }

    /// The soft limit of a resource as a bound: `None` if there is none.
    #[must_use]
    pub fn soft_limit(&self, resource: Resource) -> Option<u64> {
        let soft = self.limits.lock().get(resource).soft;
        (soft != INFINITY).then_some(soft)
    }

    /// Reads or changes the limits.
    pub fn with_limits<R>(&self, action: impl FnOnce(&mut Limits) -> R) -> R {
        action(&mut self.limits.lock())
    }

    /// The short name of the program (`comm` of the first thread).
    #[must_use]
    pub fn name(&self) -> Name {
        *self.name.lock()
    }

    /// Sets the short name of the program.
    pub fn set_name(&self, name: Name) {
        *self.name.lock() = name;
    }

    /// The signal its parent gets when it ends; `None`: no signal (clone(2)).
    #[must_use]
    pub fn exit_signal(&self) -> Option<u8> {
        match self.exit_signal.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Sets the signal its parent gets when it ends.
    pub(super) fn set_exit_signal(&self, signal: Option<u8>) {
        self.exit_signal.store(signal.unwrap_or(0), Ordering::Relaxed);
    }

    /// May its owner look into it?
    #[must_use]
    pub fn dumpable(&self) -> Dumpable {
        if self.dumpable.load(Ordering::Relaxed) == 0 { Dumpable::No } else { Dumpable::Yes }
    }

    /// Sets who may look into it.
    pub fn set_dumpable(&self, dumpable: Dumpable) {
        self.dumpable.store(dumpable as u8, Ordering::Relaxed);
    }

    /// Does it adopt its orphaned descendants (`PR_SET_CHILD_SUBREAPER`)?
    #[must_use]
    pub fn is_subreaper(&self) -> bool {
        self.subreaper.load(Ordering::Relaxed)
    }

    /// Sets whether it adopts its orphaned descendants.
    pub fn set_subreaper(&self, subreaper: bool) {
        self.subreaper.store(subreaper, Ordering::Relaxed);
    }

    /// What its owner adds to its badness when memory runs out, -1000 to 1000 (`/proc/PID/oom_score_adj`).
    #[must_use]
    pub fn oom_score_adjust(&self) -> i16 {
        self.oom_score_adjust.load(Ordering::Relaxed)
    }

    /// Sets what its owner adds to its badness.
    ///
    /// # Errors
    /// `EINVAL` beyond -1000 to 1000.
    pub fn set_oom_score_adjust(&self, adjust: i16) -> Result<()> {
        if !(-1000..=1000).contains(&adjust) {
            return Err(Errno::EINVAL);
        }
        self.oom_score_adjust.store(adjust, Ordering::Relaxed);
        Ok(())
    }

    /// Has it run a program of its own since fork? Its parent may move it to another group only before.
    #[must_use]
    pub fn has_execed(&self) -> bool {
        self.execs.load(Ordering::Relaxed) != 0
    }

    /// What program it runs; `None` before the first exec.
    #[must_use]
    pub fn program(&self) -> Option<Arc<ProgramFacts>> {
        self.program.lock().clone()
    }

    pub(super) fn set_program(&self, program: Arc<ProgramFacts>) {
        let old = self.program.lock().replace(program);
        drop(old);
    }

    /// Its memory; `None` once its threads have ended.
    #[must_use]
    pub fn space(&self) -> Option<Arc<AddressSpace>> {
        self.find_thread(|_| true).map(|thread| thread.space())
    }

    pub(super) fn mark_execed(&self) {
        self.execs.fetch_add(1, Ordering::Relaxed);
        self.barriers.store(0, Ordering::Relaxed);
    }

    /// Does `parent` still run the program that it had when it became the parent?
    pub(super) fn knows_program_of(&self, parent: &Process) -> bool {
        self.parent_execs.load(Ordering::Relaxed) == parent.execs.load(Ordering::Relaxed)
    }

    /// The signal it gets when its parent ends (`PR_SET_PDEATHSIG`).
    #[must_use]
    pub fn death_signal(&self) -> Option<Signal> {
        Signal::new(i32::from(self.death_signal.load(Ordering::Relaxed))).ok()
    }

    /// Sets the signal it gets when its parent ends.
    pub fn set_death_signal(&self, signal: Option<Signal>) {
        self.death_signal.store(signal.map_or(0, |signal| signal.number() as u8), Ordering::Relaxed);
    }

    /// The user ids of its first thread; after that one's end, those of the thread that left last.
    #[must_use]
    pub fn user_ids(&self) -> UserIds {
        match self.leader() {
            Some(leader) => leader.with_credentials(|credentials| credentials.uid),
            None => *self.last_user.lock(),
        }
    }

    /// To whom a signal for it is charged: the user of its first thread, as [`Self::user_ids`] tells.
    #[must_use]
    pub fn signal_allowance(&self) -> SignalAllowance {
        match self.leader() {
            Some(leader) => leader.signal_allowance(),
            None => {
                let user = self.last_user.lock().real;
                SignalAllowance::new(accounts::of(user), self.limit(Resource::PendingSignals).soft)
            }
        }
    }

    pub(super) fn note_user(&self, ids: UserIds) {
        *self.last_user.lock() = ids;
    }

    /// What its threads share about signals.
    #[must_use]
    #[inline]
    pub fn signals(&self) -> &Arc<ProcessSignals> {
        &self.signals
    }

    /// The kinds of barriers that its program has registered for (membarrier(2)), as bits.
    #[must_use]
    pub fn barrier_registrations(&self) -> u32 {
        self.barriers.load(Ordering::Relaxed)
    }

    /// Registers for a kind of barrier.
    pub fn register_barrier(&self, kind: u32) {
        self.barriers.fetch_or(kind, Ordering::Relaxed);
    }

    /// What is to happen when it has used some CPU time.
    #[must_use]
    #[inline]
    pub fn processor_alarms(&self) -> &ProcessorAlarms {
        &self.processor_alarms
    }

    /// Woken when a child of it, or it itself, has something to report to wait(2) or a pidfd.
    #[must_use]
    pub fn events(&self) -> &Arc<WaitQueue> {
        &self.events
    }

    pub(super) fn set_parent(self: &Arc<Process>, tree: &mut Tree, parent: Option<Arc<Process>>) {
        self.parent_pid.store(parent.as_ref().map_or(0, |parent| parent.pid.number()), Ordering::Relaxed);
        self.parent_execs
            .store(parent.as_ref().map_or(0, |parent| parent.execs.load(Ordering::Relaxed)), Ordering::Relaxed);
        let old = core::mem::replace(&mut self.relations.get_mut(tree).parent, parent);
        drop(old);
    }

    pub(super) fn forget_parent(&self, tree: &mut Tree) {
        let old = self.relations.get_mut(tree).parent.take();
        drop(old);
    }

    pub(super) fn set_group(&self, group: Arc<ProcessGroup>) -> Arc<ProcessGroup> {
        core::mem::replace(&mut *self.group.lock(), group)
    }
}

impl Member for Process {
    fn place(&self) -> &AtomicUsize {
        &self.place
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name().as_bytes().escape_ascii())
    }
}
