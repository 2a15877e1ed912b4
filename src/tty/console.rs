//! The system console: a terminal on the PL011.
//!
//! The serial line's interrupt only keeps the bytes that came, and queues a work item of high priority: what the line discipline makes of them
//! (echo, lines, signals to a whole process group) is long, and does not have to hold up the other interrupts of the core. The worker comes before
//! programs, so Ctrl-C reaches one that never makes a system call. That output drained is told in the interrupt.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::Result;
use libkernel::sync::{IrqSpinLock, SetOnce};
use libkernel::tty::termios::{Termios, WindowSize};
use libkernel::tty::{Port, Terminal, devices};
use libkernel::work::{Class, Work};

use crate::drivers::uart;
use crate::work;

/// What a terminal emulator on a serial line shows unless the user says otherwise (`stty rows 40`, `resize`).
const WINDOW: WindowSize = WindowSize { rows: 24, columns: 80, x_pixels: 0, y_pixels: 0 };

/// Bytes that the worker has yet to take; what comes beyond is lost, as in a receiver that overruns.
const TYPED: usize = 4096;

static CONSOLE: SetOnce<Arc<Terminal>> = SetOnce::new();
static INPUT: IrqSpinLock<Input> = IrqSpinLock::new(Input { bytes: [0; TYPED], length: 0 });
static TAKE_INPUT: SetOnce<Work> = SetOnce::new();

/// What was typed and not yet taken.
struct Input {
    bytes: [u8; TYPED],
    length: usize,
}

impl Input {
    fn put(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.length += count;
    }

    /// Moves as much as fits into `bytes`, and says how much that is.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let count = self.length.min(bytes.len());
        bytes.iter_mut().zip(&self.bytes).take(count).for_each(|(to, from)| *to = *from);
        self.bytes.copy_within(count..self.length, 0);
        self.length -= count;
        count
    }
}

/// Bytes arrived: in the serial line's interrupt.
fn typed(bytes: &[u8]) {
    INPUT.lock().put(bytes);
    if let Some(work) = TAKE_INPUT.get() {
        // Refused only if it is queued, and will see the bytes; nobody cancels it or destroys its queue.
        let _ = work.queue();
    }
}

/// Gives the terminal what has arrived.
async fn take_input() {
    let Some(console) = CONSOLE.get() else { return };
    let mut bytes = [0; 64];
    loop {
        let count = INPUT.lock().take(&mut bytes);
        match bytes.get(..count) {
            Some(typed) if count > 0 => console.receive(typed),
            _ => return,
        }
    }
}

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
        // Items that are queued before the boot has started the workers wait for them.
        let _ = TAKE_INPUT.set(work::queue("console", Class::High).work(take_input));
        uart::set_receiver(typed);
        uart::set_drained(|| {
            if let Some(console) = CONSOLE.get() {
                console.output_drained();
            }
        });
    }
    Ok(())
}
