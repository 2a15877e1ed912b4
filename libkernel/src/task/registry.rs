//! Where all tasks are, for the debugger: in builds with debug assertions only (see `scripts/gdb/lichen.py`).
//!
//! Nothing in the kernel reads it. Tasks may begin in task context and end anywhere.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use crate::sync::IrqSpinLock;

struct Registry {
    /// Addresses of tasks; 0 where one has ended.
    tasks: Vec<usize>,
    /// Places with 0.
    free: Vec<usize>,
}

static REGISTRY: IrqSpinLock<Registry> = IrqSpinLock::new(Registry { tasks: Vec::new(), free: Vec::new() });

/// A task's place, given up when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Option<usize>);

impl Place {
    /// A place for a task that is not made yet. Without memory there is none, and the debugger misses the task.
    pub fn take() -> Self {
        let mut registry = REGISTRY.lock();
        if let Some(place) = registry.free.pop() {
            return Self(Some(place));
        }
        // Room to free every place, so that freeing never allocates.
        let more = registry.tasks.len() + 1;
        if registry.tasks.try_reserve(1).is_err() || registry.free.try_reserve(more).is_err() {
            return Self(None);
        }
        registry.tasks.push(0);
        Self(Some(more - 1))
    }

    /// The task is at `address`.
    pub fn fill(&self, address: usize) {
        if let Some(place) = self.0
            && let Some(slot) = REGISTRY.lock().tasks.get_mut(place)
        {
            *slot = address;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.fill(0);
        if let Some(place) = self.0 {
            REGISTRY.lock().free.push(place);
        }
    }
}
