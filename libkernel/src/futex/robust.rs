//! What a thread leaves behind: mutexes whose owner died, and the word that joiners wait for.
#![forbid(unsafe_code)]

use linux_raw_sys::general as abi;

use super::{ANY, Key, wake};
use crate::Result;
use crate::memory::{AddressSpace, UserPtr};
use crate::process::Thread;

/// Entries of a robust list that are looked at; the rest of a longer (or circular) one is not (`ROBUST_LIST_LIMIT`).
const LIMIT: usize = 2048;

/// A thread ends, with its address space active: marks the robust futexes it holds as orphaned, then clears the word that
/// set_tid_address(2) named; and wakes who waits for either. Programs' lists may hold anything; what cannot be read ends
/// the walk.
pub fn end_thread(thread: &Thread, space: &AddressSpace) {
    let head = thread.robust_list() as u64;
    if head != 0 {
        // A broken list is the program's own loss.
        let _ = walk(space, thread.tid().number(), head);
    }
    let clear = thread.clear_child_tid() as u64;
    if clear != 0 {
        // As above: an address that cannot be written tells nobody.
        let _ = space.write_value(UserPtr::new(clear), 0u32);
        wake_one(space, clear);
    }
}

/// Walks the list of robust_list_head at `head`: next entry, offset from an entry to its word, entry in the making.
fn walk(space: &AddressSpace, tid: u32, head: u64) -> Result<()> {
    let [first, offset, pending]: [u64; 3] = space.read_value(UserPtr::new(head))?;
    let word = |entry: u64| (entry & !1).wrapping_add(offset);
    let mut entry = first;
    for _ in 0..LIMIT {
        if entry & !1 == head {
            break;
        }
        // Read before the word is released, as somebody else may reuse the memory then.
        let next = space.read_value(UserPtr::<u64>::new(entry & !1));
        if entry & !1 != pending & !1 {
            release(space, tid, word(entry), false)?;
        }
        entry = next?;
    }
    if pending & !1 != 0 {
        release(space, tid, word(pending), true)?;
    }
    Ok(())
}

/// Marks a word that the thread holds as orphaned and wakes a waiter.
fn release(space: &AddressSpace, tid: u32, address: u64, pending: bool) -> Result<()> {
    let at = UserPtr::new(address);
    let mut value = space.load_u32(at)?;
    loop {
        if pending && value == 0 {
            // It died between releasing the word and waking.
            wake_one(space, address);
            return Ok(());
        }
        if value & abi::FUTEX_TID_MASK != tid {
            return Ok(());
        }
        let orphaned = value & abi::FUTEX_WAITERS | abi::FUTEX_OWNER_DIED;
        let found = space.compare_exchange_u32(at, value, orphaned)?;
        if found == value {
            break;
        }
        value = found;
    }
    if value & abi::FUTEX_WAITERS != 0 {
        wake_one(space, address);
    }
    Ok(())
}

fn wake_one(space: &AddressSpace, address: u64) {
    if let Ok(key) = Key::new(space, address, false) {
        wake(key, ANY, 1);
    }
}
