//! On whose behalf a file operation is done.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::context::FsContext;
use super::fd_table::FdTable;
use crate::process::credentials::Credentials;
use crate::process::id::Pid;

/// The thread for which a file operation is done, as far as files are concerned. It is made anew for each call from
/// references, and costs nothing.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Root directory, working directory, umask.
    pub context: &'a FsContext,
    /// Who it is.
    pub credentials: &'a Credentials,
    /// Who it is, for what it opens to remember; `None` for the kernel.
    pub opener: Option<&'a Arc<Credentials>>,
    /// Its open files, for `/dev/fd` and its like.
    pub files: Option<&'a Arc<FdTable>>,
    /// Its process; `None` for the kernel itself.
    pub process: Option<Pid>,
    /// Itself; `None` for the kernel.
    pub thread: Option<Pid>,
}

impl<'a> Caller<'a> {
    /// The kernel, acting with `credentials` in `context`.
    #[must_use]
    pub fn kernel(context: &'a FsContext, credentials: &'a Credentials) -> Self {
        Self { context, credentials, opener: None, files: None, process: None, thread: None }
    }
}
