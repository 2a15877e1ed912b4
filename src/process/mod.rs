//! Processes, where they touch the machine: the first one, the registers of a new program, the end of a thread.
//! What they mean is `libkernel::process`'.

mod end;
mod exec;
mod init;
pub mod vdso;

pub use end::end_thread;
pub use exec::{build, start};
pub use init::{first, start_init};
