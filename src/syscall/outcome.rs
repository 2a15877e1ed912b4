//! What a system call's fast path says.
#![forbid(unsafe_code)]

use libkernel::{Errno, Result};

/// The answer of a system call's synchronous part.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// The call is over.
    Done(Result<usize>),
    /// The call has to wait: its `*_blocking` part takes over, from the start.
    Block,
}

/// What a handler has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Served {
    /// The result is in the registers.
    Done,
    /// A signal came first: it decides whether the call is made again.
    Interrupted,
    /// The waiting part has to be awaited.
    Waits,
}

impl From<Result<usize>> for Outcome {
    #[inline]
    fn from(result: Result<usize>) -> Self {
        Self::Done(result)
    }
}

/// What a call returns that was stopped by `error`: one that moved something succeeds.
pub fn partial(done: usize, error: Errno) -> Result<usize> {
    if done > 0 { Ok(done) } else { Err(error) }
}

/// Declares both halves of calls that may wait. The block makes a request from the arguments, or an error; the request's `start` is the
/// synchronous part, its async `finish` the waiting one.
macro_rules! calls_that_wait {
    ($($(#[$doc:meta])* $name:ident / $blocking:ident($cx:ident $(, $argument:ident: $type:ty)* $(,)?) $request:block)*) => {
        $(
            $(#[$doc])*
            pub fn $name($cx: &mut $crate::syscall::Context $(, $argument: $type)*) -> $crate::syscall::Outcome {
                let request: libkernel::Result<_> = $request;
                match request {
                    Ok(request) => request.start($cx),
                    Err(error) => $crate::syscall::Outcome::Done(Err(error)),
                }
            }

            $(#[$doc])*
            pub async fn $blocking($cx: &mut $crate::syscall::Context $(, $argument: $type)*) -> libkernel::Result<usize> {
                let request: libkernel::Result<_> = $request;
                request?.finish($cx).await
            }
        )*
    };
}

pub(super) use calls_that_wait;
