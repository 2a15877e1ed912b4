//! The news that a task's parameters have changed, on its way to the task's core.
//!
//! A program can change the parameters of a task faster than the task's core hears of it. So the news is part of the task and is under way at
//! most once: who finds it under way leaves it at that, because whoever receives it looks at the parameters afterwards. Any context, no
//! allocation.

use alloc::sync::Arc;

use super::Task;
use super::news::NewsState;
use crate::message::{Kind, Node};

/// A task's place for the news.
pub(crate) struct News {
    state: NewsState,
    /// Belongs to the [`Changed`].
    pub(crate) node: Node<Kind>,
}

impl News {
    pub(super) fn new() -> Self {
        Self { state: NewsState::new(), node: Node::new() }
    }
}

/// The news about one task.
///
/// # Invariants
/// There is at most one for each task, and one exactly while it is under way.
#[derive(Debug)]
pub struct Changed(Arc<Task>);

impl Changed {
    /// The news, unless it is under way already: then its receiver will see what was stored before this call.
    #[must_use]
    pub fn announce(task: &Arc<Task>) -> Option<Self> {
        task.news().state.announce().then(|| Self(task.clone()))
    }

    /// The task whose parameters have changed. Look at them now, and where the task is.
    #[must_use]
    pub fn receive(self) -> Arc<Task> {
        self.0.news().state.receive();
        self.0
    }

    pub(crate) fn into_task(self) -> Arc<Task> {
        self.0
    }

    /// # Safety
    /// The task comes from [`into_task`](Changed::into_task), and is given back once.
    pub(crate) unsafe fn from_task(task: Arc<Task>) -> Self {
        Self(task)
    }
}
