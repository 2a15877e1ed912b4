//! What was asked of a kernel thread, and how far it is: one atomic word, and the only code that changes it.
//!
//! | event | from | to | what follows |
//! |---|---|---|---|
//! | `begin` | not `STOP` | the same | the thread's function runs |
//! | `begin` | `STOP` | the same | it does not, ever |
//! | `ask_stop` | any | `STOP` | the thread is woken |
//! | `ask_park` | `UNPARKED` | not `UNPARKED` | nothing: the unpark came first, and the two cancel each other |
//! | `ask_park` | other | `PARK` | the thread is woken, and goes to its parking place |
//! | `ask_park` | `STOP` or `FINISHED` | the same | refused |
//! | `unpark` | `PARK` | neither `PARK` nor `PARKED` | the thread is woken |
//! | `unpark` | not `PARK` | `UNPARKED` | remembered |
//! | `stay` | `PARK`, not `STOP` | `PARKED` | the thread sleeps; who parked it is told |
//! | `stay` | other | not `PARKED` | the thread goes on |
//! | `finish` | any | `FINISHED` | who joins is told |

use crate::sync::atomic::{AtomicU32, Ordering};

const STOP: u32 = 1;
const PARK: u32 = 2;
const PARKED: u32 = 4;
const UNPARKED: u32 = 8;
const FINISHED: u32 = 16;

/// The state; see the table above.
#[derive(Debug)]
pub struct ThreadState(AtomicU32);

/// The answer to a request to park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Parking {
    /// The thread has to be woken, and will park.
    Asked,
    /// An unpark came before: nothing is to be done.
    Remembered,
    /// The thread has ended, or has been asked to.
    Over,
}

impl ThreadState {
    /// Nothing was asked.
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn update(&self, change: impl Fn(u32) -> u32) -> u32 {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            match self.0.compare_exchange_weak(state, change(state), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return state,
                Err(current) => state = current,
            }
        }
    }

    /// Whether the function is to run.
    #[must_use]
    pub fn begin(&self) -> bool {
        self.0.load(Ordering::Acquire) & STOP == 0
    }

    /// Asks the thread to end; `true`: for the first time.
    pub fn ask_stop(&self) -> bool {
        self.update(|state| state | STOP) & STOP == 0
    }

    /// Asks the thread to park.
    pub fn ask_park(&self) -> Parking {
        let before = self.update(|state| match () {
            () if state & (STOP | FINISHED) != 0 => state,
            () if state & UNPARKED != 0 => state & !UNPARKED,
            () => state | PARK,
        });
        match () {
            () if before & (STOP | FINISHED) != 0 => Parking::Over,
            () if before & UNPARKED != 0 => Parking::Remembered,
            () => Parking::Asked,
        }
    }

    /// Takes a request to park back, or remembers that there is to be none. `true`: the thread has to be woken.
    #[must_use]
    pub fn unpark(&self) -> bool {
        let change = |state: u32| if state & PARK != 0 { state & !(PARK | PARKED) } else { state | UNPARKED };
        self.update(change) & PARK != 0
    }

    /// At the thread's parking place: `true`: it stays, and sleeps until something changes.
    #[must_use]
    pub fn stay(&self) -> bool {
        let stays = |state: u32| state & PARK != 0 && state & STOP == 0;
        stays(self.update(|state| if stays(state) { state | PARKED } else { state & !PARKED }))
    }

    /// The thread is over.
    pub fn finish(&self) {
        self.update(|state| (state | FINISHED) & !PARKED);
    }

    /// Whether it was asked to end.
    #[must_use]
    pub fn should_stop(&self) -> bool {
        self.0.load(Ordering::Acquire) & STOP != 0
    }

    /// Whether it was asked to park.
    #[must_use]
    pub fn should_park(&self) -> bool {
        self.0.load(Ordering::Acquire) & PARK != 0
    }

    /// Whether there is nothing to wait for any more after [`Parking::Asked`]: it is parked, or will not be.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        let state = self.0.load(Ordering::Acquire);
        state & (PARKED | FINISHED) != 0 || state & PARK == 0
    }

    /// Whether it is parked now.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.0.load(Ordering::Acquire) & PARKED != 0
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.load(Ordering::Acquire) & FINISHED != 0
    }
}

impl Default for ThreadState {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_early_unpark_is_remembered_once() {
        let state = ThreadState::new();
        assert!(!state.unpark());
        assert!(!state.unpark());
        assert_eq!(state.ask_park(), Parking::Remembered);
        assert!(!state.stay());
        assert_eq!(state.ask_park(), Parking::Asked);
        assert!(state.stay());
        assert!(state.is_parked());
        assert!(state.unpark());
        assert!(!state.stay());
    }

    #[test]
    fn a_parked_thread_that_is_asked_to_stop_goes_on() {
        let state = ThreadState::new();
        assert_eq!(state.ask_park(), Parking::Asked);
        assert!(state.stay());
        assert!(state.ask_stop());
        assert!(!state.ask_stop());
        assert!(!state.stay());
        assert!(!state.is_parked());
        assert_eq!(state.ask_park(), Parking::Over);
    }
}
