//! The request of a core that has run dry, and its answer.

use super::{Kind, Node};
use crate::task::Runnable;

/// How many tasks one answer can carry.
pub const BATCH: usize = 4;

/// A request for tasks. A core makes one at boot and has at most that one under way: it goes to a victim as a request
/// and comes back, the same box, as the answer.
#[derive(Debug)]
pub struct StealRequest {
    pub(super) node: Node<Kind>,
    thief: u32,
    victim: u32,
    given: [Option<Runnable>; BATCH],
}

impl StealRequest {
    /// The request of core `thief`.
    pub fn new(thief: u32) -> Self {
        Self { node: Node::new(), thief, victim: thief, given: [const { None }; BATCH] }
    }

    /// The core that asks.
    pub fn thief(&self) -> u32 {
        self.thief
    }

    /// The core asked last.
    pub fn victim(&self) -> u32 {
        self.victim
    }

    /// Notes whom the thief asks, before it sends the request.
    pub fn address_to(&mut self, victim: u32) {
        self.victim = victim;
    }

    /// Puts a task into the answer; gives it back if the answer is full.
    pub fn give(&mut self, runnable: Runnable) -> Result<(), Runnable> {
        match self.given.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => {
                *slot = Some(runnable);
                Ok(())
            }
            None => Err(runnable),
        }
    }

    /// Takes one of the tasks given; none at all means that the victim refused.
    pub fn take(&mut self) -> Option<Runnable> {
        self.given.iter_mut().find_map(Option::take)
    }
}
