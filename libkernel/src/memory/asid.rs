//! Address space identifiers, given out in generations.
//!
//! An address space keeps its *context*: the generation in which it got its ASID, and the ASID, in one word (0: none
//! yet). Activating an address space of the current generation takes no lock. When the ASIDs run out, a new generation
//! begins: all TLBs are invalidated, what the cores are running keeps its ASID (is "reserved"), everybody else
//! gets a new one when next activated. So no translation ever outlives the meaning of its ASID.
//!
//! The fast path and a new generation meet in `active`: the former exchanges its core's word expecting what it read, the latter
//! swaps in 0; whoever comes second sees it.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::SeqCst};

use crate::machine::{self, MAX_CORES};
use crate::sync::IrqSpinLock;

const ASID_BITS: u32 = 16;
const ASID_MASK: u64 = (1 << ASID_BITS) - 1;
const FIRST_GENERATION: u64 = 1 << ASID_BITS;
const WORDS: usize = (1 << ASID_BITS) / 64;

/// All ASIDs of the machine.
pub struct Asids {
    generation: AtomicU64,
    /// The context each core runs; 0 after a new generation began, until its next switch.
    active: [Active; MAX_CORES],
    state: IrqSpinLock<State>,
}

/// One core's word, on cache lines of its own: the core writes it at each switch.
#[repr(align(128))]
struct Active(AtomicU64);

struct State {
    used: [u64; WORDS],
    /// Where to look for a free one next.
    next: u32,
    /// What each core ran when the generation began.
    reserved: [u64; MAX_CORES],
}

impl Asids {
    /// All free.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            generation: AtomicU64::new(FIRST_GENERATION),
            active: [const { Active(AtomicU64::new(0)) }; MAX_CORES],
            state: IrqSpinLock::new(State { used: [0; WORDS], next: 1, reserved: [0; MAX_CORES] }),
        }
    }

    /// The ASID under which this core may run the address space with `context`, from now until it activates another.
    ///
    /// Interrupts are masked. The ASID is never 0, which stands for the kernel's own empty tables.
    #[inline]
    pub fn activate(&self, context: &AtomicU64) -> u16 {
        let Some(Active(active)) = self.active.get(machine::core_id()) else { return 0 };
        let wanted = context.load(Relaxed);
        let old = active.load(Relaxed);
        if old != 0
            && wanted & !ASID_MASK == self.generation.load(Acquire)
            && active.compare_exchange(old, wanted, SeqCst, Relaxed).is_ok()
        {
            return wanted as u16;
        }
        self.activate_slowly(context, active)
    }

    #[cold]
    fn activate_slowly(&self, context: &AtomicU64, active: &AtomicU64) -> u16 {
        let mut state = self.state.lock();
        let mut wanted = context.load(Relaxed);
        if wanted & !ASID_MASK != self.generation.load(Relaxed) {
            wanted = self.renew(&mut state, wanted);
            context.store(wanted, SeqCst);
            // Whoever clears an entry, publishes it and then still sees the old context has cleared it before this core's first walk.
            machine::publish_page_table();
        }
        active.store(wanted, SeqCst);
        wanted as u16
    }

    /// A context of the current generation for one of an older (or none).
    fn renew(&self, state: &mut State, old: u64) -> u64 {
        let generation = self.generation.load(Relaxed);
        if old != 0 {
            let renewed = generation | (old & ASID_MASK);
            // Some core runs it: it keeps its ASID, everywhere.
            let mut kept = false;
            for reserved in state.reserved.iter_mut().filter(|reserved| **reserved == old) {
                *reserved = renewed;
                kept = true;
            }
            if kept || state.claim((old & ASID_MASK) as u32) {
                return renewed;
            }
        }
        let limit = 1 << machine::asid_bits().min(ASID_BITS);
        if let Some(asid) = state.claim_next(limit) {
            return generation | u64::from(asid);
        }
        let generation = self.begin_generation(state);
        // There are more ASIDs than cores, so one is free.
        generation | u64::from(state.claim_next(limit).unwrap_or(1))
    }

    fn begin_generation(&self, state: &mut State) -> u64 {
        let generation = self.generation.load(Relaxed).wrapping_add(FIRST_GENERATION);
        self.generation.store(generation, SeqCst);
        state.used.fill(0);
        state.next = 1;
        for core in 0..MAX_CORES {
            let ran = self.active.get(core).map_or(0, |Active(active)| active.swap(0, SeqCst));
            // A core that did not switch since the last new generation still runs what it ran then.
            if let Some(reserved) = state.reserved.get_mut(core) {
                if ran != 0 {
                    *reserved = ran;
                }
                let kept = (*reserved & ASID_MASK) as u32;
                state.claim(kept);
            }
        }
        machine::invalidate_all_user();
        generation
    }
}

impl Default for Asids {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Takes `asid` if it is free.
    fn claim(&mut self, asid: u32) -> bool {
        let Some(word) = self.used.get_mut(asid as usize / 64) else { return false };
        let bit = 1 << (asid % 64);
        let free = *word & bit == 0 && asid != 0;
        *word |= bit;
        free
    }

    /// Takes the next free one below `limit`.
    fn claim_next(&mut self, limit: u32) -> Option<u32> {
        while self.next < limit {
            let asid = self.next;
            self.next += 1;
            if self.claim(asid) {
                return Some(asid);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host;
    use std::vec::Vec;

    #[test]
    fn an_address_space_keeps_its_asid_within_a_generation() {
        host::become_core(0);
        let asids = Asids::new();
        let (a, b) = (AtomicU64::new(0), AtomicU64::new(0));
        let (first, second) = (asids.activate(&a), asids.activate(&b));
        assert_ne!(first, second);
        assert_eq!((asids.activate(&a), asids.activate(&b)), (first, second));
    }

    #[test]
    fn a_new_generation_flushes_and_spares_what_other_cores_run() {
        let asids = Asids::new();
        let running = AtomicU64::new(0);
        host::become_core(1);
        let kept = asids.activate(&running);
        host::become_core(0);
        let before = host::invalidations();
        let spaces: Vec<AtomicU64> = (0..600).map(|_| AtomicU64::new(0)).collect();
        for space in &spaces {
            let asid = asids.activate(space);
            assert!(asid != 0 && asid != kept && asid < 256);
        }
        assert!(host::invalidations() >= before + 2);
        host::become_core(1);
        assert_eq!(asids.activate(&running), kept, "a core that never switched keeps its ASID");
        host::become_core(2);
        assert_eq!(asids.activate(&running), kept, "and so do its other threads");
    }

    #[test]
    fn no_two_address_spaces_of_a_generation_share_an_asid() {
        host::become_core(0);
        let asids = Asids::new();
        let spaces: Vec<AtomicU64> = (0..300).map(|_| AtomicU64::new(0)).collect();
        let mut state = 1u64;
        for _ in 0..if cfg!(miri) { 40 } else { 5000 } {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            host::become_core((state >> 60) as usize % 4);
            asids.activate(&spaces[(state >> 33) as usize % spaces.len()]);
            let generation = asids.generation.load(Relaxed);
            let mut seen: Vec<u64> = spaces
                .iter()
                .map(|space| space.load(Relaxed))
                .filter(|context| context & !ASID_MASK == generation)
                .collect();
            let count = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), count);
        }
    }
}
