//! Return addresses from a chain of frame records (AAPCS64 6.4.6: each is the caller's record, and the return address).

use crate::memory::kernel_space;

/// The longest backtrace.
const DEPTH: usize = 32;

/// The return addresses of the frame at `frame` and its callers. Reads nothing outside the kernel's stacks.
pub fn from(frame: usize) -> impl Iterator<Item = u64> {
    let mut next = frame;
    core::iter::from_fn(move || {
        if !next.is_multiple_of(16) || !kernel_space::is_stack(next as u64) {
            return None;
        }
        // SAFETY: the record is aligned and on a mapped kernel stack.
        let [caller, address] = unsafe { *core::ptr::with_exposed_provenance::<[usize; 2]>(next) };
        // A caller's record lies above its callee's; anything else is the end, or nonsense.
        next = if caller > next { caller } else { 0 };
        (address != 0).then_some(address as u64)
    })
    .take(DEPTH)
}
