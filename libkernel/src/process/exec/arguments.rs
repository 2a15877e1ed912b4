//! The arguments and the environment of a new program, packed as they will lie in its stack.
#![forbid(unsafe_code)]

use crate::{Errno, Result};
use alloc::vec::Vec;

/// Longest single string, with its closing zero (`MAX_ARG_STRLEN`).
pub const STRING_MAX: usize = 32 * 4096;
/// The least that is always allowed for all strings and pointers together.
const TOTAL_MIN: u64 = 32 * 4096;
/// The most that is ever allowed: three quarters of the default stack limit.
const TOTAL_MAX: u64 = 6 * 1024 * 1024;

/// How many bytes all strings and their pointers may take under a stack limit (execve(2), "Limits on size of arguments and
/// environment"): a quarter of the limit, between 128 KiB and 6 MiB.
#[must_use]
pub fn total_limit(stack_limit: Option<u64>) -> usize {
    (stack_limit.unwrap_or(u64::MAX) / 4).clamp(TOTAL_MIN, TOTAL_MAX) as usize
}

/// Arguments and environment: strings with their closing zeros, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    arguments: Strings,
    environment: Strings,
    limit: usize,
}

/// Packed strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// The strings, each with its closing zero.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|byte| *byte == 0)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// All bytes, closing zeros included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Arguments {
    /// No strings yet, and `limit` bytes for what is to come.
    #[must_use]
    pub fn new(limit: usize) -> Arguments {
        Arguments { arguments: Strings::default(), environment: Strings::default(), limit }
    }

    /// Adds an argument; `string` has no closing zero, and what follows a zero in it is cut.
    ///
    /// # Errors
    /// `E2BIG` beyond the limits, `ENOMEM`.
    pub fn push_argument(&mut self, string: &[u8]) -> Result<()> {
        self.make_room(string.len())?;
        push(&mut self.arguments, string)
    }

    /// Adds a string of the environment, under the same conditions.
    ///
    /// # Errors
    /// As for [`Arguments::push_argument`].
    pub fn push_environment(&mut self, string: &[u8]) -> Result<()> {
        self.make_room(string.len())?;
        push(&mut self.environment, string)
    }

    /// Replaces the first argument by the words of a script's first line and the script's path.
    ///
    /// # Errors
    /// As for [`Arguments::push_argument`].
    pub fn prepend_script(&mut self, interpreter: &[u8], argument: Option<&[u8]>, script: &[u8]) -> Result<()> {
        let old = core::mem::take(&mut self.arguments);
        self.push_argument(interpreter)?;
        if let Some(argument) = argument {
            self.push_argument(argument)?;
        }
        self.push_argument(script)?;
        for string in old.iter().skip(1) {
            self.push_argument(string.split_last().map_or(string, |(_, text)| text))?;
        }
        Ok(())
    }

    /// The arguments.
    #[must_use]
    pub fn arguments(&self) -> &Strings {
        &self.arguments
    }

    /// The environment.
    #[must_use]
    pub fn environment(&self) -> &Strings {
        &self.environment
    }

    fn make_room(&self, length: usize) -> Result<()> {
        let pointers = (self.arguments.count + self.environment.count + 1).saturating_mul(8);
        let bytes = self.arguments.bytes.len() + self.environment.bytes.len();
        let total = bytes.saturating_add(length).saturating_add(1).saturating_add(pointers);
        if length >= STRING_MAX || total > self.limit {
            return Err(Errno::E2BIG);
        }
        Ok(())
    }
}

fn push(strings: &mut Strings, string: &[u8]) -> Result<()> {
    let text = string.split(|byte| *byte == 0).next().unwrap_or_default();
    strings.bytes.try_reserve(text.len() + 1)?;
    strings.bytes.extend_from_slice(text);
    strings.bytes.push(0);
    strings.count += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(strings: &Strings) -> Vec<&[u8]> {
        strings.iter().collect()
    }

    #[test]
    fn strings_are_kept_in_order_and_empty_ones_count() {
        let mut arguments = Arguments::new(4096);
        for string in [&b"a"[..], b"", b"bc"] {
            arguments.push_argument(string).unwrap();
        }
        assert_eq!(list(arguments.arguments()), [&b"a\0"[..], b"\0", b"bc\0"]);
        assert_eq!(arguments.arguments().count(), 3);
    }

    #[test]
    fn a_script_takes_the_place_of_the_first_argument() {
        let mut arguments = Arguments::new(4096);
        arguments.push_argument(b"name").unwrap();
        arguments.push_argument(b"x").unwrap();
        arguments.prepend_script(b"/bin/sh", Some(b"-e"), b"/tmp/s").unwrap();
        assert_eq!(list(arguments.arguments()), [&b"/bin/sh\0"[..], b"-e\0", b"/tmp/s\0", b"x\0"]);
    }

    #[test]
    fn the_limits_are_those_of_the_manual() {
        assert_eq!(total_limit(Some(8 * 1024 * 1024)), 2 * 1024 * 1024);
        assert_eq!(total_limit(None), 6 * 1024 * 1024);
        assert_eq!(total_limit(Some(0)), 128 * 1024);
        let mut arguments = Arguments::new(20);
        arguments.push_argument(b"12345").unwrap();
        assert_eq!(arguments.push_environment(b"12345"), Err(Errno::E2BIG));
        let mut arguments = Arguments::new(usize::MAX);
        let long = alloc::vec![b'x'; STRING_MAX];
        assert_eq!(arguments.push_argument(&long), Err(Errno::E2BIG));
        assert_eq!(arguments.push_argument(&long[1..]), Ok(()));
    }
}
