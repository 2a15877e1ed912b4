//! Tests of work queues on the real workers: rows WQ1 to WQ15 of what has to be shown, and the torture.
#![forbid(unsafe_code)]

pub mod contexts;
pub mod delayed;
pub mod items;
pub mod queues;
pub mod torture;

use alloc::sync::Arc;

use libkernel::machine;
use libkernel::sync::Completion;
use libkernel::time::{Appointment, Due};
use libkernel::work::{Work, WorkQueue};

use super::tools::Tally;
use crate::work::{self, System};

const MILLISECOND: u64 = 1_000_000;

fn system() -> Result<&'static System, alloc::string::String> {
    work::system().ok_or_else(|| "there are no system queues".into())
}

/// An item that counts its runs.
fn counting(queue: &Arc<WorkQueue>) -> (Work, Arc<Tally>) {
    let runs = Tally::new();
    let counted = runs.clone();
    let work = queue.work(move || {
        counted.add();
        core::future::ready(())
    });
    (work, runs)
}

/// An item whose runs count, wait for `gate`, and count again.
fn gated(queue: &Arc<WorkQueue>, gate: &Arc<Completion>) -> (Work, Arc<Tally>, Arc<Tally>) {
    let (began, ended) = (Tally::new(), Tally::new());
    let (gate, begin, end) = (gate.clone(), began.clone(), ended.clone());
    let work = queue.work(move || {
        let (gate, begin, end) = (gate.clone(), begin.clone(), end.clone());
        async move {
            begin.add();
            gate.wait().await;
            end.add();
        }
    });
    (work, began, ended)
}

/// What is done in an interrupt: see [`interrupt`].
struct Probe<F>(F);

impl<F: Fn() + Send + Sync + 'static> Due for Probe<F> {
    fn due(&self) {
        (self.0)();
    }
}

/// Something to be done in a timer interrupt of this core, once [`soon`] is called.
fn interrupt(action: impl Fn() + Send + Sync + 'static) -> Arc<Appointment<impl Due>> {
    Appointment::new(Probe(action))
}

fn soon<D: Due>(appointment: &Arc<Appointment<D>>) {
    appointment.set(machine::monotonic_ns() + 100_000);
}

/// Does something in a timer interrupt of this core, soon.
fn in_interrupt(action: impl Fn() + Send + Sync + 'static) {
    soon(&interrupt(action));
}
