//! The point of no return: the old program goes, the new one takes its place.
#![forbid(unsafe_code)]

use super::prepare::NewProgram;
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
    pub fn take_over(self, thread: &Arc<Thread>) -> crate::Result<()> {
        thread.unshare_files()?;
        let process = thread.process();
        let old = thread.resources();
        let new = Resources { space: Tenant::new(self.space), ..old };
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
        if self.identity.changed {
            process.set_death_signal(None);
        }
        let private = self.identity.changed || self.identity.secure || !self.readable;
        process.set_dumpable(if private { Dumpable::No } else { Dumpable::Yes });
        if *thread.credentials() != self.identity.credentials {
            thread.set_credentials(Arc::new(self.identity.credentials));
        }
        thread.set_name(self.name);
        process.set_program(self.facts);
        Ok(())
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
