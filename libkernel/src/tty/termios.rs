//! Terminal settings: the flags and special characters of `termios(3)`, and their layout for the
//! `TCGETS`/`TCGETS2` families of requests.
//!
//! Plain data. Speeds are kept in baud; a console under an emulator has no real one.
#![forbid(unsafe_code)]

use linux_raw_sys::general as abi;

/// Number of special characters the kernel ABI carries (`NCCS`).
pub const SPECIAL_CHARACTERS: usize = abi::NCCS as usize;

/// A special character set to this value is switched off (`_POSIX_VDISABLE`).
pub const DISABLED: u8 = 0;

/// Terminal settings, as `ioctl_tty(2)` shows them in `struct termios2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    /// Input modes, `c_iflag`.
    pub input: u32,
    /// Output modes, `c_oflag`.
    pub output: u32,
    /// Control modes, `c_cflag`.
    pub control: u32,
    /// Local modes, `c_lflag`.
    pub local: u32,
    /// Line discipline number, always `N_TTY` (0) here.
    pub discipline: u8,
    /// Special characters, indexed by `VINTR` and its kin.
    pub characters: [u8; SPECIAL_CHARACTERS],
    /// Input speed in baud.
    pub input_speed: u32,
    /// Output speed in baud.
    pub output_speed: u32,
}

/// Size of `struct termios` in bytes.
pub const TERMIOS_SIZE: usize = 36;
/// Size of `struct termios2` in bytes.
pub const TERMIOS2_SIZE: usize = 44;

impl Termios {
    /// The settings of a terminal that was just opened for the first time.
    #[expect(clippy::indexing_slicing, reason = "constant indices below the array's length")]
    pub const fn new() -> Self {
        let mut characters = [DISABLED; SPECIAL_CHARACTERS];
        characters[abi::VINTR as usize] = 0x03;
        characters[abi::VQUIT as usize] = 0x1c;
        characters[abi::VERASE as usize] = 0x7f;
        characters[abi::VKILL as usize] = 0x15;
        characters[abi::VEOF as usize] = 0x04;
        characters[abi::VMIN as usize] = 1;
        characters[abi::VSTART as usize] = 0x11;
        characters[abi::VSTOP as usize] = 0x13;
        characters[abi::VSUSP as usize] = 0x1a;
        characters[abi::VREPRINT as usize] = 0x12;
        characters[abi::VDISCARD as usize] = 0x0f;
        characters[abi::VWERASE as usize] = 0x17;
        characters[abi::VLNEXT as usize] = 0x16;
        Self {
            input: abi::ICRNL | abi::IXON,
            output: abi::OPOST | abi::ONLCR,
            control: abi::B38400 | abi::CS8 | abi::CREAD | abi::HUPCL,
            local: abi::ISIG
                | abi::ICANON
                | abi::ECHO
                | abi::ECHOE
                | abi::ECHOK
                | abi::ECHOCTL
                | abi::ECHOKE
                | abi::IEXTEN,
            discipline: 0,
            characters,
            input_speed: 38400,
            output_speed: 38400,
        }
    }

    /// The settings of a fresh pseudo-terminal master: nothing is changed on the way.
    pub const fn raw() -> Self {
        let mut termios = Self::new();
        termios.input = 0;
        termios.output = 0;
        termios.local = 0;
        termios
    }

    /// Whether one of the given `c_iflag` bits is set.
    pub const fn input_has(&self, flag: u32) -> bool {
        self.input & flag != 0
    }

    /// Whether one of the given `c_oflag` bits is set.
    pub const fn output_has(&self, flag: u32) -> bool {
        self.output & flag != 0
    }

    /// Whether one of the given `c_lflag` bits is set.
    pub const fn local_has(&self, flag: u32) -> bool {
        self.local & flag != 0
    }

    /// Whether input is gathered into lines (`ICANON`).
    pub const fn canonical(&self) -> bool {
        self.local_has(abi::ICANON)
    }

    /// The special character number `which`, or `DISABLED`.
    pub fn character(&self, which: u32) -> u8 {
        self.characters.get(which as usize).copied().unwrap_or(DISABLED)
    }

    /// Whether `byte` is the special character `which`, and that one is not switched off.
    pub fn is(&self, which: u32, byte: u8) -> bool {
        byte != DISABLED && self.character(which) == byte
    }

    /// Bytes a non-canonical read waits for (`VMIN`).
    pub fn minimum(&self) -> usize {
        usize::from(self.character(abi::VMIN))
    }

    /// The non-canonical read timeout (`VTIME`) in nanoseconds; zero when there is none.
    pub fn timeout_ns(&self) -> u64 {
        u64::from(self.character(abi::VTIME)) * 100_000_000
    }

    /// Encodes `struct termios2`; its first `TERMIOS_SIZE` bytes are `struct termios`.
    pub fn to_bytes(&self) -> [u8; TERMIOS2_SIZE] {
        let mut bytes = [0; TERMIOS2_SIZE];
        let words = [self.input, self.output, self.control, self.local];
        let (head, rest) = bytes.split_at_mut(16);
        for (slot, word) in head.chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        let (head, speeds) = rest.split_at_mut(20);
        for (slot, byte) in head.iter_mut().zip(core::iter::once(self.discipline).chain(self.characters)) {
            *slot = byte;
        }
        for (slot, word) in speeds.chunks_exact_mut(4).zip([self.input_speed, self.output_speed]) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Decodes `struct termios` or `struct termios2`, told apart by the length of `bytes`; speeds
    /// that only `termios2` carries are derived from `c_cflag` for the old form. Missing bytes
    /// leave the field of `self` unchanged.
    pub fn updated_from(&self, bytes: &[u8]) -> Self {
        let mut new = *self;
        let word = |at: usize| bytes.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(u32::from_ne_bytes);
        new.input = word(0).unwrap_or(new.input);
        new.output = word(4).unwrap_or(new.output);
        new.control = word(8).unwrap_or(new.control);
        new.local = word(12).unwrap_or(new.local);
        new.discipline = self.discipline;
        for (slot, &byte) in new.characters.iter_mut().zip(bytes.get(17..36).unwrap_or(&[])) {
            *slot = byte;
        }
        match baud(new.control) {
            Some(speed) => {
                new.output_speed = speed;
                new.input_speed = speed;
            }
            None => {
                new.input_speed = word(36).unwrap_or(new.input_speed);
                new.output_speed = word(40).unwrap_or(new.output_speed);
            }
        }
        new
    }
}

impl Default for Termios {
    fn default() -> Self {
        Self::new()
    }
}

/// The speed in baud that the `CBAUD` bits of `c_cflag` name; `None` for `BOTHER`, where the speed
/// stands in a field of its own.
fn baud(control: u32) -> Option<u32> {
    const LOW: [u32; 16] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
    const HIGH: [u32; 15] = [
        57600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000,
        2_500_000, 3_000_000, 3_500_000, 4_000_000,
    ];
    let code = (control & abi::CBAUD & !abi::CBAUDEX) as usize;
    if control & abi::CBAUDEX == 0 {
        LOW.get(code).copied()
    } else {
        code.checked_sub(1).and_then(|i| HIGH.get(i).copied())
    }
}

/// Size of a terminal's window, `struct winsize`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Height in characters.
    pub rows: u16,
    /// Width in characters.
    pub columns: u16,
    /// Width in pixels; unused.
    pub x_pixels: u16,
    /// Height in pixels; unused.
    pub y_pixels: u16,
}

impl WindowSize {
    /// Encodes `struct winsize`.
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        let fields = [self.rows, self.columns, self.x_pixels, self.y_pixels];
        for (slot, field) in bytes.chunks_exact_mut(2).zip(fields) {
            slot.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    /// Decodes `struct winsize`.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self {
            rows: u16::from_ne_bytes([a, b]),
            columns: u16::from_ne_bytes([c, d]),
            x_pixels: u16::from_ne_bytes([e, f]),
            y_pixels: u16::from_ne_bytes([g, h]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_trip_through_user_memory() {
        let mut termios = Termios::new();
        termios.characters[abi::VEOL as usize] = 0x1b;
        termios.control = abi::CS8 | abi::BOTHER;
        termios.input_speed = 31250;
        termios.output_speed = 31251;
        assert_eq!(Termios::raw().updated_from(&termios.to_bytes()), termios);
    }

    #[test]
    fn the_short_form_derives_speeds_from_the_flags() {
        let mut termios = Termios::new();
        termios.control = abi::CS8 | abi::B115200;
        let bytes = termios.to_bytes();
        let decoded = Termios::new().updated_from(&bytes[..TERMIOS_SIZE]);
        assert_eq!(decoded.output_speed, 115_200);
    }
}
