//! membarrier(2): memory barriers on all cores at once, so that a program's fast paths need none.
//!
//! Every other online core runs a barrier by message, whatever it does at the time; a core that switches tasks meanwhile makes one
//! there. Taking the interrupt and returning from it also synchronises the instruction stream.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use libkernel::message::{self, remote_call};
use libkernel::task::uninterruptible;
use libkernel::{Errno, Result, machine};

use super::{Context, Outcome};

/// The commands (`enum membarrier_cmd`).
const QUERY: u32 = 0;
const GLOBAL: u32 = 1 << 0;
const GLOBAL_EXPEDITED: u32 = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: u32 = 1 << 2;
const PRIVATE_EXPEDITED: u32 = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: u32 = 1 << 4;
const PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 5;
const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 6;
const GET_REGISTRATIONS: u32 = 1 << 9;

const REGISTRATIONS: u32 =
    REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE;
const BARRIERS: u32 = GLOBAL | GLOBAL_EXPEDITED | PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE;

/// membarrier(2): everything but waiting for the other cores.
pub fn membarrier(cx: &mut Context, command: u32, flags: u32, _core: i32) -> Outcome {
    if flags != 0 {
        return Outcome::Done(Err(Errno::EINVAL));
    }
    let process = cx.thread.process();
    let registered = process.barrier_registrations();
    match command {
        QUERY => Outcome::Done(Ok((BARRIERS | REGISTRATIONS | GET_REGISTRATIONS) as usize)),
        GET_REGISTRATIONS => Outcome::Done(Ok(registered as usize)),
        REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE => {
            process.register_barrier(command);
            Outcome::Done(Ok(0))
        }
        // A registration is the bit above its command.
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE if registered & command << 1 == 0 => {
            Outcome::Done(Err(Errno::EPERM))
        }
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE if process.thread_count() == 1 => Outcome::Done(Ok(0)),
        GLOBAL | GLOBAL_EXPEDITED | PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE => Outcome::Block,
        _ => Outcome::Done(Err(Errno::EINVAL)),
    }
}

fn barrier() {
    fence(Ordering::SeqCst);
}

/// membarrier(2): the barriers.
pub async fn membarrier_blocking(_cx: &mut Context, _command: u32, _flags: u32, _core: i32) -> Result<usize> {
    barrier();
    let here = machine::core_id();
    let mut answers = Vec::new();
    answers.try_reserve_exact(crate::online_cores())?;
    for core in (0..crate::online_cores()).filter(|core| *core != here) {
        let (message, answer) = remote_call(barrier);
        message::send(core, message);
        answers.push(answer);
    }
    for answer in answers {
        uninterruptible(answer.wait()).await;
    }
    barrier();
    Ok(0)
}
