//! The table of system calls, by arm64's numbers (`include/uapi/asm-generic/unistd.h`).
//!
//! `blocks`: the handler may answer `Outcome::Block`, and has a `*_blocking` namesake.
#![forbid(unsafe_code)]

use libkernel::Result;
use libkernel::fs::Fd;
use libkernel::memory::UserPtr;

use super::{Argument, Context, Outcome};

/// Calls have numbers below this.
pub const CALLS: usize = 512;

type Handler = fn(&mut Context) -> Outcome;

/// The registers of the arguments, in order.
struct Arguments {
    next: usize,
}

impl Arguments {
    #[inline(always)]
    fn take<T: Argument>(&mut self, cx: &Context) -> T {
        let argument = T::from_register(cx.registers.x.get(self.next).copied().unwrap_or(0));
        self.next += 1;
        argument
    }
}

/// Calls a handler with its arguments decoded.
macro_rules! call {
    ($cx:ident, $handler:path, ($($argument:ident: $type:ty),*)) => {{
        let mut arguments = Arguments { next: 0 };
        let _ = &mut arguments;
        $(let $argument: $type = arguments.take($cx);)*
        $handler($cx $(, $argument)*)
    }};
}

macro_rules! system_calls {
    ($($number:literal => $name:ident $arguments:tt in $module:ident $(, $blocking:ident)?;)*) => {
        const fn handlers() -> [Option<Handler>; CALLS] {
            let mut table: [Option<Handler>; CALLS] = [None; CALLS];
            $({
                fn handler(cx: &mut Context) -> Outcome {
                    call!(cx, super::$module::$name, $arguments).into()
                }
                table[$number] = Some(handler);
            })*
            table
        }

        /// The waiting part of a call whose handler answered [`Outcome::Block`].
        pub async fn wait(number: usize, cx: &mut Context) -> Result<usize> {
            match number {
                $($($number => call!(cx, super::$module::$blocking, $arguments).await,)?)*
                _ => Err(libkernel::Errno::ENOSYS),
            }
        }

        /// A call's name, for logs.
        pub fn name(number: usize) -> Option<&'static str> {
            match number {
                $($number => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

system_calls! {
    214 => brk(address: u64) in memory;
    215 => munmap(address: u64, length: u64) in memory;
    216 => mremap(old: u64, old_length: u64, new_length: u64, flags: u32, new: u64) in memory;
    222 => mmap(address: u64, length: u64, prot: u32, flags: u32, fd: Fd, offset: u64) in memory;
    226 => mprotect(address: u64, length: u64, prot: u32) in memory;
    227 => msync(address: u64, length: u64, flags: u32) in memory;
    228 => mlock(address: u64, length: u64) in memory;
    229 => munlock(address: u64, length: u64) in memory;
    230 => mlockall(flags: u32) in memory;
    231 => munlockall() in memory;
    232 => mincore(address: u64, length: u64, vector: UserPtr<u8>) in memory;
    233 => madvise(address: u64, length: u64, advice: u32) in memory;
    284 => mlock2(address: u64, length: u64, flags: u32) in memory;
}

/// The handlers by number.
pub static HANDLERS: [Option<Handler>; CALLS] = const { handlers() };
