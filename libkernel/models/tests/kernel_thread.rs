//! Kernel threads: an unpark is not lost whatever it races with, and stopping gets a parked thread out.

use libkernel_models::thread_state::{Parking, ThreadState};
use loom::sync::{Arc, Notify};
use loom::thread;

struct Model {
    state: ThreadState,
    /// The wake of the thread's task, which is remembered while it runs.
    wake: Notify,
    /// The queue of those who wait for the state to change.
    changed: Notify,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self { state: ThreadState::new(), wake: Notify::new(), changed: Notify::new() })
    }

    /// What the thread does at its parking place.
    fn park_if_asked(&self) {
        while self.state.stay() {
            self.changed.notify();
            self.wake.wait();
        }
    }

    fn park(&self) -> bool {
        match self.state.ask_park() {
            Parking::Remembered | Parking::Over => false,
            Parking::Asked => {
                self.wake.notify();
                while !self.state.has_settled() {
                    self.changed.wait();
                }
                self.state.is_parked()
            }
        }
    }

    fn unpark(&self) {
        if self.state.unpark() {
            self.changed.notify();
            self.wake.notify();
        }
    }
}

fn run(thread: impl Fn(&Model) + Send + Sync + Copy + 'static, others: [fn(&Model); 2]) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let model = Model::new();
        let handles = others.map(|other| {
            let model = model.clone();
            thread::spawn(move || other(&model))
        });
        thread(&model);
        handles.into_iter().for_each(|handle| assert!(handle.join().is_ok()));
    });
}

#[test]
fn park_and_unpark_in_any_order_leave_the_thread_running() {
    // Were the unpark lost, the thread would stay parked, and loom reports that nobody can go on.
    run(
        |model| {
            model.park_if_asked();
            model.state.finish();
            model.changed.notify();
        },
        [
            |model| {
                model.park();
            },
            Model::unpark,
        ],
    );
}

#[test]
fn stopping_ends_the_parking() {
    run(
        |model| {
            while !model.state.should_stop() {
                model.park_if_asked();
                if !model.state.should_stop() && !model.state.should_park() {
                    model.wake.wait();
                }
            }
            model.state.finish();
            model.changed.notify();
        },
        [
            |model| {
                model.park();
            },
            |model| {
                model.state.ask_stop();
                model.wake.notify();
            },
        ],
    );
}
