//! Grace periods: what was taken out is never freed under a reader, whether its core is idle, asked, or both in turn.

use libkernel_models::inbox::{Envelope, Inbox, Node, Post, Reader};
use libkernel_models::quiescence::{Quiescence, order_removals};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;
use std::ptr::NonNull;

/// A request or its answer.
struct Letter(Box<Node<()>>);

impl Post for Letter {
    type Tag = ();

    fn into_envelope(self) -> Envelope<()> {
        let node = NonNull::from(Box::leak(self.0));
        Envelope { node, content: node.as_ptr().cast_const().cast(), tag: () }
    }

    unsafe fn from_envelope(envelope: Envelope<()>) -> Self {
        // SAFETY: `into_envelope` made it from a box; the caller gives it back once.
        Self(unsafe { Box::from_raw(envelope.node.as_ptr()) })
    }
}

/// Loom reports a read of it that is not ordered before the write which stands for freeing it.
struct Object(UnsafeCell<u32>);

struct World {
    published: AtomicPtr<Object>,
    quiescence: Quiescence,
    requests: Inbox<Letter>,
    over: AtomicBool,
    asked: Notify,
    answers: Inbox<Letter>,
    answered: Notify,
}

impl World {
    fn read(&self) {
        // SAFETY: the boxes live until the model's thread frees them after all threads have ended.
        let object = unsafe { &*self.published.load(Ordering::Acquire) };
        // SAFETY: what is tested: the only write comes after the grace period.
        object.0.with(|value| assert_ne!(unsafe { *value }, 0));
    }
}

/// A core reads `reads` times, idle in between if `sleeps`, then stays idle; another one replaces the object and frees the old one.
fn model(reads: usize, sleeps: bool) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let old = Box::into_raw(Box::new(Object(UnsafeCell::new(1))));
        let new = Box::into_raw(Box::new(Object(UnsafeCell::new(2))));
        let world = Arc::new(World {
            published: AtomicPtr::new(old),
            quiescence: Quiescence::new(),
            requests: Inbox::new(),
            over: AtomicBool::new(false),
            asked: Notify::new(),
            answers: Inbox::new(),
            answered: Notify::new(),
        });
        let reader = {
            let world = world.clone();
            thread::spawn(move || {
                let mut inbox = Reader::new();
                let answer = |inbox: &mut Reader<Letter>| {
                    while let Some(letter) = inbox.next(&world.requests) {
                        if world.answers.push(letter) {
                            world.answered.notify();
                        }
                    }
                };
                world.quiescence.leave();
                for _ in 0..reads {
                    world.read();
                    answer(&mut inbox);
                    if sleeps {
                        world.quiescence.enter();
                        world.quiescence.leave();
                    }
                }
                // Idle from here on, but for the interrupt of a request, which may have crossed the way into idle.
                while !world.over.load(Ordering::Relaxed) {
                    world.quiescence.enter();
                    world.asked.wait();
                    world.quiescence.leave();
                    answer(&mut inbox);
                }
            })
        };
        world.published.store(new, Ordering::Release);
        order_removals();
        if !world.quiescence.is_extended() {
            if world.requests.push(Letter(Box::new(Node::new()))) {
                world.asked.notify();
            }
            let mut inbox = Reader::new();
            while inbox.next(&world.answers).is_none() {
                world.answered.wait();
            }
        }
        // SAFETY: what is tested: nobody reads the object any more.
        unsafe { &*old }.0.with_mut(|value| unsafe { *value = 0 });
        world.over.store(true, Ordering::Relaxed);
        world.asked.notify();
        assert!(reader.join().is_ok());
        // SAFETY: all threads are done with both.
        unsafe { drop((Box::from_raw(old), Box::from_raw(new))) };
    });
}

#[test]
fn a_core_that_comes_and_goes_is_waited_for() {
    model(2, true);
}

#[test]
fn a_core_that_stays_awake_is_asked() {
    model(2, false);
}
