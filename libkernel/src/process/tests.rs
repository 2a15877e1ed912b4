//! Tests of births, ends, waits and job control. They share one table and one init, as processes do.

use super::birth::{Kinship, Unborn, first_process};
use super::exit::finish_thread;
use super::job_control::{new_session, set_group};
use super::limits::Limits;
use super::membership::become_only_thread;
use super::name::Name;
use super::wait::{Change, Kin, Report, Request, Target, try_wait};
use super::*;
use crate::fs::tmpfs::Tmpfs;
use crate::fs::{FdTable, FileSystem, FsContext, FsShare, Mount, Path};
use crate::memory::{AddressSpace, MemoryLimits, Tenant};
use crate::signal::{Action, Disposition, Next, Signal, StateChange};
use crate::task::{Task, host};
use crate::{Errno, machine};
use alloc::sync::Arc;
use std::sync::OnceLock;

const CHILD: Kinship = Kinship { exit_signal: Some(17), sibling: false, share_actions: false };
const ALL: Request =
    Request { target: Target::Any, kin: Kin::All, ended: true, stopped: true, continued: true, keep: false };

pub(crate) fn init() -> Arc<Thread> {
    static INIT: OnceLock<Arc<Thread>> = OnceLock::new();
    INIT.get_or_init(|| {
        let mount = Mount::detached(Tmpfs::new("tmpfs", 16 << 20, 1000) as Arc<dyn FileSystem>, "none");
        let resources = Resources {
            files: FdTable::new(),
            fs: FsShare::new(Arc::new(FsContext::new(Path::root_of(&mount)))),
            space: Tenant::new(AddressSpace::new(1, MemoryLimits::INITIAL).unwrap()),
            program: None,
        };
        resources::set_nothing(resources.clone());
        first_process(Name::new(b"init"), Limits::initial(1000), resources).unwrap().publish(task()).unwrap()
    })
    .clone()
}

fn task() -> Arc<Task> {
    Task::new("test", async {})
}

pub(crate) fn fork(parent: &Arc<Thread>) -> Arc<Thread> {
    let child = Unborn::process_of(parent, CHILD, parent.resources()).unwrap();
    child.publish(parent, task()).unwrap()
}

pub(crate) fn clone(creator: &Arc<Thread>) -> Arc<Thread> {
    let thread = Unborn::thread_of(creator, creator.resources()).unwrap();
    thread.publish(creator, task()).unwrap()
}

fn end(thread: &Arc<Thread>, code: u8) {
    finish_thread(thread, ExitStatus::Exited(code));
}

fn wait(parent: &Arc<Thread>) -> crate::Result<Option<Report>> {
    try_wait(parent.process(), &ALL)
}

fn wait_for(parent: &Arc<Thread>, child: &Arc<Thread>) -> crate::Result<Option<Report>> {
    try_wait(parent.process(), &Request { target: Target::Process(child.process().pid()), ..ALL })
}

fn has_child_signal(thread: &Arc<Thread>) -> bool {
    thread.process().signals().pending().contains(Signal::CHLD)
}

/// `thread`, which is its process's only one, stops.
fn stop(thread: &Arc<Thread>) {
    thread.process().signals().send_kernel(Signal::STOP);
    let Next::Stop(Some(change)) = thread.signals().next(|| false) else { panic!("it does not stop") };
    thread.process().report(change);
}

/// `SIGCONT` comes; what `thread` is to tell the parent.
fn go_on(thread: &Arc<Thread>) -> StateChange {
    thread.process().signals().send_kernel(Signal::CONT);
    let Next::Tell(change) = thread.signals().next(|| false) else { panic!("nothing to tell") };
    change
}

fn catch_child_signals(thread: &Arc<Thread>) {
    let action = Action { disposition: Disposition::Handler(0x1000), ..Action::DEFAULT };
    thread.process().signals().set_action(Signal::CHLD, action);
}

#[test]
fn a_child_is_waited_for_once_and_its_number_is_free_then() {
    let parent = fork(&init());
    catch_child_signals(&parent);
    assert_eq!(wait(&parent), Err(Errno::ECHILD));
    let child = fork(&parent);
    assert_eq!(child.process().parent_pid(), Some(parent.tid()));
    assert_eq!(wait(&parent), Ok(None));
    end(&child, 3);
    assert!(has_child_signal(&parent));
    assert!(child.process().is_zombie());
    let report = wait(&parent).unwrap().unwrap();
    assert_eq!((report.pid, report.change), (child.tid(), Change::Ended(ExitStatus::Exited(3))));
    assert!(table::process(child.tid()).is_none());
    assert_eq!(wait(&parent), Err(Errno::ECHILD));
}

#[test]
fn a_kept_report_can_be_taken_again() {
    let parent = fork(&init());
    let child = fork(&parent);
    end(&child, 0);
    let keep = Request { keep: true, ..ALL };
    assert!(try_wait(parent.process(), &keep).unwrap().is_some());
    assert!(try_wait(parent.process(), &keep).unwrap().is_some());
    assert!(wait(&parent).unwrap().is_some());
}

#[test]
fn targets_and_kinds_select_children() {
    let parent = fork(&init());
    let plain = fork(&parent);
    let cloned = Unborn::process_of(&parent, Kinship { exit_signal: None, ..CHILD }, parent.resources()).unwrap();
    let cloned = cloned.publish(&parent, task()).unwrap();
    end(&cloned, 1);
    let of_kind = |kin| try_wait(parent.process(), &Request { kin, keep: true, ..ALL });
    assert_eq!(of_kind(Kin::Ordinary), Ok(None));
    assert_eq!(of_kind(Kin::Cloned).unwrap().unwrap().pid, cloned.tid());
    set_group(parent.process(), Some(plain.tid()), None).unwrap();
    let in_group = |id| try_wait(parent.process(), &Request { target: Target::Group(id), keep: true, ..ALL });
    assert_eq!(in_group(plain.tid()), Ok(None));
    assert_eq!(in_group(parent.process().group_id()).unwrap().unwrap().pid, cloned.tid());
}

#[test]
fn a_process_ends_once_with_its_last_thread_and_the_first_decision_counts() {
    let parent = fork(&init());
    catch_child_signals(&parent);
    let leader = fork(&parent);
    let others: Vec<_> = (0..100).map(|_| clone(&leader)).collect();
    end(&leader, 7);
    assert_eq!(wait(&parent), Ok(None), "the first thread's end is not the process's");
    leader.process().begin_end(ExitStatus::Killed { signal: 9, core: false });
    leader.process().begin_end(ExitStatus::Exited(1));
    for other in &others {
        assert_eq!(wait(&parent), Ok(None));
        assert!(!has_child_signal(&parent));
        end(other, 0);
    }
    assert!(has_child_signal(&parent));
    let report = wait(&parent).unwrap().unwrap();
    assert_eq!(report.change, Change::Ended(ExitStatus::Killed { signal: 9, core: false }));
    assert_eq!(wait(&parent), Err(Errno::ECHILD));
}

#[test]
fn an_ending_process_gets_no_new_threads_or_children() {
    let thread = fork(&init());
    thread.process().begin_end(ExitStatus::Exited(0));
    for unborn in
        [Unborn::thread_of(&thread, thread.resources()), Unborn::process_of(&thread, CHILD, thread.resources())]
    {
        let unborn = unborn.unwrap();
        let number = unborn.thread().tid();
        assert!(unborn.publish(&thread, task()).is_err());
        assert!(table::thread(number).is_none());
    }
}

#[test]
fn a_parent_that_ignores_child_signals_has_no_zombies() {
    let parent = fork(&init());
    let ignore = Action { disposition: Disposition::Ignore, ..Action::DEFAULT };
    parent.process().signals().set_action(Signal::CHLD, ignore);
    let child = fork(&parent);
    end(&child, 0);
    assert!(table::process(child.tid()).is_none());
    assert_eq!(wait(&parent), Err(Errno::ECHILD));
}

#[test]
fn orphans_go_to_the_nearest_subreaper() {
    let reaper = fork(&init());
    reaper.process().set_subreaper(true);
    let middle = fork(&reaper);
    let zombie = fork(&middle);
    let living = fork(&middle);
    end(&zombie, 4);
    end(&middle, 0);
    assert_eq!(living.process().parent_pid(), Some(reaper.tid()));
    assert_eq!(wait_for(&reaper, &zombie).unwrap().unwrap().change, Change::Ended(ExitStatus::Exited(4)));
    assert!(wait_for(&reaper, &middle).unwrap().is_some());
    assert_eq!(wait_for(&reaper, &living), Ok(None));
}

#[test]
fn stops_and_continuations_are_reported_once_each() {
    let parent = fork(&init());
    catch_child_signals(&parent);
    let child = fork(&parent);
    stop(&child);
    assert!(has_child_signal(&parent));
    assert_eq!(wait(&parent).unwrap().unwrap().change, Change::Stopped(19));
    assert_eq!(wait(&parent), Ok(None));
    child.process().report(go_on(&child));
    assert_eq!(wait(&parent).unwrap().unwrap().change, Change::Continued);
    assert_eq!(wait(&parent), Ok(None));
}

#[test]
fn a_stop_that_is_told_after_its_continuation_is_over() {
    let parent = fork(&init());
    let child = fork(&parent);
    let other = clone(&child);
    child.process().signals().send_kernel(Signal::STOP);
    assert_eq!(child.signals().next(|| false), Next::Stop(None));
    let Next::Stop(Some(late)) = other.signals().next(|| false) else { panic!("it was the last to stop") };
    child.process().report(go_on(&child));
    child.process().report(late);
    assert_eq!(wait(&parent).unwrap().unwrap().change, Change::Continued);
    assert_eq!(wait(&parent), Ok(None));
}

#[test]
fn a_stop_that_is_cut_short_is_told_and_leaves_a_continuation_to_wait_for() {
    let parent = fork(&init());
    catch_child_signals(&parent);
    let child = fork(&parent);
    let _other = clone(&child);
    child.process().signals().send_kernel(Signal::STOP);
    assert_eq!(child.signals().next(|| false), Next::Stop(None));
    let change = go_on(&child);
    assert_eq!(change, StateChange::StopCutShort(Signal::STOP));
    child.process().report(change);
    assert!(has_child_signal(&parent));
    assert_eq!(wait(&parent).unwrap().unwrap().change, Change::Continued);
    assert_eq!(wait(&parent), Ok(None));
}

#[test]
fn nobody_chooses_the_signal_that_anothers_parent_gets() {
    let parent = fork(&init());
    catch_child_signals(&parent);
    let middle = fork(&parent);
    let usr1 = Some(Signal::USR1.number() as u8);
    let sibling = Kinship { exit_signal: usr1, sibling: true, ..CHILD };
    let sibling = Unborn::process_of(&middle, sibling, middle.resources()).unwrap().publish(&middle, task()).unwrap();
    assert_eq!((sibling.process().parent_pid(), sibling.process().exit_signal()), (Some(parent.tid()), Some(17)));
    end(&middle, 0);
    assert!(wait_for(&parent, &middle).unwrap().is_some());
    // Nor does a program choose for the one that takes its place.
    let parent = fork(&init());
    catch_child_signals(&parent);
    let own = Unborn::process_of(&parent, Kinship { exit_signal: usr1, ..CHILD }, parent.resources()).unwrap();
    let own = own.publish(&parent, task()).unwrap();
    parent.process().mark_execed();
    end(&own, 0);
    assert!(has_child_signal(&parent));
    assert!(!parent.process().signals().pending().contains(Signal::USR1));
}

#[test]
fn a_zombie_has_no_timers() {
    let parent = fork(&init());
    let child = fork(&parent);
    let timer = Arc::downgrade(child.process().signals().timers().real());
    end(&child, 0);
    assert!(child.process().is_zombie());
    assert!(timer.upgrade().is_none());
}

#[test]
fn groups_and_sessions_follow_posix() {
    let shell = fork(&init());
    let session = new_session(shell.process()).unwrap();
    assert_eq!((shell.process().session_id(), shell.process().group_id()), (session, session));
    assert_eq!(new_session(shell.process()), Err(Errno::EPERM), "a leader makes no session");
    assert_eq!(set_group(shell.process(), None, None), Err(Errno::EPERM), "nor does it change its group");
    let job = fork(&shell);
    let mate = fork(&shell);
    assert_eq!(set_group(shell.process(), Some(mate.tid()), Some(job.tid())), Err(Errno::EPERM), "no such group yet");
    set_group(shell.process(), Some(job.tid()), Some(job.tid())).unwrap();
    set_group(mate.process(), None, Some(job.tid())).unwrap();
    assert_eq!(mate.process().group_id(), job.tid());
    assert_eq!(set_group(job.process(), Some(mate.tid()), None), Err(Errno::ESRCH), "not its child");
    let foreign = fork(&init());
    new_session(foreign.process()).unwrap();
    assert_eq!(set_group(mate.process(), None, Some(foreign.tid())), Err(Errno::EPERM), "another session");
    mate.process().mark_execed();
    assert_eq!(set_group(shell.process(), Some(mate.tid()), None), Err(Errno::EACCES));
}

#[test]
fn a_group_keeps_its_number_taken_until_it_is_empty() {
    let shell = fork(&init());
    let leader = fork(&shell);
    set_group(shell.process(), Some(leader.tid()), None).unwrap();
    let mate = fork(&leader);
    end(&leader, 0);
    assert!(wait_for(&shell, &leader).unwrap().is_some());
    assert!(table::process(leader.tid()).is_none());
    assert!(table::group(leader.tid()).is_some());
    end(&mate, 0);
    assert!(wait_for(&init(), &mate).unwrap().is_some());
    assert!(table::group(leader.tid()).is_none());
}

#[test]
fn stopped_jobs_that_lose_their_shell_are_hung_up() {
    let login = fork(&init());
    new_session(login.process()).unwrap();
    let shell = fork(&login);
    set_group(login.process(), Some(shell.tid()), None).unwrap();
    let job = fork(&shell);
    set_group(shell.process(), Some(job.tid()), None).unwrap();
    assert!(!job.process().group().is_orphaned());
    stop(&job);
    end(&shell, 0);
    assert!(job.process().group().is_orphaned());
    assert!(job.process().signals().pending().contains(Signal::HUP));
}

#[test]
fn a_groups_members_can_be_signalled_in_an_interrupt_whatever_a_task_does_with_them() {
    let login = fork(&init());
    new_session(login.process()).unwrap();
    let job = fork(&login);
    set_group(login.process(), Some(job.tid()), None).unwrap();
    let group = job.process().group();
    // With debug assertions, the locks say whether they were taken in an order that a handler could meet.
    assert!(!group.is_orphaned());
    for member in group.members(&tree::lock()) {
        assert_eq!((member.session_id(), member.limit(limits::Resource::Nice).soft), (login.tid(), 0));
    }
    machine::host::set_in_interrupt(true);
    group.for_each(|member| member.signals().send_kernel(Signal::HUP));
    machine::host::set_in_interrupt(false);
    assert!(job.process().signals().pending().contains(Signal::HUP));
}

#[test]
fn nobody_is_born_into_a_group_behind_a_signal_to_it() {
    let parent = fork(&init());
    new_session(parent.process()).unwrap();
    let child = Unborn::process_of(&parent, CHILD, parent.resources()).unwrap();
    let (number, born) = (child.thread().tid(), Arc::downgrade(child.thread()));
    let group = parent.process().group();
    group.for_each(|member| member.signals().send_kernel(Signal::TERM));
    assert!(matches!(child.publish(&parent, task()), Err(Errno::ERESTARTNOINTR)));
    assert_eq!(group.members(&tree::lock()).count(), 1);
    assert!(table::thread(number).is_none());
    assert!(born.upgrade().is_none(), "it leaves no trace");
    assert!(matches!(parent.signals().next(|| false), crate::signal::Next::Terminate { .. }));
    // A signal that the parent blocks can wait, as on Linux.
    parent.signals().set_blocked(crate::signal::SignalSet::ALL);
    parent.process().signals().send_kernel(Signal::TERM);
    fork(&parent);
}

#[test]
fn exec_by_another_thread_takes_over_the_first_threads_number() {
    let leader = fork(&init());
    let other = clone(&leader);
    let third = clone(&leader);
    let old = other.tid();
    let caller = other.clone();
    let finished = Arc::new(OnceLock::new());
    let result = finished.clone();
    let exec = Task::new("exec", async move {
        let _ = result.set(become_only_thread(&caller).await);
    });
    exec.wake();
    host::run_until_idle();
    assert!(finished.get().is_none());
    assert!(
        Unborn::thread_of(&other, other.resources()).unwrap().publish(&other, task()).is_err(),
        "no new threads during exec"
    );
    end(&leader, 0);
    end(&third, 0);
    host::run_until_idle();
    assert_eq!(finished.get(), Some(&Ok(())));
    assert_eq!(other.tid(), leader.process().pid());
    assert!(table::thread(old).is_none());
    assert!(Arc::ptr_eq(&table::thread(other.tid()).unwrap(), &other));
    assert!(!leader.process().is_zombie());
}

#[test]
fn a_thread_that_is_born_while_another_begins_exec_leaves() {
    let leader = fork(&init());
    let process = leader.process();
    let unborn = Unborn::thread_of(&leader, leader.resources()).unwrap();
    let newborn = unborn.thread();
    {
        let mut threads = process.threads.lock();
        threads.alive.insert(newborn.clone()).unwrap();
        threads.exec = true;
    }
    process.signals().end_others(leader.signals());
    process.admit(newborn, &task()).unwrap();
    assert!(newborn.signals().must_leave());
    process.threads.lock().exec = false;
    process.withdraw(newborn);
}

#[test]
fn the_table_can_be_read_while_processes_come_and_go() {
    let parent = fork(&init());
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reader = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut seen = 0;
            // At least once, however late this thread starts.
            loop {
                let mut last = 0;
                for process in table::processes() {
                    assert!(process.pid().number() > last);
                    last = process.pid().number();
                    let _ = (process.name(), process.usage(), process.group_id(), process.is_zombie());
                    seen += 1;
                }
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return seen;
                }
            }
        })
    };
    for _ in 0..2000 {
        let child = fork(&parent);
        end(&child, 0);
        assert!(wait_for(&parent, &child).unwrap().is_some());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
}

#[test]
fn the_time_of_a_thread_that_ends_is_counted_once_whenever_one_looks() {
    const THREADS: u64 = 100;
    const EACH: u64 = 1_000_000;
    for _ in 0..if cfg!(miri) { 1 } else { 20 } {
        let leader = fork(&init());
        let others: Vec<_> = (0..THREADS).map(|_| clone(&leader)).collect();
        for thread in &others {
            let times = &thread.task().unwrap().accounting().times;
            machine::host::set_clock(Some(EACH));
            times.begin();
            machine::host::set_clock(Some(2 * EACH));
            times.end();
        }
        machine::host::set_clock(None);
        let process = leader.process().clone();
        let reader = std::thread::spawn(move || {
            while process.thread_count() > 1 {
                assert_eq!(process.processor_time().total, THREADS * EACH);
                let usage = process.usage();
                assert_eq!(usage.user_ns + usage.system_ns, THREADS * EACH);
            }
        });
        others.iter().for_each(|thread| end(thread, 0));
        reader.join().unwrap();
        end(&leader, 0);
    }
}

#[test]
fn every_object_is_freed_in_the_end() {
    let parent = fork(&init());
    let child = fork(&parent);
    let process = Arc::downgrade(child.process());
    let group = Arc::downgrade(&child.process().group());
    new_session(child.process()).unwrap();
    let thread = Arc::downgrade(&child);
    end(&child, 0);
    assert!(wait(&parent).unwrap().is_some());
    drop(child);
    crate::rcu::wait_for_collector();
    assert!(thread.upgrade().is_none());
    assert!(process.upgrade().is_none());
    assert!(group.upgrade().is_some(), "the old group is the parent's");
}
