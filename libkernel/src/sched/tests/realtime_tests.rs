//! Tests of the real-time class and of the order of classes.

use super::*;

fn queue() -> RunQueue<Handle> {
    RunQueue::new(0)
}

fn id_of(task: Option<&Handle>) -> Option<u64> {
    task.map(|task| task.entity().id())
}

#[test]
fn the_higher_priority_preempts_and_an_equal_one_waits() {
    let mut queue = queue();
    assert_eq!(queue.enqueue(job(1, realtime(Policy::Fifo, 10)), Arrival::Born, 0), Preemption::Reschedule);
    assert_eq!(id_of(queue.pick(0)), Some(1));
    assert_eq!(queue.enqueue(job(2, realtime(Policy::Fifo, 10)), Arrival::Born, 1), Preemption::Continue);
    assert_eq!(queue.enqueue(job(3, realtime(Policy::Fifo, 20)), Arrival::Woken, 2), Preemption::Reschedule);
    assert_eq!(id_of(queue.pick(2)), Some(3));
    assert_eq!(queue.remove_current(Departure::Sleep, 3).map(|task| task.entity().id()), Some(3));
    assert_eq!(id_of(queue.pick(3)), Some(1), "the one preempted stays first of its priority");
    queue.yield_current(4);
    assert_eq!(id_of(queue.pick(4)), Some(2), "the one that yields goes last");
}

#[test]
fn realtime_runs_before_fair_and_fair_keeps_its_place() {
    let mut queue = queue();
    let _ = queue.enqueue(job(1, Request::NORMAL), Arrival::Born, 0);
    assert_eq!(id_of(queue.pick(0)), Some(1));
    assert_eq!(queue.enqueue(job(2, realtime(Policy::RoundRobin, 1)), Arrival::Woken, MS), Preemption::Reschedule);
    assert_eq!(id_of(queue.pick(MS)), Some(2));
    assert_eq!(queue.enqueue(job(3, Request::NORMAL), Arrival::Woken, MS), Preemption::Continue);
    assert_eq!(queue.len(), 3);
    drop(queue.remove_current(Departure::Exit, 2 * MS));
    assert!(id_of(queue.pick(2 * MS)).is_some());
    assert_eq!(queue.class(), Class::Fair);
}

#[test]
fn round_robin_takes_turns_of_100_ms_and_fifo_does_not() {
    for (policy, expected) in [(Policy::RoundRobin, 2), (Policy::Fifo, 1)] {
        let mut queue = queue();
        for id in 1..=2 {
            let _ = queue.enqueue(job(id, realtime(policy, 5)), Arrival::Born, 0);
        }
        assert_eq!(id_of(queue.pick(0)), Some(1));
        assert_eq!(queue.update(99 * MS), Preemption::Continue);
        let decision = queue.update(100 * MS);
        assert_eq!(decision == Preemption::Reschedule, policy == Policy::RoundRobin);
        assert_eq!(id_of(queue.pick(100 * MS)), Some(expected));
    }
}

#[test]
fn a_runaway_leaves_five_percent_to_the_others() {
    let mut queue = queue();
    let _ = queue.enqueue(job(1, realtime(Policy::Fifo, 99)), Arrival::Born, 0);
    let _ = queue.enqueue(job(2, Request::NORMAL), Arrival::Born, 0);
    let (mut now, mut service) = (0, [0; 2]);
    while now < 10_000 * MS {
        let id = id_of(queue.pick(now)).unwrap();
        let next = queue.slice_end().expect("somebody waits").max(now + 1);
        service[id as usize - 1] += next - now;
        now = next;
        let _ = queue.update(now);
        if queue.relief_is_due(now) {
            queue.relieve(&Alone, 0, now, |_, _| ());
        }
    }
    let share = service[1] * 1000 / now;
    assert!((45..=55).contains(&share), "the fair task got {share} of 1000");
}

#[test]
fn a_runaway_is_not_held_to_account_for_when_it_was_alone() {
    for alone in [950, 999, 1000, 5000, 5500, 5960] {
        let mut queue = queue();
        let _ = queue.enqueue(job(1, realtime(Policy::Fifo, 99)), Arrival::Born, 0);
        queue.pick(0);
        let (mut now, mut service) = (alone * MS, 0);
        let _ = queue.enqueue(job(2, Request::NORMAL), Arrival::Born, now);
        while now < (alone + 2000) * MS {
            let id = id_of(queue.pick(now)).unwrap();
            let next = queue.slice_end().expect("somebody waits").max(now + 1);
            service += if id == 1 { next - now } else { 0 };
            now = next;
            let _ = queue.update(now);
            if queue.relief_is_due(now) {
                queue.relieve(&Alone, 0, now, |_, _| ());
            }
        }
        assert!(service >= 1850 * MS, "alone for {alone} ms, then {} of 2000 ms", service / MS);
    }
}

#[test]
fn a_runaway_alone_gets_everything_and_no_timer() {
    let mut queue = queue();
    let _ = queue.enqueue(job(1, realtime(Policy::Fifo, 99)), Arrival::Born, 0);
    queue.pick(0);
    assert_eq!(queue.slice_end(), None);
    assert_eq!(queue.update(5_000 * MS), Preemption::Continue);
    assert_eq!(id_of(queue.pick(5_000 * MS)), Some(1));
}

#[test]
fn a_change_of_policy_takes_effect_on_a_queued_and_on_a_running_task() {
    let mut queue = queue();
    let (first, second) = (job(1, Request::NORMAL), job(2, Request::NORMAL));
    let (one, two) = (first.request.clone(), second.request.clone());
    let _ = queue.enqueue(first, Arrival::Born, 0);
    let _ = queue.enqueue(second, Arrival::Born, 0);
    assert_eq!(id_of(queue.pick(0)), Some(1));
    two.set(realtime(Policy::Fifo, 3));
    assert_eq!(queue.refresh_job(2, MS), Preemption::Reschedule);
    assert_eq!(id_of(queue.pick(MS)), Some(2));
    two.set(Request::NORMAL);
    one.set(realtime(Policy::RoundRobin, 1));
    let _ = queue.refresh_job(2, 2 * MS);
    let _ = queue.refresh_job(1, 2 * MS);
    assert_eq!(id_of(queue.pick(2 * MS)), Some(1));
    assert_eq!((queue.len(), queue.class()), (2, Class::Realtime));
    queue.fair().check();
}

#[test]
fn a_change_of_priority_moves_a_task_behind_or_before_its_new_equals() {
    for (new, expected) in [(7, [2, 3, 1, 4, 5]), (5, [2, 3, 1, 4, 5]), (6, [2, 1, 3, 4, 5]), (2, [2, 3, 1, 4, 5])] {
        let mut queue = queue();
        // Two of priority 7, one of 6 that changes, two of 2.
        let changing = job(1, realtime(Policy::Fifo, 6));
        let request = changing.request.clone();
        let _ = queue.enqueue(changing, Arrival::Born, 0);
        for (id, priority) in [(2, 7), (3, if new == 6 { 6 } else { 7 }), (4, 2), (5, 2)] {
            let _ = queue.enqueue(job(id, realtime(Policy::Fifo, priority)), Arrival::Born, 0);
        }
        request.set(realtime(Policy::RoundRobin, new));
        let _ = queue.refresh_job(1, 0);
        let mut order = Vec::new();
        while queue.pick(0).is_some() {
            order.extend(queue.remove_current(Departure::Exit, 0).map(|task| task.entity().id()));
        }
        assert_eq!(order, expected, "to priority {new}");
    }
}

#[test]
fn a_running_task_whose_priority_stays_or_falls_to_that_of_others_goes_on_first_of_them() {
    for new in [6, 5] {
        let mut queue = queue();
        let running = job(1, realtime(Policy::Fifo, 6));
        let request = running.request.clone();
        let _ = queue.enqueue(running, Arrival::Born, 0);
        assert_eq!(id_of(queue.pick(0)), Some(1));
        let _ = queue.enqueue(job(2, realtime(Policy::Fifo, new)), Arrival::Born, 0);
        request.set(realtime(Policy::Fifo, new));
        let _ = queue.refresh_job(1, MS);
        assert_eq!(id_of(queue.pick(MS)), Some(1), "priority {new}");
    }
}

#[test]
fn an_idle_policy_task_is_preempted_by_any_other_and_batch_preempts_nobody() {
    let mut queue = queue();
    let _ = queue.enqueue(job(1, Request { policy: Policy::Idle, ..Request::NORMAL }), Arrival::Born, 0);
    queue.pick(0);
    assert_eq!(queue.enqueue(job(2, Request::NORMAL), Arrival::Woken, 100), Preemption::Reschedule);
    assert_eq!(id_of(queue.pick(100)), Some(2));
    let batch = Request { policy: Policy::Batch, slice: Some(100_000), ..Request::NORMAL };
    assert_eq!(queue.enqueue(job(3, batch), Arrival::Woken, 200), Preemption::Continue);
}

#[test]
fn what_may_go_to_another_core_is_what_would_run_last_here() {
    let mut queue = queue();
    let mut two = CoreSet::only(0);
    two.add(1);
    for id in 1..=6 {
        let task = job(id, with_slice(0, id * MS));
        task.allowed.set(if id == 6 { CoreSet::only(0) } else { two });
        let _ = queue.enqueue(task, Arrival::Born, 0);
    }
    queue.pick(0);
    let given = queue.give(1, 0).unwrap();
    assert_eq!(given.entity().id(), 5, "the latest deadline of those allowed");
    assert!(queue.give(2, 0).is_none());
    assert_eq!(queue.len(), 5);
}

#[test]
fn a_real_time_task_goes_to_another_core_only_if_it_has_to_wait_here() {
    let mut queue = queue();
    for id in 1..=2 {
        let _ = queue.enqueue(job(id, Request::NORMAL), Arrival::Born, 0);
    }
    assert_eq!(id_of(queue.pick(0)), Some(1));
    for (id, priority) in [(3, 5), (4, 5), (5, 7)] {
        let _ = queue.enqueue(job(id, realtime(Policy::Fifo, priority)), Arrival::Woken, 1);
    }
    assert_eq!(id_of(queue.give(1, 1).as_ref()), Some(3), "the one with the highest priority is about to run");
    assert_eq!(id_of(queue.pick(1)), Some(5));
    let _ = queue.enqueue(job(6, realtime(Policy::Fifo, 9)), Arrival::Woken, 2);
    assert_eq!(id_of(queue.give(1, 2).as_ref()), Some(4), "the other is about to preempt");
    let rest: Vec<_> = std::iter::from_fn(|| queue.give(1, 2)).map(|task| task.entity().id()).collect();
    assert_eq!(rest, [2, 1], "the fair ones, the last first");
}

#[test]
fn a_throttled_class_has_to_wait() {
    let mut queue = queue();
    for id in 1..=2 {
        let _ = queue.enqueue(job(id, realtime(Policy::Fifo, 5)), Arrival::Born, 0);
    }
    let _ = queue.enqueue(job(3, Request::NORMAL), Arrival::Born, 0);
    queue.pick(0);
    assert_eq!(queue.update(960 * MS), Preemption::Reschedule);
    assert_eq!(id_of(queue.pick(960 * MS)), Some(3));
    assert_eq!(id_of(queue.give(1, 960 * MS).as_ref()), Some(1));
}

#[test]
fn a_change_of_class_leaves_the_running_task_where_its_core_polls_it() {
    let mut queue = queue();
    let (first, second) = (job(1, Request::NORMAL), job(2, Request::NORMAL));
    let request = first.request.clone();
    second.allowed.set(CoreSet::only(0));
    let _ = queue.enqueue(first, Arrival::Born, 0);
    let _ = queue.enqueue(second, Arrival::Born, 0);
    assert_eq!(id_of(queue.pick(0)), Some(1));
    for wanted in [realtime(Policy::Fifo, 5), realtime(Policy::Fifo, 7), Request::NORMAL] {
        request.set(wanted);
        assert_eq!(queue.refresh_job(1, MS), Preemption::Reschedule);
        assert_eq!(id_of(queue.current()), Some(1), "it is no candidate for a thief");
        assert!(queue.give(1, MS).is_none());
        assert_eq!(id_of(queue.pick(MS)).map(|_| queue.len()), Some(2));
        // From now on what it asked for holds.
        assert!(!wanted.policy.is_realtime() || queue.class() == Class::Realtime);
    }
    request.set(realtime(Policy::Fifo, 9));
    let _ = queue.refresh_job(1, 2 * MS);
    while id_of(queue.pick(2 * MS)) != Some(1) {
        drop(queue.remove_current(Departure::Exit, 2 * MS));
    }
    request.set(Request::NORMAL);
    let _ = queue.refresh_job(1, 3 * MS);
    let asleep = queue.remove_current(Departure::Sleep, 3 * MS);
    assert_eq!(asleep.map(|task| task.entity().id()), Some(1), "it can go to sleep before the next choice");
}

/// A task whose policy changes between any two looks at it, as another core can make it.
#[derive(Debug)]
struct Fickle {
    entity: Entity<Box<Fickle>>,
    looks: Cell<u32>,
    position: Rc<Cell<Position>>,
}

impl Schedulable for Box<Fickle> {
    fn entity(&self) -> &Entity<Self> {
        &self.entity
    }
    fn entity_mut(&mut self) -> &mut Entity<Self> {
        &mut self.entity
    }
    fn may_run_on(&self, _core: usize) -> bool {
        true
    }
    fn cores(&self) -> FoldedCores {
        CoreSet::ALL.into()
    }
    fn note_position(&self, position: Position) {
        self.position.set(position);
    }
    fn request(&self) -> Request {
        self.looks.set(self.looks.get() + 1);
        if self.looks.get().is_multiple_of(2) { Request::NORMAL } else { realtime(Policy::Fifo, 10) }
    }
}

#[test]
fn a_policy_that_changes_while_it_is_looked_at_mixes_no_classes() {
    for offset in 0..2 {
        let mut queue: RunQueue<Box<Fickle>> = RunQueue::new(0);
        let positions: Vec<_> = (0..=50).map(|_| Rc::new(Cell::new(Position::default()))).collect();
        for id in 1..=50 {
            let looks = Cell::new((id as u32 + offset) % 2);
            let task = Fickle { entity: Entity::new(id), looks, position: positions[id as usize].clone() };
            let _ = queue.enqueue(Box::new(task), Arrival::Born, id * 1000);
            let other = positions[id as usize / 2].get();
            let _ = queue.refresh(other, |task| task.entity().id() == id / 2, id * 1000);
            queue.pick(id * 1000);
            queue.realtime().waiting().for_each(|task| assert!(task.entity().policy.is_realtime()));
            queue.fair().waiting().for_each(|task| assert!(!task.entity().policy.is_realtime()));
        }
        let mut left = 0;
        while queue.pick(MS).is_some() {
            assert!(queue.remove_current(Departure::Exit, MS).is_some());
            left += 1;
        }
        assert_eq!(left, 50);
    }
}

#[test]
fn a_change_of_a_waiting_task_visits_a_logarithm_of_the_queue() {
    let mut queue = queue();
    let jobs: Vec<_> = (1..=4096).map(|id| job(id, realtime(Policy::Fifo, 1 + (id % 90) as u8))).collect();
    let handles: Vec<_> = jobs.iter().map(|task| (task.request.clone(), task.allowed.clone())).collect();
    for task in jobs {
        let _ = queue.enqueue(task, Arrival::Born, 0);
    }
    queue.pick(0);
    for id in 1..=4096 {
        let position = queue.position_of(id);
        handles[id as usize - 1].0.set(realtime(Policy::RoundRobin, 1 + (id % 80) as u8));
        queue.realtime().waiting().take_visits();
        let _ = queue.refresh(position, |task| task.entity().id() == id, 0);
        let visits = queue.realtime().waiting().take_visits();
        assert!(visits <= 4 * 2 * 13, "a change visited {visits}");
    }
    // All but one, which would run last, may run here only.
    for (id, (_, allowed)) in handles.iter().enumerate() {
        allowed.set(CoreSet::only(0));
        let _ = queue.refresh_job(id as u64 + 1, 0);
    }
    queue.realtime().waiting().take_visits();
    assert!(queue.give(1, 0).is_none());
    assert!(queue.realtime().waiting().take_visits() <= 2);
    handles[79].1.set(CoreSet::ALL);
    let _ = queue.refresh_job(80, 0);
    queue.realtime().waiting().take_visits();
    assert_eq!(id_of(queue.give(1, 0).as_ref()), Some(80));
    let visits = queue.realtime().waiting().take_visits();
    assert!(visits <= 4 * 2 * 13, "to give one away visited {visits}");
}
