//! The interrupt manager: which handler an interrupt goes to, and how often each came to each core.
//!
//! Handlers run in interrupt context: interrupts are masked on the core, they may not sleep, allocate, or take a plain spin lock. The table of
//! handlers is only added to; looking a handler up takes no lock, so handlers of several cores run at once.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use alloc::boxed::Box;
use libkernel::machine::MAX_CORES;

use super::gic;
use crate::arch::core_local;

/// SGI by which a core is told that its inbox was empty and is not any more.
pub const SGI_MESSAGE: u32 = 0;
/// SGI that stops a core for good; nothing stands before it.
pub const SGI_STOP: u32 = 1;
/// SGI that makes a core log what it is doing; nothing stands before it.
pub const SGI_WHEREABOUTS: u32 = 2;

/// The highest interrupt number served, plus one.
const MAX_INTERRUPTS: usize = 288;
const FIRST_PPI: u32 = 16;
const FIRST_SPI: u32 = 32;

/// A handler and its name in `/proc/interrupts`.
pub struct Registration {
    /// The name.
    pub name: &'static str,
    /// Runs in interrupt context.
    pub handler: fn(),
}

static LINES: [AtomicPtr<Registration>; MAX_INTERRUPTS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_INTERRUPTS];

/// How often each interrupt came to one core, which alone writes it.
#[repr(align(128))]
struct Counts([AtomicU64; MAX_INTERRUPTS]);

static COUNTS: [Counts; MAX_CORES] = [const { Counts([const { AtomicU64::new(0) }; MAX_INTERRUPTS]) }; MAX_CORES];

fn register(number: u32, name: &'static str, handler: fn()) {
    if let Some(line) = LINES.get(number as usize) {
        line.store(Box::leak(Box::new(Registration { name, handler })), Ordering::Release);
    }
}

fn registered(line: &AtomicPtr<Registration>) -> Option<&'static Registration> {
    // SAFETY: a registration is never freed, and is whole before its pointer is stored.
    unsafe { line.load(Ordering::Acquire).as_ref() }
}

/// Installs the handler of a software-generated interrupt.
pub fn register_sgi(sgi: u32, name: &'static str, handler: fn()) {
    register(sgi, name, handler);
}

/// Installs the handler of a private interrupt; each core enables it for itself ([`gic::enable_private`]).
pub fn register_private(ppi: u32, name: &'static str, handler: fn()) {
    register(FIRST_PPI + ppi, name, handler);
}

/// Installs the handler of a shared interrupt, and enables it on `core`.
pub fn register_shared(spi: u32, name: &'static str, handler: fn(), core: usize) {
    register(FIRST_SPI + spi, name, handler);
    gic::enable_shared(spi, core);
}

/// Serves one pending interrupt of this core. Interrupts are masked; the next one comes when they are not any more, so that no number of them
/// keeps them masked for longer than one handler takes.
pub fn handle() {
    let core = core_local::this();
    core.enter_interrupt();
    if let Some(interrupt) = gic::acknowledge() {
        let number = interrupt.number as usize;
        if let Some(count) = COUNTS.get(core.id()).and_then(|Counts(counts)| counts.get(number)) {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        if let Some(registration) = LINES.get(number).and_then(registered) {
            (registration.handler)();
        }
        gic::end(interrupt);
    }
    core.leave_interrupt();
}

/// Whether a number of [`statistics`] is a software-generated interrupt's, which cores send each other.
pub const fn is_sgi(number: u32) -> bool {
    number < FIRST_PPI
}

/// The interrupts that have a handler: number, name, and the count of each core.
pub fn statistics() -> impl Iterator<Item = (u32, &'static str, impl Iterator<Item = u64>)> {
    LINES.iter().enumerate().filter_map(|(number, line)| {
        let counts = COUNTS.iter().filter_map(move |Counts(counts)| Some(counts.get(number)?.load(Ordering::Relaxed)));
        Some((number as u32, registered(line)?.name, counts))
    })
}
