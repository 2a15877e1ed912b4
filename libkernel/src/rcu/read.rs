//! The read guard.

use crate::sync::Hold;

/// While it lives, nothing that this code can reach under RCU is freed. Its code is not preempted and must not sleep; interrupts
/// come as ever.
///
/// It stays on the core, and in the poll, that made it: a future that holds one across an await is no task's.
///
/// ```compile_fail,E0277
/// fn spawn(_task: impl Future<Output = ()> + Send) {}
///
/// spawn(async {
///     let guard = libkernel::rcu::read();
///     core::future::ready(()).await;
///     drop(guard);
/// });
/// ```
///
/// ```
/// fn spawn(_task: impl Future<Output = ()> + Send) {}
///
/// spawn(async {
///     drop(libkernel::rcu::read());
///     core::future::ready(()).await;
/// });
/// ```
#[must_use = "what is read is protected while the guard lives"]
pub struct ReadGuard {
    /// A task with a stack of its own is not preempted while it reads.
    _hold: Hold,
}

/// Begins to read. Guards nest. Any context but an idle core's.
#[inline]
pub fn read() -> ReadGuard {
    #[cfg(not(target_os = "none"))]
    super::host::begin();
    ReadGuard { _hold: Hold::new() }
}

impl Drop for ReadGuard {
    #[inline]
    fn drop(&mut self) {
        #[cfg(not(target_os = "none"))]
        super::host::end();
    }
}
