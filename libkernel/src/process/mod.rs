//! Processes and threads: who they are, how they are related, what they may do, how they begin and end.
//!
//! * [`table`] finds a process, thread, group or session by its number; anyone may look at any time.
//! * [`tree`] is the one lock over all relations (parent, children, groups, sessions, what wait(2) can report), and the
//!   cell type that ties data to it. Order of locks: tree, then a group's or process's own short locks, then the table.
//! * [`Process`] is what the threads of a program share; [`Thread`] is what each has for itself.
//!
//! Nothing here knows the machine, and nothing sleeps except where a function is `async`.

mod accounts;
mod attachment;
pub mod birth;
pub mod capability;
pub mod clock;
pub mod clone;
pub mod credentials;
pub mod exec;
pub mod exit;
pub mod group;
pub mod host;
pub mod id;
pub mod job_control;
mod job_state;
pub mod kernel_thread;
pub mod limits;
mod membership;
pub mod name;
mod notice;
mod numbers;
pub mod pidfd;
#[expect(clippy::module_inception, reason = "the noun of the room")]
mod process;
pub mod processor_clock;
pub mod resources;
pub(crate) mod roster;
mod running;
pub mod schedule;
pub mod status;
pub mod table;
#[cfg(test)]
pub(crate) mod tests;
mod thread;
pub mod tree;
pub mod usage;
pub mod vfork;
pub mod wait;

pub use accounts::SignalAllowance;
pub(crate) use accounts::SignalCharge;
pub use attachment::Attachment;
pub use credentials::Credentials;
pub use group::{ControllingTerminal, ProcessGroup, Session};
pub use id::{Gid, Pid, Uid};
pub use membership::become_only_thread;
pub(crate) use notice::hang_up;
pub use process::{Dumpable, Process};
pub use resources::Resources;
pub use status::ExitStatus;
pub use thread::{Thread, current};
