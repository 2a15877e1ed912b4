//! P15: the sums of a large queue against exact ones, over many random events with extreme weights, slices and times.
//!
//! The shadow keeps virtual runtimes as `i128` that never wrap and no origin; it costs O(1) an event, so that it can follow millions
//! of them, which the naive model cannot. What it does not know is the order of deadlines.

use super::super::replay::Random;
use super::*;
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Copy, Default)]
struct Twin {
    weight: i128,
    slice: u64,
    v: i128,
    remainder: i128,
    lag: i128,
}

#[derive(Default)]
struct Shadow {
    twins: HashMap<u64, Twin>,
    weighted: i128,
    weight: i128,
    empty_v: i128,
    slices: BTreeMap<u64, usize>,
}

impl Shadow {
    fn v(&self) -> i128 {
        if self.weight == 0 { self.empty_v } else { self.weighted.div_euclid(self.weight) }
    }

    fn is_eligible(&self, v: i128) -> bool {
        self.weighted >= v * self.weight
    }

    /// Puts a task in with the lag that it is to have then.
    fn enter(&mut self, id: u64, twin: Twin, lag: i128) -> Twin {
        let (v, load) = (self.v(), self.weight);
        let v = if load == 0 { v } else { v - lag * (load + twin.weight) / load };
        let twin = Twin { v, remainder: 0, ..twin };
        self.weighted += twin.weight * v;
        self.weight += twin.weight;
        *self.slices.entry(twin.slice).or_default() += 1;
        self.twins.insert(id, twin);
        twin
    }

    /// Takes a task out, with its lag limited as the queue limits it.
    fn leave(&mut self, id: u64) -> Twin {
        let v = self.v();
        self.empty_v = v;
        let mut twin = self.twins.remove(&id).unwrap();
        let longest = *self.slices.last_key_value().unwrap().0;
        let limit = i128::from(longest + MS) * 1024 / twin.weight;
        twin.lag = (v - twin.v).clamp(-limit, limit);
        self.weighted -= twin.weight * twin.v;
        self.weight -= twin.weight;
        if let Some(count) = self.slices.get_mut(&twin.slice) {
            *count -= 1;
            if *count == 0 {
                self.slices.remove(&twin.slice);
            }
        }
        twin
    }

    fn charge(&mut self, id: u64, ns: u64) {
        let twin = self.twins.get_mut(&id).unwrap();
        let used = i128::from(ns) * 1024 + twin.remainder;
        twin.v += used / twin.weight;
        twin.remainder = used % twin.weight;
        self.weighted += twin.weight * (used / twin.weight);
    }
}

fn slice(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => 100_000,
        1 => 100 * MS,
        _ => 100_000 + random.below(100 * MS - 100_000),
    }
}

fn request(random: &mut Random) -> Request {
    let policy = if random.below(8) == 0 { Policy::Idle } else { Policy::Normal };
    let nice = match random.below(4) {
        0 => -20,
        1 => 19,
        _ => random.below(40) as i8 - 20,
    };
    Request { policy, priority: 0, nice, slice: Some(slice(random)) }
}

fn follow(seed: u64, events: u64, most: usize, origin: u64) {
    let mut random = Random::new(seed);
    let mut queue = FairQueue::starting_at(0, BASE, origin);
    let mut shadow = Shadow::default();
    let mut asleep: Vec<(Handle, Twin)> = Vec::new();
    let (mut now, mut next_id, mut longest) = (0, 1, 0);
    for event in 0..events {
        match random.below(16) {
            // Fills up quickly, then stays near the limit.
            0..=2 if queue.len() + asleep.len() < most => {
                let request = request(&mut random);
                let twin =
                    Twin { weight: i128::from(request.weight()), slice: request.slice.unwrap(), ..Twin::default() };
                let _ = queue.enqueue(job(next_id, request), Arrival::Born, now);
                shadow.enter(next_id, twin, 0);
                next_id += 1;
            }
            3 | 4 if !asleep.is_empty() => {
                let at = random.below(asleep.len() as u64) as usize;
                let (task, twin) = asleep.swap_remove(at);
                let id = task.entity().id;
                let lag = if twin.lag < 0 { (shadow.v() - twin.v).clamp(twin.lag, 0) } else { twin.lag };
                let _ = queue.enqueue(task, Arrival::Woken, now);
                shadow.enter(id, twin, lag);
            }
            5 | 6 => {
                if let Some(task) = queue.remove_current(Departure::Sleep, now) {
                    let twin = shadow.leave(task.entity().id);
                    assert_eq!(i128::from(task.entity().lag), twin.lag, "event {event}: lag");
                    if random.below(20) > 0 {
                        asleep.push((task, twin));
                    }
                }
            }
            7 => {
                // Away and back, as a change of nice value does it: weight times lag is kept.
                if let Some(task) = queue.give(1, now) {
                    let mut twin = shadow.leave(task.entity().id);
                    assert_eq!(i128::from(task.entity().lag), twin.lag, "event {event}: lag");
                    let (id, request) = (task.entity().id, request(&mut random));
                    task.request.set(request);
                    let weight = i128::from(request.weight());
                    if weight != twin.weight {
                        twin.lag = (twin.lag * twin.weight + (weight / 2) * twin.lag.signum()) / weight;
                    }
                    twin.weight = weight;
                    twin.slice = request.slice.unwrap();
                    let _ = queue.enqueue(task, Arrival::Moved, now);
                    shadow.enter(id, twin, twin.lag);
                }
            }
            8..=11 => {
                let span = if random.below(1000) == 0 { 10_000 * MS } else { random.below(20 * MS) };
                now += span;
                let _ = queue.update(now);
                if let Some(task) = queue.current() {
                    shadow.charge(task.entity().id, span);
                }
            }
            _ => {
                let before = queue.current().map(|task| task.entity().id);
                let picked = queue.pick(now).map(|task| task.entity().id);
                assert_eq!(picked.is_some(), !queue.is_empty(), "event {event}: nobody was picked");
                if let Some(id) = picked.filter(|id| before != Some(*id)) {
                    assert!(shadow.is_eligible(shadow.twins[&id].v), "event {event}: picked one that is not eligible");
                }
            }
        }
        assert_eq!(queue.virtual_time(), (shadow.v() as u64).wrapping_add(origin), "event {event}: virtual time");
        assert_eq!(i128::from(queue.load()), shadow.weight, "event {event}: weight");
        longest = longest.max(queue.len());
        if event.is_multiple_of(65_536) {
            queue.check();
        }
    }
    assert!(longest > most / 4 || events < 100_000, "the queue had {longest} tasks at most");
}

/// `SHADOW_EVENTS` sets the number of events, for deep runs.
#[test]
fn p15_no_sum_overflows_or_drifts_in_a_large_queue() {
    let events = std::env::var("SHADOW_EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(200_000);
    for (seed, most, origin) in [(1, 4096, 0), (2, 64, u64::MAX - MS), (3, 4, (1 << 63) - 1)] {
        follow(seed, events, most, origin);
    }
}
