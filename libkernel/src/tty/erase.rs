//! Erasing in canonical mode: `VERASE`, `VWERASE` and `VKILL`, and how each looks on the screen.
//!
//! A part of the line discipline, under the same rules.
#![forbid(unsafe_code)]

use linux_raw_sys::general as abi;

use super::line::{Effects, LineDiscipline};
use super::output::is_continuation;
use super::termios::Termios;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Character,
    Word,
    Line,
}

impl LineDiscipline {
    /// Erases what the key `byte` stands for from the line being edited.
    pub(super) fn erase(&mut self, termios: &Termios, byte: u8, fx: &mut dyn Effects) {
        if self.input.editing_len() == 0 {
            return;
        }
        let echo = termios.local_has(abi::ECHO);
        let extent = if termios.is(abi::VERASE, byte) {
            Extent::Character
        } else if termios.is(abi::VKILL, byte) {
            Extent::Line
        } else {
            Extent::Word
        };
        if extent == Extent::Line {
            let visual = abi::ECHOK | abi::ECHOKE | abi::ECHOE;
            if !echo || termios.local & visual != visual {
                self.input.truncate_editing(0);
                if echo {
                    self.finish_erasing(termios, fx);
                    self.echo(termios, byte, fx);
                    if termios.local_has(abi::ECHOK) {
                        self.echo_raw(termios, b'\n', fx);
                    }
                }
                return;
            }
        }
        self.erase_visibly(termios, extent, byte, fx);
        if self.input.editing_len() == 0 && echo {
            self.finish_erasing(termios, fx);
        }
    }

    fn erase_visibly(&mut self, termios: &Termios, extent: Extent, key: u8, fx: &mut dyn Effects) {
        let mut seen_word = false;
        while let Some((start, first)) = self.last_character(termios) {
            if extent == Extent::Word {
                if first.is_ascii_alphanumeric() || first == b'_' {
                    seen_word = true;
                } else if seen_word {
                    break;
                }
            }
            if termios.local_has(abi::ECHO) && termios.local_has(abi::ECHOPRT) {
                self.show_rubout(termios, start, fx);
            }
            self.input.truncate_editing(start);
            if termios.local_has(abi::ECHO) && !termios.local_has(abi::ECHOPRT) {
                if extent == Extent::Character && !termios.local_has(abi::ECHOE) {
                    self.echo(termios, key, fx);
                } else if first == b'\t' {
                    self.unprint_tab(termios, fx);
                } else {
                    self.unprint(termios, first, fx);
                }
            }
            if extent == Extent::Character {
                break;
            }
        }
    }

    /// Where the last character of the line starts, and its first byte. `None` for an empty line
    /// and for one that begins in the middle of a character.
    fn last_character(&self, termios: &Termios) -> Option<(usize, u8)> {
        let mut start = self.input.editing_len();
        loop {
            start = start.checked_sub(1)?;
            let byte = self.input.editing(start)?;
            if !is_continuation(termios, byte) {
                return Some((start, byte));
            }
        }
    }

    /// `ECHOPRT`: shows the erased character between `\` and `/`.
    fn show_rubout(&mut self, termios: &Termios, start: usize, fx: &mut dyn Effects) {
        if !self.erasing {
            self.echo_raw(termios, b'\\', fx);
            self.erasing = true;
        }
        for index in start..self.input.editing_len() {
            if let Some(byte) = self.input.editing(index) {
                if index == start {
                    self.echo(termios, byte, fx);
                } else {
                    fx.output(&[byte]);
                }
            }
        }
    }

    /// Wipes a character other than a tab from the screen.
    fn unprint(&mut self, termios: &Termios, byte: u8, fx: &mut dyn Effects) {
        let control = byte.is_ascii_control();
        let shown_control = termios.local_has(abi::ECHOCTL);
        let cells = match (control, shown_control) {
            (true, true) => 2,
            (true, false) => 0,
            (false, _) => 1,
        };
        for _ in 0..cells {
            for byte in *b"\x08 \x08" {
                self.echo_raw(termios, byte, fx);
            }
        }
    }

    /// Moves the cursor back over a tab that was just cut from the line.
    fn unprint_tab(&mut self, termios: &Termios, fx: &mut dyn Effects) {
        let mut cells: u32 = 0;
        let mut after_tab = false;
        for index in (0..self.input.editing_len()).rev() {
            match self.input.editing(index) {
                Some(b'\t') => {
                    after_tab = true;
                    break;
                }
                Some(byte) if byte.is_ascii_control() && termios.local_has(abi::ECHOCTL) => cells += 2,
                Some(byte) if byte.is_ascii_control() => {}
                Some(byte) if !is_continuation(termios, byte) => cells += 1,
                _ => {}
            }
        }
        if !after_tab {
            cells = cells.wrapping_add(self.cursor.line_column);
        }
        for _ in 0..8 - (cells & 7) {
            fx.output(&[0x08]);
            self.cursor.column = self.cursor.column.saturating_sub(1);
        }
    }
}
