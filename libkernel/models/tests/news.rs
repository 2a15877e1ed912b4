//! News of changed parameters: the core that has the task in the end knows the last change, though not every change is sent.

use libkernel_models::news::NewsState;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;

/// A task on one of two cores; each change adds one to its parameters.
struct Model {
    state: NewsState,
    parameters: AtomicUsize,
    home: AtomicUsize,
    /// Whether a core's inbox has the news.
    inbox: [AtomicUsize; 2],
    /// What each core saw last.
    seen: [AtomicUsize; 2],
}

impl Model {
    fn change(&self) {
        self.parameters.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        fence(Ordering::SeqCst);
        let home = self.home.load(Ordering::Relaxed);
        if self.state.announce() {
            // As the inbox does, which links by compare and swap.
            self.inbox[home].swap(1, Ordering::Release);
        }
    }

    fn drain(&self, core: usize) {
        if self.inbox[core].swap(0, Ordering::Acquire) == 0 {
            return;
        }
        self.state.receive();
        fence(Ordering::SeqCst);
        if self.home.load(Ordering::Relaxed) == core { self.look(core) } else { self.tell() }
    }

    fn look(&self, core: usize) {
        self.seen[core].store(self.parameters.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn move_to(&self, core: usize) {
        self.home.store(core, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.look(core);
    }
}

#[test]
fn the_core_that_has_the_task_knows_the_last_change() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let model = Arc::new(Model {
            state: NewsState::new(),
            parameters: AtomicUsize::new(0),
            home: AtomicUsize::new(0),
            inbox: [AtomicUsize::new(0), AtomicUsize::new(0)],
            seen: [AtomicUsize::new(0), AtomicUsize::new(0)],
        });
        let changers: Vec<_> = (0..2)
            .map(|_| {
                let model = model.clone();
                thread::spawn(move || model.change())
            })
            .collect();
        // Core 0 receives; then the task moves, and core 1 receives.
        model.drain(0);
        model.move_to(1);
        changers.into_iter().for_each(|changer| assert!(changer.join().is_ok()));
        for core in [0, 1] {
            model.drain(core);
        }
        assert_eq!(model.seen[1].load(Ordering::Relaxed), 2);
    });
}
