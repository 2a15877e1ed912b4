//! Whole situations with a known outcome: those that showed mistakes in schedulers before, and the bounds that need a story.

use super::core::{Behaviour, Core};
use super::*;
use proptest::prelude::*;

/// P3: for every pair of nice values, two hogs share by their weights at every moment, to within a slice.
#[test]
fn p3_every_pair_of_nice_values_shares_by_the_weights() {
    for (a, b) in (-20..=19i8).flat_map(|a| (a..=19).map(move |b| (a, b))) {
        let mut core = Core::new();
        let id = core.spawn(nice(a), Behaviour::Hog);
        core.spawn(nice(b), Behaviour::Hog);
        let (weight, rival) = (u64::from(weight_of_nice(a)), u64::from(weight_of_nice(b)));
        core.run_until(400 * MS, |core| {
            let share = core.now * weight / (weight + rival);
            assert!(core.service(id).abs_diff(share) <= BASE + 1000, "nice {a} beside {b}: {}", core.service(id));
        });
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// P4: a task of weight w that wakes owing and owed nothing completes a request of r within r * W / w and one quantum, W being the weight
    /// of all. That is Lemma 3 of the paper: its deadline is V + r / w, which virtual time reaches after r * W / w. When the last turn
    /// before then that went to a later deadline began, nobody eligible had an earlier one. So what has to be served before it since
    /// then became due with virtual time, and only that turn delays it. A turn is protected for the shortest slice there is: the
    /// others' shortest, if it began before the wake.
    #[test]
    fn p4_a_request_is_complete_by_its_deadline(
        hogs in prop::collection::vec((-5..=5i8, prop_oneof![Just(BASE), 100_000..=20 * MS]), 1..20),
        own in -5..=5i8,
        slice in prop_oneof![Just(100_000), Just(BASE), 100_000..=100 * MS],
    ) {
        let mut core = Core::new();
        core.forget_lag = true;
        // A little less than the slice: virtual times are whole nanoseconds.
        let id = core.spawn(with_slice(own, slice), Behaviour::Periodic { run: slice - 1000, sleep: 2_000 * MS });
        for (nice, slice) in &hogs {
            core.spawn(with_slice(*nice, *slice), Behaviour::Hog);
        }
        core.run_until(20_000 * MS, |_| ());
        let total: u64 = hogs.iter().map(|(nice, _)| u64::from(weight_of_nice(*nice))).sum();
        let weight = u64::from(weight_of_nice(own));
        let quantum = hogs.iter().map(|(_, slice)| *slice).min().unwrap();
        let bound = slice * (total + weight) / weight + quantum + 10_000;
        let took = core.longest_completion(id);
        prop_assert!(took > 0 && took <= bound, "took {took} of at most {bound}: {:?}", core.choices(id));
    }

    /// P17: a task that moves takes along what it is owed, in real time: the lags of both queues still sum to nothing.
    #[test]
    fn p17_the_lags_of_both_queues_sum_to_nothing_after_a_move(
        here in prop::collection::vec((-10..=10i8, 100_000..=10 * MS), 2..20),
        there in prop::collection::vec((-10..=10i8, 100_000..=10 * MS), 1..20),
        run in MS..200 * MS,
        which: usize,
    ) {
        let fill = |id: u32, requests: &[(i8, u64)], first: u64| {
            let mut queue = FairQueue::new(id, BASE);
            for (id, (nice, slice)) in (first..).zip(requests) {
                let _ = queue.enqueue(job(id, with_slice(*nice, *slice)), Arrival::Born, 0);
            }
            let mut now = 0;
            while now < run {
                queue.pick(now);
                now = queue.slice_end().unwrap_or(run).max(now + 1).min(run);
                let _ = queue.update(now);
            }
            queue
        };
        let (mut old, mut new) = (fill(0, &here, 1), fill(1, &there, 1000));
        let mut waiting = Vec::new();
        old.waiting().for_each(|task| waiting.push(task.entity().id));
        let chosen = waiting[which % waiting.len()];
        let weight_of = |id: u64| {
            let (nice, _) = if id >= 1000 { there[id as usize - 1000] } else { here[id as usize - 1] };
            i128::from(weight_of_nice(nice))
        };
        let lags = |queue: &mut FairQueue<Handle>| {
            let v = queue.virtual_time();
            let lag = |(id, vruntime, _): (u64, u64, u64)| i128::from(v.wrapping_sub(vruntime) as i64) * weight_of(id);
            queue.contents().into_iter().map(lag).sum::<i128>()
        };
        let task = old.remove_where(|task| task.entity().id == chosen, run).unwrap();
        let _ = new.enqueue(task, Arrival::Moved, run);
        for queue in [&mut old, &mut new] {
            // Virtual time is rounded down: the sum of weighted lags is at most one unit of all weights short.
            let (sum, load) = (lags(queue), i128::from(queue.load()));
            prop_assert!(sum <= 0 && -sum < load.max(1), "lags sum to {sum} of {load}");
        }
    }
}

#[test]
fn p12_toggling_the_slice_gains_nothing() {
    for hogs in [1, 4] {
        for run in [90_000, 900_000, 2_900_000] {
            let mut core = Core::new();
            let cheat = core.spawn(Request::NORMAL, Behaviour::Reslices { run, slices: [100_000, 100 * MS] });
            for _ in 0..hogs {
                core.spawn(Request::NORMAL, Behaviour::Hog);
            }
            core.run_until(10_000 * MS, |_| ());
            let (share, fair) = (core.service(cheat) * 1000 / core.now, 1000 / (hogs + 1));
            // A request of 100 ms that it is in the middle of is what it may be ahead by: a hundredth.
            assert!(share <= fair + 12, "toggling after {run} ns: {share} of {fair}");
        }
    }
}

#[test]
fn p13_a_child_first_runs_for_half_a_slice() {
    let mut core = Core::new();
    core.spawn(Request::NORMAL, Behaviour::Hog);
    core.spawn(Request::NORMAL, Behaviour::Hog);
    core.run_until(50 * MS, |_| ());
    let child = core.spawn(Request::NORMAL, Behaviour::Hog);
    let mut first = None;
    core.run_until(100 * MS, |core| {
        if first.is_none() && core.queue.current().is_some_and(|task| task.entity().id == child) {
            first = core.queue.slice_end().map(|end| end - core.now);
        }
    });
    assert!(first.is_some_and(|turn| turn <= BASE / 2), "the first turn lasts {first:?}");
}

#[test]
fn p18_sleeping_and_waking_cost_the_logarithm() {
    let mut queue = FairQueue::new(0, BASE);
    for id in 1..=4096 {
        let _ = queue.enqueue(job(id, with_slice((id % 40) as i8 - 20, 100_000 + id * 24_000)), Arrival::Born, 0);
    }
    let mut now = 0;
    for _ in 0..5_000 {
        queue.pick(now);
        now += 50_000;
        queue.waiting().take_visits();
        let task = queue.remove_current(Departure::Sleep, now).unwrap();
        assert_eq!(queue.waiting().take_visits(), 0, "the running task is not in the tree");
        let _ = queue.enqueue(task, Arrival::Woken, now + 10_000);
        let visits = queue.waiting().take_visits();
        assert!(visits <= 3 * 2 * 13, "a wake visited {visits}");
    }
}

#[test]
fn a_periodic_task_beside_two_hogs_gets_what_it_asks_for() {
    let mut core = Core::new();
    let periodic = core.spawn(Request::NORMAL, Behaviour::Periodic { run: MS, sleep: 9 * MS });
    for _ in 0..2 {
        core.spawn(Request::NORMAL, Behaviour::Hog);
    }
    core.run_until(10_000 * MS, |_| ());
    // A tenth is less than its third. Each round is at most a hog's turn and its own longer than 10 ms.
    assert!(core.service(periodic) >= 10_000 * MS / 14, "{} ns", core.service(periodic));
    assert!(core.longest_gap(periodic) <= BASE, "it waited {} ns", core.longest_gap(periodic));
}

#[test]
fn a_task_that_wakes_beside_one_that_ran_alone_for_long_shares_evenly() {
    let mut core = Core::new();
    let hog = core.spawn(Request::NORMAL, Behaviour::Hog);
    let other = core.spawn(Request::NORMAL, Behaviour::Periodic { run: 1000, sleep: 1_000_000 * MS });
    core.run_until(1_000_000 * MS, |_| ());
    // It wakes in a moment, and goes on: neither is banned for what was before.
    core.become_hog(other);
    let before = (core.service(hog), core.service(other));
    core.run_until(1_001_000 * MS, |_| ());
    let got = (core.service(hog) - before.0, core.service(other) - before.1);
    assert!(got.0.abs_diff(got.1) <= 3 * BASE, "{got:?}");
}

#[test]
fn a_task_that_sleeps_in_debt_and_wakes_at_once_gains_nothing() {
    let mut queue = FairQueue::new(0, BASE);
    for id in 1..=2 {
        let _ = queue.enqueue(job(id, Request::NORMAL), Arrival::Born, 0);
    }
    queue.pick(0);
    let task = queue.remove_current(Departure::Sleep, 2 * MS).unwrap();
    let (id, debt) = (task.entity().id, task.entity().lag);
    assert!(debt < 0);
    let _ = queue.enqueue(task, Arrival::Woken, 2 * MS);
    let v = queue.virtual_time();
    let (_, vruntime, _) = queue.contents().into_iter().find(|entry| entry.0 == id).unwrap();
    assert!((v.wrapping_sub(vruntime) as i64).abs_diff(debt) <= 2, "its debt of {debt} changed");
    assert_ne!(queue.pick(2 * MS).map(|task| task.entity().id), Some(id), "it runs before the one it owes to");
}

#[test]
fn a_yielding_task_leaves_the_core_to_a_hog() {
    let mut core = Core::new();
    let polite = core.spawn(Request::NORMAL, Behaviour::Yields { run: 1000 });
    core.spawn(Request::NORMAL, Behaviour::Hog);
    core.run_until(1_000 * MS, |_| ());
    assert!(core.service(polite) < 10 * MS, "it got {} ns", core.service(polite));
}
