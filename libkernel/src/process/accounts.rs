//! What each user has, for the limits that count it (getrlimit(2)): threads for `RLIMIT_NPROC`, queued signals for
//! `RLIMIT_SIGPENDING`.
//!
//! A user is the real one of a thread or of a signal's receiver. Counting is callable in any context, and so is giving back;
//! neither frees memory, for the table keeps every account that somebody refers to. Finding an account allocates, the first
//! time, and is not for interrupt handlers.
#![forbid(unsafe_code)]

use super::capability::Capability;
use super::credentials::Credentials;
use super::id::Uid;
use super::limits::INFINITY;
use crate::sync::SpinLock;
use crate::{Errno, Result};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// Accounts that nobody refers to any more go once there are so many, and from then on at each doubling.
const FIRST_SWEEP: usize = 64;

static ACCOUNTS: SpinLock<Accounts> = SpinLock::new(Accounts { by_user: BTreeMap::new(), sweep_at: FIRST_SWEEP });

struct Accounts {
    by_user: BTreeMap<Uid, Arc<Account>>,
    sweep_at: usize,
}

/// What one user has.
#[derive(Debug, Default)]
pub struct Account {
    threads: AtomicU64,
    signals: AtomicU64,
}

/// The account of a user.
pub(super) fn of(user: Uid) -> Arc<Account> {
    let mut accounts = ACCOUNTS.lock();
    if let Some(account) = accounts.by_user.get(&user) {
        return account.clone();
    }
    if accounts.by_user.len() >= accounts.sweep_at {
        accounts.by_user.retain(|_, account| Arc::strong_count(account) > 1);
        accounts.sweep_at = FIRST_SWEEP.max(accounts.by_user.len() * 2);
    }
    accounts.by_user.entry(user).or_default().clone()
}

impl Account {
    /// May somebody with these credentials, whose account it is, have one more thread under `limit`?
    ///
    /// # Errors
    /// `EAGAIN`.
    pub(super) fn check_threads(&self, credentials: &Credentials, limit: u64) -> Result<()> {
        let exempt = credentials.uid.real.is_root()
            || credentials.has(Capability::SysResource)
            || credentials.has(Capability::SysAdmin);
        let fits = limit == INFINITY || self.threads.load(Ordering::Relaxed) < limit;
        if exempt || fits { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// A thread of the user begins.
    pub(super) fn begin_thread(&self) {
        self.threads.fetch_add(1, Ordering::Relaxed);
    }

    /// A thread of the user ends.
    pub(super) fn end_thread(&self) {
        self.threads.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many signals a receiver's user may have queued, and who that is.
#[derive(Debug)]
pub struct SignalAllowance {
    account: Arc<Account>,
    limit: u64,
}

impl SignalAllowance {
    pub(super) fn new(account: Arc<Account>, limit: u64) -> Self {
        Self { account, limit }
    }

    /// That of a user of its own, who is in no table.
    #[cfg(test)]
    pub(crate) fn of_stranger(limit: u64) -> Self {
        Self::new(Arc::default(), limit)
    }

    /// The same user under another limit.
    #[cfg(test)]
    pub(crate) fn with_limit(&self, limit: u64) -> Self {
        Self::new(self.account.clone(), limit)
    }

    /// How many signals the user has queued; POSIX timers count.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.account.signals.load(Ordering::Relaxed)
    }

    /// The most that the user may have queued.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Counts one more, which `exempt` allows beyond the limit.
    ///
    /// # Errors
    /// `EAGAIN`.
    pub(crate) fn charge(&self, exempt: bool) -> Result<SignalCharge> {
        let before = self.account.signals.fetch_add(1, Ordering::Relaxed);
        let charge = SignalCharge(self.account.clone());
        if exempt || before < self.limit { Ok(charge) } else { Err(Errno::EAGAIN) }
    }
}

/// A queued signal, or the timer that may send one, in the account of its receiver's user; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct SignalCharge(Arc<Account>);

impl Drop for SignalCharge {
    fn drop(&mut self) {
        self.0.signals.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_on_the_threads_of_the_user() {
        let user = Uid::new(77_001).unwrap();
        let credentials = Credentials::root().set_uid(user).unwrap();
        let account = of(user);
        account.begin_thread();
        of(user).begin_thread();
        assert_eq!(account.check_threads(&credentials, 3), Ok(()));
        assert_eq!(account.check_threads(&credentials, 2), Err(Errno::EAGAIN));
        assert_eq!(account.check_threads(&credentials, INFINITY), Ok(()));
        assert_eq!(account.check_threads(&Credentials::root(), 0), Ok(()));
        account.end_thread();
        assert_eq!(account.check_threads(&credentials, 2), Ok(()));
    }

    #[test]
    fn what_is_charged_counts_until_it_is_dropped() {
        let allowance = SignalAllowance::of_stranger(2);
        let first = allowance.charge(false).unwrap();
        let _second = allowance.with_limit(5).charge(false).unwrap();
        assert_eq!(allowance.charge(false).err(), Some(Errno::EAGAIN));
        assert_eq!(allowance.queued(), 2, "what was refused does not count");
        let _third = allowance.charge(true).unwrap();
        assert_eq!(allowance.queued(), 3);
        drop(first);
        assert_eq!(allowance.charge(false).err(), Some(Errno::EAGAIN));
        assert_eq!(allowance.with_limit(3).charge(false).err(), None);
    }

    #[test]
    fn accounts_that_nobody_has_do_not_pile_up() {
        let kept = of(Uid::new(78_000).unwrap());
        let charge = SignalAllowance::new(of(Uid::new(78_001).unwrap()), 1).charge(false).unwrap();
        for user in 0..10_000 {
            of(Uid::new(79_000 + user).unwrap());
        }
        assert!(ACCOUNTS.lock().by_user.len() < 2_000);
        assert!(Arc::ptr_eq(&kept, &of(Uid::new(78_000).unwrap())));
        assert!(Arc::ptr_eq(&charge.0, &of(Uid::new(78_001).unwrap())));
    }
}
