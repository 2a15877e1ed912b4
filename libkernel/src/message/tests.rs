//! Tests of inboxes and of what travels through them.

use super::*;
use crate::machine::host;
use crate::sched::steal::BATCH;
use crate::task::{self, Activity, Task};
use core::sync::atomic::{AtomicUsize, Ordering};

fn sleeping_task(name: &str) -> (Arc<Task>, Runnable) {
    let task = Task::new(name, async {});
    task.wake();
    let runnable = task::host::next().unwrap();
    (task, runnable)
}

#[test]
fn messages_arrive_in_order_and_only_the_first_asks_for_an_interrupt() {
    let inbox = Inbox::<Message>::new();
    let mut reader = Reader::new();
    assert!(inbox.is_empty());
    let (first, a) = sleeping_task("first");
    let (second, b) = sleeping_task("second");
    assert!(inbox.push(Message::Placed(a)));
    assert!(!inbox.push(Message::Moved(b)));
    assert!(!inbox.is_empty());
    assert!(matches!(reader.next(&inbox), Some(Message::Placed(runnable)) if Arc::ptr_eq(runnable.task(), &first)));
    let (_third, c) = sleeping_task("third");
    assert!(inbox.push(Message::Placed(c)), "the reader has emptied the inbox");
    assert!(matches!(reader.next(&inbox), Some(Message::Moved(runnable)) if Arc::ptr_eq(runnable.task(), &second)));
    assert!(matches!(reader.next(&inbox), Some(Message::Placed(_))));
    assert!(reader.next(&inbox).is_none());
}

#[test]
fn a_core_takes_messages_in_by_batches_in_order_and_is_interrupted_once() {
    const RECEIVER: usize = 31;
    const COUNT: usize = 2 * super::BATCH + 5;
    host::become_core(30);
    let before = host::ipis_raised(RECEIVER);
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    for number in 0..COUNT {
        let taken = taken.clone();
        let (message, answer) = remote_call(move || taken.lock().unwrap().push(number));
        send(RECEIVER, message);
        drop(answer);
    }
    assert_eq!(host::ipis_raised(RECEIVER) - before, 1);
    host::become_core(RECEIVER);
    let take = |message| match message {
        Message::Call(call) => call.run(),
        other => panic!("{other:?}"),
    };
    for expected in [super::BATCH, 2 * super::BATCH, COUNT] {
        assert!(pending());
        assert_eq!(receive_batch(take), expected != COUNT);
        assert!(taken.lock().unwrap().iter().copied().eq(0..expected));
    }
    assert!(!pending());
    assert_eq!(statistics(RECEIVER).unwrap().cut_short(), 2);
    assert!(!receive_batch(take));
}

#[test]
fn what_nobody_reads_is_dropped_with_the_inbox() {
    let (task, runnable) = sleeping_task("unread");
    let inbox = Inbox::<Message>::new();
    assert!(inbox.push(Message::Placed(runnable)));
    drop(inbox);
    assert_eq!(Arc::strong_count(&task), 1);
}

#[test]
fn changed_parameters_are_told_once_however_often_they_change() {
    let task = Task::new("changing", async {});
    let inbox = Inbox::<Message>::new();
    let mut reader = Reader::new();
    let told = (0..1000u32).filter_map(|turn| {
        task.parameters().set_nice((turn % 20) as i8);
        Changed::announce(&task)
    });
    told.for_each(|news| assert!(inbox.push(Message::Changed(news)), "only one is under way"));
    let Some(Message::Changed(news)) = reader.next(&inbox) else { panic!("no news") };
    assert!(Changed::announce(&task).is_none());
    assert_eq!(news.receive().parameters().nice(), 19);
    assert!(reader.next(&inbox).is_none());
    drop(Changed::announce(&task).unwrap().receive());
    assert_eq!(Arc::strong_count(&task), 1);
}

#[test]
fn a_steal_request_comes_back_as_its_answer_with_the_tasks_given() {
    let (thief, victim) = (Inbox::<Message>::new(), Inbox::<Message>::new());
    let (mut thief_reader, mut victim_reader) = (Reader::new(), Reader::new());
    let mut request = Box::new(StealRequest::new(3));
    request.address_to(5);
    assert!(victim.push(Message::Steal(request)));
    let Some(Message::Steal(mut request)) = victim_reader.next(&victim) else { panic!("no request") };
    assert_eq!((request.thief(), request.victim()), (3, 5));
    let tasks: Vec<_> = (0..BATCH + 1).map(|_| sleeping_task("loot")).collect();
    let (tasks, runnables): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
    let refused = runnables.into_iter().filter_map(|runnable| request.loot.give(runnable).err()).count();
    assert_eq!(refused, 1);
    assert!(thief.push(Message::StealAnswer(request)));
    let Some(Message::StealAnswer(mut request)) = thief_reader.next(&thief) else { panic!("no answer") };
    for task in tasks.iter().take(BATCH) {
        assert!(Arc::ptr_eq(request.loot.take().unwrap().task(), task));
    }
    assert!(request.loot.take().is_none());
}

#[test]
fn a_remote_call_runs_there_and_its_result_comes_back() {
    let (message, answer) = remote_call(|| 6 * 7);
    let result = Arc::new(AtomicUsize::new(0));
    let caller = Task::new("caller", {
        let result = result.clone();
        async move { result.store(answer.wait().await, Ordering::SeqCst) }
    });
    caller.wake();
    task::host::run_until_idle();
    assert_eq!(caller.activity(), Activity::Asleep);
    let Message::Call(call) = message else { panic!("not a call") };
    call.run();
    task::host::run_until_idle();
    assert_eq!(result.load(Ordering::SeqCst), 42);
}

#[test]
fn a_call_whose_caller_lost_interest_still_runs() {
    let ran = Arc::new(AtomicUsize::new(0));
    let (message, answer) = remote_call({
        let ran = ran.clone();
        move || ran.fetch_add(1, Ordering::SeqCst)
    });
    drop(answer);
    let inbox = Inbox::new();
    assert!(inbox.push(message));
    let Some(Message::Call(call)) = Reader::new().next(&inbox) else { panic!("not a call") };
    call.run();
    assert_eq!((ran.load(Ordering::SeqCst), Arc::strong_count(&ran)), (1, 1));
}

#[test]
fn sending_interrupts_the_receiver_once_for_many_messages() {
    host::become_core(20);
    let interrupts = host::ipis_raised(21);
    for _ in 0..100 {
        send(21, remote_call(|| ()).0);
    }
    assert_eq!(host::ipis_raised(21), interrupts + 1);
    assert!(statistics(20).unwrap().sent() >= 100);
    std::thread::spawn(|| {
        host::become_core(21);
        assert!(pending());
        let mut count = 0;
        while let Some(Message::Call(call)) = receive() {
            call.run();
            count += 1;
        }
        assert_eq!(count, 100);
        assert!(!pending());
    })
    .join()
    .unwrap();
}

#[test]
fn a_storm_of_messages_loses_none() {
    const EACH: usize = if cfg!(miri) { 30 } else { 50_000 };
    let inbox = Arc::new(Inbox::<Message>::new());
    let (received, wanted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let (inbox, received, wanted) = (inbox.clone(), received.clone(), wanted.clone());
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    let received = received.clone();
                    let (message, _answer) = remote_call(move || received.fetch_add(1, Ordering::Relaxed));
                    wanted.fetch_add(usize::from(inbox.push(message)), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut reader = Reader::new();
    while received.load(Ordering::Relaxed) < 3 * EACH {
        match reader.next(&inbox) {
            Some(Message::Call(call)) => call.run(),
            Some(other) => panic!("unexpected {other:?}"),
            None => std::thread::yield_now(),
        }
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert!(reader.next(&inbox).is_none());
    assert!(wanted.load(Ordering::Relaxed) <= 3 * EACH);
}
