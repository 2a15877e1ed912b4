//! The kernel's log: each line goes to the console at once, whole, with the time since boot, and into the buffer that `dmesg` reads.
//!
//! Usable in any context, interrupts and the scheduler included: it allocates nothing, takes only the interrupt-aware locks of buffer and
//! console, one after the other, and formats into a buffer on the stack before it takes them. Levels above the build's limit cost nothing.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use libkernel::log_buffer::LogBuffer;
use libkernel::sync::IrqSpinLock;
use log::{Level, LevelFilter, Log, Metadata, Record};

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

/// What was logged, whether the console shows it or not.
pub static BUFFER: IrqSpinLock<LogBuffer> = IrqSpinLock::new(LogBuffer::new());

/// The console shows what has a smaller priority than this.
static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(0);
/// The console shows nothing, whatever the level.
static CONSOLE_OFF: AtomicBool = AtomicBool::new(false);

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
        let priority = priority(record.level());
        BUFFER.lock().add(priority, line.bytes());
        if priority < CONSOLE_LEVEL.load(Ordering::Relaxed) && !CONSOLE_OFF.load(Ordering::Relaxed) {
            uart::write_polled(line.bytes());
        }
    }

    fn flush(&self) {}
}

/// A level as syslog(3) numbers it: the smaller, the worse.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Starts logging; the console shows what has a smaller priority than `level`.
pub fn init(level: u8) {
    let _ = log::set_logger(&ConsoleLog);
    set_console_level(level);
}

/// Changes what the console shows, and lets it show it. Debugging lines are made only while it would.
pub fn set_console_level(level: u8) {
    CONSOLE_LEVEL.store(level, Ordering::Relaxed);
    set_console_off(false);
    log::set_max_level(if level > priority(Level::Debug) { LevelFilter::Debug } else { LevelFilter::Info });
}

/// Switches the console's log off, or on again.
pub fn set_console_off(off: bool) {
    CONSOLE_OFF.store(off, Ordering::Relaxed);
}
