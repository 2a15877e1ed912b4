//! One test for each mistake that schedulers of this kind have made (`a` to `q` in the notes this was built from).

use super::core::{Behaviour, Core};
use super::*;

fn queue_of(requests: &[Request]) -> FairQueue<Handle> {
    let mut queue = FairQueue::new(0, BASE);
    for (id, request) in (1..).zip(requests) {
        let _ = queue.enqueue(job(id, *request), Arrival::Born, 0);
    }
    queue
}

fn id_of(task: Option<&Handle>) -> Option<u64> {
    task.map(|task| task.entity().id())
}

#[test]
fn a_eligibility_does_not_lose_the_fraction_of_virtual_time() {
    // Virtual runtimes 0 and 1: the average is a half, rounded down 0. The one at 0 must be eligible, the one at 1 not.
    let mut average = Average::new(0);
    average.add(average::Share { vruntime: 0, weight: 3 });
    average.add(average::Share { vruntime: 1, weight: 5 });
    let threshold = average.threshold(None);
    assert!(threshold.is_eligible(0) && !threshold.is_eligible(1));
    // And below zero: -1 and 0, the average rounds down to -1, to which the exact test agrees.
    let mut average = Average::new(0);
    average.add(average::Share { vruntime: u64::MAX, weight: 3 });
    average.add(average::Share { vruntime: 0, weight: 5 });
    let threshold = average.threshold(None);
    assert!(threshold.is_eligible(u64::MAX) && !threshold.is_eligible(0));
}

#[test]
fn b_the_running_task_counts_once_in_virtual_time_and_load() {
    let mut queue = queue_of(&[nice(0), nice(0), nice(-5)]);
    let load = queue.load();
    queue.pick(0);
    assert_eq!(queue.load(), load);
    let _ = queue.update(MS);
    let sum: i128 = queue
        .contents()
        .iter()
        .map(|(id, v, _)| i128::from(*v as i64) * if *id == 3 { i128::from(weight_of_nice(-5)) } else { 1024 })
        .sum();
    assert_eq!(i128::from(queue.virtual_time() as i64), sum.div_euclid(i128::from(load)));
}

#[test]
fn c_virtual_time_is_read_before_the_newcomer_counts() {
    let mut queue = queue_of(&[nice(0), nice(0)]);
    queue.pick(0);
    let _ = queue.update(2 * MS);
    let before = queue.virtual_time();
    let _ = queue.enqueue(job(9, nice(-20)), Arrival::Born, 2 * MS);
    assert_eq!(queue.virtual_time(), before, "a newborn does not move virtual time");
}

#[test]
fn d_stored_lag_is_clamped() {
    let mut core = Core::new();
    core.spawn(nice(0), Behaviour::Hog);
    core.spawn(Request { policy: Policy::Idle, ..Request::NORMAL }, Behaviour::Hog);
    core.run_until(10_000 * MS, |_| ());
    let now = core.now;
    let task = core.queue.remove_where(|_| true, now).unwrap();
    let limit = (BASE + MS) * 1024 / u64::from(task.entity().weight());
    assert!(task.entity().lag().unsigned_abs() <= limit);
}

#[test]
fn e_the_origin_follows_a_task_that_runs_alone() {
    let mut queue = queue_of(&[nice(19)]);
    queue.pick(0);
    // An hour of a nice-19 task is two and a half days of virtual time.
    for minute in 1..=60 {
        let _ = queue.update(minute * 60_000 * MS);
    }
    let average = queue.virtual_time();
    assert_eq!(queue.contents()[0].1, average);
    let _ = queue.enqueue(job(2, nice(0)), Arrival::Born, 3_600_000 * MS);
    assert_eq!(queue.contents()[1].1, average, "the newcomer starts at virtual time, not at 0");
}

#[test]
fn f_looking_at_the_queue_changes_nothing() {
    let mut core = Core::new();
    for n in 0..5 {
        core.spawn(nice(n * 3), Behaviour::Hog);
    }
    core.run_until(100 * MS, |core| {
        let contents = core.queue.contents();
        core.queue.virtual_time();
        core.queue.check();
        assert_eq!(core.queue.contents(), contents);
    });
}

#[test]
fn g_a_lone_task_is_protected_for_its_own_slice() {
    let mut queue = queue_of(&[with_slice(0, 5 * MS)]);
    queue.pick(0);
    let current = queue.current().unwrap().entity();
    assert_eq!(current.protected_until, current.deadline.min(current.vruntime + 5 * MS));
    assert_eq!(queue.slice_end(), None, "and needs no timer");
    let _ = queue.enqueue(job(2, Request::NORMAL), Arrival::Born, MS);
    assert!(queue.slice_end().unwrap() <= 5 * MS);
}

#[test]
fn h_virtual_times_are_compared_across_the_wrap() {
    assert!(average::before(u64::MAX, 0) && !average::before(0, u64::MAX));
    assert_eq!(average::earlier(5, u64::MAX - 5), u64::MAX - 5);
    let mut queue = FairQueue::starting_at(0, BASE, u64::MAX - MS);
    for id in 1..=3 {
        let _ = queue.enqueue(job(id, Request::NORMAL), Arrival::Born, 0);
    }
    let mut now = 0;
    let mut ran = [0; 3];
    for _ in 0..300 {
        let id = id_of(queue.pick(now)).unwrap();
        let end = queue.slice_end().unwrap();
        ran[id as usize - 1] += end - now;
        now = end;
        let _ = queue.update(now);
    }
    assert!(ran.iter().all(|time| time.abs_diff(now / 3) <= BASE), "{ran:?}");
}

#[test]
fn i_equal_deadlines_run_in_the_order_of_identifiers() {
    for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        let mut queue = FairQueue::new(0, BASE);
        for id in order {
            let _ = queue.enqueue(job(id, Request::NORMAL), Arrival::Born, 0);
        }
        assert_eq!(id_of(queue.pick(0)), Some(1));
    }
}

#[test]
fn j_aggregates_follow_a_change_of_a_queued_task() {
    let mut queue: RunQueue<Handle> = RunQueue::new(0);
    let jobs: Vec<_> = (1..=20).map(|id| job(id, with_slice(0, 10 * MS))).collect();
    let request = jobs[10].request.clone();
    for task in jobs {
        let _ = queue.enqueue(task, Arrival::Born, 0);
    }
    queue.pick(0);
    request.set(with_slice(5, 200_000));
    let _ = queue.refresh_job(11, MS);
    queue.fair().check();
    let mut seen = None;
    queue.fair().waiting().for_each(|task| {
        if task.entity().id() == 11 {
            seen = Some((task.entity().slice(), task.entity().weight()));
        }
    });
    assert_eq!(seen, Some((200_000, weight_of_nice(5))));
}

#[test]
fn k_the_running_task_is_charged_before_anything_is_decided() {
    let mut queue = queue_of(&[Request::NORMAL, Request::NORMAL]);
    let running = id_of(queue.pick(0)).unwrap();
    // Without any tick in between: after 2.9 ms it has run ahead, and a newcomer is placed at the average of now.
    let _ = queue.enqueue(job(3, Request::NORMAL), Arrival::Born, 2_900_000);
    assert_eq!(queue.contents()[0], (running, 2_900_000, queue.contents()[0].2));
    // The average is then a third of the 2.95 ms plus what the newcomer was placed at, itself half of 2.9 ms.
    let task = queue.remove_current(Departure::Sleep, 2_950_000).unwrap();
    assert!(task.entity().lag() == -1_483_334, "its lag counts what it used: {}", task.entity().lag());
}

#[test]
fn l_the_clamp_counts_the_longest_slice_of_the_queue() {
    let mut queue = queue_of(&[with_slice(0, 100_000), with_slice(0, 100 * MS)]);
    queue.pick(0);
    let long = queue.remove_where(|task| task.entity().slice() == 100 * MS, 0);
    let mut queue = queue_of(&[with_slice(0, 100_000), with_slice(0, 100_000)]);
    let _ = queue.enqueue(long.unwrap(), Arrival::Moved, 0);
    while queue.current().is_none_or(|task| task.entity().slice() != 100 * MS) {
        let now = queue.slice_end().unwrap_or(0);
        queue.pick(now);
    }
    // The long one ran 60 ms; the others are owed far more than their own slices.
    let now = queue.charged_until() + 60 * MS;
    let _ = queue.update(now);
    let short = queue.remove_where(|task| task.entity().slice() == 100_000, now).unwrap();
    assert!(short.entity().lag() > 10 * MS as i64, "the lag was cut to {}", short.entity().lag());
}

#[test]
fn m_a_clock_that_goes_back_charges_nothing() {
    let mut queue = queue_of(&[Request::NORMAL, Request::NORMAL]);
    queue.pick(10 * MS);
    let _ = queue.update(11 * MS);
    let before = queue.contents();
    let _ = queue.update(9 * MS);
    assert_eq!(queue.contents(), before);
    let _ = queue.update(12 * MS);
    assert_eq!(queue.contents()[0].1, before[0].1 + MS);
}

#[test]
fn o_virtual_runtimes_of_two_queues_are_never_mixed() {
    // One queue is far ahead of the other; a task that moves from the one to the other is not banned, nor favoured.
    let mut old = FairQueue::starting_at(0, BASE, 1 << 50);
    let mut new = FairQueue::starting_at(1, BASE, 0);
    for id in 1..=3 {
        let _ = old.enqueue(job(id, Request::NORMAL), Arrival::Born, 0);
        let _ = new.enqueue(job(id + 10, Request::NORMAL), Arrival::Born, 0);
    }
    old.pick(0);
    let moved = old.remove_where(|_| true, MS).unwrap();
    let lag = moved.entity().lag();
    let id = moved.entity().id();
    let _ = new.enqueue(moved, Arrival::Moved, MS);
    let average = new.virtual_time();
    let placed = new.contents().into_iter().find(|entry| entry.0 == id).unwrap();
    assert!((average.wrapping_sub(placed.1) as i64).abs_diff(lag) <= 2);
    // The same for one that slept there, in debt, and wakes here.
    let sleeper = old.remove_current(Departure::Sleep, 2 * MS).unwrap();
    let (debt, id) = (sleeper.entity().lag(), sleeper.entity().id());
    assert!(debt < 0);
    let _ = new.enqueue(sleeper, Arrival::Woken, 2 * MS + 1000);
    let average = new.virtual_time();
    let placed = new.contents().into_iter().find(|entry| entry.0 == id).unwrap();
    let lag = average.wrapping_sub(placed.1) as i64;
    assert!(lag <= 0 && lag >= debt - 2, "{debt} became {lag}");
}

#[test]
fn p_virtual_time_goes_on_where_it_stopped_when_the_queue_was_empty() {
    let mut queue = queue_of(&[Request::NORMAL]);
    queue.pick(0);
    let sleeper = queue.remove_current(Departure::Sleep, 7 * MS).unwrap();
    assert!(queue.is_empty());
    assert_eq!(queue.virtual_time(), 7 * MS);
    let _ = queue.enqueue(sleeper, Arrival::Woken, 9 * MS);
    assert_eq!(queue.virtual_time(), 7 * MS);
}

#[test]
fn n_q_interrupt_time_and_groups_do_not_exist_for_the_queue() {
    // Service is what lies between two events of the queue, to whomever the time went; tasks are queued flat.
    let mut queue = queue_of(&[Request::NORMAL]);
    queue.pick(0);
    let _ = queue.update(5 * MS);
    assert_eq!(queue.current().unwrap().entity().runtime(), 5 * MS);
}

#[test]
fn a_cycle_of_weights_returns_the_same_lag() {
    let mut queue: RunQueue<Handle> = RunQueue::new(0);
    let (first, second) = (job(1, Request::NORMAL), job(2, Request::NORMAL));
    let request = second.request.clone();
    let _ = queue.enqueue(first, Arrival::Born, 0);
    let _ = queue.enqueue(second, Arrival::Born, 0);
    queue.pick(0);
    let _ = queue.update(300_000);
    let before = queue.fair().contents();
    let rounds = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    for round in 0..rounds {
        request.set(match round % 3 {
            0 => nice(19),
            1 => Request { policy: Policy::Idle, ..Request::NORMAL },
            _ => Request::NORMAL,
        });
        let _ = queue.refresh_job(2, 300_000);
    }
    request.set(Request::NORMAL);
    let _ = queue.refresh_job(2, 300_000);
    let after = queue.fair().contents();
    for (a, b) in before.iter().zip(&after) {
        assert!(a.1.abs_diff(b.1) <= 2 && a.2.abs_diff(b.2) <= 1024, "{before:?} drifted to {after:?}");
    }
}

#[test]
fn a_thousand_tasks_of_nice_minus_20_share_evenly() {
    let mut core = Core::new();
    let ids: Vec<_> = (0..1000).map(|_| core.spawn(with_slice(-20, MS), Behaviour::Hog)).collect();
    core.run_until(10_000 * MS, |_| ());
    assert!(ids.iter().all(|id| core.service(*id).abs_diff(10 * MS) <= 2 * MS));
}
