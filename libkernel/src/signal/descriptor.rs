//! Signals that are read from a file (signalfd(2)).
#![forbid(unsafe_code)]

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::number::SignalSet;
use crate::fs::FileObject;
use crate::io::IoSink;
use crate::poll::{PollEvents, PollTable};
use crate::process;
use crate::{Errno, Result};

/// Size of `struct signalfd_siginfo`.
const RECORD: usize = 128;

/// A file that gives the reader the reader's own pending signals of a set.
pub struct SignalFile {
    set: AtomicU64,
}

impl SignalFile {
    /// A file for these signals.
    pub fn new(set: SignalSet) -> Arc<Self> {
        let file = Self { set: AtomicU64::new(0) };
        file.change(set);
        Arc::new(file)
    }

    /// Changes the set.
    pub fn change(&self, set: SignalSet) {
        self.set.store(set.minus(SignalSet::UNBLOCKABLE).bits(), Ordering::Relaxed);
        if let Some(thread) = process::current() {
            thread.process().signals().arrived().wake_all();
        }
    }

    fn set(&self) -> SignalSet {
        SignalSet::from_bits(self.set.load(Ordering::Relaxed))
    }
}

impl FileObject for SignalFile {
    fn read(&self, sink: &mut dyn IoSink) -> Result<usize> {
        if sink.remaining() < RECORD {
            return Err(Errno::EINVAL);
        }
        let thread = process::current().ok_or(Errno::EAGAIN)?;
        let mut moved = 0;
        while sink.remaining() >= RECORD
            && let Some(info) = thread.signals().take(self.set())
        {
            if sink.put(&info.to_signalfd_bytes()) < RECORD {
                return if moved == 0 { Err(Errno::EFAULT) } else { Ok(moved) };
            }
            moved += RECORD;
        }
        if moved == 0 { Err(Errno::EAGAIN) } else { Ok(moved) }
    }

    fn knows_no_wait(&self) -> bool {
        true
    }

    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        let Some(thread) = process::current() else { return PollEvents::empty() };
        table.register(thread.process().signals().arrived());
        if thread.signals().has_pending(self.set()) { PollEvents::IN } else { PollEvents::empty() }
    }

    fn describe(&self) -> String {
        format!("sigmask:\t{:016x}\n", self.set().bits())
    }
}
