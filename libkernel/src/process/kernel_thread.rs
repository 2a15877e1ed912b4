//! How kernel threads stand in the table of processes: each as a process of one thread without memory, files or user, a child of
//! `kthreadd`, as `ps` expects it.
//!
//! They are in no group or session that anybody can reach, signals do nothing to them, and nobody waits for them: an ended one is
//! taken out by `kthreadd`.
#![forbid(unsafe_code)]

use super::credentials::Credentials;
use super::group::ProcessGroup;
use super::limits::Limits;
use super::name::Name;
use super::process::{Process, Seed};
use super::resources;
use super::status::ExitStatus;
use super::table::{self, ReservedPid};
use super::thread::Thread;
use crate::signal::{ProcessSignals, SignalSet};
use crate::task::Task;
use crate::{Errno, Result, machine};
use alloc::sync::Arc;

/// A kernel thread's entry in the table, which ends with [`remove`](Entry::remove).
pub struct Entry(Arc<Thread>);

impl Entry {
    /// Makes `task`, which has not started, visible under its name, as a child of `parent`.
    ///
    /// # Errors
    /// `EAGAIN` without a free number, `ENOMEM`, `ESRCH` before there are resources that stand for none.
    pub fn new(task: &Arc<Task>, parent: Option<&Entry>) -> Result<Entry> {
        let number = ReservedPid::take()?;
        let name = Name::new(&task.name());
        let signals = Arc::new(ProcessSignals::new());
        signals.protect();
        let seed = Seed { limits: Limits::initial(u64::MAX), name, signals, program: None };
        let group = ProcessGroup::unlisted_session(number.pid())?;
        let process = Arc::new(Process::new(number.pid(), machine::monotonic_ns(), group, seed));
        process.mark_kernel(parent.map(|parent| parent.0.process().pid()));
        let nothing = resources::nothing().ok_or(Errno::ESRCH)?;
        let credentials = Arc::new(Credentials::root());
        let thread = Thread::new(number.pid(), process.clone(), credentials, name, SignalSet::EMPTY, nothing);
        let thread = Arc::new(thread);
        process.enlist(&thread, task)?;
        if let Err(error) = number.publish(&thread, Some(&process)) {
            process.withdraw(&thread);
            return Err(error);
        }
        thread.set_task(task.clone());
        Ok(Entry(thread))
    }

    /// Takes the entry out of the table; the number is free afterwards.
    pub fn remove(self) {
        let Entry(thread) = self;
        let process = thread.process();
        thread.signals().part();
        table::remove_thread(thread.tid());
        process.discharge(&thread, ExitStatus::Exited(0));
        table::remove_process(process.pid());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::id::Pid;

    #[test]
    fn a_kernel_thread_is_in_the_table_while_it_has_an_entry() {
        crate::process::tests::init();
        let parent = Entry::new(&Task::new("kthreadd", async {}), None).unwrap();
        let child = Entry::new(&Task::new("kworker/0", async {}), Some(&parent)).unwrap();
        let pid = child.0.process().pid();
        let process = table::process(pid).unwrap();
        assert!(process.is_kernel());
        assert_eq!(process.parent_pid(), Some(parent.0.process().pid()));
        assert_eq!(process.name().as_bytes(), b"kworker/0");
        assert!(process.program().is_none());
        assert_eq!(process.thread_count(), 1);
        drop(process);
        child.remove();
        parent.remove();
        assert!(table::process(pid).is_none());
        assert!(table::thread(pid).is_none());
        assert_ne!(pid, Pid::INIT);
    }
}
