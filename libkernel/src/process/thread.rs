//! A thread of a program, and what it has for itself.
#![forbid(unsafe_code)]

use super::accounts::{self, Account, SignalAllowance};
use super::credentials::Credentials;
use super::id::Pid;
use super::limits::Resource;
use super::name::Name;
use super::process::Process;
use super::resources::Resources;
use super::roster::Member;
use super::status::ExitStatus;
use super::usage::Usage;
use crate::machine;
use crate::signal::{SignalSet, ThreadSignals};
use crate::sync::{SetOnce, SpinLock};
use crate::task::{self, Task};
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// How late a timed wait may end, in nanoseconds, unless the program says otherwise (prctl(2), `PR_SET_TIMERSLACK`).
const TIMER_SLACK: u64 = 50_000;

/// A flow of control in a process.
///
/// What only the thread itself changes (credentials, open files, working directory) may be read by anyone: each lock is
/// held just long enough to copy a reference.
pub struct Thread {
    tid: AtomicU32,
    process: Arc<Process>,
    place: AtomicUsize,
    credentials: SpinLock<Arc<Credentials>>,
    /// That of the real user.
    account: SpinLock<Arc<Account>>,
    name: SpinLock<Name>,
    clear_child_tid: AtomicUsize,
    robust_list: AtomicUsize,
    timer_slack: AtomicU64,
    /// No alarm on its own CPU time is due before it has used so many nanoseconds.
    processor_look: AtomicU64,
    exit_code: AtomicU8,
    start_ns: u64,
    signals: Arc<ThreadSignals>,
    task: SetOnce<Arc<Task>>,
    pub(super) resources: SpinLock<Resources>,
}

impl Thread {
    /// A thread of `process`, not yet on its list.
    pub(super) fn new(
        tid: Pid,
        process: Arc<Process>,
        credentials: Arc<Credentials>,
        name: Name,
        blocked: SignalSet,
        resources: Resources,
    ) -> Thread {
        Thread {
            resources: SpinLock::new(resources),
            start_ns: machine::monotonic_ns(),
            signals: Arc::new(ThreadSignals::new(process.signals().clone(), blocked)),
            task: SetOnce::new(),
            tid: AtomicU32::new(tid.number()),
            process,
            place: AtomicUsize::new(0),
            account: SpinLock::new(accounts::of(credentials.uid.real)),
            credentials: SpinLock::new(credentials),
            name: SpinLock::new(name),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            timer_slack: AtomicU64::new(TIMER_SLACK),
            processor_look: AtomicU64::new(u64::MAX),
            exit_code: AtomicU8::new(0),
        }
    }

    /// Its number. It changes once at most: when it calls exec without being the first thread, it takes over the
    /// process's number.
    #[must_use]
    #[inline]
    pub fn tid(&self) -> Pid {
        Pid::new(self.tid.load(Ordering::Relaxed) as i32).unwrap_or(Pid::INIT)
    }

    pub(super) fn set_tid(&self, tid: Pid) {
        self.tid.store(tid.number(), Ordering::Relaxed);
    }

    /// The process it belongs to.
    #[must_use]
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// When it began, in nanoseconds since boot.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// What it has for itself about signals.
    #[must_use]
    #[inline]
    pub fn signals(&self) -> &Arc<ThreadSignals> {
        &self.signals
    }

    /// The task that runs it. A thread is seen by others only after it has one.
    #[must_use]
    #[inline]
    pub fn task(&self) -> Option<&Arc<Task>> {
        self.task.get()
    }

    /// Says which task runs it; only the first counts.
    pub(super) fn set_task(self: &Arc<Thread>, task: Arc<Task>) {
        let owner: alloc::sync::Weak<Thread> = Arc::downgrade(self);
        task.set_owner(owner);
        // A second task for the same thread would be dropped unused.
        let _ = self.task.set(task);
    }

    /// What it has used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let Some(task) = self.task.get() else { return Usage::default() };
        let accounting = task.accounting();
        let (user_ns, system_ns) = accounting.times.read();
        Usage {
            user_ns,
            system_ns,
            voluntary_switches: accounting.voluntary_switches.get(),
            involuntary_switches: accounting.involuntary_switches.get(),
            minor_faults: accounting.faults.get(),
            ..Usage::default()
        }
    }

    /// Is its number the process's?
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.tid() == self.process.pid()
    }

    /// On whose behalf it acts.
    #[must_use]
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.lock().clone()
    }

    /// Looks at the credentials without keeping them.
    #[inline]
    pub fn with_credentials<R>(&self, action: impl FnOnce(&Credentials) -> R) -> R {
        action(&self.credentials.lock())
    }

    /// Acts on behalf of somebody else from now on. For the thread itself only.
    pub fn set_credentials(&self, credentials: Arc<Credentials>) {
        let new_user = credentials.uid.real;
        let old = core::mem::replace(&mut *self.credentials.lock(), credentials);
        if old.uid.real != new_user {
            let account = accounts::of(new_user);
            account.begin_thread();
            let before = core::mem::replace(&mut *self.account.lock(), account);
            before.end_thread();
        }
        drop(old);
    }

    /// What its real user has.
    pub(super) fn account(&self) -> Arc<Account> {
        self.account.lock().clone()
    }

    /// To whom a signal for it is charged.
    #[must_use]
    pub fn signal_allowance(&self) -> SignalAllowance {
        SignalAllowance::new(self.account(), self.process.limit(Resource::PendingSignals).soft)
    }

    /// Its short name (`comm`).
    #[must_use]
    pub fn name(&self) -> Name {
        *self.name.lock()
    }

    /// Sets its short name; the first thread names the process as well.
    pub fn set_name(&self, name: Name) {
        *self.name.lock() = name;
        if let Some(task) = self.task() {
            task.set_name(name.as_bytes());
        }
        if self.is_leader() {
            self.process.set_name(name);
        }
    }

    /// Where to store 0 and wake one futex waiter when it ends (set_tid_address(2)); a user address, 0 for nowhere.
    #[must_use]
    pub fn clear_child_tid(&self) -> usize {
        self.clear_child_tid.load(Ordering::Relaxed)
    }

    /// Sets where to store 0 when it ends.
    pub fn set_clear_child_tid(&self, address: usize) {
        self.clear_child_tid.store(address, Ordering::Relaxed);
    }

    /// The head of its list of robust futexes (set_robust_list(2)); a user address, 0 for none.
    #[must_use]
    pub fn robust_list(&self) -> usize {
        self.robust_list.load(Ordering::Relaxed)
    }

    /// Sets the head of its list of robust futexes.
    pub fn set_robust_list(&self, head: usize) {
        self.robust_list.store(head, Ordering::Relaxed);
    }

    /// How late its timed waits may end, in nanoseconds. Here they end on time; the value is kept for the program.
    #[must_use]
    pub fn timer_slack(&self) -> u64 {
        self.timer_slack.load(Ordering::Relaxed)
    }

    /// Sets how late its timed waits may end; `None`: the default.
    pub fn set_timer_slack(&self, slack: Option<u64>) {
        self.timer_slack.store(slack.unwrap_or(TIMER_SLACK), Ordering::Relaxed);
    }

    pub(crate) fn processor_look(&self) -> u64 {
        self.processor_look.load(Ordering::Relaxed)
    }

    pub(crate) fn set_processor_look(&self, at: u64) {
        self.processor_look.store(at, Ordering::Relaxed);
    }

    /// _exit(2): the thread, which calls this itself, ends on its way back to user mode.
    pub fn begin_end(&self, code: u8) {
        self.exit_code.store(code, Ordering::Relaxed);
        self.signals.leave();
    }

    /// How the process ends if this is its last thread.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        ExitStatus::Exited(self.exit_code.load(Ordering::Relaxed))
    }
}

/// The thread on whose behalf this core works now, if it works for one.
#[must_use]
pub fn current() -> Option<Arc<Thread>> {
    task::with_current(|task| task.owner())?
}

impl Member for Thread {
    fn place(&self) -> &AtomicUsize {
        &self.place
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} ({})", self.tid(), self.name().as_bytes().escape_ascii())
    }
}
