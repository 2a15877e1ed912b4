//! Inboxes: nothing is lost, nothing arrives twice, order is kept for each sender, and a core that sleeps has no message.

use libkernel_models::inbox::{Envelope, Inbox, Node, Post, Reader};
use loom::sync::{Arc, Notify};
use loom::thread::{self, JoinHandle};
use std::ptr::NonNull;

struct Letter {
    node: Node<()>,
    sender: usize,
    number: usize,
}

struct Sent(Box<Letter>);

impl Post for Sent {
    type Tag = ();

    fn into_envelope(self) -> Envelope<()> {
        let letter = Box::into_raw(self.0);
        // SAFETY: the pointer was a box's a moment ago.
        let node = unsafe { NonNull::from(&(*letter).node) };
        Envelope { node, content: letter.cast_const().cast(), tag: () }
    }

    unsafe fn from_envelope(envelope: Envelope<()>) -> Self {
        // SAFETY: `into_envelope` made it from a box; the caller gives it back once.
        Self(unsafe { Box::from_raw(envelope.content.cast::<Letter>().cast_mut()) })
    }
}

fn letter(sender: usize, number: usize) -> Sent {
    Sent(Box::new(Letter { node: Node::new(), sender, number }))
}

/// Starts `senders` cores that send `each` letters, and interrupt the receiver where they have to.
fn start_senders(
    senders: usize,
    each: usize,
    inbox: &Arc<Inbox<Sent>>,
    interrupt: &Arc<Notify>,
) -> Vec<JoinHandle<()>> {
    let start = |sender| {
        let (inbox, interrupt) = (inbox.clone(), interrupt.clone());
        thread::spawn(move || {
            for number in 0..each {
                if inbox.push(letter(sender, number)) {
                    interrupt.notify();
                }
            }
        })
    };
    (0..senders).map(start).collect()
}

/// `senders` cores send `each` letters; the receiver sleeps whenever its inbox is empty and only an interrupt wakes it.
///
/// `switches` bounds the forced thread switches of one run, where all interleavings would be too many.
fn storm(senders: usize, each: usize, switches: Option<usize>) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = switches;
    builder.check(move || {
        let inbox = Arc::new(Inbox::<Sent>::new());
        let interrupt = Arc::new(Notify::new());
        let threads = start_senders(senders, each, &inbox, &interrupt);
        let mut reader = Reader::new();
        let mut expected = vec![0; senders];
        while expected.iter().sum::<usize>() < senders * each {
            // As the idle loop does: look once more, then sleep until an interrupt is pending.
            match reader.next(&inbox) {
                Some(Sent(letter)) => {
                    let next = expected.get_mut(letter.sender);
                    assert_eq!(next.as_deref(), Some(&letter.number), "order of one sender");
                    next.into_iter().for_each(|next| *next += 1);
                }
                None => interrupt.wait(),
            }
        }
        assert!(reader.next(&inbox).is_none());
        threads.into_iter().for_each(|thread| assert!(thread.join().is_ok()));
    });
}

/// As [`storm`], but the receiver takes one letter at a time and sleeps if neither inbox nor reader has more: it does not look for a letter
/// first.
fn one_at_a_time(senders: usize, each: usize, switches: Option<usize>) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = switches;
    builder.check(move || {
        let inbox = Arc::new(Inbox::<Sent>::new());
        let interrupt = Arc::new(Notify::new());
        let threads = start_senders(senders, each, &inbox, &interrupt);
        let mut reader = Reader::new();
        let mut received = 0;
        while received < senders * each {
            received += usize::from(reader.next(&inbox).is_some());
            let left = !reader.is_empty() || !inbox.is_empty();
            if received < senders * each && !left {
                interrupt.wait();
            }
        }
        threads.into_iter().for_each(|thread| assert!(thread.join().is_ok()));
    });
}

#[test]
fn what_a_batch_leaves_needs_no_interrupt() {
    one_at_a_time(1, 3, None);
    one_at_a_time(2, 2, Some(2));
}

#[test]
fn two_senders_wake_a_sleeping_receiver() {
    storm(2, 1, None);
}

#[test]
fn one_sender_keeps_its_order() {
    storm(1, 3, None);
}

#[test]
fn two_senders_of_two_letters_each() {
    storm(2, 2, Some(2));
}
