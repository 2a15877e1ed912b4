//! Output processing (`OPOST` and its flags), and the column the cursor stands in.
//!
//! A pure byte-to-bytes translation; the terminal calls it under its lock for program output and
//! for echo alike.
#![forbid(unsafe_code)]

use linux_raw_sys::general as abi;

use super::termios::Termios;

/// What one byte of output becomes: at most eight bytes, for a tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expansion {
    bytes: [u8; 8],
    len: u8,
}

impl Expansion {
    const NOTHING: Self = Self { bytes: [b' '; 8], len: 0 };

    fn one(byte: u8) -> Self {
        let mut bytes = [b' '; 8];
        bytes[0] = byte;
        Self { bytes, len: 1 }
    }

    /// The bytes to send.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// Where the cursor stands, as far as output tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Column, counted from zero.
    pub column: u32,
    /// Column in which the line being edited began.
    pub line_column: u32,
}

impl Cursor {
    /// Translates one byte of output and moves the cursor.
    pub fn process(&mut self, termios: &Termios, byte: u8) -> Expansion {
        if !termios.output_has(abi::OPOST) {
            return Expansion::one(byte);
        }
        match byte {
            b'\n' => {
                if termios.output_has(abi::ONLRET) {
                    self.column = 0;
                }
                if termios.output_has(abi::ONLCR) {
                    self.column = 0;
                    self.line_column = 0;
                    return Expansion { bytes: *b"\r\n      ", len: 2 };
                }
                self.line_column = self.column;
                Expansion::one(byte)
            }
            b'\r' => {
                if termios.output_has(abi::ONOCR) && self.column == 0 {
                    return Expansion::NOTHING;
                }
                if termios.output_has(abi::OCRNL) {
                    if termios.output_has(abi::ONLRET) {
                        self.column = 0;
                        self.line_column = 0;
                    }
                    return Expansion::one(b'\n');
                }
                self.column = 0;
                self.line_column = 0;
                Expansion::one(byte)
            }
            b'\t' => {
                let spaces = 8 - (self.column & 7);
                self.column = self.column.wrapping_add(spaces);
                if termios.output & abi::TABDLY == abi::XTABS {
                    Expansion { bytes: [b' '; 8], len: spaces as u8 }
                } else {
                    Expansion::one(byte)
                }
            }
            0x08 => {
                self.column = self.column.saturating_sub(1);
                Expansion::one(byte)
            }
            _ if byte.is_ascii_control() => Expansion::one(byte),
            _ => {
                let byte = if termios.output_has(abi::OLCUC) { byte.to_ascii_uppercase() } else { byte };
                if !is_continuation(termios, byte) {
                    self.column = self.column.wrapping_add(1);
                }
                Expansion::one(byte)
            }
        }
    }
}

/// Whether `byte` continues a UTF-8 character (`IUTF8`), so that it takes no column of its own.
pub fn is_continuation(termios: &Termios, byte: u8) -> bool {
    termios.input_has(abi::IUTF8) && byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn print(output: u32, text: &[u8]) -> (Vec<u8>, u32) {
        let mut termios = Termios::new();
        termios.output = output;
        let mut cursor = Cursor::default();
        let mut printed = Vec::new();
        for &byte in text {
            printed.extend_from_slice(cursor.process(&termios, byte).as_slice());
        }
        (printed, cursor.column)
    }

    #[test]
    fn output_is_translated_as_the_flags_say() {
        let opost = abi::OPOST;
        let table: [(u32, &[u8], &[u8], u32); 9] = [
            (0, b"a\n\tb", b"a\n\tb", 0),
            (opost, b"a\nb", b"a\nb", 2),
            (opost | abi::ONLRET, b"a\nb", b"a\nb", 1),
            (opost | abi::ONLCR, b"a\nb", b"a\r\nb", 1),
            (opost | abi::OCRNL, b"a\rb", b"a\nb", 2),
            (opost | abi::ONOCR, b"\ra\r", b"a\r", 0),
            (opost | abi::XTABS, b"ab\tc", b"ab      c", 9),
            (opost, b"ab\tc", b"ab\tc", 9),
            (opost | abi::OLCUC, b"ab\x08", b"AB\x08", 1),
        ];
        for (flags, text, expected, column) in table {
            assert_eq!(print(flags, text), (expected.to_vec(), column), "{flags:#o} {text:?}");
        }
    }
}
