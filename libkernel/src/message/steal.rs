//! The request of a core that has run dry, and its answer.

use super::{Kind, Node};
use crate::sched::steal::Loot;
use crate::task::Runnable;

/// A request for tasks. A core makes one at boot and has at most that one under way: it goes to a victim as a request
/// and comes back, the same box, as the answer.
#[derive(Debug)]
pub struct StealRequest {
    pub(super) node: Node<Kind>,
    thief: u32,
    victim: u32,
    /// The tasks given; none in a request, and none in a refusal.
    pub loot: Loot<Runnable>,
}

impl StealRequest {
    /// The request of core `thief`.
    pub fn new(thief: u32) -> Self {
        Self { node: Node::new(), thief, victim: thief, loot: Loot::new() }
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
}
