//! Which processes of a session have its controlling terminal (tty_ioctl(4), `TIOCSCTTY`, `TIOCNOTTY`).
//!
//! The session's leader acquires the terminal, and from then on its children inherit it. A process can give it up for itself; when
//! the session loses it, all do. So a process notes which acquisition it takes part in, and the session which one is in force: nobody
//! has to be walked to.
#![forbid(unsafe_code)]

use super::group::ControllingTerminal;
use super::process::Process;
use super::tree::Tree;
use alloc::sync::Arc;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU64, Ordering};

/// One acquisition of a terminal by a session. No two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment(NonZeroU64);

impl Attachment {
    /// A new one.
    #[must_use]
    pub fn fresh() -> Attachment {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let before = LAST.fetch_add(1, Ordering::Relaxed);
        Attachment(NonZeroU64::MIN.saturating_add(before))
    }
}

/// Where a process notes its attachment.
pub(super) struct AttachmentCell(AtomicU64);

impl AttachmentCell {
    pub const fn new() -> AttachmentCell {
        AttachmentCell(AtomicU64::new(0))
    }
}

impl Process {
    /// The acquisition of a terminal that it takes part in, whether or not that is still in force.
    #[must_use]
    pub fn attachment(&self) -> Option<Attachment> {
        NonZeroU64::new(self.attachment.0.load(Ordering::Relaxed)).map(Attachment)
    }

    /// Notes which acquisition it takes part in.
    pub fn set_attachment(&self, _tree: &mut Tree, attachment: Option<Attachment>) {
        self.attachment.0.store(attachment.map_or(0, |attachment| attachment.0.get()), Ordering::Relaxed);
    }

    /// Its controlling terminal.
    #[must_use]
    pub fn terminal(&self) -> Option<Arc<dyn ControllingTerminal>> {
        self.session().terminal_by(self.attachment()?)
    }
}
