//! The limit on CPU time, with cores played one after the other on a clock of their own.

use super::*;
use crate::machine::host;
use crate::process;
use crate::signal::SignalSet;

const MILLISECOND: u64 = 1_000_000;

fn limit(process: &Process, soft: u64) {
    process.with_limits(|limits| limits.set(Resource::Cpu, Limit { soft, hard: INFINITY }, true)).unwrap();
    process.processor_alarms().limit_changed(process);
}

/// A thread that never leaves its core of its own accord.
struct Worker {
    thread: Arc<Thread>,
    /// When its core's timer rings.
    rings: Option<u64>,
}

impl Worker {
    fn start(thread: Arc<Thread>) -> Self {
        let mut worker = Self { thread, rings: None };
        worker.begin();
        worker
    }

    /// A turn begins, as the executor and `begin_turn` do it.
    fn begin(&mut self) {
        self.times().begin();
        self.rings = self.thread.process().processor_alarms().is_armed().then(|| watch(&self.thread)).flatten();
    }

    /// The core goes through its scheduler.
    fn interrupt(&mut self) {
        self.times().end();
        self.begin();
    }

    fn times(&self) -> &task::Times {
        &self.thread.task().unwrap().accounting().times
    }
}

/// Lets time pass until `until`; each interrupt comes up to `late` nanoseconds after it was asked for, and so does the end of the process.
/// Returns whether the process was warned.
fn run(workers: &mut [Worker], until: u64, late: &mut impl FnMut() -> u64) -> bool {
    loop {
        let next = workers.iter().enumerate().filter_map(|(index, worker)| Some((worker.rings?, index))).min();
        match next {
            Some((at, index)) if at < until => {
                host::set_clock(Some(machine::monotonic_ns().max(at + late())));
                workers[index].interrupt();
                if workers[0].thread.process().signals().pending().contains(Signal::XCPU) {
                    return true;
                }
            }
            _ => {
                host::set_clock(Some(machine::monotonic_ns().max(until)));
                return false;
            }
        }
    }
}

#[test]
fn the_limit_counts_threads_that_run_when_it_is_set_and_those_that_come_later() {
    crate::fs::sysfs::set_online_cores(4);
    let mut state = 42u64;
    for round in 0..200u64 {
        let mut late = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % (2 * MILLISECOND)
        };
        host::set_clock(Some(MILLISECOND));
        let leader = process::tests::fork(&process::tests::init());
        let process = leader.process().clone();
        let mut workers = Vec::new();
        // One runs in a turn that began before there was a limit.
        workers.push(Worker::start(process::tests::clone(&leader)));
        assert!(!run(&mut workers, round % 7 * 30 * MILLISECOND, &mut late));
        limit(&process, 1);
        workers[0].interrupt();
        for more in 0..round % 4 {
            let until = machine::monotonic_ns() + (round * (more + 1)) % 50 * MILLISECOND;
            assert!(!run(&mut workers, until, &mut late));
            let thread = process::tests::clone(&leader);
            workers.iter_mut().for_each(Worker::interrupt);
            workers.push(Worker::start(thread));
        }
        assert!(run(&mut workers, 2 * SECOND, &mut late), "round {round}");
        let (used, most) = (process.processor_time().total, workers.len() as u64 * (2 * MILLISECOND + GRAIN));
        assert!((SECOND..SECOND + most).contains(&used), "round {round}: {used} ns with {} threads", workers.len());
        host::set_clock(None);
    }
}

#[test]
fn a_plan_that_was_begun_before_the_limit_was_set_does_not_hide_it() {
    host::set_clock(Some(MILLISECOND));
    let thread = process::tests::fork(&process::tests::init());
    let process = thread.process().clone();
    let alarms = process.processor_alarms();
    let times = &thread.task().unwrap().accounting().times;
    times.begin();
    // An alarm had armed it and is off now, so this plan is for nothing.
    alarms.replan();
    let survey = alarms.survey(&thread);
    limit(&process, 1);
    alarms.adopt(&thread, &survey);
    host::set_clock(Some(SECOND / 2));
    assert!(alarms.is_armed());
    assert_eq!(watch(&thread), Some(SECOND + MILLISECOND));
    // The same with a limit that comes down.
    limit(&process, 100);
    let survey = alarms.survey(&thread);
    limit(&process, 1);
    alarms.adopt(&thread, &survey);
    assert_eq!(watch(&thread), Some(SECOND + MILLISECOND));
    assert_eq!(process.signals().pending(), SignalSet::EMPTY);
    host::set_clock(None);
}
