//! O2: the ideal that EEVDF approximates. Virtual time flows at one over the weight of all queued tasks, whoever runs, and jumps when a
//! task comes or goes with lag (Stoica and Abdel-Wahab, section 3). Nothing here averages virtual runtimes, so that the queue's
//! virtual time, which is such an average, is checked against something else.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Fixed point: so many units are one nanosecond.
const ONE: i128 = 1 << 48;
/// Nanoseconds that an event may add to the difference: the queue rounds lags and placements to whole ones, and a heavy newcomer
/// multiplies the error by its weight over the others'.
const ERROR: i128 = 100;

struct Client {
    weight: i128,
    /// Virtual time less lag when it came.
    start: i128,
    service: i128,
}

/// Virtual times and lags are in units of `1 / ONE` nanoseconds of a nice-0 task.
#[derive(Default)]
struct Fluid {
    v: i128,
    clients: BTreeMap<u64, Client>,
}

impl Fluid {
    fn weight(&self) -> i128 {
        self.clients.values().map(|client| client.weight).sum()
    }

    fn vruntime(&self, id: u64) -> i128 {
        let client = &self.clients[&id];
        client.start + client.service * 1024 * ONE / client.weight
    }

    fn lag(&self, id: u64) -> i128 {
        self.v - self.vruntime(id)
    }

    /// Real time passes, in which `id` is served.
    fn run(&mut self, id: u64, ns: u64) {
        self.v += i128::from(ns) * 1024 * ONE / self.weight();
        self.clients.get_mut(&id).unwrap().service += i128::from(ns);
    }

    /// `id` gives up virtual time as if it had been served for it, in no time.
    fn forfeit(&mut self, id: u64, virtually: u64) {
        let weight = self.clients[&id].weight;
        self.v += i128::from(virtually) * ONE * weight / self.weight();
        self.clients.get_mut(&id).unwrap().start += i128::from(virtually) * ONE;
    }

    /// A task comes and has lag `lag` afterwards: the others make up for it.
    fn join(&mut self, id: u64, weight: u32, lag: i128) {
        let weight = i128::from(weight);
        let others = self.weight();
        let lag = if others == 0 { 0 } else { lag };
        if others > 0 {
            self.v -= weight * lag / others;
        }
        self.clients.insert(id, Client { weight, start: self.v - lag, service: 0 });
    }

    /// A task goes, and the others share what it was owed. The value is its virtual runtime and its lag, which is limited.
    fn leave(&mut self, id: u64, limit: i128) -> (i128, i128) {
        let (vruntime, lag) = (self.vruntime(id), self.lag(id));
        let weight = self.clients.remove(&id).unwrap().weight;
        let others = self.weight();
        if others > 0 {
            self.v += weight * lag / others;
        }
        (vruntime, lag.clamp(-limit, limit))
    }
}

/// The queue and the ideal together.
struct Both {
    queue: FairQueue<Handle>,
    fluid: Fluid,
    asleep: Vec<(Handle, i128, i128)>,
    now: u64,
    events: i128,
    slices: BTreeMap<u64, u64>,
}

impl Both {
    fn new() -> Self {
        let queue = FairQueue::new(0, BASE);
        Self { queue, fluid: Fluid::default(), asleep: Vec::new(), now: 0, events: 0, slices: BTreeMap::new() }
    }

    fn current(&self) -> Option<u64> {
        self.queue.current().map(|task| task.entity().id)
    }

    fn waiting(&self, index: usize) -> Option<u64> {
        let mut ids = Vec::new();
        self.queue.waiting().for_each(|task| ids.push(task.entity().id));
        ids.sort_unstable();
        (!ids.is_empty()).then(|| ids[index % ids.len()])
    }

    /// How much lag a task of this weight may keep.
    fn limit(&self, weight: u32) -> i128 {
        let longest = self.slices.values().max().copied().unwrap_or(0);
        i128::from((longest + MS) * 1024 / u64::from(weight)) * ONE
    }

    fn born(&mut self, id: u64, request: Request) {
        let _ = self.queue.enqueue(job(id, request), Arrival::Born, self.now);
        self.fluid.join(id, request.weight(), 0);
        self.slices.insert(id, request.slice.unwrap_or(BASE));
    }

    fn sleep(&mut self) {
        let Some(id) = self.current() else { return };
        let limit = self.limit(self.queue.current().unwrap().entity().weight);
        let (vruntime, lag) = self.fluid.leave(id, limit);
        self.slices.remove(&id);
        let task = self.queue.remove_current(Departure::Sleep, self.now).unwrap();
        self.asleep.push((task, vruntime, lag));
    }

    fn wake(&mut self, index: usize) {
        if self.asleep.is_empty() {
            return;
        }
        let (task, vruntime, lag) = self.asleep.swap_remove(index % self.asleep.len());
        let (id, request) = (task.entity().id, task.request.get());
        let lag = if lag < 0 { (self.fluid.v - vruntime).clamp(lag, 0) } else { lag };
        let _ = self.queue.enqueue(task, Arrival::Woken, self.now);
        self.fluid.join(id, request.weight(), lag);
        self.slices.insert(id, request.slice.unwrap_or(BASE));
    }

    fn run(&mut self, ns: u64) {
        self.now += ns;
        let _ = self.queue.update(self.now);
        if let Some(id) = self.current() {
            self.fluid.run(id, ns);
        }
    }

    fn give_up(&mut self) {
        let Some(id) = self.current() else { return };
        let before = self.queue.current().unwrap().entity().vruntime;
        self.queue.yield_current(self.now);
        let after = self.queue.current().unwrap().entity().vruntime;
        self.fluid.forfeit(id, after.wrapping_sub(before));
    }

    fn renice(&mut self, index: usize, nice: i8) {
        let Some(id) = self.waiting(index) else { return };
        let old = self.fluid.clients[&id].weight;
        let limit = self.limit(old as u32);
        let (_, lag) = self.fluid.leave(id, limit);
        let task = self.queue.remove_where(|task| task.entity().id == id, self.now).unwrap();
        task.request.set(Request { nice, ..task.request.get() });
        let weight = task.request.get().weight();
        let _ = self.queue.enqueue(task, Arrival::Moved, self.now);
        self.fluid.join(id, weight, lag * old / i128::from(weight));
    }

    /// Virtual time and every lag are the ideal ones.
    fn check(&mut self) {
        self.events += 1;
        let error = self.events * ERROR * ONE;
        let v = self.queue.virtual_time();
        let exact = i128::from(v as i64) * ONE;
        assert!((exact - self.fluid.v).abs() <= error, "virtual time {v}, ideally {}", self.fluid.v / ONE);
        for (id, vruntime, _) in self.queue.contents() {
            let (lag, ideal) = (v.wrapping_sub(vruntime) as i64, self.fluid.lag(id));
            assert!((i128::from(lag) * ONE - ideal).abs() <= error, "lag of {id} {lag}, ideally {}", ideal / ONE);
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Born(i8, u64),
    Wake(usize),
    Sleep,
    Run(u64),
    Pick,
    Yield,
    Renice(usize, i8),
}

fn slices() -> impl Strategy<Value = u64> {
    prop_oneof![100_000..=20 * MS, Just(100_000), Just(100 * MS)]
}

proptest! {
    #![proptest_config(cases(300))]

    /// P1, P10 and P11 against an ideal that knows neither the queue nor its average.
    #[test]
    fn o2_virtual_time_and_lags_are_those_of_the_fluid_ideal(events in prop::collection::vec(prop_oneof![
        2 => (-5..=5i8, slices()).prop_map(|(nice, slice)| Event::Born(nice, slice)),
        3 => any::<usize>().prop_map(Event::Wake),
        2 => Just(Event::Sleep),
        6 => (0..20 * MS).prop_map(Event::Run),
        5 => Just(Event::Pick),
        1 => Just(Event::Yield),
        1 => (any::<usize>(), -5..=5i8).prop_map(|(index, nice)| Event::Renice(index, nice)),
    ], 1..200)) {
        let mut both = Both::new();
        for (number, event) in (1..).zip(events) {
            match event {
                Event::Born(nice, slice) => both.born(number, with_slice(nice, slice)),
                Event::Wake(index) => both.wake(index),
                Event::Sleep => both.sleep(),
                Event::Run(ns) => both.run(ns),
                Event::Pick => drop(both.queue.pick(both.now).map(|task| task.entity().id)),
                Event::Yield => both.give_up(),
                Event::Renice(index, nice) => both.renice(index, nice),
            }
            both.check();
        }
    }

    /// P2: tasks that come at random times, with no lag, stay within Theorem 1's bounds of the ideal.
    #[test]
    fn p2_lag_stays_within_theorem_1_while_tasks_arrive(
        arrivals in prop::collection::vec((0..400 * MS, -20..=19i8, slices()), 2..30),
    ) {
        let mut both = Both::new();
        let mut arrivals: Vec<_> = arrivals.into_iter().zip(1u64..).collect();
        arrivals.sort_unstable();
        // Before a short slice arrives, turns are as long as the slices are that are there.
        let quantum = arrivals.iter().map(|((_, _, slice), _)| *slice).max().unwrap() as i64;
        let requests: BTreeMap<_, _> = arrivals.iter().map(|((_, nice, slice), id)| (*id, (*nice, *slice))).collect();
        let mut arrivals = arrivals.into_iter().peekable();
        while both.now < 2_000 * MS {
            let slice_end = both.queue.slice_end().unwrap_or(u64::MAX).max(both.now + 1);
            let arrival = arrivals.peek().map_or(u64::MAX, |((at, ..), _)| *at);
            let next = slice_end.min(arrival).min(2_000 * MS);
            both.run(next - both.now);
            while let Some(((_, nice, slice), id)) = arrivals.next_if(|((at, ..), _)| *at <= next) {
                both.born(id, with_slice(nice, slice));
            }
            if both.queue.update(both.now) == Preemption::Reschedule {
                both.queue.pick(both.now);
            }
            for (id, (nice, slice)) in &requests {
                if both.fluid.clients.contains_key(id) {
                    let weight = i128::from(weight_of_nice(*nice));
                    let lag = (both.fluid.lag(*id) * weight / 1024 / ONE) as i64;
                    let slack = 10_000;
                    prop_assert!(lag >= -(*slice as i64) - slack, "{lag} ahead, slice {slice}");
                    prop_assert!(lag <= (*slice as i64).max(quantum) + slack, "{lag} behind, slice {slice}");
                }
            }
        }
    }
}
