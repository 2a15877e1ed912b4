//! The machine on a hosted target: threads play cores, the standard library plays the hardware.
//!
//! Each thread that asks gets a core number of its own (modulo [`MAX_CORES`](super::MAX_CORES), the last of which nobody gets without naming
//! it); interrupt masking is a counter of the thread; user memory is memory of the test process, reached by plain copies. A test that needs a
//! certain core, or the addresses at which a fault happens, says so through the functions below.

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;
use std::time::Instant;

use super::{MAX_CORES, Machine};
use crate::task::StackHead;

/// The hosted machine.
pub struct Host;

extern crate std;

static NEXT_CORE: AtomicUsize = AtomicUsize::new(0);
static START: OnceLock<Instant> = OnceLock::new();
static REALTIME_OFFSET: AtomicU64 = AtomicU64::new(1_700_000_000_000_000_000);
static IPIS: [AtomicU64; MAX_CORES] = [const { AtomicU64::new(0) }; MAX_CORES];
static INVALIDATIONS: AtomicU64 = AtomicU64::new(0);

std::thread_local! {
    static MASKED: Cell<bool> = const { Cell::new(false) };
    static INTERRUPT: Cell<bool> = const { Cell::new(false) };
    static CORE: Cell<Option<usize>> = const { Cell::new(None) };
    static CLOCK: Cell<Option<u64>> = const { Cell::new(None) };
    static FAULT_AT: Cell<Option<usize>> = const { Cell::new(None) };
    static TIMER: Cell<Option<u64>> = const { Cell::new(None) };
    static ACTIVE: Cell<(u64, u16)> = const { Cell::new((0, 0)) };
    static OWN_STACK: Cell<*const StackHead> = const { Cell::new(core::ptr::null()) };
    static PREEMPTION_POINTS: Cell<usize> = const { Cell::new(0) };
}

/// Makes the calling thread play the given core.
pub fn become_core(core: usize) {
    CORE.set(Some(core % MAX_CORES));
}

/// Makes the calling thread believe (or no longer) that it is in an interrupt handler.
pub fn set_in_interrupt(inside: bool) {
    INTERRUPT.set(inside);
}

/// Makes the calling thread believe (or no longer) that it runs on a stack of a task's own, which has this head. The head must stay
/// until then.
pub fn set_own_stack(head: Option<&StackHead>) {
    OWN_STACK.set(head.map_or(core::ptr::null(), core::ptr::from_ref));
}

/// How often the calling thread could have been preempted at the end of a hold.
pub fn preemption_points() -> usize {
    PREEMPTION_POINTS.get()
}

/// Stops the calling thread's clock at `now` nanoseconds, or lets it run again.
pub fn set_clock(now: Option<u64>) {
    CLOCK.set(now);
}

/// From now on user copies of the calling thread fault at addresses at or above `address`.
pub fn set_fault_at(address: Option<usize>) {
    FAULT_AT.set(address);
}

/// How many interrupts were raised at `core`.
pub fn ipis_raised(core: usize) -> u64 {
    IPIS.get(core).map_or(0, |count| count.load(Ordering::SeqCst))
}

/// How many TLB invalidations there were.
pub fn invalidations() -> u64 {
    INVALIDATIONS.load(Ordering::SeqCst)
}

/// The deadline at which the calling thread's one-shot timer stands.
pub fn armed_timer() -> Option<u64> {
    TIMER.get()
}

/// The root table and ASID that the calling thread activated last.
pub fn active_address_space() -> (u64, u16) {
    ACTIVE.get()
}

fn bytes_before_fault(address: usize, length: usize) -> usize {
    FAULT_AT.get().map_or(length, |fault| fault.saturating_sub(address).min(length))
}

impl Machine for Host {
    fn mask_interrupts() -> u64 {
        u64::from(MASKED.replace(true))
    }

    fn restore_interrupts(state: u64) {
        MASKED.set(state != 0);
    }

    fn interrupts_masked() -> bool {
        MASKED.get()
    }

    fn in_interrupt() -> bool {
        INTERRUPT.get()
    }

    fn has_own_stack() -> bool {
        !OWN_STACK.get().is_null()
    }

    fn own_stack() -> *const () {
        OWN_STACK.get().cast()
    }

    fn preemption_point() {
        PREEMPTION_POINTS.set(PREEMPTION_POINTS.get() + 1);
    }

    fn core_id() -> usize {
        CORE.get().unwrap_or_else(|| {
            let core = NEXT_CORE.fetch_add(1, Ordering::Relaxed) % (MAX_CORES - 1);
            CORE.set(Some(core));
            core
        })
    }

    fn relax() {
        std::thread::yield_now();
    }

    fn monotonic_ns() -> u64 {
        CLOCK.get().unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
    }

    fn ticks() -> u64 {
        Self::monotonic_ns()
    }

    fn ticks_to_ns(ticks: u64) -> u64 {
        ticks
    }

    fn realtime_offset_ns() -> u64 {
        REALTIME_OFFSET.load(Ordering::Relaxed)
    }

    fn set_realtime_offset_ns(offset: u64) {
        REALTIME_OFFSET.store(offset, Ordering::Relaxed);
    }

    fn raise_ipi(core: usize) {
        if let Some(count) = IPIS.get(core) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn arm_timer(deadline: Option<u64>) {
        TIMER.set(deadline);
    }

    fn phys_to_virt(physical: u64) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(physical as usize)
    }

    fn virt_to_phys(pointer: *const u8) -> u64 {
        pointer.expose_provenance() as u64
    }

    fn zero_page(page: &mut [u8; 4096]) {
        page.fill(0);
    }

    fn copy_from_user(destination: &mut [u8], source: usize) -> usize {
        let length = bytes_before_fault(source, destination.len());
        // SAFETY: tests pass addresses of live memory of their own as user addresses.
        unsafe {
            core::ptr::copy_nonoverlapping(
                core::ptr::with_exposed_provenance(source),
                destination.as_mut_ptr(),
                length,
            );
        }
        destination.len() - length
    }

    fn copy_string_from_user(destination: &mut [u8], source: usize) -> (usize, bool) {
        let room = bytes_before_fault(source, destination.len());
        for (count, slot) in destination.iter_mut().take(room).enumerate() {
            // SAFETY: as in `copy_from_user`.
            *slot = unsafe { *core::ptr::with_exposed_provenance(source + count) };
            if *slot == 0 {
                return (count, true);
            }
        }
        (room, false)
    }

    fn copy_to_user(destination: usize, source: &[u8]) -> usize {
        let length = bytes_before_fault(destination, source.len());
        // SAFETY: tests pass addresses of live memory of their own as user addresses.
        unsafe {
            core::ptr::copy_nonoverlapping(
                source.as_ptr(),
                core::ptr::with_exposed_provenance_mut(destination),
                length,
            );
        }
        source.len() - length
    }

    fn zero_user(destination: usize, length: usize) -> usize {
        let done = bytes_before_fault(destination, length);
        // SAFETY: tests pass addresses of live memory of their own as user addresses.
        unsafe { core::ptr::write_bytes(core::ptr::with_exposed_provenance_mut::<u8>(destination), 0, done) };
        length - done
    }

    fn load_user_u32(address: usize) -> Option<u32> {
        if bytes_before_fault(address, 4) < 4 || !address.is_multiple_of(4) {
            return None;
        }
        // SAFETY: tests pass the addresses of live atomics as user addresses; alignment was checked.
        let word = unsafe { &*core::ptr::with_exposed_provenance::<AtomicU32>(address) };
        Some(word.load(Ordering::SeqCst))
    }

    fn compare_exchange_user_u32(address: usize, expected: u32, new: u32) -> Option<u32> {
        if bytes_before_fault(address, 4) < 4 || !address.is_multiple_of(4) {
            return None;
        }
        // SAFETY: tests pass the addresses of live atomics as user addresses; alignment was checked.
        let word = unsafe { &*core::ptr::with_exposed_provenance::<AtomicU32>(address) };
        match word.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(found) | Err(found) => Some(found),
        }
    }

    fn activate_address_space(root: u64, asid: u16) {
        ACTIVE.set((root, asid));
    }

    fn asid_bits() -> u32 {
        8
    }

    fn invalidate_user_range(_asid: u16, _start: usize, _pages: usize) {
        INVALIDATIONS.fetch_add(1, Ordering::SeqCst);
    }

    fn invalidate_asid(_asid: u16) {
        INVALIDATIONS.fetch_add(1, Ordering::SeqCst);
    }

    fn invalidate_all_user() {
        INVALIDATIONS.fetch_add(1, Ordering::SeqCst);
    }

    fn publish_page_table() {}

    fn synchronise_instruction_cache(_start: *const u8, _length: usize) {}

    fn random_seed() -> [u8; 32] {
        [42; 32]
    }
}
