//! The table of system calls, by arm64's numbers (`include/uapi/asm-generic/unistd.h`).
//!
//! `blocks`: the handler may answer `Outcome::Block`, and has a `*_blocking` namesake.
#![forbid(unsafe_code)]

use libkernel::Result;

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

macro_rules! system_calls {
    ($($number:literal => $name:ident($($argument:ident: $type:ty),*) in $module:ident $(, $blocking:ident)?;)*) => {
        const fn handlers() -> [Option<Handler>; CALLS] {
            let mut table: [Option<Handler>; CALLS] = [None; CALLS];
            $({
                fn handler(cx: &mut Context) -> Outcome {
                    let mut arguments = Arguments { next: 0 };
                    let _ = &mut arguments;
                    $(let $argument: $type = arguments.take(cx);)*
                    super::$module::$name(cx $(, $argument)*).into()
                }
                table[$number] = Some(handler);
            })*
            table
        }

        /// The waiting part of a call whose handler answered [`Outcome::Block`].
        pub async fn wait(number: usize, cx: &mut Context) -> Result<usize> {
            match number {
                $($(
                    $number => {
                        let mut arguments = Arguments { next: 0 };
                        $(let $argument: $type = arguments.take(cx);)*
                        super::$module::$blocking(cx $(, $argument)*).await
                    }
                )?)*
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

system_calls! {}

/// The handlers by number.
pub static HANDLERS: [Option<Handler>; CALLS] = const { handlers() };
