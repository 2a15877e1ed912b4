//! A program file that is being run: nobody may write to it meanwhile (execve(2), `ETXTBSY`).
#![forbid(unsafe_code)]

use crate::Result;
use crate::fs::{Inode, Path};
use alloc::sync::Arc;

/// While it lives, the file cannot be opened for writing. The threads that run the program hold it, up to their ends.
pub struct Running(Arc<dyn Inode>);

impl Running {
    /// # Errors
    /// `ETXTBSY` while the file is open for writing.
    pub(super) fn new(path: &Path) -> Result<Arc<Running>> {
        path.inode().attributes().write_count().begin_running()?;
        Ok(Arc::new(Running(path.inode().clone())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.attributes().write_count().end_running();
    }
}
