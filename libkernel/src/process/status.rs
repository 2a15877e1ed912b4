//! How a process ended, and how wait(2) encodes it.
#![forbid(unsafe_code)]

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// By exit(2), with this status.
    Exited(u8),
    /// By a signal.
    Killed {
        /// Its number.
        signal: u8,
        /// Would a core have been dumped?
        core: bool,
    },
}

impl ExitStatus {
    /// The status word of wait4(2).
    #[must_use]
    pub const fn to_wait_status(self) -> i32 {
        match self {
            ExitStatus::Exited(code) => (code as i32) << 8,
            ExitStatus::Killed { signal, core } => (signal & 0x7f) as i32 | if core { 0x80 } else { 0 },
        }
    }
}

/// The status word for a process stopped by `signal`.
#[must_use]
pub const fn stopped_wait_status(signal: u8) -> i32 {
    (signal as i32) << 8 | 0x7f
}

/// The status word for a process that was continued.
pub const CONTINUED_WAIT_STATUS: i32 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_wait_macros() {
        assert_eq!(ExitStatus::Exited(3).to_wait_status(), 0x300);
        assert_eq!(ExitStatus::Killed { signal: 9, core: false }.to_wait_status(), 9);
        assert_eq!(ExitStatus::Killed { signal: 11, core: true }.to_wait_status(), 0x8b);
        assert_eq!(stopped_wait_status(19), 0x137f);
    }
}
