//! Tests of faults in the kernel's own code, with interrupts and preemption on top.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};

use libkernel::machine;
use libkernel::memory::{self, AddressSpace, MapRequest, MemoryLimits, PAGE_SIZE, Protection};
use libkernel::time::sleep_until;

use super::tools::{Stop, finished, pause, spawn_on, spin};
use super::{Cx, Outcome, SelfTest};
use crate::task::stackful;

pub const TESTS: &[SelfTest] = &[self_test!("faults", faults_and_interrupts_nest).within(30)];

/// Polls a future with an address space active, as a user thread's task does.
struct WithSpace<F> {
    space: Arc<AddressSpace>,
    future: F,
}

impl<F: Future + Unpin> Future for WithSpace<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        memory::activate(&self.space);
        Pin::new(&mut self.future).poll(context)
    }
}

async fn faults_and_interrupts_nest(cx: &Cx) -> Outcome {
    let copies = Arc::new(AtomicU64::new(0));
    let wrong = Arc::new(AtomicU64::new(0));
    let stop = Stop::new();
    let core = crate::online_cores() - 1;
    let mut tasks = Vec::new();
    // Two programs' memory on one core: each sees its own whatever came in between.
    for mark in [0x5a5a_5a5a_5a5a_5a5a_u64, 0x1111_2222_3333_4444] {
        let space = AddressSpace::new(mark, MemoryLimits::INITIAL).map_err(|error| alloc::format!("{error}"))?;
        let base = space
            .map(MapRequest::anonymous(PAGE_SIZE as u64, Protection::READ | Protection::WRITE).at(0x1000_0000))
            .map_err(|error| alloc::format!("{error}"))?;
        let (copies, wrong, flag) = (copies.clone(), wrong.clone(), stop.flag());
        let touched = space.clone();
        let future = stackful(async move {
            let address = base.0 as usize;
            let end = address + PAGE_SIZE;
            if touched.write_value(memory::UserPtr::new(base.0), mark).is_err() {
                wrong.fetch_add(1, Ordering::Relaxed);
            }
            let filled = [mark; 16];
            let bytes = filled.map(u64::to_ne_bytes);
            let bytes = bytes.as_flattened();
            spin(&flag, || {
                // The second half has no page: the copy ends there.
                let mut back = [0; 128];
                let out = machine::copy_to_user(end - 64, bytes);
                let left = machine::copy_from_user(&mut back, end - 64);
                let same = back.get(..64) == bytes.get(..64);
                let nothing = machine::copy_from_user(&mut back, 0x7000_0000);
                if (out, left, same, nothing) != (64, 64, true, 128) {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
                copies.fetch_add(1, Ordering::Relaxed);
            });
        })
        .map_err(|error| alloc::format!("no stack: {error}"))?;
        tasks.push(spawn_on(core, WithSpace { space, future }));
    }
    // Interrupts on top: a timer every 50 microseconds.
    let flag = stop.flag();
    tasks.push(spawn_on(core, async move {
        while !flag.load(Ordering::Relaxed) {
            sleep_until(machine::monotonic_ns() + 50_000).await;
        }
    }));
    pause(100).await;
    stop.stop();
    check!(finished(&tasks).await, "they do not end");
    memory::deactivate();
    cx.report(format_args!("{} copies with faults", copies.load(Ordering::Relaxed)));
    check_eq!(wrong.load(Ordering::Relaxed), 0);
    check!(copies.load(Ordering::Relaxed) > 1000);
    Ok(())
}
