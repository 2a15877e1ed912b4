//! The point of no return: the old program goes, the new one takes its place.
#![forbid(unsafe_code)]

use super::auxiliary::{self, Kind};
use super::prepare::NewProgram;
use crate::Errno;
use crate::memory::{self, MemoryLimits, Tenant};
use crate::process::limits::Limits;
use crate::process::notice::CHILD_SIGNAL;
use crate::process::{Dumpable, Resources, Thread};
use crate::signal::AlternateStack;
use alloc::sync::Arc;

impl NewProgram {
    /// Makes this the program of `thread`, which is the only one of its process and runs on this core. What the old program
    /// held is gone on return.
    ///
    /// # Errors
    /// `ENOMEM` when shared open files cannot be copied; nothing has happened then.
    pub fn take_over(mut self, thread: &Arc<Thread>) -> crate::Result<()> {
        self.settle_rights(thread)?;
        thread.unshare_files()?;
        let process = thread.process();
        let old = thread.resources();
        let new = Resources { space: Tenant::new(self.space), program: Some(self.running), ..old };
        memory::activate(&new.space);
        let files = new.files.clone();
        let old = thread.replace_resources(new);
        process.note_resident(&old.space);
        drop(old);
        process.return_memory();
        // First: a parent that sees a descriptor closed by exec may no longer move the process to another group.
        process.mark_execed();
        files.exec();

        thread.signals().replace_alternate_stack(AlternateStack::NONE);
        thread.signals().take_restart();
        process.signals().reset_for_exec();
        thread.set_clear_child_tid(0);
        thread.set_robust_list(0);
        process.set_exit_signal(Some(CHILD_SIGNAL));
        if self.identity.changed || self.identity.secure {
            process.set_death_signal(None);
        }
        let private = self.identity.changed || self.identity.secure || !self.readable;
        process.set_dumpable(if private { Dumpable::No } else { Dumpable::Yes });
        if *thread.credentials() != self.identity.credentials {
            thread.set_credentials(Arc::new(self.identity.credentials));
        }
        thread.set_name(self.name);
        process.set_program(Arc::new(self.facts));
        Ok(())
    }

    /// Takes back the rights that a program does not get while another process shares the working directory, and tells the program. This
    /// is certain only now: before, another thread could have made such a process.
    fn settle_rights(&mut self, thread: &Thread) -> crate::Result<()> {
        if !thread.fs().is_shared() {
            return Ok(());
        }
        self.identity = thread.credentials().after_exec(self.set_id, true);
        let ids = &self.identity.credentials;
        let vector = &mut self.facts.auxiliary;
        auxiliary::set(vector, Kind::Euid, u64::from(ids.uid.effective.raw()));
        auxiliary::set(vector, Kind::Egid, u64::from(ids.gid.effective.raw()));
        auxiliary::set(vector, Kind::Secure, u64::from(self.identity.secure));
        let written = self.space.write_remote(self.auxiliary_at, vector)?;
        if written == vector.len() { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}

impl Limits {
    /// Those that govern memory.
    #[must_use]
    pub fn memory(&self) -> MemoryLimits {
        use crate::process::limits::Resource;
        MemoryLimits {
            address_space: self.get(Resource::AddressSpace).soft,
            data: self.get(Resource::Data).soft,
            stack: self.get(Resource::Stack).soft,
            locked: self.get(Resource::LockedMemory).soft,
        }
    }
}
