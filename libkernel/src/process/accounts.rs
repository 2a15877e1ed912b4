//! How many threads each user has (getrlimit(2), `RLIMIT_NPROC`).
#![forbid(unsafe_code)]

use super::capability::Capability;
use super::credentials::Credentials;
use super::id::Uid;
use super::limits::INFINITY;
use crate::sync::SpinLock;
use crate::{Errno, Result};
use alloc::collections::BTreeMap;

/// Threads by real user. Users without threads have no entry.
static THREADS: SpinLock<BTreeMap<Uid, u64>> = SpinLock::new(BTreeMap::new());

/// May somebody with these credentials have one more thread under `limit`?
///
/// # Errors
/// `EAGAIN`.
pub(super) fn check(credentials: &Credentials, limit: u64) -> Result<()> {
    let exempt = credentials.uid.real.is_root()
        || credentials.has(Capability::SysResource)
        || credentials.has(Capability::SysAdmin);
    if exempt || limit == INFINITY || count(credentials.uid.real) < limit { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// How many threads a user has.
pub(super) fn count(user: Uid) -> u64 {
    THREADS.lock().get(&user).copied().unwrap_or(0)
}

/// A thread of `user` begins.
pub(super) fn begin(user: Uid) {
    *THREADS.lock().entry(user).or_insert(0) += 1;
}

/// A thread of `user` ends.
pub(super) fn end(user: Uid) {
    let mut threads = THREADS.lock();
    if let Some(count) = threads.get_mut(&user) {
        *count -= 1;
        if *count == 0 {
            threads.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_on_the_threads_of_the_user() {
        let user = Uid::new(77_001).unwrap();
        let credentials = Credentials::root().set_uid(user).unwrap();
        begin(user);
        begin(user);
        assert_eq!(check(&credentials, 3), Ok(()));
        assert_eq!(check(&credentials, 2), Err(Errno::EAGAIN));
        assert_eq!(check(&Credentials::root(), 0), Ok(()));
        end(user);
        end(user);
        assert_eq!(count(user), 0);
    }
}
