//! The request for a quiescent state, and its answer.

use alloc::boxed::Box;

use crate::message::{Kind, Node};

/// A core's question to another one whether that has been without a reader. A core makes one for each other core when it comes
/// online; each goes out as the request of a grace period, and comes back, the same box, as the answer.
#[derive(Debug)]
pub struct GraceRequest {
    pub(crate) node: Node<Kind>,
    from: usize,
    to: usize,
    next: Option<Box<GraceRequest>>,
}

impl GraceRequest {
    /// A request of core `from`.
    pub fn new(from: usize) -> Self {
        Self { node: Node::new(), from, to: from, next: None }
    }

    /// The core that asks.
    pub fn from(&self) -> usize {
        self.from
    }

    /// The core that is asked.
    pub fn to(&self) -> usize {
        self.to
    }

    /// Notes whom the core asks.
    pub(super) fn address_to(&mut self, to: usize) {
        self.to = to;
    }
}

/// Requests at rest, linked through themselves.
#[derive(Debug, Default)]
pub struct Requests {
    first: Option<Box<GraceRequest>>,
}

impl Requests {
    pub(super) const fn new() -> Self {
        Self { first: None }
    }

    pub(super) fn push(&mut self, mut request: Box<GraceRequest>) {
        request.next = self.first.take();
        self.first = Some(request);
    }

    pub(super) fn pop(&mut self) -> Option<Box<GraceRequest>> {
        let mut request = self.first.take()?;
        self.first = request.next.take();
        Some(request)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}
