//! Access to the memory of an address space that need not be the active one: process_vm_readv(2), ptrace(2), `/proc/PID/mem`,
//! building a new program's stack.
#![forbid(unsafe_code)]

use super::{Access, AddressSpace, State};
use crate::memory::address::{PAGE_SIZE, USER_LIMIT, page_floor};
use crate::memory::page::Page;
use crate::{Errno, Result};

impl AddressSpace {
    /// Copies from `address` into `bytes`, paging in; returns how many bytes were readable. `EFAULT` if none were.
    pub fn read_remote(&self, address: u64, bytes: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        for chunk in ChunkIter::new(address, bytes.len()) {
            let Some(part) = bytes.get_mut(chunk.done..chunk.done + chunk.length) else { break };
            let page = self.state.lock().page_for(&self.context, chunk.address, Access::Read);
            let Some(page) = page else { break };
            done += page.read(chunk.address as usize % PAGE_SIZE, part);
        }
        if done == 0 && !bytes.is_empty() { Err(Errno::EFAULT) } else { Ok(done) }
    }

    /// Copies `bytes` to `address`, paging in and copying on write; returns how many bytes were writable. `EFAULT` if none were.
    pub fn write_remote(&self, address: u64, bytes: &[u8]) -> Result<usize> {
        let mut done = 0;
        for chunk in ChunkIter::new(address, bytes.len()) {
            let Some(part) = bytes.get(chunk.done..chunk.done + chunk.length) else { break };
            // Written under the lock: the page must not become another address space's meanwhile.
            let mut state = self.state.lock();
            let Some(page) = state.page_for(&self.context, chunk.address, Access::Write) else { break };
            done += page.write(chunk.address as usize % PAGE_SIZE, part);
            if state.table.get(page_floor(chunk.address)).access().execute {
                page.sync_instructions();
            }
        }
        if done == 0 && !bytes.is_empty() { Err(Errno::EFAULT) } else { Ok(done) }
    }
}

impl State {
    /// The page at `address`, made present for `access`.
    fn page_for(&mut self, context: &core::sync::atomic::AtomicU64, address: u64, access: Access) -> Option<Page> {
        let entry = self.table.get(page_floor(address)).access();
        if !entry.read || access == Access::Write && !entry.write {
            self.fault(context, address, access).ok()?;
        }
        self.table.page(page_floor(address))
    }
}

struct Chunk {
    address: u64,
    done: usize,
    length: usize,
}

/// Cuts a range of user memory at page borders.
struct ChunkIter {
    address: u64,
    done: usize,
    left: usize,
}

impl ChunkIter {
    fn new(address: u64, length: usize) -> Self {
        Self { address, done: 0, left: length.min(USER_LIMIT.saturating_sub(address) as usize) }
    }
}

impl Iterator for ChunkIter {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        if self.left == 0 {
            return None;
        }
        let length = (PAGE_SIZE - self.address as usize % PAGE_SIZE).min(self.left);
        let chunk = Chunk { address: self.address, done: self.done, length };
        self.address += length as u64;
        self.done += length;
        self.left -= length;
        Some(chunk)
    }
}
