//! System calls as the tests see them: raw numbers in, `Result` out.
//!
//! The tests check a kernel, so they go around the C library wherever it would
//! add behaviour of its own (caching, retries, emulation). [`call!`] issues one
//! `svc`, nothing else. The C library is used only for what needs its
//! book-keeping: `fork`, `sigaction` and threads.
//!
//! # Soundness
//! A system call can write over any memory it is pointed at, so [`raw`] is not
//! something a library could offer as a safe function. Each test is a process
//! of its own which hands the kernel either buffers that it owns exclusively or
//! addresses that are meant to be refused; an `unsafe` block around each of a
//! thousand calls would say nothing more than this paragraph.

mod errno;
mod file;
mod memory;
mod process;
mod signal;
mod socket;
mod time;
mod vdso;

pub use errno::{Errno, Result};
pub use file::*;
pub use memory::*;
pub use process::*;
pub use signal::*;
pub use socket::*;
pub use time::*;
pub use vdso::*;

use core::arch::asm;
use core::ffi::CStr;

/// Something that can stand in an argument register.
pub trait Arg {
    /// The register's 64 bits; signed values are sign-extended.
    fn word(self) -> usize;
}

macro_rules! integer_arg {
    ($($t:ty),*) => { $(impl Arg for $t { fn word(self) -> usize { self as isize as usize } })* };
}
integer_arg!(i32, u32, i64, u64, isize, usize, u16);

impl<T> Arg for *const T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}
impl<T> Arg for *mut T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}
impl<T> Arg for &T {
    fn word(self) -> usize {
        core::ptr::from_ref(self).expose_provenance()
    }
}
impl<T> Arg for &mut T {
    fn word(self) -> usize {
        core::ptr::from_mut(self).expose_provenance()
    }
}
impl Arg for &CStr {
    fn word(self) -> usize {
        self.as_ptr().expose_provenance()
    }
}
impl Arg for &[u8] {
    fn word(self) -> usize {
        self.as_ptr().expose_provenance()
    }
}
impl Arg for &mut [u8] {
    fn word(self) -> usize {
        self.as_mut_ptr().expose_provenance()
    }
}

/// Issues system call `number`; returns `x0` as the kernel left it.
///
/// See the module's comment for why this is not an `unsafe fn`.
#[inline(always)]
pub fn raw(number: usize, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let result: isize;
    // SAFETY: the kernel preserves every register but x0, and the module's
    // comment states the rule for memory that it writes.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            in("x5") f,
            options(nostack),
        );
    }
    result
}

/// Fills up a list of arguments with zeros, as far as six.
#[inline(always)]
pub fn pad<const N: usize>(words: [usize; N]) -> [usize; 6] {
    core::array::from_fn(|index| words.get(index).copied().unwrap_or(0))
}

/// `call!(SYS_dup3, fd, 10, 0)`: one system call, as `Result<usize>`.
#[macro_export]
macro_rules! call {
    ($number:ident $(, $arg:expr)* $(,)?) => {{
        // One expression, so that temporaries among the arguments live until the call is over.
        $crate::sys::Errno::from_raw($crate::sys::raw(
            libc::$number as usize,
            $crate::sys::pad([$($crate::sys::Arg::word($arg)),*]),
        ))
    }};
}
