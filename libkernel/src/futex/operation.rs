//! `FUTEX_WAKE_OP`: change one word, wake waiters of two.
#![forbid(unsafe_code)]

use linux_raw_sys::general as abi;

use super::bucket;
use super::key::Key;
use super::wait::Word;
use crate::{Errno, Result, machine};

/// What the caller of a wait finds in its word, without paging anything in.
pub fn word_of(address: u64, expected: u32) -> Word {
    match machine::load_user_u32(address as usize) {
        Some(value) if value == expected => Word::Expected,
        Some(_) => Word::Changed,
        None => Word::Absent,
    }
}

/// The packed argument of `FUTEX_WAKE_OP` (futex(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeOp {
    operation: u32,
    operand: u32,
    comparison: u32,
    compared: i32,
}

impl WakeOp {
    /// Decodes the argument. `ENOSYS` for an unknown operation or comparison.
    pub fn decode(packed: u32) -> Result<Self> {
        // Twelve bits, with sign.
        let signed = |bits: u32| ((bits << 20) as i32) >> 20;
        let operation = packed >> 28 & 7;
        let comparison = packed >> 24 & 15;
        let argument = signed(packed >> 12 & 0xfff);
        let by_shift = packed >> 28 & abi::FUTEX_OP_OPARG_SHIFT != 0;
        let operand = if by_shift { 1u32.wrapping_shl(argument as u32) } else { argument as u32 };
        if operation > abi::FUTEX_OP_XOR || comparison > abi::FUTEX_OP_CMP_GE {
            return Err(Errno::ENOSYS);
        }
        Ok(Self { operation, operand, comparison, compared: signed(packed & 0xfff) })
    }

    fn apply(self, old: u32) -> u32 {
        match self.operation {
            abi::FUTEX_OP_SET => self.operand,
            abi::FUTEX_OP_ADD => old.wrapping_add(self.operand),
            abi::FUTEX_OP_OR => old | self.operand,
            abi::FUTEX_OP_ANDN => old & !self.operand,
            _ => old ^ self.operand,
        }
    }

    fn holds(self, old: u32) -> bool {
        let old = old as i32;
        match self.comparison {
            abi::FUTEX_OP_CMP_EQ => old == self.compared,
            abi::FUTEX_OP_CMP_NE => old != self.compared,
            abi::FUTEX_OP_CMP_LT => old < self.compared,
            abi::FUTEX_OP_CMP_LE => old <= self.compared,
            abi::FUTEX_OP_CMP_GT => old > self.compared,
            _ => old >= self.compared,
        }
    }

    /// Changes the word at `address`, which is the second futex, wakes waiters of the first, and of the second if the
    /// comparison held for the old value. Returns how many were woken.
    ///
    /// # Errors
    /// `EFAULT` when the word is not there now: make it present and try again.
    pub fn perform(self, address: u64, keys: [Key; 2], counts: [usize; 2]) -> Result<usize> {
        bucket::wake_two(keys, counts, || {
            let mut old = machine::load_user_u32(address as usize).ok_or(Errno::EFAULT)?;
            loop {
                let found = machine::compare_exchange_user_u32(address as usize, old, self.apply(old));
                match found.ok_or(Errno::EFAULT)? {
                    value if value == old => return Ok(self.holds(old)),
                    value => old = value,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(operation: u32, comparison: u32, operand: u32, compared: u32) -> u32 {
        operation << 28 | comparison << 24 | (operand & 0xfff) << 12 | compared & 0xfff
    }

    #[test]
    fn operations_and_comparisons() {
        let table = [
            (abi::FUTEX_OP_SET, 7, 3, 7),
            (abi::FUTEX_OP_ADD, 0xfff, 3, 2),
            (abi::FUTEX_OP_OR, 4, 3, 7),
            (abi::FUTEX_OP_ANDN, 1, 3, 2),
            (abi::FUTEX_OP_XOR, 6, 3, 5),
            (abi::FUTEX_OP_OR | abi::FUTEX_OP_OPARG_SHIFT, 5, 3, 35),
        ];
        for (operation, operand, old, new) in table {
            assert_eq!(WakeOp::decode(packed(operation, 0, operand, 0)).unwrap().apply(old), new, "{operation}");
        }
        let holds = |comparison, compared, old| WakeOp::decode(packed(0, comparison, 0, compared)).unwrap().holds(old);
        assert!(holds(abi::FUTEX_OP_CMP_EQ, 3, 3) && !holds(abi::FUTEX_OP_CMP_EQ, 3, 4));
        assert!(holds(abi::FUTEX_OP_CMP_NE, 3, 4) && holds(abi::FUTEX_OP_CMP_LT, 3, 2));
        assert!(holds(abi::FUTEX_OP_CMP_GT, 0xfff, 0), "the compared value is signed");
        assert!(holds(abi::FUTEX_OP_CMP_LE, 3, 3) && holds(abi::FUTEX_OP_CMP_GE, 3, 3));
        assert_eq!(WakeOp::decode(packed(5, 0, 0, 0)), Err(Errno::ENOSYS));
        assert_eq!(WakeOp::decode(packed(0, 6, 0, 0)), Err(Errno::ENOSYS));
    }
}
