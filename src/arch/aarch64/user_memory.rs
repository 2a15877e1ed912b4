//! Copies to and from user memory.
//!
//! Each checks that the range is in the user half, opens user access where the core forbids it by default (PAN), and ends at the
//! first fault.

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::registers;

global_asm!(include_str!("memory.s"));

/// The end of the user half.
const USER_END: usize = 1 << 48;

/// Set in what `user_string` returns when it did not find the end.
const NO_END: usize = 1 << 63;

static PAN: AtomicBool = AtomicBool::new(false);
static ZERO_LINE: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    fn user_copy(destination: *mut u8, source: *const u8, length: usize) -> usize;
    fn user_string(destination: *mut u8, source: *const u8, length: usize) -> usize;
    fn user_zero(destination: *mut u8, length: usize) -> usize;
    fn user_load_u32(address: usize) -> i64;
    fn user_compare_exchange_u32(address: usize, expected: u32, new: u32) -> i64;
    fn zero_page_by_line(page: *mut u8, line: usize);
}

/// Finds out what this core can do, and forbids user access outside the copies. On each core.
pub fn init() {
    if registers::has_pan() {
        PAN.store(true, Ordering::Relaxed);
        registers::set_pan(true);
    }
    ZERO_LINE.store(registers::zero_line_size().unwrap_or(0), Ordering::Relaxed);
}

/// Forbids user access again, whatever was interrupted: before something else runs on this core. The processor state that the
/// interrupt returns to has it as it was.
#[inline]
pub fn forbid_access() {
    if PAN.load(Ordering::Relaxed) {
        registers::set_pan(true);
    }
}

/// Runs `access` with user memory open to it.
#[inline]
fn with_user_access<R>(access: impl FnOnce() -> R) -> R {
    if !PAN.load(Ordering::Relaxed) {
        return access();
    }
    registers::set_pan(false);
    let result = access();
    registers::set_pan(true);
    result
}

#[inline]
fn is_user(address: usize, length: usize) -> bool {
    address.checked_add(length).is_some_and(|end| end <= USER_END)
}

/// Copies from user memory; returns how many bytes were not copied.
#[inline]
pub fn copy_from_user(destination: &mut [u8], source: usize) -> usize {
    if !is_user(source, destination.len()) {
        return destination.len();
    }
    // SAFETY: the destination is a slice; a fault on the source is fixed up.
    with_user_access(|| unsafe {
        user_copy(destination.as_mut_ptr(), core::ptr::with_exposed_provenance(source), destination.len())
    })
}

/// Copies a string from user memory; returns how many bytes were copied, and whether the zero behind them was found.
#[inline]
pub fn copy_string_from_user(destination: &mut [u8], source: usize) -> (usize, bool) {
    let length = destination.len().min(USER_END.saturating_sub(source));
    // SAFETY: the destination is a slice at least as long; a fault on the source is fixed up.
    let left = with_user_access(|| unsafe {
        user_string(destination.as_mut_ptr(), core::ptr::with_exposed_provenance(source), length)
    });
    if left & NO_END != 0 { (length - (left ^ NO_END), false) } else { (length - left, true) }
}

/// Copies to user memory; returns how many bytes were not copied.
#[inline]
pub fn copy_to_user(destination: usize, source: &[u8]) -> usize {
    if !is_user(destination, source.len()) {
        return source.len();
    }
    // SAFETY: the range is in the user half, where no kernel object is mapped; a fault on it is fixed up.
    with_user_access(|| unsafe {
        user_copy(core::ptr::with_exposed_provenance_mut(destination), source.as_ptr(), source.len())
    })
}

/// Zeroes user memory; returns how many bytes were not zeroed.
pub fn zero_user(destination: usize, length: usize) -> usize {
    if !is_user(destination, length) {
        return length;
    }
    // SAFETY: as in `copy_to_user`.
    with_user_access(|| unsafe { user_zero(core::ptr::with_exposed_provenance_mut(destination), length) })
}

/// Reads an aligned user word.
pub fn load_u32(address: usize) -> Option<u32> {
    if !is_user(address, 4) || !address.is_multiple_of(4) {
        return None;
    }
    // SAFETY: a fault is fixed up.
    u32::try_from(with_user_access(|| unsafe { user_load_u32(address) })).ok()
}

/// Compares and exchanges an aligned user word.
pub fn compare_exchange_u32(address: usize, expected: u32, new: u32) -> Option<u32> {
    if !is_user(address, 4) || !address.is_multiple_of(4) {
        return None;
    }
    // SAFETY: as in `copy_to_user`.
    u32::try_from(with_user_access(|| unsafe { user_compare_exchange_u32(address, expected, new) })).ok()
}

/// Zeroes a page.
pub fn zero_page(page: &mut [u8; 4096]) {
    let line = ZERO_LINE.load(Ordering::Relaxed);
    if line == 0 || line > 1024 || !(page.as_ptr() as usize).is_multiple_of(4096) {
        page.fill(0);
        return;
    }
    // SAFETY: the page is aligned normal memory of 4096 bytes, and `line` is what the core said.
    unsafe { zero_page_by_line(page.as_mut_ptr(), line) };
}
