//! O1: the same rules on a plain list with unbounded integers, without a tree, an origin or an aggregate.

use super::super::weight::NICE_0_WEIGHT;
use super::*;

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub id: u64,
    pub request: Request,
    pub weight: i128,
    pub slice: i128,
    pub v: i128,
    pub d: i128,
    protected: i128,
    remainder: i128,
    relative: bool,
    pub lag: i128,
    rivals: i128,
    slept_at: i128,
    started: bool,
}

impl Member {
    pub fn new(id: u64, request: Request) -> Self {
        let zero = 0;
        Self {
            id,
            request,
            weight: 1024,
            slice: zero,
            v: zero,
            d: zero,
            protected: zero,
            remainder: zero,
            relative: false,
            lag: zero,
            rivals: zero,
            slept_at: zero,
            started: false,
        }
    }

    fn scale(&self, real: i128) -> i128 {
        real * i128::from(NICE_0_WEIGHT) / self.weight
    }

    fn reweigh(&mut self, weight: i128, v: i128) {
        if weight == self.weight {
            return;
        }
        let old = self.weight;
        let rescale = |x: i128| (x * old + (weight / 2) * x.signum()) / weight;
        self.v = v + rescale(self.v - v);
        self.protected = v + rescale(self.protected - v);
        self.d = if self.relative { rescale(self.d) } else { v + rescale(self.d - v) };
        self.lag = rescale(self.lag);
        self.remainder = 0;
        self.weight = weight;
    }
}

#[derive(Default)]
pub(super) struct Model {
    pub waiting: Vec<Member>,
    pub current: Option<Member>,
    empty_v: i128,
    charged: i128,
}

impl Model {
    fn all(&self) -> impl Iterator<Item = &Member> {
        self.waiting.iter().chain(&self.current)
    }

    pub fn v(&self) -> i128 {
        let weight: i128 = self.all().map(|m| m.weight).sum();
        if weight == 0 {
            return self.empty_v;
        }
        self.all().map(|m| m.weight * m.v).sum::<i128>().div_euclid(weight)
    }

    fn eligible(&self, v: i128) -> bool {
        self.all().map(|m| m.weight * (m.v - v)).sum::<i128>() >= 0
    }

    fn charge(&mut self, now: i128) {
        if let Some(m) = &mut self.current
            && now > self.charged
        {
            let used = (now - self.charged) * 1024 + m.remainder;
            m.v += used / m.weight;
            m.remainder = used % m.weight;
            if m.v >= m.d {
                m.d = m.v + m.scale(m.slice);
            }
            self.charged = now;
        }
    }

    pub fn enqueue(&mut self, mut m: Member, arrival: Arrival, now: i128) -> Preemption {
        self.charge(now);
        let v = self.v();
        let load: i128 = self.all().map(|m| m.weight).sum();
        let around = if arrival == Arrival::Woken { m.v + m.lag } else { v };
        m.slice = m.request.slice.map_or(i128::from(BASE), i128::from);
        m.reweigh(i128::from(m.request.weight()), around);
        m.started = true;
        let lag = match arrival {
            Arrival::Born => 0,
            Arrival::Moved => m.lag,
            Arrival::Woken if m.lag < 0 => (v - m.v).clamp(m.lag, 0),
            Arrival::Woken => m.lag,
        };
        m.v = if load == 0 { v } else { v - lag * (load + m.weight) / load };
        m.remainder = 0;
        m.d = match arrival {
            Arrival::Born => m.v + m.scale(m.slice) / 2,
            Arrival::Moved if m.relative => m.v + m.d,
            _ => m.v + m.scale(m.slice),
        };
        m.relative = false;
        m.protected = m.v;
        let id = m.id;
        self.waiting.push(m);
        let decision = self.preempts(id, arrival);
        if decision == Preemption::Reschedule
            && let Some(current) = &mut self.current
        {
            current.protected = current.v;
        }
        decision
    }

    fn preempts(&mut self, id: u64, arrival: Arrival) -> Preemption {
        let Some(current) = self.current.clone() else { return Preemption::Reschedule };
        let new = self.waiting.iter().find(|m| m.id == id).unwrap().clone();
        if current.request.policy == Policy::Idle && new.request.policy != Policy::Idle {
            return Preemption::Reschedule;
        }
        if new.request.policy != Policy::Normal {
            return Preemption::Continue;
        }
        let current_eligible = self.eligible(current.v);
        let wins = self.eligible(new.v) && (!current_eligible || (new.d, new.id) < (current.d, current.id));
        if new.slice < current.slice {
            if wins {
                return Preemption::Reschedule;
            }
            let current = self.current.as_mut().unwrap();
            current.protected = current.protected.min(current.v + current.scale(new.slice));
            return Preemption::Continue;
        }
        let protected = current_eligible && current.v < current.protected;
        Preemption::when(
            arrival != Arrival::Born && !protected && wins && self.best().is_some_and(|best| best.id == id),
        )
    }

    fn best(&self) -> Option<&Member> {
        self.waiting.iter().filter(|m| self.eligible(m.v)).min_by_key(|m| (m.d, m.id))
    }

    pub fn update(&mut self, now: i128) -> Preemption {
        self.charge(now);
        let over = self.current.as_ref().is_none_or(|m| m.v >= m.protected);
        Preemption::when(over && !self.waiting.is_empty())
    }

    pub fn pick(&mut self, now: i128) -> Option<u64> {
        self.charge(now);
        let current = self.current.as_ref().filter(|m| self.eligible(m.v));
        let keep = match (current, self.best()) {
            (Some(m), _) if m.v < m.protected => true,
            (Some(m), Some(best)) => (m.d, m.id) < (best.d, best.id),
            (_, Some(_)) => false,
            (_, None) => true,
        };
        if !keep {
            let id = self.best().unwrap().id;
            let next = self.take(id);
            self.waiting.extend(self.current.take());
            self.current = Some(next);
            self.charged = now;
        }
        let shortest = self.waiting.iter().map(|m| m.slice).min();
        if let Some(m) = &mut self.current
            && (!keep || m.v >= m.protected)
        {
            let slice = m.slice.min(shortest.unwrap_or(i128::MAX));
            m.protected = m.d.min(m.v + m.scale(slice));
        }
        self.current.as_ref().map(|m| m.id)
    }

    fn take(&mut self, id: u64) -> Member {
        let index = self.waiting.iter().position(|m| m.id == id).unwrap();
        self.waiting.swap_remove(index)
    }

    fn leave(&self, m: &mut Member, departure: Departure, v: i128, longest: i128, now: i128) {
        let limit = m.scale(longest + 1_000_000);
        m.lag = (v - m.v).clamp(-limit, limit);
        m.relative = departure == Departure::Move;
        m.rivals = self.all().map(|m| m.weight).sum();
        m.slept_at = now;
        if m.relative {
            m.d -= m.v;
        }
    }

    pub fn remove_current(&mut self, departure: Departure, now: i128) -> Option<Member> {
        self.charge(now);
        let (v, longest) = (self.v(), self.all().map(|m| m.slice).max());
        self.empty_v = v;
        let mut m = self.current.take()?;
        self.leave(&mut m, departure, v, longest?, now);
        Some(m)
    }

    pub fn remove_waiting(&mut self, id: u64, now: i128) -> Member {
        self.charge(now);
        let (v, longest) = (self.v(), self.all().map(|m| m.slice).max().unwrap());
        self.empty_v = v;
        let mut m = self.take(id);
        self.leave(&mut m, Departure::Move, v, longest, now);
        m
    }

    pub fn yield_current(&mut self, now: i128) {
        self.charge(now);
        let Some(v) = self.current.as_ref().map(|m| m.v) else { return };
        let eligible = self.eligible(v);
        let m = self.current.as_mut().unwrap();
        if eligible {
            m.v = m.d;
            m.d = m.v + m.scale(m.slice);
        }
        m.protected = m.v;
    }

    pub fn contents(&self) -> Vec<(u64, u64, u64)> {
        let mut waiting = self.waiting.clone();
        waiting.sort_by_key(|m| (m.d, m.id));
        self.current.iter().chain(&waiting).map(|m| (m.id, m.v as u64, m.d as u64)).collect()
    }

    /// P1: the weighted lags around the rounded-down virtual time sum to less than one unit of weight.
    pub fn check(&self) {
        let v = self.v();
        let (lags, weight) = self.all().fold((0, 0), |(l, w), m| (l + m.weight * (m.v - v), w + m.weight));
        assert!(lags >= 0 && (lags < weight || weight == 0), "lags sum to {lags} of {weight}");
    }
}
