//! The kernel's log: each line goes to the console at once, whole, with the time since boot.
//!
//! Usable in any context, interrupts and the scheduler included: it allocates nothing, takes only the console's interrupt-aware lock, and
//! formats into a buffer on the stack before it takes it. Levels above the build's limit cost nothing.

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::drivers::{timer, uart};

/// The longest line; the rest is cut off.
const LINE: usize = 240;

/// A line under construction.
pub struct Line {
    bytes: [u8; LINE],
    length: usize,
}

impl Line {
    /// An empty line.
    pub const fn new() -> Self {
        Self { bytes: [0; LINE], length: 0 }
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Ends the line, whatever its length.
    pub fn end(&mut self) {
        let last = self.length.min(LINE - 1);
        if let Some(slot) = self.bytes.get_mut(last) {
            *slot = b'\n';
        }
        self.length = last + 1;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (slot, byte) in self.bytes.iter_mut().skip(self.length).zip(text.bytes()) {
            *slot = byte;
            self.length += 1;
        }
        Ok(())
    }
}

struct ConsoleLog;

impl Log for ConsoleLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = timer::monotonic_ns() / 1000;
        let mut line = Line::new();
        let _ = write!(line, "[{:5}.{:06}] {}", now / 1_000_000, now % 1_000_000, record.args());
        line.end();
        uart::write_polled(line.bytes());
    }

    fn flush(&self) {}
}

/// Starts logging.
pub fn init(level: LevelFilter) {
    let _ = log::set_logger(&ConsoleLog);
    log::set_max_level(level);
}
