//! Tests of waiting for readiness.

use super::*;
use crate::sync::{WaitMode, WaitQueue};
use crate::task::{Activity, Task, host};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Waker};

#[derive(Default)]
struct Door {
    open: AtomicBool,
    queue: Arc<WaitQueue>,
}

impl Door {
    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.queue.wake_all();
    }
}

impl Pollable for Door {
    fn poll(&self, table: &mut PollTable<'_>) -> PollEvents {
        table.register(&self.queue);
        if self.open.load(Ordering::SeqCst) { PollEvents::READABLE } else { PollEvents::empty() }
    }
}

fn wait_for_any(doors: &[Arc<Door>]) -> Arc<Task> {
    let doors = doors.to_vec();
    let task = Task::new("poller", async move {
        wait_for(|table| {
            let ready = doors.iter().filter(|door| !door.poll(table).is_empty()).count();
            (ready > 0).then_some(ready)
        })
        .await;
    });
    task.wake();
    host::run_until_idle();
    task
}

fn doors(count: usize) -> Vec<Arc<Door>> {
    (0..count).map(|_| Arc::new(Door::default())).collect()
}

#[test]
fn any_of_many_objects_ends_the_wait_and_nothing_stays_registered() {
    for (count, chosen) in [(1, 0), (2, 1), (3, 2), (40, 39), (40, 11)] {
        let doors = doors(count);
        let task = wait_for_any(&doors);
        assert_eq!(task.activity(), Activity::Asleep);
        doors[chosen].open();
        host::run_until_idle();
        assert_eq!(task.activity(), Activity::Finished);
        assert!(doors.iter().all(|door| door.queue.is_empty()));
    }
}

#[test]
fn a_wake_for_nothing_keeps_the_wait_registered() {
    let doors = doors(3);
    let task = wait_for_any(&doors);
    for _ in 0..3 {
        doors[1].queue.wake_all();
        host::run_until_idle();
        assert_eq!(task.activity(), Activity::Asleep);
        assert!(doors.iter().all(|door| !door.queue.is_empty()));
    }
    doors[1].open();
    host::run_until_idle();
    assert_eq!(task.activity(), Activity::Finished);
}

#[test]
fn a_dropped_wait_leaves_its_queues() {
    let doors = doors(12);
    let mut wait = Box::pin(wait_for(|table| {
        let ready = doors.iter().any(|door| !door.poll(table).is_empty());
        ready.then_some(())
    }));
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(doors.iter().all(|door| !door.queue.is_empty()));
    drop(wait);
    assert!(doors.iter().all(|door| door.queue.is_empty()));
}

#[test]
fn a_query_registers_nowhere() {
    let door = Door::default();
    assert_eq!(door.poll(&mut PollTable::query()), PollEvents::empty());
    assert!(door.queue.is_empty());
}

#[test]
fn an_epoll_item_hears_every_change_until_it_is_dropped() {
    struct Item(AtomicUsize);
    impl alloc::task::Wake for Item {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (door, item) = (Door::default(), Arc::new(Item(AtomicUsize::new(0))));
    let waker = item.clone().into();
    let mut listeners = Box::pin(Listeners::new());
    assert!(door.poll(&mut PollTable::registering(listeners.as_mut(), &waker, WaitMode::Persistent)).is_empty());
    for round in 1..4 {
        door.open();
        assert_eq!(item.0.load(Ordering::SeqCst), round);
    }
    drop(listeners);
    assert!(door.queue.is_empty());
}
