//! execve(2), where it touches the machine: what the machine tells a program, and the registers it starts with.
#![forbid(unsafe_code)]

use super::vdso;
use crate::arch::context::UserContext;
use crate::arch::features;
use crate::arch::fp::FpState;
use crate::task::Context;
use alloc::boxed::Box;
use libkernel::fs::Path;
use libkernel::process::exec::arguments::Arguments;
use libkernel::process::exec::{Environment, MachineFacts, NewProgram, prepare};
use libkernel::process::{Thread, become_only_thread};
use libkernel::{Result, futex, random};

/// Builds the program in `file` for `thread`, beside the one it runs.
///
/// # Errors
/// Those of execve(2).
pub fn build(thread: &Thread, file: Path, shown_path: &[u8], arguments: Arguments) -> Result<Box<NewProgram>> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    let environment = Environment {
        machine: MachineFacts { hwcap: features::hwcap(), hwcap2: 0 },
        limits: thread.process().with_limits(|limits| limits.memory()),
        seed: random::next_u64(),
        random: bytes,
        map_vdso: &vdso::map,
    };
    prepare(thread, file, shown_path, arguments, &environment).map(Box::new)
}

/// Makes `program` the one that the calling thread runs: from its next way to user mode on.
///
/// # Errors
/// `ERESTARTNOINTR` when the process ends meanwhile, `ENOMEM`; the old program goes on then.
pub async fn start(cx: &mut Context, program: Box<NewProgram>) -> Result<()> {
    become_only_thread(&cx.thread).await?;
    futex::end_thread(&cx.thread, &cx.thread.space());
    let fresh = UserContext::new(program.entry, program.stack_pointer);
    program.take_over(&cx.thread)?;
    cx.replace_registers(|registers, fp| {
        (*registers, *fp) = (fresh, FpState::new());
        Ok(())
    })
}
