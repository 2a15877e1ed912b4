//! The PL011 console: a ring of bytes to send, drained by interrupts, and a receiver that interrupts call.
//!
//! One interrupt-aware lock owns the registers and the ring; whole calls are serialised by it, so that lines do not interleave.

use alloc::boxed::Box;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

use arm_pl011_uart::{DataBits, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart, UniqueMmioPointer};
use libkernel::sync::IrqSpinLock;
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
    ring: Box<[u8; RING]>,
    head: usize,
    length: usize,
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
    *CONSOLE.lock() = Some(Console { uart, ring: Box::new([0; RING]), head: 0, length: 0 });
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

/// Sets what is called, in interrupt context, when the ring has become half empty.
pub fn set_drained(drained: fn()) {
    DRAINED.store(drained as *mut (), Ordering::Release);
}

/// Queues bytes to be sent, without waiting; returns how many there was room for. Any context.
pub fn transmit(bytes: &[u8]) -> usize {
    let mut guard = CONSOLE.lock();
    let Some(console) = guard.as_mut() else { return bytes.len() };
    let count = bytes.len().min(RING - console.length);
    for byte in bytes.iter().take(count) {
        console.push(*byte);
    }
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
        console.length = 0;
    }
}

/// Bytes that wait to be sent.
pub fn queued() -> usize {
    CONSOLE.lock().as_ref().map_or(0, |console| console.length)
}

impl Console {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.ring.get_mut((self.head + self.length) % RING) {
            *slot = byte;
            self.length += 1;
        }
    }

    fn pop(&mut self) -> Option<u8> {
        self.length = self.length.checked_sub(1)?;
        let byte = self.ring.get(self.head).copied();
        self.head = (self.head + 1) % RING;
        byte
    }

    /// Moves what fits into the hardware; asks for an interrupt if something is left.
    fn send(&mut self) {
        while self.length > 0 && !self.uart.is_tx_fifo_full() {
            if let Some(byte) = self.pop() {
                self.uart.write_word(byte);
            }
        }
        let mut masks = self.uart.interrupt_masks();
        masks.set(Interrupts::TXI, self.length > 0);
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
        let before = console.length;
        console.send();
        drained = before > RING / 2 && console.length <= RING / 2 || before > 0 && console.length == 0;
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
