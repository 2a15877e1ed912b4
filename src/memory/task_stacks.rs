//! The pool of tasks' own stacks.
//!
//! A stack is mapped when it is first needed and goes back to the pool with its memory, so that later ones cost nothing; the pool is
//! as large as the most that were ever in use at once. Below each lies a guard as large as the stack. May be called where plain
//! locks may be taken; the first use of a stack allocates frames.

use core::sync::atomic::{AtomicUsize, Ordering};

use libkernel::sync::SpinLock;
use libkernel::{Errno, Result};

use super::kernel_space::{self, STACK_SIZE, TASK_STACK_WINDOW};

/// The most there can be; each takes 64 KiB.
const LIMIT: usize = 256;

struct Pool {
    free: [u16; LIMIT],
    count: usize,
}

static POOL: SpinLock<Pool> = SpinLock::new(Pool { free: [0; LIMIT], count: 0 });
/// How many have been mapped; their numbers are below it. Changed under the pool's lock.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// A stack in use; dropped, it goes back to the pool. Nothing may run on it then, or refer to what is on it.
#[derive(Debug)]
pub struct TaskStack(u16);

impl TaskStack {
    /// Takes a stack, with whatever it last held.
    ///
    /// # Errors
    /// `ENOMEM` without memory for a further one, `EAGAIN` if all there can be are in use.
    pub fn take() -> Result<Self> {
        let mut pool = POOL.lock();
        if let Some(last) = pool.count.checked_sub(1) {
            pool.count = last;
            return pool.free.get(last).copied().map(Self).ok_or(Errno::EAGAIN);
        }
        let index = MAPPED.load(Ordering::Relaxed);
        if index >= LIMIT {
            return Err(Errno::EAGAIN);
        }
        kernel_space::map_stack_in(TASK_STACK_WINDOW, index)?;
        MAPPED.store(index + 1, Ordering::Release);
        Ok(Self(index as u16))
    }

    /// The address above its last byte, a multiple of twice its size.
    pub fn top(&self) -> usize {
        (TASK_STACK_WINDOW + (u64::from(self.0) + 1) * 2 * STACK_SIZE) as usize
    }
}

impl Drop for TaskStack {
    fn drop(&mut self) {
        let mut pool = POOL.lock();
        let count = pool.count;
        if let Some(slot) = pool.free.get_mut(count) {
            *slot = self.0;
            pool.count += 1;
        }
    }
}

/// How many stacks are in use.
pub fn in_use() -> usize {
    let pool = POOL.lock();
    MAPPED.load(Ordering::Relaxed) - pool.count
}

/// Whether the 16 bytes at `address` are on a mapped stack of the pool.
pub fn contains(address: u64) -> bool {
    let Some(offset) = address.checked_sub(TASK_STACK_WINDOW) else { return false };
    offset / (2 * STACK_SIZE) < MAPPED.load(Ordering::Acquire) as u64
        && offset & STACK_SIZE != 0
        && offset & (STACK_SIZE - 1) <= STACK_SIZE - 16
}
