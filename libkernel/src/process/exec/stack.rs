//! The first stack of a program: argument count, argument pointers, environment pointers, auxiliary vector, and above them
//! the strings they point to (System V ABI supplement for AArch64, "Process Initialization").
//!
//! ```text
//! top - 8     zero word
//!             path of the program (AT_EXECFN)
//!             environment strings
//!             argument strings
//!             random bytes (AT_RANDOM), platform (AT_PLATFORM)
//!             auxiliary vector, ends with AT_NULL
//!             environment pointers, zero
//!             argument pointers, zero
//! pointer ->  argument count                           (16-byte aligned)
//! ```
#![forbid(unsafe_code)]

use super::arguments::{Arguments, Strings};
use super::auxiliary::{Facts, Kind, SIGNAL_STACK_MIN, TICKS_PER_SECOND};
use crate::elf::PROGRAM_HEADER_SIZE;
use crate::{Errno, Result};
use alloc::vec::Vec;
use core::ops::Range;

const PLATFORM: &[u8] = b"aarch64\0";
const WORD: u64 = 8;
/// Entries in the auxiliary vector, at most, with the closing one.
const AUXILIARY_MAX: u64 = 22;

/// A program's first stack, ready to be copied to its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialStack {
    /// The stack pointer: where `bytes` goes. 16-byte aligned.
    pub pointer: u64,
    /// The bytes from the stack pointer to the top.
    pub bytes: Vec<u8>,
    /// The auxiliary vector, closing entry included (`/proc/PID/auxv`).
    pub auxiliary: Range<usize>,
    /// Where the argument strings are (`/proc/PID/cmdline`).
    pub argument_strings: Range<u64>,
    /// Where the environment strings are (`/proc/PID/environ`).
    pub environment_strings: Range<u64>,
}

/// Lays out the stack that ends at `top` (16-byte aligned), for the program found at `path`.
///
/// # Errors
/// `E2BIG` when it does not fit below `top`, `ENOMEM`.
pub fn build(top: u64, path: &[u8], arguments: &Arguments, facts: &Facts) -> Result<InitialStack> {
    let strings = [arguments.arguments().as_bytes(), arguments.environment().as_bytes()];
    let [argument_length, environment_length] = strings.map(|bytes| bytes.len() as u64);
    let below = |address: u64, length: u64| address.checked_sub(length).ok_or(Errno::E2BIG);

    let path_at = below(top, WORD + path.len() as u64 + 1)?;
    let environment_at = below(path_at, environment_length)?;
    let arguments_at = below(environment_at, argument_length)?;
    let random_at = below(arguments_at, facts.random.len() as u64)? & !15;
    let platform_at = below(random_at, PLATFORM.len() as u64)?;
    let pointers = 1 + arguments.arguments().count() as u64 + 1 + arguments.environment().count() as u64 + 1;
    let pointer = below(platform_at, (pointers + 2 * AUXILIARY_MAX) * WORD)? & !15;

    let mut writer = Writer { at: pointer, bytes: Vec::new() };
    writer.bytes.try_reserve_exact(usize::try_from(top - pointer).map_err(|_| Errno::E2BIG)?)?;
    writer.word(arguments.arguments().count() as u64);
    writer.pointers(arguments_at, arguments.arguments());
    writer.pointers(environment_at, arguments.environment());
    let auxiliary_start = writer.bytes.len();
    writer.auxiliary(facts, platform_at, random_at, path_at);
    let auxiliary = auxiliary_start..writer.bytes.len();
    writer.fill_to(platform_at);
    writer.put(PLATFORM);
    writer.put(&facts.random);
    writer.fill_to(arguments_at);
    strings.iter().for_each(|bytes| writer.put(bytes));
    writer.put(path);
    writer.fill_to(top);
    Ok(InitialStack {
        pointer,
        bytes: writer.bytes,
        auxiliary,
        argument_strings: arguments_at..environment_at,
        environment_strings: environment_at..path_at,
    })
}

/// Fills the reserved buffer from the stack pointer upwards.
struct Writer {
    at: u64,
    bytes: Vec<u8>,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn word(&mut self, word: u64) {
        self.put(&word.to_le_bytes());
    }

    fn fill_to(&mut self, address: u64) {
        self.bytes.resize((address - self.at) as usize, 0);
    }

    fn pointers(&mut self, mut at: u64, strings: &Strings) {
        for string in strings.iter() {
            self.word(at);
            at += string.len() as u64;
        }
        self.word(0);
    }

    fn auxiliary(&mut self, facts: &Facts, platform: u64, random: u64, path: u64) {
        let [uid, euid, gid, egid] = facts.ids.map(u64::from);
        let entries = [
            (Kind::Hwcap, facts.hwcap),
            (Kind::Pagesz, 4096),
            (Kind::Clktck, TICKS_PER_SECOND),
            (Kind::Phdr, facts.headers),
            (Kind::Phent, PROGRAM_HEADER_SIZE as u64),
            (Kind::Phnum, facts.header_count),
            (Kind::Base, facts.base),
            (Kind::Flags, 0),
            (Kind::Entry, facts.entry),
            (Kind::Uid, uid),
            (Kind::Euid, euid),
            (Kind::Gid, gid),
            (Kind::Egid, egid),
            (Kind::Secure, u64::from(facts.secure)),
            (Kind::Random, random),
            (Kind::Hwcap2, facts.hwcap2),
            (Kind::Execfn, path),
            (Kind::Platform, platform),
            (Kind::Minsigstksz, SIGNAL_STACK_MIN),
        ];
        if let Some(vdso) = facts.vdso {
            self.entry(Kind::SysinfoEhdr, vdso);
        }
        for (kind, value) in entries {
            self.entry(kind, value);
        }
        self.entry(Kind::Null, 0);
    }

    fn entry(&mut self, kind: Kind, value: u64) {
        self.word(kind as u64);
        self.word(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOP: u64 = 0x7fff_ffff_f000;

    fn arguments(list: &[&[u8]], environment: &[&[u8]]) -> Arguments {
        let mut arguments = Arguments::new(1 << 20);
        list.iter().for_each(|string| arguments.push_argument(string).unwrap());
        environment.iter().for_each(|string| arguments.push_environment(string).unwrap());
        arguments
    }

    fn word(stack: &InitialStack, address: u64) -> u64 {
        let at = (address - stack.pointer) as usize;
        u64::from_le_bytes(stack.bytes[at..at + 8].try_into().unwrap())
    }

    fn string(stack: &InitialStack, address: u64) -> &[u8] {
        let at = (address - stack.pointer) as usize;
        stack.bytes[at..].split(|byte| *byte == 0).next().unwrap()
    }

    fn auxiliary(stack: &InitialStack, mut at: u64, kind: Kind) -> Option<u64> {
        loop {
            match word(stack, at) {
                0 => return None,
                found if found == kind as u64 => return Some(word(stack, at + 8)),
                _ => at += 16,
            }
        }
    }

    #[test]
    fn the_stack_reads_as_the_abi_says() {
        let facts = Facts { entry: 0x1234, random: [7; 16], secure: true, vdso: Some(0x8000), ..Facts::default() };
        let stack = build(TOP, b"/bin/prog", &arguments(&[b"prog", b"x"], &[b"A=1"]), &facts).unwrap();
        let sp = stack.pointer;
        assert_eq!(sp % 16, 0);
        assert_eq!(word(&stack, sp), 2);
        assert_eq!(string(&stack, word(&stack, sp + 8)), b"prog");
        assert_eq!(string(&stack, word(&stack, sp + 16)), b"x");
        assert_eq!(word(&stack, sp + 24), 0);
        assert_eq!(string(&stack, word(&stack, sp + 32)), b"A=1");
        assert_eq!(word(&stack, sp + 40), 0);
        let vector = sp + 48;
        assert_eq!(auxiliary(&stack, vector, Kind::Entry), Some(0x1234));
        assert_eq!(auxiliary(&stack, vector, Kind::Secure), Some(1));
        assert_eq!(auxiliary(&stack, vector, Kind::SysinfoEhdr), Some(0x8000));
        assert_eq!(string(&stack, auxiliary(&stack, vector, Kind::Execfn).unwrap()), b"/bin/prog");
        assert_eq!(string(&stack, auxiliary(&stack, vector, Kind::Platform).unwrap()), b"aarch64");
        assert_eq!(word(&stack, auxiliary(&stack, vector, Kind::Random).unwrap()), 0x0707_0707_0707_0707);
    }

    #[test]
    fn a_stack_that_does_not_fit_is_refused() {
        assert_eq!(build(64, b"/bin/prog", &arguments(&[b"prog"], &[]), &Facts::default()), Err(Errno::E2BIG));
    }

    proptest! {
        #[test]
        fn any_arguments_are_found_again(
            list in proptest::collection::vec(proptest::collection::vec(1u8.., 0..40), 0..20),
            environment in proptest::collection::vec(proptest::collection::vec(1u8.., 0..40), 0..20),
        ) {
            let list: Vec<&[u8]> = list.iter().map(Vec::as_slice).collect();
            let environment: Vec<&[u8]> = environment.iter().map(Vec::as_slice).collect();
            let stack = build(TOP, b"/p", &arguments(&list, &environment), &Facts::default()).unwrap();
            prop_assert_eq!(stack.pointer + stack.bytes.len() as u64, TOP);
            prop_assert_eq!(word(&stack, stack.pointer), list.len() as u64);
            let mut at = stack.pointer + 8;
            for expected in [&list, &environment] {
                for text in expected.iter() {
                    prop_assert_eq!(string(&stack, word(&stack, at)), *text);
                    at += 8;
                }
                prop_assert_eq!(word(&stack, at), 0);
                at += 8;
            }
            let size = stack.environment_strings.end - stack.argument_strings.start;
            let expected: usize = list.iter().chain(&environment).map(|text| text.len() + 1).sum();
            prop_assert_eq!(size, expected as u64);
        }
    }
}
