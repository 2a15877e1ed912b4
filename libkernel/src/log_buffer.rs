//! The lines that the kernel has logged, for `dmesg`: a ring of bytes, in which new lines take the place of the oldest.
//!
//! It owns its memory and never grows, so a line can be added in any context. Whoever shares it puts it behind an interrupt-aware lock.
#![forbid(unsafe_code)]

/// How many bytes of lines are kept.
pub const CAPACITY: usize = 64 * 1024;

/// The last lines.
///
/// # Invariants
/// Positions count the bytes ever added: `oldest <= end`, `end - oldest <= CAPACITY`, `cleared <= end`; a line begins at `oldest`, at
/// `cleared` if that is not before it, and at `end`.
pub struct LogBuffer {
    bytes: [u8; CAPACITY],
    oldest: usize,
    cleared: usize,
    end: usize,
}

impl LogBuffer {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self { bytes: [0; CAPACITY], oldest: 0, cleared: 0, end: 0 }
    }

    /// Adds a line, which ends with its only line break, behind `<priority>` (`LOG_ERR` to `LOG_DEBUG` of syslog(3)).
    pub fn add(&mut self, priority: u8, line: &[u8]) {
        let prefix = [b'<', b'0' + priority.min(7), b'>'];
        let length = prefix.len() + line.len();
        if length > CAPACITY {
            return;
        }
        while self.end + length - self.oldest > CAPACITY {
            self.oldest = self.next_line(self.oldest);
        }
        for byte in prefix.iter().chain(line) {
            if let Some(slot) = self.bytes.get_mut(self.end % CAPACITY) {
                *slot = *byte;
            }
            self.end += 1;
        }
    }

    /// Copies those of the last lines since [`Self::clear`] that fit, in order; returns how many bytes they have.
    pub fn read(&self, into: &mut [u8]) -> usize {
        let mut from = self.oldest.max(self.cleared);
        while self.end - from > into.len() {
            from = self.next_line(from);
        }
        for (slot, at) in into.iter_mut().zip(from..self.end) {
            *slot = self.byte(at);
        }
        self.end - from
    }

    /// What was logged so far is not read any more.
    pub fn clear(&mut self) {
        self.cleared = self.end;
    }

    /// Where the line behind the one at `from` begins.
    fn next_line(&self, from: usize) -> usize {
        (from..self.end).find(|at| self.byte(*at) == b'\n').map_or(self.end, |at| at + 1)
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at % CAPACITY).copied().unwrap_or(0)
    }
}

impl Default for LogBuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(buffer: &LogBuffer, room: usize) -> String {
        let mut bytes = vec![0; room];
        let length = buffer.read(&mut bytes);
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn lines_are_read_in_order_with_their_priorities() {
        let mut buffer = LogBuffer::new();
        buffer.add(6, b"one\n");
        buffer.add(3, b"two\n");
        assert_eq!(text(&buffer, 100), "<6>one\n<3>two\n");
        assert_eq!(text(&buffer, 100), "<6>one\n<3>two\n", "reading takes nothing away");
    }

    #[test]
    fn the_last_whole_lines_that_fit_are_read() {
        let mut buffer = LogBuffer::new();
        buffer.add(6, b"one\n");
        buffer.add(6, b"two\n");
        assert_eq!(text(&buffer, 14), "<6>one\n<6>two\n");
        assert_eq!(text(&buffer, 13), "<6>two\n");
        assert_eq!(text(&buffer, 6), "");
    }

    #[test]
    fn what_was_cleared_is_not_read_again() {
        let mut buffer = LogBuffer::new();
        buffer.add(6, b"one\n");
        buffer.clear();
        assert_eq!(text(&buffer, 100), "");
        buffer.add(4, b"two\n");
        assert_eq!(text(&buffer, 100), "<4>two\n");
    }

    #[test]
    fn new_lines_take_the_place_of_the_oldest_whole_ones() {
        let mut buffer = LogBuffer::new();
        for number in 0..20_000 {
            buffer.add(6, format!("line {number}\n").as_bytes());
        }
        let all = text(&buffer, CAPACITY);
        let lines: Vec<_> = all.lines().collect();
        assert!(all.len() > CAPACITY - 20, "{} bytes are kept", all.len());
        assert_eq!(lines.last(), Some(&"<6>line 19999"));
        let first = 20_000 - lines.len();
        assert!(lines.iter().enumerate().all(|(at, line)| *line == format!("<6>line {}", first + at)));
        buffer.clear();
        assert_eq!(text(&buffer, CAPACITY), "");
    }
}
