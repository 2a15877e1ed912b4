//! Who excludes whom at a file's content: open files that may write to it, and programs that run from it (execve(2), `ETXTBSY`).
#![forbid(unsafe_code)]

use core::sync::atomic::{
    AtomicI32,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::{Errno, Result};

/// How many may write to a file, or how many programs run from it; nobody at first.
///
/// # Invariants
/// The count is that of the writers, or the negative of that of the programs: there are never both.
#[derive(Debug, Default)]
pub struct WriteCount(AtomicI32);

impl WriteCount {
    fn change(&self, step: i32, allowed: impl Fn(i32) -> bool) -> Result<()> {
        let next = |count: i32| count.checked_add(step).filter(|_| allowed(count));
        self.0.fetch_update(Acquire, Relaxed, next).map(drop).map_err(|_| Errno::ETXTBSY)
    }

    /// One more may write.
    ///
    /// # Errors
    /// `ETXTBSY` while a program runs from the file.
    pub fn begin_writing(&self) -> Result<()> {
        self.change(1, |count| count >= 0)
    }

    /// Undoes [`begin_writing`](Self::begin_writing).
    pub fn end_writing(&self) {
        self.0.fetch_sub(1, Release);
    }

    /// Calls `action`, which changes the content.
    ///
    /// # Errors
    /// `ETXTBSY` while a program runs from the file, and those of `action`.
    pub fn while_writing<R>(&self, action: impl FnOnce() -> Result<R>) -> Result<R> {
        self.begin_writing()?;
        let result = action();
        self.end_writing();
        result
    }

    /// One program more runs from the file.
    ///
    /// # Errors
    /// `ETXTBSY` while somebody may write to it.
    pub fn begin_running(&self) -> Result<()> {
        self.change(-1, |count| count <= 0)
    }

    /// Undoes [`begin_running`](Self::begin_running).
    pub fn end_running(&self) {
        self.0.fetch_add(1, Release);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn writers_and_programs_exclude_each_other() {
        let count = WriteCount::default();
        count.begin_writing().unwrap();
        count.begin_writing().unwrap();
        assert_eq!(count.begin_running(), Err(Errno::ETXTBSY));
        count.end_writing();
        assert_eq!(count.begin_running(), Err(Errno::ETXTBSY));
        count.end_writing();
        count.begin_running().unwrap();
        count.begin_running().unwrap();
        assert_eq!(count.while_writing(|| Ok(())), Err(Errno::ETXTBSY));
        count.end_running();
        count.end_running();
        assert_eq!(count.while_writing(|| Ok(7)), Ok(7));
    }

    #[test]
    fn a_writer_and_a_program_that_begin_at_once_are_never_both_there() {
        let count = WriteCount::default();
        let inside = [AtomicI32::new(0), AtomicI32::new(0)];
        let often = |own: usize, begin: fn(&WriteCount) -> Result<()>, end: fn(&WriteCount)| {
            for _ in 0..20_000 {
                if begin(&count).is_ok() {
                    inside[own].fetch_add(1, Relaxed);
                    assert_eq!(inside[1 - own].load(Relaxed), 0);
                    inside[own].fetch_sub(1, Relaxed);
                    end(&count);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| often(0, WriteCount::begin_writing, WriteCount::end_writing));
            often(1, WriteCount::begin_running, WriteCount::end_running);
        });
    }
}
