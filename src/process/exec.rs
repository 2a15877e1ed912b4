//! What exec needs of the machine.

use libkernel::process::Thread;
use libkernel::process::exec::{Environment, MachineFacts};
use libkernel::random;

use super::vdso;
use crate::arch::features;

/// What a new program of this thread is started with.
pub fn environment(thread: &Thread) -> Environment<'static> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    Environment {
        machine: MachineFacts { hwcap: features::hwcap(), hwcap2: 0 },
        limits: thread.process().with_limits(|limits| limits.memory()),
        seed: random::next_u64(),
        random: bytes,
        map_vdso: &vdso::map,
    }
}
