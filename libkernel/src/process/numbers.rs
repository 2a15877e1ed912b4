//! Which process numbers are in use: a bitmap searched in a circle, so that a number is not used again soon.
#![forbid(unsafe_code)]

use super::id::{PID_LIMIT, Pid};
use crate::{Errno, Result};
use alloc::vec::Vec;

/// Numbers below this are given out only once after boot (Linux's `RESERVED_PIDS`).
const RESERVED: u32 = 300;
/// The first bound on numbers (Linux's `PID_MAX_DEFAULT`); `/proc/sys/kernel/pid_max` changes it.
pub const DEFAULT_MAX: u32 = 32768;
/// The lowest bound that may be set.
const LOWEST_MAX: u32 = RESERVED + 1;
const BITS: u32 = u64::BITS;

/// The numbers in use. Grows with the highest number ever given out.
pub struct Numbers {
    words: Vec<u64>,
    next: u32,
    max: u32,
}

impl Numbers {
    /// No number is in use.
    pub const fn new() -> Numbers {
        Numbers { words: Vec::new(), next: 1, max: DEFAULT_MAX }
    }

    /// Takes the next free number.
    ///
    /// # Errors
    /// `EAGAIN` when all numbers are in use, `ENOMEM`.
    pub fn take(&mut self) -> Result<Pid> {
        let lowest = RESERVED.min(self.next);
        let number = self
            .first_free(self.next, self.max)
            .or_else(|| self.first_free(lowest.max(1), self.next.min(self.max)))
            .ok_or(Errno::EAGAIN)?;
        let index = (number / BITS) as usize;
        if index >= self.words.len() {
            let more = index + 1 - self.words.len();
            self.words.try_reserve(more)?;
            self.words.resize(index + 1, 0);
        }
        if let Some(word) = self.words.get_mut(index) {
            *word |= 1 << (number % BITS);
        }
        self.next = if number + 1 >= self.max { RESERVED } else { number + 1 };
        Pid::new(number as i32).ok_or(Errno::EAGAIN)
    }

    /// Gives a number back.
    pub fn release(&mut self, pid: Pid) {
        let number = pid.number();
        if let Some(word) = self.words.get_mut((number / BITS) as usize) {
            debug_assert!(*word & 1 << (number % BITS) != 0, "a process number was given back twice");
            *word &= !(1 << (number % BITS));
        }
    }

    /// The lowest number in use that is at least `from`.
    pub fn used_from(&self, from: u32) -> Option<Pid> {
        let mut index = (from / BITS) as usize;
        let mut word = *self.words.get(index)? & (u64::MAX << (from % BITS));
        loop {
            if word != 0 {
                return Pid::new((index as u32 * BITS + word.trailing_zeros()) as i32);
            }
            index += 1;
            word = *self.words.get(index)?;
        }
    }

    /// The bound: numbers are below it.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Sets the bound.
    ///
    /// # Errors
    /// `EINVAL` outside the range that Linux allows.
    pub fn set_max(&mut self, max: u32) -> Result<()> {
        if !(LOWEST_MAX..=PID_LIMIT).contains(&max) {
            return Err(Errno::EINVAL);
        }
        self.max = max;
        if self.next >= max {
            self.next = RESERVED;
        }
        Ok(())
    }

    /// The lowest free number in `from..to`.
    fn first_free(&self, from: u32, to: u32) -> Option<u32> {
        let mut number = from;
        while number < to {
            let Some(word) = self.words.get((number / BITS) as usize) else { return Some(number) };
            let free = !word & (u64::MAX << (number % BITS));
            let base = number - number % BITS;
            if free != 0 {
                let found = base + free.trailing_zeros();
                return (found < to).then_some(found);
            }
            number = base + BITS;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_at_one_and_are_not_reused_soon() {
        let mut numbers = Numbers::new();
        let first = numbers.take().unwrap();
        assert_eq!(first, Pid::INIT);
        let second = numbers.take().unwrap();
        numbers.release(second);
        assert_eq!(numbers.take().unwrap().raw(), 3);
    }

    #[test]
    fn after_the_bound_the_search_starts_again_above_the_reserved_numbers() {
        let mut numbers = Numbers::new();
        numbers.set_max(400).unwrap();
        let all: Vec<_> = (1..400).map(|_| numbers.take().unwrap()).collect();
        assert_eq!(all.last().unwrap().raw(), 399);
        assert_eq!(numbers.take(), Err(Errno::EAGAIN));
        numbers.release(all[9]);
        assert_eq!(numbers.take(), Err(Errno::EAGAIN), "a reserved number is not given out again");
        numbers.release(all[349]);
        assert_eq!(numbers.take().unwrap().raw(), 350);
    }

    #[test]
    fn the_numbers_in_use_can_be_walked_in_order() {
        let mut numbers = Numbers::new();
        let all: Vec<_> = (0..200).map(|_| numbers.take().unwrap()).collect();
        for pid in all.iter().skip(1).step_by(2) {
            numbers.release(*pid);
        }
        let mut seen = Vec::new();
        let mut from = 0;
        while let Some(pid) = numbers.used_from(from) {
            seen.push(pid.raw());
            from = pid.number() + 1;
        }
        assert_eq!(seen, (1..200).step_by(2).collect::<Vec<_>>());
    }
}
