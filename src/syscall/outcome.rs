//! What a system call's fast path says.
#![forbid(unsafe_code)]

use libkernel::Result;

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
