//! News of changed parameters: the core that has the task in the end knows the last change, though not every change is sent. And by
//! itself, without the fences that order it with the task's home, the word does what it promises.

use libkernel_models::news::NewsState;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;

/// A task that is on core 0 at first; each change adds one to its parameters.
struct Model {
    state: NewsState,
    /// What links the news into an inbox: loom reports two users at a time.
    node: UnsafeCell<usize>,
    parameters: AtomicUsize,
    home: AtomicUsize,
    /// Whether a core's inbox has the news.
    inbox: [AtomicUsize; 2],
    /// What each core saw last.
    seen: [AtomicUsize; 2],
}

/// A core that never has the task.
const ELSEWHERE: usize = 2;

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: NewsState::new(),
            node: UnsafeCell::new(0),
            parameters: AtomicUsize::new(0),
            home: AtomicUsize::new(0),
            inbox: [AtomicUsize::new(0), AtomicUsize::new(0)],
            seen: [AtomicUsize::new(0), AtomicUsize::new(0)],
        })
    }

    fn touch(&self) {
        // SAFETY: loom checks that nobody else is here.
        self.node.with_mut(|node| unsafe { *node += 1 });
    }

    fn change(&self, me: usize) {
        self.parameters.fetch_add(1, Ordering::Relaxed);
        self.changed(me);
    }

    fn changed(&self, me: usize) {
        fence(Ordering::SeqCst);
        let home = self.home.load(Ordering::Relaxed);
        if home == me { self.look(me) } else { self.send_to(home) }
    }

    fn send_to(&self, core: usize) {
        if self.state.announce() {
            self.touch();
            // As the inbox does, which links by compare and swap.
            self.inbox[core].swap(1, Ordering::Release);
        }
    }

    /// Whether the core finds the news in its inbox.
    fn receive(&self, core: usize) -> bool {
        let arrived = self.inbox[core].swap(0, Ordering::Acquire) != 0;
        if arrived {
            self.touch();
            self.state.receive();
        }
        arrived
    }

    fn drain(&self, core: usize) {
        if self.receive(core) {
            self.changed(core);
        }
    }

    fn look(&self, core: usize) {
        self.seen[core].store(self.parameters.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn arrive_on(&self, core: usize) {
        self.home.store(core, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.look(core);
    }
}

/// Runs `this` on core 0 and the others beside it.
fn run(others: [fn(&Model); 2], this: impl Fn(&Model) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let model = Model::new();
        let others = others.map(|other| {
            let model = model.clone();
            thread::spawn(move || other(&model))
        });
        this(&model);
        others.into_iter().for_each(|other| assert!(other.join().is_ok()));
        // What is still under way. Where nothing is, the looks before have seen it all.
        model.drain(0);
        model.drain(1);
        let home = model.home.load(Ordering::Relaxed);
        assert_eq!(model.seen[home].load(Ordering::Relaxed), model.parameters.load(Ordering::Relaxed));
    });
}

#[test]
fn the_core_that_has_the_task_knows_the_last_change() {
    run([|model| model.change(ELSEWHERE), |model| model.arrive_on(1)], |model| {
        model.change(0);
        model.drain(0);
    });
}

#[test]
fn the_receiver_sees_what_was_changed_before_its_news_was_found_under_way() {
    let change = |model: &Model| {
        model.parameters.fetch_add(1, Ordering::Relaxed);
        model.send_to(0);
    };
    run([change; 2], |model| {
        if model.receive(0) {
            model.look(0);
        }
    });
}
