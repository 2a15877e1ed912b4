//! The part of a user thread's state that is bound to a core while the thread is being polled: its FP registers.
//!
//! Only the core that polls the thread touches it. What each core has loaded is in its own per-core variables, so that a thread that
//! comes back to a core which still holds its FP registers need not load them.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use libkernel::Result;
use libkernel::machine::{self, MAX_CORES};

use crate::arch::fp::{self, FpState};

/// Nobody's number.
const NOBODY: u64 = 0;

/// Whose FP registers each core holds, by state number. Written by the core itself.
#[repr(align(128))]
struct Loaded {
    owner: AtomicU64,
    access: AtomicBool,
}

static LOADED: [Loaded; MAX_CORES] =
    [const { Loaded { owner: AtomicU64::new(NOBODY), access: AtomicBool::new(false) } }; MAX_CORES];

/// For how many polls a thread that used FP is taken to use it again; then it has to show it anew. So what uses FP seldom does not pay for
/// saving its registers at each poll.
const EAGER_POLLS: u8 = 16;

/// State that only the polling core touches.
pub struct UserState {
    number: u64,
    /// For how many polls more access is on from the beginning.
    eager: AtomicU8,
    fp: UnsafeCell<FpState>,
    /// The core that loaded the FP registers last.
    fp_core: AtomicUsize,
}

// SAFETY: everything but the number is reached only from the poll of the one task that runs the thread, which one core makes at a time; the
// task's run state orders one core's accesses before the next one's.
unsafe impl Send for UserState {}
// SAFETY: as above.
unsafe impl Sync for UserState {}

fn loaded() -> Option<&'static Loaded> {
    LOADED.get(machine::core_id())
}

impl UserState {
    /// The state of a thread whose FP registers are `fp`.
    pub fn new(fp: FpState) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(NOBODY);
        Self {
            number: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            eager: AtomicU8::new(0),
            fp: UnsafeCell::new(fp),
            fp_core: AtomicUsize::new(usize::MAX),
        }
    }

    fn is_loaded(&self, loaded: &Loaded) -> bool {
        loaded.owner.load(Ordering::Relaxed) == self.number
            && self.fp_core.load(Ordering::Relaxed) == machine::core_id()
    }

    /// A poll begins: FP access is on exactly if the thread used it lately, and this core still holds its registers.
    #[inline]
    pub fn begin_poll(&self) {
        let Some(loaded) = loaded() else { return };
        let eager = self.eager.load(Ordering::Relaxed);
        let access = eager != 0 && self.is_loaded(loaded);
        if access {
            self.eager.store(eager - 1, Ordering::Relaxed);
        }
        if loaded.access.load(Ordering::Relaxed) != access {
            fp::set_access(access);
            loaded.access.store(access, Ordering::Relaxed);
        }
    }

    /// A poll ends: FP registers that may have changed are saved.
    pub fn end_poll(&self) {
        self.save_fp();
    }

    fn save_fp(&self) {
        if loaded().is_some_and(|loaded| loaded.access.load(Ordering::Relaxed)) {
            // SAFETY: only the polling core is here, and no reference to the state is out.
            unsafe { &mut *self.fp.get() }.save();
        }
    }

    /// The thread used an FP instruction while access was off: loads its registers, unless this core still holds them.
    pub fn load_fp(&self) {
        let Some(loaded) = loaded() else { return };
        fp::set_access(true);
        loaded.access.store(true, Ordering::Relaxed);
        self.eager.store(EAGER_POLLS, Ordering::Relaxed);
        if self.is_loaded(loaded) {
            return;
        }
        // SAFETY: as in `save_fp`.
        unsafe { &*self.fp.get() }.load();
        loaded.owner.store(self.number, Ordering::Relaxed);
        self.fp_core.store(machine::core_id(), Ordering::Relaxed);
    }

    /// Looks at the thread's FP registers, brought up to date.
    pub fn with_saved_fp<R>(&self, look: impl FnOnce(&FpState) -> R) -> R {
        self.save_fp();
        // SAFETY: as in `save_fp`.
        look(unsafe { &*self.fp.get() })
    }

    /// Sets the thread's FP registers. After an error they are neither here nor there, but the thread's own.
    pub fn replace_fp<R>(&self, replace: impl FnOnce(&mut FpState) -> Result<R>) -> Result<R> {
        // SAFETY: as in `save_fp`.
        let fp = unsafe { &mut *self.fp.get() };
        let result = replace(fp);
        if !loaded().is_some_and(|loaded| loaded.access.load(Ordering::Relaxed)) {
            self.fp_core.store(usize::MAX, Ordering::Relaxed);
        } else if result.is_ok() {
            fp.load();
        }
        result
    }
}
