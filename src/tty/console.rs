//! The system console: a terminal on the PL011.
//!
//! Bytes come in and the output ring drains in the serial line's interrupt; both go straight to the terminal, which is made for
//! that, so that Ctrl-C reaches a program that never makes a system call.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::Result;
use libkernel::sync::SetOnce;
use libkernel::tty::termios::{Termios, WindowSize};
use libkernel::tty::{Port, Terminal, devices};

use crate::drivers::uart;

/// What a terminal emulator on a serial line shows unless the user says otherwise (`stty rows 40`, `resize`).
const WINDOW: WindowSize = WindowSize { rows: 24, columns: 80, x_pixels: 0, y_pixels: 0 };

static CONSOLE: SetOnce<Arc<Terminal>> = SetOnce::new();

struct SerialLine;

impl Port for SerialLine {
    fn transmit(&self, bytes: &[u8]) -> usize {
        uart::transmit(bytes)
    }

    fn room(&self) -> usize {
        uart::room()
    }

    fn queued(&self) -> usize {
        uart::queued()
    }

    fn discard(&self) {
        uart::discard();
    }
}

/// Makes the console and registers the terminal devices. Once, before the first program starts.
///
/// # Errors
/// `ENOMEM`.
pub fn init() -> Result<()> {
    let terminal = Terminal::new(devices::SERIAL.encode() as u32, Arc::new(SerialLine), Termios::new(), WINDOW)?;
    devices::register(&terminal);
    if CONSOLE.set(terminal).is_ok() {
        uart::set_receiver(|bytes| {
            if let Some(console) = CONSOLE.get() {
                console.receive(bytes);
            }
        });
        uart::set_drained(|| {
            if let Some(console) = CONSOLE.get() {
                console.output_drained();
            }
        });
    }
    Ok(())
}
