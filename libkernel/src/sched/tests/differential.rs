//! The queue and the model are told the same events and have to agree on everything (P1, P6, P7, P8, P14, P15).

use super::model::{Member, Model};
use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(super) enum Event {
    Born(i8, Option<u64>, u8),
    Wake(usize),
    Sleep,
    Exit,
    Run(u64),
    Pick,
    Yield,
    Move(usize),
    Renice(usize, i8),
    Reslice(usize, u64),
    Away(usize),
}

fn slices() -> impl Strategy<Value = u64> {
    prop_oneof![100_000..=100 * MS, Just(100_000), Just(100 * MS)]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => (-20..=19i8, prop::option::of(slices()), 0..8u8).prop_map(|(n, s, p)| Event::Born(n, s, p)),
        4 => any::<usize>().prop_map(Event::Wake),
        3 => Just(Event::Sleep),
        1 => Just(Event::Exit),
        5 => (0..20 * MS).prop_map(Event::Run),
        1 => (0..10_000 * MS).prop_map(Event::Run),
        5 => Just(Event::Pick),
        1 => Just(Event::Yield),
        1 => any::<usize>().prop_map(Event::Move),
        1 => (any::<usize>(), -20..=19i8).prop_map(|(i, n)| Event::Renice(i, n)),
        1 => (any::<usize>(), slices()).prop_map(|(i, s)| Event::Reslice(i, s)),
        1 => any::<usize>().prop_map(Event::Away),
    ];
    prop::collection::vec(event, 1..200)
}

/// Runs the events on both, with virtual time starting at `origin` and real time at `start`; returns the trace.
pub(super) fn run(events: &[Event], origin: u64, start: u64) -> Vec<Vec<(u64, u64, u64)>> {
    let mut queue = FairQueue::starting_at(0, BASE, origin);
    let mut model = Model::default();
    let (mut asleep, mut trace): (Vec<(Handle, Member)>, _) = (Vec::new(), Vec::new());
    let (mut now, mut next_id) = (0u64, 1);
    let time = |now: u64| (start.wrapping_add(now), i128::from(now));
    for event in events {
        let (real, t) = time(now);
        let waiting = |model: &Model, index: usize| {
            let count = model.waiting.len();
            (count > 0).then(|| model.waiting[index % count].id)
        };
        match *event {
            Event::Born(nice, slice, policy) => {
                let policy = match policy {
                    0 => Policy::Batch,
                    1 => Policy::Idle,
                    _ => Policy::Normal,
                };
                let request = Request { policy, priority: 0, nice, slice };
                let decision = queue.enqueue(job(next_id, request), Arrival::Born, real);
                assert_eq!(decision, model.enqueue(Member::new(next_id, request), Arrival::Born, t));
                next_id += 1;
            }
            Event::Wake(index) if !asleep.is_empty() => {
                let (task, member) = asleep.swap_remove(index % asleep.len());
                let decision = queue.enqueue(task, Arrival::Woken, real);
                assert_eq!(decision, model.enqueue(member, Arrival::Woken, t));
            }
            Event::Sleep => {
                let removed = queue.remove_current(Departure::Sleep, real);
                let member = model.remove_current(Departure::Sleep, t);
                assert_eq!(removed.as_ref().map(|task| i128::from(task.entity().lag)), member.as_ref().map(|m| m.lag));
                asleep.extend(removed.zip(member));
            }
            Event::Exit => {
                let removed = queue.remove_current(Departure::Exit, real).map(|task| task.entity().id);
                assert_eq!(removed, model.remove_current(Departure::Exit, t).map(|m| m.id));
            }
            Event::Run(span) => {
                now += span;
                let (real, t) = time(now);
                assert_eq!(queue.update(real), model.update(t));
            }
            Event::Pick => {
                let picked = queue.pick(real).map(|task| task.entity().id);
                assert_eq!(picked, model.pick(t));
                assert_eq!(picked.is_some(), !queue.is_empty(), "P6: a queue with tasks runs one");
            }
            Event::Yield => {
                queue.yield_current(real);
                model.yield_current(t);
            }
            Event::Move(index) => {
                if let Some(id) = waiting(&model, index) {
                    let task = queue.remove_where(|task| task.entity().id == id, real).unwrap();
                    let member = model.remove_waiting(id, t);
                    assert_eq!(i128::from(task.entity().lag), member.lag);
                    assert_eq!(queue.enqueue(task, Arrival::Moved, real), model.enqueue(member, Arrival::Moved, t));
                }
            }
            Event::Renice(index, nice) => {
                if let Some(id) = waiting(&model, index) {
                    let task = queue.remove_where(|task| task.entity().id == id, real).unwrap();
                    let mut member = model.remove_waiting(id, t);
                    member.request.nice = nice;
                    task.request.set(member.request);
                    let decision = queue.enqueue(task, Arrival::Moved, real);
                    assert_eq!(decision, model.enqueue(member, Arrival::Moved, t));
                }
            }
            Event::Reslice(index, slice) if !asleep.is_empty() => {
                let index = index % asleep.len();
                let (task, member) = &mut asleep[index];
                member.request.slice = Some(slice);
                task.request.set(member.request);
            }
            Event::Away(index) => {
                if let Some(id) = waiting(&model, index) {
                    drop(queue.remove_where(|task| task.entity().id == id, real));
                    model.remove_waiting(id, t);
                }
            }
            _ => {}
        }
        queue.check();
        model.check();
        let expected: Vec<_> = model
            .contents()
            .into_iter()
            .map(|(id, v, d)| (id, v.wrapping_add(origin), d.wrapping_add(origin)))
            .collect();
        assert_eq!(queue.contents(), expected, "after {event:?}");
        assert_eq!(queue.virtual_time(), (model.v() as u64).wrapping_add(origin), "after {event:?}");
        trace.push(
            queue
                .contents()
                .into_iter()
                .map(|(id, v, d)| (id, v.wrapping_sub(origin), d.wrapping_sub(origin)))
                .collect(),
        );
    }
    trace
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn the_queue_agrees_with_the_naive_model(events in events()) {
        run(&events, 0, 0);
    }

    #[test]
    fn p8_nothing_depends_on_where_virtual_or_real_time_starts(events in events(), random: u64, start in 0..1u64 << 62) {
        let trace = run(&events, 0, 0);
        for origin in [(1 << 63) - 1, u64::MAX, u64::MAX - 50 * MS, random] {
            prop_assert_eq!(&run(&events, origin, start), &trace);
        }
    }
}
