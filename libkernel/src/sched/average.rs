//! The virtual time of a fair queue: the weighted average of its tasks' virtual runtimes, without dividing where it matters.
//!
//! Virtual times are `u64` and wrap; they are compared by the sign of their difference only. Sums are kept relative to an origin that
//! follows the average, so that they stay small however long the machine runs; they are `i128`, so that no number of tasks,
//! no weight and no slice overflows them.

/// What the running task adds to the sums: it is queued, but not in the tree.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Its virtual runtime.
    pub vruntime: u64,
    /// Its weight.
    pub weight: u32,
}

/// The sums over the waiting tasks.
///
/// # Invariants
/// `weighted` is the sum of `weight * (vruntime - origin)`, `weight` the sum of the weights, both over exactly the tasks in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Average {
    origin: u64,
    weighted: i128,
    weight: u64,
}

/// The sums with the running task, for any number of eligibility tests.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    origin: u64,
    weighted: i128,
    weight: i128,
}

/// Whether virtual time `a` is before `b`.
#[inline]
pub const fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

/// The earlier of two virtual times.
#[inline]
pub const fn earlier(a: u64, b: u64) -> u64 {
    if before(b, a) { b } else { a }
}

impl Average {
    /// Sums over nothing, with virtual time at `origin`.
    pub const fn new(origin: u64) -> Self {
        Self { origin, weighted: 0, weight: 0 }
    }

    /// Sums over nothing, with the same origin.
    #[cfg(test)]
    pub fn emptied(&self) -> Self {
        Self::new(self.origin)
    }

    /// The weight of the waiting tasks.
    #[inline]
    pub fn weight(&self) -> u64 {
        self.weight
    }

    #[inline]
    fn key(&self, vruntime: u64) -> i128 {
        i128::from(vruntime.wrapping_sub(self.origin) as i64)
    }

    /// Counts a task that enters the tree.
    #[inline]
    pub fn add(&mut self, share: Share) {
        self.weighted += self.key(share.vruntime) * i128::from(share.weight);
        self.weight += u64::from(share.weight);
    }

    /// Stops counting a task that leaves the tree.
    #[inline]
    pub fn subtract(&mut self, share: Share) {
        self.weighted -= self.key(share.vruntime) * i128::from(share.weight);
        self.weight -= u64::from(share.weight);
    }

    /// Moves virtual time of a queue where nobody waits.
    #[inline]
    pub fn restart(&mut self, origin: u64) {
        debug_assert_eq!(self.weight, 0, "somebody waits");
        self.origin = origin;
    }

    /// The sums with the running task, for eligibility tests: no division.
    #[inline]
    pub fn threshold(&self, running: Option<Share>) -> Threshold {
        let mut threshold = Threshold { origin: self.origin, weighted: self.weighted, weight: i128::from(self.weight) };
        if let Some(share) = running {
            threshold.weighted += self.key(share.vruntime) * i128::from(share.weight);
            threshold.weight += i128::from(share.weight);
        }
        threshold
    }

    /// Virtual time: the average, rounded down, with the running task. It becomes the origin.
    ///
    /// Without any task virtual time stands still.
    #[inline]
    pub fn advance(&mut self, running: Option<Share>) -> u64 {
        if self.weight == 0 {
            // Alone it is the average.
            self.origin = running.map_or(self.origin, |share| share.vruntime);
            return self.origin;
        }
        let Threshold { weighted, weight, .. } = self.threshold(running);
        let delta = floor_divide(weighted, weight);
        self.weighted -= i128::from(delta) * i128::from(self.weight);
        self.origin = self.origin.wrapping_add_signed(delta);
        self.origin
    }
}

impl Threshold {
    /// Whether a task with this virtual runtime is owed service, or even: exactly `vruntime <= average`.
    #[inline]
    pub fn is_eligible(&self, vruntime: u64) -> bool {
        self.weighted >= i128::from(vruntime.wrapping_sub(self.origin) as i64) * self.weight
    }
}

/// The quotient rounded down; 0 if there is nothing to divide by. A quotient is a difference of virtual times and fits.
fn floor_divide(sum: i128, weight: i128) -> i64 {
    if weight <= 0 {
        return 0;
    }
    match (i64::try_from(sum), i64::try_from(weight)) {
        (Ok(sum), Ok(weight)) => sum.div_euclid(weight),
        _ => sum.div_euclid(weight) as i64,
    }
}
