//! Schedules, and timers under the test machine's clock.

use alloc::sync::Arc;

use super::*;
use crate::fs::FileObject;
use crate::io::SliceSink;
use crate::machine::host;
use crate::poll::{PollEvents, PollTable};
use crate::process::SignalAllowance;
use crate::process::processor_clock::ProcessorClock;
use crate::signal::{Action, Disposition, Next, ProcessSignals, Signal, SignalSet, ThreadSignals};
use crate::task::Task;
use crate::{Errno, machine, process, time};
use alloc::task::Wake;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use core::task::Waker;

#[test]
fn expiries_are_counted_and_the_next_deadline_lies_ahead() {
    let mut once = Schedule::at(100, 0);
    assert_eq!((once.take(99), once.is_due(99)), (0, false));
    assert_eq!((once.is_due(100), once.take(500), once.deadline()), (true, 1, None));

    let mut periodic = Schedule::at(100, 10);
    assert_eq!((periodic.take(100), periodic.deadline()), (1, Some(110)));
    assert_eq!((periodic.take(139), periodic.deadline()), (3, Some(140)));
    assert_eq!((periodic.take(140), periodic.deadline()), (1, Some(150)));
    let mut far = Schedule::at(0, 1);
    assert_eq!(far.take(u64::MAX - 1), u64::MAX);
}

#[test]
fn what_is_left_is_never_zero_while_a_timer_runs() {
    assert_eq!(Schedule::OFF.remaining(5), Setting { value: 0, interval: 0 });
    assert_eq!(Schedule::at(100, 0).remaining(40), Setting { value: 60, interval: 0 });
    assert_eq!(Schedule::at(100, 0).remaining(100), Setting { value: 1, interval: 0 });
    assert_eq!(Schedule::at(100, 30).remaining(140), Setting { value: 20, interval: 30 });
}

struct Scene {
    process: Arc<ProcessSignals>,
    thread: Arc<ThreadSignals>,
    timers: Arc<ProcessTimers>,
}

fn scene() -> Scene {
    let process = Arc::new(ProcessSignals::new());
    let thread = Arc::new(ThreadSignals::new(process.clone(), SignalSet::EMPTY));
    thread.join(&Task::new("thread", core::future::pending())).unwrap();
    let timers = process.timers();
    Scene { process, thread, timers }
}

impl Scene {
    fn handle(&self, signal: Signal) {
        self.process.set_action(signal, Action { disposition: Disposition::Handler(8), ..Action::DEFAULT });
    }
}

/// Lets time pass until the timer queue of this test's core has nothing due.
fn pass(ns: u64) {
    let until = machine::monotonic_ns() + ns;
    while machine::monotonic_ns() < until {
        std::thread::yield_now();
    }
    time::expire(machine::monotonic_ns());
}

#[test]
fn an_interval_timer_sends_its_signal_and_goes_on_when_that_is_delivered() {
    let s = scene();
    s.handle(Signal::ALRM);
    let start = machine::monotonic_ns();
    s.timers.real().set(Schedule::at(start + 1000, 1000));
    pass(50_000);
    assert_eq!(s.process.pending(), SignalSet::of(&[Signal::ALRM]));
    assert!(matches!(s.thread.next(|| false), Next::Handle { .. }));
    pass(50_000);
    assert!(matches!(s.thread.next(|| false), Next::Handle { .. }), "it was set again");
    s.timers.real().set(Schedule::OFF);
    pass(50_000);
    assert_eq!(s.thread.next(|| false), Next::Nothing);
}

#[test]
fn a_posix_timers_overruns_are_those_up_to_the_delivery() {
    let s = scene();
    s.handle(Signal::USR1);
    let id = s.timers.create(1, None, Some((Signal::USR1, Some(99), None)), &SignalAllowance::of_stranger(1)).unwrap();
    let (timer, _) = s.timers.get(id).unwrap();
    timer.set(Schedule::at(machine::monotonic_ns() + 1000, 100_000));
    pass(1_000_000);
    let Next::Handle { info, .. } = s.thread.next(|| false) else { panic!("no signal") };
    assert!(info.timer_overrun() >= 9, "{}", info.timer_overrun());
    assert_eq!(timer.overrun(), info.timer_overrun());
    s.timers.delete(id).unwrap();
    assert!(matches!(s.timers.get(id), Err(Errno::EINVAL)));
}

#[test]
fn a_timer_that_is_set_again_has_no_second_signal_on_its_way() {
    let s = scene();
    s.handle(Signal::USR1);
    s.thread.set_blocked(SignalSet::ALL);
    let id = s.timers.create(1, None, Some((Signal::USR1, None, None)), &SignalAllowance::of_stranger(1)).unwrap();
    let (timer, _) = s.timers.get(id).unwrap();
    for _ in 0..3 {
        timer.set(Schedule::at(machine::monotonic_ns() + 1000, 0));
        pass(50_000);
    }
    s.thread.set_blocked(SignalSet::EMPTY);
    assert!(matches!(s.thread.next(|| false), Next::Handle { .. }));
    assert_eq!(s.thread.next(|| false), Next::Nothing);
}

#[test]
fn a_timer_whose_signal_is_ignored_keeps_running() {
    let s = scene();
    s.process.set_action(Signal::ALRM, Action { disposition: Disposition::Ignore, ..Action::DEFAULT });
    s.timers.real().set(Schedule::at(machine::monotonic_ns() + 1000, 10));
    pass(50_000);
    assert_eq!(s.process.pending(), SignalSet::EMPTY);
    s.handle(Signal::ALRM);
    pass(5_000_000);
    assert!(matches!(s.thread.next(|| false), Next::Handle { .. }));
}

#[test]
fn a_silent_timer_only_shows_the_time() {
    let s = scene();
    let id = s.timers.create(1, None, None, &SignalAllowance::of_stranger(1)).unwrap();
    let (timer, _) = s.timers.get(id).unwrap();
    timer.set(Schedule::at(machine::monotonic_ns() + 1_000_000_000_000, 0));
    let left = timer.remaining().value;
    assert!(left > 0 && left <= 1_000_000_000_000);
    timer.set(Schedule::OFF);
    assert_eq!(timer.remaining().value, 0);
}

#[test]
fn every_timer_counts_against_the_limit_on_queued_signals() {
    let s = scene();
    let signal = Some((Signal::USR1, Some(1), None));
    let allowance = SignalAllowance::of_stranger(2);
    let silent = s.timers.create(1, None, None, &allowance).unwrap();
    s.timers.create(1, None, signal, &allowance).unwrap();
    for more in [None, signal] {
        assert_eq!(s.timers.create(1, None, more, &allowance), Err(Errno::EAGAIN));
    }
    s.timers.delete(silent).unwrap();
    s.timers.create(1, None, signal, &allowance).unwrap();
    s.timers.delete_all();
    assert_eq!(allowance.queued(), 0);
}

#[test]
fn a_deleted_timer_counts_until_its_signal_is_taken() {
    let s = scene();
    s.handle(Signal::USR1);
    let allowance = SignalAllowance::of_stranger(1);
    let id = s.timers.create(1, None, Some((Signal::USR1, Some(1), None)), &allowance).unwrap();
    let (timer, _) = s.timers.get(id).unwrap();
    timer.set(Schedule::at(machine::monotonic_ns() + 1000, 0));
    pass(1_000_000);
    assert_eq!(allowance.queued(), 1, "the timer and its signal count as one");
    drop(timer);
    s.timers.delete(id).unwrap();
    assert_eq!(s.timers.create(1, None, None, &allowance), Err(Errno::EAGAIN));
    assert!(matches!(s.thread.next(|| false), Next::Handle { .. }));
    assert_eq!(allowance.queued(), 0);
}

#[test]
fn a_timer_file_counts_expiries_until_they_are_read() {
    let timer = TimerFile::new(1);
    let read = || {
        let mut bytes = [0; 8];
        timer.read(&mut SliceSink::new(&mut bytes)).map(|_| u64::from_ne_bytes(bytes))
    };
    assert_eq!(read(), Err(Errno::EAGAIN));
    timer.set(Schedule::at(machine::monotonic_ns() + 1000, 100_000));
    pass(1_000_000);
    assert_eq!(timer.poll(&mut PollTable::query()), PollEvents::IN);
    assert!(read().unwrap() >= 9);
    timer.set(Schedule::OFF);
    assert_eq!(read(), Err(Errno::EAGAIN));
    let mut short = [0; 7];
    assert_eq!(timer.read(&mut SliceSink::new(&mut short)), Err(Errno::EINVAL));
}

#[test]
fn an_alarm_on_cpu_time_rings_in_the_turn_in_which_it_is_due() {
    host::set_clock(Some(1_000_000));
    let thread = process::tests::fork(&process::tests::init());
    let times = &thread.task().unwrap().accounting().times;
    let clock = ProcessorClock::of_thread(&thread, false);
    let alarm = ProcessorAlarm::new(clock.clone()).unwrap();
    let rung = Arc::new(Ring(AtomicUsize::new(0)));
    alarm.set_waker(Waker::from(rung.clone()));
    let turn = |from: u64, to: u64| {
        host::set_clock(Some(from));
        time::expire(from);
        times.begin();
        begin_turn(&thread);
        let armed = host::armed_timer();
        host::set_clock(Some(to));
        end_turn(&thread);
        times.end();
        armed
    };
    assert_eq!(turn(2_000_000, 3_000_000), None, "nothing is armed for nobody");
    alarm.set(Some(5_000_000));
    alarm.announce();
    assert_eq!(turn(10_000_000, 11_000_000), Some(14_000_000), "four of the five milliseconds are left");
    assert_eq!(turn(20_000_000, 25_000_000), Some(23_000_000));
    assert_eq!(rung.0.load(Relaxed), 0, "only a turn looks");
    assert_eq!(clock.read(), 7_000_000);
    assert_eq!(turn(30_000_000, 31_000_000), None);
    assert_eq!(rung.0.load(Relaxed), 1);
    turn(40_000_000, 50_000_000);
    assert_eq!(rung.0.load(Relaxed), 1, "it rings once");
    host::set_clock(None);
}

struct Ring(AtomicUsize);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}
