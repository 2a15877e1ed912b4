//! What each core keeps at hand: its number, its stacks, and the flags that an interrupt leaves for the scheduling points.
//!
//! TPIDR_EL1 points at the executing core's entry for its whole life. Only that core touches it; what other cores may know of a core is
//! published elsewhere.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use aarch64_cpu::registers::{Readable, TPIDR_EL1, Writeable};
use libkernel::machine::MAX_CORES;

const EMERGENCY_STACK: usize = 8192;

#[repr(align(16))]
struct EmergencyStack(#[expect(dead_code, reason = "only its address is used")] [u8; EMERGENCY_STACK]);

/// One core's entry. The first two fields are known to `vectors.s`.
#[repr(C, align(128))]
pub struct CoreLocal {
    id: Cell<usize>,
    emergency_stack_top: Cell<usize>,
    need_resched: AtomicBool,
    messages_left: AtomicBool,
    interrupt_depth: AtomicU32,
}

// SAFETY: an entry is reached through TPIDR_EL1 alone, by its own core; interrupt handlers on that core see the atomics.
unsafe impl Sync for CoreLocal {}

static CORES: [CoreLocal; MAX_CORES] = [const {
    CoreLocal {
        id: Cell::new(0),
        emergency_stack_top: Cell::new(0),
        need_resched: AtomicBool::new(false),
        messages_left: AtomicBool::new(false),
        interrupt_depth: AtomicU32::new(0),
    }
}; MAX_CORES];

static mut EMERGENCY_STACKS: [EmergencyStack; MAX_CORES] = [const { EmergencyStack([0; EMERGENCY_STACK]) }; MAX_CORES];

/// Makes the executing core `core`. The first thing it does in Rust, once.
pub fn init(core: usize) {
    let Some(local) = CORES.get(core) else { return };
    local.id.set(core);
    let stacks = (&raw mut EMERGENCY_STACKS).cast::<EmergencyStack>();
    local.emergency_stack_top.set(stacks.wrapping_add(core + 1) as usize);
    TPIDR_EL1.set(core::ptr::from_ref(local) as u64);
}

/// Whether the 16 bytes at `address` are on a stack for the report of an overflow.
pub fn is_emergency_stack(address: u64) -> bool {
    let start = &raw const EMERGENCY_STACKS as u64;
    (start..start + (size_of::<EmergencyStack>() * MAX_CORES) as u64 - 15).contains(&address)
}

/// The executing core's entry.
#[inline]
pub fn this() -> &'static CoreLocal {
    // SAFETY: `init` pointed TPIDR_EL1 at an entry that lives for ever.
    unsafe { &*core::ptr::with_exposed_provenance(TPIDR_EL1.get() as usize) }
}

impl CoreLocal {
    /// The core's number.
    #[inline]
    pub fn id(&self) -> usize {
        let id = self.id.get();
        // SAFETY: `init` alone sets it, to the index of an entry of `CORES`; before, it is 0.
        unsafe { core::hint::assert_unchecked(id < MAX_CORES) };
        id
    }

    /// Whether the scheduler is to be asked at the next scheduling point.
    #[inline]
    pub fn need_resched(&self) -> bool {
        self.need_resched.load(Ordering::Relaxed)
    }

    /// Asks for the scheduler at the next scheduling point; stays set until [`take_need_resched`](Self::take_need_resched).
    #[inline]
    pub fn set_need_resched(&self) {
        self.need_resched.store(true, Ordering::Relaxed);
    }

    /// Honours the request, if there is one: for the scheduler.
    #[inline]
    pub fn take_need_resched(&self) -> bool {
        let asked = self.need_resched();
        self.need_resched.store(false, Ordering::Relaxed);
        asked
    }

    /// Whether messages were left for the next scheduling point.
    #[inline]
    pub fn messages_left(&self) -> bool {
        self.messages_left.load(Ordering::Relaxed)
    }

    /// Notes whether messages are left for the next scheduling point.
    #[inline]
    pub fn set_messages_left(&self, left: bool) {
        self.messages_left.store(left, Ordering::Relaxed);
    }

    /// Whether an interrupt handler is running.
    #[inline]
    pub fn in_interrupt(&self) -> bool {
        self.interrupt_depth.load(Ordering::Relaxed) != 0
    }

    /// Marks the time until `leave_interrupt` as an interrupt handler's.
    pub fn enter_interrupt(&self) {
        self.interrupt_depth.store(self.interrupt_depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The end of what `enter_interrupt` began.
    pub fn leave_interrupt(&self) {
        self.interrupt_depth.store(self.interrupt_depth.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }
}
