//! The threads of a process: joining, leaving, what they used together, and being the only one left (exec).
#![forbid(unsafe_code)]

use super::process::Process;
use super::status::ExitStatus;
use super::table;
use super::thread::Thread;
use super::usage::Usage;
use crate::memory::{AddressSpace, PAGE_SIZE};
use crate::task::{Task, killable};
use crate::{Errno, Result};
use alloc::sync::Arc;

impl Process {
    /// Adds a thread, which `task` will run: from here on signals reach it.
    ///
    /// # Errors
    /// `ERESTARTNOINTR` when the process ends or one of its threads is in exec, `ENOMEM`.
    pub(super) fn enlist(&self, thread: &Arc<Thread>, task: &Arc<Task>) -> Result<()> {
        {
            let mut threads = self.threads.lock();
            if threads.ending.is_some() || threads.exec {
                return Err(Errno::ERESTARTNOINTR);
            }
            threads.alive.insert(thread.clone())?;
        }
        let admitted = self.admit(thread, task);
        if admitted.is_err() {
            let removed = self.threads.lock().alive.remove(thread);
            drop(removed);
        }
        admitted
    }

    /// Lets signals reach a thread that is on the list. `ENOMEM`.
    pub(super) fn admit(&self, thread: &Arc<Thread>, task: &Arc<Task>) -> Result<()> {
        thread.signals().join(task)?;
        // Exec asks those to leave whom signals reach: if it began in between, nobody has asked this one.
        if self.threads.lock().exec {
            thread.signals().leave();
        }
        Ok(())
    }

    /// Takes back a thread that was enlisted and never ran.
    pub(super) fn withdraw(&self, thread: &Arc<Thread>) {
        thread.signals().part();
        let removed = self.threads.lock().alive.remove(thread);
        drop(removed);
    }

    /// Removes an ending thread. If it was the last, returns how the process ends: as was decided, else by `status`.
    pub(super) fn discharge(&self, thread: &Arc<Thread>, status: ExitStatus) -> Option<ExitStatus> {
        let mut threads = self.threads.lock();
        let removed = threads.alive.remove(thread);
        if removed.is_some() {
            threads.gone.add(&thread.usage());
        }
        let last = removed.is_some() && threads.alive.is_empty();
        let ended = last.then(|| *threads.ending.get_or_insert(status));
        let awaited = threads.exec;
        drop(threads);
        drop(removed);
        if awaited {
            self.events().wake_all();
        }
        ended
    }

    /// What all its threads used, those that are gone included.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut sum = {
            let threads = self.threads.lock();
            let mut sum = threads.gone;
            threads.alive.iter().for_each(|thread| sum.add(&thread.usage()));
            sum
        };
        if let Some(space) = self.space() {
            sum.max_resident_kib = sum.max_resident_kib.max(resident_kib(&space));
        }
        sum
    }

    /// Remembers how large `space` was, which the process is about to give up.
    pub(super) fn note_resident(&self, space: &AddressSpace) {
        let peak = resident_kib(space);
        let mut threads = self.threads.lock();
        threads.gone.max_resident_kib = threads.gone.max_resident_kib.max(peak);
    }

    /// What its children used that were waited for, with their children.
    #[must_use]
    pub fn children_usage(&self) -> Usage {
        *self.children_usage.lock()
    }

    /// What it and its waited-for descendants used: what its parent takes over.
    pub(super) fn total_usage(&self) -> Usage {
        let mut sum = self.usage();
        sum.add(&self.children_usage());
        sum
    }

    pub(super) fn add_child_usage(&self, usage: &Usage) {
        self.children_usage.lock().add(usage);
    }
}

/// The largest resident set that `space` ever had, in KiB.
fn resident_kib(space: &AddressSpace) -> u64 {
    space.peak_resident() * (PAGE_SIZE as u64 / 1024)
}

/// Makes `thread` the only one of its process, with the process's number, before it runs another program: the others
/// are asked to end, and this waits until they have.
///
/// # Errors
/// `ERESTARTNOINTR` when the process ends meanwhile, or another thread was faster; the thread then has to leave.
pub async fn become_only_thread(thread: &Arc<Thread>) -> Result<()> {
    let process = thread.process();
    {
        let mut threads = process.threads.lock();
        if threads.ending.is_some() || threads.exec {
            return Err(Errno::ERESTARTNOINTR);
        }
        if threads.alive.len() == 1 && thread.is_leader() {
            return Ok(());
        }
        threads.exec = true;
    }
    process.signals().end_others(thread.signals());
    let alone = crate::poll::wait_for(|table| {
        table.register(process.events());
        let threads = process.threads.lock();
        if threads.ending.is_some() {
            return Some(Err(Errno::ERESTARTNOINTR));
        }
        (threads.alive.len() == 1).then_some(Ok(()))
    });
    let outcome = killable(alone).await;
    process.threads.lock().exec = false;
    outcome?;
    if !thread.is_leader() {
        table::rename_thread(thread, process.pid());
    }
    Ok(())
}
