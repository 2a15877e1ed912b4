//! The bounds of the theory (P2 to P18 where the model does not show them), by simulation of one core.

use super::core::{Behaviour, Core};
use super::*;
use proptest::prelude::*;

fn hogs() -> impl Strategy<Value = Vec<Request>> {
    let request = (-20..=19i8, prop_oneof![Just(None), (100_000..=20 * MS).prop_map(Some)], 0..12u8);
    let request = request.prop_map(|(nice, slice, idle)| Request {
        policy: if idle == 0 { Policy::Idle } else { Policy::Normal },
        priority: 0,
        nice,
        slice,
    });
    prop::collection::vec(request, 2..40)
}

fn slice(request: &Request) -> u64 {
    request.slice.unwrap_or(BASE)
}

proptest! {
    #![proptest_config(cases(60))]

    /// P2 and P3: what each of a fixed set of hogs got never differs from its share by more than Theorem 1 allows.
    #[test]
    fn p2_p3_service_stays_within_the_bounds_of_theorem_1(requests in hogs()) {
        let mut core = Core::new();
        let ids: Vec<_> = requests.iter().map(|request| core.spawn(*request, Behaviour::Hog)).collect();
        let total: u64 = requests.iter().map(|request| u64::from(request.weight())).sum();
        let quantum = requests.iter().map(slice).min().unwrap();
        core.run_until(3_000 * MS, |core| {
            for (id, request) in ids.iter().zip(&requests) {
                let share = u128::from(core.now) * u128::from(request.weight()) / u128::from(total);
                let lag = share as i64 - core.service(*id) as i64;
                let (most, slack) = (slice(request).max(quantum) as i64, 2_000);
                assert!(lag >= -(slice(request) as i64) - slack, "{lag} ahead of its share, slice {}", slice(request));
                assert!(lag <= most + slack, "{lag} behind its share, at most {most}");
            }
        });
    }

    /// P4 and P5: nobody waits longer than two requests take at its share: one may be served as soon as it is eligible, the next
    /// as late as its deadline.
    #[test]
    fn p4_p5_no_runnable_task_waits_longer_than_its_share_allows(requests in hogs()) {
        let mut core = Core::new();
        let ids: Vec<_> = requests.iter().map(|request| core.spawn(*request, Behaviour::Hog)).collect();
        let total: u64 = requests.iter().map(|request| u64::from(request.weight())).sum();
        let quantum = requests.iter().map(slice).min().unwrap();
        core.run_until(5_000 * MS, |_| ());
        for (id, request) in ids.iter().zip(&requests) {
            let weight = u64::from(request.weight());
            let turn = 2 * u128::from(slice(request)) * u128::from(total) / u128::from(weight);
            let bound = turn as u64 + quantum + slice(request) + 10_000;
            let gap = core.longest_gap(*id);
            prop_assert!(gap <= bound, "waited {gap} of at most {bound}");
        }
    }

    /// P9: the order in which equal tasks arrive at one instant does not matter.
    #[test]
    fn p9_the_order_of_arrivals_at_one_instant_does_not_matter(requests in hogs(), seed: u64) {
        let run = |reverse: bool| {
            let mut queue = FairQueue::new(0, BASE);
            let mut tasks: Vec<_> = requests.iter().zip(1..).map(|(request, id)| job(id, *request)).collect();
            if reverse {
                tasks.reverse();
                let count = tasks.len();
                tasks.rotate_left(seed as usize % count);
            }
            for task in tasks {
                let _ = queue.enqueue(task, Arrival::Born, 0);
            }
            let mut now = 0;
            let mut trace = Vec::new();
            for _ in 0..200 {
                trace.push((now, queue.pick(now).map(|task| task.entity().id())));
                now = queue.slice_end().unwrap_or(now + MS).max(now + 1);
                let _ = queue.update(now);
            }
            trace
        };
        prop_assert_eq!(run(false), run(true));
    }

    /// P10: leaving and coming back at once restores the lag.
    #[test]
    fn p10_p17_a_task_that_moves_takes_its_lag_along(requests in hogs(), run in MS..400 * MS, which: usize) {
        let mut core = Core::new();
        for request in &requests {
            core.spawn(*request, Behaviour::Hog);
        }
        core.run_until(run, |_| ());
        let mut waiting = Vec::new();
        core.queue.waiting().for_each(|task| waiting.push(task.entity().id()));
        let chosen = waiting[which % waiting.len()];
        let task = core.queue.remove_where(|task| task.entity().id() == chosen, run).unwrap();
        let (lag, deadline) = (task.entity().lag(), task.entity().deadline);
        let mut other = FairQueue::new(1, BASE);
        for (id, request) in (1000..).zip(&requests) {
            let _ = other.enqueue(job(id, *request), Arrival::Born, run);
        }
        for queue in [&mut other, &mut core.queue] {
            let load = queue.load();
            let mut copy = job(chosen, task.request.get());
            copy.entity_mut().reweigh(task.entity().weight, 0);
            copy.entity_mut().slice = task.entity().slice;
            copy.entity_mut().lag = lag;
            copy.entity_mut().deadline = deadline;
            copy.entity_mut().deadline_is_relative = true;
            let weight = u64::from(copy.entity().weight);
            let _ = queue.enqueue(copy, Arrival::Moved, run);
            let average = queue.virtual_time();
            let mut found = None;
            queue.waiting().for_each(|task| {
                if task.entity().id() == chosen {
                    found = Some((average.wrapping_sub(task.entity().vruntime) as i64, task.entity().clone_times()));
                }
            });
            let (new_lag, (vruntime, new_deadline)) = found.unwrap();
            prop_assert!(new_lag.abs_diff(lag) <= (load + weight) / load + 1, "{lag} became {new_lag}");
            prop_assert_eq!(new_deadline.wrapping_sub(vruntime), deadline);
        }
    }
}

impl<T> Entity<T> {
    fn clone_times(&self) -> (u64, u64) {
        (self.vruntime, self.deadline)
    }
}

/// The share of the first job against `hogs` others after ten seconds, in thousandths.
fn share_of(cheat: Behaviour, request: Request, hogs: u64, forget_lag: bool) -> u64 {
    let mut core = Core::new();
    core.forget_lag = forget_lag;
    let cheat = core.spawn(request, cheat);
    for _ in 0..hogs {
        core.spawn(Request::NORMAL, Behaviour::Hog);
    }
    core.run_until(10_000 * MS, |_| ());
    core.service(cheat) * 1000 / core.now
}

#[test]
fn p12_a_sleeper_that_drops_its_debt_gains_nothing() {
    let cheat = Behaviour::Periodic { run: 665_000, sleep: 50_000 };
    for hogs in [1, 4, 9] {
        let fair = 1000 / (hogs + 1);
        let share = share_of(cheat, with_slice(0, 700_000), hogs, false);
        assert!(share <= fair + 5, "{share} of {fair} against {hogs}");
        let cheated = share_of(cheat, with_slice(0, 700_000), hogs, true);
        assert!(cheated > fair + 200, "a policy that forgets lag has to fail here: {cheated} of {fair}");
    }
}

#[test]
fn p12_yielding_migrating_and_toggling_gain_nothing() {
    for hogs in [1, 4] {
        let fair = 1000 / (hogs + 1);
        for cheat in [
            Behaviour::Yields { run: 100_000 },
            Behaviour::Migrates { run: 100_000 },
            Behaviour::Migrates { run: 2_900_000 },
            Behaviour::Renices { run: 400_000, nice: [0, 19] },
            Behaviour::Renices { run: 2_900_000, nice: [0, 10] },
        ] {
            let share = share_of(cheat, Request::NORMAL, hogs, false);
            assert!(share <= fair + 8, "{cheat:?}: {share} of {fair}");
        }
    }
}

#[test]
fn nice_shares_are_the_weights_within_two_percent() {
    let mut core = Core::new();
    let ids: Vec<_> = (-20..=19).map(|n| (n, core.spawn(nice(n), Behaviour::Hog))).collect();
    core.run_until(600_000 * MS, |_| ());
    let total: u64 = ids.iter().map(|(n, _)| u64::from(weight_of_nice(*n))).sum();
    for (n, id) in ids {
        let share = u128::from(core.now) * u128::from(weight_of_nice(n)) / u128::from(total);
        let got = u128::from(core.service(id));
        // Within 2 %, or within one slice where that is more.
        assert!(got.abs_diff(share) <= (share / 50).max(u128::from(BASE)), "nice {n}: {got} of {share}");
    }
}

#[test]
fn p4_a_short_slice_gets_its_latency_beside_hogs() {
    let mut core = Core::new();
    let quick = core.spawn(with_slice(0, 100_000), Behaviour::Periodic { run: 80_000, sleep: 10 * MS });
    for _ in 0..10 {
        core.spawn(Request::NORMAL, Behaviour::Hog);
    }
    core.run_until(5_000 * MS, |_| ());
    // It is owed service whenever it wakes, and is exempt from the hogs' protection.
    assert!(core.longest_gap(quick) <= 1_100_000, "waited {}", core.longest_gap(quick));
    let mut core = Core::new();
    let slow = core.spawn(with_slice(0, 6 * MS), Behaviour::Periodic { run: 80_000, sleep: 10 * MS });
    for _ in 0..10 {
        core.spawn(Request::NORMAL, Behaviour::Hog);
    }
    core.run_until(5_000 * MS, |_| ());
    assert!(core.longest_gap(slow) > MS, "a long slice buys no latency");
}

#[test]
fn p13_children_start_in_the_middle_of_a_request() {
    let mut core = Core::new();
    let parent = core.spawn(Request::NORMAL, Behaviour::Hog);
    let other = core.spawn(Request::NORMAL, Behaviour::Hog);
    core.run_until(50 * MS, |_| ());
    let children: Vec<_> = (0..8).map(|_| core.spawn(Request::NORMAL, Behaviour::Hog)).collect();
    let entity_deadline = {
        let mut relative = None;
        core.queue.waiting().for_each(|task| {
            if task.entity().id() == children[0] {
                relative = Some(task.entity().deadline - task.entity().vruntime);
            }
        });
        relative.unwrap()
    };
    assert_eq!(entity_deadline, BASE / 2);
    let before = core.service(other);
    core.run_until(150 * MS, |_| ());
    let family = children.iter().chain([&parent]).map(|id| core.service(*id)).sum::<u64>();
    assert!(family > 0);
    let got = core.service(other) - before;
    assert!(got >= 100 * MS / 10 - 2 * BASE, "a fork storm pushed the other out: {got}");
}

#[test]
fn p16_the_same_events_give_the_same_schedule() {
    let run = || {
        let mut core = Core::new();
        for n in 0..30 {
            let behaviour = match n % 4 {
                0 => Behaviour::Hog,
                1 => Behaviour::Periodic { run: 300_000 + n * 7_919, sleep: 2_000_000 + n * 104_729 },
                2 => Behaviour::Yields { run: 250_000 },
                _ => Behaviour::Migrates { run: 777_777 },
            };
            core.spawn(nice((n % 40) as i8 - 20), behaviour);
        }
        core.run_until(2_000 * MS, |_| ());
        core.trace
    };
    let trace = run();
    assert!(trace.len() > 500);
    assert_eq!(trace, run());
}

#[test]
fn p18_the_work_of_each_operation_grows_with_the_logarithm() {
    let mut queue = FairQueue::new(0, BASE);
    for id in 1..=4096 {
        let request = with_slice((id % 40) as i8 - 20, 100_000 + id * 24_000);
        let _ = queue.enqueue(job(id, request), Arrival::Born, 0);
        assert!(queue.waiting().take_visits() <= 20);
    }
    let mut now = 0;
    for _ in 0..20_000 {
        queue.pick(now);
        let visits = queue.waiting().take_visits();
        assert!(visits <= 3 * 2 * 13, "a pick visited {visits}");
        now = queue.slice_end().unwrap().max(now + 1);
        let _ = queue.update(now);
        assert_eq!(queue.waiting().take_visits(), 0, "charging needs no tree");
    }
}

#[test]
fn p18_so_does_the_work_of_finding_a_task_and_of_giving_one_away() {
    let mut queue: RunQueue<Handle> = RunQueue::new(0);
    let jobs: Vec<_> = (1..=4096).map(|id| job(id, with_slice((id % 40) as i8 - 20, 100_000 + id * 24_000))).collect();
    let handles: Vec<_> = jobs.iter().map(|task| (task.request.clone(), task.allowed.clone())).collect();
    for task in jobs {
        task.allowed.set(CoreSet::only(0));
        let _ = queue.enqueue(task, Arrival::Born, 0);
    }
    queue.pick(0);
    let visits = |queue: &RunQueue<Handle>| queue.fair().waiting().take_visits();
    for id in 1..=4096 {
        let position = queue.position_of(id);
        handles[id as usize - 1].0.set(with_slice((id % 39) as i8 - 19, 100_000 + id * 20_000));
        visits(&queue);
        let _ = queue.refresh(position, |task| task.entity().id() == id, 0);
        let visits = visits(&queue);
        assert!(visits <= 4 * 2 * 13, "a change visited {visits}");
    }
    queue.fair().check();
    visits(&queue);
    assert!(queue.give(1, 0).is_none());
    assert!(visits(&queue) <= 2, "nobody may go there");
    // One in the middle is found, however many stay.
    handles[2000].1.set(CoreSet::ALL);
    let _ = queue.refresh_job(2001, 0);
    visits(&queue);
    let given = queue.give(1, 0).unwrap();
    assert_eq!(given.entity().id(), 2001);
    let visited = visits(&queue);
    assert!(visited <= 4 * 2 * 13, "to give it away visited {visited}");
    // Where all may go, none of the last ones is eligible: the search for one that is ends.
    for id in 1..=4096 {
        handles[id as usize - 1].1.set(CoreSet::ALL);
        let _ = queue.refresh_job(id, 0);
    }
    for _ in 0..1000 {
        visits(&queue);
        assert!(queue.give(1, 0).is_some());
        let visited = visits(&queue);
        assert!(visited <= 6 * 2 * 13, "to give one away visited {visited}");
    }
}
