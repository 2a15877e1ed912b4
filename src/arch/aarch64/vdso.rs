//! The vDSO in the kernel's image, and the clock data that it reads.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

global_asm!(include_str!("vdso.s"));

unsafe extern "C" {
    static __vdso_start: u8;
    static __vdso_end: u8;
    static __vdso_sigreturn: u8;
}

/// The object's bytes: less than a page.
pub fn image() -> &'static [u8] {
    let start = &raw const __vdso_start;
    // SAFETY: the assembler puts the object between the two symbols.
    unsafe { core::slice::from_raw_parts(start, (&raw const __vdso_end).offset_from_unsigned(start)) }
}

/// Where in the object a signal handler returns to.
pub fn sigreturn_offset() -> u64 {
    (&raw const __vdso_sigreturn as u64).wrapping_sub(&raw const __vdso_start as u64)
}

/// What the object finds in the page before it. The layout is known to `vdso.s`.
#[repr(C)]
pub struct ClockData {
    sequence: AtomicU32,
    start: AtomicU64,
    scale: AtomicU64,
    realtime: AtomicU64,
}

impl ClockData {
    /// Changes the data; readers meanwhile try again. One writer at a time.
    pub fn set(&self, start: u64, scale: u64, realtime: u64) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.scale.store(scale, Ordering::Relaxed);
        self.realtime.store(realtime, Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }
}
