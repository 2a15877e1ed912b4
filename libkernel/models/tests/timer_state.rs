//! Timers: a cancellation elsewhere and the expiry at home agree on who of them was first, and a cancelled timer is not armed
//! again before its home core has let go of it.

use libkernel_models::timer_state::TimerState;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

struct Model {
    state: TimerState,
    /// Stands for the links in the queue: the home core's.
    links: UnsafeCell<u32>,
    message: Notify,
    cancelled: AtomicBool,
}

impl Model {
    fn touch_links(&self) {
        // SAFETY: loom checks that nobody else is here.
        self.links.with_mut(|links| unsafe { *links += 1 });
    }
}

#[test]
fn expiry_and_cancellation_exclude_each_other() {
    loom::model(|| {
        let timer = Arc::new(Model {
            state: TimerState::new(),
            links: UnsafeCell::new(0),
            message: Notify::new(),
            cancelled: AtomicBool::new(false),
        });
        // Started at home.
        assert!(timer.state.arm());
        timer.touch_links();
        let user = {
            let timer = timer.clone();
            thread::spawn(move || {
                let cancelled = timer.state.cancel();
                if cancelled {
                    assert!(
                        !timer.state.is_idle() || timer.cancelled.load(Ordering::Acquire),
                        "still with its home core"
                    );
                    timer.message.notify();
                }
                // The user may start it again, here, as soon as it is idle.
                if timer.state.is_idle() && timer.state.arm() {
                    timer.touch_links();
                }
                cancelled
            })
        };
        // At home it comes due.
        timer.touch_links();
        let expired = timer.state.expire();
        if !expired {
            // The message about the cancellation comes.
            timer.message.wait();
            timer.cancelled.store(true, Ordering::Release);
            timer.touch_links();
            timer.state.retire();
        }
        let cancelled = user.join().unwrap_or_else(|_| unreachable!());
        assert_ne!(expired, cancelled);
    });
}
