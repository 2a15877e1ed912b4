//! What a user thread's own code holds while it serves a trap: the thread, its registers, and the call it is in.
//!
//! Lives in the thread's future. Handlers of system calls get it by exclusive reference.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::{FdTable, FsContext};
use libkernel::memory::{AddressSpace, UserBuffer};
use libkernel::process::Thread;
use libkernel::{Errno, Result};

use super::user_state::UserState;
use crate::arch::context::UserContext;
use crate::arch::fp::FpState;
use crate::syscall::{FutexWait, Served, Transfer};

/// A user thread, seen from its own system calls.
pub struct Context {
    /// The thread.
    pub thread: Arc<Thread>,
    /// The program's registers.
    pub registers: UserContext,
    /// How far the call came before it had to wait, in its own unit; 0 at its beginning.
    pub progress: usize,
    /// The transfer of a call that has to wait.
    pub transfer: Option<Transfer<UserBuffer>>,
    /// The wait for a futex.
    pub futex: Option<FutexWait>,
    pub(super) state: Arc<UserState>,
    restart: Option<Errno>,
}

impl Context {
    pub(super) fn new(thread: Arc<Thread>, registers: UserContext, state: Arc<UserState>) -> Self {
        Self { thread, registers, progress: 0, transfer: None, futex: None, state, restart: None }
    }

    /// The thread's memory, which is the active one.
    #[inline]
    pub fn space(&self) -> Arc<AddressSpace> {
        self.thread.space()
    }

    /// The thread's open files.
    #[inline]
    pub fn files(&self) -> Arc<FdTable> {
        self.thread.files()
    }

    /// The thread's root and working directory.
    #[inline]
    pub fn fs(&self) -> Arc<FsContext> {
        self.thread.fs()
    }

    /// Whether a long call should end early because a signal waits.
    pub fn is_interrupted(&self) -> bool {
        self.thread.task().is_some_and(|task| task.interrupted())
    }

    /// A system call ends. A restart code stays noted for the delivery of the signal that caused it, and the call's first argument
    /// stays in its register.
    #[inline]
    pub fn end_call(&mut self, result: Result<usize>) -> Served {
        match result {
            Ok(value) => {
                self.registers.x[0] = value as u64;
                Served::Done
            }
            Err(error) => self.fail_call(error),
        }
    }

    #[cold]
    #[inline(never)]
    fn fail_call(&mut self, error: Errno) -> Served {
        if error.is_restart() {
            self.restart = Some(error);
            return Served::Interrupted;
        }
        self.registers.x[0] = error.to_return_value() as u64;
        Served::Done
    }

    /// Whether the call that just ended is to be made again or to be reported as interrupted.
    #[inline]
    pub fn restart_pending(&self) -> bool {
        self.restart.is_some()
    }

    /// Takes the restart code of the call that just ended, if it ended with one.
    pub fn take_restart(&mut self) -> Option<Errno> {
        self.restart.take()
    }

    /// Sets the registers so that the call is made again: the program counter back on the `svc`. The arguments are still there.
    pub fn rewind_call(&mut self) {
        self.registers.pc = self.registers.pc.wrapping_sub(4);
    }

    /// The thread's FP and SIMD registers, as they are now.
    pub fn fp_state(&mut self) -> FpState {
        self.state.with_saved_fp(|state| state.clone())
    }

    /// Looks at all of the thread's registers; the general ones may be changed.
    pub fn with_registers<R>(&mut self, action: impl FnOnce(&mut UserContext, &FpState) -> R) -> R {
        self.state.with_saved_fp(|fp| action(&mut self.registers, fp))
    }

    /// Sets all of the thread's registers. After an error the FP and SIMD registers may be others.
    ///
    /// # Errors
    /// Those of `replace`.
    pub fn replace_registers<R>(
        &mut self,
        replace: impl FnOnce(&mut UserContext, &mut FpState) -> Result<R>,
    ) -> Result<R> {
        self.state.replace_fp(|fp| replace(&mut self.registers, fp))
    }
}
