//! The PL011 console: a ring of bytes to send, drained by interrupts, and a receiver that interrupts call.
//!
//! One interrupt-aware lock owns the registers and the ring; whole calls are serialised by it, so that lines do not interleave.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

use arm_pl011_uart::{DataBits, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart, UniqueMmioPointer};
use libkernel::sync::IrqSpinLock;
use libkernel::tty::ring::ByteRing;
use libkernel::{Errno, Result};

use super::device_tree::Platform;
use super::{interrupts, mmio};
use crate::arch::registers;

/// Bytes that may wait to be sent.
const RING: usize = 8192;
/// The reference clock of QEMU's `virt` board, in Hz.
const CLOCK: u32 = 24_000_000;
const BAUD_RATE: u32 = 115_200;

struct Console {
    uart: Uart<'static>,
    ring: ByteRing,
    /// Somebody may have seen bytes wait, and has not been told since that they are gone.
    awaited: bool,
}

static CONSOLE: IrqSpinLock<Option<Console>> = IrqSpinLock::new(None);
static RECEIVER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static DRAINED: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Starts the console for polled output.
///
/// # Errors
/// `ENODEV` if the device tree names no PL011; else why it cannot be mapped or set up.
pub fn init(platform: &Platform) -> Result<()> {
    let device = platform.uart.ok_or(Errno::ENODEV)?;
    let registers = NonNull::new(mmio::map(device.registers)?.cast::<PL011Registers>()).ok_or(Errno::ENODEV)?;
    // SAFETY: the frame was just mapped, and nobody else knows it.
    let mut uart = Uart::new(unsafe { UniqueMmioPointer::new(registers) });
    let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
    uart.enable(line, BAUD_RATE, CLOCK).map_err(|_| Errno::EIO)?;
    uart.set_interrupt_masks(Interrupts::empty());
    *CONSOLE.lock() = Some(Console { uart, ring: ByteRing::new(RING)?, awaited: false });
    Ok(())
}

/// From now on interrupts, on core 0, receive and send.
pub fn enable_interrupts(platform: &Platform) {
    let Some(interrupt) = platform.uart.and_then(|device| device.interrupt) else { return };
    interrupts::register_shared(interrupt, "uart", serve, 0);
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.uart.set_interrupt_masks(Interrupts::RXI | Interrupts::RTI);
    }
}

/// Sets what is called, in interrupt context, with bytes that arrived.
pub fn set_receiver(receiver: fn(&[u8])) {
    RECEIVER.store(receiver as *mut (), Ordering::Release);
}

/// Sets what is called, in interrupt context, when the ring has become half empty, or empty.
pub fn set_drained(drained: fn()) {
    DRAINED.store(drained as *mut (), Ordering::Release);
}

/// Queues bytes to be sent, without waiting; returns how many there was room for. Any context.
pub fn transmit(bytes: &[u8]) -> usize {
    let mut guard = CONSOLE.lock();
    let Some(console) = guard.as_mut() else { return bytes.len() };
    let count = console.ring.push(bytes);
    console.send();
    count
}

/// Sends bytes at once, behind what is queued, waiting for the hardware. Any context; for logs.
pub fn write_polled(bytes: &[u8]) {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.write_polled(bytes);
    }
}

/// As [`write_polled`], for a panicking kernel: whoever holds the lock has been stopped.
///
/// # Safety
/// All other cores have been stopped for good.
pub unsafe fn write_panicking(bytes: &[u8]) {
    // SAFETY: the caller's contract.
    if let Some(console) = unsafe { &mut *CONSOLE.get_unchecked() } {
        console.write_polled(bytes);
    }
}

/// How many bytes [`transmit`] would take now.
pub fn room() -> usize {
    RING - queued()
}

/// Throws away what has not been handed to the hardware.
pub fn discard() {
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.ring.clear();
    }
}

/// Bytes that wait to be sent.
pub fn queued() -> usize {
    CONSOLE.lock().as_ref().map_or(0, |console| console.ring.len())
}

impl Console {
    /// Moves what fits into the hardware; asks for an interrupt if something is left.
    fn send(&mut self) {
        self.fill_fifo();
        self.awaited |= !self.ring.is_empty();
        self.update_masks();
    }

    /// Goes on sending, in the interrupt. True if those who wait for room, or for all to be gone, have to be told.
    fn send_on(&mut self) -> bool {
        let before = self.ring.len();
        self.fill_fifo();
        let left = self.ring.len();
        let told = self.awaited && (left == 0 || before > RING / 2 && left <= RING / 2);
        self.awaited = left > 0;
        self.update_masks();
        told
    }

    fn fill_fifo(&mut self) {
        while !self.uart.is_tx_fifo_full()
            && let Some(byte) = self.pop()
        {
            self.uart.write_word(byte);
        }
    }

    fn pop(&mut self) -> Option<u8> {
        let byte = self.ring.front().first().copied();
        self.ring.consume(1);
        byte
    }

    fn update_masks(&mut self) {
        let mut masks = self.uart.interrupt_masks();
        masks.set(Interrupts::TXI, self.awaited);
        self.uart.set_interrupt_masks(masks);
    }

    fn write_polled(&mut self, bytes: &[u8]) {
        while let Some(byte) = self.pop() {
            self.send_now(byte);
        }
        for byte in bytes {
            if *byte == b'\n' {
                self.send_now(b'\r');
            }
            self.send_now(*byte);
        }
    }

    fn send_now(&mut self, byte: u8) {
        while self.uart.is_tx_fifo_full() {
            registers::relax();
        }
        self.uart.write_word(byte);
    }
}

/// The interrupt handler. It leaves the receive FIFO empty: bytes that stay behind would raise no further interrupt.
fn serve() {
    let mut bytes = [0; 64];
    while serve_some(&mut bytes) {}
}

/// Hands on at most as many received bytes as `bytes` holds; true if there may be more.
fn serve_some(bytes: &mut [u8; 64]) -> bool {
    let mut count = 0;
    let mut drained = false;
    if let Some(console) = CONSOLE.lock().as_mut() {
        console.uart.clear_interrupts(Interrupts::RXI | Interrupts::RTI | Interrupts::TXI);
        while let Some(slot) = bytes.get_mut(count) {
            match console.uart.read_word() {
                Ok(Some(byte)) => {
                    *slot = byte;
                    count += 1;
                }
                Ok(None) => break,
                // A byte with a line error is lost, as on any serial line.
                Err(_) => {}
            }
        }
        drained = console.send_on();
    }
    let receiver = RECEIVER.load(Ordering::Acquire);
    if count > 0 && !receiver.is_null() {
        // SAFETY: only `set_receiver` stores here, a pointer to such a function.
        let receiver: fn(&[u8]) = unsafe { core::mem::transmute(receiver) };
        receiver(bytes.get(..count).unwrap_or_default());
    }
    let call = DRAINED.load(Ordering::Acquire);
    if drained && !call.is_null() {
        // SAFETY: only `set_drained` stores here, a pointer to such a function.
        let call: fn() = unsafe { core::mem::transmute(call) };
        call();
    }
    count == bytes.len()
}
