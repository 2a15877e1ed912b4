//! The program break: brk(2).
#![forbid(unsafe_code)]

use super::{AddressSpace, pages};
use crate::memory::address::{PAGE_SIZE, USER_LIMIT, page_ceil};
use crate::memory::gather::Gather;
use crate::memory::vma::{Protection, Vma, VmaFlags};

impl AddressSpace {
    /// Sets where the break starts: after the program's data. For exec, before the program runs.
    pub fn set_brk_start(&self, address: u64) {
        let mut state = self.state.lock();
        let start = page_ceil(address.saturating_add(state.layout.break_offset)).unwrap_or(USER_LIMIT);
        (state.brk_start, state.brk) = (start, start);
    }

    /// By how many bytes the break would move down to `wanted`; 0 if it would not.
    #[must_use]
    pub fn brk_excess(&self, wanted: u64) -> u64 {
        let state = self.state.lock();
        if wanted < state.brk_start { 0 } else { state.brk.saturating_sub(wanted) }
    }

    /// Moves the break to `wanted` and returns where it is then: the old place if that is impossible, as the system call does.
    pub fn brk(&self, wanted: u64) -> u64 {
        let mut state = self.state.lock();
        let current = state.brk;
        if wanted < state.brk_start || wanted > USER_LIMIT - PAGE_SIZE as u64 {
            return current;
        }
        let (Some(old_end), Some(new_end)) = (page_ceil(current), page_ceil(wanted)) else { return current };
        if new_end < old_end {
            let mut gather = Gather::new(&self.context);
            if state.unmap(new_end, old_end, &mut gather).is_err() {
                return current;
            }
        } else if new_end > old_end {
            let vma = Vma {
                start: old_end,
                end: new_end,
                offset: 0,
                backing: None,
                protection: Protection::READ | Protection::WRITE,
                flags: VmaFlags::HEAP | state.future_flags,
            };
            // A page stays free after the break, as a guard.
            let free = !state.vmas.overlaps(old_end, new_end + PAGE_SIZE as u64);
            let within_data = state.counts.data + vma.pages() <= pages(state.limits.data);
            if !free || !within_data || state.check_limits(&vma).is_err() {
                return current;
            }
            let counted = vma.clone();
            if state.vmas.insert(vma).is_err() {
                return current;
            }
            state.counts.add(&counted);
        }
        state.brk = wanted;
        wanted
    }
}
