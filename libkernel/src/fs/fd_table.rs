//! The table of open files of a process: descriptors, and whether exec closes them.
//!
//! One lock per table, held for a look-up and a reference count. Files leave the table before they are dropped,
//! so that a last close runs without the lock. The table never shrinks and grows fallibly.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::locks::Owner;
use super::open_file::OpenFile;
use crate::memory::frames;
use crate::sync::SpinLock;
use crate::{Errno, Result};

/// The most descriptors that any limit allows (`/proc/sys/fs/nr_open`).
pub const MAX_FILES: usize = 1 << 20;

/// A file descriptor, as a program passed it: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fd(pub i32);

impl Fd {
    fn index(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }
}

/// The descriptors of a process, or of several that share them (`CLONE_FILES`).
pub struct FdTable {
    slots: SpinLock<Slots>,
    /// Tells this table from all others, for record locks.
    identity: u64,
}

#[derive(Default)]
struct Slots {
    files: Vec<Option<Arc<OpenFile>>>,
    /// One bit a descriptor: it is taken.
    used: Vec<u64>,
    /// One bit a descriptor: exec closes it.
    close_on_exec: Vec<u64>,
}

static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(1);

fn bit(index: usize) -> (usize, u64) {
    (index / 64, 1 << (index % 64))
}

impl Slots {
    fn set(bits: &mut [u64], index: usize, on: bool) {
        let (word, mask) = bit(index);
        if let Some(word) = bits.get_mut(word) {
            *word = if on { *word | mask } else { *word & !mask };
        }
    }

    fn is_set(bits: &[u64], index: usize) -> bool {
        let (word, mask) = bit(index);
        bits.get(word).is_some_and(|word| word & mask != 0)
    }

    /// The lowest free descriptor from `from` on.
    fn lowest_free(&self, from: usize) -> usize {
        let mut mask = u64::MAX << (from % 64);
        for (number, word) in self.used.iter().enumerate().skip(from / 64) {
            let free = !word & mask;
            if free != 0 {
                return number * 64 + free.trailing_zeros() as usize;
            }
            mask = u64::MAX;
        }
        from.max(self.used.len() * 64)
    }

    /// Makes room for descriptor `index`.
    fn grow(&mut self, index: usize) -> Result<()> {
        if index < self.files.len() {
            return Ok(());
        }
        let words = (index / 64 + 1).max(self.used.len() * 2).min(MAX_FILES / 64);
        self.used.try_reserve(words - self.used.len())?;
        self.close_on_exec.try_reserve(words - self.close_on_exec.len())?;
        self.files.try_reserve_exact(words * 64 - self.files.len())?;
        self.used.resize(words, 0);
        self.close_on_exec.resize(words, 0);
        self.files.resize(words * 64, None);
        Ok(())
    }

    fn put(&mut self, index: usize, file: Option<Arc<OpenFile>>, close_on_exec: bool) -> Option<Arc<OpenFile>> {
        Self::set(&mut self.used, index, file.is_some());
        Self::set(&mut self.close_on_exec, index, close_on_exec && file.is_some());
        let slot = self.files.get_mut(index)?;
        core::mem::replace(slot, file)
    }
}

impl FdTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with(Slots::default())
    }

    fn with(slots: Slots) -> Arc<Self> {
        Arc::new(Self { slots: SpinLock::new(slots), identity: NEXT_IDENTITY.fetch_add(1, Relaxed) })
    }

    /// A copy that changes independently, for a new process; the open files are shared.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn fork(&self) -> Result<Arc<Self>> {
        let mut copy = Slots::default();
        let slots = self.slots.lock();
        let highest = slots.used.iter().rposition(|word| *word != 0).map_or(1, |word| word + 1);
        copy.grow(highest * 64 - 1)?;
        for (index, file) in slots.files.iter().enumerate() {
            if let Some(file) = file {
                copy.put(index, Some(file.clone()), Slots::is_set(&slots.close_on_exec, index));
            }
        }
        drop(slots);
        Ok(Self::with(copy))
    }

    /// The open file behind a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    #[inline]
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        let index = fd.index().ok_or(Errno::EBADF)?;
        self.slots.lock().files.get(index).and_then(Clone::clone).ok_or(Errno::EBADF)
    }

    /// Enters a file under the lowest free descriptor from `from` on, below `limit` (`RLIMIT_NOFILE`).
    ///
    /// # Errors
    /// `EMFILE`; `ENOMEM`, also where the kernel has hardly any memory left for programs' open files.
    pub fn insert(&self, file: Arc<OpenFile>, close_on_exec: bool, from: usize, limit: usize) -> Result<Fd> {
        if frames::low() {
            return Err(Errno::ENOMEM);
        }
        let mut slots = self.slots.lock();
        let index = slots.lowest_free(from);
        if index >= limit.min(MAX_FILES) {
            return Err(Errno::EMFILE);
        }
        slots.grow(index)?;
        slots.put(index, Some(file), close_on_exec);
        Ok(Fd(index as i32))
    }

    /// Enters two files, or none (pipe2(2), socketpair(2)).
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_pair(
        &self,
        files: (Arc<OpenFile>, Arc<OpenFile>),
        close_on_exec: bool,
        limit: usize,
    ) -> Result<(Fd, Fd)> {
        let first = self.insert(files.0, close_on_exec, 0, limit)?;
        match self.insert(files.1, close_on_exec, 0, limit) {
            Ok(second) => Ok((first, second)),
            Err(error) => {
                drop(self.take(first));
                Err(error)
            }
        }
    }

    /// Enters a file under descriptor `fd`, in place of what is there (dup3(2)).
    ///
    /// # Errors
    /// `EBADF` for a number that `limit` forbids, `ENOMEM`.
    pub fn replace(&self, fd: Fd, file: Arc<OpenFile>, close_on_exec: bool, limit: usize) -> Result<()> {
        let index = fd.index().filter(|index| *index < limit.min(MAX_FILES)).ok_or(Errno::EBADF)?;
        let old = {
            let mut slots = self.slots.lock();
            slots.grow(index)?;
            slots.put(index, Some(file), close_on_exec)
        };
        if let Some(old) = old {
            self.closed(&old);
        }
        Ok(())
    }

    /// Takes a descriptor out of the table.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn take(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        let index = fd.index().ok_or(Errno::EBADF)?;
        self.slots.lock().put(index, None, false).ok_or(Errno::EBADF)
    }

    /// Closes a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close(&self, fd: Fd) -> Result<()> {
        let file = self.take(fd)?;
        self.closed(&file);
        Ok(())
    }

    /// A process gives up all its record locks on a file when it closes any descriptor of it (fcntl(2)).
    fn closed(&self, file: &Arc<OpenFile>) {
        if let Some(locks) = file.inode().attributes().locks_if_used() {
            locks.release(Owner::Process(self.identity));
        }
    }

    /// Who holds the record locks that are set through this table.
    #[must_use]
    pub fn lock_owner(&self) -> Owner {
        Owner::Process(self.identity)
    }

    /// Whether exec closes the descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close_on_exec(&self, fd: Fd) -> Result<bool> {
        let index = fd.index().ok_or(Errno::EBADF)?;
        let slots = self.slots.lock();
        if !Slots::is_set(&slots.used, index) {
            return Err(Errno::EBADF);
        }
        Ok(Slots::is_set(&slots.close_on_exec, index))
    }

    /// Sets whether exec closes the descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_close_on_exec(&self, fd: Fd, on: bool) -> Result<()> {
        let index = fd.index().ok_or(Errno::EBADF)?;
        let mut slots = self.slots.lock();
        if !Slots::is_set(&slots.used, index) {
            return Err(Errno::EBADF);
        }
        Slots::set(&mut slots.close_on_exec, index, on);
        Ok(())
    }

    /// Closes, or marks to be closed by exec, the descriptors from `first` to `last` (close_range(2)).
    pub fn for_range(&self, first: u32, last: u32, only_mark: bool) {
        let mut fd = Some(Fd(i32::try_from(first).unwrap_or(i32::MAX)));
        while let Some(at) = fd.and_then(|from| self.next_used(from)).filter(|at| at.0 as u32 <= last) {
            // A descriptor that another thread closes meanwhile needs nothing any more.
            let _ = if only_mark { self.set_close_on_exec(at, true) } else { self.close(at) };
            fd = at.0.checked_add(1).map(Fd);
        }
    }

    /// The first descriptor in use from `from` on.
    #[must_use]
    pub fn next_used(&self, from: Fd) -> Option<Fd> {
        let from = from.index()?;
        let slots = self.slots.lock();
        let mut mask = u64::MAX << (from % 64);
        for (number, word) in slots.used.iter().enumerate().skip(from / 64) {
            let taken = word & mask;
            if taken != 0 {
                return Some(Fd((number * 64 + taken.trailing_zeros() as usize) as i32));
            }
            mask = u64::MAX;
        }
        None
    }

    /// Closes what is marked to be closed by exec.
    pub fn exec(&self) {
        let mut fd = Some(Fd(0));
        while let Some(at) = fd.and_then(|from| self.next_used(from)) {
            if self.close_on_exec(at) == Ok(true) {
                let _ = self.close(at);
            }
            fd = at.0.checked_add(1).map(Fd);
        }
    }

    /// Closes everything, for a process that ends.
    pub fn close_all(&self) {
        self.for_range(0, u32::MAX, false);
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        let files = core::mem::take(&mut self.slots.get_mut().files);
        for file in files.into_iter().flatten() {
            self.closed(&file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::open_flags::OpenFlags;
    use crate::fs::testing::World;

    fn file() -> Arc<OpenFile> {
        OpenFile::new(World::new().context.root(), None, OpenFlags::empty()).unwrap()
    }

    #[test]
    fn the_lowest_free_descriptor_is_given() {
        let table = FdTable::new();
        for expected in 0..130 {
            assert_eq!(table.insert(file(), false, 0, 1024), Ok(Fd(expected)));
        }
        table.close(Fd(65)).unwrap();
        table.close(Fd(3)).unwrap();
        assert_eq!(table.insert(file(), false, 10, 1024), Ok(Fd(65)));
        assert_eq!(table.insert(file(), false, 0, 1024), Ok(Fd(3)));
        assert_eq!(table.insert(file(), false, 500, 1024), Ok(Fd(500)));
    }

    #[test]
    fn the_limit_holds() {
        let table = FdTable::new();
        table.insert(file(), false, 0, 1).unwrap();
        assert_eq!(table.insert(file(), false, 0, 1), Err(Errno::EMFILE));
        assert_eq!(table.replace(Fd(5), file(), false, 5), Err(Errno::EBADF));
        assert!(table.get(Fd(-1)).is_err() && table.get(Fd(i32::MAX)).is_err());
    }

    #[test]
    fn exec_closes_what_is_marked_and_a_fork_shares_the_files() {
        let table = FdTable::new();
        table.insert(file(), true, 0, 100).unwrap();
        table.insert(file(), false, 0, 100).unwrap();
        let copy = table.fork().unwrap();
        table.exec();
        assert!(table.get(Fd(0)).is_err());
        assert!(Arc::ptr_eq(&table.get(Fd(1)).unwrap(), &copy.get(Fd(1)).unwrap()));
        assert_eq!(copy.close_on_exec(Fd(0)), Ok(true));
        copy.for_range(0, u32::MAX, false);
        assert_eq!(copy.next_used(Fd(0)), None);
    }
}
