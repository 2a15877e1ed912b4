//! Typed arguments: each is decoded once from its register, and nothing behind the table sees a raw register.
#![forbid(unsafe_code)]

use libkernel::fs::Fd;
use libkernel::memory::UserPtr;

/// What a system call takes in a register. As on Linux, the upper half of a 32-bit argument is ignored.
pub trait Argument {
    /// Decodes the register.
    fn from_register(register: u64) -> Self;
}

macro_rules! integers {
    ($($type:ty)*) => {
        $(impl Argument for $type {
            #[inline]
            fn from_register(register: u64) -> Self {
                register as $type
            }
        })*
    };
}

integers! { u8 i8 u16 i16 u32 i32 u64 i64 usize isize }

impl<T> Argument for UserPtr<T> {
    #[inline]
    fn from_register(register: u64) -> Self {
        Self::new(register)
    }
}

impl Argument for Fd {
    #[inline]
    fn from_register(register: u64) -> Self {
        Self(register as i32)
    }
}
