//! How a task's virtual times change when it arrives in a fair queue and when it leaves one: lag, deadline, weight.

use super::entity::{Entity, Left, Request};
use super::weight::NICE_0_WEIGHT;
use super::{Arrival, Departure};

/// How far beyond the longest slice a task's lag may go: the grain at which preemption may be late, in nanoseconds.
const TICK: u64 = 1_000_000;

impl<T> Entity<T> {
    /// Follows what the task requests. A change of weight keeps weight times distance from virtual time `average`, or times the lag of a
    /// task that slept.
    pub(super) fn follow(&mut self, request: &Request, base_slice: u64, average: u64, arrival: Arrival) {
        self.started = true;
        self.policy = request.policy;
        self.priority = request.priority;
        self.slice = request.slice.unwrap_or(base_slice);
        let weight = request.weight();
        if arrival == Arrival::Woken {
            // Its virtual runtime is that of when it fell asleep: rescale around the virtual time of then.
            let then = self.vruntime.wrapping_add_signed(self.lag);
            self.reweigh(weight, then);
        } else {
            self.reweigh(weight, average);
        }
    }

    /// The lag with which a task wakes: what it is owed is kept, what it owes shrinks as virtual time goes on.
    pub(super) fn lag_after_sleep(&self, queue: u32, average: u64, now: u64) -> i64 {
        if self.lag >= 0 {
            return self.lag;
        }
        let remaining = match self.left {
            Some(left) if left.queue == queue => average.wrapping_sub(self.vruntime) as i64,
            // Virtual times of two queues cannot be compared: estimate by the weight it left behind.
            Some(left) if left.rivals > 0 => {
                let elapsed = now.saturating_sub(left.at).saturating_mul(u64::from(NICE_0_WEIGHT)) / left.rivals;
                self.lag.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX))
            }
            _ => self.lag,
        };
        remaining.clamp(self.lag, 0)
    }

    /// Enters a queue of total weight `load` at virtual time `average`, with a lag that is to be `lag` once it is in.
    pub(super) fn place(&mut self, average: u64, lag: i64, load: u64, arrival: Arrival) {
        // Entering moves virtual time towards the newcomer; a larger lag makes up for it.
        let lag = scale_lag(lag, load.saturating_add(u64::from(self.weight)), load);
        self.vruntime = average.wrapping_sub(lag as u64);
        self.remainder = 0;
        let slice = self.scale(self.slice);
        self.deadline = match arrival {
            Arrival::Born => self.vruntime.wrapping_add(slice / 2),
            Arrival::Moved if self.deadline_is_relative => self.vruntime.wrapping_add(self.deadline),
            Arrival::Moved | Arrival::Woken => self.vruntime.wrapping_add(slice),
        };
        self.deadline_is_relative = false;
        self.protected_until = self.vruntime;
        match arrival {
            Arrival::Born => self.freshly_woken = false,
            Arrival::Woken => self.freshly_woken = true,
            Arrival::Moved => {}
        }
    }

    /// Leaves a queue at virtual time `average`; `longest` is the longest slice there, which limits the lag it keeps.
    pub(super) fn leave(&mut self, departure: Departure, average: u64, longest: u64, left: Left) {
        let limit = i64::try_from(self.scale(longest.saturating_add(TICK))).unwrap_or(i64::MAX >> 2);
        self.lag = (average.wrapping_sub(self.vruntime) as i64).clamp(-limit, limit);
        self.left = Some(left);
        self.deadline_is_relative = departure == Departure::Move;
        if self.deadline_is_relative {
            self.deadline = self.deadline.wrapping_sub(self.vruntime);
        }
    }
}

/// `lag * to / from`, within a quarter of the range; 0 if `from` is.
#[inline]
fn scale_lag(lag: i64, to: u64, from: u64) -> i64 {
    const MOST: i64 = i64::MAX >> 2;
    let product = i64::try_from(to).ok().and_then(|to| lag.checked_mul(to));
    if let (Some(product), Ok(from)) = (product, i64::try_from(from)) {
        return product.checked_div(from).unwrap_or(0).clamp(-MOST, MOST);
    }
    let scaled = (i128::from(lag) * i128::from(to)).checked_div(i128::from(from)).unwrap_or(0);
    scaled.clamp(i128::from(-MOST), i128::from(MOST)) as i64
}
