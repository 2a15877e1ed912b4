//! Work items: each accepted request leads to one run, an item is in one place and polled by one core, no wake is lost, and a flush
//! ends only after what was accepted before it.

use libkernel_models::work_lane::Lane;
use libkernel_models::work_state::{ItemState, Queueing, Ticket, Turn};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex, Notify};
use loom::thread;

const TICKET: Ticket = Ticket::new(0, 0);

/// An item, and the one worker that it has.
struct Model {
    state: ItemState,
    /// Stands for the node and the body: loom reports two users at a time.
    owned: UnsafeCell<usize>,
    inbox: AtomicBool,
    interrupt: Notify,
    /// What is published by nothing but the request to queue.
    work: AtomicUsize,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: ItemState::new(),
            owned: UnsafeCell::new(0),
            inbox: AtomicBool::new(false),
            interrupt: Notify::new(),
            work: AtomicUsize::new(0),
        })
    }

    fn touch(&self) {
        // SAFETY: loom checks that nobody else is here.
        self.owned.with_mut(|owned| unsafe { *owned += 1 });
    }

    fn link(&self) {
        self.touch();
        assert!(!self.inbox.swap(true, Ordering::AcqRel), "linked twice");
        self.interrupt.notify();
    }

    /// `true`: accepted.
    fn queue(&self) -> bool {
        if self.state.refusal().is_some() {
            return false;
        }
        match self.state.queue(TICKET) {
            Queueing::Link => {
                self.link();
                true
            }
            Queueing::Accepted => true,
            Queueing::Already | Queueing::Blocked => false,
        }
    }

    fn wake(&self) {
        if self.state.wake() {
            self.link();
        }
    }

    /// The worker takes the item out of its inbox, sleeping until it is there.
    fn receive(&self) {
        while !self.inbox.swap(false, Ordering::Acquire) {
            self.interrupt.wait();
        }
    }
}

/// A run of the lane ends; nobody sleeps for it here.
fn leave(lane: &Lane, colour: usize) {
    let _ = lane.leave(colour);
}

fn joined<T>(thread: thread::JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|_| unreachable!())
}

#[test]
fn each_accepted_request_leads_to_one_run_that_sees_what_came_before() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let model = Model::new();
        let users: Vec<_> = (0..2)
            .map(|_| {
                let model = model.clone();
                thread::spawn(move || {
                    model.work.fetch_add(1, Ordering::Relaxed);
                    model.queue()
                })
            })
            .collect();
        let (mut runs, mut seen) = (0, 0);
        while seen < 2 {
            model.receive();
            loop {
                match model.state.take() {
                    Turn::Start => {}
                    Turn::Resume | Turn::Nothing => unreachable!(),
                }
                model.touch();
                seen = model.work.load(Ordering::Relaxed);
                runs += 1;
                model.touch();
                if !model.state.finish().again {
                    break;
                }
            }
        }
        let mut accepted: usize = users.into_iter().map(|user| usize::from(joined(user))).sum();
        // One that came after the last look is still to be run.
        if model.inbox.load(Ordering::Relaxed) {
            accepted -= 1;
        }
        assert_eq!(accepted, runs);
    });
}

#[test]
fn a_run_that_waits_is_woken_once_and_queued_again_meanwhile() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let model = Model::new();
        // What the run waits for: whether it has come, and whether somebody waits.
        let event = Arc::new(Mutex::new((false, false)));
        assert!(model.queue());
        let waker = {
            let (model, event) = (model.clone(), event.clone());
            thread::spawn(move || {
                let waiting = {
                    let mut event = event.lock().unwrap_or_else(|_| unreachable!());
                    event.0 = true;
                    event.1
                };
                if waiting {
                    model.wake();
                }
            })
        };
        let user = {
            let model = model.clone();
            thread::spawn(move || model.queue())
        };
        let mut runs = 0;
        let mut over = false;
        while !over {
            model.receive();
            loop {
                match model.state.take() {
                    Turn::Start => runs += 1,
                    Turn::Resume => {}
                    Turn::Nothing => unreachable!(),
                }
                model.touch();
                let come = {
                    let mut event = event.lock().unwrap_or_else(|_| unreachable!());
                    event.1 = true;
                    event.0
                };
                model.touch();
                let again = if come {
                    over = true;
                    model.state.finish().again
                } else {
                    model.state.end_poll()
                };
                if !again {
                    break;
                }
            }
        }
        joined(waker);
        let accepted = joined(user);
        // What was accepted after the end is still in the inbox.
        let left = usize::from(model.inbox.load(Ordering::Relaxed));
        assert_eq!(runs + left, 1 + usize::from(accepted));
    });
}

#[test]
fn after_cancelling_nothing_runs_and_nothing_is_queued() {
    loom::model(|| {
        let model = Model::new();
        let user = {
            let model = model.clone();
            thread::spawn(move || model.queue())
        };
        let canceller = {
            let model = model.clone();
            thread::spawn(move || {
                let cancelled = model.state.block().is_some();
                // As `cancel_and_wait` does: at rest means that no run goes on, and none can begin.
                if model.state.is_at_rest() {
                    assert!(!model.state.is_queued());
                }
                cancelled
            })
        };
        let (accepted, cancelled) = (joined(user), joined(canceller));
        assert!(accepted || !cancelled, "cancelled without having been queued");
        // What the worker finds: the item, if it was linked, and a run, if it was accepted and not cancelled.
        if model.inbox.load(Ordering::Relaxed) {
            match model.state.take() {
                Turn::Start => assert!(accepted && !cancelled),
                Turn::Nothing => assert!(cancelled),
                Turn::Resume => unreachable!(),
            }
        } else {
            assert!(!accepted);
        }
    });
}

#[test]
fn a_closed_lane_has_counted_every_run_it_accepted() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let lane = Arc::new(Lane::new());
        let executed = Arc::new(AtomicUsize::new(0));
        let users: Vec<_> = (0..2)
            .map(|_| {
                let (lane, executed) = (lane.clone(), executed.clone());
                thread::spawn(move || match lane.enter() {
                    Some(colour) => {
                        executed.fetch_add(1, Ordering::Relaxed);
                        leave(&lane, colour);
                        1
                    }
                    None => 0,
                })
            })
            .collect();
        lane.close();
        let over = lane.look().filter(|first| lane.look() == Some(*first));
        let seen = executed.load(Ordering::Relaxed);
        let accepted: usize = users.into_iter().map(joined).sum();
        if let Some(accepted_by_then) = over {
            assert_eq!((accepted_by_then as usize, seen), (accepted, accepted), "closed and over: nothing comes after");
        }
    });
}

#[test]
fn a_flush_ends_after_every_run_accepted_before_it() {
    loom::model(|| {
        let lane = Arc::new(Lane::new());
        let ended = Arc::new(AtomicUsize::new(0));
        let before = lane.enter();
        let worker = {
            let (lane, ended) = (lane.clone(), ended.clone());
            thread::spawn(move || {
                // Another run comes and goes meanwhile, of whichever colour.
                let other = lane.enter();
                ended.store(1, Ordering::Relaxed);
                before.into_iter().chain(other).for_each(|colour| leave(&lane, colour));
            })
        };
        lane.flip();
        if lane.is_settled() {
            assert_eq!(ended.load(Ordering::Relaxed), 1, "the run from before was waited for");
        }
        joined(worker);
        assert!(lane.is_settled());
        assert_eq!(lane.look(), Some(2));
    });
}

#[test]
fn two_equal_looks_at_two_lanes_prove_a_moment_without_runs() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let lanes = Arc::new((Lane::new(), Lane::new()));
        let finished = Arc::new(AtomicBool::new(false));
        let first = lanes.0.enter();
        let worker = {
            let (lanes, finished) = (lanes.clone(), finished.clone());
            thread::spawn(move || {
                // A chain: each run queues the next one before it ends, on the other lane. It is as long as two looks at both lanes need
                // to find each of them idle each time.
                let mut run = first;
                for (lane, other) in [(&lanes.0, &lanes.1), (&lanes.1, &lanes.0)].into_iter().cycle().take(4) {
                    let next = other.enter();
                    run.into_iter().for_each(|colour| leave(lane, colour));
                    run = next;
                }
                finished.store(true, Ordering::Relaxed);
                run.into_iter().for_each(|colour| leave(&lanes.0, colour));
            })
        };
        let look = || Some((lanes.0.look()?, lanes.1.look()?));
        let one = look();
        if one.is_some() && one == look() {
            assert!(finished.load(Ordering::Relaxed), "the chain had not ended");
        }
        joined(worker);
    });
}
