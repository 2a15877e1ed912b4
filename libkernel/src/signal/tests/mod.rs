//! The rules of signal(7): queueing, choice of the receiver, masks, stopping, continuing, faults.

mod waiting;

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as abi;

use super::info::{KERNEL, THREAD_KILL, USER};
use super::*;
use crate::Errno;
use crate::process::SignalAllowance;
use crate::task::{Interrupted, Task, host};

fn unlimited() -> SignalAllowance {
    SignalAllowance::of_stranger(u64::MAX)
}

fn action(disposition: Disposition) -> Action {
    Action { disposition, ..Action::DEFAULT }
}

fn handler() -> Action {
    action(Disposition::Handler(0x1000))
}

fn kill(signal: Signal) -> SignalInfo {
    SignalInfo::from_process(signal, USER, 42, 7)
}

fn queued(signal: Signal, value: u64) -> SignalInfo {
    SignalInfo::queued(signal, 42, 7, value)
}

struct Scene {
    process: Arc<ProcessSignals>,
    threads: Vec<Arc<ThreadSignals>>,
    tasks: Vec<Arc<Task>>,
}

fn scene(count: usize) -> Scene {
    let process = Arc::new(ProcessSignals::new());
    let mut scene = Scene { process, threads: Vec::new(), tasks: Vec::new() };
    for _ in 0..count {
        let task = Task::new("thread", core::future::pending());
        let thread = Arc::new(ThreadSignals::new(scene.process.clone(), SignalSet::EMPTY));
        thread.join(&task).unwrap();
        scene.threads.push(thread);
        scene.tasks.push(task);
    }
    scene
}

impl Scene {
    fn asked(&self) -> Vec<bool> {
        self.tasks.iter().map(|task| task.interrupted()).collect()
    }

    fn next(&self, thread: usize) -> Next {
        self.threads[thread].next(|| false)
    }

    fn handled(&self, thread: usize) -> Option<SignalInfo> {
        match self.next(thread) {
            Next::Handle { info, .. } => Some(info),
            Next::Nothing => None,
            other => panic!("{other:?}"),
        }
    }
}

fn realtime(offset: i32) -> Signal {
    Signal::new(34 + offset).unwrap()
}

#[test]
fn standard_signals_coalesce_and_keep_the_first_details() {
    let s = scene(1);
    s.process.set_action(Signal::USR1, handler());
    s.process.send(queued(Signal::USR1, 1), &unlimited()).unwrap();
    s.process.send(queued(Signal::USR1, 2), &unlimited()).unwrap();
    assert_eq!(s.handled(0), Some(queued(Signal::USR1, 1)));
    assert_eq!(s.handled(0), None);
    assert_eq!(s.asked(), [false]);
}

#[test]
fn realtime_signals_are_delivered_each_in_order_lowest_number_first() {
    let s = scene(1);
    for offset in 0..2 {
        s.process.set_action(realtime(offset), handler());
    }
    for value in 0..3 {
        s.process.send(queued(realtime(1), value), &unlimited()).unwrap();
        s.process.send(queued(realtime(0), 10 + value), &unlimited()).unwrap();
    }
    let got: Vec<_> = core::iter::from_fn(|| s.handled(0)).collect();
    let expected: Vec<_> =
        (0..3).map(|v| queued(realtime(0), 10 + v)).chain((0..3).map(|v| queued(realtime(1), v))).collect();
    assert_eq!(got, expected);
}

#[test]
fn a_full_queue_refuses_values_but_never_loses_a_plain_signal() {
    let s = scene(1);
    let allowance = SignalAllowance::of_stranger(1);
    for signal in [realtime(0), Signal::USR1, Signal::USR2] {
        s.process.set_action(signal, handler());
    }
    s.process.send(queued(realtime(0), 1), &allowance).unwrap();
    assert_eq!(s.process.send(queued(realtime(0), 2), &allowance), Err(Errno::EAGAIN));
    s.process.send(kill(Signal::USR1), &allowance).unwrap();
    s.process.send(queued(Signal::USR2, 3), &allowance).unwrap();
    assert_eq!(allowance.queued(), 2);
    assert_eq!(s.handled(0), Some(kill(Signal::USR1)), "a standard signal by kill exceeds the limit");
    assert_eq!(s.handled(0), Some(SignalInfo::kernel(Signal::USR2)), "another comes without details");
    assert_eq!(s.handled(0), Some(queued(realtime(0), 1)));
    assert_eq!(s.handled(0), None);
    assert_eq!(allowance.queued(), 0);
}

#[test]
fn what_two_processes_of_a_user_have_queued_counts_together() {
    let (one, other) = (scene(2), scene(1));
    let allowance = SignalAllowance::of_stranger(3);
    one.process.send(queued(realtime(0), 1), &allowance).unwrap();
    one.threads[1].send(queued(realtime(0), 2), &allowance).unwrap();
    other.process.send(queued(realtime(0), 3), &allowance).unwrap();
    assert_eq!(other.process.send(queued(realtime(0), 4), &allowance), Err(Errno::EAGAIN));
    one.threads[1].part();
    assert_eq!(allowance.queued(), 2, "what waited for a thread goes with it");
    one.threads[0].part();
    assert_eq!(allowance.queued(), 1, "what waited for any goes with the last");
    other.process.set_action(realtime(0), action(Disposition::Ignore));
    assert_eq!(allowance.queued(), 0, "what is forgotten is not queued");
}

#[test]
fn signals_from_the_kernel_need_no_memory() {
    let s = scene(1);
    s.process.set_action(Signal::INT, handler());
    s.process.send_kernel(Signal::INT);
    assert_eq!(s.handled(0).unwrap().code, KERNEL);
}

#[test]
fn blocked_signals_wait_until_they_are_let_through() {
    let s = scene(1);
    s.process.set_action(Signal::USR1, handler());
    s.threads[0].set_blocked(SignalSet::of(&[Signal::USR1, Signal::KILL]));
    assert_eq!(s.threads[0].blocked(), SignalSet::of(&[Signal::USR1]), "SIGKILL cannot be blocked");
    s.process.send(kill(Signal::USR1), &unlimited()).unwrap();
    assert_eq!((s.asked(), s.handled(0)), ([false].into(), None));
    assert_eq!(s.threads[0].pending_blocked(), SignalSet::of(&[Signal::USR1]));
    s.threads[0].set_blocked(SignalSet::EMPTY);
    assert_eq!(s.asked(), [true]);
    assert_eq!(s.handled(0), Some(kill(Signal::USR1)));
}

#[test]
fn a_process_signal_goes_to_a_thread_that_takes_it() {
    let s = scene(3);
    s.process.set_action(Signal::USR1, handler());
    for thread in [0, 2] {
        s.threads[thread].set_blocked(SignalSet::of(&[Signal::USR1]));
    }
    s.process.send(kill(Signal::USR1), &unlimited()).unwrap();
    assert_eq!(s.asked(), [false, true, false]);
    assert_eq!(s.handled(0), None);
    assert_eq!(s.handled(1), Some(kill(Signal::USR1)));
}

#[test]
fn a_receiver_that_blocks_the_signal_passes_it_on() {
    let s = scene(2);
    s.process.set_action(Signal::USR1, handler());
    s.process.send(kill(Signal::USR1), &unlimited()).unwrap();
    let first = s.asked().iter().position(|&asked| asked).unwrap();
    s.threads[first].set_blocked(SignalSet::of(&[Signal::USR1]));
    assert_eq!(s.asked(), [first != 0, first != 1]);

    let s = scene(2);
    s.process.set_action(Signal::USR1, handler());
    s.process.send(kill(Signal::USR1), &unlimited()).unwrap();
    let first = s.asked().iter().position(|&asked| asked).unwrap();
    assert_eq!(s.threads[first].part(), None);
    assert!(s.tasks[1 - first].interrupted(), "a thread that ends passes it on too");
}

#[test]
fn a_thread_signal_is_for_that_thread_alone() {
    let s = scene(2);
    s.process.set_action(Signal::USR1, handler());
    let info = SignalInfo::from_process(Signal::USR1, THREAD_KILL, 1, 1);
    s.threads[1].set_blocked(SignalSet::of(&[Signal::USR1]));
    s.threads[1].send(info, &unlimited()).unwrap();
    assert_eq!((s.asked(), s.handled(0)), ([false, false].into(), None));
    s.threads[1].set_blocked(SignalSet::EMPTY);
    assert_eq!(s.handled(1), Some(info));
}

#[test]
fn a_threads_own_signals_come_before_those_of_the_process() {
    let s = scene(1);
    s.process.set_action(Signal::USR1, handler());
    s.process.send(kill(Signal::USR1), &unlimited()).unwrap();
    s.threads[0].send(queued(Signal::USR1, 5), &unlimited()).unwrap();
    assert_eq!(s.handled(0), Some(queued(Signal::USR1, 5)));
    assert_eq!(s.handled(0), Some(kill(Signal::USR1)));
}

#[test]
fn ignored_signals_vanish_unless_blocked() {
    let s = scene(1);
    s.process.set_action(Signal::TERM, action(Disposition::Ignore));
    for signal in [Signal::TERM, Signal::CHLD, Signal::WINCH, Signal::URG] {
        s.process.send(kill(signal), &unlimited()).unwrap();
    }
    assert_eq!((s.process.pending(), s.asked()), (SignalSet::EMPTY, [false].into()));

    s.threads[0].set_blocked(SignalSet::of(&[Signal::TERM]));
    let allowance = unlimited();
    s.process.send(kill(Signal::TERM), &allowance).unwrap();
    assert_eq!((s.process.pending(), allowance.queued()), (SignalSet::of(&[Signal::TERM]), 1));
    s.process.set_action(Signal::TERM, action(Disposition::Ignore));
    assert_eq!(s.process.pending(), SignalSet::EMPTY, "ignoring it forgets it");
    assert_eq!(allowance.queued(), 0);
}

#[test]
fn default_actions_end_the_process() {
    for (signal, core) in [(Signal::TERM, false), (Signal::SEGV, true), (Signal::KILL, false), (realtime(0), false)] {
        let s = scene(1);
        s.process.send(kill(signal), &unlimited()).unwrap();
        assert_eq!(s.next(0), Next::Terminate { signal, core });
    }
}

#[test]
fn a_one_shot_handler_runs_once() {
    let s = scene(1);
    let once = Action { flags: u64::from(abi::SA_RESETHAND), ..handler() };
    s.process.set_action(Signal::USR1, once);
    s.process.send(kill(Signal::USR1), &unlimited()).unwrap();
    assert_eq!(s.next(0), Next::Handle { info: kill(Signal::USR1), action: once });
    s.process.send(kill(Signal::USR1), &unlimited()).unwrap();
    assert_eq!(s.next(0), Next::Terminate { signal: Signal::USR1, core: false });
}

#[test]
fn a_handler_blocks_its_signal_and_its_mask() {
    let s = scene(1);
    let with_mask = Action { mask: SignalSet::of(&[Signal::USR2]), ..handler() };
    s.threads[0].enter_handler(Signal::USR1, &with_mask);
    assert_eq!(s.threads[0].blocked(), SignalSet::of(&[Signal::USR1, Signal::USR2]));
    s.threads[0].set_blocked(SignalSet::EMPTY);
    let nodefer = Action { flags: u64::from(abi::SA_NODEFER), ..with_mask };
    s.threads[0].enter_handler(Signal::USR1, &nodefer);
    assert_eq!(s.threads[0].blocked(), SignalSet::of(&[Signal::USR2]));
}

#[test]
fn a_temporary_mask_goes_into_the_frame_or_comes_back() {
    let s = scene(1);
    let thread = &s.threads[0];
    let normal = SignalSet::of(&[Signal::USR1]);
    thread.set_blocked(normal);
    thread.set_temporary_mask(SignalSet::EMPTY);
    assert_eq!((thread.blocked(), thread.for_frame().0), (SignalSet::EMPTY, normal));
    thread.restore_mask();
    assert_eq!(thread.blocked(), SignalSet::EMPTY, "it was in the frame");
    thread.set_blocked(normal);
    thread.set_temporary_mask(SignalSet::EMPTY);
    thread.restore_mask();
    assert_eq!(thread.blocked(), normal);
}

#[test]
fn the_last_thread_to_stop_tells_the_parent_and_continuing_tells_again() {
    let s = scene(3);
    s.process.send(kill(Signal::STOP), &unlimited()).unwrap();
    let first = s.asked().iter().position(|&asked| asked).unwrap();
    assert_eq!(s.next(first), Next::Stop(None));
    assert_eq!(s.asked(), [true; 3]);
    let others: Vec<_> = (0..3).filter(|&t| t != first).collect();
    assert_eq!(s.next(others[0]), Next::Stop(None));
    assert!(!s.process.is_stopped());
    assert_eq!(s.next(others[1]), Next::Stop(Some(StateChange::Stopped(Signal::STOP))));
    assert!(s.process.is_stopped() && s.threads[0].is_stopped());

    s.process.send(kill(Signal::CONT), &unlimited()).unwrap();
    assert!(!s.process.is_stopped() && !s.threads[0].is_stopped());
    let teller = s.asked().iter().position(|&asked| asked).unwrap();
    assert_eq!(s.next(teller), Next::Tell(StateChange::Continued));
    for thread in 0..3 {
        assert_eq!(s.next(thread), Next::Nothing);
    }
}

#[test]
fn a_thread_that_ends_instead_of_stopping_completes_the_stop() {
    let s = scene(2);
    s.process.send(kill(Signal::TSTP), &unlimited()).unwrap();
    let first = s.asked().iter().position(|&asked| asked).unwrap();
    assert_eq!(s.next(first), Next::Stop(None));
    assert_eq!(s.threads[1 - first].part(), Some(StateChange::Stopped(Signal::TSTP)));
}

#[test]
fn stop_and_continue_cancel_each_other() {
    let s = scene(1);
    s.threads[0].set_blocked(SignalSet::of(&[Signal::TSTP, Signal::CONT]));
    s.process.send(kill(Signal::TSTP), &unlimited()).unwrap();
    s.process.send(kill(Signal::CONT), &unlimited()).unwrap();
    assert_eq!(s.process.pending(), SignalSet::of(&[Signal::CONT]));
    s.process.send(kill(Signal::STOP), &unlimited()).unwrap();
    assert_eq!(s.process.pending(), SignalSet::of(&[Signal::STOP]));
}

#[test]
fn a_continue_between_taking_and_acting_cancels_the_stop() {
    let s = scene(1);
    s.process.send(kill(Signal::TSTP), &unlimited()).unwrap();
    let next = s.threads[0].next(|| {
        s.process.send(kill(Signal::CONT), &unlimited()).unwrap();
        false
    });
    assert_eq!(next, Next::Nothing);
}

#[test]
fn terminal_stops_do_nothing_to_an_orphaned_group() {
    for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        let s = scene(1);
        s.process.send(kill(signal), &unlimited()).unwrap();
        assert_eq!(s.threads[0].next(|| true), Next::Nothing);
    }
    let s = scene(1);
    s.process.send(kill(Signal::STOP), &unlimited()).unwrap();
    assert_eq!(s.threads[0].next(|| true), Next::Stop(Some(StateChange::Stopped(Signal::STOP))));
}

#[test]
fn a_kill_reaches_a_stopped_process_without_continuing_it_for_its_parent() {
    let s = scene(2);
    s.process.send(kill(Signal::STOP), &unlimited()).unwrap();
    for thread in [0, 1, 0, 1] {
        let _ = s.next(thread);
    }
    assert!(s.process.is_stopped());
    s.process.send(kill(Signal::KILL), &unlimited()).unwrap();
    assert_eq!(s.next(0), Next::Terminate { signal: Signal::KILL, core: false });
    assert!(s.process.end_all());
    assert!(!s.process.end_all());
    assert_eq!((s.next(1), s.asked()[1]), (Next::Leave, true));
}

#[test]
fn a_stopped_thread_sleeps_until_it_is_continued() {
    let process = Arc::new(ProcessSignals::new());
    let thread = Arc::new(ThreadSignals::new(process.clone(), SignalSet::EMPTY));
    let task = Task::new("stopper", {
        let thread = thread.clone();
        async move {
            assert!(matches!(thread.next(|| false), Next::Stop(Some(_))));
            thread.wait_while_stopped().await;
        }
    });
    thread.join(&task).unwrap();
    process.send(kill(Signal::STOP), &unlimited()).unwrap();
    host::run_until_idle();
    process.send(kill(Signal::USR1), &unlimited()).unwrap();
    host::run_until_idle();
    assert!(thread.is_stopped(), "another signal does not wake it");
    process.send(kill(Signal::CONT), &unlimited()).unwrap();
    host::run_until_idle();
    assert_eq!(task.activity(), crate::task::Activity::Finished);
}

#[test]
fn faults_come_first_and_cannot_be_held_off() {
    let s = scene(1);
    s.process.set_action(Signal::SEGV, handler());
    s.process.set_action(Signal::HUP, handler());
    let fault = SignalInfo::fault(Signal::SEGV, abi::SEGV_MAPERR as i32, 0xdead);
    s.process.send(kill(Signal::HUP), &unlimited()).unwrap();
    s.threads[0].force(fault);
    assert_eq!(s.handled(0), Some(fault));
    assert_eq!(s.handled(0), Some(kill(Signal::HUP)));

    s.threads[0].set_blocked(SignalSet::of(&[Signal::SEGV]));
    s.threads[0].force(fault);
    assert_eq!(s.next(0), Next::Terminate { signal: Signal::SEGV, core: true }, "blocked: it kills");

    s.process.set_action(Signal::BUS, action(Disposition::Ignore));
    s.threads[0].force(SignalInfo::fault(Signal::BUS, 1, 1));
    assert_eq!(s.next(0), Next::Terminate { signal: Signal::BUS, core: true }, "ignored: it kills");
}

#[test]
fn init_is_deaf_to_what_it_does_not_handle() {
    let s = scene(1);
    s.process.protect();
    for signal in [Signal::KILL, Signal::STOP, Signal::TERM] {
        s.process.send(kill(signal), &unlimited()).unwrap();
        assert_eq!(s.next(0), Next::Nothing);
    }
    s.process.set_action(Signal::TERM, handler());
    s.process.send(kill(Signal::TERM), &unlimited()).unwrap();
    assert!(s.handled(0).is_some());
    s.threads[0].force(SignalInfo::fault(Signal::SEGV, 1, 0));
    assert_eq!(s.next(0), Next::Terminate { signal: Signal::SEGV, core: true }, "but not to its own faults");
}

#[test]
fn exec_resets_handlers_and_leaves_a_shared_table_alone() {
    let s = scene(1);
    s.process.set_action(Signal::USR1, handler());
    s.process.set_action(Signal::USR2, action(Disposition::Ignore));
    let other = s.process.fork(true);
    s.process.reset_for_exec();
    assert_eq!(s.process.action(Signal::USR1), Action::DEFAULT);
    assert_eq!(s.process.action(Signal::USR2).disposition, Disposition::Ignore);
    assert_eq!(other.action(Signal::USR1), handler());
}

#[test]
fn a_copied_table_is_separate_and_a_shared_one_is_not() {
    let s = scene(1);
    s.process.set_action(Signal::USR1, handler());
    let (copy, shared) = (s.process.fork(false), s.process.fork(true));
    s.process.set_action(Signal::USR1, Action::DEFAULT);
    assert_eq!((copy.action(Signal::USR1), shared.action(Signal::USR1)), (handler(), Action::DEFAULT));
}

#[test]
fn child_policies() {
    let s = scene(1);
    assert_eq!(s.process.child_policy(), ChildPolicy { reap: false, notify_end: true, notify_stop: true });
    s.process.set_action(Signal::CHLD, action(Disposition::Ignore));
    assert_eq!(s.process.child_policy(), ChildPolicy { reap: true, notify_end: false, notify_stop: false });
    let flags = u64::from(abi::SA_NOCLDSTOP | abi::SA_NOCLDWAIT);
    s.process.set_action(Signal::CHLD, Action { flags, ..handler() });
    assert_eq!(s.process.child_policy(), ChildPolicy { reap: true, notify_end: true, notify_stop: false });
}

#[test]
fn exec_makes_the_other_threads_leave() {
    let s = scene(3);
    s.process.end_others(&s.threads[1]);
    assert_eq!((s.next(0), s.next(1), s.next(2)), (Next::Leave, Next::Nothing, Next::Leave));
    assert_eq!(s.asked(), [true, false, true]);
}

#[test]
fn alternate_stacks() {
    let s = scene(1);
    let thread = &s.threads[0];
    assert_eq!(thread.alternate_stack().flags(0x5000), abi::SS_DISABLE);
    assert_eq!(thread.set_alternate_stack(0x10000, 100, 0, 0), Err(Errno::ENOMEM));
    assert_eq!(thread.set_alternate_stack(0x10000, 0x4000, 64, 0), Err(Errno::EINVAL));
    thread.set_alternate_stack(0x10000, 0x4000, 0, 0).unwrap();
    let stack = thread.alternate_stack();
    assert_eq!((stack.top(), stack.flags(0x5000), stack.flags(0x12000)), (0x14000, 0, abi::SS_ONSTACK));
    assert!(!stack.contains(0x10000) && stack.contains(0x14000));
    assert_eq!(thread.set_alternate_stack(0, 0, abi::SS_DISABLE, 0x12000), Err(Errno::EPERM));
    thread.set_alternate_stack(0, 0, abi::SS_DISABLE, 0).unwrap();
    assert_eq!(thread.alternate_stack(), AlternateStack::NONE);
}
