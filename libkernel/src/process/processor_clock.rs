//! Clocks that count the CPU time of a process or thread, as timers hold them.
//!
//! A clock keeps nobody alive. Reading takes the process's locks for a moment: task context only, with no lock of a signal or timer held.
#![forbid(unsafe_code)]

use super::process::Process;
use super::thread::Thread;
use alloc::sync::{Arc, Weak};

/// CPU time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessorTime {
    /// In user mode.
    pub user: u64,
    /// In user mode and in the kernel.
    pub total: u64,
}

impl ProcessorTime {
    /// The part that a clock shows.
    #[must_use]
    pub const fn of(self, user_only: bool) -> u64 {
        if user_only { self.user } else { self.total }
    }
}

impl Thread {
    /// Its CPU time.
    #[must_use]
    pub fn processor_time(&self) -> ProcessorTime {
        let (user, system) = self.task().map_or((0, 0), |task| task.accounting().times.read());
        ProcessorTime { user, total: user.wrapping_add(system) }
    }
}

impl Process {
    /// The CPU time of all its threads, those that are gone included.
    #[must_use]
    pub fn processor_time(&self) -> ProcessorTime {
        // Under one lock, so that a thread that ends is counted once whenever somebody looks: the clock never goes back.
        let threads = self.threads.lock();
        let gone = ProcessorTime { user: threads.gone.user_ns, total: threads.gone.user_ns + threads.gone.system_ns };
        threads.alive.iter().map(|thread| thread.processor_time()).fold(gone, |sum, time| ProcessorTime {
            user: sum.user.wrapping_add(time.user),
            total: sum.total.wrapping_add(time.total),
        })
    }
}

/// Whose time a clock counts.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// A process's.
    Process(Weak<Process>),
    /// One thread's.
    Thread(Weak<Thread>),
}

/// A clock of CPU time.
#[derive(Clone, Debug)]
pub struct ProcessorClock {
    pub(crate) subject: Subject,
    /// User mode only.
    pub(crate) user_only: bool,
}

impl ProcessorClock {
    /// The clock of a process.
    #[must_use]
    pub fn of_process(process: &Arc<Process>, user_only: bool) -> Self {
        Self { subject: Subject::Process(Arc::downgrade(process)), user_only }
    }

    /// The clock of a thread.
    #[must_use]
    pub fn of_thread(thread: &Arc<Thread>, user_only: bool) -> Self {
        Self { subject: Subject::Thread(Arc::downgrade(thread)), user_only }
    }

    /// What it shows, in nanoseconds; 0 once its subject is gone.
    #[must_use]
    pub fn read(&self) -> u64 {
        let time = match &self.subject {
            Subject::Process(process) => process.upgrade().map(|process| process.processor_time()),
            Subject::Thread(thread) => thread.upgrade().map(|thread| thread.processor_time()),
        };
        time.unwrap_or_default().of(self.user_only)
    }

    /// The process whose threads advance it, while that is there.
    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        match &self.subject {
            Subject::Process(process) => process.upgrade(),
            Subject::Thread(thread) => thread.upgrade().map(|thread| thread.process().clone()),
        }
    }
}
