//! sigtimedwait(2): what a wait takes, and what it leaves to others.

use super::*;

fn waiting(
    set: SignalSet,
) -> (Arc<ThreadSignals>, Arc<Task>, Arc<std::sync::Mutex<Option<Result<SignalInfo, Interrupted>>>>) {
    let process = Arc::new(ProcessSignals::new());
    let thread = Arc::new(ThreadSignals::new(process, SignalSet::of(&[Signal::USR1, Signal::CHLD])));
    let result = Arc::new(std::sync::Mutex::new(None));
    let task = Task::new("waiter", {
        let (thread, result) = (thread.clone(), result.clone());
        async move {
            let got = thread.wait(set).await;
            *result.lock().unwrap() = Some(got);
        }
    });
    thread.join(&task).unwrap();
    task.wake();
    host::run_until_idle();
    (thread, task, result)
}

#[test]
fn a_wait_takes_blocked_and_ignorable_signals() {
    for signal in [Signal::USR1, Signal::CHLD] {
        let (thread, task, result) = waiting(SignalSet::of(&[Signal::USR1, Signal::CHLD]));
        assert!(result.lock().unwrap().is_none());
        thread.process().send(kill(signal), &unlimited()).unwrap();
        host::run_until_idle();
        assert_eq!(*result.lock().unwrap(), Some(Ok(kill(signal))));
        assert!(!task.interrupted());
        assert_eq!(thread.process().pending(), SignalSet::EMPTY);
    }
}

#[test]
fn what_a_wait_leaves_goes_to_another_thread() {
    let (waiter, _task, result) = waiting(SignalSet::of(&[Signal::USR1, Signal::CHLD]));
    let process = waiter.process();
    process.set_action(Signal::CHLD, handler());
    let other_task = Task::new("other", core::future::pending());
    Arc::new(ThreadSignals::new(process.clone(), SignalSet::EMPTY)).join(&other_task).unwrap();
    process.send(kill(Signal::USR1), &unlimited()).unwrap();
    process.send(kill(Signal::CHLD), &unlimited()).unwrap();
    assert!(!other_task.interrupted());
    host::run_until_idle();
    assert_eq!(*result.lock().unwrap(), Some(Ok(kill(Signal::USR1))));
    assert!(other_task.interrupted());
}

#[test]
fn nothing_is_queued_for_a_thread_that_has_left() {
    let s = scene(2);
    s.threads[0].part();
    let allowance = unlimited();
    s.threads[0].send(queued(realtime(0), 1), &allowance).unwrap();
    assert_eq!(allowance.queued(), 0);
}

#[test]
fn a_wait_is_interrupted_by_other_signals() {
    let (thread, _task, result) = waiting(SignalSet::of(&[Signal::USR1]));
    thread.process().set_action(Signal::USR2, handler());
    thread.process().send(kill(Signal::USR2), &unlimited()).unwrap();
    host::run_until_idle();
    assert_eq!(*result.lock().unwrap(), Some(Err(Interrupted)));
    assert!(matches!(thread.next(|| false), Next::Handle { .. }));
}
