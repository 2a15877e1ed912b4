//! A core for the tests: jobs with a behaviour, a run queue, and time that jumps from event to event.

use super::*;

/// What a job does with the service it gets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Behaviour {
    /// It never stops.
    Hog,
    /// It runs for a time, then sleeps for a time.
    Periodic { run: u64, sleep: u64 },
    /// It runs for a time, then yields.
    Yields { run: u64 },
    /// It runs for a time, then is taken off the queue and put back.
    Migrates { run: u64 },
    /// It runs for a time, then changes its nice value, between the two.
    Renices { run: u64, nice: [i8; 2] },
    /// It runs for a time, then changes its slice, between the two.
    Reslices { run: u64, slices: [u64; 2] },
}

#[derive(Debug)]
struct Record {
    behaviour: Behaviour,
    request: Rc<Cell<Request>>,
    service: u64,
    left: u64,
    wakes: Option<u64>,
    asleep: Option<Handle>,
    runnable_since: u64,
    longest_gap: u64,
    longest_completion: u64,
    completed: u64,
    last_ran: u64,
    rounds: usize,
}

/// The core. Jobs are numbered from 1.
pub(super) struct Core {
    pub queue: FairQueue<Handle>,
    pub now: u64,
    jobs: Vec<Record>,
    /// Every choice: when, and who.
    pub trace: Vec<(u64, u64)>,
    /// A policy that forgets lag over sleep, to show what it would allow.
    pub forget_lag: bool,
}

impl Core {
    pub fn new() -> Self {
        Self { queue: FairQueue::new(0, BASE), now: 0, jobs: Vec::new(), trace: Vec::new(), forget_lag: false }
    }

    pub fn spawn(&mut self, request: Request, behaviour: Behaviour) -> u64 {
        let id = self.jobs.len() as u64 + 1;
        let task = job(id, request);
        let left = match behaviour {
            Behaviour::Hog => u64::MAX,
            Behaviour::Periodic { run, .. }
            | Behaviour::Yields { run }
            | Behaviour::Migrates { run }
            | Behaviour::Renices { run, .. }
            | Behaviour::Reslices { run, .. } => run,
        };
        self.jobs.push(Record {
            behaviour,
            request: task.request.clone(),
            service: 0,
            left,
            wakes: None,
            asleep: None,
            runnable_since: self.now,
            longest_gap: 0,
            longest_completion: 0,
            completed: 0,
            last_ran: self.now,
            rounds: 0,
        });
        let decision = self.queue.enqueue(task, Arrival::Born, self.now);
        self.honour(decision);
        id
    }

    pub fn service(&self, id: u64) -> u64 {
        self.jobs[id as usize - 1].service
    }

    pub fn longest_gap(&self, id: u64) -> u64 {
        self.jobs[id as usize - 1].longest_gap
    }

    /// The longest time from a wake to the end of what the job wanted to run then.
    pub fn longest_completion(&self, id: u64) -> u64 {
        self.jobs[id as usize - 1].longest_completion
    }

    /// The choices made during the longest completion, in nanoseconds from its start.
    pub fn choices(&self, id: u64) -> Vec<(i64, u64)> {
        let record = &self.jobs[id as usize - 1];
        let start = record.completed - record.longest_completion;
        let within = self.trace.iter().filter(|(at, _)| *at + 10 * MS > start && *at <= record.completed);
        within.map(|(at, id)| (*at as i64 - start as i64, *id)).collect()
    }

    /// From now on the job never stops.
    pub fn become_hog(&mut self, id: u64) {
        let record = &mut self.jobs[id as usize - 1];
        record.behaviour = Behaviour::Hog;
        record.left = u64::MAX;
    }

    fn honour(&mut self, decision: Preemption) {
        if decision == Preemption::Reschedule {
            let picked = self.queue.pick(self.now).map(|task| task.entity().id());
            if let Some(id) = picked {
                self.trace.push((self.now, id));
                let now = self.now;
                let record = &mut self.jobs[id as usize - 1];
                let gap = now - record.last_ran.max(record.runnable_since);
                record.longest_gap = record.longest_gap.max(gap);
            }
        }
    }

    /// Goes on until `end`, calling `each` after each event.
    pub fn run_until(&mut self, end: u64, mut each: impl FnMut(&mut Self)) {
        while self.now < end {
            let wake = self.jobs.iter().filter_map(|job| job.wakes).min();
            let current = self.queue.current().map(|task| task.entity().id());
            let done = current.map(|id| self.now.saturating_add(self.jobs[id as usize - 1].left));
            let slice = self.queue.slice_end().map(|end| end.max(self.now + 1));
            let next = [wake, done, slice, Some(end)].into_iter().flatten().min().unwrap();
            if let Some(id) = current {
                let record = &mut self.jobs[id as usize - 1];
                record.service += next - self.now;
                record.left = record.left.saturating_sub(next - self.now);
                record.last_ran = next;
            }
            self.now = next;
            if done == Some(next) {
                self.finish_run(current.unwrap());
            }
            if let Some(index) = self.jobs.iter().position(|job| job.wakes == Some(next)) {
                self.wake(index);
            }
            let decision = self.queue.update(self.now);
            self.honour(decision);
            each(self);
        }
    }

    fn finish_run(&mut self, id: u64) {
        let now = self.now;
        let record = &mut self.jobs[id as usize - 1];
        match record.behaviour {
            Behaviour::Hog => {}
            Behaviour::Periodic { run, sleep } => {
                record.left = run;
                record.wakes = Some(now + sleep);
                record.rounds += 1;
                if record.rounds > 1 {
                    // The first round begins with half a request.
                    if now - record.runnable_since > record.longest_completion {
                        record.longest_completion = now - record.runnable_since;
                        record.completed = now;
                    }
                }
                record.asleep = self.queue.remove_current(Departure::Sleep, now);
            }
            Behaviour::Yields { run } => {
                record.left = run;
                self.queue.yield_current(now);
            }
            Behaviour::Migrates { run } => {
                record.left = run;
                let task = self.queue.remove_current(Departure::Move, now).unwrap();
                let _ = self.queue.enqueue(task, Arrival::Moved, now);
            }
            Behaviour::Renices { run, nice } => {
                record.left = run;
                record.rounds += 1;
                let nice = nice[record.rounds % 2];
                record.request.set(Request { nice, ..record.request.get() });
                self.queue.refresh_current(record.request.get(), now);
            }
            Behaviour::Reslices { run, slices } => {
                record.left = run;
                record.rounds += 1;
                let slice = Some(slices[record.rounds % 2]);
                record.request.set(Request { slice, ..record.request.get() });
                self.queue.refresh_current(record.request.get(), now);
            }
        }
        self.honour(Preemption::Reschedule);
    }

    fn wake(&mut self, index: usize) {
        let now = self.now;
        let record = &mut self.jobs[index];
        record.wakes = None;
        record.runnable_since = now;
        let mut task = record.asleep.take().unwrap();
        if self.forget_lag {
            task.entity_mut().lag = 0;
        }
        let decision = self.queue.enqueue(task, Arrival::Woken, now);
        self.honour(decision);
    }
}
