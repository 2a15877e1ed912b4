//! Read-copy-update: readers of shared structures take no lock and write nothing; what a writer takes out is freed once no reader can
//! still see it.
//!
//! # Readers
//! [`read`] gives a guard; under it [`RcuCell::load`] and [`RcuTable::find`] give references. A guard costs a few instructions and
//! touches no memory. While it lives its code is not preempted and does not sleep: the guard is not [`Send`], so it cannot be held across
//! an await in a task. Reference counts are touched only for what is taken along.
//!
//! # Writers
//! Writers exclude each other by a lock of their own. What they replace or remove is *retired*: it stays whole until the grace
//! period ends, that is, until each core has been seen without a reader (in a *quiescent state*) after the removal. [`synchronize`] waits for
//! that, [`RcuBox::retire`] and [`defer`] do not.
//!
//! # Grace periods
//! A core has a quiescent state at each turn of its executor, whenever it traps from user mode, and for as long as it is idle. Each
//! core runs the grace periods of what was retired on it, one at a time ([`GracePeriods`]), and nothing of that is shared:
//!
//! ```text
//! core A, at a quiescent state of its own          core B (user mode, kernel)                core C (idle)
//! ───────────────────────────────────────          ──────────────────────────                ─────────────
//! fence; is the core idle?  C is: done with it                                               extended quiescent
//! request ────────────────────────────────────────▶ SGI: in user mode ▶ answers at once
//!                                                       in the kernel ▶ owes the answer,
//!                                                       asks for a scheduling point,
//!                                                       answers there
//! answer: nobody is left ◀────────────────────────── the same request, sent back
//! what was retired is dropped, waiters are woken
//! ```
//!
//! The request orders A's removal before whatever B reads afterwards, and B's earlier reads before A's freeing. A core that is idle is not
//! disturbed: see [`Quiescence`]. What is only retired waits for company ([`PATIENCE`]); a [`synchronize`] starts at once, and everything
//! that was retired on its core before shares its grace period.
//!
//! On a hosted target the threads of a test read and retire; a collector thread stands in for the cores (`host.rs`).

mod barrier;
mod callback;
mod cell;
mod grace;
mod owned;
mod quiescence;
mod read;
mod request;
mod table;

#[cfg(target_os = "none")]
mod cores;
#[cfg(not(target_os = "none"))]
mod host;
#[cfg(test)]
mod tests;

pub use barrier::{barrier, synchronize};
pub use callback::{Callback, Callbacks};
pub use cell::RcuCell;
pub use grace::{GracePeriods, PATIENCE, Plan};
pub use owned::{RcuBox, Retired, defer};
pub use quiescence::Quiescence;
pub use read::{ReadGuard, read};
pub use request::GraceRequest;
pub use table::{Hashed, RcuTable, TableGuard};

#[cfg(target_os = "none")]
pub use cores::{
    Statistics, answered, enter_idle, is_wanted, leave_idle, online, plan, quiescent, requested, run_callbacks,
    set_worker, statistics, unanswered,
};
#[cfg(not(target_os = "none"))]
pub use host::wait as wait_for_collector;

#[cfg(target_os = "none")]
use cores as backend;
#[cfg(not(target_os = "none"))]
use host as backend;
