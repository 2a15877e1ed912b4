//! The runner of an ordered queue: an item of the unbound workers whose run takes the queue's items one after the other, each to its
//! end, sleeps included.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::item::{After, Link};
use super::pool::{Class, Pools};
use super::{Work, WorkQueue};
use crate::message::{Inbox, Reader};
use crate::task::yield_now;

/// The items of an ordered queue, and what runs them.
pub(super) struct Strand {
    inbox: Arc<Inbox<Link>>,
    runner: Work,
}

impl Strand {
    pub(super) fn new(pools: &'static Pools, name: &'static str) -> Self {
        let inbox = Arc::new(Inbox::new());
        let own = inbox.clone();
        let runner = WorkQueue::new(pools, name, Class::Unbound).work(move || run(own.clone()));
        Self { inbox, runner }
    }

    /// Adds an item. Whoever finds the inbox empty sees to it that the runner comes, once more if it is there: it may have looked already.
    pub(super) fn push(&self, link: Link) {
        if self.inbox.push(link) {
            // It is refused only if it is queued and has still to come; nobody cancels it or destroys its queue.
            let _ = self.runner.queue();
        }
    }
}

async fn run(inbox: Arc<Inbox<Link>>) {
    let mut reader = Reader::new();
    while let Some(link) = reader.next(&inbox) {
        if let After::Again(link) = link.whole_run().await {
            let queue = link.queue().clone();
            queue.link(link, 0);
        }
        yield_now().await;
    }
}
